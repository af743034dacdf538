"""A `Loop` runs its steps again until its condition or its limit ends it (seed 000)."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Confirm,
    Loop,
    OnError,
    Reject,
    RunStatus,
    Step,
    StepInput,
    StepOutput,
    Workflow,
)
from tests.stage import activities, ended, outcome, paused, replays, serving


def prepare(step_input: StepInput) -> str:
    return "prepared"


def draft(step_input: StepInput) -> str:
    return f"draft {step_input.iteration} of {step_input.input}"


def improve(step_input: StepInput, session_state: dict[str, Any]) -> str:
    session_state.setdefault("previous", []).append(step_input.previous_step_content)
    return f"better {step_input.previous_step_content}"


def extend(step_input: StepInput) -> str:
    return f"{step_input.input}+"


def final(step_input: StepInput) -> list[Any]:
    return [step_input.previous_step_content, step_input.get_step_content("draft")]


def below_three(step_input: StepInput, iteration: int) -> bool:
    return iteration < 3


async def below_three_async(step_input: StepInput, iteration: int) -> bool:
    return iteration < 3


def until_second(step_input: StepInput, iteration: int, session_state: dict[str, Any]) -> bool:
    session_state.setdefault("asked", []).append([iteration, step_input.previous_step_content])
    return iteration < 2


def second_done(outputs: list[StepOutput]) -> bool:
    return any("draft 2" in str(each.content) for each in outputs)


def broken(*_: Any) -> bool:
    raise ApplicationError("cannot tell", type="Unsure", non_retryable=True)


def loop(**options: Any) -> Workflow:
    body = [Step("draft", draft), Step("improve", improve)]
    refine = Loop(name="refine", steps=body, **options)
    return Workflow("refinement", [prepare, refine, Step("final", final)])


async def test_runs_to_its_limit(env: WorkflowEnvironment) -> None:
    """Without a condition a loop runs `max_iterations` times; each activity's id holds its
    iteration.
    """
    definition = loop(max_iterations=2)
    async with serving(env, definition) as client:
        run = await client.start(definition, "essay")
        output = await ended(client, run)
        scheduled = await activities(client.handle(run))
        await replays(client.handle(run), definition)

    assert list(scheduled) == [
        "prepare",
        "refine.1.draft",
        "refine.1.improve",
        "refine.2.draft",
        "refine.2.improve",
        "final",
    ]
    assert output.content == ["better draft 2 of essay", "draft 2 of essay"]
    assert output.step_results[1].step_type == "Loop"


@pytest.mark.parametrize("condition", [below_three, below_three_async])
async def test_should_continue_ends_it_with_false(env: WorkflowEnvironment, condition: Any) -> None:
    """`should_continue(step_input, iteration)` counts from 1 and ends the loop by False, as seed
    000 shows.
    """
    output = await outcome(env, loop(max_iterations=9, should_continue=condition), "essay")

    assert output.content == ["better draft 3 of essay", "draft 3 of essay"]


async def test_should_continue_sees_the_iteration(env: WorkflowEnvironment) -> None:
    """`should_continue` sees what the iteration made, and may use the session state."""
    output = await outcome(env, loop(max_iterations=9, should_continue=until_second), "essay")

    assert output.session_state["asked"] == [
        [1, "better draft 1 of essay"],
        [2, "better draft 2 of essay"],
    ]


async def test_end_condition_ends_it_with_true(env: WorkflowEnvironment) -> None:
    """`end_condition(outputs)` sees the outputs of the iteration and ends the loop by True."""
    output = await outcome(env, loop(max_iterations=9, end_condition=second_done), "essay")

    assert output.content == ["better draft 2 of essay", "draft 2 of essay"]


async def test_no_condition_is_asked_after_the_last_iteration(env: WorkflowEnvironment) -> None:
    """After the last iteration nothing is left to decide, so the condition is not called."""
    definition = loop(max_iterations=2, should_continue=below_three)
    async with serving(env, definition) as client:
        run = await client.start(definition, "essay")
        await ended(client, run)
        scheduled = await activities(client.handle(run))
        await replays(client.handle(run), definition)

    assert [each for each in scheduled if "continue" in each] == ["refine.1.should_continue"]


async def test_every_iteration_starts_from_the_same_place(env: WorkflowEnvironment) -> None:
    """Without forwarding, each iteration sees the run's input and the step before the loop."""
    definition = Workflow("again", [prepare, Loop([improve], name="refine", max_iterations=3)])
    output = await outcome(env, definition, "essay")

    assert output.session_state["previous"] == ["prepared", "prepared", "prepared"]
    assert output.content == "better prepared"


