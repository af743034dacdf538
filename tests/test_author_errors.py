"""Whatever an author writes wrongly is refused when the definition is built, naming the node
(issue "Foundation").
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.common import RetryPolicy

from temporal_hitl import (
    Condition,
    DefinitionError,
    HumanReview,
    Loop,
    Parallel,
    Router,
    Step,
    StepInput,
    Steps,
    Workflow,
    pause,
)


def run(step_input: StepInput) -> str:
    return "ran"


def choose(step_input: StepInput) -> str:
    return "a"


class Agent:
    """Something that can be called and has a name."""

    name = "agent"

    def __call__(self, step_input: StepInput) -> str:
        return "agent"


def step(**options: Any) -> Step:
    return Step("redact", run, **options)


REVIEW = HumanReview(requires_confirmation=True)

STEPS: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "no executor": (lambda: Step("redact"), ["'redact'", "none"]),
    "two executors": (lambda: Step("redact", run, agent=Agent()), ["'redact'", "2"]),
    "agent and team": (lambda: Step("redact", agent=Agent(), team=Agent()), ["'redact'", "2"]),
    "no executor and no name": (lambda: Step(), ["Step", "none"]),
    "executor that cannot be called": (lambda: Step("redact", 7), ["'redact'", "7"]),  # type: ignore[arg-type]
    "unknown on_reject": (
        lambda: step(requires_confirmation=True, on_reject="drop"),
        ["'redact'", "'drop'", "'skip'", "'cancel'"],
    ),
    "unknown on_error": (lambda: step(on_error="ignore"), ["'redact'", "'ignore'", "'fail'"]),
    "unknown on_timeout": (
        lambda: step(requires_confirmation=True, hitl_timeout=5, on_timeout="wait"),
        ["'redact'", "'wait'", "'approve'"],
    ),
    "unknown on_timeout without a timeout": (
        lambda: step(on_timeout="wait"),
        ["'redact'", "'wait'"],
    ),
    "on_reject=retry": (
        lambda: step(requires_confirmation=True, on_reject="retry"),
        ["'redact'", "retry"],
    ),
    "on_reject=else": (
        lambda: step(requires_confirmation=True, on_reject="else"),
        ["'redact'", "else", "Condition"],
    ),
    "on_reject=else in a review": (
        lambda: step(human_review=HumanReview(requires_confirmation=True, on_reject="else")),
        ["'redact'", "else"],
    ),
    "both spellings": (
        lambda: step(human_review=REVIEW, requires_confirmation=True),
        ["'redact'", "requires_confirmation", "human_review"],
    ),
    "both spellings, switching off": (
        lambda: step(human_review=REVIEW, requires_confirmation=False),
        ["'redact'", "requires_confirmation", "human_review"],
    ),
    "a message beside a review": (
        lambda: step(human_review=REVIEW, confirmation_message="Sure?"),
        ["'redact'", "confirmation_message", "human_review"],
    ),
    "a deadline beside a review": (
        lambda: step(human_review=REVIEW, hitl_timeout=5),
        ["'redact'", "timeout", "human_review"],
    ),
    "retries in both spellings": (
        lambda: step(max_retries=1, retry_policy=RetryPolicy()),
        ["'redact'", "max_retries", "retry_policy"],
    ),
    "max_retries negative": (lambda: step(max_retries=-1), ["'redact'", "max_retries", "-1"]),
    "max_retries bool": (lambda: step(max_retries=True), ["'redact'", "max_retries", "True"]),
    "max_retries a fraction": (lambda: step(max_retries=1.5), ["'redact'", "max_retries", "1.5"]),
    "max_retries a text": (lambda: step(max_retries="3"), ["'redact'", "max_retries", "'3'"]),
    "a name that is not text": (lambda: Step(7, run), ["7", "text"]),  # type: ignore[arg-type]
    "a review that is none": (
        lambda: step(human_review={"requires_confirmation": True}),
        ["'redact'", "human_review", "HumanReview"],
    ),
    "a confirmation that is no bool": (
        lambda: step(requires_confirmation="yes please"),
        ["'redact'", "requires_confirmation"],
    ),
    "a message that is no text": (
        lambda: step(requires_confirmation=True, confirmation_message=7),
        ["'redact'", "confirmation_message"],
    ),
    "a retry policy that is none": (
        lambda: step(retry_policy=3),
        ["'redact'", "retry_policy", "3"],
    ),
    "a task queue that is no text": (lambda: step(task_queue=7), ["'redact'", "task_queue"]),
    "an empty task queue": (lambda: step(task_queue=""), ["'redact'", "task_queue"]),
}

TIMEOUTS = [
    "hitl_timeout",
    "start_to_close_timeout",
    "schedule_to_close_timeout",
    "heartbeat_timeout",
]
DURATIONS = [
    0,
    -5,
    -0.0,
    math.nan,
    math.inf,
    -math.inf,
    True,
    "60",
    timedelta(0),
    timedelta(days=-1),
]

CONTAINERS: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "empty Steps": (lambda: Steps("box", steps=[]), ["Steps 'box'", "empty"]),
    "empty Parallel": (lambda: Parallel(name="box"), ["Parallel 'box'", "empty"]),
    "Parallel with a name alone": (lambda: Parallel("box"), ["Parallel 'box'", "empty"]),
    "empty Condition": (lambda: Condition([], name="box"), ["Condition 'box'", "empty"]),
    "empty else": (
        lambda: Condition([run], name="box", else_steps=[]),
        ["Condition 'box'", "empty"],
    ),
    "empty Loop": (lambda: Loop([], name="box"), ["Loop 'box'", "empty"]),
    "empty Router": (lambda: Router([], choose, name="box"), ["Router 'box'", "empty"]),
    "empty group in a Router": (lambda: Router([[]], choose, name="box"), ["empty"]),
    "empty Workflow": (lambda: Workflow("box", []), ["Workflow 'box'", "empty"]),
    "steps that are no list": (lambda: Steps("box", steps=run), ["Steps 'box'", "list"]),  # type: ignore[arg-type]
    "steps that are a text": (lambda: Steps("box", steps="run"), ["Steps 'box'", "list"]),  # type: ignore[arg-type]
    "a child that is no step": (lambda: Steps("box", steps=[7]), ["Steps 'box'", "7"]),  # type: ignore[list-item]
    "a child that is a class": (lambda: Steps("box", steps=[Agent]), ["Steps 'box'", "Agent"]),
    "a name that is not text": (lambda: Steps(7, steps=[run]), ["Steps", "7"]),  # type: ignore[arg-type]
    "an evaluator that cannot be called": (
        lambda: Condition([run], "x > 1", name="box"),  # type: ignore[arg-type]
        ["Condition 'box'", "'x > 1'"],
    ),
    "no evaluator": (lambda: Condition([run], None, name="box"), ["Condition 'box'", "None"]),  # type: ignore[arg-type]
    "both conditions of a Loop": (
        lambda: Loop([run], name="box", end_condition=bool, should_continue=bool),
        ["Loop 'box'", "end_condition", "should_continue"],
    ),
    "max_iterations zero": (
        lambda: Loop([run], name="box", max_iterations=0),
        ["Loop 'box'", "max_iterations", "0"],
    ),
    "max_iterations negative": (
        lambda: Loop([run], name="box", max_iterations=-1),
        ["Loop 'box'", "max_iterations", "-1"],
    ),
    "max_iterations bool": (
        lambda: Loop([run], name="box", max_iterations=True),
        ["Loop 'box'", "max_iterations", "True"],
    ),
    "an end_condition that cannot be called": (
        lambda: Loop([run], name="box", end_condition=7),  # type: ignore[arg-type]
        ["Loop 'box'", "7"],
    ),
    "a Router without a selector": (
        lambda: Router([run], name="box"),
        ["Router 'box'", "selector"],
    ),
    "a selector that cannot be called": (
        lambda: Router([run], "run", name="box"),  # type: ignore[arg-type]
        ["Router 'box'", "'run'"],
    ),
    "unknown on_error of a Loop": (
        lambda: Loop([run], name="box", on_error="ignore"),
        ["Loop 'box'", "'ignore'"],
    ),
}


def named(name: str) -> Step:
    return Step(name, run)


TREES: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "a name twice, side by side": (
        lambda: Workflow("release", [named("a"), named("a")]),
        ["release", "'a'", "twice"],
    ),
    "a name twice, far apart": (
        lambda: Workflow(
            "release", [Steps("prepare", steps=[named("a")]), Loop([named("a")], name="refine")]
        ),
        ["release", "'a'", "prepare.a", "refine.a"],
    ),
    "a container and a step": (
        lambda: Workflow("release", [Steps("a", steps=[named("a")])]),
        ["release", "'a'", "a.a"],
    ),
    "in both branches of a Condition": (
        lambda: Workflow("release", [Condition([named("a")], True, [named("a")], name="when")]),
        ["release", "'a'", "when.a"],
    ),
    "names that make one id": (
        lambda: Workflow("release", [named("Load data"), Steps("box", steps=[named("load_data")])]),
        ["'Load data' at load_data", "'load_data' at box.load_data"],
    ),
    "names that differ in accents": (
        lambda: Workflow("release", [named("résumé"), named("resume")]),
        ["'résumé'", "'resume'"],
    ),
    "the same step object twice": (
        lambda: (lambda one: Workflow("release", [one, one]))(named("a")),
        ["'a'", "twice"],
    ),
    "the same function twice": (lambda: Workflow("release", [run, run]), ["'run'", "twice"]),
    "a name and what is made for an unnamed container": (
        lambda: Workflow("release", [named("steps_2"), Steps(steps=[named("a")])]),
        ["steps_2"],
    ),
    "two groups called alike by two Routers": (
        lambda: Workflow(
            "release",
            [
                Router([[named("a")]], choose, name="one"),
                Router([[named("b")]], choose, name="two"),
                named("steps_group_0"),
            ],
        ),
        ["steps_group_0"],
    ),
    "a name without letters": (lambda: Workflow("release", [named("!!!")]), ["'!!!'"]),
    "a name that is blank": (lambda: Workflow("release", [named("  ")]), ["'  '"]),
    "a pipeline without a name": (lambda: Workflow("", [run]), ["Workflow", "''"]),
    "a pipeline whose name is blank": (lambda: Workflow("  ", [run]), ["Workflow", "'  '"]),
    "a pipeline whose name is no text": (lambda: Workflow(7, [run]), ["Workflow", "7"]),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("build", "told"), STEPS.values(), ids=STEPS.keys())
def test_steps(build: Callable[[], Any], told: list[str]) -> None:
    """A Step that cannot be meant is refused where it is built, by its name, with what is wrong."""
    assert_refused(build, told)


@pytest.mark.parametrize("option", TIMEOUTS)
@pytest.mark.parametrize("value", DURATIONS, ids=repr)
def test_durations(option: str, value: Any) -> None:
    """A duration is positive and finite; nought, nan, bools and texts are refused by name."""
    assert_refused(lambda: step(**{option: value}), ["'redact'", "timeout"])


@pytest.mark.parametrize(("build", "told"), CONTAINERS.values(), ids=CONTAINERS.keys())
def test_containers(build: Callable[[], Any], told: list[str]) -> None:
    """A container that cannot be meant is refused where it is built, by its kind and name."""
    assert_refused(build, told)


@pytest.mark.parametrize(("build", "told"), TREES.values(), ids=TREES.keys())
def test_trees(build: Callable[[], Any], told: list[str]) -> None:
    """Names that clash anywhere in a tree are refused with both places, and names that make no id
    by name.
    """
    assert_refused(build, told)


def assert_refused(build: Callable[[], Any], told: list[str]) -> None:
    """Assert that `build` raises the author's error, a ValueError too, with everything in
    `told`.
    """
    with pytest.raises(DefinitionError) as refused:
        build()

    assert isinstance(refused.value, ValueError)
    assert [each for each in told if each not in str(refused.value)] == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"on_reject": "drop"}, ["on_reject", "'drop'", "'cancel'"]),
        ({"on_timeout": "wait"}, ["on_timeout", "'wait'", "'approve'"]),
        ({"timeout": -1}, ["timeout", "-1"]),
        ({"timeout": 0}, ["timeout", "0"]),
        ({"timeout": math.nan}, ["timeout", "nan"]),
        ({"timeout": True}, ["timeout", "True"]),
        ({"require_confirmation": True}, ["'require_confirmation'", "requires_confirmation"]),
        ({"requires_confirmation": "maybe"}, ["requires_confirmation", "'maybe'"]),
        ({"confirmation_message": 7}, ["confirmation_message", "7"]),
    ],
)
def test_reviews(fields: dict[str, Any], told: list[str]) -> None:
    """A `HumanReview` refuses what it does not know when it is built, and names the field."""
    assert_refused(lambda: HumanReview(**fields), told)


def test_what_pause_says_is_checked_at_the_step() -> None:
    """What `@pause` marks is checked where a step uses it, and an explicit argument overrides
    it.
    """
    asked = pause(requires_confirmation=True, confirmation_message="Sure?")(lambda: None)

    assert Step("redact", asked).review.requires_confirmation is True
    assert Step("redact", asked, requires_confirmation=False).review.requires_confirmation is False
    assert Step("redact", asked).review.confirmation_message == "Sure?"
    assert Step("a", asked, confirmation_message="Really?").review.confirmation_message == "Really?"
    assert_refused(lambda: Step("redact", asked, on_reject="drop"), ["'redact'", "'drop'"])


def test_an_unknown_option_is_a_type_error() -> None:
    """An option that a primitive does not have is Python's own error, with the option's name."""
    with pytest.raises(TypeError, match="max_retries"):
        Parallel(run, name="box", max_retries=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="timout"):
        step(timout=5)


def test_what_is_fine() -> None:
    """Names that are alike but make different ids, and one function under two names, are no
    clash.
    """
    tree = [Step("a", run), Step("a-b", run), Step("a_b", run)]

    assert [each.slug for each in Workflow("release", tree).plan.children] == ["a", "a-b", "a_b"]
