"""A person chooses which way a Router goes (seed 002, "Route Selection")."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Confirm,
    HitlClient,
    HumanReview,
    Loop,
    Parallel,
    Reject,
    Router,
    RunStatus,
    Select,
    Step,
    StepInput,
    Workflow,
)
from temporal_hitl.errors import MalformedResolution
from temporal_hitl.primitives import Node
from tests.modes import AFTER, BEFORE, Case, played, reject, select
from tests.stage import ended, paused, replays, serving, until


def adds(name: str) -> Step:
    def add(step_input: StepInput) -> str:
        return f"{step_input.previous_step_content} {name}"

    return Step(name, add)


def router(name: str = "route", **options: Any) -> Router:
    asks: dict[str, Any] = {"requires_user_input": True, **options}
    return Router([adds("a"), adds("b"), adds("c")], name=name, **asks)


def around(*nodes: Node) -> list[Node]:
    return [BEFORE, *nodes, AFTER]


SEVERAL: dict[str, Any] = {"allow_multiple_selections": True}


async def test_what_is_chosen_runs(env: WorkflowEnvironment) -> None:
    """One choice, or several in the order given, each seeing the one before; a list is a group."""
    several = HumanReview(requires_user_input=True, allow_multiple_selections=True)
    grouped: list[Any] = [adds("a"), [adds("x"), adds("y")], adds("b"), [adds("z")]]
    groups = Router(grouped, name="route", requires_user_input=True, **SEVERAL)
    spelled = router(requires_user_input=None, human_review=several)
    runs = await played(
        env,
        {
            "one": Case(around(router()), [select("b")]),
            "one_of_several": Case(around(router(**SEVERAL)), [select("b")]),
            "in_order": Case(around(router(**SEVERAL)), [select("c", "a")]),
            "all": Case(around(spelled), [select("b", "c", "a")]),
            "groups": Case(around(groups), [select("steps_group_3", "b", "steps_group_1")]),
        },
    )

    assert {
        "one": ["before b"],
        "one_of_several": ["before b"],
        "in_order": ["before c a"],
        "all": ["before b c a"],
        "groups": ["before z b x y"],
    } == {key: run.results["after"] for key, run in runs.items()}
    asked = runs["one"].asked[0]
    assert ("route", "route", ("a", "b", "c"), False) == (
        asked.id,
        asked.kind,
        asked.choices,
        asked.allow_multiple,
    )
    assert "Select a route from: a, b, c" == asked.message
    assert runs["in_order"].asked[0].allow_multiple
    assert ("a", "steps_group_1", "b", "steps_group_3") == runs["groups"].asked[0].choices
    assert ["route.b"] == runs["one"].activities[1:-1]
    assert ["route.steps_group_1.x", "route.steps_group_1.y"] == runs["groups"].activities[3:5]


async def test_declined(env: WorkflowEnvironment) -> None:
    """Who rejects a choice leaves the Router out, or cancels the run where its author wrote so."""
    runs = await played(
        env,
        {
            "default": Case(around(router()), [Reject]),
            "skip": Case(around(router(on_reject="skip")), [reject("neither")]),
            "cancel": Case(around(router(on_reject="cancel")), [reject("neither")]),
            "retry": Case(around(router(on_reject="retry", requires_output_review=True)), [Reject]),
        },
    )

    for key in ("default", "skip", "retry"):
        assert (["before"], ["node_skipped route"]) == (
            runs[key].results["after"],
            runs[key].events,
        )
        assert "skip" == runs[key].asked[0].on_reject
    cancelled = runs["cancel"].output
    assert (RunStatus.cancelled, ["before"]) == (cancelled.status, list(runs["cancel"].results))
    assert "neither" in (cancelled.error or "")


WRONG = {
    "unknown": (["d"], "'d' is not one of a, b, c"),
    "none": ([], "choose one of a, b, c"),
    "several": (["a", "b"], "only one may be chosen"),
    "doubles": (["a", "a"], "only one may be chosen; a choice is named twice"),
    "everything": (["d", "d"], "'d' is not one of a, b, c; 'd' is not one of a, b, c; only one"),
    "by_slug": (["route.a"], "'route.a' is not one of a, b, c"),
    "case": (["A"], "'A' is not one of a, b, c"),
}
WRONG_OF_SEVERAL = {
    "unknown_of_several": (["a", "d"], "'d' is not one of a, b, c"),
    "twice": (["a", "b", "a"], "a choice is named twice"),
    "none_of_several": ([], "choose one of a, b, c"),
}


async def test_wrong_choices(env: WorkflowEnvironment) -> None:
    """What cannot be chosen is refused with every problem, and changes nothing, by update and by
    signal; a right answer then counts.
    """
    one = Workflow("one", around(router()))
    many = Workflow("many", around(router(**SEVERAL)))
    async with serving(env, one, many) as client:
        for definition, wrong in ((one, WRONG), (many, WRONG_OF_SEVERAL)):
            run = await client.start(definition)
            before = await paused(client, run)
            events = (await client.handle(run).describe()).history_length
            for key, (choices, told) in wrong.items():
                with pytest.raises(MalformedResolution) as refused:
                    await client.resolve(
                        run, Select(requirement_id="route", choices=tuple(choices))
                    )
                assert told in str(refused.value), key
            with pytest.raises(MalformedResolution, match="use reject, select"):
                await client.resolve(run, Confirm(requirement_id="route"))
            same = (await client.handle(run).describe()).history_length
            by_signal = {"requirement_id": "route", "action": "select", "choices": ["d"]}
            await client.handle(run).signal("resolve", by_signal)
            kept = await until(lambda run=run: refusals(client, run))
            still = await client.get(run)
            await client.resolve(run, Select(requirement_id="route", choices=("b",)))
            output = await ended(client, run)
            await replays(client.handle(run), definition)

            assert events == same
            assert 1 == len(kept) and "is not one of a, b, c" in kept[0].reason
            assert before.requirements == still.requirements
            assert ["before b"] == output.content


async def refusals(client: HitlClient, run: str) -> Any:
    return (await client.get(run)).refused


async def test_wherever_it_stands(env: WorkflowEnvironment) -> None:
    """In a loop each iteration asks under its id; a Router in a Router asks once it is chosen."""
    inner = router("inner")
    outer = Router([inner, adds("d")], name="outer", requires_user_input=True)
    loop = Loop([router()], "refine", max_iterations=2, forward_iteration_output=True)
    runs = await played(
        env,
        {
            "loop": Case(around(loop), [select("a"), select("c")]),
            "inner": Case(around(outer), [select("inner"), select("b")]),
            "other": Case(around(outer), [select("d")]),
            "declined": Case(around(outer), [select("inner"), Reject]),
        },
    )

    assert {
        "loop": (["refine.1.route", "refine.2.route"], ["before a c"]),
        "inner": (["outer", "outer.inner"], ["before b"]),
        "other": (["outer"], ["before d"]),
        "declined": (["outer", "outer.inner"], ["before"]),
    } == {key: (run.ids, run.results["after"]) for key, run in runs.items()}


async def test_in_branches(env: WorkflowEnvironment) -> None:
    """Branches ask at once, and each goes the way that was chosen for it."""
    right = Router([adds("x"), adds("y")], name="right", requires_user_input=True)
    definition = Workflow("branches", [BEFORE, Parallel(router("left"), right, name="all")])
    async with serving(env, definition) as client:
        run = await client.start(definition)

        async def both() -> bool:
            return len((await client.get(run)).requirements) == 2

        await until(both)
        await client.resolve(run, Select(requirement_id="all.right", choices=("y",)))
        await client.resolve(run, Select(requirement_id="all.left", choices=("c",)))
        output = await ended(client, run)
        await replays(client.handle(run), definition)

    assert {"left": "before c", "right": "before y"} == output.content


async def test_confirmed_first(env: WorkflowEnvironment) -> None:
    """A Router that is to be confirmed asks for the route after that; rejected, it does not."""
    node = router(requires_confirmation=True, user_input_message="Which, after {input}?")
    runs = await played(
        env,
        {
            "both": Case(around(node), [Confirm, select("a")]),
            "neither": Case(around(node), [Reject]),
            "no_route": Case(around(node), [Confirm, Reject]),
        },
    )

    assert {
        "both": (["confirmation", "route"], ["route", "route~2"], ["before a"]),
        "neither": (["confirmation"], ["route"], ["before"]),
        "no_route": (["confirmation", "route"], ["route", "route~2"], ["before"]),
    } == {key: (run.kinds, run.ids, run.results["after"]) for key, run in runs.items()}
    assert ("Which, after in?", "Which, after {input}?") == (
        runs["both"].asked[1].message,
        runs["both"].asked[1].template,
    )
