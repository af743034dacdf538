"""What happens in a run and in its child runs, as one stream.

Owns the order: a child run's events stand between the start and the output of its step. Knows
nothing of executions or journals.
"""

from __future__ import annotations

import asyncio
import contextlib
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
FOLLOWED = 50
"""How many child runs are followed at once; what others tell comes once they have ended."""

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
        self._joined: list[tuple[str, str, str, Chronicle]] = []
        """Child runs that were on their way: whose, where, which."""
        self._tasks: list[asyncio.Task[None]] = []
        self._chronicles: list[Chronicle] = []
        self._children = _Children(self._tell_of_child)
        self._root = self._chronicle(run_id)

    async def join(self) -> None:
        """Leave out all that has been told until now."""
        await self._root.join()
        for run in (await self._reach.family(self._run_id)).runs():
            for path, child in run.children.items():
                chronicle = self._chronicle(child)
                with contextlib.suppress(NoWorker, RunError):
                    await chronicle.join()
                    self._joined.append((run.run_id, path, child, chronicle))

    async def events(self) -> AsyncGenerator[AnyStreamEvent]:
        """Yield what happens; closed early, it stops following.

        Raises:
            RunNotFound: there is no such run.
            NoWorker: no worker answers when it begins.
        """
        for run_id, path, child, chronicle in self._joined:
            self._children.adopt(run_id, path, child, self._aside(chronicle, 1))
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
        async with contextlib.aclosing(chronicle.events()) as events:
            async for event in events:
                await self._before(event, depth)
                if isinstance(event, WorkflowCompletedEvent) and (output := await chronicle.end()):
                    event = _filled(event, output)
                await self._queue.put(event.model_copy(update={"nested_depth": depth}))
                self._after(event, depth)
        return event

    async def _before(self, event: AnyStreamEvent, depth: int) -> None:
        if isinstance(event, StepOutputEvent | StepErrorEvent):
            await self._children.told(event.run_id, event.path)
        elif isinstance(event, _End) and depth == 0:
            await self._finish_children()

    def _after(self, event: AnyStreamEvent, depth: int) -> None:
        if isinstance(event, StepStartedEvent) and event.child_run_id:
            self._children.expect(event.run_id, event.path, event.child_run_id, depth + 1)
        elif isinstance(event, RunSnapshotEvent):
            for path, child in event.run_output.children.items():
                self._children.expect(event.run_id, path, child, depth + 1)
            self._children.tell_expected()

    async def _finish_children(self) -> None:
        self._finish()
        await self._children.all_told()
        while self._children.tell_expected():
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
    """Matches steps that are child runs with the runs that history says were started.

    The steps say between which events a child run tells its own, and history which run it is: one
    after another may have the same id.
    """

    def __init__(self, tell: Callable[[str, str | None, int], asyncio.Task[None]]) -> None:
        self._tell = tell
        self._at: dict[tuple[str, str], str] = {}
        self._expected: dict[str, int] = {}
        self._begun: dict[str, list[str]] = {}
        self._known: set[str] = set()
        self._telling: dict[str, asyncio.Task[None]] = {}

    def adopt(self, run_id: str, path: str, child: str, telling: asyncio.Task[None]) -> None:
        """Take note of who tells of a child run that is on its way."""
        self._at[run_id, path] = child
        self._telling[child] = telling

    def expect(self, run_id: str, path: str, child: str, depth: int) -> None:
        """Take note that a step has told that it is the run `child`."""
        self._at[run_id, path] = child
        self._expected[child] = depth
        self._match(child)

    def begun(self, child: str, first: str) -> None:
        """Take note that the run `child` has begun, as the execution `first`."""
        if first not in self._known:
            self._known.add(first)
            self._begun.setdefault(child, []).append(first)
            self._match(child)

    def _match(self, child: str) -> None:
        following = sum(not each.done() for each in self._telling.values())
        if child in self._expected and self._begun.get(child) and following < FOLLOWED:
            self._tell_of(child)

    def _tell_of(self, child: str) -> None:
        begun = self._begun.get(child)
        first = begun.pop(0) if begun else None
        self._telling[child] = self._tell(child, first, self._expected.pop(child))

    def tell_expected(self) -> bool:
        """Have told what nobody tells of yet, and return whether there is any."""
        expected = list(self._expected)
        for child in expected:
            self._tell_of(child)
        return bool(expected)

    async def told(self, run_id: str, path: str) -> None:
        """Wait until all is told of the child run at `path`, which has ended, if there is one."""
        child = self._at.pop((run_id, path), None)
        if child is None:
            return
        if child in self._expected:
            self._tell_of(child)
        if child in self._telling:
            await asyncio.gather(self._telling.pop(child), return_exceptions=True)

    async def all_told(self) -> None:
        """Wait until who tells has told all."""
        while telling := [task for task in self._telling.values() if not task.done()]:
            await asyncio.wait(telling)


def _filled(event: WorkflowCompletedEvent, output: WorkflowRunOutput) -> WorkflowCompletedEvent:
    more = {"content": output.content, "step_results": output.step_results, "run_output": output}
    return event.model_copy(update=more)


def _end_of(output: WorkflowRunOutput) -> AnyStreamEvent:
    """Return the end of a run that could not tell it itself."""
    shared: dict[str, Any] = {
        "run_id": output.run_id,
        "workflow_name": output.workflow_name,
        "session_id": output.session_id,
        "created_at": datetime.now(UTC),
    }
    match output.status:
        case RunStatus.completed:
            return _filled(WorkflowCompletedEvent(**shared), output)
        case RunStatus.cancelled:
            return WorkflowCancelledEvent(**shared, reason=output.error or "the run was cancelled")
        case _:
            error = output.error or "the run failed"
            return WorkflowErrorEvent(**shared, error=error, error_type=output.error_type)
