"""What is to be told is told, whatever happens to workers and runs meanwhile."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, HitlClient, Parallel, Step, Workflow
from tests.processes import running
from tests.resets import asked, opening, pipeline, reset
from tests.sink import sink
from tests.stage import ended, new_queue, paused, replay_all, serving, until
from tests.telling import notifications, subscribe

pytestmark = pytest.mark.slow
OPENED, CLOSED = "requirement.opened", "requirement.closed"
SOON = timedelta(seconds=2)


async def test_the_worker_is_killed_before_it_sends(
    env: WorkflowEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that dies between the opening of a requirement and the telling of it: another one
    tells it.
    """
    client = HitlClient(env.client, task_queue=new_queue())
    address = env.client.service_client.config.target_host
    monkeypatch.setenv("HITL_NOTIFY", "managers")
    with env.with_time_skipping_disabled(), sink() as managers:
        subscribe(monkeypatch, "managers", managers)
        worker = ("tests.processes.worker", address, client.task_queue, tmp_path / "ledger")
        async with running(*worker, "tells managers") as first:
            run = await client.start("patient", "data", task_timeout=SOON)
            await first.gone()
        assert [] == managers.calls
        async with running(*worker):
            await until(lambda: managers.calls, 40)
            asks = (await paused(client, run)).requirements
            await client.resolve(run, Confirm(requirement_id="process"))
            await ended(client, run)
            await until(lambda: len(managers.calls) == 2)

    assert ("managers",) == asks[0].notify
    assert [(OPENED, "process"), (CLOSED, "process")] == managers.told()


async def test_a_reset(env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is reset asks anew, and its subscribers are told anew, under other ids; what is
    still waited for then is told as closed.
    """
    definition = pipeline(notify=["managers"])
    with sink() as managers:
        subscribe(monkeypatch, "managers", managers)
        async with serving(env, definition) as client:
            run = await client.start(definition, "it")
            await paused(client, run)
            await until(lambda: managers.calls)
            await client.resolve(run, Confirm(requirement_id="sign"))
            await asked(client, run, "send")
            await until(lambda: len(managers.calls) == 2)
            managers.statuses.append(500)  # At the second attempt it asks whether this is open.
            point = await opening(client.handle(run), "sign")
            await reset(env, run, "--event-id", point, "--reapply-exclude", "Update")
            await asked(client, run, "sign")
            await until(lambda: len(managers.calls) == 4)
            await client.cancel(run)
            await ended(client, run)
            await until(lambda: len(managers.calls) == 5)
            await replay_all(env, run, definition)

    twice = [(OPENED, "sign"), (CLOSED, "sign"), (OPENED, "sign")]
    assert [*twice, (OPENED, "sign"), (CLOSED, "sign")] == managers.told()
    assert 4 == len({each.id for each in managers.calls})


async def test_many_at_once(env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of questions that open, and close, in one workflow task are told each."""
    gates = [Step(f"s{n}", str, requires_confirmation=True) for n in range(250)]
    definition = Workflow("many", [Parallel("all", *gates)], notify=["managers"])
    with sink() as managers:
        subscribe(monkeypatch, "managers", managers)
        async with serving(env, definition) as client:
            run = await client.start(definition, "it")
            await until(lambda: len(managers.calls) == 250, 60)
            await client.cancel(run)
            await ended(client, run, 60)
            await until(lambda: len(managers.calls) == 500, 60)
            handles = await notifications(client, run)
            await replay_all(env, run, definition)

    assert 500 == len({each.id for each in managers.calls}) == len(handles)
    assert 250 == len({asked for event, asked in managers.told() if event == CLOSED})
