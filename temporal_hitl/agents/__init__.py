"""Agents whose tools wait for people (seeds 003 and 004), on pydantic-ai.

Owns the seeds' words and the adapter that has a pydantic-ai agent take part in runs. An edge: the
core knows agents by `temporal_hitl.turns` alone. Needs the extra `agents`.
"""

from __future__ import annotations

from temporal_hitl.agents._agent import Agent, adapter_of
from temporal_hitl.agents._approval import approval
from temporal_hitl.agents._asking import Ask, AskingFunction, NotDone
from temporal_hitl.agents._controls import (
    ConfirmBeforeRun,
    ExternalExecution,
    UserControlFlowTools,
    UserFeedbackTools,
)
from temporal_hitl.agents._fields import InputField, UserFeedbackOption, UserFeedbackQuestion
from temporal_hitl.agents._models import ModelMissing, OpenAIChat, use_model
from temporal_hitl.agents._output import RunOutput
from temporal_hitl.agents._requirement import RunRequirement
from temporal_hitl.agents._team import Team
from temporal_hitl.agents._toolkit import Toolkit
from temporal_hitl.agents._tools import Function, tool
from temporal_hitl.agents._views import ResolvedRequirement

__all__ = [
    "Agent",
    "Ask",
    "AskingFunction",
    "ConfirmBeforeRun",
    "ExternalExecution",
    "Function",
    "InputField",
    "ModelMissing",
    "NotDone",
    "OpenAIChat",
    "ResolvedRequirement",
    "RunOutput",
    "RunRequirement",
    "Team",
    "Toolkit",
    "UserControlFlowTools",
    "UserFeedbackOption",
    "UserFeedbackQuestion",
    "UserFeedbackTools",
    "adapter_of",
    "approval",
    "tool",
    "use_model",
]
