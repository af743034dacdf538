"""After a reset: the same decision sent again, the doors, and the clients that wait."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from temporal_hitl import Confirm, HitlClient, HitlPlugin, Parallel, Reject, Step, Workflow
from temporal_hitl._attributes import SEARCH_ATTRIBUTES
from temporal_hitl.errors import DecisionConflict, UnknownRequirement
from temporal_hitl.local import serve
from tests.desk import Desk
from tests.resets import (
    DOORS,
    UNKNOWN,
    answer,
    asked,
    executed,
    gated,
    load,
    opening,
    pipeline,
    reasons,
    reset,
    sign,
    tell,
)
from tests.stage import (
    WAIT,
    cli,
    cli_at,
    ended,
    new_queue,
    paused,
    replay_all,
    replays,
    serving,
    until,
)

MANY = 12
"""Answers by update: more than the ten that a run may have under way."""


@pytest.fixture(autouse=True)
def nothing_executed() -> None:
    executed.clear()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("left_out", ["none", "All"])
async def test_the_same_decision_again(env: WorkflowEnvironment, door: str, left_out: str) -> None:
    """A decision sent anew counts once more, and is never told the outcome from before."""
    definition = pipeline(Step("load", load))
    exclude = [] if left_out == "none" else ["--reapply-exclude", left_out]
    async with serving(env, definition) as client:
        run = await client.start(definition, "it")
        await paused(client, run)
        await tell(client, run, "sign", door)
        before = (await asked(client, run, "send")).resolutions[0]
        await reset(env, run, "--type", "FirstWorkflowTask", *exclude)
        await asked(client, run, "sign")
        again = await client.resolve(run, answer("sign"))
        twice = await client.resolve(run, answer("sign"))
        with pytest.raises(DecisionConflict, match="ana decided 'confirm'"):
            await client.resolve(run, answer("sign", comment="other"))
        output = await asked(client, run, "send")
        await client.cancel(run)
        await ended(client, run)
        await replay_all(env, run, definition)

    assert before.resolved_at < again.resolved_at
    assert [again] == [twice] == output.resolutions
    assert ["load", "sign", "load", "sign"] == executed


async def test_sent_again_before_it_is_asked(env: WorkflowEnvironment) -> None:
    """Until the question is open again its decision is refused, and it counts from then on."""
    hold = asyncio.Event()
    hold.set()

    async def slow() -> str:
        await hold.wait()
        return "loaded"

    definition = pipeline(Step("slow", slow))
    async with serving(env, definition) as client:
        run = await client.start(definition, "it")
        await paused(client, run)
        await client.resolve(run, answer("sign"))
        await asked(client, run, "send")
        hold.clear()
        await reset(env, run, "--type", "FirstWorkflowTask")
        with pytest.raises(UnknownRequirement, match="nothing is open in this run"):
            await client.resolve(run, answer("sign"))
        hold.set()
        await asked(client, run, "sign")
        record = await client.resolve(run, answer("sign"))
        output = await asked(client, run, "send")
        await client.cancel(run)
        await ended(client, run)
        await replay_all(env, run, definition)

    assert [record] == output.resolutions
    assert {UNKNOWN.format(key="sign")} == set(reasons(output))
    assert ["sign", "sign"] == executed


async def test_by_the_plain_cli(env: WorkflowEnvironment) -> None:
    """At a terminal an old update id tells the old refusal; a new one, or none, counts."""
    definition = pipeline()
    command = ["workflow", "update", "execute", "--name", "confirm", "--input", '"sign"']
    async with serving(env, definition) as client:
        run = await client.start(definition, "it")
        await paused(client, run)
        same = [*command, "--workflow-id", run, "--update-id", "mine"]
        first, _, _ = await cli(env, *same)
        await asked(client, run, "send")
        await reset(env, run, "--type", "FirstWorkflowTask")
        await asked(client, run, "sign")
        refused, _, told = await cli(env, *same)
        still = await asked(client, run, "sign")
        counts, _, _ = await cli(env, *command, "--workflow-id", run)
        await asked(client, run, "send")
        await client.cancel(run)
        await ended(client, run)
        await replay_all(env, run, definition)

    assert (0, 1, 0) == (first, refused, counts)
    assert UNKNOWN.format(key="sign") in told
    assert ["confirm"] == [each.door for each in still.refused]
    assert ["sign", "sign"] == executed


async def test_many_refused_updates(tmp_path: Path) -> None:
    """However many updates a reset delivers again, the run takes new ones, of a new server too."""
    gates = [gated(f"sign_{number}", sign) for number in range(MANY)]
    keys = [f"all.sign_{number}" for number in range(MANY)]
    definition = Workflow("wide", [Step("load", load), Parallel(*gates, name="all")])
    queue, plugin = new_queue(), HitlPlugin(workflows=[definition])
    with serve(tmp_path / "dev.db", search_attributes=SEARCH_ATTRIBUTES) as server:
        connected = await Client.connect(
            server.address.target, data_converter=pydantic_data_converter
        )
        client = HitlClient(connected, task_queue=queue)
        async with Worker(connected, task_queue=queue, plugins=[plugin]):
            run = await client.start(definition, "it", task_timeout=timedelta(seconds=2))
            await asked(client, run, *keys)
            for key in keys:
                await client.resolve(run, answer(key))
            await ended(client, run)
            await reset_on(server.address.target, run)
            before = await asked(client, run, *keys)
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            after = await until(lambda: there(client, run))
            records = [await client.resolve(run, answer(key)) for key in keys]
            output = await ended(client, run)
        await replays(client.handle(run), definition)

    assert sorted(UNKNOWN.format(key=key) for key in keys) == sorted(reasons(before))
    assert before.requirements == after.requirements
    assert records == output.resolutions
    assert MANY * 2 == executed.count("sign")


async def reset_on(target: str, run: str) -> None:
    words = ["workflow", "reset", "--workflow-id", run, "--type", "FirstWorkflowTask"]
    code, _, err = await cli_at(target, *words, "--reason", "test")
    assert (0, "") == (code, err)


async def there(client: HitlClient, run: str) -> Any:
    """Return the run, through a server that is not back yet."""
    with contextlib.suppress(Exception):
        return await paused(client, run)


async def test_a_client_that_waits(env: WorkflowEnvironment) -> None:
    """Who waits for a question or for the end waits on through a reset."""
    definition = pipeline(Step("load", load))
    async with serving(env, definition) as client:
        run = await client.start(definition, "it")
        await paused(client, run)
        the_end = asyncio.create_task(client.wait_for_end(run))
        await client.resolve(run, answer("sign"))
        await asked(client, run, "send")
        next_question = asyncio.create_task(client.wait(run, seen=["send"], timeout=WAIT))
        await reset(env, run, "--type", "FirstWorkflowTask")
        await asked(client, run, "sign")
        waited = await next_question
        early = the_end.done()
        for key in ("sign", "send"):
            await asked(client, run, key)
            await client.resolve(run, Reject(requirement_id=key))
        output = await asyncio.wait_for(the_end, WAIT)
        await replay_all(env, run, definition)

    assert not early
    assert waited.is_paused
    assert ["reject", "reject"] == [each.action for each in output.resolutions]


async def test_a_client_that_waits_through_an_outage(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits, waits on where a run is reset while no worker is there to tell how it stands."""
    monkeypatch.setattr("temporal_hitl._reach.PATIENCE", timedelta(seconds=1))
    release = asyncio.Event()

    async def hold() -> str:
        await release.wait()
        return "held"

    definition, queue = pipeline(Step("hold", hold)), new_queue()
    async with serving(env, definition, queue=queue) as client:
        run = await client.start(definition, "it")
        await until(lambda: working(client, run))
        question = asyncio.create_task(client.wait(run, timeout=WAIT * 2))
        the_end = asyncio.create_task(client.wait_for_end(run))
        await nothing_yet(question, 1)
    await reset(env, run, "--type", "FirstWorkflowTask")
    await nothing_yet(question, 4)
    release.set()
    async with serving(env, definition, queue=queue) as client:
        waited = await question
        early = the_end.done()
        for key in ("sign", "send"):
            await asked(client, run, key)
            await client.resolve(run, Reject(requirement_id=key))
        await asyncio.wait_for(the_end, WAIT)
        await replay_all(env, run, definition)

    assert ["sign"] == [each.id for each in waited.requirements]
    assert not early


