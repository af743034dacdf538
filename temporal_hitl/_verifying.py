"""Has signatures verified: asked for by a run, done by its worker, which alone has the keys.

Owns the activity. It is a local one: our own code, which takes microseconds, within the task that
brought the answer. What a run is told is who signed, or why that counts for nothing.
"""

# temporalio's own signatures hold bare Callables and TypeVars.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

from temporal_hitl._wire import read
from temporal_hitl.errors import BadSignature
from temporal_hitl.requirements import AnyResolution
from temporal_hitl.signing import KEYS, Bound, Signed, SigningKeys

VERIFY = "temporal_hitl.verify"
"""The activity type."""
PATIENCE = timedelta(seconds=10)
"""How long a worker that is busy may take; then the answer is refused, and can be given again."""


class Verifier:
    """Asks this run's worker who signed; knows which questions of its are under way."""

    def __init__(self) -> None:
        self._asked = 0
        self._under_way: list[int] = []

    async def settled(self) -> None:
        """Wait for what is under way now."""
        now = list(self._under_way)
        if now:
            await workflow.wait_condition(lambda: not any(e in self._under_way for e in now))

    async def verify(self, signed: Sequence[AnyResolution]) -> list[Signed]:
        """Return who signed each of these.

        Raises:
            BadSignature: one of them does not hold, or this worker cannot tell.
        """
        self._asked += 1
        ticket = self._asked
        self._under_way.append(ticket)
        try:
            told = await self._told(ticket, [_question(each) for each in signed])
            if self._under_way[0] != ticket:  # The first one wins, not the first one verified.
                await workflow.wait_condition(lambda: self._under_way[0] == ticket)
        except (Exception, asyncio.CancelledError):
            self._under_way.remove(ticket)
            raise
        self._under_way.remove(ticket)
        for resolution, answer in zip(signed, told, strict=True):
            if "problem" in answer:
                raise BadSignature(f"{resolution.requirement_id!r}: {answer['problem']}")
        return [read(Signed, each) for each in told]

    async def _told(self, ticket: int, questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        # A worker without the plugin has no such activity, and the SDK raises before there is any
        # command. A mark in the history says so to replays on workers that have it.
        mark = f"temporal_hitl.cannot-verify.{ticket}"
        if workflow.unsafe.is_replaying() and workflow.patched(mark):
            raise _cannot()
        try:
            asked = workflow.start_local_activity(
                VERIFY,
                questions,
                schedule_to_close_timeout=PATIENCE,
                retry_policy=RetryPolicy(maximum_attempts=1),
                result_type=list[dict[str, Any]],
            )
        except ValueError:
            workflow.patched(mark)
            raise _cannot() from None
        try:
            return await asked
        except ActivityError as error:
            raise BadSignature(
                f"the signature could not be verified ({error.cause}): give the answer again"
            ) from None


def _question(resolution: AnyResolution) -> dict[str, Any]:
    info = workflow.info()
    bound = Bound.of(resolution, info.namespace, info.workflow_id)
    return {"signature": resolution.signature, "bound": bound.model_dump(mode="json")}


def _cannot() -> BadSignature:
    return BadSignature(
        "the worker of this run verifies no signatures: an operator gives it HitlPlugin(), and"
        f" {KEYS}"
    )


class Verification:
    """What a worker verifies with; its keys are read when it starts."""

    def __init__(self) -> None:
        self.find: Callable[[], SigningKeys | None] = lambda: None

    def activity(self) -> Callable[..., Any]:
        """Return the activity."""

        @activity.defn(name=VERIFY)
        async def verify(questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
            """Return who signed each of these, or what is wrong."""
            return [self._one(each["signature"], read(Bound, each["bound"])) for each in questions]

        return verify

    def _one(self, signature: str, bound: Bound) -> dict[str, Any]:
        keys = self.find()
        if keys is None:
            return {"problem": f"the worker of this run has no {KEYS}: an operator sets it there"}
        try:
            return keys.verify(signature, bound).model_dump(mode="json")
        except BadSignature as bad:
            return {"problem": str(bad)}
