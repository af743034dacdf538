"""What a run tells while it goes on: one frozen model per event, told apart by `event`.

Owns only shapes, named as seed 000 and its kin name them. What a reader of a finished run should
know is in `events`; these are for who looks on.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from temporal_hitl.requirements import AnyRequirement, ErrorDecision, Route, UserInput
from temporal_hitl.review import UserInputField
from temporal_hitl.run import StepOutput, WorkflowRunOutput

__all__ = [
    "AnyStreamEvent",
    "ConditionExecutionCompletedEvent",
    "ConditionExecutionStartedEvent",
    "LoopExecutionCompletedEvent",
    "LoopExecutionStartedEvent",
    "LoopIterationCompletedEvent",
    "LoopIterationStartedEvent",
    "ParallelExecutionCompletedEvent",
    "ParallelExecutionStartedEvent",
    "RouterExecutionCompletedEvent",
    "RouterExecutionStartedEvent",
    "RouterPausedEvent",
    "RunSnapshotEvent",
    "StepCompletedEvent",
    "StepContinuedEvent",
    "StepErrorEvent",
    "StepOutputEvent",
    "StepOutputReviewEvent",
    "StepPausedEvent",
    "StepStartedEvent",
    "StepsExecutionCompletedEvent",
    "StepsExecutionStartedEvent",
    "StreamEvent",
    "ToolCallCompletedEvent",
    "ToolCallStartedEvent",
    "WorkflowCancelledEvent",
    "WorkflowCompletedEvent",
    "WorkflowErrorEvent",
    "WorkflowStartedEvent",
]


class StreamEvent(BaseModel):
    """What every event has; the classes below say what happened."""

    # Built at first use: most processes never stream.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    run_id: str
    """The run that tells: a child run, where a pipeline is a step of another."""
    workflow_name: str
    session_id: str
    created_at: datetime
    """By the run's own clock."""
    nested_depth: int = 0
    """How many runs stand above the one that tells, seen from the run that is watched."""


class RunSnapshotEvent(StreamEvent):
    """Opens a stream whose run began earlier than the server remembers."""

    event: Literal["RunSnapshot"] = "RunSnapshot"
    run_output: WorkflowRunOutput
    """The run as it stood when the stream was opened."""


class WorkflowStartedEvent(StreamEvent):
    """The run began."""

    event: Literal["WorkflowStarted"] = "WorkflowStarted"


class WorkflowCompletedEvent(StreamEvent):
    """The run came to its end."""

    event: Literal["WorkflowCompleted"] = "WorkflowCompleted"
    content: Any = None
    """The content of the last step that succeeded."""
    step_results: list[StepOutput] = []
    run_output: WorkflowRunOutput | None = None
    """All that the run came to, as `run` returns it."""


class WorkflowCancelledEvent(StreamEvent):
    """A person, a deadline or `cancel_run` ended the run early."""

    event: Literal["WorkflowCancelled"] = "WorkflowCancelled"
    reason: str


class WorkflowErrorEvent(StreamEvent):
    """The run failed."""

    event: Literal["WorkflowError"] = "WorkflowError"
    error: str
    error_type: str | None = None
    """The exception's qualified name, where there is one."""


class NodeEvent(StreamEvent):
    """What every event of a node of the tree has."""

    path: str
    """The node's path in the run: `refine.3.draft`."""
    step_name: str
    step_index: int
    """Where it stands in its container, from 0."""
    iteration: int | None = None
    """Within a Loop, the number of the iteration, from 1."""

    @property
    def step_id(self) -> str:
        """The path: what names a node in its run."""
        return self.path


# Steps


class StepStartedEvent(NodeEvent):
    """A step is executed, once more after `StepContinued` of a retry."""

    event: Literal["StepStarted"] = "StepStarted"
    child_run_id: str | None = None
    """The run that it is, where the step is a pipeline; its events are told too."""


class StepOutputEvent(NodeEvent):
    """A step gave its output."""

    event: Literal["StepOutput"] = "StepOutput"
    step_output: StepOutput


class StepCompletedEvent(NodeEvent):
    """A step has been executed."""

    event: Literal["StepCompleted"] = "StepCompleted"
    content: Any = None


class StepErrorEvent(NodeEvent):
    """A node failed for good."""

    event: Literal["StepError"] = "StepError"
    error: str
    error_type: str
    requirement: ErrorDecision | None = None
    """What a person is asked, where the author wants one to decide; else the run goes on or
    fails."""


# Questions


class StepPausedEvent(NodeEvent):
    """A node waits for a confirmation, or for what a form asks."""

    event: Literal["StepPaused"] = "StepPaused"
    requirement: AnyRequirement

    @property
    def requires_confirmation(self) -> bool:
        """Whether it is a confirmation."""
        return not self.requires_user_input

    @property
    def confirmation_message(self) -> str | None:
        """The question, if it is a confirmation."""
        return self.requirement.message if self.requires_confirmation else None

    @property
    def requires_user_input(self) -> bool:
        """Whether it is a form."""
        return isinstance(self.requirement, UserInput)

    @property
    def user_input_message(self) -> str | None:
        """The question, if it is a form."""
        return self.requirement.message if self.requires_user_input else None

    @property
    def user_input_schema(self) -> tuple[UserInputField, ...]:
        """The fields of the form, where it was given as a list of them."""
        return self.requirement.fields if isinstance(self.requirement, UserInput) else ()


class StepContinuedEvent(NodeEvent):
    """What a node waited for was granted, or it is done once more."""

    event: Literal["StepContinued"] = "StepContinued"
    requirement_id: str


