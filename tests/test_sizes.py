"""Nothing that a run carries is too large: what does not fit is fetched, left out, or said."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Confirm,
    Loop,
    OnError,
    Parallel,
    RunStatus,
    Step,
    StepInput,
    Workflow,
)
from temporal_hitl._sizes import INLINE
from tests.stage import ended, outcome, paused, replays, serving

KB = 1024
LARGE = 1200 * KB


def large() -> str:
    return "x" * LARGE


def look(step_input: StepInput) -> list[Any]:
    every = step_input.previous_step_outputs
    return [
        len(every),
        len(step_input.get_step_content("large")),
        len(step_input.previous_step_content),
    ]


async def look_async(step_input: StepInput) -> list[Any]:
    return look(step_input)


def small(number: int) -> Step:
    return Step(f"small_{number}", lambda: "s" * 10 * KB)


async def tasks_failed(client: Any, run: str) -> list[Any]:
    events = (await client.handle(run).fetch_history()).events
    return [e for e in events if e.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED]


@pytest.mark.parametrize("executor", [look, look_async])
async def test_outputs_beyond_the_budget_are_fetched(
    env: WorkflowEnvironment, cache: int, executor: Any
) -> None:
    """A step sees all earlier outputs as plain data, though few of them travel with its call."""
    steps = [Step("large", large), *(small(n) for n in range(8)), Step("look", executor)]
    definition = Workflow("growing", steps)
    async with serving(env, definition, max_cached_workflows=cache) as client:
        run = await client.start(definition)
        output = await ended(client, run)
        history = await client.handle(run).fetch_history()
        failed = await tasks_failed(client, run)

    calls = [
        sum(
            len(each.data) for each in event.activity_task_scheduled_event_attributes.input.payloads
        )
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert [9, LARGE, 10 * KB] == output.content
    assert max(calls[2:]) < INLINE + 20 * KB
    assert max(calls) < INLINE + 20 * KB
    assert [] == failed
    await replays(client.handle(run), definition)


async def test_two_large_outputs(env: WorkflowEnvironment) -> None:
    """Outputs that together exceed Temporal's limit neither wedge the run nor its end."""
    definition = Workflow(
        "wide",
        [Parallel(Step("large", large), Step("other", large), name="both"), Step("end", len_of)],
    )
    async with serving(env, definition) as client:
        run = await client.start(definition)
        output = await ended(client, run)
        failed = await tasks_failed(client, run)

    assert RunStatus.completed is output.status
    assert [] == failed
    assert "temporal_hitl.TooLarge" in (output.failed_steps[0].error or "")
    assert any("step_results" in each for each in output.omitted)
    assert ["both", "end"] == [each.step_name for each in output.step_results]
    await replays(client.handle(run), definition)


def len_of(step_input: StepInput) -> int:
    return len(step_input.previous_step_content)


async def test_a_step_that_would_be_given_too_much(env: WorkflowEnvironment) -> None:
    """The step whose input does not fit fails with a sentence, by its author's policy."""
    kept = Step("kept", grow, on_error=OnError.fail)
    definition = Workflow("heavy", [Step("first", grow), kept, Step("never", len_of)])

    output = await outcome(env, definition)

    assert RunStatus.error is output.status
    assert "temporal_hitl.TooLarge" == output.error_type
    assert "return references" in (output.error or "")


def grow(step_input: StepInput, session_state: dict[str, Any]) -> str:
    session_state["ballast"] = "y" * 1900 * KB
    return "z" * 10


async def test_many_that_are_given_much(env: WorkflowEnvironment) -> None:
    """Branches that together are given more than one message holds get it all the same."""
    looks = [Step(f"look_{n}", two_lengths) for n in range(6)]
    definition = Workflow("fan", [Step("large", large), Parallel(*looks, name="all")])
    async with serving(env, definition) as client:
        run = await client.start(definition, "i" * LARGE)
        output = await ended(client, run)
        failed = await tasks_failed(client, run)

    assert [[LARGE, LARGE]] * 6 == list(output.content.values())
    assert [] == failed
    await replays(client.handle(run), definition)


def two_lengths(step_input: StepInput) -> list[int]:
    return [len(step_input.input), len(step_input.previous_step_content)]


async def test_a_message_as_long_as_a_book(env: WorkflowEnvironment) -> None:
    """A long question is cut in the memo and whole in the requirement."""
    book = "Go? " * 100_000
    gated = Step("ask", large, requires_confirmation=True, confirmation_message=book)
    definition = Workflow("long", [gated])
    async with serving(env, definition) as client:
        run = await client.start(definition)
        output = await paused(client, run)
        memo = await (await client.handle(run).describe()).memo()
        await client.resolve(run, Confirm(requirement_id="ask"))
        await ended(client, run)

    assert book == output.requirements[0].message
    assert 1000 == len(memo["hitl_requirements"]["rows"][0]["message"])
    await replays(client.handle(run), definition)


async def test_history_grows_with_the_work(env: WorkflowEnvironment) -> None:
    """History holds each output little more than twice, however many steps came before."""

    async def history_bytes(count: int) -> int:
        definition = Workflow(f"steps_{count}", [small(n) for n in range(count)])
        async with serving(env, definition) as client:
            run = await client.start(definition)
            output = await ended(client, run)
            history = await client.handle(run).fetch_history()
        assert RunStatus.completed is output.status
        # What it ended with holds all outputs once more.
        return sum(event.ByteSize() for event in history.events) - 10 * KB * count

    thirty, sixty = await history_bytes(30), await history_bytes(60)

    assert sixty / thirty < 2.1
    assert sixty / (60 * 10 * KB) < 2.5


async def test_a_loop_of_large_iterations(env: WorkflowEnvironment) -> None:
    """A loop keeps one iteration, so that its run does not grow with their number."""
    body = Step("draft", lambda: "d" * 100 * KB)
    definition = Workflow("looping", [Loop([body], name="refine", max_iterations=40)])

    output = await outcome(env, definition)

    assert 100 * KB == len(output.content)
    assert 1 == len(output.step_results[0].steps or [])
