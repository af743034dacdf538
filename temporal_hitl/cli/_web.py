"""`temporal-hitl api` and `token`: the HTTP API with its inbox, and who may call it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from temporal_hitl.approvals import ApprovalsFile
from temporal_hitl.cli._command import Session
from temporal_hitl.cli._exits import Usage
from temporal_hitl.cli._modules import contents_of
from temporal_hitl.cli._serving import until_stopped
from temporal_hitl.client import TASK_QUEUE, HitlClient
from temporal_hitl.primitives import Definition
from temporal_hitl.signing import SigningKeys

if TYPE_CHECKING:  # The extra `api`: imported where it is needed, and not by every command.
    from temporal_hitl.http import Authenticator, Inbox

HOST = "127.0.0.1"
PORT = 8000
"""Where people look for it."""
GRACE = 5
LAST = 3
"""Seconds beside these for calls whose connection is cut."""
KEY = 32
"""Characters that a secret has at least."""


def _option(name: str, help: str, *more: str) -> Any:
    # The variables of the reference service: what is set for the one holds for the other.
    variable = f"HITL_API_{name[2:].replace('-', '_').upper()}"
    return typer.Option(name, *more, help=help, envvar=variable)


async def api(
    at: Session,
    modules: Annotated[
        list[str] | None,
        typer.Argument(help="Modules whose pipelines are shown and started.", show_default=False),
    ] = None,
    host: Annotated[str, _option("--host", "Where to listen; elsewhere only with tokens.")] = HOST,
    port: Annotated[int, _option("--port", "The port; 0 takes a free one.")] = PORT,
    task_queue: Annotated[
        str, _option("--task-queue", "Where runs are started.", "-t")
    ] = TASK_QUEUE,
    tokens_file: Annotated[
        Path | None, _option("--tokens-file", "Who may call; see `temporal-hitl token`.")
    ] = None,
    session_key: Annotated[
        str | None,
        _option("--session-key", "Signs the inbox's sessions; the same for all processes."),
    ] = None,
    web_ui: Annotated[
        str | None, _option("--web-ui", "The Temporal Web UI, for the inbox's links.")
    ] = None,
    graceful_shutdown: Annotated[
        int, _option("--graceful-shutdown", "Seconds that open calls are given at the end.")
    ] = GRACE,
) -> None:
    """Serve the HTTP API and the inbox; what any run of the namespace asks is answered there."""
    web = web_extra()
    authenticator = _authenticator(web, host, tokens_file)
    hitl, pipelines = await at.client(task_queue), contents_of(modules or []).pipelines
    inbox = web.Inbox(key=_key(session_key), web_ui=web_ui)
    keys, filed = SigningKeys.from_environment(), at.approvals()
    site = Site(hitl, pipelines, authenticator, inbox, graceful_shutdown, keys, filed)
    listener = bound(host, port)
    async with until_stopped() as stopped, listening(site, listener, stopped) as told:
        at.terminal.tell(told, *(f"{name:10}{said}" for name, said in told.items()))
        await stopped.wait()


def _key(given: str | None) -> str | None:
    if given is not None and len(given) < KEY:
        raise Usage(f"--session-key: {KEY} characters or more, and this has {len(given)}")
    return given


def _authenticator(web: Any, host: str, tokens_file: Path | None) -> Authenticator:
    if tokens_file is not None:
        return web.BearerTokens.read(tokens_file)
    if web.is_loopback(host):
        return web.LoopbackOnly()
    raise Usage(
        f"without authentication only this machine may be served, and {host or 'any address'} is"
        f" more: give --tokens-file (temporal-hitl token makes one), or --host {HOST}"
    )


def web_extra() -> Any:
    """Return the module `temporal_hitl.http`.

    Raises:
        Usage: its extra is not installed.
    """
    try:
        import uvicorn  # noqa: F401  # pyright: ignore[reportUnusedImport]

        from temporal_hitl import http
    except ModuleNotFoundError as error:
        raise Usage(
            f"the HTTP API needs its extra ({error}): pip install 'temporal-hitl[api]'"
        ) from error
    return http


@dataclass(frozen=True)
class Site:
    """What is served, and to whom."""

    hitl: HitlClient
    pipelines: list[Definition]
    authenticator: Authenticator
    inbox: Inbox
    grace: int
    """Seconds that open calls are given at the end."""
    keys: SigningKeys | None = None
    """What signs the answers of who has a name."""
    approvals: ApprovalsFile | None = None
    """Where approvals that have closed are read."""


def bound(host: str, port: int) -> socket.socket:
    """Return a socket at an address.

    Raises:
        Usage: it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise Usage(
            f"cannot listen at {host}:{port} ({error}); name another --port, or 0 for a free one"
        ) from error


@contextlib.asynccontextmanager
async def listening(
    site: Site, at: socket.socket, stopped: asyncio.Event
) -> AsyncGenerator[dict[str, str]]:
    """Serve for the length of the block, and yield the addresses, by name; if it ends meanwhile,
    `stopped` is set.
    """
    import uvicorn

    from temporal_hitl.http import hitl_application

    async def connected() -> HitlClient:
        return site.hitl

    app = hitl_application(
        connected,
        site.pipelines,
        authenticator=site.authenticator,
        inbox=site.inbox,
        signing_keys=site.keys,
        approvals=site.approvals,
    )
    limit = site.grace + LAST
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=limit))
    # Signals are ours: what else runs in this process is to end in order, too.
    server.capture_signals = contextlib.nullcontext  # pyright: ignore[reportAttributeAccessIssue]
    serving = asyncio.create_task(server.serve(sockets=[at]))
    serving.add_done_callback(lambda _: stopped.set())
    try:
        yield _addresses(at)
    finally:
        server.should_exit = True
    await asyncio.wait([serving], timeout=site.grace)
    # A stream never ends by itself; to lose its connection ends it without a word.
    for each in [*server.server_state.connections]:
        each.transport.abort()
    await serving


def _addresses(at: socket.socket) -> dict[str, str]:
    host, port, *_ = at.getsockname()
    base = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    return {"inbox": f"{base}/inbox", "api": f"{base}/openapi.json"}


async def token(
    at: Session,
    user: Annotated[str, typer.Argument(help="Whose it is.", show_default=False)],
    roles: Annotated[
        list[str],
        typer.Argument(help="viewer, reviewer, operator, or of your own.", show_default=False),
    ],
) -> None:
    """Make a token for the HTTP API: write it once, and what belongs into the file of tokens."""
    web = web_extra()
    known = [each.value for each in web.Role]
    own = [each for each in roles if each not in known]
    if wrong := [each for each in own if not web.is_role(each)]:
        known_ones = ", ".join(known)
        raise Usage(f"{wrong[0]!r} is no role: {known_ones}, or one of your own in lower case")
    if own and not at.terminal.json:
        typer.echo(f"# Roles of your own: {', '.join(own)}", err=True)
    secret, kept = web.new_token(user, roles)
    if at.terminal.json:
        at.terminal.row({"token": secret, "kept": kept.model_dump(mode="json")})
        return
    typer.echo(f"# Give this to {user}; it is shown once: {secret}", err=True)
    typer.echo("[[tokens]]")
    typer.echo(f"user = {json.dumps(kept.user, ensure_ascii=False)}")
    typer.echo(f"roles = {json.dumps(sorted(kept.roles))}")
    typer.echo(f'sha256 = "{kept.sha256}"')
