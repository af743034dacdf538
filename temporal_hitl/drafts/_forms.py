"""How far a form can be checked, and completed, before all of it is filled in."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from temporal_hitl.requirements import AnyRequirement, Question, ToolInput, UserInput
from temporal_hitl.review import UserInputField, form_of

FORMS = (UserInput, ToolInput, Question)
"""The kinds that are answered with values."""


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


def part_of_form(asked: AnyRequirement, given: Collection[str]) -> type[BaseModel] | None:
    """Return a model that checks the values `given` and misses none, or None.

    Of a form that was given as a model or JSON schema only unknown names are found here.
    """
    if fields := fields_of(asked):
        return form_of([_optional(each, given) for each in fields], asked.name)
    names = _only_names(asked)
    if names is None:
        return None
    # By alias, as a schema's names need not be Python's.
    any_of_it: dict[str, Any] = {
        f"value_{number}": (Any, Field(None, alias=name)) for number, name in enumerate(names)
    }
    return create_model("Form", __config__=ConfigDict(extra="forbid"), **any_of_it)


def _optional(field: UserInputField, given: Collection[str]) -> UserInputField:
    return field if field.name in given else field.model_copy(update={"required": False})


def _only_names(asked: AnyRequirement) -> list[str] | None:
    schema = asked.form if isinstance(asked, FORMS) else {}
    closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
    properties = schema.get("properties", {})
    return list(properties) if closed and isinstance(properties, dict) else None
