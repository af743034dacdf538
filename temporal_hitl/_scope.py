"""What a node of the tree sees, and what a container makes of what its children produced."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from temporal_hitl._sizes import size_of
from temporal_hitl.plan import AnyPlan
from temporal_hitl.run import StepOutput, one_result


class Meter:
    """How many bytes the states of a run's branches have together, counted as they change.

    A run with thousands of branches asks for it at each call.
    """

    bytes: int = 0


@dataclass
class State:
    """The session state along one branch: what it started from, and what was written since.

    As data it is what was written alone: the branches of a Parallel start from one state, which
    its run keeps once.
    """

    written: dict[str, Any] = field(default_factory=dict[str, Any])
    removed: list[str] = field(default_factory=list[str])
    """Keys of what it started from that are gone."""

    def __post_init__(self) -> None:
        self._start: Mapping[str, Any] = {}
        self._start_size = 0
        self._meter = Meter()
        self.size = size_of(self.written) + size_of(self.removed)
        """How many bytes it has as data."""

    def branch_of(self, state: State, meter: Meter) -> None:
        """Start from `state`, which nobody changes while this is used, counted by `meter`."""
        self._start, self._start_size = state.values, state.whole_size
        self._meter = meter

    @property
    def values(self) -> dict[str, Any]:
        """The state as a step sees it, in a dict of its own."""
        kept = {key: value for key, value in self._start.items() if key not in self.removed}
        return kept | self.written

    @property
    def whole_size(self) -> int:
        """How many bytes the state as a step sees it has, at most."""
        return self._start_size + self.size

    def apply(self, changes: Mapping[str, Any], removed: Sequence[str]) -> None:
        """Take over what a step changed."""
        before = self.size
        for key, value in changes.items():
            self._forget(key)
            self.written[key] = value
            self.size += _entry(key, value)
        self.removed = [key for key in self.removed if key not in changes]
        for key in removed:
            self._forget(key)
            if key in self._start and key not in self.removed:
                self.removed.append(key)
        self._meter.bytes += self.size - before

    def _forget(self, key: str) -> None:
        if key in self.written:
            self.size -= _entry(key, self.written.pop(key))

    def merge(self, branches: Mapping[str, State]) -> list[tuple[str, str]]:
        """Take over what the branches wrote; return each key in conflict and whose value won."""
        conflicts: list[tuple[str, str]] = []
        seen: dict[str, str | None] = {}
        for name, branch in branches.items():
            told: dict[str, str | None] = dict.fromkeys(branch.removed)
            told |= {key: json.dumps(each, sort_keys=True) for key, each in branch.written.items()}
            conflicts += [(key, name) for key, text in told.items() if seen.get(key, text) != text]
            seen |= told
            self.apply(branch.written, branch.removed)
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
    said: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What people said for this node: it joins the `additional_data` of its steps."""

    def told(self, **said: Any) -> Scope:
        # Feedback goes with the output that it was given for.
        gone = "rejection_feedback" if "previous_output" in said else None
        before = {name: each for name, each in self.said.items() if name != gone}
        return replace(self, said={**before, **said})

    def below(self, segment: str) -> Scope:
        return replace(self, path=f"{self.path}.{segment}" if self.path else segment)

    def after(self, output: StepOutput) -> Scope:
        return replace(
            self,
            outputs={**self.outputs, output.step_name or "": output},
            previous=output.content if output.produced else self.previous,
        )


def _entry(key: str, value: Any) -> int:
    return size_of({key: value}) + 2


def edited(output: StepOutput, content: Any) -> StepOutput:
    """Return `output` with what a person made of it."""
    changed: dict[str, Any] = {"content": content, "success": True, "error": None, "edited": True}
    return StepOutput(**{**dict(output), **changed})


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
