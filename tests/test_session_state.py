"""`session_state` is read and changed by steps, merged after a `Parallel`, and never lost (design
6).
"""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Condition,
    Confirm,
    Loop,
    Parallel,
    Reject,
    Router,
    RunOptions,
    Step,
    StepInput,
    StepOutput,
    Steps,
    Workflow,
)
from tests.stage import activities, ended, outcome, paused, replays, serving

State = dict[str, Any]


def writes(name: str, **values: Any) -> Step:
    """Return a step that sets `values`; one that is `...` it removes."""

    def write(step_input: StepInput, session_state: State) -> State:
        seen = dict(session_state)
        for key, value in values.items():
            if value is ...:
                session_state.pop(key, None)
            else:
                session_state[key] = value
        return seen

    return Step(name, write)


def nested(step_input: StepInput, session_state: State) -> None:
    session_state["config"]["rows"].append(3)


def replaced(session_state: State) -> None:
    session_state.clear()
    session_state["only"] = True


def writes_and_fails(step_input: StepInput, session_state: State) -> None:
    session_state["half"] = "written"
    raise ValueError("too late")


async def state_after(env: WorkflowEnvironment, *steps: Any, **before: Any) -> State:
    output = await outcome(
        env, Workflow("stateful", list(steps)), options=RunOptions(session_state=before)
    )
    return output.session_state


async def test_what_a_step_changes_the_next_one_sees(env: WorkflowEnvironment) -> None:
    """A step sees what the caller gave and what earlier steps changed; the rest stays as it was."""
    steps = [writes("one", a=1), writes("two", b=2), writes("three")]
    output = await outcome(
        env, Workflow("stateful", steps), options=RunOptions(session_state={"a": 0, "z": [1]})
    )

    assert output.content == {"a": 1, "z": [1], "b": 2}
    assert output.session_state == {"a": 1, "z": [1], "b": 2}


async def test_a_removed_key_is_gone(env: WorkflowEnvironment) -> None:
    """A key that a step removes is gone for all that follow."""
    assert await state_after(env, writes("one", a=...), writes("two", b=2), a=1) == {"b": 2}


async def test_a_value_may_be_null(env: WorkflowEnvironment) -> None:
    """A key that is set to None is there, and is not the same as one that is not."""
    assert await state_after(env, writes("one", a=None), b=None) == {"a": None, "b": None}


async def test_a_change_in_place_counts(env: WorkflowEnvironment) -> None:
    """A value that a step changes in place is a change, as are clearing the whole state and
    writing anew.
    """
    before = {"config": {"rows": [1, 2]}}

    assert await state_after(env, nested, **before) == {"config": {"rows": [1, 2, 3]}}
    assert await state_after(env, replaced, **before) == {"only": True}


async def test_a_failed_step_changes_nothing(env: WorkflowEnvironment) -> None:
    """What a step wrote before it failed is not kept: only a finished step changes the state."""
    failing = Step("failing", writes_and_fails, max_retries=0)

    assert await state_after(env, failing, a=1) == {"a": 1}


async def test_only_changes_cross(env: WorkflowEnvironment) -> None:
    """A step hands back the keys that it changed, not the whole state."""

    def touch(session_state: State) -> None:
        session_state["small"] = 1

    pipeline = Workflow("stateful", [touch])
    async with serving(env, pipeline) as client:
        options = RunOptions(session_state={"big": "x" * 50_000})
        run = await client.start(pipeline, options=options)
        output = await ended(client, run)
        history = await client.handle(run).fetch_history()
        await replays(client.handle(run), pipeline)
    done = [each.activity_task_completed_event_attributes for each in history.events]

    assert output.session_state["small"] == 1
    assert max(each.ByteSize() for each in done) < 2_000


async def test_branches_start_from_one_snapshot(env: WorkflowEnvironment) -> None:
    """No branch of a Parallel sees what another one writes, not even in later steps of its own."""
    left = Steps("left", steps=[writes("l1", a="left"), writes("l2", b=1)])
    right = Steps("right", steps=[writes("r1", c=1), writes("r2", d=1)])
    pipeline = Workflow("stateful", [Parallel(left, right, name="fan")])
    output = await outcome(env, pipeline, options=RunOptions(session_state={"a": "before"}))

    assert output.content == {"left": {"a": "left"}, "right": {"a": "before", "c": 1}}
    assert output.session_state == {"a": "left", "b": 1, "c": 1, "d": 1}
    assert output.events == []


@pytest.mark.parametrize("order", ["ab", "ba"])
async def test_the_last_declared_branch_wins(env: WorkflowEnvironment, order: str) -> None:
    """Two branches that write one key differently: the last declared wins, whoever came last, and
    an event says so.
    """
    pipeline = Workflow("stateful", [Parallel(gated("a"), gated("b"), name="fan")])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline)
        await paused(client, run)
        for name in order:
            await client.resolve(run, Confirm(requirement_id=f"fan.{name}"))
        output = await ended(client, run)
        await replays(client.handle(run), pipeline)
    conflicts = [each for each in output.events if each.event == "state_conflict"]

    assert output.session_state == {"who": "b"}
    assert [(each.path, each.key, each.kept) for each in conflicts] == [("fan", "who", "b")]


def gated(name: str) -> Step:
    def write(step_input: StepInput, session_state: State) -> None:
        session_state["who"] = name

    return Step(name, write, requires_confirmation=True)


