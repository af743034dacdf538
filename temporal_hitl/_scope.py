"""What a node of the tree sees, and what a container makes of what its children produced."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from temporal_hitl.plan import AnyPlan
from temporal_hitl.run import StepOutput, one_result


@dataclass
class State:
    """The session state along one branch, and which keys were written there, removals included."""

    values: dict[str, Any]
    written: dict[str, str] = field(default_factory=dict[str, str])
    """The JSON of what each key was given last; empty where it was removed."""

    def apply(self, changes: Mapping[str, Any], removed: Sequence[str]) -> None:
        """Take over what a step changed."""
        for key, value in changes.items():
            self.values[key] = value
            self.written[key] = json.dumps(value, sort_keys=True)
        for key in removed:
            self.values.pop(key, None)
            self.written[key] = ""

    def branch(self) -> State:
        """Return a copy for one branch of a Parallel, in which nothing is written yet."""
        return State(dict(self.values))

    def merge(self, branches: Mapping[str, State]) -> list[tuple[str, str]]:
        """Take over what the branches wrote; return each key in conflict and whose value won."""
        conflicts: list[tuple[str, str]] = []
        seen: dict[str, str] = {}
        for name, branch in branches.items():
            conflicts += [
                (key, name) for key, told in branch.written.items() if seen.get(key, told) != told
            ]
            seen |= branch.written
            changes = {key: branch.values[key] for key, told in branch.written.items() if told}
            self.apply(changes, [key for key, told in branch.written.items() if not told])
        return conflicts


@dataclass(frozen=True)
class Scope:
    """What a node sees: where it stands, and what came before it."""

    path: str
    input: Any
    state: State
    """Shared with the nodes before and after; a Parallel gives each branch its own."""
    previous: Any = None
    outputs: dict[str, StepOutput] = field(default_factory=dict[str, StepOutput])
    iteration: int | None = None

    def below(self, segment: str) -> Scope:
        return replace(self, path=f"{self.path}.{segment}" if self.path else segment)

    def after(self, output: StepOutput) -> Scope:
        return replace(
            self,
            outputs={**self.outputs, output.step_name or "": output},
            previous=output.content if output.produced else self.previous,
        )


def container_output(
    node: AnyPlan, scope: Scope, kind: str, outputs: list[StepOutput], *, content: Any = None
) -> StepOutput | None:
    """Return a container's output from its children's, or None where all of them were left out."""
    if not outputs:
        return None
    return StepOutput(
        step_name=node.name,
        path=scope.path,
        step_type=kind,
        content=one_result(outputs) if content is None else content,
        success=all(each.success for each in outputs),
        stop=any(each.stop for each in outputs),
        steps=outputs,
    )
