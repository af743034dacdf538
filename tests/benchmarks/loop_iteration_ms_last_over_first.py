"""The time of a Loop's last iterations over that of its first ones: 1 where no iteration pays for
those before it.

A Loop of 2,000 iterations of one small step; compared are a twentieth of them at its end and as
many at its start, by the instants at which the step begins, once a short run has warmed everything
up. The machine may be slower now than it was a minute ago, so a fresh run of as many iterations
follows each long one at once: `over_a_fresh_run` in the detail is the last iterations over these.
`cpu_ms` is what this process, client and worker, spent on an iteration. The run continues as new on
its way, where the server suggests it.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from temporalio.worker import Worker

from temporal_hitl import HitlClient, HitlPlugin, Loop, Step, StepInput, Workflow
from tests.benchmarks.figure import Figure, quartiles
from tests.benchmarks.server import embedded, histories, new_id

ROUNDS = 5
SIZE = 2_000
RUN_LIMIT = 600.0
QUEUE = "loop"
_TEXT = "a few hundred bytes of text " * 10


@dataclass
class Clock:
    """When a run's iterations began, and what the process had spent by then, in seconds."""

    times: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    def strike(self, step_input: StepInput) -> dict[str, Any]:
        """Note the instant; the one step of each iteration."""
        self.times.append((time.perf_counter(), time.process_time()))
        return {"iteration": step_input.iteration, "text": _TEXT}


@dataclass(frozen=True)
class Pace:
    """How long an iteration took, on average, and how much CPU time client and worker spent."""

    ms: float
    cpu_ms: float


def _pace(times: Sequence[tuple[float, float]]) -> Pace:
    (began, cpu_began), (ended, cpu_ended) = times[0], times[-1]
    each = 1000 / (len(times) - 1)
    return Pace((ended - began) * each, (cpu_ended - cpu_began) * each)


@dataclass(frozen=True)
class Round:
    """A long run, and the short one that followed it."""

    first: Pace
    last: Pace
    fresh: Pace
    executions: int
    seconds: float


async def measure(rounds: int, size: int = SIZE) -> Figure:
    """Return the ratio after `rounds` Loops of `size` iterations."""
    clock, some = Clock(), max(size // 20, 2)
    definitions = [_loop("long", size, clock), _loop("short", some + 1, clock)]
    async with embedded() as client:
        plugin = HitlPlugin(workflows=definitions)
        async with Worker(client, task_queue=QUEUE, plugins=[plugin]):
            hitl = HitlClient(client, task_queue=QUEUE)
            await _run(hitl, "short", clock)
            held = [await _round(hitl, clock, some) for _ in range(rounds)]
    return _figure(held, some, size)


def _loop(name: str, iterations: int, clock: Clock) -> Workflow:
    return Workflow(name, [Loop([Step("strike", clock.strike)], "turn", max_iterations=iterations)])


async def _round(client: HitlClient, clock: Clock, some: int) -> Round:
    run, times = await _run(client, "long", clock)
    _, fresh = await _run(client, "short", clock)
    return Round(
        first=_pace(times[: some + 1]),
        last=_pace(times[-some - 1 :]),
        fresh=_pace(fresh),
        executions=len(await histories(client.client, run)),
        seconds=times[-1][0] - times[0][0],
    )


async def _run(
    client: HitlClient, name: str, clock: Clock
) -> tuple[str, list[tuple[float, float]]]:
    clock.times.clear()
    run = await client.start(name, run_id=new_id(name))
    await asyncio.wait_for(client.handle(run).result(), RUN_LIMIT)
    return run, list(clock.times)


def _figure(held: Sequence[Round], some: int, size: int) -> Figure:
    ratios = [each.last.ms / each.first.ms for each in held]
    detail = {
        "aim": 1.1,
        "rounds": len(held),
        "iterations": size,
        "compared_iterations": some,
        "executions": sorted({each.executions for each in held}),
        "ratio_quartiles": quartiles(ratios),
        "over_a_fresh_run": quartiles([each.last.ms / each.fresh.ms for each in held]),
        "cpu_ratio_quartiles": quartiles([each.last.cpu_ms / each.first.cpu_ms for each in held]),
        "ms_p50": {part: _median(held, part, "ms") for part in _PARTS},
        "cpu_ms_p50": {part: _median(held, part, "cpu_ms") for part in _PARTS},
        "run_seconds": quartiles([each.seconds for each in held]),
    }
    name = "loop_iteration_ms_last_over_first"
    return Figure(name, round(statistics.median(ratios), 3), "ratio", detail)


_PARTS = ("first", "last", "fresh")


def _median(held: Sequence[Round], part: str, of: str) -> float:
    return round(statistics.median(getattr(getattr(each, part), of) for each in held), 2)
