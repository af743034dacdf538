"""Values as people type them: JSON, text, `@FILE`, `-`; and, for a form's fields, what each one
holds.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from temporal_hitl.cli._exits import Usage

_YES = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False}


def from_outside(given: str) -> str:
    """Return what was given: `-` is standard input, `@FILE` a file, anything else itself.

    Raises:
        Usage: the file cannot be read.
    """
    if given == "-":
        return sys.stdin.read()
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"cannot read {given[1:]!r}: {error}") from error


def moment(given: str | None, option: str) -> datetime | None:
    """Return a day, or a moment of one.

    Raises:
        Usage: it is none.
    """
    try:
        return None if given is None else datetime.fromisoformat(given)
    except ValueError as error:
        raise Usage(f"{option} takes 2026-11-21 or 2026-11-21T09:30, not {given!r}") from error


def json_or_text(given: str) -> Any:
    """Return JSON as data, and anything else as text."""
    text = from_outside(given)
    try:
        return json.loads(text)
    except ValueError:
        return text


def json_object(given: str, option: str) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        Usage: it is none.
    """
    text = from_outside(given)
    try:
        data = json.loads(text)
    except ValueError as error:
        raise Usage(f"{option} takes a JSON object, and this is no JSON: {error}") from error
    if not isinstance(data, dict):
        raise Usage(f"{option} takes a JSON object, as '{{\"name\": 1}}', not {data!r}")
    return cast(dict[str, Any], data)


def assigned(given: Sequence[str], form: Mapping[str, Any]) -> dict[str, Any]:
    """Return `NAME=VALUE`s by name, each as the form's field wants it.

    Raises:
        Usage: one without a `=`.
    """
    values: dict[str, Any] = {}
    for each in given:
        name, sign, value = each.partition("=")
        if not sign:
            raise Usage(f"--set takes NAME=VALUE, not {each!r}")
        values[name] = typed(from_outside(value), field_of(form, name), form)
    return values


def field_of(form: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return how a form describes one of its fields; empty where it does not."""
    properties: dict[str, Any] = form.get("properties") or {}
    return _resolved(properties.get(name), form)


def typed(text: str, field: Mapping[str, Any], form: Mapping[str, Any]) -> Any:
    """Return what was typed as what the field holds; what does not fit stays text, and is refused
    by the form with a reason.
    """
    chosen = [each for each in choices(field, form) if str(each) == text]
    if chosen:
        return chosen[0]
    match kind(field, form):
        case "string":
            return text
        case "boolean":
            return _YES.get(text.strip().lower(), text)
        case "array" if not text.lstrip().startswith("["):
            items = _resolved(_described(field, form, "array").get("items"), form)
            return [typed(each.strip(), items, form) for each in text.split(",") if each.strip()]
        case _:
            return _parsed(text)


def choices(field: Mapping[str, Any], form: Mapping[str, Any]) -> list[Any]:
    """Return the values that a field allows, where only these are allowed."""
    found = list[Any]()
    for each in _options(field, form):
        found += each.get("enum", [])
        found += [each["const"]] if "const" in each else []
    return [each for each in found if each is not None]


def kind(field: Mapping[str, Any], form: Mapping[str, Any]) -> str | None:
    """Return the JSON type of a field, `null` aside."""
    for each in _options(field, form):
        types: Any = each.get("type", [])
        named: list[str] = [types] if isinstance(types, str) else types
        if wanted := [one for one in named if one != "null"]:
            return wanted[0]
    return None


def _described(field: Mapping[str, Any], form: Mapping[str, Any], kind: str) -> dict[str, Any]:
    found = [each for each in _options(field, form) if each.get("type") == kind]
    return found[0] if found else {}


def _options(field: Mapping[str, Any], form: Mapping[str, Any]) -> list[dict[str, Any]]:
    # As Pydantic writes `int | None`.
    alternatives: list[Any] = [*field.get("anyOf", ()), *field.get("oneOf", ())]
    return [dict(field), *(_resolved(each, form) for each in alternatives)]


def _resolved(described: Any, form: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(described, dict):
        return {}
    found = cast(dict[str, Any], described)
    name = str(found.get("$ref", "")).removeprefix("#/$defs/")
    definitions: dict[str, dict[str, Any]] = form.get("$defs") or {}
    return {**definitions.get(name, {}), **found}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