async def test_forwarding_makes_the_output_the_next_input(env: WorkflowEnvironment) -> None:
    """With `forward_iteration_output` an iteration's content is the next one's input and previous
    content.
    """
    both = Loop(
        [Step("extend", extend), Step("improve", improve)],
        name="refine",
        max_iterations=3,
        forward_iteration_output=True,
    )
    output = await outcome(env, Workflow("forwarding", [both]), "x")

    assert output.content == "better better better x+++"
    assert output.session_state["previous"] == [
        "x+",
        "better x++",
        "better better x+++",
    ]


async def test_only_the_last_iteration_is_kept(env: WorkflowEnvironment) -> None:
    """A finished loop holds its last iteration, whatever the number of iterations was."""
    output = await outcome(env, loop(max_iterations=3), "essay")
    kept = output.step_results[1].steps or []

    assert [each.path for each in kept] == ["refine.3.draft", "refine.3.improve"]


async def test_an_iteration_that_is_left_out(env: WorkflowEnvironment) -> None:
    """A Loop whose last iteration was rejected whole keeps what the one before it produced."""
    gated = Step("draft", draft, requires_confirmation=True)
    definition = Workflow("rejecting", [Loop([gated], name="refine", max_iterations=2)])
    async with serving(env, definition) as client:
        run = await client.start("rejecting", "a text")
        for answer in (Confirm, Reject):
            asked = (await paused(client, run)).requirements[0]
            await client.resolve(run, answer(requirement_id=asked.id))
        output = await ended(client, run)

    assert "draft 1 of a text" == output.content
    await replays(client.handle(run), definition)


async def test_a_gate_in_a_loop_is_asked_in_each_iteration(
    env: WorkflowEnvironment, cache: int
) -> None:
    """A gate inside a loop asks in each iteration, under an id of its own."""
    gated = Step("publish", draft, requires_confirmation=True)
    definition = Workflow("refinement", [Loop([gated], name="refine", max_iterations=3)])
    asked: list[str] = []
    async with serving(env, definition, max_cached_workflows=cache) as client:
        run = await client.start(definition, "essay")
        for answer in (Confirm, Reject, Confirm):
            key = (await paused(client, run)).requirements[0].id
            asked.append(key)
            await client.resolve(run, answer(requirement_id=key))
        output = await ended(client, run)
        await replays(client.handle(run), definition)

    assert asked == ["refine.1.publish", "refine.2.publish", "refine.3.publish"]
    assert output.content == "draft 3 of essay"
    assert [each.path for each in output.events] == ["refine.2.publish"]


async def test_a_broken_condition_ends_the_loop_and_keeps_its_work(
    env: WorkflowEnvironment,
) -> None:
    """A condition that fails ends the loop, marked as failed, with what the iteration had made."""
    output = await outcome(env, loop(max_iterations=5, end_condition=broken), "essay")
    ended_at = output.step_results[1]

    assert (ended_at.success, ended_at.content) == (False, "better draft 1 of essay")
    assert [(e.event, e.path) for e in output.events] == [("node_failed", "refine.1.end_condition")]
    assert output.content == ["better draft 1 of essay", "draft 1 of essay"]


async def test_a_broken_condition_fails_the_run_where_its_author_says_so(
    env: WorkflowEnvironment,
) -> None:
    """With `on_error=fail` a condition that fails ends the run."""
    definition = loop(max_iterations=5, should_continue=broken, on_error=OnError.fail)
    output = await outcome(env, definition, "essay")

    assert (output.status, output.error_type) == (RunStatus.error, "application.Unsure")


async def test_a_hundred_iterations(env: WorkflowEnvironment) -> None:
    """A hundred iterations cost the run no more memory than one: history grows by the same for
    each.
    """
    definition = Workflow("long", [Loop([Step("draft", draft)], name="refine", max_iterations=100)])
    async with serving(env, definition) as client:
        run = await client.start(definition, "essay")
        output = await ended(client, run)
        scheduled = await activities(client.handle(run))
        await replays(client.handle(run), definition)
    sizes = [each.ByteSize() for each in scheduled.values()]

    assert output.content == "draft 100 of essay"
    assert max(sizes[1:]) - min(sizes[1:]) < 64
