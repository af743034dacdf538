"""Checks data by JSON schemas.

Imported where a form asks for it: `jsonschema` takes 60 ms, and most pipelines have no such form. A
module of its own, as the sandbox lets the modules of this library through, and what they import,
but nothing that a function of theirs imports from elsewhere.
"""

# jsonschema's own signatures hold Unknowns.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, time
from typing import Any

from jsonschema import FormatChecker, SchemaError
from jsonschema.validators import validator_for
from referencing import Registry

_FORMATS = FormatChecker()


def _parsed_by(parse: Callable[[str], object]) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        return not isinstance(value, str) or parse(value) is not None

    return fits


# Without these two it knows no format of a time, and takes anything.
_FORMATS.checks("date-time", raises=ValueError)(_parsed_by(datetime.fromisoformat))
_FORMATS.checks("time", raises=ValueError)(_parsed_by(time.fromisoformat))


def mistake(schema: Mapping[str, Any]) -> str | None:
    """Return why `schema` is no JSON schema, as `where: what`, or None."""
    try:
        validator_for(schema).check_schema(dict(schema))
    except SchemaError as wrong:
        where = ".".join(str(part) for part in wrong.absolute_path) or "the schema"
        return f"{where}: {wrong.message}"
    return None


def problems(schema: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """Return every reason why `values` do not fit `schema`, as `where: what`."""
    # A registry of our own: the default one fetches what a schema refers to from the network.
    checker = validator_for(schema)(schema, registry=Registry(), format_checker=_FORMATS)
    try:
        found = sorted(checker.iter_errors(values), key=lambda each: each.json_path)
    except Exception as error:  # A reference to nowhere, a pattern that is none.
        return [f"the form's own check failed: {error!r}"[:300]]
    told: list[str] = []
    for each in found:
        where = ".".join(str(part) for part in each.absolute_path)
        told.append(f"{where[:80]}: {each.message[:300]}" if where else each.message[:300])
    return told
