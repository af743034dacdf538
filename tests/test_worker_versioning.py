"""Workers of a deployment have versions: runs that wait move on with the current one."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import PendingWorkflowTaskState
from temporalio.client import WorkflowHandle
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker, WorkerDeploymentConfig

from temporal_hitl import Confirm, HitlClient, HitlPlugin, Loop, Parallel, RunStatus, Step, Workflow
from tests.desk import Desk
from tests.refunds import Refund, RefundEdited
from tests.stage import (
    WAIT,
    cli,
    details,
    ended,
    new_queue,
    paused,
    replay_all,
    replays,
    serving,
    until,
)


def load() -> str:
    return "loaded"


def redact() -> str:
    return "redacted"


def publish() -> str:
    return "published"


def before() -> Workflow:
    gated = Step("redact", redact, requires_confirmation=True, confirmation_message="Redact?")
    return Workflow("release", [Step("load", load), gated])


def after() -> Workflow:
    """The same pipeline, edited: another message, and a step more."""
    gated = Step("redact", redact, requires_confirmation=True, confirmation_message="Really?")
    return Workflow("release", [Step("load", load), gated, Step("publish", publish)])


@dataclass
class Deployment:
    """Workers of one task queue that have versions."""

    env: WorkflowEnvironment
    default: VersioningBehavior = VersioningBehavior.PINNED
    name: str = field(default_factory=lambda: f"hitl-{uuid.uuid4().hex[:8]}")
    queue: str = field(default_factory=new_queue)

    @property
    def client(self) -> HitlClient:
        return HitlClient(self.env.client, task_queue=self.queue)

    @asynccontextmanager
    async def worker(self, build: str, *served: Workflow, **options: Any) -> AsyncIterator[None]:
        """Run a worker of a version for the length of the block."""
        version = WorkerDeploymentVersion(self.name, build)
        config = WorkerDeploymentConfig(
            version=version,
            use_worker_versioning=True,
            default_versioning_behavior=self.default,
        )
        with self.env.with_time_skipping_disabled():
            async with Worker(
                self.env.client,
                task_queue=self.queue,
                plugins=[HitlPlugin(workflows=served)],
                deployment_config=config,
                **options,
            ):
                yield

    async def make_current(self, build: str) -> None:
        """Make a version the current one, as a deploy does, once the server knows its workers."""
        words = ["worker", "deployment", "set-current-version", "--yes"]
        words += ["--deployment-name", self.name, "--build-id", build]

        async def done() -> bool:
            code, _, _ = await cli(self.env, *words)
            return code == 0

        await until(done, every=0.2)


async def version_of(handle: WorkflowHandle[Any, Any]) -> tuple[str, str]:
    """Return the versioning behavior of a run, and the build that handled it last."""
    info = (await handle.describe()).raw_description.workflow_execution_info.versioning_info
    name = VersioningBehavior(info.behavior).name
    return name, info.deployment_version.build_id


@pytest.mark.parametrize("default", list(VersioningBehavior))
async def test_a_run_moves_to_the_current_version(
    env: WorkflowEnvironment, default: VersioningBehavior
) -> None:
    """A run paused on a version that is gone goes on with the current one, by its own plan."""
    deployed = Deployment(env, default)
    client = deployed.client
    async with deployed.worker("b1", before()):
        await deployed.make_current("b1")
        run = await client.start("release", "in")
        asked = (await paused(client, run)).requirements
        first = await version_of(client.handle(run))
    async with deployed.worker("b2", after()):
        await deployed.make_current("b2")
        still = (await paused(client, run)).requirements
        await client.resolve(run, Confirm(requirement_id="redact"))
        output = await ended(client, run)
        second = await version_of(client.handle(run))
        fresh = await client.start("release", "in")
        new = (await paused(client, fresh)).requirements
        await client.resolve(fresh, Confirm(requirement_id="redact"))
        other = await ended(client, fresh)

    assert (("AUTO_UPGRADE", "b1"), ("AUTO_UPGRADE", "b2")) == (first, second)
    assert asked == still
    assert ["Redact?", "Really?"] == [each.message for each in (*asked, *new)]
    assert ("redacted", "published") == (output.content, other.content)
    assert ["load", "redact"] == [each.step_name for each in output.step_results]
    for each in (run, fresh):
        await replays(client.handle(each), after())


async def test_turned_on_and_off_while_runs_wait(env: WorkflowEnvironment) -> None:
    """A run that waits moves from workers without versions to those with, and back."""
    deployed = Deployment(env)
    client = deployed.client
    async with serving(env, before(), queue=deployed.queue):
        runs = [await client.start("release", "in") for _ in range(2)]
        for run in runs:
            await paused(client, run)
    async with deployed.worker("b1", before()):
        await deployed.make_current("b1")
        await client.resolve(runs[0], Confirm(requirement_id="redact"))
        first = await ended(client, runs[0])
        runs.append(await client.start("release", "in"))
        await paused(client, runs[2])
        words = ["worker", "deployment", "set-current-version", "--yes", "--unversioned"]
        code, _, err = await cli(env, *words, "--deployment-name", deployed.name)
    async with serving(env, before(), queue=deployed.queue):
        for run in runs[1:]:
            await client.resolve(run, Confirm(requirement_id="redact"))
        others = [await ended(client, run) for run in runs[1:]]

    assert (0, "") == (code, err)
    assert ["redacted"] * 3 == [each.content for each in (first, *others)]
    for run in runs:
        await replays(client.handle(run), before())


async def test_an_answer_between_two_versions(env: WorkflowEnvironment) -> None:
    """A signal that comes while no version has workers counts with the next one that has."""
    deployed = Deployment(env)
    client = deployed.client
    async with deployed.worker("b1", before()):
        await deployed.make_current("b1")
        run = await client.start("release", "in")
        await paused(client, run)
    await client.handle(run).signal("confirm", "redact")
    async with deployed.worker("b2", after()):
        await deployed.make_current("b2")
        output = await ended(client, run)

    assert ["confirm"] == [each.action for each in output.resolutions]
    assert "redacted" == output.content
    await replays(client.handle(run), after())


async def test_through_continuing_as_new(short: WorkflowEnvironment) -> None:
    """A run whose executions follow each other moves on too, with what is open."""
    gated = Step("redact", redact, requires_confirmation=True)
    loop = Loop([Step("load", load)], name="work", max_iterations=18)
    definition = Workflow("long", [Parallel(gated, loop, name="all"), Step("publish", publish)])
    again = Loop([Step("load", load)], name="again", max_iterations=18)
    edited = Workflow("long", [again, Step("redact", redact), Step("publish", publish)])
    deployed = Deployment(short)
    client = deployed.client
    async with deployed.worker("b1", definition):
        await deployed.make_current("b1")
        run = await client.start("long", "in")
        waiting = await until(lambda: is_idle(client, run))
    async with deployed.worker("b2", edited):
        await deployed.make_current("b2")
        still = await paused(client, run)
        await client.resolve(run, Confirm(requirement_id="all.redact"))
        output = await ended(client, run)
        last = await version_of(client.handle(run))
        started = await replay_all(short, run, definition)

    assert waiting.requirements == still.requirements
    assert (RunStatus.completed, "published") == (output.status, output.content)
    assert ("AUTO_UPGRADE", "b2") == last
    assert 1 < started


async def is_idle(client: HitlClient, run: str) -> Any:
    output = await client.get(run)
    done = [each for each in output.inner_results if each.step_name == "work"]
    return output if done and not output.running else None


async def test_a_version_without_the_code(env: WorkflowEnvironment) -> None:
    """A current version that lacks a step blocks the run; the next one that has it goes on."""
    lacking = Workflow("release", [Step("load", load)])
    deployed = Deployment(env)
    client = deployed.client
    async with deployed.worker("b1", before()):
        await deployed.make_current("b1")
        run = await client.start("release", "in")
        await paused(client, run)
    async with deployed.worker("b2", lacking):
        await deployed.make_current("b2")
        await client.resolve(run, Confirm(requirement_id="redact"))
        seen = await until(lambda: is_blocked(client, run))
        shown = await details(client.handle(run))
    async with deployed.worker("b3", after()):
        await deployed.make_current("b3")
        await env.fast_forward(client.handle(run), timedelta(minutes=1))
        output = await ended(client, run)

    assert {"redact": "release.redact"} == seen.blocked
    assert "no worker has `release.redact`" in shown
    assert "redacted" == output.content
    await replays(client.handle(run), after())


async def is_blocked(client: HitlClient, run: str) -> Any:
    output = await client.get(run)
    return output if output.blocked else None


async def test_an_edited_workflow_of_ones_own(env: WorkflowEnvironment) -> None:
    """What is new behind `workflow.patched` counts for what a waiting run has not reached yet."""
    deployed = Deployment(env)
    client = deployed.client
    async with deployed.worker("b1", workflows=[Refund]):
        await deployed.make_current("b1")
        waiting = await started(deployed, "Refund", 7)
        await until(lambda: is_open(client, waiting, "refund"))
    async with deployed.worker("b2", workflows=[RefundEdited]):
        await deployed.make_current("b2")
        fresh = await started(deployed, "Refund", 8)
        every = ["receipt", "refund", "letter"]
        for run, keys in ((waiting, every[1:]), (fresh, every)):
            for key in keys:
                await until(lambda run=run, key=key: is_open(client, run, key))
                await client.resolve(run, Confirm(requirement_id=key))
        results = [await result(client.handle(run)) for run in (waiting, fresh)]

    assert [every[1:], every] == results
    for run in (waiting, fresh):
        await replays(client.handle(run), workflows=[RefundEdited])


async def started(deployed: Deployment, name: str, *inputs: Any) -> str:
    run = f"{name}-{uuid.uuid4().hex[:8]}"
    where: dict[str, Any] = {"id": run, "task_queue": deployed.queue}
    await deployed.env.client.start_workflow(name, args=inputs, **where)
    return run


async def result(handle: WorkflowHandle[Any, Any]) -> Any:
    return await asyncio.wait_for(handle.result(), WAIT)


async def is_open(client: HitlClient, run: str, key: str) -> bool:
    return key in [each.id for each in (await client.requirements(run)).open]


async def test_a_pinned_run_is_rescued(env: WorkflowEnvironment) -> None:
    """A pinned run whose version is gone hangs; an operator's override moves it on."""
    # Pinned because it is written by hand: a pipeline never is.
    deployed = Deployment(env, VersioningBehavior.PINNED)
    client, asks = deployed.client, [{"kind": "confirm", "name": "look"}]
    async with deployed.worker("b1", workflows=[Desk]):
        await deployed.make_current("b1")
        run = await started(deployed, "Desk", asks, False)
        handle = client.handle(run)
        await until(lambda: is_open(client, run, "look"))
        pinned = await version_of(handle)
    async with deployed.worker("b2", workflows=[Desk]):
        await deployed.make_current("b2")
        await handle.signal("confirm", "look")
        hangs = not await handed_out(handle, seconds=2)
        code, _, err = await cli(
            env, "workflow", "update-options", "--workflow-id", run,
            "--versioning-override-behavior", "auto_upgrade",
        )  # fmt: skip
        (decided,) = await result(handle)
        rescued = await version_of(handle)

    assert (("PINNED", "b1"), True) == (pinned, hangs)
    assert (0, "") == (code, err)
    assert decided["approved"]
    assert "b2" == rescued[1]
    await replays(handle, workflows=[Desk])


async def handed_out(handle: WorkflowHandle[Any, Any], seconds: float) -> bool:
    """Whether a worker has taken the run's pending task within some seconds."""
    for _ in range(int(seconds / 0.1)):
        task = (await handle.describe()).raw_description.pending_workflow_task
        if task.state != PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED:
            return True
        await asyncio.sleep(0.1)
    return False
