"""What a test of the HTTP API stands on: an application around a router, called over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI

from temporal_hitl import HitlClient
from temporal_hitl.http import Role, Token, hitl_router, new_token
from temporal_hitl.primitives import Definition
from tests.stage import WAIT

HERE = "http://127.0.0.1"


def application(client: HitlClient, *definitions: Definition, **options: Any) -> FastAPI:
    """Return a user's application with our router in it, and nothing else of ours."""
    app = FastAPI()
    app.include_router(hitl_router(client, definitions, **options))
    return app


@asynccontextmanager
async def calling(
    app: FastAPI, headers: dict[str, str] | None = None, client: str = "127.0.0.1", url: str = HERE
) -> AsyncIterator[httpx2.AsyncClient]:
    """Yield a client that calls `app` in this process, from the address `client`."""
    transport = httpx2.ASGITransport(app=app, client=(client, 4242))
    async with httpx2.AsyncClient(
        transport=transport, base_url=url, headers=headers, timeout=WAIT
    ) as caller:
        yield caller


@asynccontextmanager
async def web(
    client: HitlClient, *definitions: Definition, **options: Any
) -> AsyncIterator[httpx2.AsyncClient]:
    """Yield a client that calls a router for `definitions` in this process."""
    async with calling(application(client, *definitions, **options)) as caller:
        yield caller


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve `app` at a free port, and yield a client that calls it there."""
    config = uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(WAIT):
        while not server.started:
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=f"{HERE}:{port}", timeout=WAIT, limits=limits) as caller:
        try:
            yield caller
        finally:
            server.should_exit = True
    await asyncio.wait_for(serving, WAIT)


async def free_port() -> int:
    """Return a port that nobody listens at."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


def tokens(**roles: Iterable[Role | str]) -> tuple[dict[str, str], list[Token]]:
    """Return a new token for each user, and what is kept of them."""
    made = {user: new_token(user, of) for user, of in roles.items()}
    return {user: secret for user, (secret, _) in made.items()}, [kept for _, kept in made.values()]


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


@dataclass
class Event:
    """A server-sent event, as a browser would see it."""

    name: str
    id: str | None
    data: Any


async def events(response: httpx2.Response) -> AsyncIterator[Event]:
    """Yield the events of a stream as they come."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield Event(
                fields.get("event", "message"), fields.get("id"), json.loads(fields["data"])
            )
            fields = {}
