"""Workflows written by hand, sandboxed as any, that ask through a gate.

Their code is part of the histories that they made: whoever changes it changes what is tested.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from temporalio import workflow

from temporal_hitl import workflow as hitl
from temporal_hitl.review import OnTimeout, UserInputField


class Refund(BaseModel):
    """A form."""

    amount: float
    reason: str


@workflow.defn
class AllQuestions:
    """Asks everything that a gate can ask, two of it at once."""

    @workflow.init
    def __init__(self, order: str) -> None:
        self.gate = hitl.Gate()

    @workflow.run
    async def run(self, order: str) -> dict[str, Any]:
        """Return what was answered."""
        gate, a_day = self.gate, timedelta(days=1)
        go = await gate.confirm(f"Refund {order}?", timeout=a_day)
        form, letter = await asyncio.gather(
            gate.user_input("How much?", Refund, timeout=a_day, on_timeout=OnTimeout.skip),
            gate.user_input("Which letter?", [UserInputField("letter")], name="letter"),
        )
        route = await gate.route("Which way?", ["card", "bank"], allow_multiple=True)
        review = await gate.output_review("Send this?", {"text": "Dear customer"})
        again = await gate.output_review("Send this?", {"text": "Dear Ada"})
        return {
            "approved": [go.approved, review.approved, again.approved],
            "values": [form.values, letter.values],
            "choices": list(route.choices or ()),
            "output": again.output,
        }


@workflow.defn
class OneQuestion:
    """Asks once, with search attributes, and takes silence for an answer."""

    @workflow.init
    def __init__(self, order: str) -> None:
        self.gate = hitl.Gate(search_attributes=True)

    @workflow.run
    async def run(self, order: str) -> str:
        """Return what the deadline made of it."""
        answer = await self.gate.confirm(
            f"Refund {order}?", timeout=timedelta(seconds=1), on_timeout=OnTimeout.approve
        )
        return "refunded by silence" if answer.approved and answer.timed_out else "kept"


@workflow.defn
class NotVerified:
    """Asks once, on a worker that has no plugin, and so verifies no signature."""

    @workflow.init
    def __init__(self, order: str) -> None:
        self.gate = hitl.Gate()

    @workflow.run
    async def run(self, order: str) -> str:
        """Return who said yes, and how far that can be believed."""
        answer = await self.gate.confirm(f"Refund {order}?")
        return f"{answer.resolved_by}, {answer.identity.value}"
