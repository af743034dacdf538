"""The workers are down when a deadline passes: which answers still count, and which do not."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowUpdateStage
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    HitlClient,
    HumanReview,
    OnTimeout,
    RunStatus,
    Step,
    Workflow,
    WorkflowRunOutput,
)
from temporal_hitl.errors import AlreadyResolved
from tests.stage import ended, new_queue, paused, replays, serving, until

SHORT = timedelta(seconds=2)


def work() -> str:
    return "done"


def pipeline(
    *, strict: bool, on_timeout: OnTimeout = OnTimeout.skip, timeout: timedelta = SHORT
) -> Workflow:
    review = HumanReview(
        requires_confirmation=True, timeout=timeout, on_timeout=on_timeout, strict_deadline=strict
    )
    return Workflow("release", [Step("work", work, human_review=review)])


async def deadline_passed(client: HitlClient, run: str) -> bool:
    """Whether the server has fired the run's timer, which no worker has handled."""
    events = (await client.handle(run).fetch_history()).events
    return any(event.event_type == EventType.EVENT_TYPE_TIMER_FIRED for event in events)


async def answered_while_down(
    env: WorkflowEnvironment, definition: Workflow, answer: dict[str, Any], door: str, when: str
) -> tuple[HitlClient, str, WorkflowRunOutput]:
    """Return a run whose answer came while no worker lived, before or after its deadline."""
    queue = new_queue()
    async with serving(env, definition, queue=queue) as client:
        run = await client.start(definition)
        await paused(client, run)
    if when == "after":
        await until(lambda: deadline_passed(client, run))
    asking = await told(client, run, answer, door)
    await until(lambda: deadline_passed(client, run))
    async with serving(env, definition, queue=queue) as client:
        output = await ended(client, run)
        await asyncio.gather(*asking, return_exceptions=True)
    return client, run, output


async def told(
    client: HitlClient, run: str, answer: dict[str, Any], door: str
) -> list[asyncio.Task[Any]]:
    """Send an answer that the server keeps, and return what still waits for a worker."""
    body = {"requirement_id": "work", **answer}
    handle = client.handle(run)
    if door == "signal":
        await handle.signal("resolve", body)
        return []
    update = handle.start_update("resolve", body, wait_for_stage=WorkflowUpdateStage.COMPLETED)
    asking = [asyncio.create_task(update)]
    await asyncio.sleep(0.3)  # The server holds it until a worker comes; nothing shows that.
    return asking


@pytest.mark.parametrize("door", ["signal", "update"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_late_by_default(env: WorkflowEnvironment, door: str, when: str) -> None:
    """An affirmative answer that is read after the deadline counts, and is marked late."""
    definition = pipeline(strict=False)
    client, run, output = await answered_while_down(
        env, definition, {"action": "confirm"}, door, when
    )

    (record,) = output.resolutions
    assert ("confirm", "human", True, door) == (
        record.action,
        record.decided_by,
        record.late,
        record.door,
    )
    assert "done" == output.content
    await replays(client.handle(run), definition)


@pytest.mark.parametrize("door", ["signal", "update"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_late_where_it_is_strict(env: WorkflowEnvironment, door: str, when: str) -> None:
    """Under a strict deadline such an answer is refused, and the deadline acts."""
    definition = pipeline(strict=True)
    client, run, output = await answered_while_down(
        env, definition, {"action": "confirm"}, door, when
    )

    (record,) = output.resolutions
    assert ("time_out", "timeout", None) == (record.action, record.decided_by, output.content)
    assert (["strictly" in each.reason for each in output.refused] == [True]) == (door == "signal")
    await replays(client.handle(run), definition)


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "by default"])
@pytest.mark.parametrize("door", ["signal", "update"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_late_rejection(
    env: WorkflowEnvironment, door: str, when: str, strict: bool
) -> None:
    """A rejection counts until the deadline has acted, strict or not, approving or not."""
    definition = pipeline(strict=strict, on_timeout=OnTimeout.approve)
    client, run, output = await answered_while_down(
        env, definition, {"action": "reject", "feedback": "no"}, door, when
    )

    (record,) = output.resolutions
    assert ("reject", False, None) == (record.action, record.late, output.content)
    await replays(client.handle(run), definition)


@pytest.mark.parametrize("door", ["signal", "update"])
@pytest.mark.parametrize(
    ("on_timeout", "ends"),
    [
        (OnTimeout.skip, (RunStatus.completed, None)),
        (OnTimeout.approve, (RunStatus.completed, "done")),
        (OnTimeout.cancel, (RunStatus.cancelled, None)),
    ],
)
async def test_what_a_strict_deadline_does(
    env: WorkflowEnvironment, door: str, on_timeout: OnTimeout, ends: tuple[RunStatus, Any]
) -> None:
    """Where a late yes is refused the deadline does what its author wrote, in its own name."""
    definition = pipeline(strict=True, on_timeout=on_timeout)
    client, run, output = await answered_while_down(
        env, definition, {"action": "confirm", "resolved_by": "ana"}, door, "after"
    )

    (record,) = output.resolutions
    assert ("timeout", None) == (record.decided_by, record.resolved_by)
    assert ends == (output.status, output.content)
    await replays(client.handle(run), definition)


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "by default"])
@pytest.mark.parametrize("door", ["signal", "update"])
async def test_back_before_the_deadline(env: WorkflowEnvironment, door: str, strict: bool) -> None:
    """An answer that came while the workers were down is not late where they are back in time."""
    definition = pipeline(strict=strict, timeout=timedelta(hours=1))
    queue = new_queue()
    async with serving(env, definition, queue=queue) as client:
        run = await client.start(definition)
        await paused(client, run)
    asking = await told(client, run, {"action": "confirm"}, door)
    async with serving(env, definition, queue=queue) as client:
        output = await ended(client, run)
        await asyncio.gather(*asking)

    (record,) = output.resolutions
    assert ("confirm", False, door) == (record.action, record.late, record.door)
    assert ([], "done") == (output.refused, output.content)
    await replays(client.handle(run), definition)


async def test_once_the_deadline_has_acted(env: WorkflowEnvironment) -> None:
    """After it has acted every answer is refused, and told when it did."""
    definition = pipeline(strict=False)
    async with serving(env, definition) as client:
        run = await client.start(definition)
        output = await ended(client, run)
        for action in ("confirm", "reject"):
            with pytest.raises(AlreadyResolved, match=r"its deadline acted \(skip\) at 20"):
                await client.resolve(run, {"requirement_id": "work", "action": action})

    assert ["time_out"] == [each.action for each in output.resolutions]
    await replays(client.handle(run), definition)
