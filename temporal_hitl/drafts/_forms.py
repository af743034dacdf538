"""How far a form can be checked, and completed, before all of it is filled in."""

from __future__ import annotations

from typing import Any

from temporal_hitl.requirements import AnyRequirement, Question, ToolInput, UserInput
from temporal_hitl.review import UserInputField

FORMS = (UserInput, ToolInput, Question)
"""The kinds that are answered with values."""
_OF_EACH_VALUE = {
    "$schema",
    "$id",
    "$defs",
    "definitions",
    "properties",
    "patternProperties",
    "additionalProperties",
}
"""The rules of a JSON schema about single values; others are about which there are."""


def fields_of(asked: AnyRequirement) -> list[UserInputField]:
    """Return copies of the form's fields; none where it was given as a model or JSON schema."""
    return [each.model_copy(deep=True) for each in asked.fields] if isinstance(asked, FORMS) else []


def required_by(asked: AnyRequirement) -> list[str]:
    """Return the names of the values that no answer may lack."""
    if fields := fields_of(asked):
        return [each.name for each in fields if each.required]
    required = asked.form.get("required") if isinstance(asked, FORMS) else None
    return [str(each) for each in required] if isinstance(required, list) else []


def filled_in(asked: AnyRequirement) -> dict[str, Any]:
    """Return the values that the author filled the form in with."""
    return {each.name: each.value for each in fields_of(asked) if each.value is not None}


def loosened(asked: AnyRequirement, *, check: bool) -> AnyRequirement:
    """Return a copy whose form takes any part of the values, each as the form wants it, or any
    values at all.
    """
    if not isinstance(asked, FORMS):
        return asked
    kept = _OF_EACH_VALUE if check else set[str]()
    form = {name: rule for name, rule in asked.form.items() if name in kept}
    return asked.model_copy(update={"form": form})
