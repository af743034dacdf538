"""Any tree of steps means on the server what a page of plain Python says it means.

`tests/model` draws trees that ask in every mode, says how people answer, and what comes of it. Each
tree runs on the real server, is answered, replayed, and compared.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck
from hypothesis import strategies as st
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import HitlClient, RunOptions, StepOutput, WorkflowRunOutput
from temporal_hitl.requirements import AnyRequirement
from tests.model.people import WAITS, Asked, answer, way
from tests.model.pipelines import WEEK, Pipeline, State
from tests.model.questions import TooMuch
from tests.model.semantics import Model
from tests.model.trees import TREES, Tree, walk
from tests.stage import WAIT, replay_all, serving

BEFORE: State = {"k": 0}
DATA = {"caller": "c"}
A_WEEK = timedelta(seconds=WEEK + 5)
AFFORDABLE = 40
"""About how many activities and questions a tree may have."""


# A run in the model's words


def told(output: WorkflowRunOutput, asked: list[Any]) -> dict[str, Any]:
    """Return what can be seen of a run."""
    records = output.resolutions
    return {
        "status": output.status.value,
        "content": output.content,
        "results": [one(each) for each in output.step_results],
        "state": output.session_state,
        "asked": asked,
        "decided": [(each.requirement_id, each.kind, each.action, each.door) for each in records],
        "events": [event(each) for each in output.events],
        "refused": len(output.refused),
    }


def one(each: StepOutput) -> dict[str, Any]:
    return {
        "name": each.step_name,
        "path": each.path,
        "type": each.step_type,
        "content": each.content,
        "success": each.success,
        "stop": each.stop,
        "edited": each.edited,
        "steps": [one(child) for child in each.steps] if each.steps else None,
    }


def event(each: Any) -> tuple[str, ...]:
    more = (each.key, each.kept) if each.event == "state_conflict" else ()
    return (each.event, each.path, *more)


def shown(asked: Any) -> dict[str, Any]:
    """Return what a requirement shows a person."""
    match asked.kind:
        case "user_input":
            form = asked.form
            return {
                "fields": list(form.get("properties", {})),
                "required": form.get("required", []),
            }
        case "route":
            return {"choices": asked.choices, "several": asked.allow_multiple}
        case "output_review":
            limits = {"retries": asked.retries, "limit": asked.retries_limit}
            return {"output": asked.output, "error": asked.error is not None, **limits}
        case "iteration_review":
            rounds = {"iteration": asked.iteration, "of": asked.max_iterations}
            return {"output": asked.output, **rounds}
        case "error":
            limits = {"retries": asked.retries, "limit": asked.retries_limit}
            return {"attempts": asked.attempts, "message": asked.error_message, **limits}
        case _:
            return {}


def in_order(run: dict[str, Any], tree: Tree) -> dict[str, Any]:
    """Return a run with what branches of a Parallel leave undetermined in one order."""
    if not any(node.kind == "Parallel" for node in walk(tree)):
        return run
    told_first = {"key": lambda each: each[:2]}
    return run | {key: sorted(run[key], **told_first) for key in ("asked", "decided", "events")}


# The two side by side


class People:
    """Answers a run until it has ended, and remembers what it asked."""

    def __init__(self, client: HitlClient, run: str, tree: Tree, backwards: bool) -> None:
        self.client, self.run, self.backwards = client, run, backwards
        self.nodes = {node.name: node for node in walk(tree)}
        self.counts: Counter[str] = Counter()
        self.seen: dict[str, Asked] = {}
        self.shown: list[Any] = []
        self.sent: set[str] = set()

    async def answer_all(self, env: WorkflowEnvironment) -> WorkflowRunOutput:
        """Answer what is open, first or last first; let time pass where nobody answers."""
        for _ in range(AFFORDABLE * 50):
            output = await self.client.wait(self.run, timeout=WAIT)
            if output.has_ended:
                return output
            self.look(output.requirements)
            waiting = [each for each in output.requirements if each.id not in self.sent]
            answerable = [each for each in waiting if self.way(each) != WAITS]
            if answerable:
                await self.answer(answerable[-1 if self.backwards else 0])
            elif output.running or len(waiting) < len(output.requirements):
                await asyncio.sleep(0.01)
            else:
                await env.fast_forward(self.client.handle(self.run), A_WEEK)
        raise AssertionError(f"the run asks and asks: {self.shown[-5:]}")

    def look(self, requirements: list[AnyRequirement]) -> None:
        for each in requirements:
            if each.id not in self.seen:
                retries = getattr(each, "retries", 0)
                self.seen[each.id] = Asked(each.kind, self.counts[each.name], retries)
                self.counts[each.name] += 1
                self.shown.append((each.id, each.kind, shown(each)))

    def way(self, requirement: AnyRequirement) -> str:
        return way(self.nodes[requirement.name], self.seen[requirement.id]).action

    async def answer(self, requirement: AnyRequirement) -> None:
        self.sent.add(requirement.id)
        node, asked = self.nodes[requirement.name], self.seen[requirement.id]
        await answer(self.client, self.run, node, asked, requirement)


async def compare(env: WorkflowEnvironment, tree: Tree, backwards: bool) -> None:
    """Run a tree for real, and assert that it came to what the model says, and that it replays."""
    model = Model()
    expected = model.run(tree, "x", dict(BEFORE), DATA)
    pipeline = Pipeline().of(tree)
    options = RunOptions(session_state=BEFORE, additional_data=DATA)
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline, "x", options=options)
        people = People(client, run, tree, backwards)
        output = await people.answer_all(env)
        await replay_all(env, run, pipeline)

    assert in_order(expected, tree) == in_order(told(output, people.shown), tree)
    kept = [(each.path, each.content) for each in output.walk()]
    assert model.rejected is None or model.rejected in kept


# Which trees

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def meant(tree: Tree) -> Model | None:
    """Return what a tree means, if a test can afford it."""
    model = Model(affordable=AFFORDABLE)
    try:
        model.run(tree, "x", dict(BEFORE), DATA)
    except TooMuch:
        return None
    return model


def trees(least: int = 3) -> st.SearchStrategy[Tree]:
    """Return pipelines of about `least` activities and questions, or more."""
    return TREES.filter(lambda tree: (model := meant(tree)) is not None and least <= model.work)
