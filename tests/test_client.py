"""`HitlClient`: every run's requirements in one list, many answers, runs that are not there."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Confirm,
    HitlClient,
    Parallel,
    Reject,
    RunOptions,
    Step,
    Workflow,
)
from temporal_hitl.errors import AlreadyResolved, RunNotFound, SearchAttributesMissing
from tests.stage import cli, ended, paused, replays, serving, until

WIDE = 23


def work() -> str:
    return "done"


def asking(name: str, gates: int) -> Workflow:
    steps = [Step(f"{name}_{n}", work, requires_confirmation=True) for n in range(gates)]
    return Workflow(name, [Parallel(*steps, name=f"{name}_all")])


async def test_one_list_over_all_runs(env: WorkflowEnvironment) -> None:
    """The list holds each open requirement of each run once, more than a memo holds included."""
    few, many = asking("few", 2), asking("many", WIDE)
    async with serving(env, few, many) as client:
        mine = f"TaskQueue = '{client.task_queue}'"
        runs = [await client.start(each) for each in (few, many, few)]
        await asyncio.gather(*(paused(client, run) for run in runs))

        async def listed() -> list[tuple[str, str]]:
            return [(row.run_id, row.id) async for row in client.list_requirements(mine)]

        rows = await until(lambda: _of_length(listed, 4 + WIDE))
        answers = await client.resolve_many(
            [(run, Confirm(requirement_id=key)) for run, key in rows]
        )
        late = await client.resolve_many(
            [(runs[0], Reject(requirement_id="few_all.few_0")), ("no-such-run", {})]
        )
        outputs = [await ended(client, run) for run in runs]
        await until(lambda: _of_length(listed, 0))

    assert len(set(rows)) == len(rows)
    assert {run: 2 if number != 1 else WIDE for number, run in enumerate(runs)} == {
        run: len([each for each, _ in rows if each == run]) for run in runs
    }
    assert [True] * len(rows) == [not isinstance(each, Exception) for each in answers]
    assert isinstance(late[0], AlreadyResolved)
    assert isinstance(late[1], ValueError)
    assert ["COMPLETED"] * 3 == [output.status for output in outputs]
    await replays(client.handle(runs[1]), many)


async def _of_length(listed: object, length: int) -> list[tuple[str, str]] | bool:
    rows: list[tuple[str, str]] = await listed()  # type: ignore[operator]
    return (rows or True) if len(rows) == length else False


async def test_a_run_that_is_not_there(env: WorkflowEnvironment) -> None:
    """Every call about a run that never was says so, and nothing else happens."""
    client = HitlClient(env.client)
    for call in (
        client.get("nowhere"),
        client.wait("nowhere", timeout=5),
        client.requirements("nowhere"),
        client.resolve("nowhere", Confirm(requirement_id="a")),
        client.cancel("nowhere"),
    ):
        with pytest.raises(RunNotFound, match="'nowhere'"):
            await call


async def test_a_session_without_the_attributes(env: WorkflowEnvironment) -> None:
    """To start a run of a session where the attributes are missing is refused with the command."""
    bare = f"bare-{uuid.uuid4().hex[:8]}"
    code, _, error = await cli(env, "operator", "namespace", "create", "--namespace", bare)
    assert 0 == code, error
    target = env.client.service_client.config.target_host
    client = HitlClient(await until(lambda: _connected(target, bare)))

    with pytest.raises(
        SearchAttributesMissing, match=f"create --namespace {bare} --name HitlStatus"
    ):
        await client.start("anything", options=RunOptions(session_id="s"))


async def _connected(target: str, namespace: str) -> Client | None:
    client = await Client.connect(target, namespace=namespace)
    listed = [name async for name in client.list_workflows(limit=1)] if client else []
    return client if not listed else None
