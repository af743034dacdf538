"""The ways to one run, and what goes wrong on them: describe it, query it, tell how it stands or
ended.

Owns the translation of Temporal's answers and errors into ours. Knows nothing of decisions.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import Any, cast
from weakref import WeakValueDictionary

from pydantic import BaseModel, ConfigDict
from temporalio.api.enums.v1 import PendingWorkflowTaskState
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError
from temporalio.service import RPCError, RPCStatusCode

from temporal_hitl._wire import read
from temporal_hitl.errors import NoConversation, NoWorker, RunNotFound
from temporal_hitl.requirements import AnyRequirement, Refusal, ResolutionRecord
from temporal_hitl.run import RunStatus, WorkflowRunOutput

PATIENCE = timedelta(seconds=10)
"""How long a call waits for a worker to answer."""
SOON = 4
"""The part of that after which a query is sent once more: a worker may lose one."""
SLOW = 0.5
"""Seconds after which a query's answer most likely came from another worker than the run's own."""
TRIES = 5
"""How often a conversation is read again that went on meanwhile."""
AT_ONCE = 8
"""Calls in flight for one caller; a run takes ten updates at a time (Temporal's limit)."""

SCHEDULED = PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED
_ABSENT = {
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.FAILED_PRECONDITION,  # "no poller seen for task queue recently"
}
_UNSERVED = ("is not registered on this worker", "Missing initialize workflow")
"""What the SDK says where a worker of the queue lacks the workflow type: at first, and then."""
_END = {
    WorkflowExecutionStatus.COMPLETED: RunStatus.completed,
    WorkflowExecutionStatus.CANCELED: RunStatus.cancelled,
}

_LEAVES_RESULT = {WorkflowExecutionStatus.COMPLETED, WorkflowExecutionStatus.FAILED}

_turns = WeakValueDictionary[str, asyncio.Lock]()
"""One for each run that this process asks. The server holds one query of a run back while one of
its workflow tasks is on its way, and refuses more, which the SDK repeats after a while; and a
worker that evicts a run, as when it has ended, forgets a query that waits behind another."""


class RunRequirements(BaseModel):
    """What one run asks, was told, and refused."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    open: list[AnyRequirement]
    resolved: list[ResolutionRecord] = []
    refused: list[Refusal] = []


class Reach:
    """Reaches the runs of one namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def describe(self, run_id: str) -> WorkflowExecutionDescription:
        """Return Temporal's description; raises `RunNotFound`."""
        try:
            return await self._client.get_workflow_handle(run_id).describe()
        except RPCError as error:
            raise not_found(run_id, error) from error

    async def query(
        self, run_id: str, name: str, *args: Any, execution: str | None = None
    ) -> dict[str, Any]:
        """Return what the run answers, or one `execution` of it; raises `NoWorker` or
        `RunNotFound`.
        """
        handle = self._client.get_workflow_handle(run_id, run_id=execution)
        try:
            async with self._in_turn(run_id):
                told = await _asked(handle, name, args)
        except RPCError as error:
            if error.status in _ABSENT:
                raise await self.nobody_answers(run_id) from error
            raise not_found(run_id, error) from error
        except WorkflowQueryFailedError as error:
            if any(each in str(error) for each in _UNSERVED):
                raise await self.nobody_answers(run_id) from error
            raise
        return cast(dict[str, Any], told)

    @contextlib.asynccontextmanager
    async def _in_turn(self, run_id: str) -> AsyncGenerator[None]:
        # Of one loop, as a lock is.
        turn = f"{id(asyncio.get_running_loop())} {self._client.namespace} {run_id}"
        lock = _turns.setdefault(turn, asyncio.Lock())
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                await lock.acquire()
        except TimeoutError:
            # Nobody answers those before: then all may as well ask at once.
            yield
            return
        try:
            yield
        finally:
            lock.release()

    async def _on_record(self, run_id: str, name: str, *args: Any) -> dict[str, Any]:
        """Return what the run answers, once that is on record.

        A query that waited for a dead worker goes to another one in the end, which makes something
        of events that no workflow task has handled yet, and keeps it. An answer to that would come
        with these events in one task, and be handled after them; but on replay before them: the run
        could never be replayed again.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        told = await self.query(run_id, name, *args)
        if loop.time() - began > SLOW and await self._has_waited(run_id):
            return await self.query(run_id, name, *args)
        return told

    async def _has_waited(self, run_id: str) -> bool:
        """Return whether a workflow task waited for a worker, once one has begun it."""
        give_up = asyncio.get_running_loop().time() + PATIENCE.total_seconds()
        has_waited = False
        while asyncio.get_running_loop().time() < give_up:
            pending = (await self.describe(run_id)).raw_description.pending_workflow_task
            if pending.state != SCHEDULED:
                break
            has_waited = True
            await asyncio.sleep(0.02)
        return has_waited

    async def requirements(self, run_id: str, *, resolved: bool) -> RunRequirements:
        """Return what the run asks; works for every workflow with a gate.

        A pipeline that has ended says it in its result, which needs no worker.
        """
        described = await self.describe(run_id)
        if described.status in _LEAVES_RESULT and (output := await self._told_at_end(described)):
            records = output.resolutions if resolved else []
            return RunRequirements(open=[], resolved=records, refused=output.refused)
        return await self._asked(run_id, resolved=resolved)

    async def _asked(self, run_id: str, *, resolved: bool) -> RunRequirements:
        told = await self._on_record(run_id, "requirements", resolved)
        return read(RunRequirements, told)

    async def _told_at_end(
        self, described: WorkflowExecutionDescription
    ) -> WorkflowRunOutput | None:
        """Return a run's own result; None where it has none of ours, or not with its decisions."""
        output = _as_output((await self._outcome(described))[0])
        if output is None:
            return None
        whole = await self.whole(output)
        lost = {each.part for each in whole.omitted} & {"resolutions", "refused"}
        return None if lost else whole

    async def nobody_answers(self, run_id: str) -> NoWorker:
        """Return the error that says whom the run waits for, when no worker answers."""
        queue = (await self.describe(run_id)).task_queue
        return NoWorker(
            f"no worker answers for run {run_id!r} on task queue {queue!r}; nothing was decided,"
            " and the run is safe. Start a worker that serves it, or look at its last failure:"
            f" temporal workflow describe --workflow-id {run_id}"
        )

    async def family(self, run_id: str) -> WorkflowRunOutput:
        """Return the run as it stands, with its child runs in flight as far as they answer."""
        return await self._family(run_id, asyncio.Semaphore(AT_ONCE))

    async def _family(self, run_id: str, room: asyncio.Semaphore) -> WorkflowRunOutput:
        async with room:
            output = await self.state(run_id)
        children = () if output.has_ended else tuple(output.children.values())
        below = await asyncio.gather(*(self._child(each, room) for each in children))
        return output.model_copy(update={"child_runs": [each for each in below if each]})

    async def _child(self, run_id: str, room: asyncio.Semaphore) -> WorkflowRunOutput | None:
        try:
            return await self._family(run_id, room)
        except (NoWorker, RunNotFound, WorkflowQueryFailedError):
            return None

    async def whole(self, output: WorkflowRunOutput) -> WorkflowRunOutput:
        """Return `output` with what was too large to stand in it and its child runs, as far as that
        can be had.

        What cannot, as no worker answers or as it is there no more, stays named in `omitted`.
        """
        below = [await self.whole(each) for each in output.child_runs]
        filled = await self._filled(output) if output.omitted else output
        return filled.model_copy(update={"child_runs": below})

    async def _filled(self, output: WorkflowRunOutput) -> WorkflowRunOutput:
        told = list(zip(output.omitted, await self._parts(output), strict=False))
        there = [(each, value) for each, value in told if value is not None]
        had = [each for each, _ in there]
        data = output.model_dump() | {each.part: value for each, value in there if not each.path}
        data["omitted"] = [each for each in output.omitted if each not in had]
        whole = read(WorkflowRunOutput, data)
        contents = {each.path: value for each, value in there if each.path}
        for step in whole.walk():
            if step.path in contents:
                step.content = contents[step.path]
        return whole

    async def _parts(self, output: WorkflowRunOutput) -> list[Any]:
        run = self._client.get_workflow_handle(output.run_id, run_id=output.execution_id)
        wanted = [each.model_dump(mode="json") for each in output.omitted]
        values = list[Any]()
        with contextlib.suppress(RPCError, WorkflowQueryFailedError):
            while rest := wanted[len(values) :]:
                values += await _asked(run, "run_parts", [rest])
        return values

    async def messages(self, run_id: str, path: str) -> tuple[str, list[Any]]:
        """Return the path of the agent at or above `path`, and its messages; raises
        `NoConversation`.
        """
        described = await self.describe(run_id)
        if described.status is not WorkflowExecutionStatus.RUNNING:
            for step in (await self._ended(described)).walk():
                inner = f"{path or step.path}."
                if step.messages and step.path and inner.startswith(f"{step.path}."):
                    return step.path, step.messages
        try:
            return await self._spoken(run_id, path)
        except WorkflowQueryFailedError as error:
            raise NoConversation(f"run {run_id!r} tells of no agents") from error

    async def _spoken(self, run_id: str, path: str) -> tuple[str, list[Any]]:
        at, messages = path, list[Any]()
        for _ in range(TRIES):
            at, messages, turns = await self._pages(run_id, path)
            if len(turns) == 1:
                break
            # A turn has ended meanwhile, which may have changed what was told.
        return at, messages

    async def _pages(self, run_id: str, path: str) -> tuple[str, list[Any], set[int]]:
        messages, turns = list[Any](), set[int]()
        while True:
            page = await self.query(run_id, "conversation", path, len(messages))
            paths: list[str] = page["paths"]
            if len(paths) != 1:
                raise NoConversation(_nobody_at(run_id, path, paths))
            messages += page["messages"]
            turns.add(page["turn"])
            if len(messages) >= page["total"] or not page["messages"]:
                return paths[0], messages, turns

    async def state(self, run_id: str) -> WorkflowRunOutput:
        """Return the run as it stands now, or as it ended; what is large may be left out."""
        described = await self.describe(run_id)
        if described.status is WorkflowExecutionStatus.RUNNING:
            return await self._running(described)
        return await self._ended(described)

    async def result(self, run_id: str, execution_id: str) -> Any:
        """Wait for the end of the run that began as `execution_id`, and return its result.

        Raises:
            WorkflowFailureError: it has not completed.
            RunNotFound: retention has deleted it.
        """
        latest = await self._latest(run_id, execution_id)
        try:
            return await self._client.get_workflow_handle(run_id, run_id=latest).result()
        except WorkflowFailureError:
            # An execution that was reset ends as terminated, and its run goes on in another.
            if latest == await self._latest(run_id, execution_id):
                raise
        except RPCError as error:
            raise not_found(run_id, error) from error
        return await self.result(run_id, execution_id)

    async def _latest(self, run_id: str, execution_id: str) -> str:
        described = await self.describe(run_id)
        first = described.raw_description.workflow_execution_info.first_run_id
        # Retention deletes earlier executions, so the latest is asked, unless it is another run's.
        return described.run_id if first == execution_id else execution_id

    async def _running(self, described: WorkflowExecutionDescription) -> WorkflowRunOutput:
        try:
            return read(WorkflowRunOutput, await self._on_record(described.id, "run_output"))
        except WorkflowQueryFailedError:
            # Written by hand: it has a gate at most.
            asked = await self._asked(described.id, resolved=True)
            status = RunStatus.paused if asked.open else RunStatus.running
            seen = {"requirements": asked.open, "resolutions": asked.resolved}
            return _outline(described, status, **seen, refused=asked.refused)

    async def _outcome(self, described: WorkflowExecutionDescription) -> tuple[Any, str | None]:
        """Return what a run that has ended left, and why it failed, where it did."""
        try:
            return await self._client.get_workflow_handle(described.id).result(), None
        except WorkflowFailureError as failure:
            cause = failure.cause
            while isinstance(cause, ActivityError | ChildWorkflowError) and cause.cause:
                cause = cause.cause  # It alone says why.
            details = cause.details if isinstance(cause, ApplicationError) else ()
            return details[0] if details else None, str(cause or failure)

    async def _ended(self, described: WorkflowExecutionDescription) -> WorkflowRunOutput:
        told, error = await self._outcome(described)
        if (output := _as_output(told)) is not None:
            return output
        status = _END.get(described.status or WorkflowExecutionStatus.FAILED, RunStatus.error)
        if error is None:
            return _outline(described, status, content=told)
        return await self._last_state(described, status, error)

    async def _last_state(
        self, described: WorkflowExecutionDescription, status: RunStatus, error: str
    ) -> WorkflowRunOutput:
        # A run that was cancelled or terminated leaves no result; a worker can still tell how it
        # stood.
        try:
            told = await self.query(described.id, "run_output")
        except (NoWorker, WorkflowQueryFailedError):
            return _outline(described, status, error=error)
        last = read(WorkflowRunOutput, told)
        return last.model_copy(update={"status": status, "error": error, "requirements": []})


async def _asked(run: WorkflowHandle[Any, Any], name: str, args: Sequence[Any]) -> Any:
    soon = PATIENCE / SOON
    try:
        return await run.query(name, args=args, rpc_timeout=soon)
    except RPCError as error:
        if error.status not in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
            raise
    return await run.query(name, args=args, rpc_timeout=PATIENCE - soon)


def _as_output(told: Any) -> WorkflowRunOutput | None:
    """Return a run's result as ours; None where it is not."""
    ours = {"run_id", "workflow_name", "step_results"}
    is_ours = isinstance(told, dict) and ours <= set(cast(dict[str, Any], told))
    return read(WorkflowRunOutput, told) if is_ours else None


def _outline(
    described: WorkflowExecutionDescription, status: RunStatus, **known: Any
) -> WorkflowRunOutput:
    return WorkflowRunOutput(
        run_id=described.id,
        execution_id=described.run_id,
        workflow_name=described.workflow_type,
        session_id=described.id,
        status=status,
        started_at=described.start_time,
        **known,
    )


def _nobody_at(run_id: str, path: str, paths: list[str]) -> str:
    if paths:
        return f"several agents are at work in run {run_id!r}; say which: {', '.join(paths)}"
    where = f"at {path!r} in" if path else "in"
    return (
        f"no agent is at work {where} run {run_id!r}; what an agent has said as a step is kept"
        " until the step ends"
    )


def not_found(run_id: str, error: RPCError) -> Exception:
    """Return `RunNotFound` where `error` says so, else `error`."""
    if error.status is RPCStatusCode.NOT_FOUND:
        return RunNotFound(
            f"no run {run_id!r} in this namespace; it never was, or retention has deleted it"
        )
    return error
