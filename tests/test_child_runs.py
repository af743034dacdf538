"""However a child run ends, and whatever becomes of its parent meanwhile, the parent gets the end,
once; and a child whose parent needs it no longer is cancelled.
"""

from __future__ import annotations

from typing import Any

import pytest
from temporalio import workflow
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from temporal_hitl import (
    Confirm,
    HitlClient,
    HitlPlugin,
    OnError,
    OnReject,
    Parallel,
    Reject,
    RunStatus,
    Step,
    StepInput,
    Workflow,
    WorkflowRunOutput,
)
from tests.stage import (
    ended,
    new_queue,
    paused,
    replay_all,
    serving,
    until,
)

POLICIES = [OnError.skip, OnError.fail]


def process(step_input: StepInput) -> str:
    return f"{step_input.previous_step_content or step_input.input} processed"


def after(step_input: StepInput) -> str:
    return f"after {step_input.previous_step_content}"


def fails() -> str:
    raise ValueError("no such file")


def gated(**options: Any) -> Step:
    return Step("process", process, requires_confirmation=True, **options)


async def confirm(client: HitlClient, run: str, key: str = "process") -> None:
    await client.resolve(run, Confirm(requirement_id=key))


@workflow.defn(name="elsewhere")
class ByHand:
    """A workflow that has nothing to do with people, under a pipeline's name."""

    @workflow.run
    async def run(self, run_input: Any, options: Any) -> str:
        """Return what no pipeline returns."""
        return "by hand"


# How a child ends


def with_child(inner: Workflow, on_error: OnError) -> Workflow:
    return Workflow("ends", [Step("sub", workflow=inner, on_error=on_error), Step("after", after)])


async def check_failure(
    env: WorkflowEnvironment, client: HitlClient, run: str, parent: Workflow, error: str
) -> WorkflowRunOutput:
    """Assert that the run took its child's end as its author wrote, and that all replays."""
    output = await ended(client, run)
    assert 1 == await replay_all(env, run, parent)
    assert 1 == await replay_all(env, f"{run}.sub", parent)
    if output.status is RunStatus.error:
        kind, _, message = error.partition(": ")
        assert (kind, f"sub: {message}") == (output.error_type, output.error)
    else:
        assert (RunStatus.completed, "after None") == (output.status, output.content)
        failed = output.step_results[0]
        assert ("Workflow", False, error) == (failed.step_type, failed.success, failed.error)
        assert ["node_failed"] == [each.event for each in output.events]
    return output


@pytest.mark.parametrize("on_error", POLICIES)
async def test_a_child_fails(env: WorkflowEnvironment, on_error: OnError) -> None:
    """A child that fails is a failed step, with the child's own error."""
    inner = Workflow("failing", [Step("fails", fails, max_retries=0, on_error="fail")])
    parent = with_child(inner, on_error)
    async with serving(env, parent) as client:
        run = await client.start(parent, "data")
        error = "builtins.ValueError: fails: no such file"
        output = await check_failure(env, client, run, parent, error)

    assert (on_error is OnError.fail) == (output.status is RunStatus.error)


@pytest.mark.parametrize("on_error", POLICIES)
@pytest.mark.parametrize("how", ["answer", "cancel", "terminate"])
async def test_a_child_is_ended(env: WorkflowEnvironment, how: str, on_error: OnError) -> None:
    """A child that a person ended, by an answer or by Temporal's means, is a failed step."""
    inner = Workflow("ended", [gated(on_reject=OnReject.cancel)])
    parent = with_child(inner, on_error)
    async with serving(env, parent) as client:
        run = await client.start(parent, "data")
        await paused(client, run)
        below, what = client.handle(f"{run}.sub"), "was cancelled"
        if how == "answer":
            answer = Reject(requirement_id="process", resolved_by="ana", feedback="no")
            what += f": process: {(await client.resolve(below.id, answer)).told()}"
        elif how == "cancel":
            await below.cancel()
        else:
            await below.terminate("why")
            what = "was terminated"
        kind = "ChildTerminated" if how == "terminate" else "ChildCancelled"
        error = f"temporal_hitl.{kind}: child run {below.id!r} {what}"
        output = await check_failure(env, client, run, parent, error)

    assert (on_error is OnError.fail) == (output.status is RunStatus.error)


