"""A `Router` runs the choices that its selector names, one after another (seed 002)."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, OnError, Router, RunStatus, Step, StepInput, Steps, Workflow
from tests.stage import ended, outcome, paused, replays, serving


def load(step_input: StepInput) -> str:
    return "loaded"


def chain(step_input: StepInput) -> str:
    return f"{step_input.previous_step_content}>"


def after(step_input: StepInput) -> list[Any]:
    return [step_input.previous_step_content, list(step_input.previous_step_outputs)]


QUICK, DEEP = Step("quick", chain), Step("deep", chain)
BOTH = Steps("both", steps=[Step("one", chain), Step("two", chain)])


def by_input(step_input: StepInput) -> Any:
    return step_input.input


async def by_input_async(step_input: StepInput) -> Any:
    return step_input.input


def by_step(step_input: StepInput) -> Step:
    return DEEP


def by_steps(step_input: StepInput) -> list[Any]:
    return [BOTH, QUICK]


def by_tuple(step_input: StepInput) -> tuple[str, ...]:
    return ("quick", "deep")


def last_choice(step_input: StepInput, step_choices: list[Any]) -> Any:
    return step_choices[-1]


def names_of_choices(step_input: StepInput, step_choices: list[Any]) -> list[str]:
    return [each.name for each in step_choices]


def by_state(step_input: StepInput, session_state: dict[str, Any]) -> str:
    session_state["chosen"] = "deep"
    return session_state["chosen"]


def broken(step_input: StepInput) -> str:
    raise ApplicationError("cannot choose", type="Unsure", non_retryable=True)


def pipeline(selector: Any, **options: Any) -> Workflow:
    router = Router(name="route", choices=[QUICK, DEEP, BOTH], selector=selector, **options)
    return Workflow("routing", [load, router, Step("after", after)])


@pytest.mark.parametrize(
    ("selector", "input", "ran", "content"),
    [
        (by_input, "quick", ["quick"], "loaded>"),
        (by_input_async, "deep", ["deep"], "loaded>"),
        (by_input, ["deep", "quick"], ["deep", "quick"], "loaded>>"),
        (by_tuple, None, ["quick", "deep"], "loaded>>"),
        (by_step, None, ["deep"], "loaded>"),
        (by_steps, None, ["both", "quick"], "loaded>>>"),
        (last_choice, None, ["both"], "loaded>>"),
        (names_of_choices, None, ["quick", "deep", "both"], "loaded>>>>"),
        (by_state, None, ["deep"], "loaded>"),
    ],
)
async def test_what_the_selector_names_runs(
    env: WorkflowEnvironment, selector: Any, input: Any, ran: list[str], content: str
) -> None:
    """A name, a choice, or several of either: they run in the order given, each fed by the one
    before.
    """
    output = await outcome(env, pipeline(selector), input)
    routed = output.step_results[1]

    assert ran == [each.step_name for each in routed.steps or []]
    assert [f"route.{name}" for name in ran] == [each.path for each in routed.steps or []]
    assert output.content == [content, ["load", "route"]]
    assert routed.step_type == "Router"


@pytest.mark.parametrize("nothing", [None, []])
async def test_nothing_selected_leaves_no_trace(env: WorkflowEnvironment, nothing: Any) -> None:
    """A selector that names nothing runs nothing, and the Router leaves no output."""
    output = await outcome(env, pipeline(by_input), nothing)

    assert output.content == ["loaded", ["load"]]
    assert output.events == []


async def test_an_unknown_choice_is_never_a_success(env: WorkflowEnvironment) -> None:
    """A selector that names what is no choice has failed: a failed output, and an event that lists
    what there is.
    """
    output = await outcome(env, pipeline(by_input), "quikc")
    failed = output.failed_steps[0]

    assert (failed.step_name, output.content) == ("route", ["loaded", ["load", "route"]])
    assert "'quikc', which is not one of quick, deep, both" in (failed.error or "")
    assert [each.event for each in output.events] == ["node_failed"]


async def test_an_unknown_choice_runs_none_of_the_others(env: WorkflowEnvironment) -> None:
    """Where one of several names is unknown, none of them runs."""
    output = await outcome(env, pipeline(by_input), ["quick", "nope"])

    assert not output.step_results[1].steps


async def test_an_unknown_choice_fails_the_run_where_its_author_says_so(
    env: WorkflowEnvironment,
) -> None:
    """With `on_error=fail` an unknown choice ends the run."""
    output = await outcome(env, pipeline(by_input, on_error=OnError.fail), "nope")

    assert output.status is RunStatus.error
    assert "route.selector" in (output.error or "")


async def test_a_broken_selector_fails_the_run_where_its_author_says_so(
    env: WorkflowEnvironment,
) -> None:
    """With `on_error=fail` a selector that raises ends the run with its own exception."""
    output = await outcome(env, pipeline(broken, on_error="fail"))

    assert (output.status, output.error_type) == (RunStatus.error, "application.Unsure")


async def test_a_list_among_the_choices_is_a_group(env: WorkflowEnvironment) -> None:
    """A list among the choices is one choice, called `steps_group_1` after its position from 0."""
    router = Router([Step("a", chain), [Step("b", chain), chain]], by_input, name="route")
    output = await outcome(env, Workflow("routing", [load, router]), "steps_group_1")

    assert output.content == "loaded>>"
    assert [each.path for each in (output.step_results[1].steps or [])[0].steps or []] == [
        "route.steps_group_1.b",
        "route.steps_group_1.chain",
    ]


async def test_functions_are_choices_by_their_name(env: WorkflowEnvironment) -> None:
    """A function among the choices is a step of its name."""
    router = Router([load, chain], by_input, name="route")
    output = await outcome(env, Workflow("routing", [router]), "chain")

    assert output.content == "None>"


async def test_the_same_choice_twice_asks_twice(env: WorkflowEnvironment, cache: int) -> None:
    """A choice that is named twice runs twice, and its gate asks a second time as `~2`."""
    gated = Step("publish", chain, requires_confirmation=True)
    definition = Workflow("routing", [Router([gated, DEEP], by_input, name="route")])
    asked: list[str] = []
    async with serving(env, definition, max_cached_workflows=cache) as client:
        run = await client.start(definition, ["publish", "publish"])
        for _ in range(2):
            key = (await paused(client, run)).requirements[0].id
            asked.append(key)
            await client.resolve(run, Confirm(requirement_id=key))
        output = await ended(client, run)
        await replays(client.handle(run), definition)

    assert asked == ["route.publish", "route.publish~2"]
    assert output.content == "None>>"
