"""A pipeline as a step of another is a child workflow: a run of its own, which asks for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.common import RetryPolicy
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Condition,
    Confirm,
    DefinitionError,
    HitlClient,
    HitlPlugin,
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


def fetch(step_input: StepInput) -> str:
    return f"{step_input.input} fetched"


def process(step_input: StepInput) -> str:
    return f"{step_input.previous_step_content or step_input.input} processed"


def gated(name: str = "process") -> Step:
    return Step(name, process, requires_confirmation=True)


def child(name: str = "child") -> Workflow:
    return Workflow(name, [gated()])


CANCEL_ASKED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED
SIGNAL_SENT = EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED


@workflow.defn
class ByHand:
    """A workflow of a user's own that runs a pipeline as its child."""

    @workflow.run
    async def run(self, order: str) -> dict[str, Any]:
        """Return the run output of the pipeline."""
        return await workflow.execute_child_workflow("child", order, id="below-by-hand")


async def confirm(client: HitlClient, run: str, key: str = "process") -> None:
    await client.resolve(run, Confirm(requirement_id=key))


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
        with pytest.raises(ValueError, match="nothing was decided"):
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
        below = f"{run}.all.rows_between"
        for each in listed:
            await confirm(client, each.run_id, each.id)
        output = await ended(client, run)

    assert {(run, "all.top"), (below, "all.between"), (f"{below}.all.rows_below", "deep")} == {
        (each.run_id, each.id) for each in listed
    }
    assert {run} == {each.root_run_id for each in listed}
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
        run = await client.start(parent, "data", run_id="everywhere")
        output = await ended(client, run)
        await replay_all(env, run, parent)

        async def children() -> Any:
            found = [each.id async for each in env.client.list_workflows("WorkflowType = 'one'")]
            return found if len(found) == 8 else None

        ids = await until(children)

    fetched = "data" + 6 * " fetched"  # A Loop's iterations start from the same.
    assert {"left": fetched, "right": fetched} == output.content
    assert sorted(f"everywhere.{path}" for path in PATHS) == sorted(ids)


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


async def test_a_long_id(env: WorkflowEnvironment) -> None:
    """A child of a run whose id is as long as Temporal allows is addressed by a shorter one."""
    parent = Workflow("long", [child()])
    async with serving(env, parent) as client:
        run = await client.start(parent, "data", run_id="é" * 499)
        (below,) = (await paused(client, run)).child_runs
        await confirm(client, below.run_id)
        output = await ended(client, run)

    assert RunStatus.completed is output.status
    assert len(below.run_id.encode()) <= 1000
    assert below.run_id.startswith("é" * 400)


async def test_large_inputs(env: WorkflowEnvironment) -> None:
    """Children that start at once and are given much do not end the run by one large message."""

    def large() -> str:
        return "l" * 1_200_000

    def length(step_input: StepInput) -> int:
        return len(step_input.input)

    one = Workflow("length", [length])
    fan = Parallel(*(Step(f"n{n}", workflow=one) for n in range(4)), name="fan")
    output = await outcome(env, Workflow("large", [large, fan]))

    assert {f"n{n}": 1_200_000 for n in range(4)} == output.content


async def test_too_much_to_hand_over(env: WorkflowEnvironment) -> None:
    """A child whose end holds too much to be told fails its step with a sentence."""

    def much(session_state: dict[str, Any]) -> str:
        session_state["much"] = "m" * 1_000_000
        return "m" * 1_000_000

    output = await outcome(
        env,
        Workflow(
            "too_much",
            [Workflow("much", [much]), fetch],
        ),
        "data",
    )

    assert "data fetched" == output.content
    assert "temporal_hitl.TooLarge" in (output.step_results[0].error or "")
    assert {} == output.session_state


