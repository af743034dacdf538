"""The one check behind every door: pure, and complete in what it tells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from temporal_hitl import _forms
from temporal_hitl.errors import MalformedResolution
from temporal_hitl.requirements._questions import (
    AnyRequirement,
    ErrorDecision,
    Question,
    Route,
    ToolConfirmation,
    ToolInput,
    UserInput,
)
from temporal_hitl.requirements._resolutions import (
    Answer,
    AnyResolution,
    EditArguments,
    Report,
    Resolution,
    Retry,
    Select,
)

ANSWER = 500_000
"""Bytes that a resolution may have: its run keeps it, and takes it along."""

_RESOLUTION: TypeAdapter[AnyResolution] = TypeAdapter(AnyResolution)


def parse_resolution(data: Any) -> AnyResolution:
    """Return `data` as a resolution, or raise `MalformedResolution` with every problem in words."""
    if not isinstance(data, (dict, Resolution)):
        example = '{"requirement_id": "...", "action": "confirm"}'
        raise MalformedResolution(f"{_short(data)} is not a resolution; write {example}")
    try:
        resolution = _RESOLUTION.validate_python(data)
    except ValidationError as invalid:
        problems = problems_of(invalid)
        told = "not a resolution: " + "; ".join(problems)
        raise MalformedResolution(told, problems=problems) from None
    if (size := len(resolution.model_dump_json().encode())) > ANSWER:
        raise MalformedResolution(
            f"this {resolution.action} has {size:,} bytes, and may have {ANSWER:,}: hand over what"
            " is large by reference (a link, a key)"
        )
    return resolution


def validate(
    requirement: AnyRequirement, resolution: AnyResolution, form: type[BaseModel] | None = None
) -> None:
    """Raise `MalformedResolution` listing every reason why `resolution` does not fit `requirement`.

    The one check behind every door. `form` is the model of the values, where there is one; without,
    they are checked by the JSON schema that the requirement carries.
    """
    if resolution.action not in requirement.actions:
        possible = ", ".join(sorted(requirement.actions))
        raise MalformedResolution(
            f"{requirement.id!r} is a {requirement.kind}: {resolution.action!r} does not answer it;"
            f" use {possible}"
        )
    problems = [
        *_stale(requirement, resolution),
        *_unsayable(resolution),
        *_misfits(requirement, resolution, form),
    ]
    if problems:
        raise MalformedResolution(
            f"{requirement.id!r} refuses this {resolution.action}: " + "; ".join(problems),
            problems=problems,
        )


def used_up(limit: int) -> str:
    """Return in words that something was done again as often as it may be."""
    return f"all {limit} retries are used" if limit else "no retries are allowed"


def _stale(requirement: AnyRequirement, resolution: AnyResolution) -> list[str]:
    if resolution.digest is None or resolution.digest == requirement.digest:
        return []
    return [
        "what you saw is not what is asked now (the digests differ); look again and decide on that"
    ]


def _unsayable(resolution: AnyResolution) -> list[str]:
    # Such a value would be on record as one thing, and executed as another.
    try:
        json.dumps(resolution.to_wire(), allow_nan=False)
    except ValueError:
        return ["it holds a number that JSON does not have: write finite ones"]
    return []


def _misfits(
    requirement: AnyRequirement, resolution: AnyResolution, form: type[BaseModel] | None
) -> list[str]:
    match resolution, requirement:
        case Answer(values=values), _ if form is not None:
            return _bad_values(form, values)
        case Answer(values=values), UserInput() | ToolInput() | Question():
            return _forms.problems(requirement.form, values)
        case EditArguments(arguments=arguments), ToolConfirmation(form=form_) if form_:
            return _forms.problems(form_, arguments)
        case Report(result=result, error=str()), _ if result is not None:
            return ["it has a result and an error; keep one"]
        case Select(choices=choices), Route():
            return _bad_choices(choices, requirement)
        case Retry(), ErrorDecision(is_spent=True, retries_limit=limit):
            return [f"{used_up(limit or 0)}; skip is what is left"]
        case _:
            return []


def _bad_values(form: type[BaseModel], values: dict[str, Any]) -> list[str]:
    try:
        # JSON mode: strict about types, yet a date may come as text, as JSON has no dates.
        form.model_validate_json(json.dumps(values))
    except ValidationError as invalid:
        return problems_of(invalid)
    except Exception as error:  # A validator of the author's may raise anything.
        return [f"the form's own check failed: {error!r}"]
    return []


def _bad_choices(choices: Sequence[str], route: Route) -> list[str]:
    unknown = [choice for choice in choices if choice not in route.choices]
    problems = [f"{_short(choice)} is not one of {', '.join(route.choices)}" for choice in unknown]
    if not choices:
        problems.append(f"choose one of {', '.join(route.choices)}")
    if len(choices) > 1 and not route.allow_multiple:
        problems.append("only one may be chosen")
    if len(set(choices)) < len(choices):
        problems.append("a choice is named twice")
    return problems


def problems_of(invalid: ValidationError) -> list[str]:
    """Return each problem of a Pydantic error as `where: what (what came)`."""
    told: list[str] = []
    for error in invalid.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in error["loc"]) or "the answer"
        came = "" if error["type"] == "missing" else f" (got {_short(error['input'])})"
        told.append(f"{where[:80]}: {error['msg'][:300]}{came}")
    return told


def _short(value: Any, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
