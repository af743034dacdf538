"""Workflows written by hand, as a user's module holds them: sandboxed, with a gate alone."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel, Field, field_validator
from temporalio import workflow

from temporal_hitl import ResolutionRecord, UserInputField
from temporal_hitl import workflow as hitl


class Invoice(BaseModel):
    amount: int = Field(gt=0, description="Euro")
    payee: str


class Brittle(BaseModel):
    code: str

    @field_validator("code")
    @classmethod
    def known(cls, code: str) -> str:
        return {"a": "b"}[code]


FIELDS = [
    UserInputField("mode", allowed_values=("fast", "slow")),
    {"name": "n", "field_type": "int"},
]
NONE_REQUIRED = [UserInputField("note", required=False)]
FORMS: dict[str, Any] = {
    "model": Invoice,
    "brittle": Brittle,
    "fields": FIELDS,
    "optional": NONE_REQUIRED,
}


def told(record: ResolutionRecord) -> dict[str, Any]:
    """Return what the author of a workflow sees of a decision."""
    seen = ("requirement_id", "action", "approved", "values", "choices", "output", "feedback")
    also = ("timed_out", "resolved_by", "decided_by", "door")
    return {name: getattr(record, name) for name in (*seen, *also)}


@workflow.defn
class Desk:
    """Asks what its input says, one after the other or all at once, and returns every decision."""

    @workflow.init
    def __init__(self, asks: list[dict[str, Any]], together: bool = False) -> None:
        self.gate = hitl.Gate()

    @workflow.run
    async def run(self, asks: list[dict[str, Any]], together: bool = False) -> list[Any]:
        if together:
            return list(await asyncio.gather(*(self.ask(**each) for each in asks)))
        return [await self.ask(**each) for each in asks]

    async def ask(self, kind: str, **given: Any) -> dict[str, Any]:
        if "form" in given:
            given["form"] = FORMS[given["form"]]
        return told(await getattr(self.gate, kind)("Well?", **given))


@workflow.defn
class InSandbox:
    @workflow.init
    def __init__(self) -> None:
        self.gate = hitl.Gate()

    @workflow.run
    async def run(self) -> bool:
        await self.gate.confirm("Go?")
        return workflow.unsafe.in_sandbox()


@workflow.defn
class TwoGates:
    @workflow.init
    def __init__(self) -> None:
        self.gates = [hitl.Gate(), hitl.Gate()]

    @workflow.run
    async def run(self) -> None:
        raise AssertionError("unreachable")


@workflow.defn
class OwnSignal:
    @workflow.init
    def __init__(self) -> None:
        self.gate = hitl.Gate()

    @workflow.run
    async def run(self) -> None:
        raise AssertionError("unreachable")

    @workflow.signal
    def resolve(self) -> None:
        pass


@workflow.defn
class OwnUpdate:
    @workflow.init
    def __init__(self) -> None:
        self.gate = hitl.Gate()

    @workflow.run
    async def run(self) -> None:
        raise AssertionError("unreachable")

    @workflow.update
    def confirm(self) -> None:
        pass


@workflow.defn
class OwnQuery:
    @workflow.init
    def __init__(self) -> None:
        self.gate = hitl.Gate()

    @workflow.run
    async def run(self) -> None:
        raise AssertionError("unreachable")

    @workflow.query
    def requirements(self) -> None:
        pass


@workflow.defn
class Parent:
    @workflow.init
    def __init__(self, child: str) -> None:
        self.gate = hitl.Gate()

    @workflow.run
    async def run(self, child: str) -> list[Any]:
        asks = [{"kind": "confirm", "name": "below"}]
        below = workflow.execute_child_workflow(Desk.run, args=[asks, False], id=child)
        return list(await asyncio.gather(self.above(), below))

    async def above(self) -> dict[str, Any]:
        return told(await self.gate.confirm("Go?", name="above"))


WORKFLOWS = [Desk, InSandbox, TwoGates, OwnSignal, OwnUpdate, OwnQuery, Parent]
