"""`temporal-hitl worker`: a worker for a user's own modules; and how whatever serves is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Annotated

import typer
from temporalio.worker import Worker

from temporal_hitl._beside import Beside
from temporal_hitl._threads import DaemonThreads
from temporal_hitl.cli._command import Session, TaskQueue
from temporal_hitl.cli._exits import Exit, Usage
from temporal_hitl.cli._modules import Contents, contents_of
from temporal_hitl.client import TASK_QUEUE, HitlClient
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
    serving = worker_for(hitl, contents, retired or [], steps, grace, at.beside())
    async with until_stopped() as stopped, running(serving, stopped):
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


def worker_for(
    hitl: HitlClient,
    contents: Contents,
    retired: list[str],
    steps: int,
    grace: float,
    beside: Beside | None = None,
) -> Worker:
    """Return a worker for what modules hold; raises `Usage` where there can be none."""
    try:
        return Worker(
            hitl.client,
            task_queue=hitl.task_queue,
            workflows=contents.workflows,
            activities=contents.activities,
            plugins=[HitlPlugin(workflows=contents.pipelines, retired=retired, beside=beside)],
            max_concurrent_activities=steps,
            activity_executor=DaemonThreads(steps),
            graceful_shutdown_timeout=timedelta(seconds=grace),
        )
    except (ValueError, RuntimeError) as error:  # Two of one name; a sandbox that lets none in.
        raise Usage(f"these modules cannot be served: {error}") from error


@contextlib.asynccontextmanager
async def until_stopped() -> AsyncGenerator[asyncio.Event]:
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
async def running(worker: Worker, stopped: asyncio.Event) -> AsyncGenerator[None]:
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