class RouterPausedEvent(NodeEvent):
    """A Router waits for a person to choose."""

    event: Literal["RouterPaused"] = "RouterPaused"
    requirement: Route

    @property
    def available_choices(self) -> tuple[str, ...]:
        """The names to choose from."""
        return self.requirement.choices

    @property
    def user_input_message(self) -> str:
        """The question."""
        return self.requirement.message

    @property
    def allow_multiple_selections(self) -> bool:
        """Whether several may be chosen."""
        return self.requirement.allow_multiple


class StepOutputReviewEvent(NodeEvent):
    """What a node or an iteration of a Loop produced waits for a verdict."""

    event: Literal["StepOutputReview"] = "StepOutputReview"
    requirement: AnyRequirement
    """The question, with the output under review."""
    requires_output_review: Literal[True] = True

    @property
    def output_review_message(self) -> str:
        """The question."""
        return self.requirement.message


# Agents


class ToolCallStartedEvent(NodeEvent):
    """A tool that an agent has called is executed, as an activity of its own."""

    event: Literal["ToolCallStarted"] = "ToolCallStarted"
    agent_name: str
    tool_name: str
    tool_args: dict[str, Any]
    """As a person left them, where one was asked."""
    call_id: str


class ToolCallCompletedEvent(NodeEvent):
    """Something has come of a tool that an agent has called."""

    event: Literal["ToolCallCompleted"] = "ToolCallCompleted"
    agent_name: str
    tool_name: str
    call_id: str
    outcome: Literal["value", "denied", "retry", "failed"]


# Containers


class StepsExecutionStartedEvent(NodeEvent):
    """A sequence begins."""

    event: Literal["StepsExecutionStarted"] = "StepsExecutionStarted"
    steps_count: int


class StepsExecutionCompletedEvent(NodeEvent):
    """A sequence is through."""

    event: Literal["StepsExecutionCompleted"] = "StepsExecutionCompleted"
    steps_count: int
    executed_steps: int
    step_results: list[StepOutput]


class ParallelExecutionStartedEvent(NodeEvent):
    """Branches begin, all at once."""

    event: Literal["ParallelExecutionStarted"] = "ParallelExecutionStarted"
    parallel_step_count: int


class ParallelExecutionCompletedEvent(NodeEvent):
    """All branches are through."""

    event: Literal["ParallelExecutionCompleted"] = "ParallelExecutionCompleted"
    parallel_step_count: int
    step_results: list[StepOutput]


class ConditionExecutionStartedEvent(NodeEvent):
    """A branch of a Condition begins."""

    event: Literal["ConditionExecutionStarted"] = "ConditionExecutionStarted"
    condition_result: bool


class ConditionExecutionCompletedEvent(NodeEvent):
    """The branch that a Condition took is through."""

    event: Literal["ConditionExecutionCompleted"] = "ConditionExecutionCompleted"
    condition_result: bool
    branch: Literal["if", "else"]
    executed_steps: int
    step_results: list[StepOutput]


class RouterExecutionStartedEvent(NodeEvent):
    """The way that a Router takes is known."""

    event: Literal["RouterExecutionStarted"] = "RouterExecutionStarted"
    selected_steps: list[str]


class RouterExecutionCompletedEvent(NodeEvent):
    """The way that a Router took is through."""

    event: Literal["RouterExecutionCompleted"] = "RouterExecutionCompleted"
    selected_steps: list[str]
    executed_steps: int
    step_results: list[StepOutput]


class LoopExecutionStartedEvent(NodeEvent):
    """A Loop begins."""

    event: Literal["LoopExecutionStarted"] = "LoopExecutionStarted"
    max_iterations: int


class LoopIterationStartedEvent(NodeEvent):
    """An iteration of a Loop begins: `iteration`, at the path `refine.3`."""

    event: Literal["LoopIterationStarted"] = "LoopIterationStarted"
    max_iterations: int


class LoopIterationCompletedEvent(NodeEvent):
    """An iteration of a Loop is through."""

    event: Literal["LoopIterationCompleted"] = "LoopIterationCompleted"
    max_iterations: int
    iteration_results: list[StepOutput]
    should_continue: bool
    """Whether another one follows, unless a person who reviews this one says otherwise."""


class LoopExecutionCompletedEvent(NodeEvent):
    """A Loop is through."""

    event: Literal["LoopExecutionCompleted"] = "LoopExecutionCompleted"
    max_iterations: int
    total_iterations: int
    step_results: list[StepOutput]
    """Those of the iteration that is kept."""


AnyStreamEvent: TypeAlias = Annotated[
    RunSnapshotEvent
    | WorkflowStartedEvent
    | WorkflowCompletedEvent
    | WorkflowCancelledEvent
    | WorkflowErrorEvent
    | StepStartedEvent
    | StepOutputEvent
    | StepCompletedEvent
    | StepErrorEvent
    | StepPausedEvent
    | StepContinuedEvent
    | RouterPausedEvent
    | StepOutputReviewEvent
    | ToolCallStartedEvent
    | ToolCallCompletedEvent
    | StepsExecutionStartedEvent
    | StepsExecutionCompletedEvent
    | ParallelExecutionStartedEvent
    | ParallelExecutionCompletedEvent
    | ConditionExecutionStartedEvent
    | ConditionExecutionCompletedEvent
    | RouterExecutionStartedEvent
    | RouterExecutionCompletedEvent
    | LoopExecutionStartedEvent
    | LoopIterationStartedEvent
    | LoopIterationCompletedEvent
    | LoopExecutionCompletedEvent,
    Field(discriminator="event"),
]
