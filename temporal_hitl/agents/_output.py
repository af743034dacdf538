"""How an agent's run stands, and what it waits for, in the words of seeds 003 and 004.

Views: what they show is the run's own output, and what they decide is a draft of a resolution.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from temporal_hitl.drafts import StepRequirement
from temporal_hitl.errors import DefinitionError
from temporal_hitl.requirements import (
    AnyRequirement,
    Confirmation,
    Question,
    ResolutionRecord,
    ToolConfirmation,
    ToolExecution,
    ToolInput,
)
from temporal_hitl.review import UserInputField
from temporal_hitl.run import RunStatus, StepOutput, WorkflowRunOutput


@dataclass(frozen=True)
class ToolCallView:
    """A tool's call, as a requirement shows it."""

    tool_name: str | None
    tool_args: dict[str, Any] = field(default_factory=dict[str, Any])
    requires_confirmation: bool = False
    requires_user_input: bool = False
    external_execution_required: bool = False


class RunRequirement:
    """One thing that an agent's run waits for: decide it, and `continue_run` sends that.

    Deciding once more replaces the decision, until it is sent.
    """

    def __init__(self, draft: StepRequirement, member: str | None = None) -> None:
        self.draft = draft
        self.member_agent_name = member
        """The member of the team that asks; None where the agent itself does."""

    @property
    def requirement(self) -> AnyRequirement:
        """The question as the run asked it."""
        return self.draft.requirement

    @property
    def id(self) -> str:
        """The requirement's id."""
        return self.draft.id

    @property
    def created_at(self) -> datetime:
        """When it was asked, by the run's own clock."""
        return self.requirement.created_at

    @property
    def message(self) -> str:
        """The question."""
        return self.draft.message

    confirmation_message = message

    @property
    def tool_execution(self) -> ToolCallView:
        """The call that it is about."""
        asked = self.requirement
        return ToolCallView(
            tool_name=self.draft.tool_name,
            tool_args=self.draft.tool_args or {},
            requires_confirmation=isinstance(asked, ToolConfirmation | Confirmation),
            requires_user_input=isinstance(asked, ToolInput | Question),
            external_execution_required=isinstance(asked, ToolExecution),
        )

    tool = tool_execution

    # What it needs

    @property
    def pause_type(self) -> str:
        """`confirmation`, `user_input`, `user_feedback` or `external_execution`; `outcome` where
        nobody knows whether an approved call has happened.
        """
        match self.requirement:
            case ToolExecution():
                return "external_execution"
            case ToolInput():
                return "user_input"
            case Question(fields=fields):
                return "user_input" if fields else "user_feedback"
            case ToolConfirmation() | Confirmation():
                return "confirmation"
            case _:
                return "outcome"

    def _needs(self, pause_type: str) -> bool:
        return self.pause_type == pause_type and not self.is_resolved()

    @property
    def needs_confirmation(self) -> bool:
        """Whether somebody must approve a call, and nothing is decided here."""
        return self._needs("confirmation")

    @property
    def needs_user_input(self) -> bool:
        """Whether values are to be filled in, and some that are required are missing."""
        return self._needs("user_input")

    @property
    def needs_user_feedback(self) -> bool:
        """Whether the agent asks to choose, and nothing is decided here."""
        return self._needs("user_feedback")

    @property
    def needs_external_execution(self) -> bool:
        """Whether a result from outside is missing."""
        return self._needs("external_execution")

    is_external_tool_execution = needs_external_execution

    def is_resolved(self) -> bool:
        """Return whether a decision is there that can be sent."""
        return self.draft.is_resolved

    # Decide

    def confirm(self) -> None:
        """Approve the call."""
        self.draft.confirm()

    def reject(self, note: str | None = None) -> None:
        """Decide against the call; the agent is told `note`."""
        self.draft.reject(note)

    def edit(self, **arguments: Any) -> None:
        """Approve the call with these of its arguments in place of the agent's."""
        self.draft.edit_arguments(**arguments)

    def provide_user_input(self, values: Mapping[str, Any]) -> None:
        """Fill in values, all at once or some by some; a name that there is not is refused."""
        self.draft.set_user_input(**values)

    def provide_user_feedback(self, selections: Mapping[str, Sequence[str] | str]) -> None:
        """Choose among the options of each question, by the question's text."""
        properties: Any = (self.draft.form or {}).get("properties", {})
        values: dict[str, Any] = {}
        for question, chosen in selections.items():
            several = properties.get(question, {}).get("type") == "array"
            labels = [chosen] if isinstance(chosen, str) else list(chosen)
            values[question] = labels if several or len(labels) != 1 else labels[0]
        self.draft.set_user_input(**values)

    def set_external_execution_result(self, result: Any) -> None:
        """Tell what the tool gave outside."""
        self.draft.report(result)

    def set_external_execution_error(self, error: str) -> None:
        """Tell what went wrong with the tool outside."""
        self.draft.report(error=error)

    @property
    def external_execution_result(self) -> Any:
        """What was told of the tool outside, not sent yet; may be assigned."""
        decided = self.draft.resolution()
        return getattr(decided, "result", None)

    @external_execution_result.setter
    def external_execution_result(self, result: Any) -> None:
        self.set_external_execution_result(result)

    @property
    def confirmation(self) -> bool | None:
        """What was decided about the call, not sent yet; may be assigned."""
        return self.draft.confirmed

    @confirmation.setter
    def confirmation(self, value: bool | None) -> None:
        self.draft.confirmed = value

    confirmed = confirmation

    @property
    def confirmation_note(self) -> str | None:
        """What the agent is told of a rejection."""
        return self.draft.rejection_feedback

    @property
    def user_input_schema(self) -> list[UserInputField]:
        """The fields to fill in, each with its value so far."""
        return self.draft.user_input_schema or []

    def __repr__(self) -> str:
        return f"<RunRequirement {self.id} {self.pause_type}: {self.message!r}>"