async def test_a_child_whose_type_is_retired(env: WorkflowEnvironment) -> None:
    """A child that is deployed no more when its turn comes fails, and says that it is retired."""
    inner, queue = Workflow("retiring", [Step("process", process)]), new_queue()
    parent = Workflow("ends", [gated(), Step("sub", workflow=inner), Step("after", after)])
    later = HitlPlugin(workflows=[Workflow("ends", [gated(), after])], retired=["retiring"])
    async with serving(env, parent, queue=queue) as client:
        run = await client.start(parent, "data")
        await paused(client, run)
    with env.with_time_skipping_disabled():
        async with Worker(env.client, task_queue=queue, plugins=[later]):
            await confirm(client, run)
            output = await ended(client, run)

    assert "after data processed" == output.content
    assert "retiring is retired" in (output.step_results[1].error or "")


async def test_a_child_that_is_no_pipeline(env: WorkflowEnvironment) -> None:
    """A workflow that somebody wrote by hand under the child's name, on a queue of its own, is no
    child that a pipeline could take over.
    """

    inner, queue = Workflow("elsewhere", [Step("process", process)]), new_queue()
    step = Step("sub", workflow=inner, task_queue=queue)
    parent = Workflow("ends", [step, Step("after", after)])
    async with (
        serving(env, parent) as client,
        Worker(env.client, task_queue=queue, workflows=[ByHand]),
    ):
        run = await client.start(parent, "data")
        output = await ended(client, run)
        await replay_all(env, run, parent)

    assert "after None" == output.content
    assert "temporal_hitl.ChildUnreadable" in (output.step_results[0].error or "")


# What becomes of a child whose parent needs it no longer


async def check_cancelled(client: HitlClient, *runs: str) -> None:
    for run in runs:
        output = await ended(client, run)
        assert RunStatus.cancelled is output.status
        assert all(each.withdrawn for each in output.resolutions)


async def test_a_parent_is_cancelled(env: WorkflowEnvironment, cache: int) -> None:
    """Who cancels a run cancels all below it: what is open there closes as withdrawn."""
    bottom = Workflow("bottom", [gated()])
    parent = Workflow("cancels", [Parallel(Workflow("middle", [bottom]), gated(), name="all")])
    queue = new_queue()
    async with serving(env, parent, queue=queue) as client:
        run = await client.start(parent, "data")
        below = f"{run}.all.middle"
        runs = [run, below, f"{below}.bottom"]
        await until(lambda: both(client, run))
    async with serving(env, parent, queue=queue, max_cached_workflows=cache) as client:
        await client.cancel(run)
        await check_cancelled(client, *runs)
        replayed = [await replay_all(env, each, parent) for each in runs]
        output = await client.get(f"{below}.bottom")

    assert [1, 1, 1] == replayed
    assert ["process"] == [each.requirement_id for each in output.resolutions]


async def both(client: HitlClient, run: str) -> bool:
    return 2 == len((await client.get(run)).drafts())


@pytest.mark.parametrize("how", [{"action": "confirm"}, {"action": "reject"}], ids=str)
async def test_another_branch_ends_the_run(env: WorkflowEnvironment, how: dict[str, str]) -> None:
    """A branch that fails, or that a person cancels the run in, cancels the child of another."""
    gate = Step(
        "fails",
        fails,
        max_retries=0,
        on_error="fail",
        on_reject=OnReject.cancel,
        requires_confirmation=True,
    )
    parent = Workflow("fails", [Parallel(Workflow("waits", [gated()]), gate, name="all")])
    async with serving(env, parent) as client:
        run = await client.start(parent, "data")
        await until(lambda: both(client, run))
        await client.resolve(run, {"requirement_id": "all.fails", **how})
        output = await ended(client, run)
        await check_cancelled(client, f"{run}.all.waits")
        await replay_all(env, run, parent)

    expected = RunStatus.error if how["action"] == "confirm" else RunStatus.cancelled
    assert (expected, {}) == (output.status, output.children)


async def test_cancelled_as_it_starts(env: WorkflowEnvironment) -> None:
    """A child that is on its way when its branch is cancelled is cancelled once it has started."""
    starting = Step("sub", workflow=Workflow("starting", [gated()]), requires_confirmation=True)
    gate = gated(on_reject=OnReject.cancel)
    parent = Workflow("starts", [Parallel(starting, gate, name="all")])
    at_once = [Confirm(requirement_id="all.sub"), Reject(requirement_id="all.process")]
    async with serving(env, parent) as client:
        run = await client.start(parent, "data")
        await until(lambda: both(client, run))
        told = [each.model_dump(mode="json") for each in at_once]
        await client.handle(run).execute_update("resolve", told)
        output = await ended(client, run)
        await check_cancelled(client, f"{run}.all.sub")
        await replay_all(env, run, parent)

    assert (RunStatus.cancelled, {}) == (output.status, output.children)
