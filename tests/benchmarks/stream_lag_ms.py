"""Milliseconds from the end of a step to its event in a subscriber.

From the last line of a step's executor until `StepCompleted` is yielded, over every step of a chain
of steps that do nothing, client and worker in one process, on an embedded server in memory. The
value is the median of a subscriber that is alone; where two subscribe to one run stands beside it.
"""

from __future__ import annotations

import asyncio
import statistics
import time

from temporalio.worker import Worker

from temporal_hitl import HitlClient, HitlPlugin, Step, StepInput, Workflow
from temporal_hitl.stream_events import StepCompletedEvent
from tests.benchmarks.contest import QUEUE
from tests.benchmarks.figure import Figure, quartiles
from tests.benchmarks.server import embedded, new_id

__all__ = ["ROUNDS", "measure"]

ROUNDS = 20
STEPS = 20
WARM_UP = 2
WATCHERS = 2
LAP_LIMIT = 60.0

_ended: dict[int, float] = {}


def _work(step_input: StepInput) -> int:
    number = (step_input.previous_step_content or 0) + 1
    _ended[number] = time.perf_counter()
    return number


async def measure(rounds: int) -> Figure:
    """Return the lag, over `rounds` runs with one subscriber and as many with several."""
    names = [f"step_{number}" for number in range(STEPS)]
    chain = Workflow("chain", [Step(name, _work) for name in names])
    plugin = HitlPlugin(workflows=[chain])
    async with embedded() as client, Worker(client, task_queue=QUEUE, plugins=[plugin]):
        hitl = HitlClient(client, task_queue=QUEUE)
        await _laps(hitl, min(WARM_UP, rounds), 1)
        alone = await _laps(hitl, rounds, 1)
        several = await _laps(hitl, rounds, WATCHERS)
    detail = {
        "aim": 25,
        "rounds": rounds,
        "events": len(alone),
        "p99": _p99(alone),
        "ms_quartiles": quartiles(alone),
        "of_two_subscribers": {"p99": _p99(several), "ms_quartiles": quartiles(several)},
    }
    return Figure("stream_lag_ms", round(statistics.median(alone), 1), "milliseconds", detail)


async def _laps(client: HitlClient, rounds: int, watchers: int) -> list[float]:
    lags = list[float]()
    for _ in range(rounds):
        run = await client.start("chain", run_id=new_id("chain"))
        watching = [_lags(client, run) for _ in range(watchers)]
        for each in await asyncio.wait_for(asyncio.gather(*watching), LAP_LIMIT):
            lags += each
    return lags


async def _lags(client: HitlClient, run: str) -> list[float]:
    lags = list[float]()
    async for event in client.watch(run):
        if isinstance(event, StepCompletedEvent):
            lags.append((time.perf_counter() - _ended[event.content]) * 1000)
    assert len(lags) == STEPS, "a subscriber is told of every step"
    return lags


def _p99(values: list[float]) -> float:
    return round(sorted(values)[int(len(values) * 0.99)], 1)
