"""A worker is killed with signal 9, and another one goes on where it was (guarantee 1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, HitlClient, OpenRequirement, RunStatus, WorkflowRunOutput
from tests.processes import Running, running
from tests.processes.worker import ALL, SHORT, hold, lines, pipelines
from tests.stage import ended, new_queue, paused, replays, until

ACTIVITY_COMPLETED = EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
MEMO_WRITTEN = EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED
FIRED = EventType.EVENT_TYPE_TIMER_FIRED
SOON = timedelta(seconds=2)
"""How long the server waits for a workflow task that a dead worker took."""


@dataclass
class Site:
    """A task queue with a ledger, a client of it, and no worker but those that `worker` starts."""

    env: WorkflowEnvironment
    client: HitlClient
    ledger: Path

    def worker(self, die_at: str | None = None) -> AbstractAsyncContextManager[Running]:
        """Run a worker process, which dies when it is about to send `die_at`."""
        address = self.env.client.service_client.config.target_host
        args = [address, self.client.task_queue, self.ledger]
        return running("tests.processes.worker", *args, *([die_at] if die_at else []))

    async def start(self, pipeline: str = "release") -> str:
        """Start a run."""
        return await self.client.start(pipeline, "data", task_timeout=SOON)

    async def listed(self, run_id: str) -> list[OpenRequirement]:
        """Return the run's rows in the list over all runs, which needs no worker; at least one."""

        async def rows() -> list[OpenRequirement]:
            query = f"WorkflowId = '{run_id}'"
            return [row async for row in self.client.list_requirements(query)]

        return await until(rows)

    async def finished(self, run_id: str) -> WorkflowRunOutput:
        """Return the run's output at its end, after replaying its history."""
        output = await ended(self.client, run_id)
        await replays(self.client.handle(run_id), *pipelines(self.ledger))
        return output


@pytest.fixture
async def site(env: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Site]:
    """A task queue that nobody serves yet."""
    client = HitlClient(env.client, task_queue=new_queue())
    with env.with_time_skipping_disabled():
        yield Site(env, client, tmp_path / "ledger")


async def fired(client: HitlClient, run_id: str) -> None:
    """Return once the server has fired the run's timer, whoever is there to see it."""

    async def there() -> bool:
        history = await client.handle(run_id).fetch_history()
        return any(event.event_type == FIRED for event in history.events)

    await until(there, every=0.1)


async def test_while_a_requirement_is_open(site: Site) -> None:
    """The same requirement is still open, listed and in full, and no finished step runs again."""
    async with site.worker() as first:
        run = await site.start()
        before = (await paused(site.client, run)).requirements
        await first.killed()
    alone = await site.listed(run)
    async with site.worker():
        after = (await paused(site.client, run)).requirements
        await site.client.resolve(run, Confirm(requirement_id="process", digest=before[0].digest))
        output = await site.finished(run)

    assert before == after
    assert [(before[0].id, before[0].deadline)] == [(row.id, row.deadline) for row in alone]
    assert output.content == "data load process save"
    assert lines(site.ledger) == ALL


async def test_while_a_step_runs(site: Site) -> None:
    """Only the step that was cut short runs again; the decision before it stands."""
    hold(site.ledger).touch()
    async with site.worker() as first:
        run = await site.start()
        await paused(site.client, run)
        record = await site.client.resolve(run, Confirm(requirement_id="process"))
        await until(lambda: "process start" in lines(site.ledger))
        await first.killed()
    hold(site.ledger).unlink()
    async with site.worker():
        output = await site.finished(run)

    assert [*ALL[:3], *ALL[2:]] == lines(site.ledger)
    assert [record] == output.resolutions
    assert output.content == "data load process save"


@pytest.mark.slow
async def test_while_a_step_runs_that_says_nothing(site: Site) -> None:
    """A step without a heartbeat of its own is started again within half a minute or so."""
    hold(site.ledger).touch()
    async with site.worker() as first:
        run = await site.start("patient")
        await paused(site.client, run)
        await site.client.resolve(run, Confirm(requirement_id="process"))
        await until(lambda: "process start" in lines(site.ledger))
        await first.killed()
    hold(site.ledger).unlink()
    async with site.worker():
        await until(lambda: ALL[-1] in lines(site.ledger), seconds=45)
        output = await site.finished(run)

    assert [*ALL[:3], *ALL[2:]] == lines(site.ledger)
    assert RunStatus.completed is output.status