MERGES: list[tuple[State, State, State, State, int]] = [
    ({}, {"k": 1}, {"k": 1}, {"k": 1}, 0),
    ({}, {"k": 1}, {"k": 2}, {"k": 2}, 1),
    ({"k": 1}, {"k": 2}, {"k": 1}, {"k": 2}, 0),
    ({"k": 1}, {"k": ...}, {}, {}, 0),
    ({"k": 1}, {"k": ...}, {"k": ...}, {}, 0),
    ({"k": 1}, {"k": ...}, {"k": 2}, {"k": 2}, 1),
    ({"k": 1}, {"k": 2}, {"k": ...}, {}, 1),
    ({}, {"k": None}, {}, {"k": None}, 0),
    ({"k": None}, {"k": ...}, {}, {}, 0),
    ({"k": 1}, {"k": None}, {"k": ...}, {}, 1),
    ({"k": 1}, {"k": True}, {}, {"k": True}, 0),
    ({}, {"k": 0}, {"k": False}, {"k": False}, 1),
]
"""The state before, what each of two branches writes, the state after, and how many conflicts."""


async def test_how_branches_merge(env: WorkflowEnvironment) -> None:
    """Branches merge by what each one changed: unchanged keys say nothing, removals and nulls are
    changes.
    """

    def of_case(number: int, state: State) -> State:
        return {f"{key}_{number}": value for key, value in state.items()}

    fans: list[Parallel] = []
    before: State = {}
    for n, (held, first, second, _, _) in enumerate(MERGES):
        branches = (
            writes(f"first_{n}", **of_case(n, first)),
            writes(f"second_{n}", **of_case(n, second)),
        )
        fans.append(Parallel(*branches, name=f"fan_{n}"))
        before |= of_case(n, held)
    output = await outcome(
        env, Workflow("stateful", fans), options=RunOptions(session_state=before)
    )

    told = [each.path for each in output.events]
    assert {f"k_{n}" for n, case in enumerate(MERGES) if case[3]} == set(output.session_state)
    assert sum(case[-1] for case in MERGES) == len(told)
    for n, (*case, after, conflicts) in enumerate(MERGES):
        merged = {key: value for key, value in output.session_state.items() if key == f"k_{n}"}
        assert (repr(of_case(n, after)), conflicts) == (repr(merged), told.count(f"fan_{n}")), case


async def test_a_parallel_in_a_parallel(env: WorkflowEnvironment) -> None:
    """Inner branches merge into their branch first; a conflict inside is told at the inner
    Parallel's path.
    """
    inner = Parallel(writes("x", k=1), writes("y", k=2), name="inner")
    outer = Parallel(inner, writes("z", k=3, m=1), name="outer")
    output = await outcome(env, Workflow("stateful", [outer]))

    assert output.session_state == {"k": 3, "m": 1}
    assert [(each.path, each.kept) for each in output.events if each.event == "state_conflict"] == [
        ("outer.inner", "y"),
        ("outer", "z"),
    ]


def sees(step_input: StepInput) -> Any:
    return step_input.additional_data


def decides(step_input: StepInput) -> bool:
    return step_input.additional_data["ticket"] == 7


def selects(step_input: StepInput) -> str:
    return step_input.additional_data["route"]


def goes_on(step_input: StepInput, iteration: int) -> bool:
    return iteration < step_input.additional_data["ticket"] - 5


async def test_additional_data_reaches_every_step(env: WorkflowEnvironment, cache: int) -> None:
    """What the caller gave beside the input survives every pause, answered or rejected, and
    reaches every function.
    """
    data = {"ticket": 7, "route": "b", "nested": {"deep": [1]}}
    pipeline = Workflow(
        "additional",
        [
            Step("first", sees, requires_confirmation=True),
            Step("left_out", sees, requires_confirmation=True),
            Condition(name="when", evaluator=decides, steps=[Step("yes", sees)]),
            Router(name="route", selector=selects, choices=[Step("a", sees), Step("b", sees)]),
            Loop(
                name="loop", steps=[Step("again", sees)], max_iterations=5, should_continue=goes_on
            ),
            Parallel(Step("p", sees), Step("q", sees, requires_confirmation=True), name="fan"),
        ],
    )
    async with serving(env, pipeline, max_cached_workflows=cache) as client:
        run = await client.start(pipeline, options=RunOptions(additional_data=data))
        for answer in (Confirm, Reject, Confirm):
            key = (await paused(client, run)).requirements[0].id
            await client.resolve(run, answer(requirement_id=key))
        output = await ended(client, run)
        scheduled = await activities(client.handle(run))
        await replays(client.handle(run), pipeline)
    leaves = [each for top in output.step_results for each in top.walk() if not each.steps]

    assert [each.step_name for each in leaves] == ["first", "yes", "b", "again", "p", "q"]
    assert all(data == each.content for each in leaves)
    assert "loop.2.again" in scheduled and "loop.3.again" not in scheduled


async def test_an_output_that_says_it_failed_has_finished(env: WorkflowEnvironment) -> None:
    """A step that returns an output of its own keeps its state changes, failed or not: it has
    finished.
    """

    def says_no(step_input: StepInput, session_state: State) -> StepOutput:
        session_state["tried"] = True
        return StepOutput(success=False, error="no")

    assert await state_after(env, says_no) == {"tried": True}
