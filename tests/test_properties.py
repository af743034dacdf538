"""Any tree of steps means on the server what a page of plain Python says it means.

The model below was written from the seeds and the design, not from the interpreter. Hypothesis
makes
trees with gates, failures, early stops and state; each runs on the real server, is answered,
replayed, and compared.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Condition,
    Confirm,
    HitlClient,
    Loop,
    Parallel,
    Reject,
    Router,
    RunOptions,
    Step,
    StepInput,
    StepOutput,
    Steps,
    Workflow,
    WorkflowRunOutput,
)
from temporal_hitl.primitives import Node
from tests.stage import WAIT, replay_all, serving

GONE = "GONE"
State = dict[str, Any]

# What is generated: a tree as data


@dataclass(frozen=True)
class Leaf:
    """One step: what it does, what it writes, and how its gate, if it has one, is answered."""

    does: str
    writes: tuple[str, Any] | None
    gate: str | None
    name: str = ""


@dataclass(frozen=True)
class Box:
    """One container: its kind, its children, what its function says, and how its gate, if it has
    one, is answered.
    """

    kind: str
    children: tuple[Any, ...]
    other: tuple[Any, ...] = ()
    says: Any = None
    forwards: bool = False
    named: bool = True
    gate: str | None = None
    name: str = ""


def gates(kind: str, fatal: bool) -> st.SearchStrategy[str | None]:
    """Return how a gate is answered, most often as there is none."""
    answers = ["confirm", "reject", *(["cancel"] if fatal else [])]
    return st.sampled_from([None] * 5 + answers + (["else"] if kind == "Condition" else []))


def leaves(fatal: bool) -> st.SearchStrategy[Leaf]:
    """Return steps; only `fatal` ones may end the run, as beside running branches that would be a
    race.
    """
    ends = ["fatal"] if fatal else []
    return st.builds(
        Leaf,
        does=st.sampled_from(["works"] * 5 + ["fails", "says no", "gives nothing", "stops", *ends]),
        writes=st.none() | st.tuples(st.sampled_from("kl"), st.sampled_from([1, 2, None, GONE])),
        gate=gates("Step", fatal),
    )


KINDS = ["Step", "Step", "Steps", "Parallel", "Condition", "Loop", "Router"]
EVALUATORS = [True, False, "yes", "no", "broken"]
LOOP_ENDS = [None, 1, 2, True, False]


@st.composite
def nodes(draw: st.DrawFn, depth: int, fatal: bool = True) -> Any:
    """Make a tree of at most this depth."""
    kind = draw(st.sampled_from(KINDS if depth else KINDS[:1]))
    if kind == "Step":
        return draw(leaves(fatal))
    below = st.lists(nodes(depth - 1, fatal and kind != "Parallel"), min_size=1, max_size=3)
    gate = draw(gates(kind, fatal))
    # A gate is told by its node's name, so the node has one of its own.
    named = gate is not None or draw(st.booleans())
    box = Box(kind, tuple(draw(below)), named=named, gate=gate)
    match kind:
        case "Condition":
            other = draw(st.just([]) | below)
            return replace(box, other=tuple(other), says=draw(st.sampled_from(EVALUATORS)))
        case "Loop":
            ends = draw(st.sampled_from(LOOP_ENDS))
            return replace(box, says=ends, forwards=draw(st.booleans()))
        case "Router":
            return replace(box, says=tuple(draw(st.lists(st.integers(0, 2), max_size=3))))
        case _:
            return box


def renamed(tree: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the tree with a name of its own for each node; choices of a Router always have one."""
    numbers = iter(range(10_000))

    def one(node: Any, must: bool = False) -> Any:
        if isinstance(node, Leaf):
            return replace(node, name=f"s{next(numbers)}")
        name = f"{node.kind[0]}{next(numbers)}" if node.named or must else ""
        choices = node.kind == "Router"
        children = tuple(one(child, choices) for child in node.children)
        return replace(
            node, name=name, children=children, other=tuple(one(each) for each in node.other)
        )

    return tuple(one(node) for node in tree)


MAX_ITERATIONS = 2


def cost(nodes: tuple[Any, ...]) -> int:
    """Return about how many activities a tree needs."""
    return sum(
        1
        if isinstance(node, Leaf)
        else 1 + (cost(node.children) + cost(node.other)) * (2 if node.kind == "Loop" else 1)
        for node in nodes
    )


# The tree as a pipeline


def seen(input: Any, previous: Any, outputs: list[str], iteration: int | None, state: State) -> str:
    """Return a short text that differs with anything that a step is given."""
    given = json.dumps([input, previous, outputs, iteration, sorted(state.items())])
    return hashlib.sha256(given.encode()).hexdigest()[:8]


