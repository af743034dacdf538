"""Agents whose tools wait for people (seeds 003 and 004), on pydantic-ai.

Owns the seeds' words and the adapter that has a pydantic-ai agent take part in runs. An edge: the
core knows agents by `temporal_hitl.turns` alone. Needs the extra `agents`.
"""

from __future__ import annotations

from temporal_hitl.agents._agent import Agent
from temporal_hitl.agents._models import OpenAIChat, use_model
from temporal_hitl.agents._output import RunOutput, RunRequirement
from temporal_hitl.agents._tools import Function, Toolkit, tool

__all__ = [
    "Agent",
    "Function",
    "OpenAIChat",
    "RunOutput",
    "RunRequirement",
    "Toolkit",
    "tool",
    "use_model",
]
