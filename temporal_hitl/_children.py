"""A pipeline as a step of another: starts the child run, waits for its end, and cancels it with the
branch that waits.

A child that has started does not keep its parent from continuing as a new execution. The execution
that started it hears of its end from Temporal. A later one looks for it: when the child says that
it ends, by a signal that anybody could send and that is not believed, and every now and then.
"""

# temporalio's own signatures hold bare Callables and TypeVars.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import (
    RetryPolicy,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError, ChildWorkflowError, FailureError

from temporal_hitl._attributes import HITL_TAGS
from temporal_hitl._caller import Message, StepFailed
from temporal_hitl._child_end import ChildEnd, ChildOutput, completed
from temporal_hitl._progress import ChildProgress
from temporal_hitl._sizes import size_of
from temporal_hitl._wire import read
from temporal_hitl.plan import Child, child_activity
from temporal_hitl.requirements import digest_of
from temporal_hitl.run import RunOptions
from temporal_hitl.workflow import Gate

PARENT_PATH = "hitl_parent_path"
"""The memo field that makes a run tell its parent that it ends: its path there."""
CHILD_ENDED = "child_ended"
"""The signal by which it does."""
LONGEST_ID = 1000
"""Bytes that Temporal allows a workflow id."""
LOOKS = timedelta(minutes=10), timedelta(hours=6)
"""After how long a child that says nothing is looked for: at first, doubling, and at most."""
LOOK_AT_ONCE, LOOK_UNTIL_THE_END = 2.0, 20.0
"""Seconds that a look takes at a child that still runs, and at one that said that it ends."""

T = TypeVar("T")


