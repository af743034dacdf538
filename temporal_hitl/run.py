"""What flows through a run: what a step is given and gives back, and what the run shows of itself.

Owns `StepInput`, `StepOutput`, `WorkflowRunOutput` and the drafts of decisions in it. Everything
here is data that survives JSON; nothing here talks to Temporal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr

from temporal_hitl.errors import DefinitionError
from temporal_hitl.events import AnyEvent
from temporal_hitl.requirements import (
    AnyRequirement,
    AnyResolution,
    Confirm,
    Confirmation,
    Refusal,
    Reject,
    ResolutionRecord,
)

__all__ = [
    "Omitted",
    "RunOptions",
    "RunStatus",
    "StepInput",
    "StepOutput",
    "StepRequirement",
    "WorkflowRunOutput",
]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class StepOutput(_Shape):
    """What a step produced; executors return one, or any value, which becomes its `content`."""

    step_name: str | None = None
    """The node's name."""
    path: str | None = None
    """The node's path in the run; filled in by the library."""
    step_type: str = "Step"
    """`Step`, `Workflow`, `Steps`, `Parallel`, `Condition`, `Loop` or `Router`."""
    content: Any = None
    """The product, as JSON data; a container's is its last child's, a Parallel's one per branch."""
    success: bool = True
    """False marks a failure that the run went on from."""
    error: str | None = None
    """What went wrong, where `success` is False."""
    stop: bool = False
    """True ends the run, completed, after this step."""
    edited: bool = False
    """True where a person has replaced the content."""
    steps: list[StepOutput] | None = None
    """A container's children, in declaration order."""

    _size: int | None = PrivateAttr(default=None)

    @property
    def encoded_size(self) -> int:
        """How many bytes it has as JSON, its children included; counted once."""
        if self._size is None:
            self._size = len(self.model_dump_json().encode())
        return self._size

    @property
    def produced(self) -> bool:
        """Whether this step succeeded, or any step of this container."""
        return self.edited or any(each.success for each in self.walk() if not each.steps)

    def walk(self) -> Iterator[StepOutput]:
        """Yield this output and all below it, outermost first."""
        yield self
        for child in self.steps or ():
            yield from child.walk()


class StepInput(_Shape):
    """What an executor, evaluator, selector or end condition is given (seeds 000 to 002)."""

    input: Any = None
    """The run's input; within a Loop that forwards, the last iteration's content."""
    previous_step_content: Any = None
    """The content of the last step that succeeded before this one."""
    previous_step_outputs: dict[str, StepOutput] = {}
    """The outputs before this one by name, oldest first."""
    additional_data: dict[str, Any] = {}
    """What the caller gave beside the input, and what people answered for this step."""
    iteration: int | None = None
    """Within a Loop, the number of the iteration, from 1."""

    def get_input_as_string(self) -> str:
        """Return the input as text; anything but text as JSON."""
        return (
            self.input
            if isinstance(self.input, str)
            else json.dumps(self.input, ensure_ascii=False)
        )

    def get_step_output(self, name: str) -> StepOutput | None:
        """Return the latest output of the step `name`, nested ones included, or None."""
        outputs = [each for output in self.previous_step_outputs.values() for each in output.walk()]
        return next((each for each in reversed(outputs) if each.step_name == name), None)

    def get_step_content(self, name: str) -> Any:
        """Return the content of the step `name`, or None; a Parallel's is a dict by branch."""
        output = self.get_step_output(name)
        return None if output is None else output.content

    def get_last_step_content(self) -> Any:
        """Return the content of the last step that succeeded before this one."""
        return self.previous_step_content

    def get_all_previous_content(self) -> str:
        """Return all contents so far as text, each under its step's name."""
        parts = [
            f"=== {name} ===\n{_text(output.content)}"
            for name, output in self.previous_step_outputs.items()
            if output.content not in (None, "")
        ]
        return "\n\n".join(parts)


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


