"""Runs the author's functions as activities, from inside a run.

Owns the options that an activity is scheduled with, and the words in which its failure is told.
Knows nothing of what a call is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, NoReturn, cast

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from temporal_hitl._calls import ActivityCall, ActivityResult, activity_id_of
from temporal_hitl._sizes import MESSAGE, size_of
from temporal_hitl.plan import LIVENESS, Call, Retry
from temporal_hitl.run import StepOutput

NO_SUCH_ACTIVITY = "NotFoundError"
"""The bare error type that the SDK fails an activity with whose type it has not registered."""
AT_ONCE = 1_000
"""Calls on their way at most; the server fails a workflow task for ever that makes it 2,000."""
AROUND = 1_000
"""Bytes that a call has beside what it is given."""
A_MOMENT = timedelta(milliseconds=1)
TOLD = 10_000
"""Characters kept of what a failure says: it stands in the run's output and in events."""
BLOCKED_PAUSES = timedelta(seconds=10), timedelta(minutes=10)
"""How long a blocked call waits before it is tried again: at first, doubling, and at most."""


class StepFailed(Exception):
    """An activity failed for good: `kind` is the exception's qualified name.

    `output` is what its executor returned, where it did not raise.
    """

    def __init__(
        self,
        path: str,
        kind: str,
        message: str,
        attempts: int | None = None,
        output: StepOutput | None = None,
    ) -> None:
        super().__init__(f"{path}: {message}")
        self.path, self.kind, self.message, self.attempts = path, kind, message, attempts
        self.output = output


class Message:
    """What one workflow task sends to the server, which takes so much of it and no more."""

    def __init__(self) -> None:
        self._task = self._moved_on = 0
        self._sent = 0

    async def room_for(self, size: int) -> None:
        """Wait for a later workflow task where this one has sent too much to send `size` more."""
        while not self._takes(size):
            await self._next_task()

    def _takes(self, size: int) -> bool:
        if (task := _workflow_task()) != self._task:
            self._task, self._sent = task, 0
        if self._sent and self._sent + size > MESSAGE:
            return False
        self._sent += size + AROUND
        return True

    async def _next_task(self) -> None:
        task = self._task
        if self._moved_on != task:
            # The first that waits brings the next task about, for all.
            self._moved_on = task
            await workflow.sleep(A_MOMENT, summary="the next calls, in a message of their own")
        else:
            await workflow.wait_condition(lambda: _workflow_task() != task)


def _workflow_task() -> int:
    return workflow.info().get_current_history_length()


class Caller:
    """Calls functions by activity type, and knows which calls are on their way.

    A call that no worker has the code of is blocked: `blocked(path, activity)` is told, the call is
    tried again by and by, and `unblocked(path)` is told once a worker had it. No attempt is
    counted, so that a deploy that lacks a step cannot fail the runs which need it. `hold` is asked
    before each call is scheduled, and `message` whether it has room for it.
    """

    def __init__(
        self,
        blocked: Callable[[str, str], None],
        unblocked: Callable[[str], None],
        hold: Callable[[], Awaitable[None]],
        message: Message,
    ) -> None:
        self._hold = hold
        self._message = message
        self._blocked = blocked
        self._unblocked = unblocked
        self._running: dict[str, None] = {}

    @property
    def running(self) -> list[str]:
        """The activity ids of the calls on their way: the paths of the nodes that work."""
        return list(self._running)

    async def call(self, call: Call, asked: ActivityCall) -> ActivityResult:
        """Return what the function gave back; raises `StepFailed` after its last attempt."""
        activity_id = activity_id_of(asked)
        data = asked.to_wire()
        try:
            done = await self._until_served(activity_id, call, asked, data)
        except (Exception, asyncio.CancelledError):
            # Not `finally`: that runs on garbage collection too, in the midst of another run.
            self._unblocked(activity_id)
            raise
        self._unblocked(activity_id)
        return ActivityResult.from_wire(done)

    async def _until_served(
        self, activity_id: str, call: Call, asked: ActivityCall, data: dict[str, Any]
    ) -> dict[str, Any]:
        pause, longest = BLOCKED_PAUSES
        while (done := await self._execute(activity_id, call, asked, data)) is None:
            self._blocked(activity_id, call.activity)
            await workflow.sleep(pause, summary=f"blocked: no worker has {call.activity}")
            pause = min(pause * 2, longest)
        return done

    async def _in_turn(self, size: int) -> None:
        await self._message.room_for(size)
        while len(self._running) >= AT_ONCE:
            await workflow.wait_condition(lambda: len(self._running) < AT_ONCE)
            await self._message.room_for(size)

    async def _execute(
        self, activity_id: str, call: Call, asked: ActivityCall, data: dict[str, Any]
    ) -> dict[str, Any] | None:
        await self._hold()
        await self._in_turn(size_of(data))
        self._running[activity_id] = None
        try:
            return await workflow.execute_activity(
                call.activity,
                data,
                activity_id=activity_id,
                task_queue=call.task_queue,
                result_type=dict[str, Any],
                start_to_close_timeout=timedelta(seconds=call.start_to_close),
                schedule_to_close_timeout=_span(call.schedule_to_close),
                heartbeat_timeout=_span(call.heartbeat) or LIVENESS,
                retry_policy=_retry_policy(call.retry),
                summary=_summary(call, asked),
            )
        except ActivityError as error:
            if isinstance(error.cause, ApplicationError) and error.cause.type == NO_SUCH_ACTIVITY:
                return None
            _raise_failure(activity_id, error)
        finally:
            del self._running[activity_id]


def _raise_failure(path: str, error: ActivityError) -> NoReturn:
    if is_cancelled_exception(error):
        raise error
    cause = error.cause
    if isinstance(cause, ApplicationError):
        raise StepFailed(
            path, cause.type or "unknown", cause.message[:TOLD], _attempts(cause)
        ) from error
    kind = f"temporalio.exceptions.{type(cause).__name__}"
    raise StepFailed(path, kind, str(cause or error)[:TOLD]) from error


def _attempts(cause: ApplicationError) -> int | None:
    first = cause.details[0] if cause.details else None
    return cast(dict[str, Any], first).get("attempt") if isinstance(first, dict) else None


def _span(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def _retry_policy(retry: Retry) -> RetryPolicy:
    return RetryPolicy(
        initial_interval=timedelta(seconds=retry.initial_interval),
        backoff_coefficient=retry.backoff_coefficient,
        maximum_interval=_span(retry.maximum_interval),
        maximum_attempts=retry.maximum_attempts,
        # Listed bare, as authors write them: our activities know, and mark what matches. Theirs
        # never cross under a bare name, so the SDK's own cannot be taken for one of them.
        non_retryable_error_types=[*retry.non_retryable, NO_SUCH_ACTIVITY],
    )


def _summary(call: Call, asked: ActivityCall) -> str:
    role = "" if asked.role == "executor" else f", {asked.role.replace('_', ' ')}"
    iteration = asked.step_input.iteration
    return f"{call.summary or asked.name}{role}" + (f", iteration {iteration}" if iteration else "")
