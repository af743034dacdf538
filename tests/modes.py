"""Many small pipelines, played at once on one worker: each runs, is answered as its case says, and
replays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Answer,
    Edit,
    HitlClient,
    Reject,
    RunOptions,
    Select,
    Step,
    StepInput,
    Workflow,
    WorkflowRunOutput,
)
from temporal_hitl.primitives import NodeLike
from tests.stage import WAIT, replays, serving

How = Callable[..., Any]
"""Makes a resolution of one requirement, whose id it is given: `Confirm`, `edit("new")`, ..."""


def edit(output: Any) -> How:
    return partial(Edit, output=output)


def reject(feedback: str) -> How:
    return partial(Reject, feedback=feedback)


def answer(**values: Any) -> How:
    return partial(Answer, values=values)


def select(*choices: str) -> How:
    return partial(Select, choices=choices)


@dataclass
class Case:
    """A pipeline, and the answers to what it asks, one after the other."""

    steps: Sequence[NodeLike]
    answers: Sequence[How] = ()
    expected: Any = None
    input: Any = "in"
    options: RunOptions | None = None


@dataclass
class Played:
    """What a run asked, in order, and how it ended."""

    asked: list[Any]
    output: WorkflowRunOutput
    activities: list[str]
    """The ids of the activities that it scheduled, in order."""

    @property
    def ids(self) -> list[str]:
        return [each.id for each in self.asked]

    @property
    def kinds(self) -> list[str]:
        return [each.kind for each in self.asked]

    @property
    def results(self) -> dict[str | None, Any]:
        """The contents of the top-level nodes, by name."""
        return {each.step_name: each.content for each in self.output.step_results}

    @property
    def events(self) -> list[str]:
        return [f"{each.event} {each.path}" for each in self.output.events]


async def played(env: WorkflowEnvironment, cases: Mapping[str, Case]) -> dict[str, Played]:
    """Run each case to its end, and return what was seen of it."""
    definitions = {name: Workflow(name, case.steps) for name, case in cases.items()}
    async with serving(env, *definitions.values()) as client:
        seen = await asyncio.gather(
            *(play(client, definitions[name], case) for name, case in cases.items())
        )
    return dict(zip(cases, seen, strict=True))


async def play(client: HitlClient, definition: Workflow, case: Case) -> Played:
    """Run one case: each answer is to the one requirement that is open then."""
    run = await client.start(definition, case.input, options=case.options)
    asked: list[Any] = []
    for how in case.answers:
        output = await client.wait(run, timeout=WAIT)
        assert len(output.requirements) == 1, f"{definition.name}: {output!r}"
        asked += output.requirements
        await client.resolve(run, how(requirement_id=asked[-1].id))
    output = await client.wait(run, timeout=WAIT)
    assert output.has_ended, f"{definition.name} still asks: {output.requirements}"
    await replays(client.handle(run), definition)
    return Played(asked, output, await scheduled(client, run))


async def scheduled(client: HitlClient, run: str) -> list[str]:
    """Return the ids of the activities that a run scheduled, in order."""
    events = (await client.handle(run).fetch_history()).events
    each = [event.activity_task_scheduled_event_attributes.activity_id for event in events]
    return [activity_id for activity_id in each if activity_id]


def before() -> str:
    return "before"


def draft(step_input: StepInput) -> str:
    """Write `draft`, and whatever is asked for with a rejection behind what was rejected."""
    said = step_input.additional_data
    if "previous_output" not in said:
        return "draft"
    return f"{said['previous_output']}, {said.get('rejection_feedback', 'again')}"


def after(step_input: StepInput) -> list[Any]:
    """Tell what came before."""
    return [step_input.previous_step_content]


BEFORE, AFTER = Step("before", before), Step("after", after)
