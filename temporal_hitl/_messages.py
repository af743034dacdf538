"""Fills in what authors leave open in their questions: `"Delete {rows} records?"`.

Pure. Takes names alone, no attributes and no indexes, and raises nothing: what cannot be filled in
stays as its author wrote it, for the reader to see.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from string import Formatter
from typing import Any, cast

LONGEST = 500
"""Characters of one value in a question; the rest is cut, and marked so."""


def fill_in(message: str, values: Mapping[str, Any]) -> str:
    """Return `message` with each `{name}` that `values` has in its place, by its format if any."""
    try:
        parts = list(Formatter().parse(message))
    except ValueError:  # Single braces: no template.
        return message
    return "".join(text + _filled(values, *field) for text, *field in parts)


def values_of(input: Any, previous: Any, iteration: int | None, **more: Any) -> dict[str, Any]:
    """Return what a question may name: the content before, its keys and those of the input, and
    what `more` there is to it.
    """
    keys: dict[str, Any] = {}
    for data in (input, previous, *more.values()):
        if isinstance(data, dict):
            keys |= cast(dict[str, Any], data)
    known = {"input": input, "previous_step_content": previous, "iteration": iteration}
    return keys | known | more


def _filled(
    values: Mapping[str, Any], name: str | None, spec: str | None, conversion: str | None
) -> str:
    if name is None:
        return ""
    value = values.get(name)
    text = None if value is None or conversion else _told(value, spec or "")
    if text is None:
        return f"{{{name}{'!' + conversion if conversion else ''}{':' + spec if spec else ''}}}"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _told(value: Any, spec: str) -> str | None:
    """Return `value` as text, or None where the format does not fit it."""
    if not spec:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if any(len(digits) > 3 for digits in re.findall(r"\d+", spec)):
        return None  # A width of a billion is no width.
    try:
        return format(value, spec)
    except (TypeError, ValueError):
        return None
