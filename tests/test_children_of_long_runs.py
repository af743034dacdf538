"""A parent that has continued as new still gets its child's end, once, and believes nobody."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    HitlClient,
    Loop,
    Parallel,
    RunStatus,
    Step,
    StepInput,
    Steps,
    Workflow,
)
from tests.nested import confirm
from tests.stage import (
    activities,
    cli,
    ended,
    new_queue,
    paused,
    replay_all,
    serving,
    until,
)

TASK_DONE = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
SIGNALLED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
LOOK = "all.sub.child"
"""The activity id of a look for the child."""

executed: list[str] = []


def process(step_input: StepInput) -> str:
    executed.append("process")
    return f"{step_input.previous_step_content or step_input.input} processed"


def tick(step_input: StepInput) -> int | None:
    return step_input.iteration


def gated(name: str = "process") -> Step:
    return Step(name, process, requires_confirmation=True)


def ticking(times: int, name: str = "work") -> Loop:
    return Loop([Step(f"{name}_tick", tick)], name=name, max_iterations=times)


def beside(inner: Workflow, **options: Any) -> Workflow:
    """Return a pipeline whose child waits beside a loop that continues as new."""
    step = Step("sub", workflow=inner, **options)
    return Workflow("long", [Parallel(step, ticking(18), name="all"), Step("save", process)])


async def worked(client: HitlClient, run: str) -> Any:
    """Return the run once its loop is done, and nothing works but the child."""
    output = await client.get(run)
    done = [each for each in output.inner_results if each.step_name == "work"]
    return output if done and not output.running and output.child_runs else None


async def looks(client: HitlClient, run: str) -> int:
    """Return how often the run's latest execution has looked for its child."""
    events = (await client.handle(run).fetch_history()).events
    scheduled = [each.activity_task_scheduled_event_attributes for each in events]
    return len([each for each in scheduled if each.activity_id == LOOK])


async def test_answered_after_it(short: WorkflowEnvironment, cache: int) -> None:
    """A parent that has continued as new gets the end of the child that it started before."""
    executed.clear()
    parent, queue = beside(Workflow("asks", [gated()])), new_queue()
    async with serving(short, parent, queue=queue) as client:
        run = await client.start(parent, "data")
        waiting = await until(lambda: worked(client, run))
    async with serving(short, parent, queue=queue, max_cached_workflows=cache) as client:
        await confirm(client, f"{run}.all.sub")
        output = await ended(client, run)
        continued = await replay_all(short, run, parent)
        children = await replay_all(short, f"{run}.all.sub", parent)
        await ended_once(client, run)

    assert {"all.sub": f"{run}.all.sub"} == waiting.children
    assert {"sub": "data processed", "work": 18} == output.step_results[0].content
    assert ["process", "process"] == executed
    assert (True, 1) == (1 < continued, children)


async def test_cancelled_after_it(short: WorkflowEnvironment, cache: int) -> None:
    """A run that has continued as new cancels its child, and what is below, as any other."""
    parent, queue = beside(Workflow("middle", [Workflow("bottom", [gated()])])), new_queue()
    async with serving(short, parent, queue=queue) as client:
        run = await client.start(parent, "data")
        await until(lambda: worked(client, run))
    async with serving(short, parent, queue=queue, max_cached_workflows=cache) as client:
        await client.cancel(run)
        below = [f"{run}.all.sub", f"{run}.all.sub.bottom"]
        outputs = [await ended(client, each) for each in (run, *below)]
        continued = await replay_all(short, run, parent)

    assert 3 * [RunStatus.cancelled] == [each.status for each in outputs]
    assert [True] == [each.withdrawn for each in outputs[-1].resolutions]
    assert 1 < continued


