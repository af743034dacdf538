"""`temporal-hitl dev`: everything on a laptop, in one process group."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from temporalio.client import Client

from temporal_hitl._attributes import SEARCH_ATTRIBUTES
from temporal_hitl._beside import Beside
from temporal_hitl._site import beside_of
from temporal_hitl.cli._answers import login
from temporal_hitl.cli._command import Session, TaskQueue
from temporal_hitl.cli._exits import Usage
from temporal_hitl.cli._modules import Contents, contents_of
from temporal_hitl.cli._serving import GRACE, running, until_stopped, worker_for
from temporal_hitl.cli._signing import own_roles
from temporal_hitl.cli._web import HOST, PORT, Site, bound, listening, web_extra
from temporal_hitl.client import TASK_QUEUE, HitlClient
from temporal_hitl.local import DEFAULT_DB_FILE, Address, Server, connection, serve
from temporal_hitl.plugin import THREADS
from temporal_hitl.review import APPROVER
from temporal_hitl.signing import SigningKeys


@dataclass(frozen=True)
class Stage:
    """What the parts of `dev` stand on."""

    server: Server
    hitl: HitlClient
    contents: Contents
    stopped: asyncio.Event
    """Set it to end all of them."""
    port: int | None
    """Where the inbox is to listen; None takes the usual port where it is free, else any."""
    beside: Beside
    """What signs and verifies here, and where approvals are filed."""


@contextlib.asynccontextmanager
async def _inbox(stage: Stage) -> AsyncGenerator[dict[str, str]]:
    """Serve the HTTP API and the inbox, to this machine alone."""
    try:
        web = web_extra()
    except Usage as missing:
        yield {"inbox": f"none: {missing}"}
        return
    inbox = web.Inbox(web_ui=stage.server.address.ui)
    mine = web.LoopbackOnly(signs_as=login() or "developer", roles=own_roles() or [APPROVER])
    keys = SigningKeys.from_environment() or stage.beside.keys()
    filed = stage.beside.approvals()
    site = Site(stage.hitl, stage.contents.pipelines, mine, inbox, 1, keys, filed)
    async with listening(site, _listener(stage.port), stage.stopped) as told:
        yield told


def _listener(port: int | None) -> socket.socket:
    if port is not None:
        return bound(HOST, port)
    try:
        return bound(HOST, PORT)
    except Usage:
        return bound(HOST, 0)


@contextlib.asynccontextmanager
async def _serving(stage: Stage) -> AsyncGenerator[dict[str, str]]:
    """Serve the modules that were named."""
    if not stage.contents.names:
        yield {"worker": "none: name a module of yours, or run temporal-hitl worker MODULE"}
        return
    worker = worker_for(stage.hitl, stage.contents, [], THREADS, GRACE, stage.beside)
    async with running(worker, stage.stopped):
        names = ", ".join(stage.contents.names)
        yield {"worker": f"serves {names} on task queue {stage.hitl.task_queue!r}"}


Part = Callable[[Stage], AbstractAsyncContextManager[Mapping[str, str]]]
"""Runs for the length of its block beside the server; yields what is printed of it, by name."""
PARTS: tuple[Part, ...] = (_inbox, _serving)
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
    port: Annotated[
        int | None,
        typer.Option("--port", help=f"The inbox's; {PORT} where it is free.", show_default=False),
    ] = None,
    task_queue: TaskQueue = TASK_QUEUE,
) -> None:
    """Run a Temporal server with its Web UI, the inbox and its HTTP API, and a worker for modules
    of yours, until Ctrl-C.

    Other commands find the server by themselves in this folder, where no other one is configured.
    """
    contents = contents_of(modules or [])
    async with AsyncExitStack() as stack:
        stopped = await stack.enter_async_context(until_stopped())
        server = await asyncio.to_thread(
            serve, None if in_memory else db, search_attributes=SEARCH_ATTRIBUTES
        )
        stack.callback(server.close)
        address = server.address
        hitl = HitlClient(await _client(server), task_queue=task_queue)
        stage = Stage(server, hitl, contents, stopped, port, beside_of(server.files))
        told = _told(address, None if in_memory else db)
        for part in PARTS:
            told |= await stack.enter_async_context(part(stage))
        at.terminal.tell(told, *(f"{name:10}{said}" for name, said in told.items()))
        _warn(at, address.target, in_memory=in_memory, usual=db == DEFAULT_DB_FILE)
        await stopped.wait()


async def _client(server: Server) -> Client:
    address = server.address
    return await Client.connect(
        address.target, namespace=address.namespace, data_converter=server.data_converter
    )


def _told(address: Address, db: Path | None) -> dict[str, str]:
    return {
        "temporal": f"{address.target} (namespace {address.namespace})",
        "web ui": address.ui or "",
        "state": "in memory" if db is None else str(db),
    }


def _warn(at: Session, target: str, *, in_memory: bool, usual: bool) -> None:
    elsewhere = connection()
    if elsewhere is not None:
        at.terminal.aside(
            f"note: another server is configured, {elsewhere.get('target_host')}; commands reach"
            f" this one with --address {target}"
        )
    elif in_memory or not usual:
        at.terminal.aside(f"note: other commands reach it with --address {target}")
