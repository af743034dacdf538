"""How far a run has come, as data: what a walk needs to go on where an earlier one stopped.

Everything is kept by the path of its node, and folded into the node's output once that is there. A
walk that starts from this takes what is done as done, and asks nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr

from temporal_hitl._agent_progress import AgentProgress, summed
from temporal_hitl._calls import PlanFound
from temporal_hitl._ledger import GateState
from temporal_hitl._scope import Meter, State
from temporal_hitl._sizes import size_of
from temporal_hitl.approvals import Approval
from temporal_hitl.events import AnyEvent
from temporal_hitl.run import StepOutput

APPROVALS_KEPT = 100_000
"""Bytes of approvals that are on file and a run goes on telling of; the oldest go first."""
FORM, ROUTE, REVIEW, FAILED = "~form", "~route", "~review", "~error"
"""What stands for a node's questions after its confirmation, below its path."""


class _Kept(BaseModel):
    # Read by later versions too: what they have more takes its default.
    model_config = ConfigDict(extra="ignore")


class LoopProgress(_Kept):
    """Which iteration a Loop is in, and what the one before gave."""

    iteration: int = 1
    outputs: list[StepOutput] = []
    """Of the last iteration that gave any."""
    rejected: bool = False
    """Whether a person wanted this iteration, with the `feedback`."""
    feedback: str | None = None

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


class Failure(_Kept):
    """How a node has failed for good."""

    path: str
    """Of what failed: the node's own, or its evaluator's, selector's or end condition's."""
    kind: str
    message: str
    attempts: int | None = None
    output: StepOutput | None = None
    """What its executor returned, where it did not raise."""


class Tried(_Kept):
    """What a node did that a person decides about, and how often it was done again."""

    output: StepOutput | None = None
    """What it produced, under review."""
    rejected: int = 0
    """How often its output was rejected, and made again."""
    feedback: str | None = None
    """What the last rejection asked for."""
    previous: Any = None
    """The content that it rejected."""
    failure: Failure | None = None
    """How it failed, which nobody has decided on."""
    retried: int = 0
    """How often a person had it tried again."""
    attempts: int = 0
    """Executions that have failed."""
    given_up: bool = False
    """Whether a person has left it as failed."""

    @property
    def size(self) -> int:
        """How many bytes it has as JSON, about."""
        kept = [self.output, self.failure and self.failure.output]
        return sum(map(_size_of, kept)) + (size_of(self.previous) if self.rejected else 0)

    def said(self) -> dict[str, Any]:
        """Return what the last rejection adds to the `additional_data` of the next execution."""
        return said_of(self.feedback, self.previous) if self.rejected else {}


def said_of(feedback: str | None, previous: Any) -> dict[str, Any]:
    """Return what a rejection adds to the `additional_data` of what is done again (seed 001)."""
    told = {"previous_output": previous}
    return told if feedback is None else {**told, "rejection_feedback": feedback}