class RunOptions(_Shape):
    """What a caller may give beside the input, as the workflow's second argument."""

    additional_data: dict[str, Any] = {}
    """Reaches every step as `step_input.additional_data`."""
    session_state: dict[str, Any] = {}
    """The state that steps read and change."""
    session_id: str | None = None
    """Runs of one session are listed together."""
    user_id: str | None = None
    """For whom it runs; recorded, never trusted."""


class RunStatus(StrEnum):
    """How a run stands (seed 002)."""

    running = "RUNNING"
    paused = "PAUSED"
    blocked = "BLOCKED"
    """Nothing is open, and a step waits for a worker that has its code."""
    completed = "COMPLETED"
    cancelled = "CANCELLED"
    error = "ERROR"


class StepRequirement:
    """A draft of the answer to one confirmation: fill it in, and `continue_run` sends it (seed
    002).

    Nothing is sent before; what is sent is the resolution alone, and the run checks it against its
    own copy.
    """

    def __init__(self, requirement: Confirmation, run_id: str) -> None:
        self.requirement = requirement
        """The question as the run asked it."""
        self.run_id = run_id
        """The run that asked: a child run, where a pipeline is a step of another."""
        self.confirmed: bool | None = None
        """The draft: True, False, or None while undecided. May be assigned."""
        self.rejection_feedback: str | None = None
        """What goes with a rejection."""
        self.resolved_by: str | None = None
        """Who decides, as a claim. May be assigned."""
        self.comment: str | None = None
        """Why. May be assigned."""

    @property
    def id(self) -> str:
        """The requirement's id."""
        return self.requirement.id

    @property
    def step_name(self) -> str:
        """The name of the node that asks."""
        return self.requirement.name

    @property
    def confirmation_message(self) -> str:
        """The question."""
        return self.requirement.message

    @property
    def needs_confirmation(self) -> bool:
        """Whether the draft is still undecided."""
        return self.confirmed is None

    @property
    def is_resolved(self) -> bool:
        """Whether the draft holds a decision."""
        return self.confirmed is not None

    def confirm(self) -> None:
        """Decide yes."""
        self.confirmed, self.rejection_feedback = True, None

    def reject(self, feedback: str | None = None) -> None:
        """Decide no."""
        self.confirmed, self.rejection_feedback = False, feedback

    def resolution(self) -> AnyResolution | None:
        """Return the decision that `continue_run` sends, or None while undecided."""
        if self.confirmed is None:
            return None
        shared: dict[str, Any] = {"requirement_id": self.id, "digest": self.requirement.digest}
        shared |= {"resolved_by": self.resolved_by, "comment": self.comment}
        return (
            Confirm(**shared)
            if self.confirmed
            else Reject(**shared, feedback=self.rejection_feedback)
        )

    def __repr__(self) -> str:
        state = {None: "undecided", True: "confirmed", False: "rejected"}[self.confirmed]
        return f"<StepRequirement {self.id} {state}: {self.confirmation_message!r}>"


class Omitted(_Shape):
    """One part of a run's output that is not in it, as Temporal's values are limited."""

    part: str
    """The field of the run's output; `step_content` is the content of one step's."""
    path: str | None = None
    """The path of the step."""
    bytes: int
    """How large it is, as JSON."""

    def __str__(self) -> str:
        where = self.part if self.path is None else f"{self.part} of {self.path}"
        return f"{where}: {self.bytes:,} bytes"


