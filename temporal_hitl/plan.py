"""A definition as frozen data.

A run records the plan that it was started with and walks that one to its end, whatever is deployed
meanwhile. Knows nothing of the functions that the data names, and nothing of a run's state.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from temporal_hitl._forms import UserInputField
from temporal_hitl.requirements import digest_of
from temporal_hitl.review import OnError, OnReject, OnTimeout
from temporal_hitl.turns import Guard

__all__ = ["Plan"]

START_TO_CLOSE = timedelta(days=1)
"""How long one execution of a step may take, unless its author says otherwise."""
LIVENESS = timedelta(seconds=30)
"""After how much silence a worker counts as dead, for steps that do not heartbeat themselves."""


class _Frozen(BaseModel):
    # Plans of older versions are read for ever: what they do not have takes its default.
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Retry(_Frozen):
    """Temporal's retry policy as data; durations in seconds."""

    initial_interval: float = 1.0
    backoff_coefficient: float = 2.0
    maximum_interval: float | None = None
    maximum_attempts: int = 4
    non_retryable: tuple[str, ...] = ()


class Call(_Frozen):
    """One function of the author's, as an activity."""

    activity: str
    """The activity type: `data_release.redact`."""
    function: str
    """Its qualified name when the plan was made."""
    digest: str
    """The digest of its source when the plan was made."""
    start_to_close: float = START_TO_CLOSE.total_seconds()
    schedule_to_close: float | None = None
    heartbeat: float | None = None
    """Seconds, where the executor heartbeats itself; None leaves it to the library."""
    task_queue: str | None = None
    retry: Retry = Retry()
    summary: str | None = None
    """What the Web UI shows beside the activity; the node's name where the author says nothing."""


class Child(_Frozen):
    """A pipeline as a step of another; it looks its own plan up when it starts."""

    pipeline: str
    """The workflow type."""
    task_queue: str | None = None
    """The child's queue; None stands for the parent's own."""
    summary: str | None = None
    """What the Web UI shows beside the child's name."""


class AgentPlan(_Frozen):
    """An agent as a step: which activities it works by, and which tools it may not use alone."""

    agent: str
    """Its name."""
    turn: Call
    """What takes a turn."""
    tool: Call
    """What runs a tool that has no activity type of its own."""
    tools: dict[str, str] = {}
    """The activity types of those that have, by the tool's name."""
    guarded: dict[str, Guard] = {}
    """The tools that wait for somebody, as far as they were known."""
    members: tuple[AgentPlan, ...] = ()
    keeps_messages: bool = False
    """Whether the conversation is part of the step's output: it is where the run is the agent's."""
    summary: str | None = None

    def member(self, name: str) -> AgentPlan | None:
        """Return the member `name`, where there is one."""
        return next((each for each in self.members if each.agent == name), None)


class ReviewPlan(_Frozen):
    """A `HumanReview` as recorded: read back as it is, whatever later versions would refuse.

    Recorded without what is as by default, so a default must not change.
    """

    requires_confirmation: bool = False
    confirmation_message: str | None = None
    requires_user_input: bool = False
    user_input_message: str | None = None
    form: dict[str, Any] = {}
    """The form as JSON schema, where one is asked for."""
    fields: tuple[UserInputField, ...] = ()
    """The fields of the form, where it was written so."""
    allow_multiple_selections: bool = False
    output_review: bool | Call = False
    """Whether an output is reviewed, or what says so."""
    output_review_message: str | None = None
    requires_iteration_review: bool = False
    iteration_review_message: str | None = None
    max_retries: int = 3
    max_error_retries: int | None = None
    on_reject: OnReject = OnReject.skip
    timeout: float | None = None
    on_timeout: OnTimeout = OnTimeout.cancel
    strict_deadline: bool = False
    roles: tuple[str, ...] = ()
    notify: tuple[str, ...] | None = None
    """Who is told; None leaves it to the plan."""
    notify_before: float | None = None


class _NodePlan(_Frozen):
    name: str
    slug: str
    review: ReviewPlan = ReviewPlan()

    @field_serializer("review")
    def _what_was_said(self, review: ReviewPlan) -> dict[str, Any]:
        # Most nodes ask nothing, and each run of thousands holds its plan.
        return review.model_dump(mode="json", exclude_defaults=True)


class StepPlan(_NodePlan):
    kind: Literal["step"] = "step"
    call: Call | Child | AgentPlan
    on_error: OnError


class StepsPlan(_NodePlan):
    kind: Literal["steps"] = "steps"
    children: tuple[AnyPlan, ...]


class ParallelPlan(_NodePlan):
    kind: Literal["parallel"] = "parallel"
    children: tuple[AnyPlan, ...]


class ConditionPlan(_NodePlan):
    kind: Literal["condition"] = "condition"
    evaluator: bool | Call
    children: tuple[AnyPlan, ...]
    else_children: tuple[AnyPlan, ...]
    on_error: OnError


class LoopPlan(_NodePlan):
    kind: Literal["loop"] = "loop"
    children: tuple[AnyPlan, ...]
    max_iterations: int
    end_condition: Call | None
    should_continue: Call | None
    forward_iteration_output: bool
    on_error: OnError


class RouterPlan(_NodePlan):
    kind: Literal["router"] = "router"
    choices: tuple[AnyPlan, ...]
    selector: Call | None
    """None where a person chooses."""
    on_error: OnError


AnyPlan: TypeAlias = Annotated[
    StepPlan | StepsPlan | ParallelPlan | ConditionPlan | LoopPlan | RouterPlan,
    Field(discriminator="kind"),
]
for _model in (StepsPlan, ParallelPlan, ConditionPlan, LoopPlan, RouterPlan):
    _model.model_rebuild()


class Plan(_Frozen):
    """What a run walks: the tree with its gates, messages and options; functions by name."""

    name: str
    children: tuple[AnyPlan, ...]
    version: int = 1
    """Of this shape, not of the pipeline."""
    notify: tuple[str, ...] | None = None
    """Who is told of what nodes ask that say nothing; None leaves it to the worker."""

    @property
    def digest(self) -> str:
        """The digest of everything the plan says."""
        return digest_of(self.model_dump(mode="json"))


def plan_activity(pipeline: str) -> str:
    """Return the activity type of the plan lookup; one per pipeline, as plugins may be several."""
    return f"temporal_hitl.plan.{pipeline}"


def approvals_activity(pipeline: str) -> str:
    """Return the activity type by which the runs of a pipeline file their approvals."""
    return f"temporal_hitl.approvals.{pipeline}"


def child_activity(pipeline: str) -> str:
    """Return the activity type by which the runs of a pipeline look for their child runs."""
    return f"temporal_hitl.child.{pipeline}"
