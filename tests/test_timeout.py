"""A confirmation has a deadline, and the author says what it does (seed 001, "Timeout"; design
5).
"""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Confirm,
    HitlClient,
    HumanReview,
    OnTimeout,
    Reject,
    ResolutionError,
    RunStatus,
    Step,
    StepInput,
    Workflow,
    WorkflowRunOutput,
)
from tests.stage import ended, paused, replays, serving

WEEK = timedelta(days=7)
SHORTLY = timedelta(seconds=5)
"""Before or after a deadline; wide enough for a machine that is busy."""


def fetch(step_input: StepInput) -> str:
    return "fetched"


def process(step_input: StepInput) -> str:
    return "processed"


def pipeline(on_timeout: str | None = None, **policy: Any) -> Workflow:
    """Ask with a deadline, then ask again without one, so that the run is open after the
    deadline.
    """
    options = {} if on_timeout is None else {"on_timeout": on_timeout}
    gated = Step(
        "process", process, requires_confirmation=True, hitl_timeout=WEEK, **options, **policy
    )
    last = Step("publish", fetch, requires_confirmation=True)
    return Workflow("deadlines", [Step("fetch", fetch), gated, last])


async def started(client: HitlClient) -> str:
    run = await client.start("deadlines")
    await paused(client, run)
    return run


async def skip_to(env: WorkflowEnvironment, client: HitlClient, run: str, after: timedelta) -> None:
    """Move the run's clock to so long after the first requirement was opened."""
    assert await env.fast_forward(client.handle(run), after)


@pytest.mark.parametrize(
    ("on_timeout", "status", "ran"),
    [
        ("skip", RunStatus.completed, ["fetch", "publish"]),
        ("approve", RunStatus.completed, ["fetch", "process", "publish"]),
        ("cancel", RunStatus.cancelled, ["fetch"]),
        (None, RunStatus.cancelled, ["fetch"]),
    ],
)
async def test_the_deadline_acts(
    env: WorkflowEnvironment,
    cache: int,
    on_timeout: str | None,
    status: RunStatus,
    ran: list[str],
) -> None:
    """After a week without an answer the deadline does what the author wrote, and is recorded as
    what decided.
    """
    definition = pipeline(on_timeout)
    async with serving(env, definition, max_cached_workflows=cache) as client:
        run = await started(client)
        asked = (await client.get(run)).requirements[0]
        await env.fast_forward(client.handle(run), WEEK + SHORTLY)
        output = await answered(client, run)
        await replays(client.handle(run), definition)
    record = output.resolutions[0]

    assert asked.deadline == asked.created_at + WEEK
    assert (output.status, ran) == (status, [each.step_name for each in output.step_results])
    assert (
        record.requirement_id,
        record.decided_by,
        record.channel,
    ) == ("process", "timeout", "timer")
    assert record.resolved_at >= asked.created_at + WEEK
    assert (record.late, record.resolved_by) == (False, None)
    assert OnTimeout(on_timeout or "cancel") is asked.on_timeout


async def answered(client: HitlClient, run: str) -> WorkflowRunOutput:
    """Confirm what is open after the deadline, if anything is, and return how the run ended."""
    output = await client.wait(run, timeout=20)
    if output.has_ended:
        return output
    assert [each.id for each in output.requirements] == ["publish"]
    await client.resolve(run, Confirm(requirement_id="publish"))
    return await ended(client, run)


@pytest.mark.parametrize("on_timeout", ["cancel", "skip", "approve"])
@pytest.mark.parametrize("confirms", [True, False])
async def test_an_answer_shortly_before(
    env: WorkflowEnvironment, on_timeout: str, confirms: bool
) -> None:
    """An answer seconds before the deadline counts, whatever the deadline would have done, and is
    not late.
    """
    definition = pipeline(on_timeout)
    answer = (Confirm if confirms else Reject)(requirement_id="process")
    async with serving(env, definition) as client:
        run = await started(client)
        await skip_to(env, client, run, WEEK - SHORTLY)
        record = await client.resolve(run, answer)
        await skip_to(env, client, run, timedelta(days=30))
        output = await answered(client, run)
        await replays(client.handle(run), definition)

    assert (record.decided_by, record.late) == ("human", False)
    assert output.status is RunStatus.completed
    assert confirms == ("process" in [each.step_name for each in output.step_results])


@pytest.mark.parametrize("on_timeout", ["cancel", "skip", "approve"])
@pytest.mark.parametrize("answer", [Confirm, Reject])
async def test_an_answer_shortly_after(
    env: WorkflowEnvironment, on_timeout: str, answer: type[Confirm] | type[Reject]
) -> None:
    """An answer after the deadline has acted is refused with the time at which it did, and changes
    nothing.
    """
    definition = pipeline(on_timeout)
    async with serving(env, definition) as client:
        run = await started(client)
        await env.fast_forward(client.handle(run), WEEK + SHORTLY)
        with pytest.raises(ResolutionError, match="deadline") as refused:
            await client.resolve(run, answer(requirement_id="process"))
        output = await answered(client, run)
        await replays(client.handle(run), definition)
    record = output.resolutions[0]

    assert record.decided_by == "timeout"
    assert record.resolved_at.isoformat(timespec="seconds") in str(refused.value)
    assert (on_timeout == "approve") == (
        "process" in [each.step_name for each in output.step_results]
    )


