"""The commands that serve: a worker for a user's own modules, and the same with a server of its own
for a laptop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from temporalio.client import Client
from temporalio.worker import Worker

from temporal_hitl._attributes import SEARCH_ATTRIBUTES
from temporal_hitl._threads import DaemonThreads
from temporal_hitl.cli._command import Session, TaskQueue
from temporal_hitl.cli._exits import Exit, Usage
from temporal_hitl.cli._modules import Contents, contents_of
from temporal_hitl.client import TASK_QUEUE, HitlClient
from temporal_hitl.local import DEFAULT_DB_FILE, Server, connection, serve
from temporal_hitl.plugin import THREADS, HitlPlugin

Grace = Annotated[
    float,
    typer.Option("--grace", min=0, help="Seconds that running steps are given when it is stopped."),
]
Retired = Annotated[
    list[str] | None,
    typer.Option("--retired", help="A pipeline that only runs which wait still need."),
]
Steps = Annotated[int, typer.Option("--steps", min=1, help="How many steps run at once.")]
GRACE = 30.0


async def worker(
    at: Session,
    modules: Annotated[
        list[str], typer.Argument(help="Modules of yours: my_package.pipelines ...")
    ],
    task_queue: TaskQueue = TASK_QUEUE,
    retired: Retired = None,
    steps: Steps = THREADS,
    grace: Grace = GRACE,
) -> None:
    """Serve every Workflow of these modules, and their @workflow.defn classes and activities."""
    contents = contents_of(modules)
    hitl = await at.client(task_queue)
    serving = _worker(hitl, contents, retired or [], steps, grace)
    async with _until_stopped() as stopped, _running(serving, stopped):
        told = {
            "address": hitl.client.service_client.config.target_host,
            "namespace": hitl.client.namespace,
            "task_queue": task_queue,
            "serves": [*contents.names, *(retired or [])],
        }
        named = ", ".join(told["serves"])
        where = f"task queue {task_queue!r}, {told['address']}, namespace {told['namespace']!r}"
        at.terminal.tell(told, f"serves {named} ({where})")
        await stopped.wait()
        at.terminal.aside(f"stops; steps that run have {grace:g} s (once more ends it at once)")


def _worker(
    hitl: HitlClient, contents: Contents, retired: list[str], steps: int, grace: float
) -> Worker:
    try:
        return Worker(
            hitl.client,
            task_queue=hitl.task_queue,
            workflows=contents.workflows,
            activities=contents.activities,
            plugins=[HitlPlugin(workflows=contents.pipelines, retired=retired)],
            max_concurrent_activities=steps,
            activity_executor=DaemonThreads(steps),
            graceful_shutdown_timeout=timedelta(seconds=grace),
        )
    except (ValueError, RuntimeError) as error:  # Two of one name; a sandbox that lets none in.
        raise Usage(f"these modules cannot be served: {error}") from error


@contextlib.asynccontextmanager
async def _until_stopped() -> AsyncGenerator[asyncio.Event]:
    """Yield an event that SIGTERM and Ctrl-C set; a second one ends the process at once."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        if stopped.is_set():
            os._exit(Exit.interrupted)
        stopped.set()

    with contextlib.suppress(NotImplementedError):  # Not on Windows, where Ctrl-C cancels.
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, stop)
    yield stopped


@contextlib.asynccontextmanager
async def _running(worker: Worker, stopped: asyncio.Event) -> AsyncGenerator[None]:
    """Run a worker for the length of the block; if it fails meanwhile, `stopped` is set, and the
    end of the block raises why. Its steps may finish.
    """
    running = asyncio.create_task(worker.run())
    running.add_done_callback(lambda _: stopped.set())
    while not (worker.is_running or running.done()):
        await asyncio.sleep(0.02)
    if not running.done():
        yield
        if not running.done():
            await worker.shutdown()
    await running


@dataclass(frozen=True)
class Stage:
    """What the parts of `dev` stand on."""

    server: Server
    hitl: HitlClient
    contents: Contents
    stopped: asyncio.Event
    """Set it to end all of them."""


@contextlib.asynccontextmanager
async def _serving(stage: Stage) -> AsyncGenerator[dict[str, str]]:
    """Serve the modules that were named."""
    if not stage.contents.names:
        yield {"worker": "none: name a module of yours, or run temporal-hitl worker MODULE"}
        return
    worker = _worker(stage.hitl, stage.contents, [], THREADS, GRACE)
    async with _running(worker, stage.stopped):
        names = ", ".join(stage.contents.names)
        yield {"worker": f"serves {names} on task queue {stage.hitl.task_queue!r}"}


Part = Callable[[Stage], AbstractAsyncContextManager[Mapping[str, str]]]
"""Runs for the length of its block beside the server; yields what is printed of it, by name."""
PARTS: tuple[Part, ...] = (_serving,)
"""What `dev` runs, in order; whatever else is served on a laptop joins here."""


async def dev(
    at: Session,
    modules: Annotated[
        list[str] | None, typer.Argument(help="Modules of yours to serve.", show_default=False)
    ] = None,
    db: Annotated[
        Path, typer.Option("--db", help="Where the server keeps its state.")
    ] = DEFAULT_DB_FILE,
    in_memory: Annotated[
        bool, typer.Option("--in-memory", help="Keep nothing: runs end with this.")
    ] = False,
    task_queue: TaskQueue = TASK_QUEUE,
) -> None:
    """Run a Temporal server with its Web UI, and a worker for modules of yours, until Ctrl-C.

    Other commands find the server by themselves in this folder, where no other one is configured.
    """
    contents = contents_of(modules or [])
    async with AsyncExitStack() as stack:
        stopped = await stack.enter_async_context(_until_stopped())
        server = await asyncio.to_thread(
            serve, None if in_memory else db, search_attributes=SEARCH_ATTRIBUTES
        )
        stack.callback(server.close)
        address = server.address
        client = await Client.connect(
            address.target, namespace=address.namespace, data_converter=server.data_converter
        )
        told = {
            "temporal": f"{address.target} (namespace {address.namespace})",
            "web ui": address.ui or "",
            "state": "in memory" if in_memory else str(db),
        }
        stage = Stage(server, HitlClient(client, task_queue=task_queue), contents, stopped)
        for part in PARTS:
            told |= await stack.enter_async_context(part(stage))
        at.terminal.tell(told, *(f"{name:10}{said}" for name, said in told.items()))
        _warn(at, address.target, in_memory=in_memory, usual=db == DEFAULT_DB_FILE)
        await stopped.wait()


def _warn(at: Session, target: str, *, in_memory: bool, usual: bool) -> None:
    elsewhere = connection()
    if elsewhere is not None:
        at.terminal.aside(
            f"note: another server is configured, {elsewhere.get('target_host')}; commands reach"
            f" this one with --address {target}"
        )
    elif in_memory or not usual:
        at.terminal.aside(f"note: other commands reach it with --address {target}")
