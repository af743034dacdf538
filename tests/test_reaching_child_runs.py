"""Child runs from outside: addressed, waited for, and out of reach."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    HitlClient,
    Parallel,
    RunStatus,
    Step,
    StepInput,
    Workflow,
)
from temporal_hitl.errors import RunNotFound
from tests.nested import child, confirm, fetch
from tests.stage import WAIT, ended, new_queue, outcome, paused, replay_all, serving, until

CANCEL_ASKED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED
SIGNAL_SENT = EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED


@workflow.defn
class ByHand:
    """A workflow of a user's own that runs a pipeline as its child."""

    @workflow.run
    async def run(self, order: str) -> dict[str, Any]:
        """Return the run output of the pipeline."""
        return await workflow.execute_child_workflow("child", order, id="below-by-hand")


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
        return "l" * 900_000

    def length(step_input: StepInput) -> int:
        return len(step_input.input)

    one = Workflow("length", [length])
    fan = Parallel(*(Step(f"n{n}", workflow=one) for n in range(4)), name="fan")
    output = await outcome(env, Workflow("large", [large, fan]))

    assert {f"n{n}": 900_000 for n in range(4)} == output.content


async def test_too_much_to_hand_over(env: WorkflowEnvironment) -> None:
    """A child that gives more than its parent may hold fails its step with a sentence."""

    def much() -> str:
        return "m" * 400_000

    steps = [Step("first", much), Step("second", much), Workflow("child", [much]), fetch]
    output = await outcome(env, Workflow("too_much", steps), "data")

    (failed,) = output.failed_steps
    assert ("child", True) == (failed.path, "temporal_hitl.TooLarge" in (failed.error or ""))
    assert "data fetched" == output.content


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


async def test_a_parent_is_terminated(env: WorkflowEnvironment) -> None:
    """The child of a run that was terminated goes on, and ends though nobody waits for it."""
    parent = Workflow("terminated", [Step("sub", workflow=child())])
    async with serving(env, parent) as client:
        run = await client.start(parent, "data")
        await paused(client, run)
        await client.handle(run).terminate("a mistake")
        gone = await client.get(run)
        await confirm(client, f"{run}.sub")
        output = await ended(client, f"{run}.sub")
        await replay_all(env, f"{run}.sub", parent)

    assert (False, "data processed") == (gone.is_paused, output.content)


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
