"""Has the approvals of a run filed as they close, by activities, before what they approve runs.

Makes the records, of the run's own copy of the question. What has closed and is not on file yet
keeps the run from ending, and from continuing as new.
"""

# temporalio's own signatures hold bare Callables and TypeVars.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

from temporal_hitl._progress import Progress
from temporal_hitl._sizes import size_of
from temporal_hitl.approvals import Approval, ApprovalStatus
from temporal_hitl.plan import approvals_activity
from temporal_hitl.requirements import (
    Answer,
    AnyRequirement,
    EditArguments,
    Report,
    ResolutionRecord,
    Withdrawn,
)
from temporal_hitl.turns import Need
from temporal_hitl.workflow import Gate

ONE_TRY = timedelta(seconds=30)
SLOWEST = timedelta(minutes=1)
"""How long a sink that fails is left alone, at most."""
ON_FILE = 256_000
"""Bytes of arguments, or of what was given instead, that a record holds; of more, the digest."""
IN_RUN = 2_000
"""The same in the run, which tells it until it has ended, and which a requirement tells in full."""


class Filing:
    """Files the approvals of one execution of a run, and keeps what is told of them."""

    def __init__(self, gate: Gate, progress: Progress, requester: str | None) -> None:
        self._gate = gate
        self._progress = progress
        self._requester = requester
        self._closed: dict[str, Approval] = {}
        """What is not on file yet, by the requirement's id."""
        self._under_way: dict[str, asyncio.Task[None]] = {}
        gate.tell_closed(self._close)

    def excluded(self, need: Need) -> tuple[str, ...]:
        """Return who may not decide on a call."""
        known = need.excludes_requester and self._requester is not None
        return (str(self._requester),) if known else ()

    def is_for_nobody(self, need: Need) -> bool:
        """Return whether nobody may decide on a call: nobody knows who would be another."""
        return need.excludes_requester and not self._requester

    def told(self) -> list[Approval]:
        """Return how the run's approvals stand: the latest that have closed, and what is open."""
        asked = [each for each in self._gate.open if each.approval is not None]
        pending = [approval_of(each, self._requester) for each in asked]
        closed = [*self._progress.approvals, *self._closed.values()]
        return [within(each, IN_RUN) for each in (*closed, *pending)]

    def _close(self, asked: AnyRequirement, record: ResolutionRecord) -> None:
        if asked.approval is not None:
            self._closed[asked.id] = within(closed_as(asked, record, self._requester), ON_FILE)

    @property
    def busy(self) -> list[str]:
        """What is not on file yet, as activity ids."""
        return [_activity_id(each) for each in self._closed]

    @property
    def waits(self) -> bool:
        """Whether anything is to be filed, and nobody has begun to."""
        return any(each not in self._under_way for each in self._closed)

    def begin(self) -> None:
        """Begin to file what has closed."""
        for key, record in self._closed.items():
            if key not in self._under_way:
                self._under_way[key] = asyncio.create_task(self._file(key, record))

    async def filed(self, requirement_id: str) -> None:
        """Wait until a requirement that has closed is on file, where it is to be."""
        if requirement_id in self._closed:
            await workflow.wait_condition(lambda: requirement_id not in self._closed)

    async def all_filed(self) -> None:
        """File all that has closed; there is nothing to wait for where nothing has."""
        while self._closed:
            self.begin()
            await workflow.wait_condition(lambda: not self._closed or self.waits)

    async def _file(self, key: str, record: Approval) -> None:
        # Never given up: what is not on file must not be executed, and what was decided is to be
        # known. An operator reads why in the pending activity.
        while not await self._was_filed(key, record):
            await workflow.sleep(SLOWEST, summary=f"{record.id} is not on file")
        del self._closed[key], self._under_way[key]
        self._progress.file(within(record, IN_RUN))

    async def _was_filed(self, key: str, record: Approval) -> bool:
        try:
            await workflow.execute_activity(
                approvals_activity(workflow.info().workflow_type),
                record.model_dump(mode="json"),
                activity_id=_activity_id(key),
                start_to_close_timeout=ONE_TRY,
                retry_policy=RetryPolicy(maximum_interval=SLOWEST),
                summary=f"{record.status.value}: {record.tool_name}",
            )
        except ActivityError:
            return False
        return True


def _activity_id(requirement_id: str) -> str:
    return f"{requirement_id}.~approval"


def approval_of(asked: AnyRequirement, requester: str | None) -> Approval:
    """Return the record of a requirement of this run, as it is opened."""
    info = workflow.info()
    assert asked.approval is not None, "only what is an approval has a record"
    return Approval(
        id=f"{info.workflow_id}/{asked.id}",
        status=ApprovalStatus.pending,
        type=asked.approval,
        run_id=info.workflow_id,
        requirement_id=asked.id,
        kind=asked.kind,
        pipeline=info.workflow_type,
        agent_name=getattr(asked, "agent_name", None),
        path=asked.path,
        tool_name=getattr(asked, "tool_name", None),
        arguments=getattr(asked, "tool_args", None),
        digest=asked.digest,
        requested_by=requester,
        created_at=asked.created_at,
        deadline=asked.deadline,
        asks=asked.roles,
    )


def closed_as(asked: AnyRequirement, record: ResolutionRecord, requester: str | None) -> Approval:
    """Return the record of a requirement of this run, as it closes."""
    how = {
        "status": _status(record),
        "given": _given(record),
        "resolved_at": record.resolved_at,
        "resolved_by": record.resolved_by,
        "identity": record.identity,
        "roles": record.roles,
        "channel": record.channel,
        "decided_by": record.decided_by,
        "action": record.action,
        "comment": _why(record),
    }
    return approval_of(asked, requester).model_copy(update=how)


def _status(record: ResolutionRecord) -> ApprovalStatus:
    if record.withdrawn:
        return ApprovalStatus.cancelled
    if record.approved:
        return ApprovalStatus.approved
    return ApprovalStatus.expired if record.timed_out else ApprovalStatus.rejected


def _why(record: ResolutionRecord) -> str | None:
    if isinstance(record.resolution, Withdrawn):
        return record.resolution.reason
    return record.feedback or record.comment


def _given(record: ResolutionRecord) -> Any:
    match record.resolution:
        case EditArguments(arguments=arguments):
            return arguments
        case Answer(values=values):
            return values
        case Report(result=result, error=error):
            return {"result": result, "error": error}
        case _:
            return None


def within(record: Approval, limit: int) -> Approval:
    """Return a record without what has more bytes than `limit`, telling how many that are."""
    sizes = {name: size_of(getattr(record, name)) for name in ("arguments", "given")}
    large = {name: size for name, size in sizes.items() if size > limit}
    if not large:
        return record
    return record.model_copy(update={**dict.fromkeys(large), "omitted": record.omitted | large})
