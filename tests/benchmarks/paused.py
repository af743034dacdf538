"""The runs behind the two figures of runs that wait: thousands of them, each at its question.

The pipeline of the overhead figures, served by a worker process of its own with the SDK's default
cache (1,000 runs), on an embedded server in memory. To start them all takes minutes.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from temporal_hitl import HitlClient
from temporal_hitl.client import PENDING_RUNS
from tests.benchmarks.contest import QUEUE
from tests.benchmarks.server import embedded, new_id
from tests.benchmarks.worker import STRAIGHT, Process, working

ROUNDS = 50
SIZE = 5_000
CACHED = 1_000
PAGE = 100
AT_ONCE = 100
PAUSE_LIMIT = 900.0


@dataclass
class Waiting:
    """What so many runs that wait took."""

    runs: int
    seconds: float
    """Until all of them waited."""
    bytes_before: int
    bytes_after: int
    list_ms: list[float]
    """Of a first page of the list over all runs, its rows read from their memos."""
    rows: int


_held: dict[tuple[int, int], Waiting] = {}


async def hold(rounds: int, size: int) -> Waiting:
    """Return what `size` waiting runs took, with `rounds` first pages listed of them."""
    if (rounds, size) not in _held:
        async with (
            embedded() as client,
            working(client.service_client.config.target_host) as worker,
        ):
            hitl = HitlClient(client, task_queue=QUEUE)
            _held[rounds, size] = await _hold(hitl, worker, rounds, size)
    return _held[rounds, size]


async def _hold(client: HitlClient, worker: Process, rounds: int, size: int) -> Waiting:
    async def warm(number: int) -> None:
        run = await client.start(STRAIGHT, "rows", run_id=new_id("warm"))
        await client.handle(run).result()

    async def start(number: int) -> None:
        await client.start("release", "rows", run_id=new_id("waits"))

    # Threads, imports and pools are there before the first run that is counted.
    await in_turn(min(AT_ONCE, size), warm)
    before = await worker.resident_bytes()
    print(f"starts {size:,} runs, some 40 a second ...", file=sys.stderr, flush=True)
    began = time.perf_counter()
    await in_turn(size, start)
    await asyncio.wait_for(_all_wait(client, size), PAUSE_LIMIT)
    seconds = time.perf_counter() - began
    after = await worker.resident_bytes()
    pages = [await _page(client) for _ in range(rounds + 1)][1:]
    return Waiting(
        runs=size,
        seconds=round(seconds, 1),
        bytes_before=before,
        bytes_after=after,
        list_ms=[ms for ms, _ in pages],
        rows=min(rows for _, rows in pages),
    )


async def in_turn(count: int, act: Callable[[int], Awaitable[None]]) -> None:
    """Act `count` times, `AT_ONCE` at a time."""
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await act(number)

    await asyncio.gather(*(some() for _ in range(min(AT_ONCE, count))))


async def _all_wait(client: HitlClient, size: int) -> None:
    while (await client.client.count_workflows(PENDING_RUNS)).count < size:
        await asyncio.sleep(0.2)


async def _page(client: HitlClient) -> tuple[float, int]:
    rows, began = 0, time.perf_counter()
    async for _ in client.list_requirements():
        rows += 1
        if rows == PAGE:
            break
    return (time.perf_counter() - began) * 1000, rows
