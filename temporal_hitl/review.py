"""When a human is asked, and what each answer means: policies as data, and nothing that runs.

Owns the words that authors use (`HumanReview`, `OnReject`, `OnTimeout`, `OnError`, `@pause`, and
`UserInputField` of the forms) and their construction checks. Knows nothing of runs, gates or
Temporal.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from temporal_hitl._arguments import as_seconds, parse_enum, role_names, whole
from temporal_hitl._forms import FieldType, Form, FormLike, UserInputField, form_of
from temporal_hitl._subscribers import subscribers
from temporal_hitl.errors import DefinitionError

__all__ = [
    "APPROVER",
    "ApprovalType",
    "FieldType",
    "HumanReview",
    "OnError",
    "OnReject",
    "OnTimeout",
    "UserInputField",
    "form_of",
    "pause",
]


class OnReject(StrEnum):
    """What a rejection does (seed 002, "OnReject Behavior")."""

    skip = "skip"
    """Leave the node out and go on with the next one."""
    cancel = "cancel"
    """End the run as cancelled."""
    else_branch = "else"
    """Condition only: take the else-branch."""
    retry = "retry"
    """Reviews only: do it again with the reviewer's feedback."""


class OnError(StrEnum):
    """What happens when a step has failed for good (seed 002, "Error Handling")."""

    fail = "fail"
    """The run fails."""
    skip = "skip"
    """The failure is recorded and the run goes on."""
    pause = "pause"
    """A person decides: retry or skip."""


class OnTimeout(StrEnum):
    """What a deadline does when nobody has answered (seed 001, "Timeout")."""

    cancel = "cancel"
    """End the run as cancelled."""
    skip = "skip"
    """Leave the node out and go on."""
    approve = "approve"
    """Go on as if somebody had confirmed; recorded as decided by the timeout."""


APPROVER = "approver"
"""The role that approves, unless the author names others."""


class ApprovalType(StrEnum):
    """What an approval is for (seed 003, "Approval")."""

    required = "required"
    """Nothing is executed unless somebody who may has approved it, under a signature."""
    audit = "audit"
    """Whoever is asked decides, and the decision is on file."""