def executor(leaf: Leaf) -> Any:
    def execute(step_input: StepInput, session_state: State) -> Any:
        outputs = list(step_input.previous_step_outputs)
        text = seen(
            step_input.input,
            step_input.previous_step_content,
            outputs,
            step_input.iteration,
            session_state,
        )
        write(leaf, session_state)
        return result_of(leaf, text)

    return execute


def write(leaf: Leaf, state: State) -> None:
    if leaf.writes is not None:
        key, value = leaf.writes
        if value == GONE:
            state.pop(key, None)
        else:
            state[key] = value


def result_of(leaf: Leaf, text: str) -> Any:
    match leaf.does:
        case "fails" | "fatal":
            raise ValueError(text)
        case "says no":
            return StepOutput(content=text, success=False, error="no")
        case "gives nothing":
            return None
        case "stops":
            return StepOutput(content=text, stop=True)
        case _:
            return text


def step(leaf: Leaf) -> Step:
    return Step(
        leaf.name,
        executor(leaf),
        max_retries=0,
        on_error="fail" if leaf.does == "fatal" else "skip",
        **asks(leaf),
    )


def asks(node: Any) -> dict[str, Any]:
    if node.gate is None:
        return {}
    rejected = {"cancel": "cancel", "else": "else"}.get(node.gate, "skip")
    return {"requires_confirmation": True, "on_reject": rejected}


def pipeline_node(node: Any) -> Node:
    if isinstance(node, Leaf):
        return step(node)
    children = [pipeline_node(child) for child in node.children]
    name = node.name or None
    match node.kind:
        case "Steps":
            return Steps(name, steps=children, **asks(node))
        case "Parallel":
            return Parallel(*children, name=name, **asks(node))
        case "Condition":
            other = [pipeline_node(child) for child in node.other] or None
            return Condition(children, evaluator(node.says), other, name=name, **asks(node))
        case "Loop":
            return Loop(
                children,
                name=name,
                max_iterations=MAX_ITERATIONS,
                forward_iteration_output=node.forwards,
                **loop_end(node.says),
                **asks(node),
            )
        case _:
            return Router(children, selector(node), name=name, **asks(node))


def evaluator(says: Any) -> Any:
    if isinstance(says, bool):
        return says

    def evaluate(step_input: StepInput) -> bool:
        if says == "broken":
            raise ApplicationError("cannot tell", non_retryable=True)
        return says == "yes"

    return evaluate


def loop_end(says: Any) -> dict[str, Any]:
    if says is None:
        return {}
    if isinstance(says, bool):
        return {"end_condition": lambda outputs: says}
    return {"should_continue": lambda step_input, iteration: iteration < says}


def selector(node: Box) -> Any:
    names = picks(node)
    return lambda step_input: names


def picks(node: Box) -> list[str]:
    return [node.children[each % len(node.children)].name for each in node.says]


# What the tree means


class Cancelled(Exception):
    """The run ends cancelled."""


class Failed(Exception):
    """The run ends failed."""


@dataclass(frozen=True)
class Place:
    """What a node is given, and where it stands: with iterations in the run, without them in the
    plan.
    """

    path: str
    input: Any
    state: State
    previous: Any = None
    outputs: tuple[str, ...] = ()
    iteration: int | None = None
    planned: str = ""


