"""An agent whose tools are approvals: one is approved, one is an audit, one expires."""

from __future__ import annotations

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from temporal_hitl import Approval, Workflow
from temporal_hitl.agents import Agent, approval, tool

TURNS = (
    [("wipe", {"disk": "sda"}), ("mail", {"to": "bo"})],
    [("late", {"what": "too late"})],
)


@approval(not_requester=True)
@tool
def wipe(disk: str) -> str:
    """Wipe a disk."""
    return f"wiped {disk}"


@approval(type="audit")
@tool(requires_confirmation=True)
def mail(to: str) -> str:
    """Send a mail."""
    return f"mailed {to}"


@approval
@tool(timeout=1, on_timeout="skip")
def late(what: str) -> str:
    """Do it."""
    return what


def _says(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    turn = sum(isinstance(each, ModelResponse) for each in messages)
    if turn == len(TURNS):
        return ModelResponse(parts=[TextPart("done")])
    calls = enumerate(TURNS[turn])
    return ModelResponse(parts=[ToolCallPart(name, args, f"c{n}") for n, (name, args) in calls])


class Forgotten:
    """Keeps nothing: what is recorded is what the run does."""

    def write(self, record: Approval) -> None:
        """Return at once."""


def approvals() -> Workflow:
    """Return the pipeline that the agent's own runs are."""
    model = FunctionModel(_says, model_name="scripted")
    return Agent("approval_required", model, tools=[wipe, mail, late]).workflow