async def test_cancelled_while_it_looks(short: WorkflowEnvironment) -> None:
    """A run that is cancelled while it looks for its child cancels the child all the same."""
    parent = beside(Workflow("asks", [gated()]))
    async with serving(short, parent) as client:
        run = await client.start(parent, "data")
        await until(lambda: worked(client, run))
        await client.handle(run).signal("child_ended", args=["all.sub", f"{run}.all.sub"])
        await until(lambda: looks(client, run))
        await client.cancel(run)
        outputs = [await ended(client, each) for each in (run, f"{run}.all.sub")]
        await replay_all(short, run, parent)

    assert 2 * [RunStatus.cancelled] == [each.status for each in outputs]


async def ended_once(client: HitlClient, run: str) -> None:
    """Assert that the last execution looked once, when its child said that it ends."""
    history = await client.handle(run).fetch_history()
    assert 1 == [each.event_type for each in history.events].count(SIGNALLED)
    assert 1 == await looks(client, run)


async def test_a_child_that_is_long_itself(short: WorkflowEnvironment) -> None:
    """A child that continues as new ends for its parent when it ends, and not before."""
    inner = Workflow("long_too", [ticking(18, "inner"), gated(), ticking(18, "again")])
    for parent in (Workflow("waits", [inner]), beside(inner)):
        async with serving(short, parent) as client:
            run = await client.start(parent, "data")
            (below,) = (await paused(client, run)).child_runs
            await confirm(client, below.run_id)
            output = await ended(client, run)
            await replay_all(short, run, parent)
            assert 1 < await replay_all(short, below.run_id, parent)

        assert RunStatus.completed is output.status
    assert 18 in [output.content, output.step_results[0].content["sub"]]


async def test_many_children(short: WorkflowEnvironment) -> None:
    """Children that come and go while their parent continues as new run exactly once each."""
    executed.clear()
    inner = Workflow("brief", [process])
    body = [Parallel(*(Step(n, workflow=inner) for n in "ab"), name="both")]
    parent = Workflow("loops", [Loop(body, name="loop", max_iterations=12)])
    async with serving(short, parent) as client:
        run = await client.start(parent, "data")
        output = await ended(client, run)
        continued = await replay_all(short, run, parent)

    assert {"a": "data processed", "b": "data processed"} == output.content
    assert (24, True) == (len(executed), 2 < continued)


@pytest.mark.parametrize("on_error", ["skip", "fail"])
async def test_terminated_after_it(short: WorkflowEnvironment, on_error: str) -> None:
    """A child that cannot say that it ends is looked for now and then."""
    parent = beside(Workflow("asks", [gated()]), on_error=on_error)
    async with serving(short, parent) as client:
        run = await client.start(parent, "data")
        await until(lambda: worked(client, run))
        handle, below = client.handle(run), client.handle(f"{run}.all.sub")
        await short.fast_forward(handle, timedelta(minutes=10, seconds=5))
        await until(lambda: idle_after_looks(client, run, 1))
        await short.fast_forward(handle, timedelta(minutes=19))
        still = await looks(client, run)
        await below.terminate("why")
        await short.fast_forward(handle, timedelta(minutes=2))
        output = await ended(client, run)
        looked = await looks(client, run)
        await replay_all(short, run, parent)

    failed = RunStatus.error if on_error == "fail" else RunStatus.completed
    told = output.error or str(output.failed_steps[0].error)
    assert (1, 2, failed) == (still, looked, output.status)
    assert f"child run {below.id!r} was terminated" in told


async def test_deleted_after_it(short: WorkflowEnvironment) -> None:
    """A child that is nowhere any more is a failed step: nobody guesses how it ended."""
    parent = beside(Workflow("asks", [gated()]))
    async with serving(short, parent) as client:
        run = await client.start(parent, "data")
        await until(lambda: worked(client, run))
        below = f"{run}.all.sub"
        code, _, error = await cli(short, "workflow", "delete", "--yes", "--workflow-id", below)
        await until(lambda: is_gone(client, below))
        await short.fast_forward(client.handle(run), timedelta(minutes=10, seconds=5))
        output = await ended(client, run)
        await replay_all(short, run, parent)

    assert (0, "", RunStatus.completed) == (code, error, output.status)
    assert f"temporal_hitl.ChildLost: child run {below!r} is not there" in str(
        output.failed_steps[0].error
    )


