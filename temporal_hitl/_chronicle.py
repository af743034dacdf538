"""The events of one run, in order, over all of its executions: from the beginning, or from now on.

Follows a run's history to know when it may have told something new, and then asks its journal.
Knows nothing of child runs, or of when a caller has seen enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionStartedEventAttributes
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from temporal_hitl._reach import Reach
from temporal_hitl.errors import NoWorker, RunError
from temporal_hitl.run import WorkflowRunOutput
from temporal_hitl.stream_events import AnyStreamEvent, RunSnapshotEvent

PAUSES = 0.1, 5.0
"""Seconds after which a journal is asked again that nobody answered for: at first, doubling, and at
most."""

_EVENT: TypeAdapter[AnyStreamEvent] = TypeAdapter(
    AnyStreamEvent, config=ConfigDict(defer_build=True)
)
_BUSY = {
    RPCStatusCode.RESOURCE_EXHAUSTED,  # "consistent query buffer is full"
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.UNKNOWN,
}
_TELLING = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED


class Chronicle:
    """The events of the run whose first execution is `first`, or of the one that has its id now.

    `child_started` is told the id and the first execution of each child run, as history has it.
    """

    def __init__(
        self,
        client: Client,
        run_id: str,
        child_started: Callable[[str, str], None],
        *,
        first: str | None = None,
    ) -> None:
        self._client = client
        self._reach = Reach(client)
        self._run_id = run_id
        self._child_started = child_started
        self._first = first
        self._read: dict[str, int] = {}
        """How far each execution's journal has been read."""
        self._through: set[str] = set()
        """The executions that are read to their end."""
        self._lengths: dict[str, int] = {}
        self._forked: dict[str, datetime] = {}
        """When an execution left the one that it was reset from, which has been read."""
        self._new = asyncio.Event()
        self._over = False
        self._heard = False
        self._is_torn = False

    async def join(self) -> None:
        """Leave out all that has been told until now."""
        *earlier, execution = await self._fresh()
        self._through |= set(earlier)
        self._is_torn = False
        self._read[execution] = (await self._ask(execution, -1))["total"]

    def finish(self) -> None:
        """Tell what there is now, and no more."""
        self._over = True
        self._new.set()

    async def events(self) -> AsyncGenerator[AnyStreamEvent]:
        """Yield the events until the run has ended, or `finish` was called."""
        while fresh := await self._fresh():
            if self._is_torn:
                self._is_torn = False
                yield await self._snapshot()
            for execution in fresh:
                async with aclosing(self._of(execution)) as events:
                    async for event in events:
                        yield event
                self._through.add(execution)

    async def end(self) -> WorkflowRunOutput | None:
        """Return how the run has ended, if it has, and nobody has taken its id since."""
        described = await self._reach.describe(self._run_id)
        is_running = described.status is WorkflowExecutionStatus.RUNNING
        if is_running or described.run_id not in self._read:
            return None
        output = await self._reach.whole(await self._reach.state(self._run_id))
        return output if output.execution_id == described.run_id else None

    async def _snapshot(self) -> AnyStreamEvent:
        output = await self._reach.whole(await self._reach.family(self._run_id))
        return RunSnapshotEvent(
            run_id=output.run_id,
            workflow_name=output.workflow_name,
            session_id=output.session_id,
            created_at=datetime.now(UTC),
            run_output=output,
        )

    # Executions

    async def _fresh(self) -> list[str]:
        """Return the executions that are to be read next, in order."""
        described = await self._reach.describe(self._run_id)
        first = described.raw_description.workflow_execution_info.first_run_id
        self._first = self._first or first
        if first != self._first:  # Another run has its id now.
            return [] if self._first in self._through else [self._first]
        self._lengths[described.run_id] = described.history_length
        # Backwards: an execution that was reset is none of those that led to the latest.
        execution, found = described.run_id, list[str]()
        while execution and execution not in self._through:
            started = await self._started(execution)
            if started is None:
                # Retention has deleted it, and all before it.
                self._is_torn = not self._read
                break
            found.insert(0, execution)
            execution = started.continued_execution_run_id
        return found

    async def _started(self, execution: str) -> WorkflowExecutionStartedEventAttributes | None:
        handle = self._client.get_workflow_handle(self._run_id, run_id=execution)
        try:
            async for event in handle.fetch_history_events(page_size=1):
                return event.workflow_execution_started_event_attributes
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        return None

    async def _of(self, execution: str) -> AsyncGenerator[AnyStreamEvent]:
        self._read.setdefault(execution, 0)
        caught_up = asyncio.Event()
        following = asyncio.create_task(self._follow(execution, caught_up))
        try:
            await caught_up.wait()
            while True:
                self._new.clear()
                last = self._over or following.done()
                async for event in self._untold(execution):
                    yield event
                if last:
                    break
                await self._new.wait()
            if following.done():
                following.result()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self, execution: str, caught_up: asyncio.Event) -> None:
        handle = self._client.get_workflow_handle(self._run_id, run_id=execution)
        now = self._lengths.get(execution)
        try:
            async for event in handle.fetch_history_events(wait_new_event=True):
                self._learn(execution, event)
                if now is not None and event.event_id >= now:
                    caught_up.set()
                if event.event_type == _TELLING:
                    self._new.set()
        finally:
            caught_up.set()
            self._new.set()

    def _learn(self, execution: str, event: HistoryEvent) -> None:
        if event.HasField("child_workflow_execution_started_event_attributes"):
            child = event.child_workflow_execution_started_event_attributes.workflow_execution
            self._child_started(child.workflow_id, child.run_id)
        if event.workflow_task_failed_event_attributes.base_run_id in self._read:
            self._forked[execution] = event.event_time.ToDatetime(UTC)

    # Journals

    async def _untold(self, execution: str) -> AsyncIterator[AnyStreamEvent]:
        more = True
        while more:
            told = await self._ask(execution, self._read[execution])
            for index, data in enumerate(told["events"], told["after"]):
                self._read[execution] = index + 1
                event = _EVENT.validate_python(data, extra="ignore")
                # What it shares with the execution that it was reset from has been told.
                forked = self._forked.get(execution)
                if forked is None or event.created_at >= forked:
                    yield event
            more = self._read[execution] < told["total"]

    async def _ask(self, execution: str, after: int) -> dict[str, Any]:
        pause, longest = PAUSES
        while True:
            try:
                told = await self._reach.query(self._run_id, "journal", after, execution=execution)
            except (NoWorker, RPCError) as error:
                if not self._heard or (isinstance(error, RPCError) and error.status not in _BUSY):
                    raise
            except WorkflowQueryFailedError as error:
                raise RunError(f"run {self._run_id!r} tells no events: {error}") from error
            else:
                self._heard = True
                return told
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)