async def working(client: HitlClient, run: str) -> bool:
    return ["hold"] == (await client.get(run)).running


async def nothing_yet(task: asyncio.Task[Any], seconds: float) -> None:
    """Assert that the task has neither ended nor failed after so long."""
    done, _ = await asyncio.wait([task], timeout=seconds)
    assert not done, task


@pytest.mark.parametrize("door", DOORS)
async def test_a_gate_in_a_workflow_of_ones_own(env: WorkflowEnvironment, door: str) -> None:
    """A hand-written workflow that asks three times under one name asks from the first again."""
    asks = [{"kind": "confirm", "name": "look"}] * 3
    keys = ["look", "look~2", "look~3"]
    async with serving(env, workflows=[Desk]) as client:
        run = f"desk-{new_queue()}"
        given: dict[str, Any] = {"id": run, "task_queue": client.task_queue}
        await env.client.start_workflow("Desk", args=[asks, False], **given)
        for key in keys[:2]:
            await until(lambda key=key: is_open(client, run, key))
            await tell(client, run, key, door)
        await reset(env, run, "--type", "FirstWorkflowTask")
        again = await until(lambda: asks_first(client, run))
        for key in keys:
            await until(lambda key=key: is_open(client, run, key))
            await client.resolve(run, Confirm(requirement_id=key))
        decided = await asyncio.wait_for(client.handle(run).result(), WAIT)
        await replays(client.handle(run), workflows=[Desk])

    assert (1, []) == (len(again.open), again.resolved)
    assert [UNKNOWN.format(key=key) for key in keys[:2]] == reasons(again)
    assert [None, None, None] == [each["resolved_by"] for each in decided]


async def is_open(client: HitlClient, run: str, key: str) -> bool:
    return key in [each.id for each in (await client.requirements(run)).open]


async def asks_first(client: HitlClient, run: str) -> Any:
    told = await client.requirements(run, resolved=True)
    return told if ["look"] == [each.id for each in told.open] else None


async def test_reset_twice(env: WorkflowEnvironment) -> None:
    """A reset run is reset as any other: whatever was answered in either life is refused."""
    definition = pipeline(Step("load", load))
    async with serving(env, definition) as client:
        run = await client.start(definition, "it")
        await paused(client, run)
        await tell(client, run, "sign", "update")
        for by in ("ana", "bo"):
            await asked(client, run, "send")
            await reset(env, run, "--event-id", await opening(client.handle(run), "sign"))
            again = await asked(client, run, "sign")
            if by == "ana":
                await client.resolve(run, Confirm(requirement_id="sign", resolved_by="bo"))
        await client.cancel(run)
        await ended(client, run)
        started = await replay_all(env, run, definition)

    assert {UNKNOWN.format(key="sign")} == set(reasons(again))
    assert [] == again.resolutions
    assert ["load", "sign", "sign"] == executed
    assert 3 == started
