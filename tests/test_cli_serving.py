"""`temporal-hitl worker` and `temporal-hitl dev`, as processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from httpx2 import AsyncClient
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetStickyTaskQueueRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, HitlClient, RunStatus
from temporal_hitl.cli._exits import Exit
from temporal_hitl.cli._modules import contents_of
from tests.shell import Shell, bare_environment, typed
from tests.stage import WAIT, ended, new_queue, paused, until

ROOT = Path(__file__).parent.parent
PIPELINES = """
import time
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow

from temporal_hitl import Step, StepInput, Workflow
from temporal_hitl import workflow as hitl

SOON = timedelta(seconds=10)


def slow(step_input: StepInput) -> str:
    with open("ledger", "a") as ledger:
        ledger.write("slow\\n")
    while Path("hold").exists():
        activity.heartbeat()
        time.sleep(0.05)
    return f"slow {step_input.input}"


def then(step_input: StepInput) -> str:
    return f"{step_input.input}, then"


inner = Workflow("inner_pipeline", [Step("then", then)])
pipeline = Workflow(
    "my_pipeline",
    [
        Step("slow", slow, heartbeat_timeout=2),
        Step("inner", workflow=inner, requires_confirmation=True),
    ],
)


@activity.defn
def shout(text: str) -> str:
    return text.upper()


@workflow.defn(name="by_hand")
class ByHand:
    @workflow.init
    def __init__(self, text: str) -> None:
        self.gate = hitl.Gate()

    @workflow.run
    async def run(self, text: str) -> str:
        answer = await self.gate.confirm("Go?", name="go")
        assert answer.approved
        return await workflow.execute_activity(shout, text, schedule_to_close_timeout=SOON)
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A folder with a package of a user's own."""
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "pipelines.py").write_text(PIPELINES)
    (package / "broken.py").write_text("import os\nnowhere()\n")
    (package / "empty.py").write_text("x = 1\n")
    yield tmp_path
    for name in [each for each in sys.modules if each.partition(".")[0] == "my_package"]:
        del sys.modules[name]


@asynccontextmanager
async def serving(
    project: Path, *words: str, **variables: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """Run a command that serves, and yield its process and what it says when it is ready."""
    kept = {name: os.environ[name] for name in os.environ if name not in bare_environment()}
    process = await asyncio.create_subprocess_exec(
        # Without the current folder on the path, as where the command is installed.
        *(sys.executable, "-P", "-W", "error", "-m", "temporal_hitl.cli", *words, "--json"),
        cwd=project,
        env={**kept, "PYTHONPATH": str(ROOT), "TEMPORAL_CONFIG_FILE": "/nowhere", **variables},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), WAIT)
        assert line, (await process.stderr.read()).decode()
        yield process, json.loads(line)
    finally:
        if process.returncode is None:
            process.kill()
        await asyncio.wait_for(process.communicate(), WAIT)


async def stopped(process: asyncio.subprocess.Process, by: signal.Signals) -> tuple[int, str]:
    """Send a signal, and return as `gone` does."""
    process.send_signal(by)
    return await gone(process)


