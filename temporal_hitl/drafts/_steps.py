"""The draft of the answer to anything but an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from temporal_hitl.drafts._asked import Asked
from temporal_hitl.drafts._forms import fields_of, filled_in, loosened, required_by
from temporal_hitl.errors import MalformedResolution
from temporal_hitl.requirements import (
    Answer,
    AnyRequirement,
    AnyResolution,
    Confirm,
    Edit,
    Reject,
    Select,
    ToolConfirmation,
    validate,
)
from temporal_hitl.review import UserInputField


class StepRequirement(Asked):
    """A draft of the answer to anything but an error: fill it in, and `continue_run` sends it.

    A method or an assignment that does not fit the kind of question raises a `ValueError` saying
    what does, and leaves the draft as it was.
    """

    __slots__ = ("_feedback",)

    def __init__(self, requirement: AnyRequirement, run_id: str) -> None:
        super().__init__(requirement, run_id)
        self._feedback: str | None = None

    # Decide

    def confirm(self) -> None:
        """Decide yes: begin; keep the output; end the Loop with this iteration."""
        self._decide("confirm")

    def reject(self, feedback: str | None = None) -> None:
        """Decide no; what follows is `on_reject`, and `feedback` says what to do better."""
        self._decide("reject", feedback=feedback)

    def edit(self, new_output: Any) -> None:
        """Decide to go on with `new_output` in place of what is under review."""
        if new_output is None and self.requires_output_review:
            raise MalformedResolution(f"{self.id!r}: None is no edit; confirm() keeps the output")
        self._decide("edit", output=new_output)

    def edit_arguments(self, **arguments: Any) -> None:
        """Decide yes to a tool's call, with these of its arguments in place of the agent's."""
        asked = self.requirement
        before = asked.tool_args if isinstance(asked, ToolConfirmation) else {}
        self._decide("edit_arguments", arguments={**before, **arguments})

    def report(self, result: Any = None, *, error: str | None = None) -> None:
        """Tell the result of a tool that ran outside, or what went wrong with it."""
        self._decide("report", result=result, error=error)

    def retry(self) -> None:
        """Decide that a tool's call of which nobody knew the end is made again."""
        self._decide("retry")

    def skip(self) -> None:
        """Decide that a tool's call of which nobody knew the end is given up."""
        self._decide("skip")

    def set_user_input(self, /, validate: bool = True, **values: Any) -> None:
        """Fill in the form, wholly or field by field: values are kept from call to call.

        Each value given is checked against its field, and a call with a wrong one keeps none of its
        values. The form is resolved once no required value is missing; one that the author filled
        in beforehand counts.
        """
        self._fill_in(values, before=self.user_input or {}, check=validate)

    def get_user_input(self, name: str) -> Any:
        """Return one value of the form: given, or else filled in beforehand, or None."""
        return {**filled_in(self.requirement), **(self.user_input or {})}.get(name)

    def select(self, *choices: str) -> None:
        """Choose the way to go on, or several in the order in which they are to run."""
        self._decide("select", choices=choices)

    def select_single(self, choice: str) -> None:
        """Choose one way to go on."""
        self.select(choice)

    def select_multiple(self, choices: Sequence[str]) -> None:
        """Choose several ways to go on; refused where only one may be chosen."""
        if self.requires_route_selection and not self.allow_multiple_selections:
            raise MalformedResolution(f"{self.id!r}: only one may be chosen, by select()")
        self._decide("select", choices=choices)

    def _fill_in(self, values: Any, before: Mapping[str, Any], *, check: bool = True) -> None:
        given = self._parsed(action="answer", values=values)
        validate(loosened(self.requirement, check=check), given)
        self._settle(self._parsed(action="answer", values={**before, **values}))

    def _settle(self, decision: AnyResolution) -> None:
        super()._settle(decision)
        self._feedback = None

    # Decide by assignment

    @property
    def confirmed(self) -> bool | None:
        """True for yes, edited or not, False for no, else None. May be assigned.

        Assigning what it is already changes nothing: an edited output stays edited.
        """
        match self._decision:
            case Confirm() | Edit():
                return True
            case Reject():
                return False
            case _:
                return None

    @confirmed.setter
    def confirmed(self, value: bool | None) -> None:
        if not isinstance(value, bool | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise MalformedResolution(f"{self.id!r}: confirmed is True, False or None: {value!r}")
        if value is self.confirmed:
            return
        if value is None:
            self._take_back(Confirm, Edit, Reject)
        elif value:
            self.confirm()
        else:
            self.reject(self._feedback)

    @property
    def rejection_feedback(self) -> str | None:
        """What goes with a rejection. May be assigned, before `confirmed = False` or after."""
        return self._decision.feedback if isinstance(self._decision, Reject) else self._feedback

    @rejection_feedback.setter
    def rejection_feedback(self, value: str | None) -> None:
        if isinstance(self._decision, Reject):
            self.reject(value)
        else:
            self._feedback = value

    @property
    def user_input(self) -> dict[str, Any] | None:
        """The values given so far; None before the first. Assigning replaces all of them."""
        return deepcopy(self._decision.values) if isinstance(self._decision, Answer) else None

    @user_input.setter
    def user_input(self, value: Mapping[str, Any] | None) -> None:
        if value is None:
            self._take_back(Answer)
        else:
            self._fill_in(value, before={})

    @property
    def selected_choices(self) -> list[str] | None:
        """The ways chosen; None while undecided. May be assigned."""
        return list(self._decision.choices) if isinstance(self._decision, Select) else None

    @selected_choices.setter
    def selected_choices(self, value: Sequence[str] | None) -> None:
        if value is None:
            self._take_back(Select)
        else:
            self._decide("select", choices=value)

    @property
    def edited_output(self) -> Any:
        """The output to go on with in place of the one under review, or None. May be assigned."""
        return self._decision.output if isinstance(self._decision, Edit) else None

    @edited_output.setter
    def edited_output(self, value: Any) -> None:
        if value is None:
            self._take_back(Edit)
        else:
            self.edit(value)

    # The form, as far as it is filled in

    @property
    def user_input_schema(self) -> list[UserInputField] | None:
        """The form's fields, each with its value so far, as copies of their own for each caller.

        None where it is no form, and empty where the form was given as a model or a JSON schema,
        which `form` is.
        """
        if not self.requires_user_input:
            return None
        given = self.user_input or {}
        return [
            each.model_copy(update={"value": given.get(each.name, each.value)})
            for each in fields_of(self.requirement)
        ]

    @property
    def missing_values(self) -> list[str]:
        """The required values that an answer lacks which was begun; empty in all other cases."""
        if not isinstance(self._decision, Answer):
            return []
        there = {**filled_in(self.requirement), **self._decision.values}
        return [name for name in required_by(self.requirement) if name not in there]

    def _complete(self) -> AnyResolution | None:
        match self._decision:
            case Answer() if self.missing_values:
                return None
            case Answer(values=values) as begun:
                known, required = filled_in(self.requirement), required_by(self.requirement)
                beforehand = {name: known[name] for name in required if name in known}
                return begun.model_copy(update={"values": {**beforehand, **values}})
            case decided:
                return decided
