"""When a human is asked, and what each answer means: policies as data, and nothing that runs.

Owns the words that authors use (`HumanReview`, `OnReject`, `OnTimeout`, `OnError`,
`UserInputField`, `@pause`) and their construction checks. Knows nothing of runs, gates or Temporal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from temporal_hitl._arguments import as_seconds, parse_enum
from temporal_hitl.errors import DefinitionError

__all__ = [
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


FieldType = Literal["str", "int", "float", "bool", "list", "dict"]

_PYTHON_TYPES: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "list": list[Any],
    "dict": dict[str, Any],
}


class UserInputField(BaseModel):
    """One field of a form, as seed 002 writes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = Field(min_length=1)
    """The key of the value in the answer."""
    field_type: FieldType = "str"
    """`str`, `int`, `float`, `bool`, `list` or `dict`; nothing is coerced: `"5"` is not an int."""
    description: str | None = None
    """The hint beside the field."""
    required: bool = True
    """Whether an answer without it (or with null, or an empty text) is refused."""
    allowed_values: tuple[Any, ...] | None = None
    """The choices, where only these are allowed."""
    value: Any = None
    """What the form is filled in with beforehand."""

    def __init__(self, name: str | None = None, field_type: str = "str", **rest: Any) -> None:
        """Accept the name and the type by position too, as the seeds' dataclass does."""
        super().__init__(name=name, field_type=field_type, **rest)

    def annotation(self) -> tuple[Any, Any]:
        """Return the Pydantic field definition that validates and describes this field."""
        kind = (
            Literal[tuple(self.allowed_values)]
            if self.allowed_values
            else _PYTHON_TYPES[self.field_type]
        )  # type: ignore[valid-type]
        if not self.required:
            return cast(Any, kind) | None, Field(self.value, description=self.description)
        limits: dict[str, Any] = {}
        if self.field_type == "str" and not self.allowed_values:
            limits["min_length"] = 1
        examples = None if self.value is None else [self.value]
        return kind, Field(description=self.description, examples=examples, **limits)


def form_of(
    fields: Sequence[UserInputField | Mapping[str, Any]], title: str = "Form"
) -> type[BaseModel]:
    """Return a model that refuses whatever the fields do not allow, unknown keys included."""
    parsed = [f if isinstance(f, UserInputField) else UserInputField(**f) for f in fields]
    names = [field.name for field in parsed]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise DefinitionError(f"{title}: a form needs fields of different names, not {names!r}")
    definitions: dict[str, Any] = {field.name: field.annotation() for field in parsed}
    return create_model(title, __config__=ConfigDict(extra="forbid", strict=True), **definitions)


class HumanReview(BaseModel):
    """Says when a person is asked about a node, and what each answer or silence does (seed 001)."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )

    requires_confirmation: bool = False
    """Ask before running."""
    confirmation_message: str | None = None
    """The question."""
    on_reject: OnReject = OnReject.skip
    """What a rejection does."""
    timeout: float | None = None
    """Seconds until the deadline; None waits for ever. A `timedelta` may be given."""
    on_timeout: OnTimeout = OnTimeout.cancel
    """What the deadline does."""
    strict_deadline: bool = False
    """Whether an affirmative answer that is read after the deadline is refused.

    It matters where no worker was there to let the deadline act: otherwise such an answer counts,
    and is marked `late`.
    """

    def __init__(self, **fields: Any) -> None:
        """Check every value; raises `DefinitionError` naming the field."""
        unknown = sorted(set(fields) - set(type(self).model_fields))
        if unknown:
            known = ", ".join(type(self).model_fields)
            raise DefinitionError(f"HumanReview has no {unknown[0]!r}; it has {known}")
        for name, kind in (("on_reject", OnReject), ("on_timeout", OnTimeout)):
            if name in fields:
                fields[name] = parse_enum(kind, fields[name], f"HumanReview({name}=...)")
        fields["timeout"] = as_seconds(fields.get("timeout"), "HumanReview(timeout=...)")
        try:
            super().__init__(**fields)
        except ValidationError as invalid:
            wrong = invalid.errors(include_url=False)[0]
            where, value = wrong["loc"][0], wrong["input"]
            raise DefinitionError(f"HumanReview({where}=...): {value!r}: {wrong['msg']}") from None


F = TypeVar("F", bound=Callable[..., Any])
PAUSE_ATTRIBUTE = "__temporal_hitl_pause__"


def pause(
    name: str | None = None,
    *,
    requires_confirmation: bool = False,
    confirmation_message: str | None = None,
) -> Callable[[F], F]:
    """Give a function default review settings, which its Step's arguments override (seed 002)."""

    def mark(function: F) -> F:
        flags = {"name": name, "requires_confirmation": requires_confirmation}
        setattr(function, PAUSE_ATTRIBUTE, {**flags, "confirmation_message": confirmation_message})
        return function

    return mark
