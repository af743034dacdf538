"""The fields of a form, and the questions of `ask_user`, as programs of seed 003 go through them.

Made of the form's JSON schema, whoever wrote it: a tool's parameters, or the agent itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

_TYPES = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "array": "list",
    "object": "dict",
}
DESCRIPTIONS = "enumDescriptions"
"""The keyword under which a form tells of each of its choices, in their order."""
HEADER = "header"
"""The keyword under which a form has the short name of a question."""


class InputField:
    """One value that a person fills in; assigning `value` does, as `provide_user_input` does."""

    __slots__ = ("_fill", "_value", "allowed_values", "description", "field_type", "name")

    def __init__(
        self,
        name: str,
        described: Mapping[str, Any],
        value: Any,
        fill: Callable[[dict[str, Any]], None],
    ) -> None:
        self.name = name
        """The key of the value."""
        self.field_type: str = _type_of(described)
        """`str`, `int`, `float`, `bool`, `list` or `dict`; `str` for what is none of these."""
        self.description: str | None = described.get("description")
        """What is told of it."""
        self.allowed_values: list[Any] | None = _choices(described)
        """The choices, where only these are allowed."""
        self._value = value
        self._fill = fill

    @property
    def value(self) -> Any:
        """The value so far: a person's, or else the agent's. May be assigned."""
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        self._fill({self.name: value})
        self._value = value

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON data."""
        names = ("name", "field_type", "description", "allowed_values", "value")
        return {name: given for name in names if (given := getattr(self, name)) is not None}

    def __repr__(self) -> str:
        return f"<InputField {self.name}: {self.field_type} = {self.value!r}>"


@dataclass(frozen=True)
class UserFeedbackOption:
    """One answer to a question of `ask_user`."""

    label: str
    description: str | None = None
    selected: bool = False
    """Whether it is chosen so far."""


@dataclass(frozen=True)
class UserFeedbackQuestion:
    """One question of `ask_user`."""

    question: str
    header: str | None = None
    options: list[UserFeedbackOption] = field(default_factory=list[UserFeedbackOption])
    multi_select: bool = False
    selected_options: list[str] | None = None
    """What is chosen so far; None before."""


def fields_of(
    form: Mapping[str, Any], given: Mapping[str, Any], fill: Callable[[dict[str, Any]], None]
) -> list[InputField]:
    """Return the fields of a form; `given` is what it is filled in with so far, `fill` does."""
    fields: list[InputField] = []
    for name, each in form.get("properties", {}).items():
        described = _resolved(each, form)
        value = given.get(name, described.get("default"))
        fields.append(InputField(name, described, value, fill))
    return fields


def questions_of(form: Mapping[str, Any], given: Mapping[str, Any]) -> list[UserFeedbackQuestion]:
    """Return the questions of a form that only asks to choose."""
    questions: list[UserFeedbackQuestion] = []
    for name, each in form.get("properties", {}).items():
        several = each.get("type") == "array"
        chosen = given.get(name)
        selected = chosen if several or chosen is None else [chosen]
        of_choices = each["items"] if several else each
        told = of_choices.get(DESCRIPTIONS) or [None] * len(of_choices["enum"])
        options = [
            UserFeedbackOption(label, about or None, label in (selected or ()))
            for label, about in zip(of_choices["enum"], told, strict=True)
        ]
        header = each.get(HEADER)
        questions.append(UserFeedbackQuestion(name, header, options, several, selected))
    return questions


def only_chooses(form: Mapping[str, Any]) -> bool:
    """Return whether a form asks to choose, and for nothing else."""
    properties: dict[str, Any] = form.get("properties", {})
    return bool(properties) and all(
        "enum" in (each.get("items") or each) for each in properties.values()
    )


def _resolved(described: Any, form: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = cast(dict[str, Any], described) if isinstance(described, dict) else {}
    reference = str(found.get("$ref", "")).removeprefix("#/$defs/")
    named = form.get("$defs", {}).get(reference, {})
    other = [each for each in found.get("anyOf", ()) if each != {"type": "null"}]
    return {**named, **(_resolved(other[0], form) if other else {}), **found}


def _type_of(described: Mapping[str, Any]) -> str:
    kind = described.get("type")
    if kind is None and (choices := _choices(described)):
        return type(choices[0]).__name__
    several = cast(list[Any], kind) if isinstance(kind, list) else [kind]
    return next((_TYPES[each] for each in several if each in _TYPES), "str")


def _choices(described: Mapping[str, Any]) -> list[Any] | None:
    if "const" in described:
        return [described["const"]]
    return list(described["enum"]) if "enum" in described else None
