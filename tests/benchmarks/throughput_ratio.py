"""Runs per second of a pipeline of three steps, over those of the same job written by hand.

Nobody is asked. A hundred runs are on their way at a time, on one worker in a process of its own;
the sides take turns, the first place moving on, and each ratio is of two turns of one round. The
value is the median. `worker_cpu_ms_per_run` is what the worker's process spent on a run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from temporalio.client import Client

from temporal_hitl import HitlClient
from tests.benchmarks import by_hand
from tests.benchmarks.contest import QUEUE
from tests.benchmarks.figure import Figure, quartiles
from tests.benchmarks.paused import AT_ONCE, in_turn
from tests.benchmarks.server import embedded, measures, new_id
from tests.benchmarks.worker import BY_HAND_QUEUE, STRAIGHT, Process, working

ROUNDS = 9
SIZE = 300
TURN_LIMIT = 300.0
PIPELINE, BY_HAND = "pipeline", "by_hand"
RIVALS: dict[str, Any] = {
    BY_HAND: by_hand.Straight,
    "by_hand_unsandboxed": by_hand.UnsandboxedStraight,
}

Run = Callable[[str], Awaitable[Any]]


class Turn(NamedTuple):
    """What so many runs of one side took."""

    per_second: float
    worker_cpu_ms: float


async def measure(rounds: int, size: int = SIZE) -> Figure:
    """Return the ratio after `rounds` rounds of `size` runs of each side."""
    async with embedded() as client, working(client.service_client.config.target_host) as worker:
        sides = list(_sides(client).items())
        turns: dict[str, list[Turn]] = {name: [] for name, _ in sides}
        for number in range(-1, rounds):  # The first one warms up.
            shift = number % len(sides)
            for name, run in sides[shift:] + sides[:shift]:
                turn = await asyncio.wait_for(_turn(name, run, worker, size), TURN_LIMIT)
                turns[name] += [turn] if number >= 0 else []
        lengths = {name: await _length(client, name, run) for name, run in sides}
    return _figure(turns, size, lengths)


def _sides(client: Client) -> dict[str, Run]:
    hitl = HitlClient(client, task_queue=QUEUE)

    async def pipeline(run_id: str) -> Any:
        run = await hitl.start(STRAIGHT, "rows", run_id=run_id)
        return await hitl.handle(run).result()

    return {PIPELINE: pipeline} | {name: _rival(client, each) for name, each in RIVALS.items()}


def _rival(client: Client, rival: Any) -> Run:
    async def run(run_id: str) -> Any:
        return await client.execute_workflow(rival.run, "rows", id=run_id, task_queue=BY_HAND_QUEUE)

    return run


async def _turn(name: str, run: Run, worker: Process, size: int) -> Turn:
    async def act(_: int) -> None:
        await run(new_id(name))

    began, cpu = time.perf_counter(), worker.cpu_seconds()
    await in_turn(size, act)
    seconds = time.perf_counter() - began
    return Turn(size / seconds, (worker.cpu_seconds() - cpu) * 1000 / size)


async def _length(client: Client, name: str, run: Run) -> dict[str, int]:
    run_id = new_id(name)
    await run(run_id)
    return measures(await client.get_workflow_handle(run_id).fetch_history())


def _figure(turns: dict[str, list[Turn]], size: int, lengths: dict[str, dict[str, int]]) -> Figure:
    ratios = {
        rival: quartiles(
            [
                ours.per_second / theirs.per_second
                for ours, theirs in zip(turns[PIPELINE], turns[rival], strict=True)
            ]
        )
        for rival in RIVALS
    }
    detail = {
        "aim": 0.9,
        "rounds": len(turns[PIPELINE]),
        "runs_per_turn": size,
        "at_once": AT_ONCE,
        "ratio_quartiles_to": ratios,
        "runs_per_second": {
            name: quartiles([each.per_second for each in of]) for name, of in turns.items()
        },
        "worker_cpu_ms_per_run": {
            name: quartiles([each.worker_cpu_ms for each in of]) for name, of in turns.items()
        },
        "history": lengths,
    }
    return Figure("throughput_ratio", ratios[BY_HAND][1], "ratio", detail)