class HumanReview(BaseModel):
    """Says when a person is asked about a node, and what each answer or silence does (seed 001).

    Which of it a primitive supports is checked where it is given to one.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )

    requires_confirmation: bool = False
    """Ask before running."""
    confirmation_message: str | None = None
    """The question."""
    requires_user_input: bool = False
    """Step: have a form filled in before running. Router: have a person choose the route."""
    user_input_message: str | None = None
    """What is said above the form, or the choices."""
    user_input_schema: Any = None
    """The form: a list of `UserInputField` or dicts of one, a Pydantic model class, or the JSON
    schema of an object. Without one any values are taken."""
    allow_multiple_selections: bool = False
    """Router: whether several routes may be chosen; they run in the order given."""
    requires_output_review: bool | Callable[..., Any] = False
    """Ask after running: always, or where this function of the `StepOutput`, which runs as an
    activity, says so. Where the function fails, a person is asked."""
    output_review_message: str | None = None
    """The question."""
    requires_iteration_review: bool = False
    """Loop: ask after each iteration, the last included, unless the end condition is true or a step
    has asked to stop."""
    iteration_review_message: str | None = None
    """The question."""
    on_reject: OnReject = OnReject.skip
    """What a rejection does. `skip` drops what was rejected: a step's output, or the output of a
    whole Loop. `retry` is for reviews; before a node has run it means `skip`."""
    on_error: OnError = OnError.skip
    """What happens when the node's function has failed for good."""
    max_retries: int = 3
    """How often an output is made again because it was rejected; the next rejection cancels the
    run. 0 for never. (A Step's own `max_retries` are its executions.)"""
    max_error_retries: int | None = None
    """How often a person may have a failed node tried again, under `on_error="pause"`; None for as
    often as they like."""
    timeout: float | None = None
    """Seconds until the deadline of each question; None waits for ever. A `timedelta` may be
    given."""
    on_timeout: OnTimeout = OnTimeout.cancel
    """What the deadline does."""
    strict_deadline: bool = False
    """Whether an affirmative answer that is read after the deadline is refused.

    It matters where no worker was there to let the deadline act: otherwise such an answer counts,
    and is marked `late`.
    """
    roles: tuple[str, ...] = ()
    """Who may answer, where not everybody may: any one of these roles suffices. Then only an answer
    that our HTTP service, inbox or command line has signed counts."""
    notify: tuple[str, ...] | None = None
    """Who is told when a question opens, is about to be late, and is closed: names of subscribers,
    which the worker's environment knows (`HITL_NOTIFY_MANAGERS`). None leaves it to the pipeline,
    and an empty list tells nobody."""
    notify_before: float | None = None
    """Seconds, or a `timedelta`, before the deadline at which it is about to be late: an hour, or a
    fifth of the time where that is less, unless given."""

    def __init__(self, **fields: Any) -> None:
        """Check every value; raises `DefinitionError` naming the field."""
        unknown = sorted(set(fields) - set(type(self).model_fields))
        if unknown:
            known = ", ".join(type(self).model_fields)
            raise DefinitionError(f"HumanReview has no {unknown[0]!r}; it has {known}")
        for name, kind in _ENUMS.items():
            if name in fields:
                fields[name] = parse_enum(kind, fields[name], _field_of(name))
        for name in ("timeout", "notify_before"):
            fields[name] = as_seconds(fields.get(name), _field_of(name))
        if "roles" in fields:
            fields["roles"] = role_names(fields["roles"], _field_of("roles"))
        if fields.get("notify") is not None:
            fields["notify"] = subscribers(fields["notify"], _field_of("notify"))
        for name in ("max_retries", "max_error_retries"):
            if fields.get(name) is not None:
                whole(fields[name], 0, _field_of(name))
        if fields.get("user_input_schema") is not None:
            Form.of(fields["user_input_schema"], _field_of("user_input_schema"))
        try:
            super().__init__(**fields)
        except ValidationError as invalid:
            wrong = invalid.errors(include_url=False)[0]
            where, value = wrong["loc"][0], wrong["input"]
            raise DefinitionError(f"{_field_of(str(where))}: {value!r}: {wrong['msg']}") from None
        check_before(self.notify_before, self.timeout, _field_of("notify_before"))
        if self.requires_output_review and self.requires_iteration_review:
            raise DefinitionError(
                "HumanReview: requires_output_review is for a Step or a Router, and"
                " requires_iteration_review for a Loop; give one of them"
            )

    @property
    def reviews(self) -> bool:
        """Whether anything that was produced is shown to a person."""
        return bool(self.requires_output_review or self.requires_iteration_review)


_ENUMS: dict[str, type[OnReject] | type[OnError] | type[OnTimeout]] = {
    "on_reject": OnReject,
    "on_error": OnError,
    "on_timeout": OnTimeout,
}


def check_before(before: float | None, timeout: float | None, where: str) -> None:
    """Refuse what is no time before a deadline, whose question is open for `timeout` seconds."""
    if before is not None and (timeout is None or before >= timeout):
        raise DefinitionError(
            f"{where}: it counts back from the deadline; give a timeout that is longer"
        )


def _field_of(name: str) -> str:
    return f"HumanReview({name}=...)"


F = TypeVar("F", bound=Callable[..., Any])
FORM_WITHOUT_ASKING = (
    "user_input_schema is a form that nobody is asked to fill in; add requires_user_input=True"
)
PAUSE_ATTRIBUTE = "__temporal_hitl_pause__"


def pause(
    name: str | None = None,
    *,
    requires_confirmation: bool = False,
    confirmation_message: str | None = None,
    requires_user_input: bool = False,
    user_input_message: str | None = None,
    user_input_schema: FormLike | None = None,
) -> Callable[[F], F]:
    """Give a function default review settings, which its Step's arguments override (seed 002)."""
    if user_input_schema is not None and not requires_user_input:
        raise DefinitionError(f"@pause: {FORM_WITHOUT_ASKING}")
    marks: dict[str, Any] = {
        "name": name,
        "requires_confirmation": requires_confirmation,
        "confirmation_message": confirmation_message,
        "requires_user_input": requires_user_input,
        "user_input_message": user_input_message,
        "user_input_schema": user_input_schema,
    }

    def mark(function: F) -> F:
        setattr(function, PAUSE_ATTRIBUTE, marks)
        return function

    return mark
