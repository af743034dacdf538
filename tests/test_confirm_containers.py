"""Containers wait for a person before they begin: Steps, Parallel, Condition, Loop, Router."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Condition,
    Confirm,
    DefinitionError,
    HumanReview,
    Loop,
    OnTimeout,
    Parallel,
    Reject,
    Router,
    RunStatus,
    Step,
    Steps,
    Workflow,
    WorkflowRunOutput,
)
from temporal_hitl.primitives import Node
from tests.stage import ended, paused, replay_all, replays, serving

executed: list[str] = []


def says(word: str) -> Step:
    def say() -> str:
        executed.append(word)
        return word

    return Step(word, say)


def yes() -> bool:
    executed.append("evaluated")
    return True


def no() -> bool:
    executed.append("evaluated")
    return False


def first_choice() -> str:
    executed.append("selected")
    return "a"


Made = Callable[..., Node]
MADE: dict[str, Made] = {
    "steps": lambda **asks: Steps("box", steps=[says("a"), says("b")], **asks),
    "parallel": lambda **asks: Parallel(says("a"), says("b"), name="box", **asks),
    "condition": lambda **asks: Condition([says("a")], name="box", **asks),
    "loop": lambda **asks: Loop([says("a")], "box", max_iterations=2, **asks),
    "router": lambda **asks: Router([says("a"), says("b")], first_choice, "box", **asks),
}
DOES = {
    "steps": ["a", "b"],
    "parallel": ["a", "b"],
    "condition": ["a"],
    "loop": ["a", "a"],
    "router": ["selected", "a"],
}
EVERY = pytest.mark.parametrize("kind", list(MADE))


@pytest.fixture(autouse=True)
def nothing_executed() -> None:
    executed.clear()


async def answered(env: WorkflowEnvironment, node: Node, how: Any) -> WorkflowRunOutput:
    """Run `before`, the node and `after`, and answer the one question with `how`."""
    definition = Workflow("asks", [says("before"), node, says("after")])
    async with serving(env, definition) as client:
        run = await client.start(definition)
        waiting = await paused(client, run)
        assert ["before"] == executed
        assert ["box"] == [each.id for each in waiting.requirements]
        await client.resolve(run, how(requirement_id="box"))
        output = await ended(client, run)
        await replays(client.handle(run), definition)
    return output


@EVERY
@pytest.mark.parametrize("spelling", ["flat", "human_review"])
async def test_confirmed(env: WorkflowEnvironment, kind: str, spelling: str) -> None:
    """Nothing in a container begins before it is confirmed, in either spelling; then all does."""
    asks: dict[str, Any] = {"requires_confirmation": True, "confirmation_message": "Now?"}
    asks = asks if spelling == "flat" else {"human_review": HumanReview(**asks)}
    definition = Workflow("asks", [says("before"), MADE[kind](**asks), says("after")])
    async with serving(env, definition) as client:
        run = await client.start(definition)
        (asked,) = (await paused(client, run)).requirements
        begun = list(executed)
        await client.resolve(run, Confirm(requirement_id="box"))
        output = await ended(client, run)
        await replays(client.handle(run), definition)

    assert (["before"], "Now?") == (begun, asked.message)
    assert ["after", "before", *sorted(DOES[kind])] == sorted(
        executed, key=lambda e: (e not in ("after", "before"), e)
    )
    assert RunStatus.completed is output.status


@EVERY
async def test_rejected(env: WorkflowEnvironment, kind: str) -> None:
    """A container that is rejected is left out, and the next node is given what came before it."""
    output = await answered(env, MADE[kind](requires_confirmation=True), Reject)

    assert ["before", "after"] == executed
    assert ["before", "after"] == [each.step_name for each in output.step_results]
    assert ["node_skipped"] == [each.event for each in output.events]


@EVERY
async def test_rejected_to_cancel(env: WorkflowEnvironment, kind: str) -> None:
    """`on_reject="cancel"` ends the run there, and says who did."""
    node = MADE[kind](requires_confirmation=True, on_reject="cancel")

    output = await answered(env, node, Reject)

    assert (["before"], RunStatus.cancelled) == (executed, output.status)
    assert "box" in (output.error or "")


@EVERY
@pytest.mark.parametrize("on_timeout", list(OnTimeout))
async def test_nobody_answers(env: WorkflowEnvironment, kind: str, on_timeout: OnTimeout) -> None:
    """A deadline does with a container what its author wrote, and is on the record as such."""
    node = MADE[kind](
        requires_confirmation=True, hitl_timeout=timedelta(days=7), on_timeout=on_timeout
    )
    definition = Workflow("asks", [node, says("after")])
    async with serving(env, definition) as client:
        run = await client.start(definition)
        await paused(client, run)
        await env.fast_forward(client.handle(run), timedelta(days=7, seconds=5))
        output = await ended(client, run)
        await replays(client.handle(run), definition)

    does = {"approve": [*DOES[kind], "after"], "skip": ["after"], "cancel": []}[on_timeout]
    assert sorted(does) == sorted(executed)
    assert [True] == [each.timed_out for each in output.resolutions]
    assert (on_timeout == "cancel") == output.is_cancelled


@pytest.mark.parametrize("spelling", ["flat", pytest.param("human_review", marks=pytest.mark.slow)])
@pytest.mark.parametrize("evaluator", [True, False, yes, no])
@pytest.mark.parametrize("how", [Confirm, Reject])
async def test_which_branch(
    env: WorkflowEnvironment, how: Any, evaluator: Any, spelling: str
) -> None:
    """Yes lets the evaluator decide; no takes the else-branch and asks no evaluator."""
    asks: dict[str, Any] = {"requires_confirmation": True}
    asks = asks if spelling == "flat" else {"human_review": HumanReview(**asks)}
    node = Condition([says("if")], evaluator, [says("else")], "box", **asks)

    output = await answered(env, node, how)

    asked = ["evaluated"] if callable(evaluator) and how is Confirm else []
    taken = "if" if how is Confirm and evaluator in (True, yes) else "else"
    assert ["before", *asked, taken, "after"] == executed
    assert taken == output.step_results[1].content


@pytest.mark.parametrize(("on_reject", "done"), [("skip", []), ("else", ["else"])])
async def test_what_a_rejected_condition_does(
    env: WorkflowEnvironment, on_reject: str, done: list[str]
) -> None:
    """`on_reject` says whether a rejected Condition takes its else-branch or neither."""
    node = Condition(
        [says("if")], True, [says("else")], "box", requires_confirmation=True, on_reject=on_reject
    )

    await answered(env, node, Reject)

    assert ["before", *done, "after"] == executed


BOTH = Condition([says("a")], yes, [says("b")], "box", requires_confirmation=True)


@pytest.mark.parametrize(
    ("node", "question"),
    [
        *((MADE[kind], f"Execute {kind} 'box'?") for kind in MADE if kind != "condition"),
        (MADE["condition"], "Execute condition 'box'? (yes: the if-branch; no: neither branch)"),
        (
            lambda **_: BOTH,
            "Execute condition 'box'? (yes: what its evaluator says; no: the else-branch)",
        ),
    ],
)
async def test_what_the_question_says(env: WorkflowEnvironment, node: Made, question: str) -> None:
    """A question that its author did not write names the node, and what yes and no would do."""
    definition = Workflow("asks", [node(requires_confirmation=True, on_reject="cancel")])
    async with serving(env, definition) as client:
        run = await client.start(definition)
        (asked,) = (await paused(client, run)).requirements
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), definition)

    assert question == asked.message


async def test_at_every_depth(short: WorkflowEnvironment, cache: int) -> None:
    """Containers in containers each ask, in loops once per iteration, across continue-as-new."""
    inner = Condition([says("a")], yes, [says("b")], "choose", requires_confirmation=True)
    body = Parallel(Steps("pair", steps=[inner], requires_confirmation=True), says("c"), name="all")
    loop = Loop([body], "again", max_iterations=3, requires_confirmation=True)
    definition = Workflow("deep", [loop])
    ids: list[str] = []
    async with serving(short, definition, max_cached_workflows=cache) as client:
        run = await client.start(definition)
        while (output := await client.wait(run, timeout=20)).is_paused:
            (asked,) = output.requirements
            ids.append(asked.id)
            how = Reject if asked.id == "again.2.all.pair" else Confirm
            await client.resolve(run, how(requirement_id=asked.id))
        started = await replay_all(short, run, definition)

    pair, choose = "again.{}.all.pair", "again.{}.all.pair.choose"
    assert ids == [
        "again",
        *(each.format(n) for n in (1, 2, 3) for each in (pair, choose) if (n, each) != (2, choose)),
    ]
    assert 3 == executed.count("c")
    assert 2 == executed.count("evaluated") == executed.count("a")
    assert 1 < started


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: Steps("s", steps=[says("a")], on_reject="else"), "only a Condition has"),
        (lambda: Loop([says("a")], "l", on_reject="retry"), "nothing to do again"),
        (lambda: Condition([says("a")], name="c", on_reject="retry"), "nothing to do again"),
        (lambda: Router([says("a")], yes, "r", on_timeout="later"), "'later' is not one of"),
        (lambda: Parallel(says("a"), name="p", hitl_timeout=-1), "not a positive duration"),
        (
            lambda: Steps(
                "s", steps=[says("a")], requires_confirmation=True, human_review=HumanReview()
            ),
            "say the same thing twice",
        ),
    ],
)
def test_author_errors(wrong: Callable[[], Any], told: str) -> None:
    """What means nothing for a container is refused where it is written, naming the container."""
    with pytest.raises(DefinitionError, match=told) as refused:
        wrong()

    assert any(
        f"{kind} '" in str(refused.value)
        for kind in ("Steps", "Loop", "Condition", "Router", "Parallel")
    )


def test_no_option_is_ignored() -> None:
    """A container without functions of its own takes no activity options."""
    with pytest.raises(TypeError, match="Steps 's': unexpected keyword argument 'max_retries'"):
        Steps("s", steps=[says("a")], max_retries=2)  # type: ignore[call-arg]
