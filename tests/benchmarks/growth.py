"""The runs behind the two figures of growth: steps in sequence, each with an output of 10 KB.

Each step reads the output before its own and the first one. The outputs are text that does not
compress, another one per step. Counted are the bytes of all events of all executions of the run, as
the server gives them; values of more than 256 KiB, as the result of such a run, stand in a folder
beside the server, and are told as well.
"""

from __future__ import annotations

import asyncio
import random
import string
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.worker import Worker

from temporal_hitl import HitlClient, HitlPlugin, Step, StepInput, Workflow
from tests.benchmarks.server import embedded, histories, measures, new_id

ROUNDS = 1
SIZE = 100
OUTPUT = 10_000
RUN_LIMIT = 300.0
QUEUE = "growth"


@dataclass
class Grown:
    """What the history of one run came to."""

    steps: int
    bytes: int
    events: int
    executions: int
    seconds: float
    bytes_by_event: dict[str, int]
    """Of the three kinds of event that took most."""
    result_bytes: int
    """Of the event that ends the run: with the outputs, those that fit or are stored elsewhere."""

    @property
    def ratio(self) -> float:
        """The bytes of history over those of the outputs."""
        return round(self.bytes / (self.steps * OUTPUT), 3)

    def told(self) -> dict[str, Any]:
        """Return all of it as data."""
        return asdict(self) | {"bytes_ratio": self.ratio}


def text(number: int) -> str:
    """Return the output of a step: letters and digits at random, the same each time."""
    letters = string.ascii_letters + string.digits
    return "".join(random.Random(number).choices(letters, k=OUTPUT))


def _step(number: int) -> Callable[[StepInput], str]:
    def execute(step_input: StepInput) -> str:
        if number > 1:
            assert text(number - 1) == step_input.previous_step_content
            assert text(1) == step_input.get_step_content("s1")
        return text(number)

    return execute


def pipeline(steps: int) -> Workflow:
    """Return the pipeline of so many steps."""
    every = range(1, steps + 1)
    return Workflow(f"growth_{steps}", [Step(f"s{number}", _step(number)) for number in every])


_held: dict[tuple[int, int], list[tuple[Grown, Grown]]] = {}


async def hold(rounds: int, size: int) -> list[tuple[Grown, Grown]]:
    """Return what a run of `size` steps and one of twice as many grew to, once per round."""
    if (rounds, size) not in _held:
        _held[rounds, size] = await _hold(rounds, size)
    return _held[rounds, size]


async def _hold(rounds: int, size: int) -> list[tuple[Grown, Grown]]:
    short, long = pipeline(size), pipeline(2 * size)
    async with embedded() as client:
        plugin = HitlPlugin(workflows=[short, long])
        async with Worker(client, task_queue=QUEUE, plugins=[plugin]):
            hitl = HitlClient(client, task_queue=QUEUE)
            return [(await _grown(hitl, short), await _grown(hitl, long)) for _ in range(rounds)]


async def _grown(client: HitlClient, definition: Workflow) -> Grown:
    began = time.perf_counter()
    run = await client.start(definition, "seed", run_id=new_id(definition.name))
    output = await asyncio.wait_for(client.wait_for_end(run), RUN_LIMIT)
    seconds = time.perf_counter() - began
    failed = [each.error for each in output.failed_steps]
    assert output.content == text(len(definition.steps)), f"{output.status}: {failed[:1]}"
    found = await histories(client.client, run)
    lengths = [measures(each) for each in found]
    return Grown(
        steps=len(definition.steps),
        bytes=sum(each["bytes"] for each in lengths),
        events=sum(each["events"] for each in lengths),
        executions=len(found),
        seconds=round(seconds, 1),
        bytes_by_event=_by_event(found),
        result_bytes=found[-1].events[-1].ByteSize(),
    )


def _by_event(found: Sequence[WorkflowHistory]) -> dict[str, int]:
    taken: Counter[str] = Counter()
    for event in (event for history in found for event in history.events):
        taken[EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")] += event.ByteSize()
    return dict(taken.most_common(3))
