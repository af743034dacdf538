"""Forms: what authors write of them, as one JSON schema, and the check of values by it.

Pure. Knows nothing of who asks and who answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_after_validator_function

from temporal_hitl.errors import DefinitionError

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
        """Return the Pydantic field definition that validates and describes this field.

        By alias, as Pydantic reserves names that a form may well have (`schema`, `_x`).
        """
        kind: Any = _PYTHON_TYPES[self.field_type]
        if self.allowed_values:
            kind = Annotated[kind, _Allowed(self.allowed_values)]
        if not self.required:
            optional = Field(self.value, alias=self.name, description=self.description)
            return kind | None, optional
        limits: dict[str, Any] = {}
        if self.field_type == "str" and not self.allowed_values:
            limits["min_length"] = 1
        examples = None if self.value is None else [self.value]
        return kind, Field(
            alias=self.name, description=self.description, examples=examples, **limits
        )


class _Allowed:
    """Lets only some values of a type through, which a `Literal` does not: to it, True is 1."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self._checked, handler(kind))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(core), "enum": list(self._values)}

    def _checked(self, value: Any) -> Any:
        if value in self._values:
            return value
        expected = " or ".join(map(repr, self._values))
        raise PydanticCustomError(
            "not_allowed", "Input should be {expected}", {"expected": expected}
        )


def form_of(
    fields: Sequence[UserInputField | Mapping[str, Any]], title: str = "Form"
) -> type[BaseModel]:
    """Return a model that refuses whatever the fields do not allow, unknown keys included."""
    parsed = [_field(title, each) for each in fields]
    names = [field.name for field in parsed]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise DefinitionError(f"{title}: a form needs fields of different names, not {names!r}")
    for field in parsed:
        _check_values(title, field)
    definitions: dict[str, Any] = {
        f"value_{place}": field.annotation() for place, field in enumerate(parsed)
    }
    return create_model(title, __config__=ConfigDict(extra="forbid", strict=True), **definitions)


def _check_values(title: str, field: UserInputField) -> None:
    """Refuse what a field offers and would not take."""
    kind = TypeAdapter(_PYTHON_TYPES[field.field_type])
    offered = [*(field.allowed_values or ()), *([] if field.value is None else [field.value])]
    for value in offered:
        try:
            kind.validate_python(value, strict=True)
        except ValidationError:
            raise DefinitionError(
                f"{title}: field {field.name!r} offers {value!r}, which is no {field.field_type}"
            ) from None
    if field.value is not None and field.allowed_values and field.value not in field.allowed_values:
        raise DefinitionError(
            f"{title}: field {field.name!r} offers {field.value!r}, which is not among its"
            f" allowed_values {list(field.allowed_values)!r}"
        )


def _field(title: str, written: UserInputField | Mapping[str, Any]) -> UserInputField:
    if isinstance(written, UserInputField):
        return written
    if not isinstance(written, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DefinitionError(f"{title}: {written!r} is neither a UserInputField nor a dict of one")
    try:
        return UserInputField(**written)
    except (ValidationError, TypeError) as invalid:
        wrong = invalid.errors()[0] if isinstance(invalid, ValidationError) else None
        told = f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}" if wrong else str(invalid)
        raise DefinitionError(f"{title}: {dict(written)!r} is no field of a form: {told}") from None


FormLike: TypeAlias = (
    "Sequence[UserInputField | Mapping[str, Any]] | type[BaseModel] | Mapping[str, Any]"
)
"""A form as authors write it: fields, a Pydantic model class, or a JSON schema of an object."""


