"""A form from a JSON schema: which widget each value has, and what was written back into values.

Owns the way from a schema to fields and from text to JSON. Whether the values fit is the run's
business; here stands only what cannot be read at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast
from urllib.parse import quote

from pydantic_core import from_json

from temporal_hitl.http.inbox._pages import Posted
from temporal_hitl.http.inbox._words import Words
from temporal_hitl.review import UserInputField

Kind: TypeAlias = Literal[
    "text", "lines", "number", "yes_no", "choice", "choices", "list", "json", "whole"
]
Schema: TypeAlias = dict[str, Any]

LONG = 200
"""Characters from which on a text gets room for several lines."""
_INPUTS = {"date": "date", "time": "time", "email": "email", "uri": "url"}
_LIMITS = {"minimum": "min", "maximum": "max", "minLength": "minlength", "maxLength": "maxlength"}


class Unreadable(ValueError):
    """What was written is not of the field's type."""


@dataclass
class Widget:
    """One field of a form."""

    name: str
    kind: Kind
    label: str
    hint: str | None = None
    needed: bool = False
    type: str = "text"
    """The type of an `input` element."""
    options: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """The choices: as JSON, and as they are read."""
    limits: dict[str, Any] = field(default_factory=dict[str, Any])
    """The attributes that have the browser check it first."""
    whole: bool = False
    """Whether a number has no fraction."""
    written: list[str] = field(default_factory=list[str])
    """What stands in it."""
    problems: list[str] = field(default_factory=list[str])
    """What is wrong with what stands in it."""

    @property
    def field(self) -> str:
        """The name of its form field."""
        return f"value.{self.name}"

    @property
    def id(self) -> str:
        """What its label and its hint refer to: a name may be a sentence, an id has no blank."""
        return quote(self.field, safe="")

    def read(self) -> Any:
        """Return the value that stands in it; raises `Unreadable`."""
        text = self.written[0] if self.written else ""
        match self.kind:
            case "number":
                return _number(text.strip(), self.whole)
            case "choice" | "yes_no":
                return self._chosen(text)
            case "choices":
                return [self._chosen(each) for each in self.written]
            case "list":
                return [each.strip() for each in text.split("\n") if each.strip()]
            case "json" | "whole":
                return _json(text)
            case _:
                return text

    def _chosen(self, text: str) -> Any:
        if text not in [value for value, _ in self.options]:
            raise Unreadable(Words.not_choice)
        return json.loads(text)

    @property
    def is_empty(self) -> bool:
        """Whether nothing stands in it."""
        return not any(each.strip() for each in self.written)


def widgets(schema: Mapping[str, Any], fields: Sequence[UserInputField] = ()) -> list[Widget]:
    """Return the fields of a form, filled in with what it, or its fields, say beforehand."""
    beforehand = {each.name: each.value for each in fields}
    described: Schema = dict(schema)
    named: Schema = described.get("$defs", {})
    properties: Schema = described.get("properties", {})
    if not properties:
        return [Widget("", "whole", Words.values, Words.as_json_hint, True, written=["{}"])]
    needed = described.get("required", [])
    found = {name: _resolved(each, named) for name, each in properties.items()}
    return [
        _widget(name, each, name in needed, beforehand.get(name, each.get("default")))
        for name, each in found.items()
    ]


def arguments(given: Mapping[str, Any], schema: Mapping[str, Any] | None = None) -> list[Widget]:
    """Return fields with the arguments `given`: of their types where a schema says these, else one
    for all of them.
    """
    form = widgets(schema or {})
    if any(each.kind == "whole" for each in form):
        written = json.dumps(given, indent=2, ensure_ascii=False)
        return [Widget("", "whole", Words.arguments, Words.as_json_hint, True, written=[written])]
    form += [Widget(name, "json", name) for name in given if name not in {e.name for e in form}]
    for each in form:
        if each.name in given:
            _fill(each, given[each.name])
    return form


def _fill(widget: Widget, value: Any) -> None:
    widget.written = _written(widget, value)
    if widget.kind == "text" and isinstance(value, str) and "\n" in value:
        widget.kind = "lines"
    try:
        is_kept = not widget.is_empty and widget.read() == value
    except Unreadable:
        is_kept = False
    if not is_kept:  # An agent may give anything; nothing of it is lost.
        widget.kind = "json"
        widget.written = _written(widget, value)


