"""The way from an activity back to runs: what did not travel with a call is fetched.

Owns what a worker keeps of what it fetched. Knows nothing of how a function is called.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from datetime import timedelta
from typing import Any
from weakref import WeakValueDictionary

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from temporal_hitl._calls import ActivityCall, activity_id_of
from temporal_hitl._reach import Reach
from temporal_hitl._wire import read
from temporal_hitl.run import StepInput, StepOutput

SOON, PATIENCE = timedelta(seconds=3), timedelta(seconds=30)
"""How long an activity waits for an answer of its run until it asks again: at first, as a worker
may lose a question, and then twice as long each time, as a long run takes its time."""
GLANCE = 0.2
"""Seconds between two looks of a thread at whether its step was cancelled."""
KEPT = 50_000_000
"""Bytes of fetched outputs that a worker keeps for the steps that come."""

_AWAY = {
    RPCStatusCode.RESOURCE_EXHAUSTED,  # "consistent query buffer is full"
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.FAILED_PRECONDITION,
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.UNKNOWN,
}
_log = logging.getLogger(__name__)


class Line:
    """The way from an activity back to its run; each worker that starts lays it."""

    def __init__(self) -> None:
        self._ends: dict[str, tuple[Client, asyncio.AbstractEventLoop]] = {}
        self._kept = _Kept()
        self._turns = WeakValueDictionary[str, asyncio.Lock]()

    def connect(self, client: Client) -> None:
        """Use `client`, on the loop that runs now, for the runs of its namespace."""
        self._ends[client.namespace] = client, asyncio.get_running_loop()

    def reach(self, info: activity.Info) -> Reach:
        """Return the way to every run of the activity's namespace."""
        return Reach(self._ends[info.namespace][0])

    def has_external_storage(self, info: activity.Info) -> bool:
        """Return whether values of any size may cross."""
        client, _ = self._ends[info.namespace]
        return client.data_converter.external_storage is not None

    async def complete(self, call: ActivityCall, info: activity.Info) -> ActivityCall:
        """Return `call` with all that it may name."""
        if not call.more_outputs and not call.left_out:
            return call
        client, _ = self._ends[info.namespace]
        run = client.get_workflow_handle(info.workflow_id or "", run_id=info.workflow_run_id)
        rest = dict[str, Any]()
        if call.left_out:
            rest |= await self._ask(run, "step_input", activity_id_of(call))
        if call.more_outputs:
            rest["previous_step_outputs"] = await self._outputs(run, activity_id_of(call))
        of_input = {name: rest.pop(name) for name in list(rest) if name in StepInput.model_fields}
        step_input = read(StepInput, dict(call.step_input) | of_input)
        return read(ActivityCall, dict(call) | rest | {"step_input": step_input})

    def complete_in_thread(self, call: ActivityCall, info: activity.Info) -> ActivityCall:
        """Do the same, from a thread."""
        if not call.more_outputs and not call.left_out:
            return call
        _, loop = self._ends[info.namespace]
        future = asyncio.run_coroutine_threadsafe(self.complete(call, info), loop)
        try:
            while not future.done():
                # The SDK cancels a step by raising in its thread, which never hears of it while it
                # waits: a worker that stops would wait for a step that waits for the worker.
                with contextlib.suppress(TimeoutError):
                    return future.result(GLANCE)
            return future.result()
        except BaseException:  # Cancelled: stop asking too.
            future.cancel()
            raise

    async def _outputs(
        self, run: WorkflowHandle[Any, Any], activity_id: str
    ) -> dict[str, StepOutput]:
        index: list[tuple[str, str]] = await self._ask(run, "step_outputs", activity_id)
        # One that later steps see does not change: a path names one output of an execution.
        keys = {name: f"{run.run_id} {path}" for name, path in index}
        there = {name: text for name in keys if (text := self._kept.get(keys[name])) is not None}
        missing = [name for name in keys if name not in there]
        while missing:
            told = await self._ask(run, "step_outputs", activity_id, missing)
            for name, output in zip(missing, told, strict=False):
                there[name] = text = read(StepOutput, output).model_dump_json()
                self._kept.put(keys[name], text)
            missing = missing[len(told) :]
        return {name: StepOutput.model_validate_json(there[name]) for name in keys}

    async def _ask(self, run: WorkflowHandle[Any, Any], query: str, *args: Any) -> Any:
        # One at a time: the server holds one query of a run back, and refuses more. And until there
        # is an answer: that a run's workers are away is no failed attempt of its step.
        # Of one loop, as a lock is: workers of one plugin may live on several.
        turn = f"{id(asyncio.get_running_loop())} {run.id}"
        async with self._turns.setdefault(turn, asyncio.Lock()):
            pause, patience = 0.05, SOON
            while True:
                try:
                    return await run.query(query, args=args, rpc_timeout=patience)
                except RPCError as error:
                    if error.status not in _AWAY:
                        raise
                    _log.info("asks run %r again: %s", run.id, error)
                await asyncio.sleep(pause)
                pause, patience = min(pause * 2, 5.0), min(patience * 2, PATIENCE)


class _Kept:
    """Texts by key, the latest used ones, within `KEPT` bytes."""

    def __init__(self) -> None:
        self._texts = OrderedDict[str, str]()
        self._size = 0

    def get(self, key: str) -> str | None:
        if key in self._texts:
            self._texts.move_to_end(key)
        return self._texts.get(key)

    def put(self, key: str, text: str) -> None:
        self._size += len(text) - len(self._texts.pop(key, ""))
        self._texts[key] = text
        while self._size > KEPT:
            _, oldest = self._texts.popitem(last=False)
            self._size -= len(oldest)
