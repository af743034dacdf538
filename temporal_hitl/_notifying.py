"""The workflow that tells subscribers of a requirement: retries for days, and holds no run up.

Each subscriber is told by an activity of its own, so that one that cannot be reached does not hold
up the others. Knows nothing of how anybody is reached.
"""

# temporalio's own signatures hold bare Callables and TypeVars.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy, VersioningBehavior
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    is_cancelled_exception,
)

from temporal_hitl._notices import NOTIFICATION, PATIENCE, Notice, Telling
from temporal_hitl._wire import read

TELL = "temporal_hitl.tell"
"""The activity that tells one subscriber."""
IS_OPEN = "temporal_hitl.is_open"
"""The activity that asks a run whether a requirement is still open."""
TOLD = "told"
"""The result of a subscriber that was reached."""
ATTEMPT = timedelta(minutes=1)
"""How long one attempt may take."""
PAUSES = timedelta(seconds=1), timedelta(hours=1)
"""How long it waits before it tries again: at first, doubling, and at most."""


def notification_type(behavior: VersioningBehavior = VersioningBehavior.UNSPECIFIED) -> type:
    """Return the workflow class; the server refuses any `behavior` that a worker without versioning
    states.
    """

    async def run(self: Any, *inputs: Any) -> dict[str, dict[str, str]]:
        del self
        return await _tell_all(_read(inputs))

    # The SDK refuses methods that look as if they were defined elsewhere.
    run.__qualname__ = "Notification.run"
    made = workflow.defn(name=NOTIFICATION, sandboxed=False, versioning_behavior=behavior)
    body = {"__qualname__": "Notification", "__module__": __name__, "run": workflow.run(run)}
    return made(type("Notification", (), body))


def _read(inputs: Sequence[Any]) -> Telling:
    try:
        (data,) = inputs
        return read(Telling, data)
    except ValueError:  # Pydantic's are, too.
        told = "a notification is started by a run, with what it tells"
        raise ApplicationError(told, non_retryable=True) from None


async def _tell_all(telling: Telling) -> dict[str, dict[str, str]]:
    told: dict[str, dict[str, str]] = {}
    parts = [_tell_each(telling.notice, telling.subscribers, told)]
    if telling.due_at is not None:
        parts.append(_tell_due(telling, telling.due_at, told))
    await asyncio.gather(*parts)
    return told


async def _tell_due(telling: Telling, at: datetime, told: dict[str, dict[str, str]]) -> None:
    notice = telling.notice.due(at)
    left = max(at - workflow.now(), timedelta())
    await workflow.sleep(left, summary=f"until {notice.requirement_id} is about to be late")
    if await _is_open(notice):
        await _tell_each(notice, telling.subscribers, told)


async def _is_open(notice: Notice) -> bool:
    try:
        summary = f"is {notice.requirement_id} still open?"
        return bool(await _patiently(IS_OPEN, "is_open", summary, notice.model_dump(mode="json")))
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        return True


async def _tell_each(
    notice: Notice, subscribers: tuple[str, ...], told: dict[str, dict[str, str]]
) -> None:
    event = notice.event.value
    notice = notice.told_by(workflow.info().first_execution_run_id)
    told[event] = {}
    results = await asyncio.gather(*(_tell(notice, each) for each in subscribers))
    told[event] |= dict(zip(subscribers, results, strict=True))


async def _tell(notice: Notice, subscriber: str) -> str:
    try:
        key, summary = f"{notice.event.value}.{subscriber}", f"tells {subscriber}"
        return str(await _patiently(TELL, key, summary, notice.model_dump(mode="json"), subscriber))
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        return f"not told: {_reason(error)}"


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return error.message if isinstance(error, FailureError) else str(error)


async def _patiently(activity: str, key: str, summary: str, *args: Any) -> Any:
    first, longest = PAUSES
    return await workflow.execute_activity(
        activity,
        args=args,
        activity_id=key,
        start_to_close_timeout=ATTEMPT,
        schedule_to_close_timeout=PATIENCE,
        retry_policy=RetryPolicy(initial_interval=first, maximum_interval=longest),
        summary=summary,
    )
