"""Checks data by JSON schemas.

Imported where a form asks for it: `jsonschema` takes 60 ms, and most pipelines have no such form. A
module of its own, as the sandbox lets the modules of this library through, and what they import,
but nothing that a function of theirs imports from elsewhere.
"""

# jsonschema's own signatures hold Unknowns.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, time
from typing import Any, cast

from jsonschema import Draft202012Validator, FormatChecker, SchemaError
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

_FORMATS = FormatChecker()
_PLAIN_DATA = {"const", "default", "enum", "examples"}
"""Keys below which there are values, and no schemas."""


def _parsed_by(parse: Callable[[str], object]) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        return not isinstance(value, str) or parse(value) is not None

    return fits


# Without these two it knows no format of a time, and takes anything.
_FORMATS.checks("date-time", raises=ValueError)(_parsed_by(datetime.fromisoformat))
_FORMATS.checks("time", raises=ValueError)(_parsed_by(time.fromisoformat))


def _validator(schema: Mapping[str, Any]) -> Any:
    # By the latest draft where it names none that is known; what it names is not looked for.
    return validator_for(schema, default=Draft202012Validator)


def mistake(schema: Mapping[str, Any]) -> str | None:
    """Return why `schema` is no JSON schema, as `where: what`, or None."""
    try:
        _validator(schema).check_schema(dict(schema))
    except SchemaError as wrong:
        where = ".".join(str(part) for part in wrong.absolute_path) or "the schema"
        return f"{where}: {wrong.message}"
    return _dangling(schema)


def _dangling(schema: Mapping[str, Any]) -> str | None:
    """Return which reference of `schema` leads nowhere: nothing is fetched from outside it."""
    resource = DRAFT202012.create_resource(schema)
    here = schema.get("$id", "")
    registry: Registry[Any] = Registry()
    resolver = registry.with_resource(here, resource).crawl().resolver(here)
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            return f"$ref: {reference!r} is not in the schema"
    return None


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for each in cast(list[Any], schema):
            yield from _references(each)
    elif isinstance(schema, dict):
        for key, each in cast(dict[str, Any], schema).items():
            if key == "$ref" and isinstance(each, str):
                yield each
            elif key not in _PLAIN_DATA:
                yield from _references(each)


def problems(schema: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """Return every reason why `values` do not fit `schema`, as `where: what`."""
    # A registry of our own: the default one fetches what a schema refers to from the network.
    checker = _validator(schema)(schema, registry=Registry(), format_checker=_FORMATS)
    try:
        found = sorted(checker.iter_errors(values), key=lambda each: each.json_path)
    except Exception as error:  # A reference to nowhere, a pattern that is none.
        return [f"the form's own check failed: {error!r}"[:300]]
    told: list[str] = []
    for each in found:
        where = ".".join(str(part) for part in each.absolute_path)
        # Of alternatives (`int | None`) each one's own reason helps, and not that none fits.
        reasons = [inner.message for inner in each.context or ()] or [each.message]
        told.append(": ".join(filter(None, [where[:80], "; or ".join(reasons)[:300]])))
    return told
