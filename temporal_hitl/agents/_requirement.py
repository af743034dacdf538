"""What an agent's run waits for, in the words of seeds 003 and 004, and how a program decides it.

Views: what they show is the run's own question, and what they decide is a draft of a resolution.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from temporal_hitl.agents._fields import (
    InputField,
    UserFeedbackQuestion,
    fields_of,
    only_chooses,
    questions_of,
)
from temporal_hitl.agents._views import ResolvedRequirement, ToolCallView
from temporal_hitl.drafts import StepRequirement
from temporal_hitl.errors import DefinitionError, MalformedResolution
from temporal_hitl.requirements import (
    Answer,
    AnyRequirement,
    Confirm,
    Confirmation,
    EditArguments,
    Question,
    Reject,
    Report,
    Retry,
    Skip,
    ToolConfirmation,
    ToolExecution,
    ToolInput,
    parse_resolution,
)

_REQUIREMENT: TypeAdapter[AnyRequirement] = TypeAdapter(AnyRequirement)


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
    def member_agent_id(self) -> str | None:
        """The member's name, which is what it is known by."""
        return self.member_agent_name

    @property
    def member_run_id(self) -> str | None:
        """Where in the team's run the member works, as it has no run of its own."""
        asks = self.member_agent_name is not None
        return self.requirement.path.rsplit(".", 2)[0] if asks else None

    @property
    def tool_execution(self) -> ToolCallView:
        """The call that it is about."""
        asked = self.requirement
        return ToolCallView(
            tool_name=self.draft.tool_name,
            tool_args=self.draft.tool_args or {},
            requires_confirmation=isinstance(asked, ToolConfirmation | Confirmation),
            confirmed=self.confirmation,
            confirmation_note=self.confirmation_note,
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
            case Question(form=form):
                return "user_feedback" if only_chooses(form) else "user_input"
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
        """Whether the agent asks to choose, and some question has no answer here."""
        return self._needs("user_feedback")

    @property
    def needs_external_execution(self) -> bool:
        """Whether a result from outside is missing."""
        return self._needs("external_execution")

    is_external_tool_execution = needs_external_execution

    @property
    def external_execution_silent(self) -> bool:
        """False: a pause puts no sentence into the run's content that one could leave out."""
        return False

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

    def retry(self) -> None:
        """Have a call made again of which nobody knows whether it has happened."""
        self.draft.retry()

    def skip(self) -> None:
        """Give up a call of which nobody knows whether it has happened."""
        self.draft.skip()

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
        """What the agent is told of a rejection; may be assigned."""
        return self.draft.rejection_feedback

    @confirmation_note.setter
    def confirmation_note(self, note: str | None) -> None:
        self.draft.rejection_feedback = note

    @property
    def resolved_by(self) -> str | None:
        """Who decides, not sent yet: a claim, unless it is signed; may be assigned."""
        return self.draft.resolved_by

    @resolved_by.setter
    def resolved_by(self, name: str | None) -> None:
        self.draft.resolved_by = name

    @property
    def user_input_schema(self) -> list[InputField]:
        """The fields to fill in, each with its value so far: a person's, or else the agent's."""
        if self.pause_type != "user_input":
            return []
        given = self.draft.user_input or {}
        return fields_of(self.draft.form or {}, given, self.provide_user_input)

    @property
    def user_feedback_schema(self) -> list[UserFeedbackQuestion]:
        """The questions to choose the answers to, each with what is chosen so far."""
        if self.pause_type != "user_feedback":
            return []
        return questions_of(self.draft.form or {}, self.draft.user_input or {})

    # As data

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON data, with what is decided so far; `from_dict` makes it again."""
        asked = self.requirement
        told = {
            "id": self.id,
            "run_id": self.draft.run_id,
            "created_at": self.created_at.isoformat(),
            "pause_type": self.pause_type,
            "message": self.message,
            "member_agent_id": self.member_agent_id,
            "member_agent_name": self.member_agent_name,
            "member_run_id": self.member_run_id,
            "tool_execution": asdict(self.tool_execution),
            "user_input_schema": [each.to_dict() for each in self.user_input_schema],
            "user_feedback_schema": [asdict(each) for each in self.user_feedback_schema],
            "confirmation": self.confirmation,
            "confirmation_note": self.confirmation_note,
            "external_execution_result": self.external_execution_result,
            "requirement": asked.model_dump(mode="json"),
            "decision": self._decision(),
        }
        return {name: each for name, each in told.items() if each is not None and each != []}

    def _decision(self) -> dict[str, Any] | None:
        if (whole := self.draft.resolution()) is not None:
            return whole.model_dump(mode="json", exclude_none=True)
        begun = self.draft.user_input
        return None if begun is None else {"action": "answer", "values": begun}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunRequirement:
        """Return what `to_dict` gave, to look at and to send.

        Of all that the data says only the id and the decision count: the run knows what it asked,
        and the rest is what is shown here. Where there is no `decision`, `confirmation` with
        `confirmation_note`, or `external_execution_result`, is one.

        Raises:
            MalformedResolution: it is no such data, or says two things about the decision.
        """
        try:
            asked = _REQUIREMENT.validate_python(data["requirement"])
            draft = StepRequirement(asked, str(data["run_id"]))
        except (KeyError, TypeError, ValidationError) as error:
            raise MalformedResolution(f"no data of a requirement: {error}") from None
        if data.get("id", asked.id) != asked.id:
            raise MalformedResolution(f"the data is of {data['id']!r} and of {asked.id!r}")
        made = cls(draft, data.get("member_agent_name"))
        made._decide(data)
        return made

    def _decide(self, data: Mapping[str, Any]) -> None:
        said: Any = data.get("decision")
        if said is not None:
            self._take(said)
        elif "external_execution_result" in data:
            self.set_external_execution_result(data["external_execution_result"])
        elif data.get("confirmation") is not None:
            self.draft.rejection_feedback = data.get("confirmation_note")
            self.confirmation = data["confirmation"]
        if data.get("confirmation", self.confirmation) is not self.confirmation:
            raise MalformedResolution(f"{self.id!r}: the decision and `confirmation` differ")

    def _take(self, said: Any) -> None:
        of_this = {"requirement_id": self.id, "digest": None}
        given = parse_resolution({**said, **of_this} if isinstance(said, dict) else said)
        self.draft.resolved_by, self.draft.comment = given.resolved_by, given.comment
        match given:
            case Answer(values=values):
                self.provide_user_input(values)
            case EditArguments(arguments=arguments):
                self.edit(**arguments)
            case Reject(feedback=feedback):
                self.reject(feedback)
            case Report(result=result, error=error):
                self.draft.report(result, error=error)
            case Confirm() | Retry() | Skip():
                getattr(self.draft, given.action)()
            case _:
                raise MalformedResolution(f"{self.id!r}: {given.action!r} decides nothing here")

    def __repr__(self) -> str:
        return f"<RunRequirement {self.id} {self.pause_type}: {self.message!r}>"


def drafts_of(requirements: Iterable[Any], run_id: str | None) -> list[StepRequirement]:
    """Return the drafts of requirements, resolved ones of earlier rounds left out.

    Raises:
        DefinitionError: one is none, or another run's.
    """
    drafts: list[StepRequirement] = []
    for each in requirements:
        if isinstance(each, RunRequirement):
            drafts.append(each.draft)
        elif not isinstance(each, ResolvedRequirement):
            raise DefinitionError(f"{each!r} is no requirement of a run")
    for draft in drafts:
        if run_id is not None and draft.run_id != run_id:
            raise DefinitionError(f"{draft.id!r} is asked by run {draft.run_id!r}, not {run_id!r}")
    return drafts
