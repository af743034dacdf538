"""A run is cancelled or terminated: what is open closes, what runs is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus
from temporalio.exceptions import CancelledError
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, HitlClient, Parallel, RunStatus, Step, StepInput, Workflow
from temporal_hitl.errors import AlreadyResolved
from tests.stage import WAIT, cli, ended, new_queue, paused, replays, serving, until

CANCELED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED
MODIFIED = EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES


def fetch(step_input: StepInput) -> str:
    return f"{step_input.input} fetched"


def never(step_input: StepInput) -> str:
    raise AssertionError("a step of a cancelled run ran")


def gated(name: str) -> Step:
    return Step(name, never, requires_confirmation=True)


class Told:
    """An executor that works until it is told to stop, and remembers that."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.told: list[str] = []


class OnTheLoop(Told):
    async def __call__(self, step_input: StepInput) -> str:
        self.begun.set()
        try:
            while True:
                activity.heartbeat()
                await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            self.told.append("asyncio.CancelledError")
            raise


class OnTheLoopInSilence(Told):
    async def __call__(self, step_input: StepInput) -> str:
        self.begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.told.append("asyncio.CancelledError")
            raise
        return "slept"


class InAThread(Told):
    def __call__(self, step_input: StepInput) -> str:
        self.begun.set()
        try:
            while not threading.Event().wait(0.05):
                activity.heartbeat()
        except CancelledError:
            self.told.append("temporalio.exceptions.CancelledError")
            raise
        return "waited"


async def status(client: HitlClient, run_id: str) -> WorkflowExecutionStatus | None:
    return (await client.handle(run_id).describe()).status


async def test_a_run_that_waits(env: WorkflowEnvironment, cache: int) -> None:
    """All that is open is withdrawn in the task that ends the run, and an answer is told so."""
    branches = Parallel(gated("left"), gated("right"), name="both")
    pipeline = Workflow("release", [Step("fetch", fetch), branches, Step("save", never)])
    async with serving(env, pipeline, max_cached_workflows=cache) as client:
        run = await client.start("release", "data")
        asked = (await paused(client, run)).requirements
        await client.cancel(run)
        output = await ended(client, run)
        with pytest.raises(AlreadyResolved, match="the run stopped asking") as refused:
            await client.resolve(run, Confirm(requirement_id=asked[0].id))
        described = await client.handle(run).describe()

    assert [each.id for each in asked] == ["both.left", "both.right"]
    assert (RunStatus.cancelled, True, False) == (
        output.status,
        output.is_cancelled,
        output.is_paused,
    )
    assert [(each.requirement_id, each.action, each.decided_by) for each in output.resolutions] == [
        ("both.left", "withdraw", "policy"),
        ("both.right", "withdraw", "policy"),
    ]
    assert output.content == "data fetched"
    assert refused.value.record is not None
    assert refused.value.record["resolution"]["action"] == "withdraw"
    assert WorkflowExecutionStatus.CANCELED is described.status
    assert "HitlStatus" not in {pair.key.name for pair in described.typed_search_attributes}
    history = await client.handle(run).fetch_history()
    last = history.events[-1]
    assert last.event_type == CANCELED
    ending = last.workflow_execution_canceled_event_attributes.workflow_task_completed_event_id
    assert ending in [
        event.upsert_workflow_search_attributes_event_attributes.workflow_task_completed_event_id
        for event in history.events
        if event.event_type == MODIFIED
    ]
    await replays(client.handle(run), pipeline)


@pytest.mark.parametrize(
    ("executor", "told", "options"),
    [
        (OnTheLoop, "asyncio.CancelledError", {"heartbeat_timeout": 2}),
        (InAThread, "temporalio.exceptions.CancelledError", {"heartbeat_timeout": 2}),
        (OnTheLoopInSilence, "asyncio.CancelledError", {}),
    ],
    ids=["async", "sync", "async, without a heartbeat of its own"],
)
async def test_a_run_with_a_running_step(
    env: WorkflowEnvironment, executor: Callable[[], Told], told: str, options: dict[str, Any]
) -> None:
    """The executor is told to stop, and every branch beside it ends with the run."""
    work: Any = executor()
    branches = Parallel(
        Step("work", work, **options),
        gated("ask"),
        name="both",
    )
    pipeline = Workflow("release", [branches, Step("save", never)])
    often = timedelta(seconds=0.2)
    async with serving(env, pipeline, max_heartbeat_throttle_interval=often) as client:
        run = await client.start("release", "data")
        await until(work.begun.is_set)
        assert [each.id for each in (await client.wait(run, timeout=WAIT)).requirements] == [
            "both.ask"
        ]
        await client.cancel(run)
        output = await ended(client, run)
        await until(lambda: work.told)

    assert [told] == work.told
    assert (RunStatus.cancelled, []) == (output.status, output.requirements)
    assert [(each.requirement_id, each.action) for each in output.resolutions] == [
        ("both.ask", "withdraw")
    ]
    assert WorkflowExecutionStatus.CANCELED is await status(client, run)
    await replays(client.handle(run), pipeline)


async def test_cancelled_before_anybody_serves_it(env: WorkflowEnvironment) -> None:
    """A run that is cancelled before its first task asks nobody and runs nothing."""
    pipeline = Workflow("release", [gated("ask")])
    late = HitlClient(env.client, task_queue=new_queue())
    run = await late.start("release", "data")
    await late.cancel(run)
    async with serving(env, pipeline, queue=late.task_queue) as client:
        output = await ended(client, run)

    assert (RunStatus.cancelled, []) == (output.status, output.resolutions)
    assert WorkflowExecutionStatus.CANCELED is await status(late, run)
    await replays(late.handle(run), pipeline)


async def test_terminated_by_the_command_line(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that Temporal's own command ended is readable, and waits for nobody any more."""
    pipeline = Workflow("release", [Step("fetch", fetch), gated("ask")])
    async with serving(env, pipeline) as client:
        run = await client.start("release", "data")
        await paused(client, run)
        code, _, error = await cli(
            env, "workflow", "terminate", "--workflow-id", run, "--reason", "a mistake"
        )
        output = await ended(client, run)
        with pytest.raises(Exception, match=r"ended|stopped asking") as refused:
            await client.resolve(run, Confirm(requirement_id="ask"))
    monkeypatch.setattr("temporal_hitl._reach.PATIENCE", timedelta(seconds=1))
    unserved: Any = await client.get(run)

    assert (code, error) == (0, "")
    assert (RunStatus.error, "data fetched") == (output.status, output.content)
    assert (output.has_ended, output.is_paused) == (True, False)
    assert "a mistake" in (output.error or "")
    assert isinstance(refused.value, ValueError)
    assert (RunStatus.error, True) == (unserved.status, unserved.has_ended)
    await replays(client.handle(run), pipeline)
