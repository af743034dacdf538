"""A pipeline as a step of another is a child workflow: a run of its own, which asks for itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Condition,
    HitlClient,
    Loop,
    Parallel,
    Reject,
    Router,
    RunOptions,
    RunStatus,
    SqliteDb,
    Step,
    StepInput,
    Steps,
    Workflow,
)
from temporal_hitl.errors import RunNotFound, UnknownRequirement
from tests.nested import child, confirm, fetch, gated, process
from tests.stage import (
    WAIT,
    details,
    ended,
    new_queue,
    outcome,
    paused,
    replay_all,
    serving,
    until,
)


async def test_a_gate_in_a_child(env: WorkflowEnvironment, cache: int) -> None:
    """A child asks under an id of its own; its content is the step's, and the parent goes on."""
    parent, queue = Workflow("parent", [fetch, child(), Step("save", process)]), new_queue()
    # Uncached from here on: the SDK cuts local activities short where runs without a cache start.
    async with serving(env, parent, queue=queue) as client:
        run = await client.start(parent, "data")
        waiting = await paused(client, run)
    async with serving(env, parent, queue=queue, max_cached_workflows=cache) as client:
        await confirm(client, f"{run}.child")
        output = await ended(client, run)
        replayed = [await replay_all(env, each, parent) for each in (run, f"{run}.child")]

    (below,) = waiting.child_runs
    assert (RunStatus.running, RunStatus.paused) == (waiting.status, below.status)
    assert ({"child": below.run_id}, "data fetched") == (waiting.children, below.input)
    assert "data fetched processed processed" == output.content
    assert ["Step", "Workflow", "Step"] == [each.step_type for each in output.step_results]
    assert ({}, [], [1, 1]) == (output.children, output.child_runs, replayed)


def test_run_and_continue_run(embedded: SqliteDb) -> None:
    """`run` returns where a child waits for a person, and `continue_run` asks the run that asked,
    be the ids the same.
    """
    grandchild = Workflow("grandchild", [Parallel(gated("a"), gated("b"), name="both"), gated()])
    middle = Workflow("middle", [gated(), grandchild])
    parent = Workflow("parent", [gated(), middle], db=embedded)
    asked: list[set[tuple[str, str]]] = []

    output = parent.run("data")
    run = output.run_id
    while output.is_paused and len(asked) < 9:
        drafts = output.steps_requiring_confirmation
        asked.append({(each.run_id, each.id) for each in drafts})
        with pytest.raises(ValueError, match=f"nothing was decided.*{drafts[0].run_id}"):
            parent.continue_run(output)
        drafts[0].confirm()
        output = parent.continue_run(output)

    below, bottom = f"{run}.middle", f"{run}.middle.grandchild"
    assert asked == [
        {(run, "process")},
        {(below, "process")},
        {(bottom, "both.a"), (bottom, "both.b")},
        {(bottom, "both.b")},
        {(bottom, "process")},
    ]
    assert RunStatus.completed is output.status


async def test_a_childs_question_beside_work(embedded: SqliteDb) -> None:
    """`run` returns once a child asks what the caller has not seen, though the parent works and has
    asked the same.
    """
    release = asyncio.Event()

    async def slow() -> str:
        await release.wait()
        return "slow"

    inner = Workflow("inner", [Parallel(Steps("chain", steps=[gated()]), name="all")])
    chain = Steps("chain", steps=[gated(), inner])
    parent = Workflow("beside", [Parallel(Step("slow", slow), chain, name="all")], db=embedded)
    first = await asyncio.wait_for(parent.arun("data"), WAIT)
    first.steps_requiring_confirmation[0].confirm()
    second = await asyncio.wait_for(parent.acontinue_run(first), WAIT)
    second.steps_requiring_confirmation[0].confirm()
    going_on = asyncio.create_task(parent.acontinue_run(second))
    release.set()
    output = await asyncio.wait_for(going_on, WAIT)

    ids = [[each.id for each in run.requirements] for run in (first, *second.runs())]
    assert [["all.chain.process"], [], ["all.chain.process"]] == ids
    chain = {"chain": "data processed processed"}
    assert {"slow": "slow", "chain": chain} == output.content


async def test_rows_of_their_own(env: WorkflowEnvironment) -> None:
    """Each run's requirements are rows of its own, grouped by the run at the top, and filtered by
    its session.
    """
    grandchild = Workflow("rows_below", [gated("deep")])
    middle = Workflow("rows_between", [Parallel(gated("between"), grandchild, name="all")])
    parent = Workflow("rows", [Parallel(gated("top"), middle, name="all")])
    async with serving(env, parent) as client:
        run = await client.start(parent, "data", options=RunOptions(session_id="rows-session"))

        async def rows() -> Any:
            query = "HitlTags = 'session:rows-session'"
            found = [row async for row in client.list_requirements(query)]
            return found if len(found) == 3 else None

        listed = await until(rows)
        found = env.client.list_workflows(f"RootWorkflowId = '{run}'")
        family = [each.id async for each in found]
        below = f"{run}.all.rows_between"
        for each in listed:
            await confirm(client, each.run_id, each.id)
        output = await ended(client, run)

    assert {(run, "all.top"), (below, "all.between"), (f"{below}.all.rows_below", "deep")} == {
        (each.run_id, each.id) for each in listed
    }
    assert {run} == {each.root_run_id for each in listed}
    assert sorted(family) == sorted(each.run_id for each in listed)
    assert RunStatus.completed is output.status


