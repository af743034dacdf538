"""What one step makes, the next ones see: the flow of `StepInput` and `StepOutput` (seeds 000 to
002).
"""

from __future__ import annotations

from typing import Any

from temporalio.testing import WorkflowEnvironment

from temporal_hitl import OnReject, Reject, RunStatus, Step, StepInput, StepOutput, Steps, Workflow
from tests.stage import activities, ended, outcome, paused, replays, serving


def fetch(step_input: StepInput) -> dict[str, int]:
    return {"rows": 3}


def clean(step_input: StepInput) -> str:
    return "cleaned"


def nothing(step_input: StepInput) -> None:
    return None


def broken(step_input: StepInput) -> str:
    raise ValueError("no such table")


def gives_up(step_input: StepInput) -> StepOutput:
    return StepOutput(content="half a report", success=False, error="ran out of rows")


def report(step_input: StepInput) -> str:
    return f"after {step_input.previous_step_content}"


def look(step_input: StepInput) -> dict[str, Any]:
    """Return everything that a step can see."""
    found = step_input.get_step_output("clean")
    return {
        "input": step_input.input,
        "as_string": step_input.get_input_as_string(),
        "previous": step_input.previous_step_content,
        "last": step_input.get_last_step_content(),
        "names": list(step_input.previous_step_outputs),
        "clean": None if found is None else (found.step_name, found.path, found.content),
        "content": step_input.get_step_content("clean"),
        "missing": (step_input.get_step_output("x"), step_input.get_step_content("x")),
        "all": step_input.get_all_previous_content(),
        "iteration": step_input.iteration,
    }


async def test_a_step_sees_what_came_before(env: WorkflowEnvironment) -> None:
    """A step is given the run's input, the last content, and every earlier output by name, in
    order.
    """
    pipeline = Workflow("flow", [fetch, Step("clean", clean), Step("look", look)])
    output = await outcome(env, pipeline, {"table": "users"})

    assert output.content == {
        "input": {"table": "users"},
        "as_string": '{"table": "users"}',
        "previous": "cleaned",
        "last": "cleaned",
        "names": ["fetch", "clean"],
        "clean": ["clean", "clean", "cleaned"],
        "content": "cleaned",
        "missing": [None, None],
        "all": '=== fetch ===\n{"rows": 3}\n\n=== clean ===\ncleaned',
        "iteration": None,
    }


async def test_the_first_step_sees_nothing_before_it(env: WorkflowEnvironment) -> None:
    """The first step has the input alone; a text stays the text it is, and no input is null."""
    shown = (await outcome(env, Workflow("flow", [look]), "users")).content
    bare = (await outcome(env, Workflow("flow", [look]))).content

    assert (shown["as_string"], shown["previous"], shown["names"], shown["all"]) == (
        "users",
        None,
        [],
        "",
    )
    assert (bare["input"], bare["as_string"]) == (None, "null")


async def test_a_failed_output_is_passed_over(env: WorkflowEnvironment) -> None:
    """What failed is never the next step's content, whether it raised or said so; it stays in the
    outputs.
    """
    steps = [clean, broken_once(), Step("gives_up", gives_up), Step("look", look)]
    shown = await outcome(env, Workflow("flow", steps))

    assert shown.content["previous"] == "cleaned"
    assert shown.content["names"] == ["clean", "broken", "gives_up"]
    assert [each.step_name for each in shown.failed_steps] == ["broken", "gives_up"]
    assert [each.content for each in shown.failed_steps] == [None, "half a report"]


def broken_once() -> Step:
    return Step("broken", broken, max_retries=0)


async def test_a_step_that_made_nothing_says_nothing(env: WorkflowEnvironment) -> None:
    """A step that succeeded with no content hands on no content, not that of the step before it."""
    output = await outcome(env, Workflow("flow", [clean, nothing, Step("look", look)]))

    assert output.content["previous"] is None
    assert output.content["all"] == "=== clean ===\ncleaned"