@dataclass
class Model:
    """Says what a run of a tree comes to."""

    asked: Counter[str] = field(default_factory=Counter[str])
    ids: list[str] = field(default_factory=list[str])
    events: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    status: str = "COMPLETED"

    def run(self, tree: tuple[Any, ...], input: Any, state: State) -> dict[str, Any]:
        results: list[Any] = []
        try:
            self.sequence(tree, Place("", input, state), results)
        except Cancelled:
            self.status = "CANCELLED"
        except Failed:
            self.status = "ERROR"
        return {
            "status": self.status,
            "content": last_content(results),
            "results": results,
            "state": state,
            "ids": sorted(self.ids),
            "events": sorted(self.events),
        }

    def sequence(
        self, nodes: tuple[Any, ...], place: Place, results: list[Any], first: int = 1
    ) -> list[Any]:
        for position, node in enumerate(nodes, first):
            # A choice that is named again runs again, at a path of its own.
            turn = nodes[: position - first].count(node) + 1
            output = self.node(node, place, position, f"~{turn}" if turn > 1 else "")
            if output is None:
                continue
            results.append(output)
            names = [each for each in place.outputs if each != output["name"]]
            known = place.outputs if output["name"] in place.outputs else (*names, output["name"])
            place = replace(place, outputs=known)
            if produced(output):
                place = replace(place, previous=output["content"])
            if output["stop"]:
                break
        return results

    def node(self, node: Any, place: Place, position: int, again: str = "") -> Any:
        segment = node.name.lower() or f"{node.kind.lower()}_{position}"
        path, planned = (f"{up}.{segment}" if up else segment for up in (place.path, place.planned))
        path += again
        place = replace(place, path=path, planned=planned)
        if node.gate is not None:
            self.ask(place)
        if node.gate == "cancel":
            raise Cancelled
        if node.gate == "else" and node.other:
            return self.otherwise(node, place)
        if node.gate in ("reject", "else"):
            self.events.append(("node_skipped", place.path))
            return None
        if isinstance(node, Leaf):
            return self.leaf(node, place)
        return getattr(self, node.kind.lower())(node, place)

    def ask(self, place: Place) -> None:
        self.asked[place.path] += 1
        count = self.asked[place.path]
        self.ids.append(place.path if count == 1 else f"{place.path}~{count}")

    def leaf(self, leaf: Leaf, place: Place) -> Any:
        text = seen(place.input, place.previous, list(place.outputs), place.iteration, place.state)
        if leaf.does == "fatal":
            raise Failed
        content, success = text, leaf.does not in ("fails", "says no")
        if leaf.does != "fails":
            write(leaf, place.state)
        if leaf.does in ("fails", "gives nothing"):
            content = None
        if not success:
            self.events.append(("node_failed", place.path))
        return {
            "name": leaf.name,
            "path": place.path,
            "type": "Step",
            "content": content,
            "success": success,
            "stop": leaf.does == "stops",
            "steps": None,
        }

    def steps(self, node: Box, place: Place) -> Any:
        return box(node, place, self.sequence(node.children, place, []))

    def parallel(self, node: Box, place: Place) -> Any:
        before = dict(place.state)
        branches = [dict(before) for _ in node.children]
        outputs = [
            self.node(child, replace(place, state=state), position)
            for position, (child, state) in enumerate(zip(node.children, branches, strict=True), 1)
        ]
        self.merge(node, place, before, branches)
        there = [output for output in outputs if output is not None]
        content = {output["name"]: output["content"] for output in there if produced(output)}
        return box(node, place, there, content)

    def merge(self, node: Box, place: Place, before: State, branches: list[State]) -> None:
        written: State = {}
        for position, (child, state) in enumerate(zip(node.children, branches, strict=True), 1):
            kept = child.name or f"{place.planned}.{child.kind.lower()}_{position}"
            for key in sorted({*before, *state}):
                value = state.get(key, GONE)
                if value == before.get(key, GONE):
                    continue
                if key in written and written[key] != value:
                    self.events.append(("state_conflict", place.path, key, kept))
                written[key] = value
        for key, value in written.items():
            if value == GONE:
                place.state.pop(key, None)
            else:
                place.state[key] = value

    def condition(self, node: Box, place: Place) -> Any:
        if node.says == "broken":
            self.events.append(("node_failed", f"{place.path}.evaluator"))
            return box(node, place, [], failed=True)
        if node.says in (True, "yes"):
            return box(node, place, self.sequence(node.children, place, []))
        return self.otherwise(node, place)

    def otherwise(self, node: Box, place: Place) -> Any:
        first = len(node.children) + 1
        return box(node, place, self.sequence(node.other, place, [], first))

    def loop(self, node: Box, place: Place) -> Any:
        inside, outputs = place, []
        for iteration in range(1, MAX_ITERATIONS + 1):
            inside = replace(inside, path=f"{place.path}.{iteration}", iteration=iteration)
            outputs = self.sequence(node.children, inside, [])
            if any(each["stop"] for each in outputs):
                break
            says = node.says
            if says is True or (
                isinstance(says, int) and not isinstance(says, bool) and iteration >= says
            ):
                break
            if node.forwards:
                content = last_content(outputs)
                inside = replace(inside, input=content, previous=content)
        return box(node, place, outputs)

    def router(self, node: Box, place: Place) -> Any:
        choices = {child.name: child for child in node.children}
        return box(node, place, self.sequence(tuple(choices[n] for n in picks(node)), place, []))


def produced(output: Any) -> bool:
    """Return whether any step in it succeeded."""
    if output["steps"]:
        return any(produced(each) for each in output["steps"])
    return bool(output["success"])


def last_content(outputs: list[Any]) -> Any:
    good = [output["content"] for output in outputs if produced(output)]
    return good[-1] if good else None


