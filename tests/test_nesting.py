"""A gate works wherever it is written, and its id says where (design 2, guarantee 3)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Condition,
    Confirm,
    HitlClient,
    Loop,
    Parallel,
    Reject,
    Router,
    RunStatus,
    Step,
    StepInput,
    Steps,
    Workflow,
)
from temporal_hitl.primitives import Node
from tests.stage import activities, ended, outcome, paused, replays, serving, until


def note(step_input: StepInput) -> str:
    return f"{step_input.previous_step_content or ''}."


def yes(step_input: StepInput) -> bool:
    return True


def first(step_input: StepInput, step_choices: list[Any]) -> Any:
    return step_choices[0]


AROUND: dict[str, Callable[[str, Node], Node]] = {
    "steps": lambda name, node: Steps(name, steps=[node]),
    "condition": lambda name, node: Condition([node], yes, name=name),
    "else": lambda name, node: Condition([Step(f"{name}_no", note)], False, [node], name=name),
    "loop": lambda name, node: Loop([node], name=name, max_iterations=1),
    "router": lambda name, node: Router([node], first, name=name),
    "parallel": lambda name, node: Parallel(node, name=name),
}


def asks(name: str = "ask") -> Step:
    return Step(name, note, requires_confirmation=True)


def nested(kinds: tuple[str, ...], node: Node) -> Node:
    """Return `node` in containers of these kinds, outermost first, named after kind and depth."""
    for depth, kind in reversed(list(enumerate(kinds))):
        node = AROUND[kind](f"{kind}{depth}", node)
    return node


def path_of(kinds: tuple[str, ...], leaf: str = "ask") -> str:
    parts = [f"{kind}{depth}{'.1' if kind == 'loop' else ''}" for depth, kind in enumerate(kinds)]
    return ".".join([*parts, leaf])


PAIRS = list(itertools.product(AROUND, repeat=2))
DEEP = [
    tuple(AROUND),
    tuple(reversed(AROUND)),
    ("loop", "parallel", "router", "loop", "condition", "parallel", "steps", "loop"),
    ("steps", "steps", "else", "else", "router", "condition", "condition", "loop", "loop"),
    ("router", "router", "parallel", "parallel", "condition", "router", "steps", "parallel"),
    ("loop", "steps", "router", "else", "steps", "loop", "condition", "steps"),
    ("parallel", "else", "parallel", "loop", "else", "router"),
]
"""Together they have every kind in every kind."""


def test_every_kind_is_in_every_kind() -> None:
    """Each container stands directly in each, its own kind too, somewhere in the deep nestings."""
    assert set(PAIRS) == {pair for kinds in DEEP for pair in itertools.pairwise(kinds)}


@pytest.mark.parametrize(
    "kinds", [*DEEP, *(pytest.param(each, marks=pytest.mark.slow) for each in PAIRS)], ids="-".join
)
async def test_a_gate_in_any_container_of_any_container(
    env: WorkflowEnvironment, kinds: tuple[str, ...]
) -> None:
    """A gate is asked under every nesting, with a path of names and iterations, and the step runs
    after the answer.
    """
    pipeline = Workflow("nested", [nested(kinds, asks())])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline)
        asked = (await paused(client, run)).requirements
        await client.resolve(run, Confirm(requirement_id=path_of(kinds)))
        output = await ended(client, run)
        scheduled = await activities(client.handle(run))
        await replays(client.handle(run), pipeline)
    leaf = list(output.step_results[0].walk())[-1]

    assert [(path_of(kinds), path_of(kinds), "ask")] == [(r.id, r.path, r.name) for r in asked]
    assert (leaf.path, leaf.content) == (path_of(kinds), ".")
    assert path_of(kinds) in scheduled
    assert output.status is RunStatus.completed


@pytest.mark.parametrize("kinds", DEEP[:3], ids="-".join)
async def test_a_rejected_gate_deep_inside_leaves_nothing(
    env: WorkflowEnvironment, kinds: tuple[str, ...]
) -> None:
    """Rejecting the only step of a deep nesting leaves no trace of its containers, and the run
    goes on.
    """
    pipeline = Workflow("nested", [Step("before", note), nested(kinds, asks()), note])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline)
        await paused(client, run)
        await client.resolve(run, Reject(requirement_id=path_of(kinds)))
        output = await ended(client, run)
        await replays(client.handle(run), pipeline)

    assert [each.step_name for each in output.step_results] == ["before", "note"]
    assert output.content == ".."


def release() -> Workflow:
    """A tree six deep, with gates on five of its levels."""
    review = Parallel(
        Steps("legal", steps=[asks("read"), Step("sign", note)]),
        Loop([asks("draft"), Step("polish", note)], name="refine", max_iterations=2),
        Steps("press", steps=[Router([asks("short"), asks("long")], first, name="length")]),
        name="review",
    )
    inner = Condition([review, asks("agree")], yes, name="when")
    return Workflow("release", [asks("start"), Steps("outer", steps=[inner]), asks("publish")])


async def test_a_tree_of_gates(env: WorkflowEnvironment, cache: int) -> None:
    """Gates on many levels open as the run reaches them, each is answered by its id, and outputs
    flow up and on.
    """
    pipeline = release()
    asked: list[list[str]] = []

    async def answer(client: HitlClient, run: str, *keys: str) -> None:
        asked.append(await settled(client, run))
        for key in keys:
            await client.resolve(run, Confirm(requirement_id=key))

    below = "outer.when.review"
    async with serving(env, pipeline, max_cached_workflows=cache) as client:
        run = await client.start(pipeline)
        await answer(client, run, "start")
        await answer(client, run, f"{below}.refine.1.draft")
        await answer(client, run, f"{below}.press.length.short")
        await answer(client, run, f"{below}.refine.2.draft", f"{below}.legal.read")
        await answer(client, run, "outer.when.agree")
        await answer(client, run, "publish")
        output = await ended(client, run)
        await replays(client.handle(run), pipeline)

    legal, short = f"{below}.legal.read", f"{below}.press.length.short"
    assert asked == [
        ["start"],
        [legal, short, f"{below}.refine.1.draft"],
        [legal, short, f"{below}.refine.2.draft"],
        [legal, f"{below}.refine.2.draft"],
        ["outer.when.agree"],
        ["publish"],
    ]
    (when,) = output.step_results[1].steps or []
    assert (when.steps or [])[0].content == {"legal": "...", "refine": "...", "press": ".."}


async def settled(client: HitlClient, run: str) -> list[str]:
    """Return the open ids, sorted, once nothing else is at work."""

    async def ids() -> list[str]:
        output = await client.get(run)
        return [] if output.running else sorted(each.id for each in output.requirements)

    return await until(ids)


async def test_twenty_levels(env: WorkflowEnvironment) -> None:
    """Depth has no limit that anybody would meet: a gate twenty levels down works as at the top."""
    kinds = tuple(itertools.islice(itertools.cycle(AROUND), 20))
    pipeline = Workflow("nested", [nested(kinds, Step("leaf", note))])
    output = await outcome(env, pipeline)

    assert path_of(kinds, "leaf") == list(output.step_results[0].walk())[-1].path