async def test_more_runs_than_are_followed(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`wait` follows so many runs and no more, sees the others too, and leaves nothing behind."""
    monkeypatch.setattr("temporal_hitl._following.FOLLOWED", 1)
    monkeypatch.setattr("temporal_hitl._following.UNFOLLOWED", 0.2)
    parent = Workflow("many", [Parallel(child("one"), child("other"), name="all")])
    async with serving(env, parent) as client:
        before = asyncio.all_tasks()
        run = await client.start(parent, "data")
        asked = []
        for _ in range(2):
            drafts = (await client.wait(run, timeout=WAIT)).drafts()
            asked.append(len(drafts))
            await confirm(client, drafts[0].run_id)
        output = await client.wait(run, timeout=WAIT)
        left = asyncio.all_tasks() - before

    assert ([2, 1], RunStatus.completed) == (asked, output.status)
    assert [] == [each for each in left if "_following" in repr(each.get_coro())]


async def test_a_child_that_nobody_serves(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that cannot be reached stays named in its parent, which can still be seen and
    cancelled.
    """
    monkeypatch.setattr("temporal_hitl._reach.PATIENCE", timedelta(seconds=0.5))
    parent = Workflow("alone", [Step("sub", workflow=child(), task_queue=new_queue())])
    async with serving(env, parent) as client:
        run = await client.start(parent, "data")
        waiting = await until(lambda: in_flight(client, run))
        await client.cancel(run)
        output = await ended(client, run)
        events = (await client.handle(f"{run}.sub").fetch_history()).events

    assert ({"sub": f"{run}.sub"}, []) == (waiting.children, waiting.child_runs)
    assert RunStatus.cancelled is output.status
    assert CANCEL_ASKED in [each.event_type for each in events]


async def in_flight(client: HitlClient, run: str) -> Any:
    output = await client.get(run)
    return output if output.children and not output.running else None


async def test_a_parent_written_by_hand(env: WorkflowEnvironment) -> None:
    """A pipeline that is the child of a workflow written by hand tells nobody that it ends."""
    async with serving(env, child(), workflows=[ByHand]) as client:
        handle = await env.client.start_workflow(
            ByHand.run, "data", id="by-hand", task_queue=client.task_queue
        )
        await until(lambda: started(client, "below-by-hand"))
        await paused(client, "below-by-hand")
        await confirm(client, "below-by-hand")
        output = await asyncio.wait_for(handle.result(), WAIT)
        events = (await client.handle("below-by-hand").fetch_history()).events

    assert "data processed" == output["content"]
    assert SIGNAL_SENT not in [each.event_type for each in events]


async def started(client: HitlClient, run: str) -> bool:
    try:
        return bool(await client.get(run))
    except RunNotFound:
        return False


async def test_a_session_holds_no_children(embedded: SqliteDb) -> None:
    """A session lists the runs that somebody started, and not those that these started."""
    parent = Workflow("session", [Workflow("in_session", [fetch])], db=embedded)
    for _ in range(2):
        await parent.arun("data")
    listed = (await parent.aget_session()).runs

    assert ["session", "session"] == [each.workflow_name for each in listed]


async def test_redefined_in_one_process(embedded: SqliteDb) -> None:
    """A child that is defined again runs as its parent now holds it; a run that waits goes on."""

    def version(text: str) -> Workflow:
        def executor() -> str:
            return text

        inner = Workflow("versioned", [gated("ask"), Step("tell", executor)])
        return Workflow("redefined", [inner], db=embedded)

    first, second = version("first"), version("second")
    waiting = await first.arun("data")
    later = await second.arun("data")
    outputs = []
    for definition, output in (
        (second, later),
        (second, waiting),
        (first, await first.arun("data")),
    ):
        output.steps_requiring_confirmation[0].confirm()
        outputs.append((await definition.acontinue_run(output)).content)

    assert ["second", "second", "first"] == outputs


def test_one_definition_twice() -> None:
    """A definition may be nested in several others, and be served on its own as well."""
    one = child()
    nested = Workflow("nested", [Step("a", workflow=one), Step("b", workflow=one)])
    plugin = HitlPlugin(workflows=[Workflow("outer", [nested]), one, nested])

    assert {"outer", "nested", "child"} == set(plugin.registry.names)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "two of a name": (
        lambda: Workflow("outer", [Step("a", workflow=child()), Step("b", workflow=child())]),
        "two pipelines are called 'child'",
    ),
    "two of a name, one deeper": (
        lambda: Workflow("outer", [child(), Workflow("middle", [child()])]),
        "two pipelines are called 'child'",
    ),
    "its own name": (lambda: Workflow("child", [child()]), "two pipelines are called 'child'"),
    "two of a name on a worker": (
        lambda: HitlPlugin(workflows=[Workflow("outer", [child()]), child()]),
        "two pipelines are called 'child'",
    ),
    "twice without names": (lambda: Workflow("outer", [one := child(), one]), "stands twice"),
    "an executor too": (lambda: Step("a", fetch, workflow=child()), "Step 'a'.*exactly one"),
    "no workflow": (lambda: Step("a", workflow=fetch), "Step 'a'.*is no Workflow"),  # type: ignore[arg-type]
    "retries": (lambda: Step("a", workflow=child(), max_retries=1), "'a': max_retries means noth"),
    "a policy": (
        lambda: Step("a", workflow=child(), retry_policy=RetryPolicy()),
        "'a': retry_policy means nothing",
    ),
    "a timeout": (
        lambda: Step("a", workflow=child(), start_to_close_timeout=5),
        "'a': start_to_close_timeout means nothing",
    ),
    "a heartbeat": (
        lambda: Step(workflow=child(), heartbeat_timeout=5),
        "'child': heartbeat_timeout means nothing",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_authors_write_wrongly(wrong: str) -> None:
    """What means nothing is refused where it is written, and named."""
    write, told = WRONG[wrong]
    with pytest.raises(DefinitionError, match=told):
        write()