async def test_state_and_data(env: WorkflowEnvironment) -> None:
    """A child is given state and data as a step is, and gives back what it changed and removed."""

    def change(step_input: StepInput, session_state: dict[str, Any], run_context: Any) -> list[Any]:
        session_state["changed"] = [session_state.pop("removed"), session_state["kept"]]
        return [step_input.additional_data, run_context.user_id, run_context.session_id]

    def other(session_state: dict[str, Any]) -> None:
        session_state["other"] = session_state["kept"]

    inner = Workflow("changes", [Step("change", change)])
    parent = Workflow("state", [Parallel(inner, Workflow("others", [other]), name="all")])
    options = RunOptions(
        session_state={"kept": 1, "removed": 2},
        additional_data={"more": True},
        session_id="state-session",
        user_id="ana",
    )
    output = await outcome(env, parent, "data", options)

    assert {"kept": 1, "changed": [2, 1], "other": 1} == output.session_state
    assert [{"more": True}, "ana", "state-session"] == output.content["changes"]
    assert [] == output.events


async def test_in_every_container(env: WorkflowEnvironment) -> None:
    """A child may stand wherever a step may, once per Step that names it, and again in each
    iteration.
    """

    def choose() -> list[str]:
        return ["chosen", "chosen"]

    def named(name: str) -> Step:
        return Step(name, workflow=one)

    one = Workflow("one", [fetch])
    parent = Workflow(
        "everywhere",
        [
            one,
            Loop([named("again")], name="loop", max_iterations=2),
            Router([named("chosen")], choose, name="route"),
            Condition([named("if")], True, name="when"),
            Parallel(named("left"), named("right"), name="fan"),
        ],
    )
    async with serving(env, parent) as client:
        run = await client.start(parent, "data")
        output = await ended(client, run)
        await replay_all(env, run, parent)

        async def children() -> Any:
            query = f"RootWorkflowId = '{run}' AND WorkflowType = 'one'"
            found = [each.id async for each in env.client.list_workflows(query)]
            return found if len(found) == 8 else None

        ids = await until(children)

    fetched = "data" + 6 * " fetched"  # A Loop's iterations start from the same.
    assert {"left": fetched, "right": fetched} == output.content
    assert sorted(f"{run}.{path}" for path in PATHS) == sorted(ids)


PATHS = [
    *("one", "loop.1.again", "loop.2.again", "route.chosen", "route.chosen~2"),
    *("when.if", "fan.left", "fan.right"),
]


async def test_the_doors_of_a_parent(env: WorkflowEnvironment) -> None:
    """A parent refuses what is not its own, and names the child run to ask, and as what."""
    two = Parallel(Step("left", workflow=child()), Workflow("right", [gated()]), name="all")
    parent = Workflow("doors", [two])
    async with serving(env, parent) as client:
        run = await client.start(parent, "data")
        await until(lambda: both(client, run))
        with pytest.raises(UnknownRequirement) as theirs:
            await confirm(client, run, "all.left.process")
        with pytest.raises(UnknownRequirement) as nobodys:
            await confirm(client, run, "process")
        shown = await details(client.handle(run))
        for each in ("left", "right"):
            await confirm(client, f"{run}.all.{each}")
        await ended(client, run)
        with pytest.raises(UnknownRequirement):
            await confirm(client, run, "all.left.process")

    left, right = f"{run}.all.left", f"{run}.all.right"
    assert f"'all.left.process': it is asked by the child run {left!r} as 'process'" in str(
        theirs.value
    )
    assert f"{left!r}, {right!r}" in str(nobodys.value)
    assert (f"`{left}`" in shown, f"`{right}`" in shown) == (True, True)


async def both(client: HitlClient, run: str) -> bool:
    return 2 == len((await client.get(run)).steps_requiring_confirmation)


async def test_answered_in_any_order(env: WorkflowEnvironment) -> None:
    """Children that ask at once are answered one by one in any order, rejections included."""
    names = ["a", "b", "c"]
    one = child()
    parent = Workflow("order", [Parallel(*(Step(n, workflow=one) for n in names), name="all")])
    async with serving(env, parent) as client:
        run = await client.start(parent, "data")
        await paused(client, run)
        await client.resolve(f"{run}.all.c", Reject(requirement_id="process"))
        for each in ("b", "a"):
            await confirm(client, f"{run}.all.{each}")
        output = await ended(client, run)
        await replay_all(env, run, parent)

    processed = "data processed"
    assert {"a": processed, "b": processed, "c": None} == output.content


async def test_a_gate_before_a_child(env: WorkflowEnvironment) -> None:
    """A child that a person rejects is not started."""
    parent = Workflow("before", [Step("sub", workflow=child(), requires_confirmation=True), fetch])
    async with serving(env, parent) as client:
        run = await client.start(parent, "data")
        await paused(client, run)
        await client.resolve(run, Reject(requirement_id="sub"))
        output = await ended(client, run)
        with pytest.raises(RunNotFound):
            await client.get(f"{run}.sub")

    assert ["fetch"] == [each.step_name for each in output.step_results]