def _resolved(schema: Any, named: Schema) -> Schema:
    """Return what a schema says without references, and without the null that it allows beside."""
    found = cast(Schema, schema) if isinstance(schema, dict) else {}
    reference = str(found.get("$ref", "")).removeprefix("#/$defs/")
    if isinstance(named.get(reference), dict):
        return {**named[reference], **{key: found[key] for key in found if key != "$ref"}}
    for several in ("anyOf", "allOf", "oneOf"):
        parts: list[Any] = [each for each in found.get(several, ()) if not _is_null(each)]
        if len(parts) == 1:
            rest = {key: found[key] for key in found if key != several}
            return {**_resolved(parts[0], named), **rest}
    return found


def _is_null(schema: Any) -> bool:
    return isinstance(schema, dict) and cast(Schema, schema).get("type") == "null"


def _widget(name: str, schema: Schema, needed: bool, beforehand: Any) -> Widget:
    kind, options = _kind(schema)
    made = Widget(
        name,
        kind,
        label=str(schema.get("title") or name),
        hint=schema.get("description"),
        needed=needed,
        options=[(json.dumps(each), _read(each)) for each in options],
        limits={_LIMITS[key]: schema[key] for key in _LIMITS if key in schema},
        whole=schema.get("type") == "integer",
        type=_INPUTS.get(schema.get("format", ""), "text"),
    )
    if beforehand is not None:
        made.written = _written(made, beforehand)
    return made


def _kind(schema: Schema) -> tuple[Kind, list[Any]]:
    said: Any = schema.get("type")
    if isinstance(said, list):  # As `["string", "null"]`.
        said = next((each for each in cast(list[Any], said) if each != "null"), None)
    if "enum" in schema or "const" in schema:
        return "choice", [each for each in schema.get("enum", [schema.get("const")])]
    items: Any = schema.get("items")
    inner = cast(Schema, items) if isinstance(items, dict) else {}
    match said:
        case "boolean":
            return "yes_no", [True, False]
        case "integer" | "number":
            return "number", []
        case "string":
            is_long = schema.get("maxLength", 0) > LONG or len(str(schema.get("default"))) > LONG
            return ("lines" if is_long else "text"), []
        case "array" if "enum" in inner:
            return "choices", list(inner["enum"])
        case "array" if inner.get("type") == "string":
            return "list", []
        case _:
            return "json", []


def _read(value: Any) -> str:
    if isinstance(value, bool):
        return Words.yes if value else Words.no
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _written(widget: Widget, value: Any) -> list[str]:
    match widget.kind:
        case "choice" | "yes_no":
            return [json.dumps(value)]
        case "choices" if isinstance(value, list):
            return [json.dumps(each) for each in cast(list[Any], value)]
        case "list" if isinstance(value, list):
            return ["\n".join(map(str, cast(list[Any], value)))]
        case "json":
            return [json.dumps(value, indent=2, ensure_ascii=False)]
        case _:
            return [_read(value)]


def filled(form: list[Widget], posted: Posted) -> tuple[dict[str, Any], bool]:
    """Fill `form` with what was posted, and return its values, and whether all could be read.

    What stands in no field, and need not, is left out.
    """
    values = dict[str, Any]()
    for each in form:
        each.written = [text.replace("\r\n", "\n") for text in posted.all(each.field)]
        if each.is_empty:
            each.problems = [Words.needed] if each.needed else []
            continue
        try:
            value = each.read()
        except Unreadable as wrong:
            each.problems = [str(wrong)]
            continue
        if each.kind != "whole":
            values[each.name] = value
        elif isinstance(value, dict):
            values = cast(dict[str, Any], value)
        else:
            each.problems = [Words.not_object]
    return values, not any(each.problems for each in form)


def anything(text: str) -> Any:
    """Return JSON as what it says, anything else as the text that it is, and nothing as null."""
    if not text.strip():
        return None
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        return text


def _number(text: str, whole: bool) -> int | float:
    try:
        return int(text)
    except ValueError:
        if whole:
            raise Unreadable(Words.not_whole) from None
    try:
        value = float(text)
    except ValueError:
        raise Unreadable(Words.not_number) from None
    if value != value or value in (float("inf"), float("-inf")):
        raise Unreadable(Words.not_number)
    return value


def _json(text: str) -> Any:
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise Unreadable(Words.not_json.format(why=error)) from None
