"""Any tree of steps means on the server what a page of plain Python says it means.

`tests/model` draws trees that ask in every mode, says how people answer, and what comes of it. Each
tree runs on the real server, is answered, replayed, and compared.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import Phase, given
from hypothesis import strategies as st
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import HitlClient, RunOptions, StepOutput, WorkflowRunOutput
from temporal_hitl.requirements import AnyRequirement
from tests.model.examples import (
    AFFORDABLE,
    BEFORE,
    DATA,
    EVERYTHING,
    INPUT,
    chosen,
    examples,
    joined,
    meant,
    trees,
)
from tests.model.people import WAITS, Asked, answer, way
from tests.model.pipelines import WEEK, Pipeline
from tests.model.semantics import Model
from tests.model.trees import Tree, walk
from tests.stage import WAIT, replay_all, serving

A_WEEK = timedelta(seconds=WEEK + 5)


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
        "error": each.error is not None,
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
    return run | {
        part: sorted(run[part], key=lambda each: each[:2])
        for part in ("asked", "decided", "events")
    }


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
            still = await self.still()
            output = await self.client.wait(self.run, timeout=WAIT)
            if output.has_ended:
                return output
            self.look(output.requirements)
            waiting = [each for each in output.requirements if each.id not in self.sent]
            answerable = [each for each in waiting if self.way(each) != WAITS]
            if answerable:
                await self.answer(answerable[-1 if self.backwards else 0])
            elif still is not None and still == await self.still():
                await env.fast_forward(self.client.handle(self.run), A_WEEK)
            else:
                await asyncio.sleep(0.01)
        raise AssertionError(f"the run asks and asks: {self.shown[-5:]}")

    async def still(self) -> tuple[str, int] | None:
        """Return where the run stands still: nothing is at work or about to be."""
        about = (await self.client.handle(self.run).describe()).raw_description
        if about.pending_activities or about.HasField("pending_workflow_task"):
            return None
        info = about.workflow_execution_info
        return info.execution.run_id, info.history_length

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
    expected = model.run(tree, INPUT, dict(BEFORE), DATA)
    pipeline = Pipeline().of(tree)
    options = RunOptions(session_state=BEFORE, additional_data=DATA)
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline, INPUT, options=options)
        people = People(client, run, tree, backwards)
        output = await people.answer_all(env)
        await replay_all(env, run, pipeline)

    came = told(output, people.shown)
    assert in_order(expected, tree) == in_order(came, tree), f"the tree is {tree}"
    kept = [(each.path, each.content) for each in output.walk()]
    assert model.rejected is None or model.rejected in kept


def test_the_fixed_examples_show_everything() -> None:
    """Every mode, answer and deadline, and whatever people try, is among the trees that are the
    same each time.
    """
    shown = {mark for tree in chosen() for mark in getattr(meant(tree), "marks", ())}

    assert set() == EVERYTHING - shown


async def test_every_mode_means_what_the_model_says(env: WorkflowEnvironment) -> None:
    """Status, contents, outputs, state, questions, decisions and events are the model's, whatever
    people do.
    """
    for turn, tree in enumerate(chosen()):
        await compare(env, tree, backwards=turn % 2 == 0)


@given(tree=trees(least=8), backwards=st.booleans())
@examples(4)
@pytest.mark.slow
async def test_any_tree_means_what_the_model_says(
    env: WorkflowEnvironment, tree: Tree, backwards: bool
) -> None:
    """The same holds for any tree, in any order of answers."""
    await compare(env, tree, backwards)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@given(tree=trees(), backwards=st.booleans())
@examples(200, Phase.shrink)
async def test_many_trees_mean_what_the_model_says(
    env: WorkflowEnvironment, tree: Tree, backwards: bool
) -> None:
    """The same for as many trees as patience allows, other ones each time."""
    await compare(env, tree, backwards)


@pytest.mark.slow
async def test_every_mode_means_the_same_in_short_executions(short: WorkflowEnvironment) -> None:
    """Everything means what the model says however often its run continues as new."""
    for turn, tree in enumerate(joined(chosen(), least=25)):
        await compare(short, tree, backwards=turn % 2 == 0)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@given(tree=trees(least=15), backwards=st.booleans())
@examples(120, Phase.shrink)
async def test_many_trees_mean_the_same_in_short_executions(
    short: WorkflowEnvironment, tree: Tree, backwards: bool
) -> None:
    """The same for as many trees as patience allows, other ones each time."""
    await compare(short, tree, backwards)
