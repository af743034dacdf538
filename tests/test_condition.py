"""A `Condition` takes the branch that its evaluator says (seed 002)."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Condition,
    Confirm,
    OnError,
    Reject,
    RunOptions,
    RunStatus,
    Step,
    StepInput,
    Workflow,
)
from tests.stage import activities, ended, outcome, paused, replays, serving


def count(step_input: StepInput) -> int:
    return int(step_input.input or 0)


def detailed(step_input: StepInput) -> str:
    return f"detailed after {step_input.previous_step_content}"


def brief(step_input: StepInput) -> str:
    return f"brief after {step_input.previous_step_content}"


def after(step_input: StepInput) -> list[Any]:
    return [step_input.previous_step_content, list(step_input.previous_step_outputs)]


def is_long(step_input: StepInput) -> bool:
    return step_input.previous_step_content > 10


async def is_long_async(step_input: StepInput) -> bool:
    return step_input.previous_step_content > 10


def how_long(step_input: StepInput) -> int:
    return max(0, step_input.previous_step_content - 10)


def is_strict(step_input: StepInput, session_state: dict[str, Any]) -> bool:
    session_state["evaluated"] = True
    return session_state["strict"]


def broken(step_input: StepInput) -> bool:
    raise ApplicationError("cannot tell", type="Unsure", non_retryable=True)


def pipeline(evaluator: Any, otherwise: bool = True, **options: Any) -> Workflow:
    choice = Condition(
        name="choice",
        evaluator=evaluator,
        steps=[Step("detailed", detailed)],
        else_steps=[Step("brief", brief)] if otherwise else None,
        **options,
    )
    return Workflow("conditional", [Step("count", count), choice, Step("after", after)])


@pytest.mark.parametrize("evaluator", [is_long, is_long_async, how_long])
@pytest.mark.parametrize(("input", "taken"), [(11, "detailed"), (10, "brief")])
async def test_the_evaluator_chooses_the_branch(
    env: WorkflowEnvironment, evaluator: Any, input: int, taken: str
) -> None:
    """The evaluator, sync or async, sees the step before it, and what it returns counts as yes or
    no.
    """
    output = await outcome(env, pipeline(evaluator), input)

    assert output.content == [f"{taken} after {input}", ["count", "choice"]]
    assert [f"choice.{taken}"] == [each.path for each in output.step_results[1].steps or []]
    assert output.step_results[1].step_type == "Condition"


@pytest.mark.parametrize(("evaluator", "taken"), [(True, "detailed"), (False, "brief")])
async def test_a_bool_needs_no_activity(
    env: WorkflowEnvironment, evaluator: bool, taken: str
) -> None:
    """An evaluator that is a bool is part of the plan: nothing is called for it."""
    definition = pipeline(evaluator)
    async with serving(env, definition) as client:
        run = await client.start(definition, 1)
        await ended(client, run)
        scheduled = await activities(client.handle(run))
        await replays(client.handle(run), definition)

    assert ["count", f"choice.{taken}", "after"] == list(scheduled)


async def test_no_without_an_else_leaves_no_trace(env: WorkflowEnvironment) -> None:
    """A Condition that says no and has no else-branch leaves no output; its text never becomes the
    next input.
    """
    output = await outcome(env, pipeline(False, otherwise=False), 1)

    assert output.content == [1, ["count"]]


async def test_the_evaluator_reads_and_writes_the_state(env: WorkflowEnvironment) -> None:
    """An evaluator may read the session state, and what it changes there stays."""
    options = RunOptions(session_state={"strict": True})
    output = await outcome(env, pipeline(is_strict), 1, options)

    assert output.content == ["detailed after 1", ["count", "choice"]]
    assert output.session_state == {"strict": True, "evaluated": True}


async def test_a_broken_evaluator_is_skipped_and_seen(env: WorkflowEnvironment) -> None:
    """An evaluator that fails takes no branch: a failed output stands in its place, and an event
    says so.
    """
    output = await outcome(env, pipeline(broken), 1)
    failed = output.step_results[1]

    assert (failed.step_name, failed.success) == ("choice", False)
    assert "cannot tell" in (failed.error or "")
    assert output.content == [1, ["count", "choice"]]
    assert [(e.event, e.path) for e in output.events] == [("node_failed", "choice.evaluator")]
    assert output.status is RunStatus.completed


async def test_a_broken_evaluator_fails_the_run_where_its_author_says_so(
    env: WorkflowEnvironment,
) -> None:
    """With `on_error=fail` an evaluator that fails ends the run, with its own exception type."""
    output = await outcome(env, pipeline(broken, on_error=OnError.fail), 1)

    assert (output.status, output.error_type) == (RunStatus.error, "application.Unsure")
    assert output.error == "choice.evaluator: cannot tell"


@pytest.mark.parametrize(("evaluator", "asks"), [(True, "yes"), (False, "no")])
async def test_a_gate_in_a_branch(env: WorkflowEnvironment, evaluator: bool, asks: str) -> None:
    """A gate in the branch that is taken is asked, one in the other is not."""
    both = Condition(
        name="choice",
        evaluator=evaluator,
        steps=[Step("yes", detailed, requires_confirmation=True)],
        else_steps=[Step("no", brief, requires_confirmation=True)],
    )
    definition = Workflow("conditional", [both])
    async with serving(env, definition) as client:
        run = await client.start(definition)
        asked = await paused(client, run)
        await client.resolve(run, Confirm(requirement_id=f"choice.{asks}"))
        output = await ended(client, run)
        await replays(client.handle(run), definition)

    assert [f"choice.{asks}"] == [each.id for each in asked.requirements]
    assert [asks] == [each.step_name for each in output.step_results[0].steps or []]


async def test_a_rejected_gate_empties_the_branch(env: WorkflowEnvironment) -> None:
    """A Condition whose only step was rejected leaves no output."""
    gated = Condition(name="choice", steps=[Step("yes", detailed, requires_confirmation=True)])
    definition = Workflow("conditional", [Step("count", count), gated, Step("after", after)])
    async with serving(env, definition) as client:
        run = await client.start(definition, 4)
        await paused(client, run)
        await client.resolve(run, Reject(requirement_id="choice.yes"))
        output = await ended(client, run)
        await replays(client.handle(run), definition)

    assert output.content == [4, ["count"]]