async def test_nothing_approves_by_itself(env: WorkflowEnvironment) -> None:
    """Without a deadline a question stays open, for ten years if need be, and is answered then."""
    gated = Step("process", process, requires_confirmation=True)
    definition = Workflow("deadlines", [gated])
    async with serving(env, definition) as client:
        run = await started(client)
        await skip_to(env, client, run, timedelta(days=3650))
        later = await client.get(run)
        record = await client.resolve(run, Confirm(requirement_id="process"))
        output = await ended(client, run)
        await replays(client.handle(run), definition)

    assert [each.id for each in later.requirements] == ["process"]
    assert (later.requirements[0].deadline, later.step_results) == (None, [])
    assert record.resolved_at - later.requirements[0].created_at >= timedelta(days=3650)
    assert output.content == "processed"


@pytest.mark.parametrize("on_timeout", list(OnTimeout))
async def test_on_timeout_does_nothing_without_a_timeout(
    env: WorkflowEnvironment, on_timeout: OnTimeout
) -> None:
    """`on_timeout` without a timeout sets no deadline and starts no timer."""
    gated = Step("process", process, requires_confirmation=True, on_timeout=on_timeout)
    definition = Workflow("deadlines", [gated])
    async with serving(env, definition) as client:
        run = await started(client)
        asked = (await client.get(run)).requirements[0]
        history = await client.handle(run).fetch_history()
        await client.resolve(run, Confirm(requirement_id="process"))
        await ended(client, run)
        await replays(client.handle(run), definition)

    assert (asked.deadline, asked.on_timeout) == (None, None)
    assert not any(each.HasField("timer_started_event_attributes") for each in history.events)


async def test_the_timer_is_named_after_the_requirement(env: WorkflowEnvironment) -> None:
    """The deadline is a durable timer of the server, with the requirement's id as its summary."""
    definition = pipeline("skip")
    async with serving(env, definition) as client:
        run = await started(client)
        history = await client.handle(run).fetch_history()
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), definition)
    (timer,) = [each for each in history.events if each.HasField("timer_started_event_attributes")]
    lasts = timer.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta()

    assert timedelta(0) <= WEEK - lasts < timedelta(seconds=1)
    assert timer.user_metadata.summary.data == b'"process"'


@pytest.mark.parametrize("timeout", [WEEK, WEEK.total_seconds(), int(WEEK.total_seconds())])
async def test_the_deadline_in_either_spelling(
    env: WorkflowEnvironment, timeout: float | timedelta
) -> None:
    """A deadline is seconds or a timedelta, flat on the step or in its `HumanReview` (seed 001)."""
    flat = Step("flat", process, requires_confirmation=True, hitl_timeout=timeout)
    review = HumanReview(requires_confirmation=True, timeout=timeout, on_timeout="skip")
    definition = Workflow("deadlines", [flat, Step("whole", process, human_review=review)])
    async with serving(env, definition) as client:
        run = await started(client)
        asked = [(await client.get(run)).requirements[0]]
        await client.resolve(run, Reject(requirement_id="flat"))
        asked.append((await paused(client, run)).requirements[0])
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), definition)

    assert [
        (each.id, each.deadline and each.deadline - each.created_at, each.on_timeout)
        for each in asked
    ] == [("flat", WEEK, "cancel"), ("whole", WEEK, "skip")]


async def test_many_deadlines_in_a_row(env: WorkflowEnvironment) -> None:
    """Deadlines that nobody meets pass one after another, each counted from when its own question
    was asked.
    """
    gates = [
        Step(
            f"g{number}", process, requires_confirmation=True, hitl_timeout=WEEK, on_timeout="skip"
        )
        for number in range(2)
    ]
    definition = Workflow("deadlines", [*gates, Step("fetch", fetch)])
    async with serving(env, definition) as client:
        run = await started(client)
        await env.fast_forward(client.handle(run), WEEK * 2 + SHORTLY)
        output = await ended(client, run)
        await replays(client.handle(run), definition)
    moments = [each.resolved_at for each in output.resolutions]
    gaps = [after - before for before, after in pairwise(moments)]

    assert [each.decided_by for each in output.resolutions] == ["timeout"] * 2
    assert all(WEEK <= gap < WEEK + timedelta(hours=1) for gap in gaps)
    assert [each.step_name for each in output.step_results] == ["fetch"]