@dataclass(frozen=True)
class Form:
    """A form as data."""

    schema: dict[str, Any]
    """The form as JSON schema."""
    fields: tuple[UserInputField, ...] = ()
    """Its fields, where it was written so."""

    @classmethod
    def of(cls, written: FormLike | None, title: str) -> Form:
        """Return what an author wrote as data; None takes any values.

        Raises:
            DefinitionError: it is no form, with what is wrong.
        """
        if written is None:
            return cls({"type": "object"})
        if isinstance(written, type):
            return cls(_model_schema(written, title))
        if isinstance(written, Mapping):
            return cls(_checked_schema(dict(written), title))
        if isinstance(written, str) or not isinstance(written, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(
                f"{title}: {written!r} is no form; give a list of UserInputField, a Pydantic model"
                " class, or a JSON schema"
            )
        fields = tuple(_field(title, each) for each in written)
        return cls(form_of(fields, title).model_json_schema(), fields)

    @property
    def required(self) -> list[str]:
        """The values that no answer may lack."""
        return list(self.schema.get("required", ()))


def _model_schema(model: type, title: str) -> dict[str, Any]:
    if not issubclass(model, BaseModel):
        raise DefinitionError(
            f"{title}: {model!r} is no form; a class must be a Pydantic model (BaseModel)"
        )
    try:
        schema = model.model_json_schema()
    except Exception as error:  # Pydantic's own, and what the author's hooks raise.
        raise DefinitionError(f"{title}: {model!r} has no JSON schema: {error}") from None
    # Of a model that holds itself, Pydantic gives a reference alone.
    reference = schema.get("$ref", "").removeprefix("#/$defs/")
    return {**schema["$defs"][reference], "$defs": schema["$defs"]} if reference else schema


def _checked_schema(schema: dict[str, Any], title: str) -> dict[str, Any]:
    from temporal_hitl import _json_schema

    if schema.get("type", "object") != "object" or not schema.keys() & {"type", "properties"}:
        raise DefinitionError(
            f"{title}: a form is the JSON schema of an object: give it 'type': 'object' and"
            f" 'properties', not {sorted(schema)!r}"
        )
    if wrong := _json_schema.mistake(schema):
        raise DefinitionError(f"{title}: no JSON schema: {wrong}")
    return schema


def problems(schema: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """Return every reason why `values` do not fit `schema`, as `where: what`."""
    from temporal_hitl import _json_schema

    return _json_schema.problems(schema, values)


def completed(schema: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` in the form's order, with the defaults that it states for what is not
    there.
    """
    properties = _described(schema)
    stated = {name: each["default"] for name, each in properties.items() if "default" in each}
    there = {**stated, **values}
    return {name: there[name] for name in properties if name in there} | there


def example(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return values that show what a form wants: what it suggests, else one of the right type."""
    return _example(schema, schema.get("$defs", {}))


def _described(schema: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    # A property may be described by `true` alone.
    properties: dict[str, Any] = schema.get("properties", {})
    return {name: each if isinstance(each, dict) else {} for name, each in properties.items()}


_OF_TYPE: dict[Any, Any] = {
    "integer": 0,
    "number": 0.0,
    "boolean": False,
    "array": [],
    "null": None,
}
_DEEPEST = 3
"""How far an example goes into objects, which may hold themselves."""


def _example(schema: Mapping[str, Any], named: Mapping[str, Any], depth: int = 1) -> dict[str, Any]:
    if depth > _DEEPEST:
        return {}
    described = _described(schema)
    return {name: _suggested(each, named, depth) for name, each in described.items()}


def _suggested(described: Any, named: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(described, dict):
        return "..."
    found = cast(dict[str, Any], described)
    if "default" in found and (found["default"] is not None or depth > 1):
        return found["default"]
    for suggestions in (found.get("examples"), found.get("enum")):
        if suggestions:
            return suggestions[0]
    if "const" in found:
        return found["const"]
    if found.get("anyOf"):  # As Pydantic writes `int | None`.
        return _suggested(found["anyOf"][0], named, depth)
    reference = str(found.get("$ref", "")).removeprefix("#/$defs/")
    if reference in named and depth < _DEEPEST:
        return _suggested(named[reference], named, depth + 1)
    return _of_type(found, named, depth)


def _of_type(described: dict[str, Any], named: Mapping[str, Any], depth: int) -> Any:
    kind = described.get("type")
    kind = kind[0] if isinstance(kind, list) else kind  # pyright: ignore[reportUnknownVariableType]
    if kind == "object":
        return _example(described, named, depth + 1)
    return _OF_TYPE.get(kind, "...")