async def gone(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Return the exit code, and what was written on standard error."""
    _, err = await asyncio.wait_for(process.communicate(), WAIT)
    return process.returncode or 0, err.decode()


async def killed(process: asyncio.subprocess.Process, client: HitlClient, run: str) -> None:
    """Kill a worker, and let another one have a run at once, not after the server's ten seconds."""
    process.kill()
    await process.wait()
    execution = WorkflowExecution(workflow_id=run)
    await client.client.workflow_service.reset_sticky_task_queue(
        ResetStickyTaskQueueRequest(namespace="default", execution=execution)
    )


def ledger(project: Path) -> Sequence[str]:
    file = project / "ledger"
    return file.read_text().splitlines() if file.exists() else []


async def test_a_worker_for_a_users_module(env: WorkflowEnvironment, project: Path) -> None:
    """A worker serves every pipeline, hand-written workflow and activity of a module; killed, its
    runs go on with the next one; asked to stop, it lets a running step finish.
    """
    queue, address = new_queue(), Shell(env).address
    words = ["worker", "my_package.pipelines", "--task-queue", queue, "--address", address]
    client = HitlClient(env.client, task_queue=queue)
    (project / "hold").touch()
    with env.with_time_skipping_disabled():
        async with serving(project, *words) as (first, ready):
            run = await client.start("my_pipeline", "in")
            by_hand = await client.start("by_hand", "loud")
            await client.resolve(by_hand, Confirm(requirement_id="go"))
            shouted = await ended(client, by_hand)
            await until(lambda: ["slow"] == ledger(project))
            await killed(first, client, run)
        async with serving(project, *words) as (second, _):
            await until(lambda: ["slow", "slow"] == ledger(project))
            second.send_signal(signal.SIGTERM)
            (project / "hold").unlink()
            left, err = await gone(second)
        async with serving(project, *words) as (third, _):
            await paused(client, run)
            await client.resolve(run, Confirm(requirement_id="inner"))
            output = await ended(client, run)
            interrupted, _ = await stopped(third, signal.SIGINT)

    served = ["inner_pipeline", "my_pipeline", "by_hand"]
    assert {
        "address": address,
        "namespace": "default",
        "task_queue": queue,
        "serves": served,
    } == ready
    assert "LOUD" == shouted.content
    assert (0, "") == (left, err)
    assert ["slow", "slow"] == ledger(project)  # What was finished is not done again.
    assert (RunStatus.completed, "slow in, then") == (output.status, output.content)
    assert 0 == interrupted


async def test_dev(project: Path) -> None:
    """`dev` starts a server, a worker and the inbox, other commands in the folder find it, what
    they start is answered over HTTP, and all of it ends with it, however it ends.
    """
    async with serving(project, "dev", "my_package.pipelines") as (process, told):
        target = told["temporal"].split()[0]
        connected = await Client.connect(target, data_converter=pydantic_data_converter)
        client = HitlClient(connected)
        run = await client.start("my_pipeline", "in")
        await paused(client, run)
        server = [each for each in psutil.Process(process.pid).children(recursive=True)]
        process.kill()
        await process.wait()
        _, alive = await asyncio.to_thread(psutil.wait_procs, server, WAIT)
    async with serving(project, "dev", "my_package.pipelines") as (again, told_again):
        here = await _in_folder(project, "confirm", run, "inner", "--by", "ana")
        output = await ended(client, run)
        await _in_folder(project, "run", "my_pipeline", "--run-id", "second", "--wait")
        base = told_again["inbox"].removesuffix("/inbox")
        async with AsyncClient(base_url=base, timeout=WAIT) as http:
            lives, page = await http.get("/health/live"), await http.get("/inbox")
            path = "/runs/second/requirements/inner/resolution"
            answered = await http.post(path, json={"action": "reject"})
            second = await ended(client, "second")
        code, err = await stopped(again, signal.SIGINT)
        ending = [psutil.Process(each) for each in psutil.pids() if _serves(each, target)]
        _, servers = await asyncio.to_thread(psutil.wait_procs, ending, WAIT)

    assert "serves inner_pipeline, my_pipeline, by_hand on task queue 'hitl'" == told["worker"]
    assert told["web ui"].startswith("http://127.0.0.1:")
    assert [] == alive
    assert told["temporal"] == told_again["temporal"]
    assert "ana decided 'confirm'" in here
    assert RunStatus.completed is output.status
    assert [200, 200, 200] == [each.status_code for each in (lives, page, answered)]
    assert "/inbox/runs/second/requirements/inner" in page.text
    assert "slow None" == second.content
    assert (0, "", []) == (code, err, servers)


async def _in_folder(project: Path, *words: str) -> str:
    """Run a command in a process of its own, with nothing configured."""
    kept = {name: os.environ[name] for name in os.environ if name not in bare_environment()}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "temporal_hitl.cli", *words),
        cwd=project,
        env={**kept, "PYTHONPATH": str(ROOT), "TEMPORAL_CONFIG_FILE": "/nowhere"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), WAIT)
    return out.decode()


def _serves(pid: int, target: str) -> bool:
    port = target.rpartition(":")[2]
    try:
        return f"--port={port}" in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False


async def test_modules_that_cannot_be_served(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that is not there, breaks or holds nothing to serve is told in one line, with what
    to name instead.
    """
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "path", [*sys.path])
    cases = [
        ("my_package.nowhere", "there is no module 'my_package.nowhere'"),
        ("nowhere.at.all", "there is no module 'nowhere.at.all'"),
        ("my_package/pipelines.py", "name a module, not a file: my_package.pipelines"),
        ("my_package.broken", "name 'nowhere' is not defined"),
        ("my_package.empty", "has no Workflow(...) and no @workflow.defn"),
        ("my_package", "name modules in it: my_package.broken, my_package.empty"),
    ]
    said = [await typed("worker", module) for module, _ in cases]
    found = contents_of(["my_package.pipelines", "my_package.pipelines"])

    for (module, sentence), each in zip(cases, said, strict=True):
        assert (Exit.usage, "") == (each.code, each.out), module
        assert sentence in each.err and 1 == each.err.count("\n"), module
    assert "broken.py:2" in said[3].err
    assert ["inner_pipeline", "my_pipeline", "by_hand"] == found.names
    assert 1 == len(found.activities)