class Children:
    """Runs child workflows; `in_flight` holds those that have not ended, by their step's path.

    `hold` is asked before a child is started or looked for, and `message` whether it has room for
    what one is given.
    """

    def __init__(
        self,
        in_flight: dict[str, ChildProgress],
        gate: Gate,
        hold: Callable[[], Awaitable[None]],
        message: Message,
    ) -> None:
        self._in_flight = in_flight
        self._gate = gate
        self._hold = hold
        self._message = message
        self._starts: dict[str, asyncio.Task[workflow.ChildWorkflowHandle[Any, Any]]] = {}
        self._busy: dict[str, None] = {}
        self._wakes: dict[str, asyncio.Future[None]] = {}
        workflow.set_signal_handler(CHILD_ENDED, self._nudge)
        if in_flight:
            self._show()

    @property
    def busy(self) -> list[str]:
        """The paths at which a child is being started, looked for or cancelled."""
        return list(self._busy)

    @property
    def run_ids(self) -> dict[str, str]:
        """The runs in flight, by path."""
        return {path: child.run_id for path, child in self._in_flight.items()}

    async def run(
        self, path: str, child: Child, run_input: Any, options: RunOptions
    ) -> ChildOutput:
        """Return what the child at `path` came to; start it unless an earlier execution did.

        Raises:
            StepFailed: it did not complete, or cannot be started.
        """
        try:
            if path in self._in_flight:
                ended = await self._later_end(path)
            else:
                ended = await self._end(path, child, run_input, options)
        except (Exception, asyncio.CancelledError):
            # Not `finally`: that runs on garbage collection too, in the midst of another run.
            await undisturbed(self._stop(path))
            raise
        run_id = self._in_flight.pop(path).run_id
        self._show()
        return completed(path, run_id, ended)

    def _show(self) -> None:
        self._gate.board.show_children(self.run_ids)

    # In the execution that starts it

    async def _end(self, path: str, child: Child, run_input: Any, options: RunOptions) -> ChildEnd:
        handle = await self._started(path, child, [run_input, options.model_dump(mode="json")])
        try:
            # Shielded, here and below: to cancel a handle is another way to cancel the child.
            return ChildEnd(returned=await asyncio.shield(handle))
        except ChildWorkflowError as failed:
            return ChildEnd.badly(handle.id, failed.cause)

    async def _started(
        self, path: str, child: Child, inputs: list[Any]
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        await self._hold()
        await self._message.room_for(size_of(inputs))
        self._busy[path] = None
        run_id = child_run_id(workflow.info().workflow_id, path)
        self._in_flight[path] = ChildProgress(run_id=run_id)
        start = self._starts[path] = asyncio.create_task(self._start(path, run_id, child, inputs))
        try:
            handle = await asyncio.shield(start)
        except FailureError as error:
            del self._in_flight[path], self._busy[path]
            raise StepFailed(path, "temporal_hitl.ChildNotStarted", str(error)) from error
        del self._busy[path]
        self._in_flight[path].execution_id = handle.first_execution_run_id
        self._show()
        return handle

    async def _start(
        self, path: str, run_id: str, child: Child, inputs: list[Any]
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        tags = SearchAttributePair(HITL_TAGS, self._gate.board.base_tags)
        return await workflow.start_child_workflow(
            child.pipeline,
            args=inputs,
            id=run_id,
            task_queue=child.task_queue,
            # This run cancels it: Temporal would, whenever this run continues as a new execution.
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
            # What a reset of this run has left behind is replaced.
            id_reuse_policy=WorkflowIDReusePolicy.TERMINATE_IF_RUNNING,
            memo={PARENT_PATH: path},
            search_attributes=TypedSearchAttributes([tags] if self._gate.board.base_tags else []),
            static_summary=child.summary,
        )

    # In a later one

    async def _later_end(self, path: str) -> ChildEnd:
        child = self._in_flight[path]
        first, longest = LOOKS
        pause = first
        while True:
            if not child.nudged:
                await self._until_nudged(path, pause)
            await self._hold()
            pause = first if child.nudged else min(pause * 2, longest)
            patience = LOOK_UNTIL_THE_END if child.nudged else LOOK_AT_ONCE
            child.nudged = False
            if ended := await self._look(path, child, patience):
                return read(ChildEnd, ended)

    def _nudge(self, *told: Any) -> None:
        # Anybody may send anything: it starts a look at most, and a signal handler must not raise.
        for path, child in self._in_flight.items():
            if told[:2] == (path, child.run_id):
                child.nudged = True
                self._wake(path)

    def _wake(self, path: str) -> None:
        wake = self._wakes.get(path)
        if wake is not None and not wake.done():
            wake.set_result(None)

    async def _until_nudged(self, path: str, pause: timedelta) -> None:
        # As the gate's deadline: a `wait_condition` with a timeout replays on one Python only.
        wake = self._wakes[path] = asyncio.get_running_loop().create_future()
        timer = asyncio.create_task(self._wake_after(pause, path))
        try:
            await wake
        except asyncio.CancelledError:
            timer.cancel()
            raise
        timer.cancel()

    async def _wake_after(self, pause: timedelta, path: str) -> None:
        await workflow.sleep(pause, summary=f"looks for {self._in_flight[path].run_id}")
        self._wake(path)

    async def _look(self, path: str, child: ChildProgress, patience: float) -> dict[str, Any]:
        self._busy[path] = None
        try:
            return await workflow.execute_activity(
                child_activity(workflow.info().workflow_type),
                args=[child.run_id, child.execution_id, patience],
                activity_id=f"{path}.child",
                result_type=dict[str, Any],
                start_to_close_timeout=timedelta(minutes=1),
                retry_policy=RetryPolicy(maximum_interval=LOOKS[0]),
                summary=f"looks for {child.run_id}",
            )
        finally:
            del self._busy[path]

    # When nobody waits for it any more

    async def stop_all(self) -> None:
        """Cancel what is in flight: the run ends."""
        for path in list(self._in_flight):
            await undisturbed(self._stop(path))

    async def _stop(self, path: str) -> None:
        self._busy[path] = None
        try:
            if path in self._starts:
                await asyncio.gather(self._starts[path], return_exceptions=True)
            child = self._in_flight.pop(path, None)
            if child is not None:
                self._show()
                # It may have ended just now.
                with contextlib.suppress(ApplicationError):
                    await workflow.get_external_workflow_handle(child.run_id).cancel()
        finally:
            del self._busy[path]


def child_run_id(parent: str, path: str) -> str:
    """Return the id of the child at `path` of the run `parent`: the same whenever it is asked."""
    whole = f"{parent}.{path}"
    if len(whole.encode()) <= LONGEST_ID:
        return whole
    digest = digest_of(whole)[:16]
    return whole.encode()[: LONGEST_ID - 17].decode(errors="ignore") + f".{digest}"


async def telling_parent(run: Awaitable[T]) -> T:
    """Return what `run` returns, once the parent that waits for this run knows that it ends."""
    try:
        result = await run
    except (Exception, asyncio.CancelledError):
        await _tell_parent()
        raise
    await _tell_parent()
    return result


async def _tell_parent() -> None:
    info = workflow.info()
    path: Any = workflow.memo_value(PARENT_PATH, None)
    if info.parent is None or path is None:
        return
    parent = workflow.get_external_workflow_handle(info.parent.workflow_id)
    # It may be gone; and who cancels a run that has ended is too late.
    with contextlib.suppress(ApplicationError, asyncio.CancelledError):
        await parent.signal(CHILD_ENDED, args=[path, info.workflow_id])


async def undisturbed(work: Coroutine[Any, Any, None]) -> None:
    """Wait until `work` is done, however often the one who waits is cancelled meanwhile."""
    task = asyncio.create_task(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
