"""The real pipeline of a random tree: executors that show what they were given, evaluators that
break, and everything that a node asks, in either spelling.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from json import dumps
from typing import Any

from temporalio.exceptions import ApplicationError

from temporal_hitl import (
    Condition,
    HumanReview,
    Loop,
    Parallel,
    Router,
    Step,
    StepInput,
    StepOutput,
    Steps,
    UserInputField,
    Workflow,
)
from temporal_hitl.primitives import Node
from tests.model.trees import GONE, Asks, Box, Leaf

MAX_ITERATIONS = 2
WEEK = 7 * 24 * 3600
State = dict[str, Any]


def seen(
    input: Any,
    previous: Any,
    outputs: list[str],
    iteration: int | None,
    state: State,
    data: dict[str, Any],
) -> str:
    """Return a short text that differs with anything that a step is given."""
    given = dumps([input, previous, outputs, iteration, state, data], sort_keys=True)
    return sha256(given.encode()).hexdigest()[:8]


def fails_now(does: str, what: str, execution: int) -> bool:
    """Return whether this execution of what `does` so fails: each does, or the first `n` do."""
    word, _, count = does.rpartition(" ") if does[-1].isdigit() else (does, "", "1000")
    return word == what and execution <= int(count)


def interesting(content: Any) -> bool:
    """Return whether a predicate wants a content reviewed: half of them."""
    return sha256(dumps(content, sort_keys=True).encode()).hexdigest()[0] in "01234567"


@dataclass
class Pipeline:
    """Makes the real pipeline of a tree; counts executions, as what fails at first works later."""

    counts: Counter[str] = field(default_factory=Counter[str])

    def of(self, tree: tuple[Any, ...], name: str = "random") -> Workflow:
        return Workflow(name, [self.node(node) for node in tree])

    def fails(self, name: str, does: Any, what: str) -> bool:
        self.counts[name] += 1
        return isinstance(does, str) and fails_now(does, what, self.counts[name])

    def node(self, node: Any) -> Node:
        if isinstance(node, Leaf):
            return Step(node.name, self.executor(node), max_retries=0, **asked(node))
        children = [self.node(child) for child in node.children]
        name, more = node.name or None, asked(node)
        match node.kind:
            case "Steps":
                return Steps(name, steps=children, **more)
            case "Parallel":
                return Parallel(*children, name=name, **more)
            case "Condition":
                other = [self.node(child) for child in node.other] or None
                return Condition(children, self.evaluator(node), other, name=name, **more)
            case "Loop":
                ends = self.loop_end(node)
                forwards = node.forwards
                more |= {"max_iterations": MAX_ITERATIONS, "forward_iteration_output": forwards}
                return Loop(children, name=name, **ends, **more)
            case _:
                return Router(children, self.selector(node), name=name, **more)

    def executor(self, leaf: Leaf) -> Any:
        def execute(step_input: StepInput, session_state: State) -> Any:
            text = seen(
                step_input.input,
                step_input.previous_step_content,
                list(step_input.previous_step_outputs),
                step_input.iteration,
                session_state,
                step_input.additional_data,
            )
            write(leaf, session_state)
            if self.fails(leaf.name, leaf.does, "fails") or leaf.does == "fatal":
                raise ValueError("broken")
            if fails_now(leaf.does, "says no", self.counts[leaf.name]):
                return StepOutput(content=text, success=False, error="no")
            if leaf.does == "gives nothing":
                return None
            return StepOutput(content=text, stop=True) if leaf.does == "stops" else text

        return execute

    def breaks(self, node: Box) -> None:
        if self.fails(node.name, node.says, "broken"):
            raise ApplicationError("cannot tell", non_retryable=True)

    def evaluator(self, node: Box) -> Any:
        def evaluate(step_input: StepInput) -> bool:
            self.breaks(node)
            return node.says != "no"

        return node.says if isinstance(node.says, bool) else evaluate

    def loop_end(self, node: Box) -> dict[str, Any]:
        def end(outputs: list[StepOutput]) -> bool:
            self.breaks(node)
            return node.says is True

        if node.says is None:
            return {}
        if isinstance(node.says, int) and not isinstance(node.says, bool):
            return {"should_continue": lambda step_input, iteration: iteration < node.says}
        return {"end_condition": end}

    def selector(self, node: Box) -> Any:
        def select(step_input: StepInput) -> list[str]:
            self.breaks(node)
            return picks(node)

        return None if node.asks.routes else select


def write(leaf: Leaf, state: State) -> None:
    if leaf.writes is not None:
        key, value = leaf.writes
        if value == GONE:
            state.pop(key, None)
        else:
            state[key] = value


def picks(node: Box) -> list[str]:
    """Return the names that a selector returns: where it has a say it is the first choice."""
    said = (0,) if isinstance(node.says, str) else node.says
    return [node.children[each % len(node.children)].name for each in said]


FORMS: dict[str, Any] = {
    "required": [
        UserInputField(name="n", field_type="int"),
        UserInputField(name="note", field_type="str", required=False),
    ],
    "optional": [
        {"name": "n", "field_type": "int", "required": False, "value": 7},
        {"name": "note", "field_type": "str", "required": False},
    ],
    "any": None,
}


def asked(node: Any) -> dict[str, Any]:
    """Return what makes a node ask, in the spelling that was drawn."""
    fields = review_fields(node.asks)
    if node.asks.flat or not node.asks.turns:
        renames = {"timeout": "hitl_timeout", "max_retries": "hitl_max_retries"}
        return {renames.get(name, name): value for name, value in fields.items()}
    return {"human_review": HumanReview(**fields)}


def review_fields(asks: Asks) -> dict[str, Any]:
    """Return the fields of a `HumanReview`: those that are drawn, and no others."""
    if not asks.turns:
        return {"on_error": asks.on_error} if asks.on_error != "skip" else {}
    predicates = {"always": True, "some": wanted, "broken": cannot_tell}
    fields: dict[str, Any] = {
        "requires_confirmation": asks.confirms or None,
        "requires_user_input": asks.form is not None or asks.routes or None,
        "user_input_schema": None if asks.form is None else FORMS[asks.form],
        "allow_multiple_selections": asks.several or None,
        "requires_output_review": asks.reviews and predicates[asks.reviews],
        "requires_iteration_review": asks.iterations or None,
        "max_retries": asks.max_retries if asks.reviews else None,
        "on_error": asks.on_error if asks.on_error != "skip" else None,
        "max_error_retries": asks.max_error_retries,
        "timeout": WEEK if asks.on_timeout else None,
        "on_timeout": asks.on_timeout,
    }
    there = {name: value for name, value in fields.items() if value is not None}
    only_errors = set(there) <= {"on_error", "max_error_retries", "timeout", "on_timeout"}
    return there if only_errors else {**there, "on_reject": asks.on_reject}


def wanted(output: StepOutput) -> bool:
    return interesting(output.content)


def cannot_tell(output: StepOutput) -> bool:
    raise ApplicationError("cannot tell", non_retryable=True)
