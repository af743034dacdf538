"""The workers are down when a deadline passes: which answers still count, and which do not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowUpdateStage
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    HitlClient,
    HumanReview,
    OnTimeout,
    ResolutionRecord,
    RunStatus,
    Step,
    Workflow,
    WorkflowRunOutput,
)
from temporal_hitl.errors import AlreadyResolved
from tests.stage import ended, new_queue, paused, replays, serving, until

HOUR = timedelta(hours=1)
"""The deadline; it comes as soon as a test wants it to."""
MOMENT = timedelta(seconds=1)
"""How long before the deadline an answer is sent that comes before it."""
DOORS = ("signal", "update")


def work() -> str:
    return "done"


def pipeline(*, strict: bool, on_timeout: OnTimeout = OnTimeout.skip) -> Workflow:
    review = HumanReview(
        requires_confirmation=True, timeout=HOUR, on_timeout=on_timeout, strict_deadline=strict
    )
    return Workflow("release", [Step("work", work, human_review=review)])


async def deadline_passed(client: HitlClient, run: str) -> bool:
    """Whether the server has fired the run's timer, which no worker has handled."""
    events = (await client.handle(run).fetch_history()).events
    return any(event.event_type == EventType.EVENT_TYPE_TIMER_FIRED for event in events)


@dataclass
class Late:
    """What became of a run whose answer came by a door while no worker lived."""

    door: str
    output: WorkflowRunOutput

    @property
    def records(self) -> list[ResolutionRecord]:
        return self.output.resolutions


async def answered_while_down(
    env: WorkflowEnvironment, definition: Workflow, answer: dict[str, Any], when: str
) -> list[Late]:
    """Return a run for each door, answered by it before or after its deadline, then replayed."""
    queue = new_queue()
    async with serving(env, definition, queue=queue) as client:
        runs = [await client.start(definition) for _ in DOORS]
        due = [(await paused(client, run)).requirements[0].deadline for run in runs]
    answers = [
        answered(env, client, run, deadline, answer, door, when)
        for run, deadline, door in zip(runs, due, DOORS, strict=True)
    ]
    asking = [each for some in await asyncio.gather(*answers) for each in some]
    async with serving(env, definition, queue=queue) as client:
        outputs = [await ended(client, run) for run in runs]
        await asyncio.gather(*asking, return_exceptions=True)
    for run in runs:
        await replays(client.handle(run), definition)
    return [Late(*each) for each in zip(DOORS, outputs, strict=True)]


async def answered(
    env: WorkflowEnvironment,
    client: HitlClient,
    run: str,
    deadline: datetime | None,
    answer: dict[str, Any],
    door: str,
    when: str,
) -> list[asyncio.Task[Any]]:
    """Answer a run by a door before or after its deadline, and return once that has passed."""
    assert deadline is not None
    ahead = deadline - datetime.now(UTC)
    # With a workflow task that nobody takes, as an answer makes one, no time is skipped.
    await env.fast_forward(client.handle(run), ahead - MOMENT if when == "before" else ahead)
    if when == "after":
        await until(lambda: deadline_passed(client, run))
    else:
        assert not await deadline_passed(client, run)
    asking = await told(client, run, answer, door)
    await until(lambda: deadline_passed(client, run))
    return asking


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


@pytest.mark.parametrize("when", ["before", "after"])
async def test_late_by_default(env: WorkflowEnvironment, when: str) -> None:
    """An affirmative answer that is read after the deadline counts, and is marked late."""
    definition = pipeline(strict=False)
    late = await answered_while_down(env, definition, {"action": "confirm"}, when)

    assert [[("confirm", "human", True, door)] for door in DOORS] == [
        [(record.action, record.decided_by, record.late, record.door) for record in each.records]
        for each in late
    ]
    assert ["done" for _ in DOORS] == [each.output.content for each in late]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_late_where_it_is_strict(env: WorkflowEnvironment, when: str) -> None:
    """Under a strict deadline such an answer is refused, and the deadline acts."""
    definition = pipeline(strict=True)
    late = await answered_while_down(env, definition, {"action": "confirm"}, when)

    assert [[("time_out", "timeout")] for _ in DOORS] == [
        [(record.action, record.decided_by) for record in each.records] for each in late
    ]
    assert [None for _ in DOORS] == [each.output.content for each in late]
    # What an update is refused is told to who sent it.
    assert {"signal": [True], "update": []} == {
        each.door: ["strictly" in refused.reason for refused in each.output.refused]
        for each in late
    }


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "by default"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_late_rejection(env: WorkflowEnvironment, when: str, strict: bool) -> None:
    """A rejection counts until the deadline has acted, strict or not, approving or not."""
    definition = pipeline(strict=strict, on_timeout=OnTimeout.approve)
    late = await answered_while_down(env, definition, {"action": "reject", "feedback": "no"}, when)

    assert [[("reject", False)] for _ in DOORS] == [
        [(record.action, record.late) for record in each.records] for each in late
    ]
    assert [None for _ in DOORS] == [each.output.content for each in late]


@pytest.mark.parametrize(
    ("on_timeout", "ends"),
    [
        (OnTimeout.skip, (RunStatus.completed, None)),
        (OnTimeout.approve, (RunStatus.completed, "done")),
        (OnTimeout.cancel, (RunStatus.cancelled, None)),
    ],
)
async def test_what_a_strict_deadline_does(
    env: WorkflowEnvironment, on_timeout: OnTimeout, ends: tuple[RunStatus, Any]
) -> None:
    """Where a late yes is refused the deadline does what its author wrote, in its own name."""
    definition = pipeline(strict=True, on_timeout=on_timeout)
    answer = {"action": "confirm", "resolved_by": "ana"}
    late = await answered_while_down(env, definition, answer, "after")

    assert [[("timeout", None)] for _ in DOORS] == [
        [(record.decided_by, record.resolved_by) for record in each.records] for each in late
    ]
    assert [ends for _ in DOORS] == [(each.output.status, each.output.content) for each in late]


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "by default"])
@pytest.mark.parametrize("door", DOORS)
async def test_back_before_the_deadline(env: WorkflowEnvironment, door: str, strict: bool) -> None:
    """An answer that came while the workers were down is not late where they are back in time."""
    definition = pipeline(strict=strict)
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
        await paused(client, run)
        await env.fast_forward(client.handle(run), HOUR)
        output = await ended(client, run)
        for action in ("confirm", "reject"):
            with pytest.raises(AlreadyResolved, match=r"its deadline acted \(skip\) at 20"):
                await client.resolve(run, {"requirement_id": "work", "action": action})

    assert ["time_out"] == [each.action for each in output.resolutions]
    await replays(client.handle(run), definition)