async def test_a_rejected_step_leaves_no_trace(env: WorkflowEnvironment) -> None:
    """After a rejected step the next one sees what the last executed one made, and no output of
    that name.
    """
    gated = Step("gated", fetch, requires_confirmation=True, on_reject=OnReject.skip)
    pipeline = Workflow("flow", [clean, gated, Step("look", look)])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline)
        await paused(client, run)
        await client.resolve(run, Reject(requirement_id="gated"))
        output = await ended(client, run)
        await replays(client.handle(run), pipeline)

    assert (output.content["previous"], output.content["names"]) == ("cleaned", ["clean"])


async def test_steps_run_in_order_and_see_each_other(env: WorkflowEnvironment) -> None:
    """A `Steps` is one node of the run: its children chain, and its content is that of the last of
    them.
    """
    inner = Steps("prepare", steps=[fetch, Step("clean", clean), Step("first", report)])
    output = await outcome(env, Workflow("flow", [inner, Step("look", look)]))
    prepared = output.step_results[0]

    assert (prepared.step_name, prepared.path, prepared.step_type) == (
        "prepare",
        "prepare",
        "Steps",
    )
    assert prepared.content == "after cleaned"
    assert [each.path for each in prepared.steps or []] == [
        "prepare.fetch",
        "prepare.clean",
        "prepare.first",
    ]
    assert output.content["names"] == ["prepare"]
    assert output.content["clean"] == ["clean", "prepare.clean", "cleaned"]
    assert output.content["previous"] == "after cleaned"


async def test_steps_whose_last_child_failed(env: WorkflowEnvironment) -> None:
    """A container with a failed child is marked, and its content is that of the last child that
    succeeded.
    """
    inner = Steps("prepare", steps=[clean, broken_once()])
    output = await outcome(env, Workflow("flow", [inner, Step("report", report)]))

    assert (output.step_results[0].success, output.step_results[0].content) == (False, "cleaned")
    assert (output.content, output.status) == ("after cleaned", RunStatus.completed)


async def test_a_container_in_which_everything_failed_hands_on_what_was_before(
    env: WorkflowEnvironment,
) -> None:
    """A container without a single success does not hide the content from before it."""
    inner = Steps("prepare", steps=[broken_once()])
    output = await outcome(env, Workflow("flow", [clean, inner, Step("report", report)]))

    assert output.content == "after cleaned"


async def test_steps_as_the_workflow(env: WorkflowEnvironment) -> None:
    """A `Steps` given as a workflow's steps is the list of its children."""
    output = await outcome(env, Workflow("flow", Steps("all", steps=[clean, report])))

    assert [each.path for each in output.step_results] == ["clean", "report"]
    assert output.content == "after cleaned"


async def test_unnamed_containers_get_a_name(env: WorkflowEnvironment) -> None:
    """A container without a name is called after its kind and place, and so are the ids below
    it.
    """
    pipeline = Workflow("flow", [clean, Steps(steps=[Steps(steps=[report])])])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline)
        output = await ended(client, run)
        scheduled = await activities(client.handle(run))
        await replays(client.handle(run), pipeline)

    assert "steps_2.steps_1.report" in scheduled
    assert [each.step_name for each in output.step_results] == ["clean", "steps_2"]


async def test_the_run_says_what_it_did(env: WorkflowEnvironment) -> None:
    """A run's output holds its input, every top-level output in order, and the last content."""
    output = await outcome(env, Workflow("flow", [fetch, clean]), "users")

    assert (output.input, output.content, output.status) == (
        "users",
        "cleaned",
        RunStatus.completed,
    )
    assert [(each.step_name, each.content) for each in output.step_results] == [
        ("fetch", {"rows": 3}),
        ("clean", "cleaned"),
    ]
    assert (output.requirements, output.running, output.events) == ([], [], [])