class Told(_Kept):
    """What a run has told of a node, so that no later execution tells it again."""

    begun: bool = False
    ended: bool = False
    paused: str | None = None
    """The requirement that it told of, until it tells that the node goes on."""


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
    """The requirement that was opened for a node; for what comes after the confirmation, by keys
    below its path that no node has (`draft.~review`)."""
    tries: dict[str, Tried] = {}
    """What nodes did that people decide about."""
    told: dict[str, Told] = {}
    """What was told of nodes, and of iterations."""
    agents: dict[str, AgentProgress] = {}
    """The agents at work, by the step's path, and below it the member's."""
    children: dict[str, ChildProgress] = {}
    """The child runs in flight; one that has ended is taken off at once."""
    approvals: list[Approval] = []
    """The latest of those that are on file."""

    _approvals_size: int = PrivateAttr(default=0)
    _done_size: int = PrivateAttr(default=0)
    _tries_size: int = PrivateAttr(default=0)
    _meter: Meter = PrivateAttr(default_factory=Meter)

    def model_post_init(self, context: Any, /) -> None:
        """Count what was brought along."""
        self._approvals_size = sum(len(each.model_dump_json()) for each in self.approvals)
        self._done_size = sum(_size_of(output) for output in self.done.values())
        self._tries_size = sum(each.size for each in self.tries.values())
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
        agents = sum(each.size for each in self.agents.values())
        kept = self._done_size + self._tries_size + self._approvals_size
        return kept + self._meter.bytes + loops + agents

    def file(self, approval: Approval) -> None:
        """Keep an approval that is on file, and no more of them than there is room for."""
        self.approvals.append(approval)
        self._approvals_size += len(approval.model_dump_json())
        while self._approvals_size > APPROVALS_KEPT:
            self._approvals_size -= len(self.approvals.pop(0).model_dump_json())

    @property
    def answered(self) -> list[str]:
        """The ids of all requirements that nodes which have not ended were asked."""
        of_agents = [each.asked for agent in self.agents.values() for each in agent.needs]
        return [*self.asked.values(), *(asked for asked in of_agents if asked is not None)]

    def agent_at(self, path: str) -> AgentProgress:
        """Return how far the agent at `path` is, which begins where it has not."""
        return self.agents.setdefault(path, AgentProgress())

    def agents_above(self, path: str) -> list[str]:
        """Return the path of the agent at `path`, or else of the nearest above it; without a path,
        those of all agents that are nobody's members.
        """
        above = [each for each in self.agents if f"{path}.".startswith(f"{each}.")]
        if path:
            return sorted(above, key=len)[-1:]
        tops = [each for each in self.agents if not any(e in self.agents for e in _above(each))]
        return sorted(tops)

    def begin_member(self, path: str, name: str) -> None:
        """Have a member begin a task at `path`, where it has not."""
        if path not in self.agents:
            leader = self.agent_at(_leader_of(path))
            self.agents[path] = AgentProgress(earlier=leader.used_by(name))

    def end_member(self, path: str, name: str) -> None:
        """Keep of a member at `path` what it has used, and nothing else."""
        leader, member = self.agent_at(_leader_of(path)), self.agent_at(path)
        theirs = {f"{name}/{inner}": used for inner, used in member.members.items()}
        for each, used in {name: member.usage, **theirs}.items():
            leader.members[each] = summed(leader.members.get(each, {}), used)
        self.end_agent(path)

    def end_agent(self, path: str) -> None:
        """Keep nothing of the agent at `path`, and of the members below it."""
        below = f"{path}."
        for table in (self.agents, self.told):
            for inner in [each for each in table if each.startswith(below)]:
                del table[inner]
        self.agents.pop(path, None)

    def tried(self, path: str) -> Tried:
        """Return what the node at `path` did that a person decides about."""
        return self.tries.get(path) or Tried()

    def keep(self, path: str, **what: Any) -> None:
        """Keep more of what the node at `path` did."""
        before = self.tried(path)
        self.tries[path] = after = before.model_copy(update=what)
        self._tries_size += after.size - before.size

    def reject(self, path: str, feedback: str | None) -> None:
        """Have the node at `path` make its output again, from the start."""
        # A route is asked again, a form is not: its values hold for every execution.
        form = f"{path}.{FORM}"
        filled_in = {form: self.asked[form]} if form in self.asked else {}
        self.fold(path)
        self.asked |= filled_in
        self.chosen.pop(path, None)
        self.told.pop(path, None)
        tried = self.tried(path)
        previous = None if tried.output is None else tried.output.content
        again = {"rejected": tried.rejected + 1, "feedback": feedback, "previous": previous}
        self.keep(path, output=None, **again)

    def fail(self, path: str, failure: Failure) -> None:
        """Keep how the node at `path` has failed, until somebody decides."""
        attempts = self.tried(path).attempts + (failure.attempts or 1)
        self.keep(path, failure=failure, attempts=attempts)

    def retry(self, path: str) -> None:
        """Have the node at `path` tried again."""
        self.asked.pop(f"{path}.{FAILED}", None)
        self.keep(path, failure=None, retried=self.tried(path).retried + 1)

    def finish(self, path: str, output: StepOutput | None) -> None:
        """Keep a container's output, and nothing else of it."""
        self.fold(path)
        self._close(path, output)

    def finish_step(self, path: str, output: StepOutput | None) -> None:
        """Keep a step's output, and nothing else of it."""
        # Nothing is below it but its questions: to look through thousands of branches at the end of
        # each takes longer than the SDK gives a workflow task.
        for question in (FORM, REVIEW, FAILED):
            self.asked.pop(f"{path}.{question}", None)
        self._close(path, output)

    def _close(self, path: str, output: StepOutput | None) -> None:
        for table in (self.chosen, self.loops, self.asked, self.told):
            table.pop(path, None)
        self._forget_tries(path)
        if path in self.agents:
            self.end_agent(path)
        self._meter.bytes -= _size_of_states(self.branches.pop(path, {}))
        self.done[path] = output
        self._done_size += _size_of(output)

    def fold(self, path: str) -> None:
        """Forget what is below `path`: its container's own output holds what of it is kept."""
        below = f"{path}."
        for table in (self.chosen, self.loops, self.asked, self.told):
            for inner in [each for each in table if each.startswith(below)]:
                del table[inner]
        for inner in [each for each in self.tries if each.startswith(below)]:
            self._forget_tries(inner)
        for inner in [each for each in self.branches if each.startswith(below)]:
            self._meter.bytes -= _size_of_states(self.branches.pop(inner))
        for inner in [each for each in self.done if each.startswith(below)]:
            self._done_size -= _size_of(self.done.pop(inner))

    def _forget_tries(self, path: str) -> None:
        if path in self.tries:
            self._tries_size -= self.tries.pop(path).size

    def inner(self) -> list[StepOutput]:
        """Return what was produced inside nodes that have not ended, in order."""
        reviewed = {path: each.output for path, each in self.tries.items() if each.output}
        # What a reviewed output is made of stands in it.
        done = [
            output
            for path, output in self.done.items()
            if "." in path and not any(above in reviewed for above in _above(path))
        ]
        return [output for output in (*done, *reviewed.values()) if output is not None]


def _leader_of(path: str) -> str:
    return path.rsplit(".", 2)[0]


def _above(path: str) -> Iterator[str]:
    while "." in path:
        path = path.rpartition(".")[0]
        yield path


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