class WorkflowRunOutput(_Shape):
    """A run as it stands: what it produced, what it waits for, and who decided what (seed 002)."""

    run_id: str
    """The Temporal workflow id: the run's address everywhere."""
    execution_id: str
    """Temporal's own run id of the execution that told this."""
    workflow_name: str
    session_id: str
    user_id: str | None = None
    status: RunStatus
    input: Any = None
    content: Any = None
    """The content of the last step that succeeded."""
    step_results: list[StepOutput] = []
    """What the top-level nodes produced, in order."""
    inner_results: list[StepOutput] = []
    """What was produced so far inside nodes that have not ended, in order: children of containers,
    and outputs that a person reviews."""
    requirements: list[AnyRequirement] = []
    """What is open, oldest first."""
    resolutions: list[ResolutionRecord] = []
    """What was decided, in order."""
    refused: list[Refusal] = []
    """Refused answers: the latest that came by signal, and those that `continue_run` sent."""
    running: list[str] = []
    """The paths of the nodes that work at this moment."""
    blocked: dict[str, str] = {}
    """The nodes that wait for a worker which has their code: by path, the activity type."""
    children: dict[str, str] = {}
    """The child runs in flight: by path, the run's id."""
    child_runs: list[WorkflowRunOutput] = []
    """Those of them that could be reached, as they stand; filled in by clients."""
    events: list[AnyEvent] = []
    """What else the reader should know, in order."""
    session_state: dict[str, Any] = {}
    error: str | None = None
    """Why it failed, where `status` is `ERROR`; why it was cancelled, where `CANCELLED`."""
    error_type: str | None = None
    """Which exception it failed with, by its qualified name: `builtins.ValueError`."""
    started_at: datetime | None = None
    omitted: list[Omitted] = []
    """What is too large to be told here, and could not be had by itself."""

    _drafts: dict[str, StepRequirement] = PrivateAttr(default_factory=dict[str, StepRequirement])

    @property
    def is_paused(self) -> bool:
        """Whether anything waits for a person, here or in a child run; other branches may work on
        meanwhile.
        """
        return any(each.requirements for each in self.runs())

    @property
    def is_cancelled(self) -> bool:
        """Whether a person, a deadline or `cancel_run` ended the run early."""
        return self.status is RunStatus.cancelled

    @property
    def has_ended(self) -> bool:
        """Whether nothing can happen in this run any more."""
        return self.status not in (RunStatus.running, RunStatus.paused, RunStatus.blocked)

    def runs(self) -> Iterator[WorkflowRunOutput]:
        """Yield this run and all below it that could be reached, outermost first."""
        yield self
        for child in self.child_runs:
            yield from child.runs()

    def walk(self) -> Iterator[StepOutput]:
        """Yield every step's output, outer ones before those below them."""
        for output in (*self.step_results, *self.inner_results):
            yield from output.walk()

    @property
    def failed_steps(self) -> list[StepOutput]:
        """Steps that failed while the run went on."""
        return [each for each in self.walk() if not each.success and not each.steps]

    @property
    def steps_requiring_confirmation(self) -> list[StepRequirement]:
        """Drafts for the open confirmations not yet decided here; the same objects each time."""
        return [draft for draft in self.drafts() if draft.needs_confirmation]

    def drafts(self) -> list[StepRequirement]:
        """Return a draft for each open confirmation, those of child runs too, decided or not."""
        return [draft for run in self.runs() for draft in run._own_drafts()]

    def _own_drafts(self) -> list[StepRequirement]:
        asked = [each for each in self.requirements if isinstance(each, Confirmation)]
        made = {each.id: StepRequirement(each, self.run_id) for each in asked}
        return [self._drafts.setdefault(key, draft) for key, draft in made.items()]


def one_result(outputs: Iterable[StepOutput]) -> Any:
    """Return the content of the last output that holds one of a step that succeeded, or None."""
    good = [output for output in outputs if output.produced]
    return good[-1].content if good else None


def run_options(data: Any) -> RunOptions:
    """Return the second input as options, or raise a `DefinitionError` that lists the keys."""
    try:
        return RunOptions.model_validate(data)
    except ValueError:
        keys = ", ".join(RunOptions.model_fields)
        raise DefinitionError(
            f"the second input, {str(data)[:80]!r}, is not run options: a pipeline takes one input,"
            f" and beside it at most one object with {keys}"
        ) from None