async def is_gone(client: HitlClient, run: str) -> bool:
    try:
        await client.handle(run).describe()
    except RPCError as error:
        return error.status is RPCStatusCode.NOT_FOUND
    return False


async def idle_after_looks(client: HitlClient, run: str, times: int) -> bool:
    return times == await looks(client, run) and not (await client.get(run)).running


async def test_nobody_is_believed(short: WorkflowEnvironment) -> None:
    """Who says that a child has ended changes nothing: garbage is passed over, and the right words
    make the run look, and wait on.
    """
    parent = beside(Workflow("asks", [gated()]))
    async with serving(short, parent) as client:
        run = await client.start(parent, "data")
        path, below = "all.sub", f"{run}.all.sub"
        forged: list[list[Any]] = [
            *([], [path], [below], [[path, below]], [{"path": path}, 7], [None, None]),
            *(["all.work", below], ["nope", below], [path, run], [[path], [below]]),
        ]

        async def lie() -> int:
            for args in forged:
                await client.handle(run).signal("child_ended", args=args)
            await until(lambda: worked(client, run))
            return await looks(client, run)

        passed_over = [await lie(), await lie()]
        await client.handle(run).signal("child_ended", args=[path, below])
        await until(lambda: looks(client, run))
        waiting = await client.get(run)
        await confirm(client, below)
        output = await ended(client, run)
        continued = await replay_all(short, run, parent)

    assert ([0, 0], {path: below}) == (passed_over, waiting.children)
    assert {"sub": "data processed", "work": 18} == output.step_results[0].content
    assert ([], True) == (output.refused, 1 < continued)


async def test_said_before_it(short: WorkflowEnvironment) -> None:
    """What is said of a child in the execution that started it is acted on in the next one."""
    release = asyncio.Event()

    async def slow() -> str:
        await release.wait()
        return "slow"

    inner = Workflow("asks", [gated()])
    chain = Steps("chain", steps=[Step("slow", slow), ticking(18)])
    parent = Workflow("said", [Parallel(Step("sub", workflow=inner), chain, name="all")])
    async with serving(short, parent) as client:
        run = await client.start(parent, "data")
        (below,) = (await until(lambda: reached(client, run))).child_runs
        first = await client.handle(run).describe()
        await client.handle(run).signal("child_ended", args=["all.sub", below.run_id])
        release.set()

        async def looked_later() -> bool:
            latest = await client.handle(run).describe()
            return latest.run_id != first.run_id and 1 == await looks(client, run)

        await until(looked_later)
        heard = (await client.handle(run).fetch_history()).events
        await confirm(client, below.run_id)
        output = await ended(client, run)
        await replay_all(short, run, parent)
        before = short.client.get_workflow_handle(run, run_id=first.run_id)

        assert LOOK not in await activities(before)
    assert SIGNALLED not in [each.event_type for each in heard]
    assert {"sub": "data processed", "chain": 18} == output.content


async def reached(client: HitlClient, run: str) -> Any:
    output = await client.get(run)
    return output if output.is_paused else None


async def test_workers_come_and_go(short: WorkflowEnvironment, cache: int) -> None:
    """No worker needs to live while a child waits, or while it ends."""
    parent, queue = beside(Workflow("asks", [gated()])), new_queue()
    async with serving(short, parent, queue=queue) as client:
        run = await client.start(parent, "data")
        await until(lambda: worked(client, run))
    await client.handle(f"{run}.all.sub").signal("confirm", "process")
    async with serving(short, parent, queue=queue, max_cached_workflows=cache) as client:
        output = await ended(client, run)
        await replay_all(short, run, parent)

    assert RunStatus.completed is output.status