def drafts_of(requirements: Iterable[Any]) -> list[StepRequirement]:
    """Return the drafts of requirements, resolved ones of earlier rounds left out."""
    drafts: list[StepRequirement] = []
    for each in requirements:
        if isinstance(each, RunRequirement):
            drafts.append(each.draft)
        elif not isinstance(each, ResolvedRequirement):
            raise DefinitionError(f"{each!r} is no requirement of a run")
    return drafts


@dataclass(frozen=True)
class ResolvedRequirement:
    """One thing that an agent's run has waited for."""

    record: ResolutionRecord

    @property
    def id(self) -> str:
        """The requirement's id."""
        return self.record.requirement_id

    @property
    def confirmation(self) -> bool:
        """Whether it was approved."""
        return self.record.approved

    def is_resolved(self) -> bool:
        """Return True."""
        return True


class RunOutput:
    """How a run of an agent stands, or how it ended."""

    def __init__(self, run: WorkflowRunOutput) -> None:
        self.run = run
        """The same as every run is told."""
        self._made: dict[str, RunRequirement] = {}

    @property
    def run_id(self) -> str:
        """The run's address everywhere."""
        return self.run.run_id

    @property
    def session_id(self) -> str:
        """The session of the run."""
        return self.run.session_id

    @property
    def user_id(self) -> str | None:
        """For whom it runs."""
        return self.run.user_id

    @property
    def agent_name(self) -> str:
        """The agent's name."""
        return self.run.workflow_name

    @property
    def status(self) -> RunStatus:
        """How the run stands."""
        return self.run.status

    @property
    def is_paused(self) -> bool:
        """Whether anything waits for a person."""
        return self.run.is_paused

    @property
    def is_cancelled(self) -> bool:
        """Whether it ended early."""
        return self.run.is_cancelled

    @property
    def content(self) -> Any:
        """What the agent gave."""
        return self.run.content

    @property
    def active_requirements(self) -> list[RunRequirement]:
        """What it waits for, and nothing is decided about here: the same objects each time."""
        return [each for each in self._open() if not each.is_resolved()]

    @property
    def requirements(self) -> list[RunRequirement | ResolvedRequirement]:
        """All that it has waited for, in order, and what it waits for."""
        resolved = [ResolvedRequirement(each) for each in self.run.resolutions]
        return [*resolved, *self._open()]

    def _open(self) -> list[RunRequirement]:
        for draft in self.run.step_requirements:
            known = self._made.get(draft.id)
            if known is None or known.draft is not draft:
                name = draft.agent_name
                member = None if name in (None, self.agent_name) else name
                self._made[draft.id] = RunRequirement(draft, member)
        return [self._made[each.id] for each in self.run.step_requirements]

    def _calls(self, pause_type: str) -> list[ToolCallView]:
        there = [each for each in self._open() if each.pause_type == pause_type]
        return [each.tool_execution for each in there]

    @property
    def tools_requiring_confirmation(self) -> list[ToolCallView]:
        """The calls that somebody must approve."""
        return self._calls("confirmation")

    @property
    def tools_requiring_user_input(self) -> list[ToolCallView]:
        """The calls of which somebody fills in values."""
        return self._calls("user_input")

    @property
    def tools_awaiting_external_execution(self) -> list[ToolCallView]:
        """The calls that run outside."""
        return self._calls("external_execution")

    @property
    def _result(self) -> StepOutput | None:
        return next(iter(self.run.step_results), None)

    @property
    def messages(self) -> list[Any]:
        """The conversation, once the run has ended."""
        return [] if self._result is None else self._result.messages

    @property
    def usage(self) -> dict[str, Any]:
        """Requests, tokens and tool calls, once the run has ended."""
        return {} if self._result is None else self._result.usage

    def __repr__(self) -> str:
        return f"<RunOutput {self.run_id} {self.status.value}: {self.content!r}>"