def box(
    node: Box, place: Place, outputs: list[Any], content: Any = None, failed: bool = False
) -> Any:
    if not outputs and not failed:
        return None
    return {
        "name": node.name or place.planned,
        "path": place.path,
        "type": node.kind,
        "content": last_content(outputs) if content is None else content,
        "success": not failed and all(each["success"] for each in outputs),
        "stop": any(each["stop"] for each in outputs),
        "steps": outputs or None,
    }


# The two side by side


def told(output: WorkflowRunOutput) -> dict[str, Any]:
    """Return a run in the model's words."""

    def one(each: StepOutput) -> dict[str, Any]:
        return {
            "name": each.step_name,
            "path": each.path,
            "type": each.step_type,
            "content": each.content,
            "success": each.success,
            "stop": each.stop,
            "steps": [one(child) for child in each.steps] if each.steps else None,
        }

    def event(each: Any) -> tuple[str, ...]:
        more = (each.key, each.kept) if each.event == "state_conflict" else ()
        return (each.event, each.path, *more)

    return {
        "status": output.status.value,
        "content": output.content,
        "results": [one(each) for each in output.step_results],
        "state": output.session_state,
        "ids": sorted(each.requirement_id for each in output.resolutions),
        "events": sorted(event(each) for each in output.events),
    }


def gates_of(nodes: tuple[Any, ...]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for node in nodes:
        found[node.name] = node.gate
        if isinstance(node, Box):
            found |= gates_of(node.children + node.other)
    return found


async def answered(
    client: HitlClient, run: str, answers: dict[str, str | None], backwards: bool
) -> WorkflowRunOutput:
    """Answer what is open, first or last first, until the run has ended."""
    while True:
        output = await client.wait(run, timeout=WAIT)
        if output.has_ended:
            return output
        open_ones = sorted(output.requirements, key=lambda each: each.id, reverse=backwards)
        asked = open_ones[0]
        answer = Confirm if answers[asked.name] == "confirm" else Reject
        await client.resolve(run, answer(requirement_id=asked.id))


async def compare(env: WorkflowEnvironment, tree: tuple[Any, ...], backwards: bool) -> None:
    """Run a tree for real, and assert that it came to what the model says, and that it replays."""
    before: State = {"k": 0}
    expected = Model().run(tree, "x", dict(before))
    pipeline = Workflow("random", [pipeline_node(node) for node in tree])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline, "x", options=RunOptions(session_state=before))
        output = await answered(client, run, gates_of(tree), backwards)
        await replay_all(env, run, pipeline)

    assert expected == told(output)


@st.composite
def trees(draw: st.DrawFn, least: int = 3) -> tuple[Any, ...]:
    """Make a pipeline of about `least` activities or more, and of as many as a test can afford."""
    several = st.lists(nodes(depth=4), min_size=1, max_size=3).map(tuple)
    return renamed(draw(several.filter(lambda tree: least <= cost(tree) <= 40)))


QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@given(tree=trees(least=15), backwards=st.booleans())
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=QUIET,
    phases=[Phase.generate],
)
async def test_any_tree_means_what_the_model_says(
    env: WorkflowEnvironment, tree: tuple[Any, ...], backwards: bool
) -> None:
    """Status, contents, outputs, state, questions and events of any tree are the model's, in any
    order of answers.
    """
    await compare(env, tree, backwards)


@pytest.mark.slow
@pytest.mark.timeout(900)
@given(tree=trees(), backwards=st.booleans())
@settings(
    max_examples=150,
    deadline=None,
    database=None,
    suppress_health_check=QUIET,
    phases=[Phase.generate, Phase.shrink],
)
async def test_many_trees_mean_what_the_model_says(
    env: WorkflowEnvironment, tree: tuple[Any, ...], backwards: bool
) -> None:
    """The same for as many trees as patience allows, other ones each time."""
    await compare(env, tree, backwards)


@given(tree=trees(least=25), backwards=st.booleans())
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=QUIET,
    phases=[Phase.generate],
)
async def test_any_tree_means_the_same_in_short_executions(
    short: WorkflowEnvironment, tree: tuple[Any, ...], backwards: bool
) -> None:
    """A tree means what the model says however often its run continues as new."""
    await compare(short, tree, backwards)


@pytest.mark.slow
@pytest.mark.timeout(900)
@given(tree=trees(least=15), backwards=st.booleans())
@settings(
    max_examples=100,
    deadline=None,
    database=None,
    suppress_health_check=QUIET,
    phases=[Phase.generate, Phase.shrink],
)
async def test_many_trees_mean_the_same_in_short_executions(
    short: WorkflowEnvironment, tree: tuple[Any, ...], backwards: bool
) -> None:
    """The same for as many trees as patience allows, other ones each time."""
    await compare(short, tree, backwards)
