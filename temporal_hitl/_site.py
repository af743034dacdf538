"""Where `Workflow.run` runs: the configured server, or an embedded one with a worker in this
process.

Owns the process's background loop and one `Site` per server and task queue. A configured server
gets no worker from here: a script on a laptop must not take production's tasks.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import sys
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from temporal_hitl._attributes import SEARCH_ATTRIBUTES
from temporal_hitl._beside import Beside
from temporal_hitl._registry import Registry
from temporal_hitl._threads import DaemonThreads
from temporal_hitl.client import HitlClient
from temporal_hitl.errors import OperatorError
from temporal_hitl.local import DEFAULT_DB_FILE, Files, Server, connection, serve
from temporal_hitl.plugin import HitlPlugin
from temporal_hitl.primitives import Definition
from temporal_hitl.requirements import Channel
from temporal_hitl.signing import KEYS, Signer, SigningKeys

DRAIN = timedelta(days=1)
"""How long a replaced worker lets its running steps finish; cut short, they would run twice."""
WORKFLOW_THREADS = 8
"""How many workflow tasks the worker in this process runs at once."""
LEAVE = 2.0
"""Seconds that the end of the process gives the worker to leave."""
SETTLE = 0.3
"""Seconds that it gives calls which are given up."""


@dataclass(frozen=True)
class SqliteDb:
    """Keeps the embedded server's state in this file (seed 002)."""

    db_file: str | Path = DEFAULT_DB_FILE


@dataclass(frozen=True)
class InMemoryDb:
    """Keeps the embedded server's state in memory: runs end with the process."""


@dataclass(frozen=True)
class PostgresDb:
    """Stands where the seeds name a production database: the Temporal server's business here."""

    db_url: str


Database = SqliteDb | InMemoryDb | PostgresDb | None


@cache
def background() -> asyncio.AbstractEventLoop:
    """Return the process's background loop; its thread is a daemon and ends with the process."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="temporal-hitl", daemon=True).start()
    return loop


class Site:
    """A server and, where it is embedded, the worker that serves this process's pipelines."""

    def __init__(self, client: HitlClient, server: Server | None) -> None:
        self.client = client
        self.server = server
        self._beside = None if server is None else beside_of(server.files)
        self._registry = Registry()
        self._worker: Worker | None = None
        self._working: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()

    async def serve(self, definition: Definition) -> HitlClient:
        """Return a client of the server, once `definition` is served where this process must."""
        if self.server is None:
            return self.client
        async with self._changing:
            if not self._registry.serves(definition) and self._registry.put(definition):
                await self._stop(drain=True)
            if self._working is None or self._working.done():
                await self._start()
        return self.client

    async def _start(self) -> None:
        assert self.server is not None, "only an embedded server's worker is ours"
        self._worker = Worker(
            self.client.client,
            task_queue=self.client.task_queue,
            plugins=[HitlPlugin(registry=self._registry, beside=self._beside)],
            graceful_shutdown_timeout=DRAIN,
            # An ordinary pool refuses work at interpreter exit, which the SDK tells at length.
            workflow_task_executor=DaemonThreads(WORKFLOW_THREADS),
        )
        self._working = asyncio.create_task(self._worker.run())

    async def _stop(self, *, drain: bool) -> None:
        worker, self._worker = self._worker, None
        if worker is None or self._working is None or self._working.done():
            return
        if drain:
            await worker.shutdown()
            await self._working
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(worker.shutdown()), LEAVE)

    def signer(self) -> Signer:
        """Return what signs here, by the keys that the workers verify it with.

        Raises:
            OperatorError: there are none.
        """
        keys = SigningKeys.from_environment() or (self._beside and self._beside.keys())
        if keys is None:
            missing = (
                f"set {KEYS} (kid:secret), as it is set for the workers"
                if self.server is None
                else "pip install 'temporal-hitl[agents]', which brings PyJWT"
            )
            raise OperatorError(
                f"continue_run(roles=...) signs what is decided, and nothing here can: {missing}"
            )
        return Signer(keys, Channel.cli)

    async def leave(self) -> None:
        """Stop working, as the process ends; the server goes with its own thread."""
        await self._stop(drain=False)


def beside_of(files: Files) -> Beside:
    """Return what stands beside the state of an embedded server."""
    keys = None if files.database is None else files.beside("keys")
    return Beside(keys, files.beside("approvals.jsonl"))


_sites: dict[Any, asyncio.Task[Site]] = {}


async def site_of(db: Database, task_queue: str) -> Site:
    """Return the site that `db` and the environment name; runs on the background loop only.

    Raises:
        OperatorError: a `PostgresDb` without a server; the message says what to run instead.
        ServerError: the embedded server cannot be started, or the configured one cannot be reached.
    """
    configured = connection()
    if isinstance(db, PostgresDb) and configured is None:
        raise OperatorError(
            "PostgresDb: the state of a run lives in a Temporal server, which itself keeps it in"
            " PostgreSQL. Start such a server (https://docs.temporal.io/self-hosted-guide), set"
            " TEMPORAL_ADDRESS to it, and serve this pipeline from a worker with"
            " HitlPlugin(workflows=[...])"
        )
    place = "configured" if configured is not None else _place(db)
    key = (place, task_queue)
    if key not in _sites or (_sites[key].done() and _sites[key].exception() is not None):
        _sites[key] = asyncio.create_task(_open(configured, place, task_queue))
    return await asyncio.shield(_sites[key])


def _place(db: Database) -> Path | None:
    if isinstance(db, InMemoryDb):
        return None
    file = db.db_file if isinstance(db, SqliteDb) else DEFAULT_DB_FILE
    return None if str(file) == ":memory:" else Path(file).absolute()


_servers: dict[Path | None, Server] = {}


async def _open(configured: Any, place: Any, task_queue: str) -> Site:
    if configured is not None:
        atexit.register(_settle)
        return Site(await HitlClient.connect(task_queue=task_queue), None)
    if place not in _servers:
        _servers[place] = await asyncio.to_thread(serve, place, search_attributes=SEARCH_ATTRIBUTES)
        _announce(_servers[place], place)
    server = _servers[place]
    address = server.address
    client = await Client.connect(
        address.target, namespace=address.namespace, data_converter=server.data_converter
    )
    site = Site(HitlClient(client, task_queue=task_queue), server)
    atexit.register(_leave, site)
    return site


def _announce(server: Server, place: Path | None) -> None:
    address = server.address
    did = "started one" if server.owned else "joined the one of another process"
    kept = "in memory: runs end with this process" if place is None else f"state in {place}"
    print(
        f"temporal_hitl: no Temporal server is configured, so it {did} at {address.target} ({kept};"
        f" Web UI {address.ui}). Set TEMPORAL_ADDRESS to use a server of yours.",
        file=sys.stderr,
    )


def _leave(site: Site) -> None:
    # The SDK may crash at interpreter exit while a worker polls (sdk-python issue 300).
    with contextlib.suppress(TimeoutError):
        asyncio.run_coroutine_threadsafe(site.leave(), background()).result(LEAVE * 2)
    _settle()
    if site.server is not None:
        site.server.close()


def _settle() -> None:
    # The SDK may crash at interpreter exit while calls of its are being given up, as those of a
    # `wait` that has just returned (sdk-python issue 300).
    gc.collect()
    time.sleep(SETTLE)
