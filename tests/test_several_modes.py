"""One node asks in several ways, in one order, and across executions of its run."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Condition,
    Confirm,
    HitlClient,
    Loop,
    Reject,
    Retry,
    Router,
    RunStatus,
    Skip,
    Step,
    StepInput,
    StepOutput,
    Workflow,
)
from temporal_hitl._activities import RunContext
from temporal_hitl.primitives import Node
from tests.modes import AFTER, Case, answer, edit, played, reject, select
from tests.stage import SUGGESTED, WAIT, replay_all, serving, until

executed: dict[str, list[str]] = defaultdict(list)
"""What a run executed, by its id: the role of the function and the path of its node."""
FAILS = (1, 3)
"""Which executions of a place fail."""


def of_run(context: RunContext) -> list[str]:
    """Return what the run at the top executed, child runs included."""
    return executed[context.run_id.partition(".")[0]]


def told(context: RunContext, role: str) -> int:
    """Note an execution; every place fails at some."""
    here = of_run(context)
    here.append(f"{role} {context.path}")
    turn = here.count(here[-1])
    if turn in FAILS:
        raise ConnectionError(f"execution {turn}")
    return turn


def work(step_input: StepInput, run_context: RunContext) -> Any:
    told(run_context, "work")
    seen = step_input.additional_data
    return [seen.get(key) for key in ("user_input", "rejection_feedback")]


def judge(output: StepOutput, run_context: RunContext) -> bool:
    of_run(run_context).append(f"judge {run_context.path}")
    return True


def choose(step_input: StepInput, run_context: RunContext) -> str:
    told(run_context, "choose")
    return "a"


def evaluate(step_input: StepInput, run_context: RunContext) -> bool:
    return told(run_context, "evaluate") > 0


def end(outputs: list[StepOutput], run_context: RunContext) -> bool:
    return told(run_context, "end") > 4


def plain(step_input: StepInput, run_context: RunContext) -> Any:
    of_run(run_context).append(f"plain {run_context.path}")
    return [step_input.iteration, step_input.additional_data.get("rejection_feedback")]


def tick() -> None:
    pass


ASKS: dict[str, Any] = {"requires_confirmation": True, "on_error": "pause"}
ALL: dict[str, Any] = {**ASKS, "max_retries": 0}
REVIEW: dict[str, Any] = {"requires_output_review": judge, "on_reject": "retry"}
FORM: dict[str, Any] = {"requires_user_input": True, "user_input_schema": [{"name": "key"}]}
ITERATIONS: dict[str, Any] = {"requires_iteration_review": True, "on_reject": "retry"}


def step() -> Step:
    return Step("work", work, **ALL, **REVIEW, **FORM)


def nested() -> Step:
    child = Workflow("child", [Step("work", work, on_error="fail", max_retries=0)])
    return Step("sub", workflow=child, **ASKS, **REVIEW, **FORM)


def choices() -> list[Node]:
    return [Step("a", plain), Step("b", plain)]


def routed() -> Router:
    asks: dict[str, Any] = {"requires_user_input": True, "allow_multiple_selections": True}
    return Router(choices(), name="route", requires_confirmation=True, **asks, **REVIEW)


def selected() -> Router:
    return Router(choices(), choose, "route", **ALL, **REVIEW)


def looped() -> Loop:
    return Loop([Step("draft", plain)], "refine", end_condition=end, **ALL, **ITERATIONS)


def decided() -> Condition:
    return Condition([Step("yes", plain)], evaluate, name="when", **ALL)


@dataclass
class Scene:
    """A node, the answers to its questions, and what must come of them."""

    node: Node
    answers: list[Any]
    kinds: list[str]
    """Of the questions."""
    content: Any
    ran: list[str]


SCENES = {
    "a_step": Scene(
        step(),
        [Confirm, answer(key="k"), Retry, reject("more"), Retry, Reject, Confirm],
        ["confirmation", "user_input", "error", "output_review", "error", *["output_review"] * 2],
        [{"key": "k"}, None],
        ["work work", *["work work", "judge work", "work work"] * 2, "judge work"],
    ),
    "a_pipeline": Scene(
        nested(),
        [Confirm, answer(key="k"), Retry, reject("more"), Retry, Reject, Confirm],
        ["confirmation", "user_input", "error", "output_review", "error", *["output_review"] * 2],
        [{"key": "k"}, None],
        ["work work", *["work work", "judge sub", "work work"] * 2, "judge sub"],
    ),
    "a_router": Scene(
        routed(),
        [Confirm, select("b", "a"), reject("more"), select("b"), Reject, select("a"), edit("mine")],
        ["confirmation", *["route", "output_review"] * 3],
        "mine",
        [f"plain route.{each}" if each in "ab" else "judge route" for each in "ba-b-a-"],
    ),
    "a_selector": Scene(
        selected(),
        [Confirm, Retry, reject("more"), select("b"), Confirm],
        ["confirmation", "error", "output_review", "route", "output_review"],
        [None, "more"],
        [*["choose route"] * 2, "plain route.a", "judge route", "plain route.b", "judge route"],
    ),
    "a_loop": Scene(
        looped(),
        [Confirm, Retry, reject("more"), Retry, Reject, Retry, edit("mine")],
        ["confirmation", *["error", "iteration_review"] * 3],
        "mine",
        [each for n in (1, 2, 3) for each in (f"plain refine.{n}.draft", *[f"end refine.{n}"] * 2)],
    ),
    "a_condition": Scene(
        decided(),
        [Confirm, Retry],
        ["confirmation", "error"],
        [None, None],
        [*["evaluate when"] * 2, "plain when.yes"],
    ),
    "skipped": Scene(
        step(),
        [Confirm, answer(key="k"), Retry, reject("more"), Skip],
        ["confirmation", "user_input", "error", "output_review", "error"],
        None,
        ["work work", "work work", "judge work", "work work"],
    ),
}


def wide_but(*kept: str) -> pytest.MarkDecorator:
    """Return each scene as a parameter, those that are not `kept` for `make test-all` alone."""
    slow = pytest.mark.slow
    keys = [each if each in kept else pytest.param(each, marks=slow) for each in SCENES]
    return pytest.mark.parametrize("key", keys)


async def test_in_order(env: WorkflowEnvironment) -> None:
    """Confirmation, form or route, error, review: one after the other, under numbered ids, and what
    a person said before reaches every execution after.
    """
    cases = {key: Case([s.node, AFTER], s.answers) for key, s in SCENES.items()}
    last = Loop([Step("draft", plain)], "last", max_iterations=1, **ITERATIONS)
    runs = await played(env, {**cases, "last": Case([last], [Reject])})

    for key, scene in SCENES.items():
        run = runs[key]
        assert scene.kinds == run.kinds, key
        assert [scene.content] == run.output.content, key
        assert scene.ran == executed[run.output.run_id], key
        assert len(run.ids) == len(set(run.ids))
    assert ["work", *(f"work~{n}" for n in range(2, 8))] == runs["a_step"].ids
    iterations = [f"refine.{n}{turn}" for n in (1, 2, 3) for turn in ("", "~2")]
    assert ["refine", *iterations] == runs["a_loop"].ids
    # What a rejection does: `retry` only where something is done again.
    assert {
        ("confirmation", "skip"),
        ("confirmation", "else"),
        ("user_input", "skip"),
        ("route", "skip"),
        ("error", None),
        ("output_review", "retry"),
        ("iteration_review", "retry"),
        ("iteration_review", "skip"),
    } == {(each.kind, each.on_reject) for run in runs.values() for each in run.asked}


async def renewed(client: HitlClient, run: str) -> None:
    """Have a run that waits continue as a new execution: garbage makes its history long."""
    handle = client.handle(run)
    before = (await client.get(run)).execution_id

    async def goes_on() -> bool:
        await asyncio.gather(*(handle.signal("confirm") for _ in range(SUGGESTED // 4)))
        return before != (await client.get(run)).execution_id

    await until(goes_on)


@wide_but("a_step", "a_selector", "a_loop")
async def test_continued_while_it_waits(short: WorkflowEnvironment, key: str) -> None:
    """A run that continues as new at each question asks each once and runs nothing twice."""
    scene = SCENES[key]
    definition = Workflow(f"renewed_{key}", [scene.node, AFTER])
    asked: list[Any] = []
    async with serving(short, definition) as client:
        run = await client.start(definition, "in")
        for how in scene.answers:
            (question,) = (await client.wait(run, timeout=WAIT)).requirements
            await renewed(client, run)
            (still,) = (await client.wait(run, timeout=WAIT)).requirements
            # Not the whole: a replay of the first task tells its time some milliseconds earlier.
            assert (question.id, question.digest) == (still.id, still.digest)
            assert getattr(question, "previous", None) == getattr(still, "previous", None)
            asked.append(question)
            await client.resolve(run, how(requirement_id=question.id))
        output = await client.wait(run, timeout=WAIT)
        started = await replay_all(short, run, definition)

    assert RunStatus.completed is output.status
    assert scene.kinds == [each.kind for each in asked]
    assert ([scene.content], scene.ran) == (output.content, executed[run])
    assert 1 < started
    assert [each.id for each in asked] == [each.requirement_id for each in output.resolutions]


@wide_but("a_pipeline", "a_router", "skipped")
async def test_continued_anywhere(short: WorkflowEnvironment, key: str) -> None:
    """Wherever between two questions a run continues as new, it asks and runs the same."""
    scene, ticks = SCENES[key], range(4, 7)
    definitions = {
        count: Workflow(
            f"{key}_{count}", [*(Step(f"t{n}", tick) for n in range(count)), scene.node, AFTER]
        )
        for count in ticks
    }

    async def one(client: HitlClient, count: int) -> int:
        run = await client.start(definitions[count], "in")
        asked: list[str] = []
        for how in scene.answers:
            (question,) = (await client.wait(run, timeout=WAIT)).requirements
            asked.append(question.kind)
            await client.resolve(run, how(requirement_id=question.id))
        output = await client.wait(run, timeout=WAIT)
        assert (scene.kinds, [scene.content]) == (asked, output.content)
        assert scene.ran == executed[run]
        return await replay_all(short, run, definitions[count])

    async with serving(short, *definitions.values()) as client:
        started = await asyncio.gather(*(one(client, count) for count in ticks))

    assert 1 < max(started)


@pytest.mark.slow
async def test_ids_go_on_where_records_are_left_behind(short: WorkflowEnvironment) -> None:
    """A node that asks again never asks under an id that it had, though a run that continues as new
    leaves records behind which are too large to take along.
    """
    again = Step("draft", plain, requires_output_review=True, on_reject="retry", hitl_max_retries=9)
    definition = Workflow("large", [again])
    ids: list[str] = []
    async with serving(short, definition) as client:
        run = await client.start(definition)
        for _ in range(5):
            (question,) = (await client.wait(run, timeout=WAIT)).requirements
            ids.append(question.id)
            await client.resolve(run, reject("f" * 450_000)(requirement_id=question.id))
        (question,) = (await client.wait(run, timeout=WAIT)).requirements
        await renewed(client, run)
        await client.resolve(run, Reject(requirement_id=question.id))
        (last,) = (await client.wait(run, timeout=WAIT)).requirements
        await client.resolve(run, Confirm(requirement_id=last.id))
        output = await client.wait(run, timeout=WAIT)
        await replay_all(short, run, definition)

    assert [None, None] == output.content
    assert ["draft", *(f"draft~{n}" for n in range(2, 8))] == [*ids, question.id, last.id]
    assert (6, 9) == (last.retries, last.retries_limit)  # type: ignore[union-attr]


def twice() -> list[str]:
    return ["a", "a"]


def adds(step_input: StepInput) -> str:
    return f"{step_input.previous_step_content} a"


async def test_a_choice_named_twice(env: WorkflowEnvironment) -> None:
    """What a Router runs twice asks for itself each time: no id stands for two questions, though
    the second path is spelled as a second question at the first.
    """
    again = {"requires_output_review": True, "on_reject": "retry"}
    node = Step("a", adds, requires_confirmation=True, **again)
    box = Router([node], twice, "route", **again)
    answers = [*[Confirm] * 4, reject("more"), select("a"), Confirm, Confirm, Confirm]
    runs = await played(env, {"twice": Case([box, AFTER], answers)})

    assert ["confirmation", "output_review"] * 2 == runs["twice"].kinds[:4]
    assert ["route.a", "route.a~2", "route.a~2~2", "route.a~2~3"] == runs["twice"].ids[:4]
    assert ["None a"] == runs["twice"].output.content
    assert len(answers) == len(set(runs["twice"].ids))
