"""What subscribers are told of a requirement, and that they are: by a workflow of its own for each
notice, which the run starts and does not wait for.

Owns what a notice says, and when a run starts one. Knows nothing of who a subscriber is.
"""

# temporalio's own signatures hold bare Callables and TypeVars.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict
from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy

from temporal_hitl.requirements import (
    AnyRequirement,
    DecidedBy,
    Identity,
    ResolutionRecord,
    digest_of,
)
from temporal_hitl.review import OnTimeout

NOTIFICATION = "temporal_hitl.Notification"
"""The workflow type that tells subscribers."""
SHOWN = 1000
"""Characters of a message that subscribers are told."""
PATIENCE = timedelta(days=3)
"""How long it is tried to reach a subscriber."""
BEFORE, SHARE = timedelta(hours=1), 0.2
"""How long before its deadline a requirement is due, and at most which share of the time given."""
MOST = 1_000
"""Notices of one execution under way; the server fails a task for ever with 2,000 child runs."""
AT_ONCE = 100
"""Starts that are not confirmed: the server takes so many bytes of a task and no more."""
LONGEST_ID = 1_000
"""Bytes that Temporal allows a workflow id."""


class Event(StrEnum):
    """What has happened to a requirement."""

    opened = "requirement.opened"
    due = "requirement.due"
    closed = "requirement.closed"


class Outcome(BaseModel):
    """How a requirement was closed, without what was answered."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    told: str
    """In one sentence."""
    action: str
    """`confirm`, `reject`, `answer`, ..., `time_out` or `withdraw`."""
    decided_by: DecidedBy
    resolved_by: str | None = None
    """Who decided: a claim, unless `identity` is `signed`."""
    identity: Identity
    resolved_at: datetime

    @classmethod
    def of(cls, record: ResolutionRecord) -> Outcome:
        """Return what may be told of a record."""
        return cls(
            told=record.told()[:SHOWN],
            action=record.action,
            decided_by=record.decided_by,
            resolved_by=record.resolved_by,
            identity=record.identity,
            resolved_at=record.resolved_at,
        )


class Notice(BaseModel):
    """What subscribers are told: no outputs, no values, no arguments."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    id: str = ""
    """The same however often it is told; given when it is."""
    event: Event
    at: datetime
    """When it happened."""
    run_id: str
    chain: str
    """Temporal's id of the run's first execution: another run may have the same `run_id` later."""
    pipeline: str
    requirement_id: str
    kind: str
    path: str
    name: str
    message: str
    """The question as its author wrote it; who may read the run sees it filled in."""
    created_at: datetime
    deadline: datetime | None = None
    on_timeout: OnTimeout | None = None
    """What the deadline does."""
    outcome: Outcome | None = None
    """How it was closed, where it is."""

    def told_by(self, execution_id: str) -> Notice:
        """Return it with its id, as told by this first execution of a notification."""
        told = digest_of([execution_id, self.event.value])[:32]
        return self.model_copy(update={"id": f"evt_{told}"})

    def due(self, at: datetime) -> Notice:
        """Return the notice that the requirement of this one is about to be late."""
        return self.model_copy(update={"event": Event.due, "at": at})


