"""The reference service in a process of its own, as the figures of the HTTP API call it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

from httpx2 import AsyncClient, ConnectError

from tests.benchmarks.contest import QUEUE

START_LIMIT = 60.0
TIMEOUT = 60.0


@asynccontextmanager
async def service(
    temporal: str, more: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[AsyncClient]:
    """Run the service against a server for the length of the block, and yield a client of it."""
    port = await _free_port()
    settings = {"HITL_API_PORT": str(port), "HITL_API_TASK_QUEUE": QUEUE, **more}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api"),
        env={**os.environ, **settings, "TEMPORAL_ADDRESS": temporal},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT) as http:
            await asyncio.wait_for(_until_it_answers(http), START_LIMIT)
            yield http
    finally:
        process.kill()
        await process.wait()


async def _until_it_answers(http: AsyncClient) -> None:
    while True:
        try:
            (await http.get("/health/ready")).raise_for_status()
            return
        except ConnectError:
            await asyncio.sleep(0.1)


async def _free_port() -> int:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
