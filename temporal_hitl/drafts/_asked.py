"""What is asked, in the words of each kind; None or False on the others."""

from __future__ import annotations

from typing import Any

from temporal_hitl._flow import StepOutput
from temporal_hitl.drafts._draft import Draft
from temporal_hitl.requirements import (
    AnyRequirement,
    Confirmation,
    IterationReview,
    OutputReview,
    Question,
    Route,
    ToolConfirmation,
    ToolExecution,
    ToolInput,
    ToolOutcome,
    UserInput,
)
from temporal_hitl.review import OnReject

TOOLS = (ToolConfirmation, ToolInput, ToolExecution, ToolOutcome)
"""The kinds that are about a tool's call."""
OF_AGENTS = (*TOOLS, Question)
"""The kinds that agents ask."""


class Asked(Draft[AnyRequirement]):
    """A draft whose question may be of any kind but an error."""

    __slots__ = ()

    @property
    def on_reject(self) -> OnReject | None:
        """What a rejection does, where the run acts on it."""
        return self.requirement.on_reject

    @property
    def requires_confirmation(self) -> bool:
        """Whether it asks to go ahead."""
        return isinstance(self.requirement, Confirmation)

    @property
    def confirmation_message(self) -> str | None:
        """The question, where it asks to go ahead."""
        return self.message if self.requires_confirmation else None

    @property
    def requires_user_input(self) -> bool:
        """Whether it is a form."""
        return isinstance(self.requirement, UserInput)

    @property
    def user_input_message(self) -> str | None:
        """What stands above the form, or above the choices."""
        return self.message if isinstance(self.requirement, UserInput | Route) else None

    @property
    def form(self) -> dict[str, Any] | None:
        """The form as JSON schema."""
        asked = self.requirement
        return dict(asked.form) if isinstance(asked, UserInput | ToolInput | Question) else None

    @property
    def requires_route_selection(self) -> bool:
        """Whether it asks which way to go on."""
        return isinstance(self.requirement, Route)

    @property
    def available_choices(self) -> list[str] | None:
        """The names to choose from."""
        return list(self.requirement.choices) if isinstance(self.requirement, Route) else None

    @property
    def allow_multiple_selections(self) -> bool:
        """Whether several may be chosen."""
        return isinstance(self.requirement, Route) and self.requirement.allow_multiple

    @property
    def requires_output_review(self) -> bool:
        """Whether it shows what was produced: by a Step or a Router, or by a Loop's iteration."""
        return isinstance(self.requirement, OutputReview | IterationReview)

    is_post_execution = requires_output_review

    @property
    def output_review_message(self) -> str | None:
        """The question above what was produced."""
        return self.message if self.requires_output_review else None

    @property
    def step_output(self) -> StepOutput | None:
        """What is under review, with its `content`; of a step that failed, its `error`."""
        asked = self.requirement
        if not isinstance(asked, OutputReview | IterationReview):
            return None
        error = asked.error if isinstance(asked, OutputReview) else None
        named = StepOutput(step_name=asked.name, path=asked.path, content=asked.output)
        return named.model_copy(update={"error": error, "success": error is None})

    @property
    def needs_confirmation(self) -> bool:
        """Whether it asks to go ahead, and the draft is undecided."""
        return self.requires_confirmation and not self.is_resolved

    @property
    def needs_user_input(self) -> bool:
        """Whether it is a form that is not begun, or lacks a required value."""
        return self.requires_user_input and not self.is_resolved

    @property
    def needs_route_selection(self) -> bool:
        """Whether it asks which way to go on, and the draft is undecided."""
        return self.requires_route_selection and not self.is_resolved

    @property
    def needs_output_review(self) -> bool:
        """Whether it shows what was produced, and the draft is undecided."""
        return self.requires_output_review and not self.is_resolved

    @property
    def requires_executor_input(self) -> bool:
        """Whether an agent within the step asks: about a tool, or a question of its own."""
        return isinstance(self.requirement, OF_AGENTS)

    @property
    def needs_executor_resolution(self) -> bool:
        """Whether an agent within the step asks, and the draft is undecided."""
        return self.requires_executor_input and not self.is_resolved

    @property
    def agent_name(self) -> str | None:
        """The agent that asks: the step's own, or a member of its team."""
        return self.requirement.agent_name if isinstance(self.requirement, OF_AGENTS) else None

    @property
    def tool_name(self) -> str | None:
        """The tool that an agent wants to call, or has called."""
        return self.requirement.tool_name if isinstance(self.requirement, TOOLS) else None

    @property
    def tool_args(self) -> dict[str, Any] | None:
        """The arguments that the agent gave."""
        return dict(self.requirement.tool_args) if isinstance(self.requirement, TOOLS) else None