class Telling(BaseModel):
    """What a `temporal_hitl.Notification` is started with."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    notice: Notice
    subscribers: tuple[str, ...]
    due_at: datetime | None = None
    """When they are told that the requirement, if it is still open, is about to be late."""


class Notices:
    """Has the subscribers of requirements told; `note` is told of what could not be started."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._starts = list[asyncio.Task[None]]()
        self._under_way = 0
        self._turns = asyncio.Semaphore(AT_ONCE)

    @property
    def starting(self) -> bool:
        """Whether a start has not been confirmed by the server: it would be lost with the run."""
        return bool(self._starts)

    def opened(self, asked: AnyRequirement, before: float | None) -> None:
        """Tell that `asked` is open, and so many seconds `before` its deadline that it still is."""
        self._tell(asked, Event.opened, asked.created_at, due_at=due_at(asked, before))

    def closed(self, asked: AnyRequirement, record: ResolutionRecord) -> None:
        """Tell how it was closed."""
        self._tell(asked, Event.closed, record.resolved_at, outcome=Outcome.of(record))

    async def started(self) -> None:
        """Wait until the server has started all that is to be told: a matter of milliseconds.

        It does not start a child of a run that ends, or continues as new, in the task that wanted
        it, whatever the child's close policy. Nobody is waited for that is told.
        """
        if self._starts:
            await workflow.wait_condition(lambda: not self._starts)

    def _tell(
        self,
        asked: AnyRequirement,
        event: Event,
        at: datetime,
        *,
        outcome: Outcome | None = None,
        due_at: datetime | None = None,
    ) -> None:
        if not asked.notify:
            return
        if self._under_way >= MOST:
            self._note(f"{asked.id}: {event.value} is not told; too many notices are under way")
            return
        notice = notice_of(asked, event, at, outcome)
        telling = Telling(notice=notice, subscribers=asked.notify, due_at=due_at)
        self._under_way += 1
        start = asyncio.create_task(self._start(telling))
        self._starts.append(start)
        start.add_done_callback(self._starts.remove)

    async def _start(self, telling: Telling) -> None:
        notice = telling.notice
        until_due = timedelta() if telling.due_at is None else telling.due_at - workflow.now()
        await self._turns.acquire()
        try:
            child = await workflow.start_child_workflow(
                NOTIFICATION,
                telling.model_dump(mode="json"),
                id=notification_id(notice),
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
                # A run that was reset tells anew, in place of what it has undone.
                id_reuse_policy=WorkflowIDReusePolicy.TERMINATE_IF_RUNNING,
                # A worker that has the run's type and not this one must not keep it for ever.
                execution_timeout=until_due + 2 * PATIENCE,
                static_summary=f"{notice.event.value} of {notice.requirement_id}",
            )
        except Exception as error:  # Whatever it is: that nobody is told must not stop the run.
            self._under_way -= 1
            self._note(f"{notice.requirement_id}: {notice.event.value} is not told: {error}")
        else:
            child.add_done_callback(self._ended)
        self._turns.release()

    def _ended(self, child: asyncio.Future[Any]) -> None:
        self._under_way -= 1
        if not child.cancelled():
            child.exception()  # Looked at, as asyncio tells of those that nobody has.


def notice_of(
    asked: AnyRequirement, event: Event, at: datetime, outcome: Outcome | None = None
) -> Notice:
    """Return what is told of a requirement of the run that asks."""
    info = workflow.info()
    return Notice(
        chain=info.first_execution_run_id,
        event=event,
        at=at,
        run_id=info.workflow_id,
        pipeline=info.workflow_type,
        requirement_id=asked.id,
        kind=asked.kind,
        path=asked.path,
        name=asked.name,
        message=(asked.template or asked.message)[:SHOWN],
        created_at=asked.created_at,
        deadline=asked.deadline,
        on_timeout=asked.on_timeout,
        outcome=outcome,
    )


def due_at(asked: AnyRequirement, before: float | None) -> datetime | None:
    """Return when `asked` is about to be late: `before` its deadline, or a while."""
    if asked.deadline is None:
        return None
    given = asked.deadline - asked.created_at
    ahead = min(BEFORE, given * SHARE) if before is None else timedelta(seconds=before)
    return max(asked.deadline - ahead, asked.created_at)


def notification_id(notice: Notice) -> str:
    """Return the workflow id under which a notice is told: the same whenever it is asked.

    Nothing in it is the time or the execution: the first is not the same on replay in the
    activation that follows a local activity, and a reset changes the second.
    """
    digest = digest_of([notice.chain, notice.requirement_id, notice.event.value])[:12]
    end = f".{notice.event.value.rpartition('.')[2]}.{digest}"
    place = f"{notice.run_id}.{notice.requirement_id}".encode()
    return place[: LONGEST_ID - len(end)].decode(errors="ignore") + end
