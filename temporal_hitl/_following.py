"""Follows the histories of several runs at once, and says that one of them has something new.

Knows which events may change what a caller waits for, and nothing of what the runs then say.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Self

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus

from temporal_hitl._reach import Reach
from temporal_hitl.errors import RunNotFound

FOLLOWED = 50
"""How many histories are followed at once; each is a call that waits at the server."""
UNFOLLOWED = 5.0
"""After how many seconds there may be something new where there are more runs than that."""

_TELLING = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED,  # Something was asked or answered.
}
_MOVED = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED


class Following:
    """Follows runs for the length of an `async with` block."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._reach = Reach(client)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._new = asyncio.Event()
        self._moved = False
        self._closely = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def news(self, run_ids: Sequence[str], *, closely: bool) -> None:
        """Return once there may be something new in one of these runs, which have not ended.

        A run that was not followed until now has something new. With `closely`, so has one that has
        worked. Raises `RunNotFound` where the first of them is not there.
        """
        self._closely = closely
        if closely and self._moved:
            self._new.set()
        for run_id in run_ids[:FOLLOWED]:
            # One that was over may be there again: a run that is reset replaces its child.
            if run_id not in self._tasks or self._tasks[run_id].done():
                self._tasks[run_id] = asyncio.create_task(self._follow(run_id))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if len(run_ids) <= FOLLOWED else UNFOLLOWED):
                await self._new.wait()
        self._new.clear()
        self._moved = False
        for run_id, task in self._tasks.items():
            error = task.exception() if task.done() else None
            if error and (run_id == run_ids[0] or not isinstance(error, RunNotFound)):
                raise error

    async def _follow(self, run_id: str) -> None:
        try:
            # One execution after another: a run continues as new, and may be reset.
            while await self._follow_execution(run_id):
                pass
        finally:
            self._new.set()

    async def _follow_execution(self, run_id: str) -> bool:
        described = await self._reach.describe(run_id)
        self._new.set()
        if described.status is not WorkflowExecutionStatus.RUNNING:
            return False
        execution = self._client.get_workflow_handle(run_id, run_id=described.run_id)
        async for event in execution.fetch_history_events(wait_new_event=True):
            if event.event_id <= described.history_length:
                continue
            self._moved |= event.event_type == _MOVED
            if event.event_type in _TELLING or (self._closely and self._moved):
                self._new.set()
        return True
