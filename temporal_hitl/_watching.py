"""What happens in a run and in its child runs, as one stream.

Owns the order: a child run's events stand between the start and the output of its step. Knows
nothing of executions or journals.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from temporalio.client import Client

from temporal_hitl._chronicle import Chronicle
from temporal_hitl._reach import Reach
from temporal_hitl.errors import NoWorker, RunError
from temporal_hitl.run import RunStatus, WorkflowRunOutput
from temporal_hitl.stream_events import (
    AnyStreamEvent,
    RunSnapshotEvent,
    StepErrorEvent,
    StepOutputEvent,
    StepStartedEvent,
    WorkflowCancelledEvent,
    WorkflowCompletedEvent,
    WorkflowErrorEvent,
)

AHEAD = 100
"""How many events are read ahead of who takes them."""

Until = Callable[[], Awaitable[WorkflowRunOutput]]
_End = WorkflowCompletedEvent | WorkflowCancelledEvent | WorkflowErrorEvent


class Watching:
    """Watches a run until it has ended; or, with `until`, until that returns."""

    def __init__(self, client: Client, run_id: str, *, until: Until | None = None) -> None:
        self._client = client
        self._reach = Reach(client)
        self._run_id = run_id
        self._until = until
        self._queue = asyncio.Queue[AnyStreamEvent | Exception | None](AHEAD)
        self._over = False
        self._tasks: list[asyncio.Task[None]] = []
        self._children = _Children(self._tell_of_child)
        self._chronicles: list[Chronicle] = []
        self._root = self._chronicle(run_id)

    async def join(self) -> None:
        """Leave out all that has been told until now."""
        await self._root.join()
        output = await self._reach.family(self._run_id)
        for child in list(output.runs())[1:]:
            chronicle = self._chronicle(child.run_id)
            await chronicle.join()
            self._children.adopt(output, child.run_id, self._aside(chronicle, 1))

    async def events(self) -> AsyncGenerator[AnyStreamEvent]:
        """Yield what happens; closed early, it stops following.

        Raises:
            RunNotFound: there is no such run.
            NoWorker: no worker answers when it begins.
        """
        self._spawn(self._tell_all())
        waiting = None if self._until is None else self._spawn(self._wait(self._until))
        try:
            while (event := await self._queue.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
            if waiting is not None:
                await waiting
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    async def _wait(self, until: Until) -> None:
        try:
            await until()
        finally:
            self._finish()

    def _finish(self) -> None:
        self._over = True
        for chronicle in self._chronicles:
            chronicle.finish()

    def _chronicle(self, run_id: str, first: str | None = None) -> Chronicle:
        chronicle = Chronicle(self._client, run_id, self._children.begun, first=first)
        self._chronicles.append(chronicle)
        if self._over:
            chronicle.finish()
        return chronicle

    # Who tells what

    async def _tell_all(self) -> None:
        try:
            last = await self._tell(self._root, 0)
            await self._finish_children()
            if not isinstance(last, _End) and (ended := await self._root.end()):
                await self._queue.put(_end_of(ended))
        except Exception as error:
            await self._queue.put(error)
        else:
            await self._queue.put(None)

    async def _tell(self, chronicle: Chronicle, depth: int) -> AnyStreamEvent | None:
        event: AnyStreamEvent | None = None
        async for event in chronicle.events():
            match event:
                case StepOutputEvent() | StepErrorEvent():
                    await self._children.told(event.run_id, event.path)
                case WorkflowCompletedEvent() | WorkflowCancelledEvent() | WorkflowErrorEvent():
                    if depth == 0:
                        await self._finish_children()
                case _:
                    pass
            whole = await _completed(event, chronicle)
            await self._queue.put(whole.model_copy(update={"nested_depth": depth}))
            match event:
                case StepStartedEvent(child_run_id=str(child)):
                    self._children.expect(event.run_id, event.path, child, depth + 1)
                case RunSnapshotEvent(run_output=output):
                    for path, child in output.children.items():
                        self._children.expect(event.run_id, path, child, depth + 1)
                        self._children.tell_expected()
                case _:
                    pass
        return event

    async def _finish_children(self) -> None:
        self._finish()
        while self._children.tell_expected():
            await self._children.all_told()
        await self._children.all_told()

    def _tell_of_child(self, run_id: str, first: str | None, depth: int) -> asyncio.Task[None]:
        return self._aside(self._chronicle(run_id, first), depth)

    def _aside(self, chronicle: Chronicle, depth: int) -> asyncio.Task[None]:
        async def tell() -> None:
            # One that cannot be reached is left out.
            with contextlib.suppress(NoWorker, RunError):
                await self._tell(chronicle, depth)

        return self._spawn(tell())


class _Children:
    """Matches steps that are child runs with the runs that history says they started.

    The first tells between which events, the second of which run that has, or had, the id.
    """

    def __init__(self, tell: Callable[[str, str | None, int], asyncio.Task[None]]) -> None:
        self._tell = tell
        self._at: dict[tuple[str, str], str] = {}
        self._expected: dict[str, int] = {}
        self._begun: dict[str, list[str]] = {}
        self._known: set[str] = set()
        self._telling: dict[str, asyncio.Task[None]] = {}

    def expect(self, run_id: str, path: str, child: str, depth: int) -> None:
        """Take note that a step of the run has told that it is the run `child`."""
        self._at[run_id, path] = child
        self._expected[child] = depth
        self._match(child)

    def begun(self, child: str, first: str) -> None:
        """Take note that the run `child` has begun, as the execution `first`."""
        if first not in self._known:
            self._known.add(first)
            self._begun.setdefault(child, []).append(first)
            self._match(child)
"""
"""
