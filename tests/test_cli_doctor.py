"""`temporal-hitl doctor` looks at all that runs need, and says what to do."""

from __future__ import annotations

import asyncio
import shlex
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, HitlClient, Step, Workflow
from temporal_hitl.cli._exits import Exit
from tests.shell import Said, Shell, typed
from tests.stage import cli, new_queue, paused, serving, until

DEADLINE = timedelta(days=90)
ODD = "it's"
"""A task queue that nobody works on."""


@workflow.defn(name="cli_unserved")
class Unserved:
    @workflow.run
    async def run(self, input: Any = None) -> None:
        await asyncio.Event().wait()


def work() -> str:
    return "done"


def gated(**options: Any) -> Workflow:
    gate = Step("go_on", work, requires_confirmation=True, **options)
    return Workflow("cli_examined", [gate, Step("then", work)])


def without_the_rest() -> Workflow:
    return Workflow("cli_examined", [Step("go_on", work)])


def verdicts(said: Said) -> dict[str, tuple[str, str, str]]:
    """Return each check's verdict, what was found, and what to do."""
    return {
        each["name"]: (each["verdict"], each["found"], each["todo"]) for each in said.data["checks"]
    }


async def a_namespace(env: WorkflowEnvironment, *options: str) -> str:
    """Return a new namespace without anything of ours."""
    name = f"doctor-{uuid.uuid4().hex[:8]}"
    code, _, error = await cli(env, "operator", "namespace", "create", "-n", name, *options)
    assert 0 == code, error
    return name


async def test_nothing_is_there(env: WorkflowEnvironment) -> None:
    """A server, a namespace or search attributes that are missing are told with what to do, and
    nothing is looked at that needs them.
    """
    shell = Shell(env)
    no_server = await typed("doctor", "--address", "127.0.0.1:1", "--json")
    no_namespace = await shell("doctor", "-n", "nowhere", "--json")
    bare = await a_namespace(env)

    async def told() -> Said | None:
        said = await shell("doctor", "-n", bare, "--json")
        return said if "search attributes" in verdicts(said) else None

    no_attributes: Said = await until(told)
    as_text = await shell("doctor", "-n", bare)

    assert [Exit.not_well] * 3 == [each.code for each in (no_server, no_namespace, no_attributes)]
    assert ["connection"] == list(verdicts(no_server))
    assert (
        "temporal operator namespace create --namespace nowhere"
        in verdicts(no_namespace)["namespace"][2]
    )
    verdict, _, todo = verdicts(no_attributes)["search attributes"]
    command = f"search-attribute create --namespace {bare} --name HitlStatus --type Keyword"
    assert "wrong" == verdict and command in todo
    assert f"-> temporal operator {command}" in as_text.out


@asynccontextmanager
async def examined(
    env: WorkflowEnvironment, namespace: str, queue: str, *definitions: Workflow, **options: Any
) -> AsyncIterator[tuple[HitlClient, Callable[[], Awaitable[Said]]]]:
    """Serve pipelines in a namespace, and yield a client and what examines it."""
    client = await until(lambda: connected(Shell(env).address, namespace))
    words = ["doctor", "-n", namespace, "-t", queue, "--json"]
    async with serving(env, *definitions, client=client, queue=queue, **options) as hitl:
        yield hitl, lambda: Shell(env)(*words)


async def connected(target: str, namespace: str) -> Client | None:
    """Return a client once the namespace can be used."""
    client = await Client.connect(
        target, namespace=namespace, data_converter=pydantic_data_converter
    )
    try:
        return client if await client.count_workflows() is not None else None
    except RPCError:
        return None


async def until_told(examine: Callable[[], Awaitable[Said]], name: str, verdict: str) -> Said:
    """Return what the doctor says once one of its checks goes so."""

    async def so() -> Said | None:
        said = await examine()
        return said if name in verdicts(said) and verdict == verdicts(said)[name][0] else None

    return await until(so)


async def test_all_is_well_and_then_not(env: WorkflowEnvironment) -> None:
    """With a worker all is well; a deadline beyond retention is a warning; steps and types that no
    worker has must be mended, and `show` says so of such a run.
    """
    namespace, queue = await a_namespace(env, "--retention", "3d"), new_queue()
    async with examined(
        env, namespace, queue, gated(hitl_timeout=DEADLINE), workflows=[Unserved]
    ) as (hitl, examine):
        idle = await until_told(examine, f"workers of {queue!r}", "ok")
        nobody = await Shell(env)("doctor", "-n", namespace, "-t", ODD, "--json")
        waits = await hitl.start("cli_examined")
        await paused(hitl, waits)
        unserved = await hitl.start("cli_unserved")
        busy = await until_told(examine, "retention", "warning")
    async with examined(env, namespace, queue, without_the_rest()) as (hitl, examine):
        await hitl.resolve(waits, Confirm(requirement_id="go_on"))
        lacking = await until_told(examine, "blocked runs", "wrong")
        shown = await Shell(env)("show", unserved, "-n", namespace)
        for each in (waits, unserved):
            await hitl.handle(each).terminate()

    none = "0 for workflows, 0 for steps; runs there: 0"
    start = f"temporal-hitl worker my_package.pipelines --task-queue {shlex.quote(ODD)}"
    assert ("warning", none, start) == verdicts(nobody)[f"workers of {ODD!r}"]
    assert (0, {"ok"}) == (idle.code, {each[0] for each in verdicts(idle).values()})
    assert 0 == busy.code
    verdict, found, todo = verdicts(busy)["retention"]
    assert ("warning", "3.0 days; the longest open deadline is in 90.0 days") == (verdict, found)
    assert f"temporal operator namespace update --namespace {namespace} --retention 90d" in todo
    assert Exit.not_well == lacking.code
    verdict, found, todo = verdicts(lacking)["workflow types"]
    assert ("wrong", f"cli_unserved on {queue!r} has none") == (verdict, found)
    assert "--retired cli_unserved" in todo
    assert Exit.unreachable == shown.code
    assert f"no worker answers for run {unserved!r}" in shown.err
    found = f"1 wait for a worker that has cli_examined.then (as {waits})"
    assert found == verdicts(lacking)["blocked runs"][1]
