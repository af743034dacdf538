"""How far a run has come, as data: what a walk needs to go on where an earlier one stopped.

Everything is kept by the path of its node, and folded into the node's output once that is there. A
walk that starts from this takes what is done as done, and asks nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr

from temporal_hitl._calls import PlanFound
from temporal_hitl._ledger import GateState
from temporal_hitl._scope import Meter, State
from temporal_hitl.events import AnyEvent
from temporal_hitl.run import StepOutput


class _Kept(BaseModel):
    # Read by later versions too: what they have more takes its default.
    model_config = ConfigDict(extra="ignore")


class LoopProgress(_Kept):
    """Which iteration a Loop is in, and what the one before gave."""

    iteration: int = 1
    outputs: list[StepOutput] = []
    """Of the last iteration that gave any."""

    @property
    def size(self) -> int:
        """How many bytes it has as JSON, about."""
        return sum(output.encoded_size for output in self.outputs)


class ChildProgress(_Kept):
    """A child run that has not ended, as far as its parent knows."""

    run_id: str
    execution_id: str | None = None
    """Temporal's run id of its first execution; None until its start is confirmed."""
    nudged: bool = False
    """Whether somebody said that it ends, and nobody has looked since."""


class Progress(_Kept):
    """What has been done, chosen and asked in nodes that have not ended."""

    done: dict[str, StepOutput | None] = {}
    """The outputs of ended nodes whose container has not; None where one was left out."""
    chosen: dict[str, Any] = {}
    """What evaluators and selectors said."""
    loops: dict[str, LoopProgress] = {}
    branches: dict[str, dict[str, State]] = {}
    """The session state of each branch of a Parallel, by the branch's name."""
    asked: dict[str, str] = {}
    """The requirement that was opened for a node."""
    children: dict[str, ChildProgress] = {}
    """The child runs in flight; one that has ended is taken off at once."""

    _done_size: int = PrivateAttr(default=0)
    _meter: Meter = PrivateAttr(default_factory=Meter)

    def model_post_init(self, context: Any, /) -> None:
        """Count what was brought along."""
        self._done_size = sum(_size_of(output) for output in self.done.values())
        self._meter.bytes = sum(_size_of_states(each) for each in self.branches.values())

    def branches_at(self, path: str, names: Sequence[str], start: State) -> dict[str, State]:
        """Return the state of each branch at `path`, all of which begin with `start`."""
        if path not in self.branches:
            self.branches[path] = {name: State() for name in names}
            self._meter.bytes += _size_of_states(self.branches[path])
        for state in self.branches[path].values():
            state.branch_of(start, self._meter)
        return self.branches[path]

    @property
    def size(self) -> int:
        """How many bytes it has as JSON, about: names and numbers are not counted."""
        loops = sum(each.size for each in self.loops.values())
        return self._done_size + self._meter.bytes + loops

    def finish(self, path: str, output: StepOutput | None) -> None:
        """Keep a node's output, and nothing else of it."""
        self.fold(path)
        for table in (self.chosen, self.loops, self.asked):
            table.pop(path, None)
        self._meter.bytes -= _size_of_states(self.branches.pop(path, {}))
        self.done[path] = output
        self._done_size += _size_of(output)

    def fold(self, path: str) -> None:
        """Forget what is below `path`: its container's own output holds what of it is kept."""
        below = f"{path}."
        for table in (self.chosen, self.loops, self.asked):
            for inner in [each for each in table if each.startswith(below)]:
                del table[inner]
        for inner in [each for each in self.branches if each.startswith(below)]:
            self._meter.bytes -= _size_of_states(self.branches.pop(inner))
        for inner in [each for each in self.done if each.startswith(below)]:
            self._done_size -= _size_of(self.done.pop(inner))

    def inner(self) -> list[StepOutput]:
        """Return what was produced inside containers that have not ended, in order."""
        return [output for path, output in self.done.items() if "." in path and output is not None]


def _size_of(output: StepOutput | None) -> int:
    return 0 if output is None else output.encoded_size


def _size_of_states(branches: Mapping[str, State]) -> int:
    return sum(state.size for state in branches.values())


class Carried(_Kept):
    """All that a run takes along when it continues as a new execution."""

    found: PlanFound
    progress: Progress
    state: State
    events: list[AnyEvent] = []
    started_at: datetime
    gate: GateState
