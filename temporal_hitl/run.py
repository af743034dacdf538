"""What a run is started with, and how it stands.

Owns `RunOptions` and `WorkflowRunOutput`, which hands out the drafts of decisions. All else here is
data that survives JSON; nothing here talks to Temporal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr

from temporal_hitl._flow import StepInput, StepOutput
from temporal_hitl.approvals import Approval
from temporal_hitl.drafts import Drafts, ErrorRequirement, StepRequirement
from temporal_hitl.errors import DefinitionError
from temporal_hitl.events import AnyEvent
from temporal_hitl.requirements import AnyRequirement, Refusal, ResolutionRecord, slug

__all__ = [
    "ErrorRequirement",
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
    step_names: list[str] = []
    """The names of the top-level nodes, in order."""
    step_results: list[StepOutput] = []
    """What the top-level nodes produced, in order."""
    inner_results: list[StepOutput] = []
    """What was produced so far inside nodes that have not ended, in order: children of containers,
    and outputs that a person reviews."""
    requirements: list[AnyRequirement] = []
    """What is open, oldest first."""
    resolutions: list[ResolutionRecord] = []
    """What was decided, in order."""
    approvals: list[Approval] = []
    """Those that have closed, the latest as far as there is room, and those that are open."""
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

    _drafts: Drafts = PrivateAttr(default_factory=Drafts)

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

    # Where it is paused

    @property
    def open_requirements(self) -> list[AnyRequirement]:
        """All that is open, as data; that of child runs too, each oldest first."""
        return [each for run in self.runs() for each in run.requirements]

    @property
    def pause_kind(self) -> str | None:
        """`step` where anything waits for a person, else None."""
        return "step" if self.is_paused else None

    @property
    def paused_step_index(self) -> int | None:
        """Where among `step_names` the node stands that waits for a person, itself or below it."""
        slugs = [slug(name) for name in self.step_names]
        waiting = {path.partition(".")[0] for path in self._paused_paths()}
        return next((at for at, each in enumerate(slugs) if each in waiting), None)

    @property
    def paused_step_name(self) -> str | None:
        """The name of the top-level node that waits for a person, itself or below it; the node that
        asks is the `step_name` of each draft.
        """
        at = self.paused_step_index
        return None if at is None else self.step_names[at]

    def _paused_paths(self) -> list[str]:
        paused = [each.run_id for each in self.child_runs if each.is_paused]
        below = [path for path, run_id in self.children.items() if run_id in paused]
        return [*(each.path for each in self.requirements), *below]

    # What can be decided: the same objects each time, those of child runs too

    def drafts(self) -> list[StepRequirement | ErrorRequirement]:
        """Return a draft for all that is open, decided here or not; `continue_run` sends them."""
        return [
            run._drafts.of(each, run.run_id) for run in self.runs() for each in run.requirements
        ]

    @property
    def step_requirements(self) -> list[StepRequirement]:
        """Drafts for all that is open but errors, decided here or not."""
        return [each for each in self.drafts() if isinstance(each, StepRequirement)]

    @property
    def active_step_requirements(self) -> list[StepRequirement]:
        """Drafts for all that is open but errors, and not yet decided here."""
        return [each for each in self.step_requirements if not each.is_resolved]

    @property
    def steps_requiring_confirmation(self) -> list[StepRequirement]:
        """Drafts for the open confirmations not yet decided here."""
        return [each for each in self.step_requirements if each.needs_confirmation]

    @property
    def steps_requiring_user_input(self) -> list[StepRequirement]:
        """Drafts for the open forms not yet filled in here."""
        return [each for each in self.step_requirements if each.needs_user_input]

    @property
    def steps_requiring_route(self) -> list[StepRequirement]:
        """Drafts for the Routers whose way is not yet chosen here."""
        return [each for each in self.step_requirements if each.needs_route_selection]

    @property
    def steps_requiring_output_review(self) -> list[StepRequirement]:
        """Drafts for the open reviews, those of Loops' iterations too, not yet decided here."""
        return [each for each in self.step_requirements if each.needs_output_review]

    @property
    def steps_requiring_executor_resolution(self) -> list[StepRequirement]:
        """Drafts for what agents within steps ask, not yet decided here."""
        return [each for each in self.step_requirements if each.needs_executor_resolution]

    @property
    def error_requirements(self) -> list[ErrorRequirement]:
        """Drafts for all steps that failed and wait for a person, decided here or not."""
        return [each for each in self.drafts() if isinstance(each, ErrorRequirement)]

    @property
    def active_error_requirements(self) -> list[ErrorRequirement]:
        """Drafts for the steps that failed and wait for a person, not yet decided here."""
        return [each for each in self.error_requirements if each.needs_decision]

    @property
    def steps_with_errors(self) -> list[ErrorRequirement]:
        """The same as `active_error_requirements`, as seed 002 calls them."""
        return self.active_error_requirements


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
