"""The other side of the comparison: the same job written by hand, as Temporal's guides teach it.

Three activities, one update with a validator, one deadline with a summary. `ByHand` is the ordinary
class; `Unsandboxed` is it with the sandbox off, which generated pipelines have too; `WithInbox`
writes the memo and the attributes that any list of open questions needs. The `Straight` ones ask
nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow
from temporalio.common import SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    from tests.benchmarks.job import Rows, load, redact, save

DEADLINE = timedelta(days=3)
STATUS = SearchAttributeKey.for_keyword("HitlStatus")
TAGS = SearchAttributeKey.for_keyword_list("HitlTags")
_A_DAY = timedelta(days=1)


@dataclass
class Decision:
    """What a person answers."""

    approved: bool
    by: str


class _Release:
    def __init__(self) -> None:
        self.decision: Decision | None = None

    @workflow.update
    def resolve(self, decision: Decision) -> Decision:
        """Take the decision."""
        self.decision = decision
        return decision

    @resolve.validator
    def _undecided(self, decision: Decision) -> None:
        if self.decision is not None:
            raise ValueError(f"decided already, by {self.decision.by}")

    async def confirmed(self) -> bool:
        """Wait for the decision or the deadline."""
        try:
            await workflow.wait_condition(
                lambda: self.decision is not None, timeout=DEADLINE, timeout_summary="redact"
            )
        except TimeoutError:
            return False
        return self.decision is not None and self.decision.approved


async def _load(source: str) -> Rows:
    return await workflow.execute_activity(load, source, start_to_close_timeout=_A_DAY)


async def _finish(rows: Rows) -> str:
    redacted = await workflow.execute_activity(redact, rows, start_to_close_timeout=_A_DAY)
    return await workflow.execute_activity(save, redacted, start_to_close_timeout=_A_DAY)


@workflow.defn
class ByHand(_Release):
    """As people write it."""

    @workflow.run
    async def run(self, source: str) -> str:
        """Load, ask, redact, save."""
        rows = await _load(source)
        return await _finish(rows) if await self.confirmed() else "cancelled"


@workflow.defn(sandboxed=False)
class Unsandboxed(_Release):
    """As people write it who know what the sandbox costs, and what it is for."""

    @workflow.run
    async def run(self, source: str) -> str:
        """Load, ask, redact, save."""
        rows = await _load(source)
        return await _finish(rows) if await self.confirmed() else "cancelled"


@workflow.defn(sandboxed=False)
class WithInbox(_Release):
    """Unsandboxed, and one List call shows what it waits for."""

    @workflow.run
    async def run(self, source: str) -> str:
        """Load, ask, redact, save."""
        rows = await _load(source)
        tags = TAGS.value_set(["kind:confirmation"])
        workflow.upsert_search_attributes([STATUS.value_set("pending"), tags])
        workflow.upsert_memo({"waits_for": {"id": "redact", "message": "Redact the names?"}})
        confirmed = await self.confirmed()
        workflow.upsert_search_attributes([STATUS.value_unset(), TAGS.value_unset()])
        return await _finish(rows) if confirmed else "cancelled"


@workflow.defn
class Straight:
    """As people write it who ask nobody."""

    @workflow.run
    async def run(self, source: str) -> str:
        """Load, redact, save."""
        return await _finish(await _load(source))


@workflow.defn(sandboxed=False)
class UnsandboxedStraight:
    """The same with the sandbox off."""

    @workflow.run
    async def run(self, source: str) -> str:
        """Load, redact, save."""
        return await _finish(await _load(source))
