"""The contest behind the figures of one pause: one pipeline, and the same job written by hand.

All sides run in turn, in one process, on one embedded server and one worker, round by round and
with the first place moving on. All instants are seen in the same way for all: a run is paused once
its deadline's timer is in the history (long poll), its next step begins with the first line of the
function `redact`, which all of them run, and it is done once `handle.result()` returns.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.worker import Worker

from temporal_hitl import Confirm, HitlClient, HitlPlugin, Step, StepInput, Workflow
from tests.benchmarks import by_hand, job
from tests.benchmarks.figure import Figure, quartiles
from tests.benchmarks.server import Handle, embedded, measures, new_id

ROUNDS = 80
WARM_UP = 8
LAP_LIMIT = 60.0
QUEUE = "bench"
PIPELINE, BY_HAND = "pipeline", "by_hand"
RIVALS = {
    BY_HAND: by_hand.ByHand,
    "by_hand_unsandboxed": by_hand.Unsandboxed,
    "by_hand_unsandboxed_with_memo_and_attributes": by_hand.WithInbox,
}


def _load(step_input: StepInput) -> Any:
    return job.load(step_input.input)


def _redact(step_input: StepInput) -> Any:
    return job.redact(step_input.previous_step_content)


def _save(step_input: StepInput) -> Any:
    return job.save(step_input.previous_step_content)


def steps(**gate: Any) -> list[Step]:
    """Return the job as steps, the second one with a gate where there is one."""
    return [Step("load", _load), Step("redact", _redact, **gate), Step("save", _save)]


def pipeline() -> Workflow:
    """Return the job as a pipeline."""
    gated = steps(
        requires_confirmation=True,
        confirmation_message="Redact the names?",
        hitl_timeout=by_hand.DEADLINE,
    )
    return Workflow("release", gated)


class Side(NamedTuple):
    """One of those compared: how its runs start, and how they are answered."""

    start: Callable[[str], Awaitable[Handle]]
    confirm: Callable[[Handle], Awaitable[Any]]


class Span(NamedTuple):
    """How long something took, and how much CPU time client and worker spent on it."""

    ms: float
    cpu_ms: float


@dataclass
class Laps:
    """What was measured of one side."""

    start_to_paused: list[Span] = field(default_factory=list[Span])
    resolve_to_next_step: list[Span] = field(default_factory=list[Span])
    resolve_to_done: list[Span] = field(default_factory=list[Span])
    history: dict[str, int] = field(default_factory=dict[str, int])


@asynccontextmanager
async def stage() -> AsyncIterator[HitlClient]:
    """Serve the pipeline and its rivals on an embedded server in memory."""
    async with embedded() as client:
        with ThreadPoolExecutor(20) as threads:
            async with Worker(
                client,
                task_queue=QUEUE,
                workflows=list(RIVALS.values()),
                activities=[job.load, job.redact, job.save],
                activity_executor=threads,
                plugins=[HitlPlugin(workflows=[pipeline()])],
            ):
                yield HitlClient(client, task_queue=QUEUE)


def _sides(client: HitlClient) -> dict[str, Side]:
    async def start(run_id: str) -> Handle:
        return client.handle(await client.start("release", "rows", run_id=run_id))

    async def confirm(handle: Handle) -> Any:
        return await client.resolve(handle.id, Confirm(requirement_id="redact", resolved_by="ana"))

    sides = {name: _rival(client.client, rival) for name, rival in RIVALS.items()}
    return {PIPELINE: Side(start, confirm)} | sides


def _rival(client: Client, rival: type) -> Side:
    async def start(run_id: str) -> Handle:
        return await client.start_workflow(rival.__name__, "rows", id=run_id, task_queue=QUEUE)

    async def confirm(handle: Handle) -> Any:
        decision = by_hand.Decision(approved=True, by="ana")
        return await handle.execute_update("resolve", decision, result_type=by_hand.Decision)

    return Side(start, confirm)


_held: dict[int, dict[str, Laps]] = {}


async def hold(rounds: int) -> dict[str, Laps]:
    """Return what `rounds` rounds took, by side; held once for all figures."""
    if rounds in _held:
        return _held[rounds]
    async with stage() as client:
        sides = list(_sides(client).items())
        laps = {name: Laps() for name, _ in sides}
        for turn in range(-min(WARM_UP, rounds), rounds):
            shift = turn % len(sides)
            for name, side in sides[shift:] + sides[:shift]:
                kept = laps[name] if turn >= 0 else Laps()
                last = await asyncio.wait_for(_lap(name, side, kept), LAP_LIMIT)
                if turn == rounds - 1:
                    kept.history = measures(await last.fetch_history())
    _held[rounds] = laps
    return laps


async def _lap(name: str, side: Side, laps: Laps) -> Handle:
    run_id = new_id(name)
    job.redacting.clear()
    began = job.now()
    handle = await side.start(run_id)
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED:
            break
    laps.start_to_paused.append(_between(began, job.now()))
    began = job.now()
    await side.confirm(handle)
    await handle.result()
    laps.resolve_to_done.append(_between(began, job.now()))
    (redacting,) = job.redacting
    laps.resolve_to_next_step.append(_between(began, redacting))
    return handle


def _between(began: tuple[float, float], ended: tuple[float, float]) -> Span:
    return Span((ended[0] - began[0]) * 1000, (ended[1] - began[1]) * 1000)


async def overhead(phase: str, rounds: int) -> Figure:
    """Return the figure `overhead_PHASE`; see `ratio`."""
    return await ratio(f"overhead_{phase}", phase, rounds)


async def ratio(figure: str, phase: str, rounds: int) -> Figure:
    """Return the figure of one phase: the pipeline's p50 over that of the ordinary class."""
    laps = await hold(rounds)
    spans = spans_of(laps, phase)
    medians = {name: statistics.median(each.ms for each in of) for name, of in spans.items()}
    ratios = {name: round(medians[PIPELINE] / medians[name], 3) for name in RIVALS}
    detail = {
        "aim": 1.15,
        "rounds": rounds,
        "p50_ratio_to": ratios,
        "ms_quartiles": {name: quartiles([e.ms for e in of]) for name, of in spans.items()},
        "cpu_ms_p50": {
            name: round(statistics.median(each.cpu_ms for each in of), 1)
            for name, of in spans.items()
        },
        "history": {name: each.history for name, each in laps.items()},
    }
    return Figure(figure, ratios[BY_HAND], "ratio", detail)


def spans_of(laps: dict[str, Laps], phase: str) -> dict[str, list[Span]]:
    """Return what one phase took, by side."""
    return {name: getattr(each, phase) for name, each in laps.items()}
