"""`StepOutput(stop=True)` ends a run, completed, wherever it is said."""

from __future__ import annotations

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Condition,
    Confirm,
    Loop,
    Parallel,
    Router,
    RunStatus,
    Step,
    StepInput,
    StepOutput,
    Steps,
    Workflow,
)
from temporal_hitl.primitives import Node
from tests.stage import ended, outcome, paused, replays, serving


def load(step_input: StepInput) -> str:
    return "loaded"


def enough(step_input: StepInput) -> StepOutput:
    return StepOutput(content="enough", stop=True)


def fails_and_stops(step_input: StepInput) -> StepOutput:
    return StepOutput(content="no", success=False, error="nothing to do", stop=True)


def never(step_input: StepInput) -> str:
    return "never"


def choose(step_input: StepInput) -> list[str]:
    return ["stop", "never"]


STOP, NEVER = Step("stop", enough), Step("never", never)


@pytest.mark.parametrize(
    "node",
    [
        STOP,
        Steps("box", steps=[STOP, NEVER]),
        Condition(name="box", steps=[STOP, NEVER]),
        Condition(name="box", evaluator=False, steps=[Step("if", load)], else_steps=[STOP, NEVER]),
        Loop(name="box", steps=[STOP, NEVER], max_iterations=3),
        Router(name="box", choices=[STOP, NEVER], selector=choose),
        Steps("box", steps=[Loop(name="loop", steps=[Steps("deep", steps=[STOP])]), NEVER]),
    ],
    ids=["step", "steps", "condition", "else", "loop", "router", "nested"],
)
async def test_nothing_runs_after_a_stop(env: WorkflowEnvironment, node: Node) -> None:
    """After a step that stops nothing else runs, in its container or after it, and the run is
    completed.
    """
    output = await outcome(env, Workflow("stopping", [load, node, Step("after", load)]))
    ran = [each.step_name for top in output.step_results for each in top.walk() if not each.steps]

    assert (output.status, output.content) == (RunStatus.completed, "enough")
    assert ran == ["load", "stop"]
    assert [each.stop for each in output.step_results] == [False, True]


async def test_a_stopped_loop_stops_in_its_first_iteration(env: WorkflowEnvironment) -> None:
    """A loop whose step stops makes no second iteration, and its condition is not asked."""

    def unasked(step_input: StepInput, iteration: int) -> bool:
        raise AssertionError("asked after a stop")

    loop = Loop([STOP], name="loop", max_iterations=3, should_continue=unasked)
    output = await outcome(env, Workflow("stopping", [loop]))

    assert [each.path for each in output.step_results[0].steps or []] == ["loop.1.stop"]
    assert output.events == []


async def test_branches_finish_beside_a_stop(env: WorkflowEnvironment) -> None:
    """In a Parallel a stop lets the other branches finish, gates included, and then ends the
    run.
    """
    asks = Step("asks", load, requires_confirmation=True)
    pipeline = Workflow("stopping", [Parallel(STOP, asks, name="fan"), NEVER])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline)
        await paused(client, run)
        await client.resolve(run, Confirm(requirement_id="fan.asks"))
        output = await ended(client, run)
        await replays(client.handle(run), pipeline)

    assert output.status is RunStatus.completed
    assert output.content == {"stop": "enough", "asks": "loaded"}
    assert [each.step_name for each in output.step_results] == ["fan"]


async def test_a_stop_may_be_a_failure(env: WorkflowEnvironment) -> None:
    """A step that says it failed and stops ends the run too, completed, with the failure in
    sight.
    """
    output = await outcome(env, Workflow("stopping", [load, Step("stop", fails_and_stops), NEVER]))

    assert (output.status, output.content) == (RunStatus.completed, "loaded")
    assert [each.error for each in output.failed_steps] == ["nothing to do"]