async def test_between_a_step_and_the_pause(site: Site) -> None:
    """A worker that dies while it opens a requirement leaves one, and the step before it done."""
    async with site.worker(die_at='"count":1,"rows"') as first:
        run = await site.start()
        died = await first.gone()
    unheard = [event.event_type for event in (await site.client.handle(run).fetch_history()).events]
    async with site.worker():
        asked = (await paused(site.client, run)).requirements
        await site.client.resolve(run, Confirm(requirement_id="process"))
        output = await site.finished(run)

    assert died == -9
    assert unheard.count(ACTIVITY_COMPLETED) == 1 and MEMO_WRITTEN not in unheard
    assert [each.id for each in asked] == ["process"]
    assert [each.requirement_id for each in output.resolutions] == ["process"]
    assert lines(site.ledger) == ALL


async def test_between_an_answer_and_the_step(site: Site) -> None:
    """An answer that a worker died of is recorded once by the next one, and told to its caller."""
    async with site.worker() as first:
        run = await site.start()
        await paused(site.client, run)
        await first.killed()
    sent = Confirm(requirement_id="process", resolved_by="ana")
    async with site.worker(die_at='"resolved_by":"ana"') as second:
        answer = asyncio.create_task(site.client.resolve(run, sent))
        died = await second.gone()
    async with site.worker():
        record = await answer
        output = await site.finished(run)

    assert died == -9
    assert ("ana", [record]) == (record.resolved_by, output.resolutions)
    assert lines(site.ledger) == ALL


async def test_the_deadline_holds(site: Site) -> None:
    """A deadline that passes while no worker lives is on record once there is one again."""
    async with site.worker() as first:
        run = await site.start("urgent")
        asked = (await paused(site.client, run)).requirements[0]
        await first.killed()
    assert asked.deadline is not None
    await site.env.fast_forward(site.client.handle(run), SHORT)
    await fired(site.client, run)
    async with site.worker():
        output = await site.finished(run)

    record = output.resolutions[0]
    assert (record.timed_out, record.decided_by, record.channel) == (True, "timeout", "timer")
    assert asked.deadline <= record.resolved_at
    assert [*ALL[:2], *ALL[4:]] == lines(site.ledger)
    assert (
        output.content,
        [each.event for each in output.events],
    ) == ("data load save", ["node_skipped"])


async def test_answers_while_no_worker_lives(site: Site) -> None:
    """Signals sent while no worker lived are read in order: nonsense is refused, the first wins."""
    async with site.worker() as first:
        run = await site.start()
        await paused(site.client, run)
        await first.killed()
    handle = site.client.handle(run)
    await handle.signal("resolve", "yes, go on")
    await handle.signal("reject", args=["process", "not today"])
    await handle.signal("confirm", "process")
    async with site.worker():
        output = await site.finished(run)

    record = output.resolutions[0]
    assert (
        record.action,
        record.feedback,
        record.door,
        record.late,
    ) == ("reject", "not today", "signal", False)
    assert [each.door for each in output.refused] == ["resolve", "confirm"]
    assert "resolved already" in output.refused[1].reason
    assert [*ALL[:2], *ALL[4:]] == lines(site.ledger)


async def test_an_answer_in_time_that_nobody_read_in_time(site: Site) -> None:
    """An answer sent in time counts where workers come back after the deadline, marked late."""
    async with site.worker() as first:
        run = await site.start("urgent")
        await paused(site.client, run)
        await first.killed()
    await site.client.handle(run).signal("confirm", "process")
    await fired(site.client, run)
    async with site.worker():
        output = await site.finished(run)

    assert [(each.action, each.decided_by, each.late) for each in output.resolutions] == [
        ("confirm", "human", True)
    ]
    assert lines(site.ledger) == ALL
