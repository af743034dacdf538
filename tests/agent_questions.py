"""An agent that asks in every way there is, by a script."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

from temporal_hitl import Step, Workflow
from temporal_hitl.agents import Agent, UserFeedbackTools, tool

Calls = Sequence[tuple[str, dict[str, Any]]]


def _model(calls: Calls, saying: str) -> FunctionModel:
    """Return a model that says a thing and makes these calls, and then tells what came of all."""

    def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if not any(isinstance(each, ModelResponse) for each in messages):
            made = [ToolCallPart(*each, f"c{n}") for n, each in enumerate(calls)]
            return ModelResponse([*([TextPart(saying)] if saying else []), *made])
        parts = [p for each in messages if isinstance(each, ModelRequest) for p in each.parts]
        came = {p.tool_name: p.content for p in parts if isinstance(p, ToolReturnPart)}
        return ModelResponse([TextPart(json.dumps(came))])

    return FunctionModel(respond)


@tool(requires_confirmation=True, execution_message="Refund order {order}?")
def refund(order: str, cents: int) -> str:
    """Refund an order."""
    return f"{cents} for {order}"


@tool(user_input_fields=["to"])
def send(subject: str, to: str) -> str:
    """Send a letter."""
    return f"{subject} to {to}"


@tool(external_execution=True)
def ship(parcel: str) -> str:
    """Ship a parcel."""
    raise AssertionError("it runs outside")


LOST = Counter[str]()
"""How often each card was charged."""


@tool(idempotent=False)
async def charge(card: str) -> str:
    """Charge a card; the first time nobody hears of it again."""
    LOST[card] += 1
    if LOST[card] == 1:
        await asyncio.sleep(10)
    return "charged"


ASKED = {"questions": [{"question": "How?", "options": [{"label": "card"}, {"label": "cash"}]}]}
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "refund": ("refund", {"order": "1007", "cents": 900}),
    "send": ("send", {"subject": "Sorry"}),
    "ship": ("ship", {"parcel": "p1"}),
    "ask_user": ("ask_user", ASKED),
}


def asking(name: str, *calls: tuple[str, dict[str, Any]], saying: str = "") -> Workflow:
    """Return a pipeline whose one step is an agent that makes these calls at once."""
    desk = Agent(
        "desk",
        _model(calls, saying),
        instructions="Be good.",
        tools=[refund, send, ship, charge, UserFeedbackTools()],
    )
    # What is lost is missed soon; all else may take its time.
    within = 1 if any(tool == "charge" for tool, _ in calls) else 20
    return Workflow(name, [Step("desk", agent=desk, start_to_close_timeout=within)])
