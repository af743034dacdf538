"""Agents whose tools wait for people (seeds 003 and 004), on pydantic-ai.

Owns the seeds' words and the adapter that has a pydantic-ai agent take part in runs. An edge: the
core knows agents by `temporal_hitl.turns` alone. Needs the extra `agents`.
"""

from __future__ import annotations

from temporal_hitl.agents._agent import Agent, adapter_of
from temporal_hitl.agents._asking import Ask, AskingFunction, NotDone
from temporal_hitl.agents._controls import UserControlFlowTools, UserFeedbackTools
from temporal_hitl.agents._models import ModelMissing, OpenAIChat, use_model
from temporal_hitl.agents._output import ResolvedRequirement, RunOutput, RunRequirement
from temporal_hitl.agents._team import Team
from temporal_hitl.agents._tools import Function, Toolkit, tool

__all__ = [
    "Agent",
    "Ask",
    "AskingFunction",
    "Function",
    "ModelMissing",
    "NotDone",
    "OpenAIChat",
    "ResolvedRequirement",
    "RunOutput",
    "RunRequirement",
    "Team",
    "Toolkit",
    "UserControlFlowTools",
    "UserFeedbackTools",
    "adapter_of",
    "tool",
    "use_model",
]
