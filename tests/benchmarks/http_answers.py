"""Answers over HTTP, and what opens in an open stream: a service, a worker and a server, each a
process of its own, and runs that wait for one answer each.

A run is answered over HTTP and the next one by a bare Temporal update, in turn. Before either, the
instant is seen at which its row came in the stream, against the one at which its question was
opened by the run's own clock.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime

from httpx2 import AsyncClient

from temporal_hitl import HitlClient
from tests.benchmarks.contest import QUEUE
from tests.benchmarks.http_service import service
from tests.benchmarks.server import embedded, new_id
from tests.benchmarks.worker import working

ROUNDS = 100
WARM_UP = 5
LAP_LIMIT = 60.0


@dataclass
class Laps:
    """What was measured, in milliseconds."""

    over_http: list[float] = field(default_factory=list[float])
    by_update: list[float] = field(default_factory=list[float])
    to_browser: list[float] = field(default_factory=list[float])


_held: dict[int, Laps] = {}


async def hold(rounds: int) -> Laps:
    """Return what `rounds` rounds took; held once for all figures."""
    if rounds not in _held:
        _held[rounds] = await hold_with(rounds, {}, {})
    return _held[rounds]


async def hold_with(rounds: int, settings: dict[str, str], headers: dict[str, str]) -> Laps:
    """Return what `rounds` rounds took, with these settings of both processes, called with these
    headers.
    """
    async with embedded() as client:
        target = client.service_client.config.target_host
        async with working(target, settings), service(target, settings) as http:
            http.headers.update(headers)
            hitl = HitlClient(client, task_queue=QUEUE)
            async with http.stream("GET", "/requirements/events") as response:
                rows = _opened(response.aiter_lines())
                await _rounds(hitl, http, rows, min(WARM_UP, rounds), Laps())
                return await _rounds(hitl, http, rows, rounds, Laps())


async def _rounds(
    client: HitlClient,
    http: AsyncClient,
    rows: AsyncIterator[tuple[str, float]],
    rounds: int,
    laps: Laps,
) -> Laps:
    for _ in range(rounds):
        for over_http in (True, False):
            run = await client.start("release", "rows", run_id=new_id("answered"))
            laps.to_browser.append(await asyncio.wait_for(_seen(rows, run), LAP_LIMIT))
            began = time.perf_counter()
            await (_over_http(http, run) if over_http else _by_update(client, run))
            took = (time.perf_counter() - began) * 1000
            (laps.over_http if over_http else laps.by_update).append(took)
            await client.handle(run).result()
    return laps


async def _over_http(http: AsyncClient, run: str) -> None:
    path = f"/runs/{run}/requirements/redact/resolution"
    (await http.post(path, json={"action": "confirm"})).raise_for_status()


async def _by_update(client: HitlClient, run: str) -> None:
    answer = {"requirement_id": "redact", "action": "confirm"}
    await client.handle(run).execute_update("resolve", answer)


async def _seen(rows: AsyncIterator[tuple[str, float]], run: str) -> float:
    async for seen, lag in rows:
        if seen == run:
            return lag
    raise AssertionError("the stream has ended")


async def _opened(lines: AsyncIterator[str]) -> AsyncIterator[tuple[str, float]]:
    name = ""
    async for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: ") and name == "opened":
            row = json.loads(line.removeprefix("data: "))
            lag = time.time() - datetime.fromisoformat(row["created_at"]).timestamp()
            yield row["run_id"], lag * 1000
