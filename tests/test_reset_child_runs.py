"""Runs that are reset while a child waits: the parent still gets the end of the child that is its
own, and of no other.
"""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    HitlClient,
    Loop,
    OnReject,
    Parallel,
    Reject,
    RunStatus,
    Step,
    StepInput,
    Steps,
    Workflow,
)
from tests.nested import confirm, gated, process
from tests.stage import cli, ended, new_queue, paused, replay_all, serving, until

TASK_DONE = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED


def tick(step_input: StepInput) -> int | None:
    return step_input.iteration


async def reset(env: WorkflowEnvironment, client: HitlClient, run: str, task: int) -> None:
    """Reset a run to its workflow task number `task`."""
    events = (await client.handle(run).fetch_history()).events
    done = [each.event_id for each in events if each.event_type == TASK_DONE]
    args = ["--workflow-id", run, "--event-id", str(done[task]), "--reason", "a mistake"]
    code, _, error = await cli(env, "workflow", "reset", *args)
    assert (0, "") == (code, error)


async def status(client: HitlClient, run: str, execution: str) -> WorkflowExecutionStatus | None:
    handle = client.client.get_workflow_handle(run, run_id=execution)
    return (await handle.describe()).status


@pytest.mark.parametrize("when", ["before it asked", "before the child", "after the child"])
async def test_a_parent_is_reset(env: WorkflowEnvironment, when: str) -> None:
    """A parent that is reset goes on with the child that it had started by then, and replaces one
    that it had not: nothing runs on what that one was told.
    """
    parent = Workflow("resets", [gated("first"), Step("sub", workflow=Workflow("asks", [gated()]))])
    async with serving(env, parent) as client:
        run = await client.start(parent, "data")
        await paused(client, run)
        await confirm(client, run, "first")
        (old,) = (await paused(client, run)).child_runs
        tasks = {"before it asked": 0, "before the child": 1, "after the child": -1}
        await reset(env, client, run, tasks[when])
        if when == "before it asked":
            await paused(client, run)
            await confirm(client, run, "first")
        if when != "after the child":
            await until(lambda: replaced(client, old.run_id, old.execution_id))
        (new,) = (await paused(client, run)).child_runs
        await confirm(client, new.run_id)
        output = await ended(client, run)
        await replay_all(env, run, parent)
        left = await status(client, old.run_id, old.execution_id)

    goes_on = when == "after the child"
    assert goes_on == (old.execution_id == new.execution_id)
    assert goes_on == (left is WorkflowExecutionStatus.COMPLETED)
    assert "data processed processed" == output.content


async def test_a_child_left_behind_is_answered(env: WorkflowEnvironment) -> None:
    """A child that a reset left behind, and that a person answers, is not taken for the one that
    the run starts later.
    """
    parent = Workflow("leaves", [gated("first"), Step("sub", workflow=Workflow("asks", [gated()]))])
    async with serving(env, parent) as client:
        run = await client.start(parent, "data")
        await paused(client, run)
        await confirm(client, run, "first")
        (old,) = (await paused(client, run)).child_runs
        await reset(env, client, run, 0)
        await paused(client, run)
        await confirm(client, old.run_id)
        await ended(client, old.run_id)
        await confirm(client, run, "first")
        (new,) = (await paused(client, run)).child_runs
        await client.resolve(new.run_id, Reject(requirement_id="process"))
        output = await ended(client, run)
        await replay_all(env, run, parent)

    assert (RunStatus.completed, None) == (output.status, output.step_results[1].content)


async def replaced(client: HitlClient, run: str, execution: str) -> bool:
    return (await client.handle(run).describe()).run_id != execution


@pytest.mark.parametrize("continued", [False, True])
async def test_a_child_is_reset(short: WorkflowEnvironment, continued: bool) -> None:
    """A child that is reset, while its parent looks for it too, ends when it ends: that one of its
    executions was cut short is no end.
    """
    sub = Step("sub", workflow=Workflow("asks", [gated()]))
    work = Loop([Step("tick", tick)], name="work", max_iterations=18 if continued else 1)
    parent = Workflow("waits", [Parallel(sub, work, name="all")])
    async with serving(short, parent) as client:
        run = await client.start(parent, "data")
        (below,) = (await until(lambda: worked(client, run))).child_runs
        await client.handle(run).signal("child_ended", args=["all.sub", below.run_id])
        await until(lambda: looks(client, run, continued))
        await reset(short, client, below.run_id, 0)
        await until(lambda: replaced(client, below.run_id, below.execution_id))
        await paused(client, below.run_id)
        await confirm(client, below.run_id)
        output = await ended(client, run)
        executions = await replay_all(short, run, parent)

    assert {"sub": "data processed", "work": work.max_iterations} == output.content
    assert continued == (1 < executions)


async def worked(client: HitlClient, run: str) -> Any:
    output = await client.get(run)
    done = [each for each in output.inner_results if each.step_name == "work"]
    return output if done and not output.running and output.is_paused else None


async def looks(client: HitlClient, run: str, expected: bool) -> bool:
    """Whether the run looks for its child, where it is `expected` to."""
    return ((await client.get(run)).running == ["all.sub"]) == expected


@pytest.mark.parametrize("how", ["cancel", "reject"])
async def test_ended_in_its_first_moment(short: WorkflowEnvironment, how: str) -> None:
    """An execution that ends before its walk has come to what an earlier one left open closes all
    of it: requirements are withdrawn, and children are cancelled.
    """
    deep = Steps(
        "deep", steps=[Parallel(Step("sub", workflow=Workflow("asks", [gated()])), gated())]
    )
    work = Loop([Step("tick", tick)], name="work", max_iterations=18)
    ends = Step("ends", process, requires_confirmation=True, on_reject=OnReject.cancel)
    parent = Workflow("at_once", [Parallel(ends, Parallel(deep, name="d"), work, name="all")])
    queue = new_queue()
    async with serving(short, parent, queue=queue) as client:
        run = await client.start(parent, "data")
        (below,) = (await until(lambda: worked(client, run))).child_runs
    await reset(short, client, run, 0)
    if how == "cancel":
        await client.cancel(run)
    else:
        await client.handle(run).signal("reject", "all.ends")
    async with serving(short, parent, queue=queue) as client:
        outputs = [await ended(client, each) for each in (run, below.run_id)]
        await replay_all(short, run, parent)

    assert 2 * [RunStatus.cancelled] == [each.status for each in outputs]
    assert [True] == [each.withdrawn for each in outputs[1].resolutions]
    assert {"all.ends": how == "cancel", "all.d.deep.parallel_1.process": True} == {
        each.requirement_id: each.withdrawn for each in outputs[0].resolutions
    }
