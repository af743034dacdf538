"""The server is killed with signal 9, started again on its file, and all is there (guarantee 1)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

from temporal_hitl import (
    Confirm,
    HitlClient,
    HitlPlugin,
    Parallel,
    Reject,
    RunStatus,
    Step,
    StepInput,
    Workflow,
    WorkflowRunOutput,
)
from temporal_hitl._attributes import SEARCH_ATTRIBUTES
from temporal_hitl.local import Server, serve
from tests.processes import running
from tests.processes.worker import ALL, lines, pipelines
from tests.stage import WAIT, ended, new_queue, paused, replays, until

SOON = timedelta(seconds=2)
"""How long a server waits for a workflow task that it handed out before it died."""


def kill(server: Server) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)


def never(step_input: StepInput) -> str:
    raise AssertionError("a rejected step ran")


async def connected(target: str, queue: str) -> HitlClient:
    client = await Client.connect(target, data_converter=pydantic_data_converter)
    return HitlClient(client, task_queue=queue)


async def again(client: HitlClient, run_id: str) -> WorkflowRunOutput:
    """Return the run once it waits for a person, through a server that is not back yet."""

    async def there() -> WorkflowRunOutput | None:
        with contextlib.suppress(Exception):
            return await paused(client, run_id)

    return await until(there)


async def test_while_a_requirement_is_open(tmp_path: Path) -> None:
    """The requirement is still open and listed; worker and client come back by themselves."""
    ledger, queue = tmp_path / "ledger", new_queue()
    with serve(tmp_path / "dev.db", search_attributes=SEARCH_ATTRIBUTES) as server:
        client = await connected(server.address.target, queue)
        async with running("tests.processes.worker", server.address.target, queue, ledger):
            run = await client.start("release", "data", task_timeout=SOON)
            before = (await paused(client, run)).requirements
            kill(server)
            after = (await again(client, run)).requirements
            listed = [row async for row in client.list_requirements()]
            answer = Confirm(requirement_id="process", digest=before[0].digest)
            await client.resolve(run, answer)
            output = await ended(client, run)
        await replays(client.handle(run), *pipelines(ledger))

    assert before == after
    assert [(run, "process", before[0].deadline)] == [
        (row.run_id, row.id, row.deadline) for row in listed
    ]
    assert (RunStatus.completed, "data load process save") == (output.status, output.content)
    assert lines(ledger) == ALL


async def test_while_a_step_runs(tmp_path: Path) -> None:
    """A step that runs on without a server hands its result in when there is one, and runs once."""
    begun, go, executions = threading.Event(), threading.Event(), list[str]()

    def process(step_input: StepInput) -> str:
        executions.append("process")
        begun.set()
        assert go.wait(WAIT)
        return f"processed {step_input.input}"

    pipeline = Workflow("release", [Step("process", process, max_retries=0)])
    queue = new_queue()
    with serve(tmp_path / "dev.db", search_attributes=SEARCH_ATTRIBUTES) as server:
        client = await connected(server.address.target, queue)
        async with Worker(
            client.client, task_queue=queue, plugins=[HitlPlugin(workflows=[pipeline])]
        ):
            run = await client.start("release", "data", task_timeout=SOON)
            await until(begun.is_set)
            first = server.pid
            kill(server)
            await until(lambda: server.pid != first)
            go.set()
            output = await ended(client, run)
        await replays(client.handle(run), pipeline)

    assert executions == ["process"]
    assert (RunStatus.completed, "processed data") == (output.status, output.content)


async def test_the_deadline_holds(tmp_path: Path) -> None:
    """With server and worker dead at the deadline, it has acted when they are there again."""
    ledger, db, queue = tmp_path / "ledger", tmp_path / "dev.db", new_queue()
    async with (
        running("tests.serve_in_a_process", db) as owner,
        running("tests.processes.worker", json.loads(owner.said)["target"], queue, ledger) as first,
    ):
        client = await connected(json.loads(owner.said)["target"], queue)
        run = await client.start("urgent", "data", task_timeout=SOON)
        asked = (await paused(client, run)).requirements[0]
        os.kill(json.loads(owner.said)["pid"], signal.SIGKILL)
        await owner.killed()
        await first.killed()
    deadline = asked.deadline
    assert deadline is not None
    await until(lambda: datetime.now(UTC) > deadline)

    with serve(db, search_attributes=SEARCH_ATTRIBUTES) as server:
        target = server.address.target
        async with running("tests.processes.worker", target, queue, ledger):
            client = await connected(target, queue)
            output = await ended(client, run)
        await replays(client.handle(run), *pipelines(ledger))

    record = output.resolutions[0]
    assert (
        record.requirement_id,
        record.action,
        record.decided_by,
    ) == ("process", "time_out", "timeout")
    assert deadline <= record.resolved_at
    assert [*ALL[:2], *ALL[4:]] == lines(ledger)


async def test_what_was_answered_stays_answered(tmp_path: Path) -> None:
    """A decision that was told to its caller is there after the server died the moment after."""
    gates = [Step(name, never, requires_confirmation=True) for name in ("left", "right")]
    pipeline, queue = Workflow("release", [Parallel(*gates, name="both")]), new_queue()
    with serve(tmp_path / "dev.db", search_attributes=SEARCH_ATTRIBUTES) as server:
        client = await connected(server.address.target, queue)
        async with Worker(
            client.client, task_queue=queue, plugins=[HitlPlugin(workflows=[pipeline])]
        ):
            run = await client.start("release", "data", task_timeout=SOON)
            await paused(client, run)
            sent = Reject(requirement_id="both.left", feedback="too early", decision_id="one")
            record = await client.resolve(run, sent)
            kill(server)
            left = await again(client, run)
            repeated = await client.resolve(run, sent)
            await client.resolve(run, Reject(requirement_id="both.right"))
            output = await ended(client, run)
        await replays(client.handle(run), pipeline)

    assert ([record], ["both.right"]) == (left.resolutions, [each.id for each in left.requirements])
    assert record == repeated == output.resolutions[0]
    assert [each.requirement_id for each in output.resolutions] == ["both.left", "both.right"]
