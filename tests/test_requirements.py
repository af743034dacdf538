"""What answers what: each kind and each action, forms, choices, digests, and the wire shapes."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any, cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from temporal_hitl import DefinitionError, OnTimeout, UserInputField
from temporal_hitl.errors import MalformedResolution
from temporal_hitl.requirements import (
    AnyRequirement,
    AnyResolution,
    Confirm,
    Confirmation,
    ErrorDecision,
    Requirement,
    Resolution,
    UserInput,
    Wire,
    digest_of,
    parse_resolution,
    slug,
    validate,
)
from temporal_hitl.review import form_of

REQUIREMENT: TypeAdapter[AnyRequirement] = TypeAdapter(AnyRequirement)
RESOLUTION: TypeAdapter[AnyResolution] = TypeAdapter(AnyResolution)

BASE: dict[str, Any] = {
    "id": "a",
    "path": "a",
    "name": "a",
    "message": "Go?",
    "created_at": "2026-01-02T03:04:05Z",
}
FORM: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer"}}}
TOOL: dict[str, Any] = {"tool_name": "delete_user", "tool_args": {"id": 7}}

# kind: what it has beyond BASE, and the actions that answer it.
KINDS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "confirmation": ({}, {"confirm", "reject"}),
    "user_input": ({"form": FORM}, {"answer", "reject"}),
    "route": ({"choices": ["fast", "slow"]}, {"select", "reject"}),
    "output_review": ({"output": {"rows": 3}}, {"confirm", "reject", "edit"}),
    "iteration_review": (
        {"output": "draft", "iteration": 1, "max_iterations": 3},
        {"confirm", "reject", "edit"},
    ),
    "error": (
        {"error_type": "builtins.ValueError", "error_message": "no", "attempts": 1},
        {"retry", "skip"},
    ),
    "tool_confirmation": (TOOL, {"confirm", "reject", "edit_arguments"}),
    "tool_input": (TOOL | {"form": FORM}, {"answer", "reject"}),
    "tool_execution": (TOOL, {"report", "reject"}),
    "tool_outcome": (TOOL | {"error_message": "lost"}, {"report", "retry", "skip"}),
    "question": ({"form": FORM}, {"answer", "reject"}),
}
ACTIONS: dict[str, dict[str, Any]] = {
    "confirm": {},
    "reject": {"feedback": "too early"},
    "edit": {"output": {"rows": 2}},
    "edit_arguments": {"arguments": {"id": 8}},
    "answer": {"values": {"n": 1}},
    "select": {"choices": ["fast"]},
    "retry": {},
    "skip": {},
    "report": {"result": [1, 2]},
}


def asked(kind: str, **over: Any) -> AnyRequirement:
    fields = BASE | {"kind": kind} | KINDS[kind][0] | over
    return cast(AnyRequirement, REQUIREMENT.validate_python(fields).sealed())


def answer(action: str, **over: Any) -> AnyResolution:
    return parse_resolution({"requirement_id": "a", "action": action} | ACTIONS[action] | over)


def refusal(
    requirement: AnyRequirement, resolution: AnyResolution, form: type[BaseModel] | None = None
) -> str:
    with pytest.raises(MalformedResolution) as caught:
        validate(requirement, resolution, form)
    return str(caught.value)


def test_the_tables_below_are_complete() -> None:
    """Every kind and every action of the unions is in this file's tables."""
    kinds = {cls.model_fields["kind"].default for cls in get_args(get_args(AnyRequirement)[0])}
    actions = {cls.model_fields["action"].default for cls in get_args(get_args(AnyResolution)[0])}

    assert set(KINDS) == kinds
    assert set(ACTIONS) == actions


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_action_on_each_kind(kind: str, action: str) -> None:
    """An action answers the kinds it is made for; elsewhere it is refused, with those that do."""
    requirement, resolution = asked(kind), answer(action)
    possible = KINDS[kind][1]
    if action in possible:
        validate(requirement, resolution)
        return
    told = refusal(requirement, resolution)

    assert f"'a' is a {kind}" in told
    assert f"'{action}' does not answer it" in told
    assert ", ".join(sorted(possible)) in told


# Forms

FIELDS = [
    UserInputField("who", "str"),
    UserInputField("count", "int"),
    UserInputField("share", "float"),
    UserInputField("sure", "bool"),
    UserInputField("tags", "list"),
    UserInputField("more", "dict"),
    UserInputField("size", "str", allowed_values=("S", "L")),
    UserInputField("note", "str", required=False),
]
GOOD: dict[str, Any] = {
    "who": "ana",
    "count": 3,
    "share": 0.5,
    "sure": True,
    "tags": ["x"],
    "more": {"k": None},
    "size": "S",
}
LEFT_OUT = object()


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(GOOD, id="required-only"),
        pytest.param(GOOD | {"note": "hi"}, id="optional-given"),
        pytest.param(GOOD | {"note": None}, id="optional-null"),
        pytest.param(GOOD | {"share": 1}, id="a-whole-number-is-a-float"),
        pytest.param(GOOD | {"tags": [], "more": {}}, id="empty-list-and-dict"),
        pytest.param(GOOD | {"sure": False, "count": 0}, id="falsy-is-not-missing"),
        pytest.param(GOOD | {"who": "Zoë ‮\U0001f600"}, id="any-text"),
    ],
)
def test_form_accepts(values: dict[str, Any]) -> None:
    """A form accepts values of its fields' types, with or without the optional ones."""
    validate(asked("user_input"), answer("answer", values=values), form_of(FIELDS))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("who", LEFT_OUT, id="missing"),
        pytest.param("who", None, id="null"),
        pytest.param("who", "", id="empty-text"),
        pytest.param("who", 5, id="number-for-text"),
        pytest.param("count", "5", id="text-for-int"),
        pytest.param("count", 5.5, id="float-for-int"),
        pytest.param("count", True, id="bool-for-int"),
        pytest.param("share", "0.5", id="text-for-float"),
        pytest.param("share", True, id="bool-for-float"),
        pytest.param("sure", "true", id="text-for-bool"),
        pytest.param("sure", 1, id="int-for-bool"),
        pytest.param("tags", "x", id="text-for-list"),
        pytest.param("tags", {"x": 1}, id="dict-for-list"),
        pytest.param("more", [["k", 1]], id="list-for-dict"),
        pytest.param("size", "M", id="not-allowed"),
        pytest.param("size", "s", id="case-matters"),
        pytest.param("note", 7, id="optional-of-another-type"),
        pytest.param("evil", 1, id="unknown-key"),
    ],
)
def test_form_refuses(field: str, value: Any) -> None:
    """A form coerces nothing and refuses what its fields do not allow, naming the field."""
    values = {key: each for key, each in GOOD.items() if key != field}
    values |= {} if value is LEFT_OUT else {field: value}
    told = refusal(asked("user_input"), answer("answer", values=values), form_of(FIELDS))

    assert told.startswith(f"'a' refuses this answer: {field}: ")
    assert ";" not in told


def test_form_lists_every_problem() -> None:
    """A refused form names every field that is wrong, in one sentence, with what came."""
    values = {"who": "", "count": "5", "share": 1.0, "sure": 1, "tags": [], "more": {}, "evil": 2}
    told = refusal(asked("user_input"), answer("answer", values=values), form_of(FIELDS))
    problems = told.removeprefix("'a' refuses this answer: ").split("; ")

    assert {"who", "count", "sure", "size", "evil"} == {each.split(":")[0] for each in problems}
    assert "(got '5')" in told


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    amount: int = Field(gt=0, description="Euro")
    due: date


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        pytest.param({"amount": 5, "due": "2026-03-01"}, None, id="dates-come-as-text"),
        pytest.param({"amount": 5, "due": "soon"}, "due: ", id="no-date"),
        pytest.param({"amount": -5, "due": "2026-03-01"}, "amount: ", id="the-author's-constraint"),
    ],
)
def test_form_of_a_model(values: dict[str, Any], problem: str | None) -> None:
    """A Pydantic model is a form too, and its own constraints are checked, in JSON's types."""
    resolution = answer("answer", values=values)
    if problem is None:
        validate(asked("user_input"), resolution, Order)
        return

    assert problem in refusal(asked("user_input"), resolution, Order)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        pytest.param([], "fields of different names", id="none"),
        pytest.param([{"name": "a"}, {"name": "a"}], "different names", id="twice"),
    ],
)
def test_forms_that_are_none(fields: list[dict[str, Any]], problem: str) -> None:
    """A form without fields, or with one field twice, is refused when it is built."""
    with pytest.raises(DefinitionError, match=problem):
        form_of(fields, "invoice")


@pytest.mark.parametrize(
    "field",
    [
        pytest.param({"name": ""}, id="no-name"),
        pytest.param({"name": "a", "field_type": "date"}, id="unknown-type"),
        pytest.param({"name": "a", "requierd": True}, id="misspelt-option"),
    ],
)
def test_fields_that_are_none(field: dict[str, Any]) -> None:
    """A field without a name, of unknown type or with an unknown option is refused when built."""
    with pytest.raises(ValueError):
        UserInputField(**field)


# Choices, digests, errors


@pytest.mark.parametrize(
    ("multiple", "choices", "problem"),
    [
        pytest.param(False, ["fast"], None, id="one"),
        pytest.param(True, ["slow", "fast"], None, id="several"),
        pytest.param(False, [], "choose one of fast, slow", id="none"),
        pytest.param(True, [], "choose one of fast, slow", id="none-of-several"),
        pytest.param(False, ["fast", "slow"], "only one may be chosen", id="two-of-one"),
        pytest.param(True, ["fast", "fast"], "named twice", id="twice"),
        pytest.param(False, ["FAST"], "'FAST' is not one of fast, slow", id="case"),
        pytest.param(True, ["fast", "x", "y"], "'x' is not one of fast, slow; 'y'", id="unknown"),
    ],
)
def test_choices(multiple: bool, choices: list[str], problem: str | None) -> None:
    """A choice must be one of those offered, once, and alone where only one is asked for."""
    requirement = asked("route", allow_multiple=multiple)
    resolution = answer("select", choices=choices)
    if problem is None:
        validate(requirement, resolution)
        return

    assert problem in refusal(requirement, resolution)


def test_a_digest_of_something_else_is_refused() -> None:
    """An answer with the digest of what is shown counts; with another digest it does not."""
    shown, changed = asked("output_review"), asked("output_review", output={"rows": 4})
    validate(shown, answer("confirm", digest=shown.digest))
    told = refusal(changed, answer("confirm", digest=shown.digest))

    assert shown.digest != changed.digest
    assert "look again and decide on that" in told


def test_the_digest_covers_what_is_shown_alone() -> None:
    """Ids, times and policies are no part of the digest: the same content has the same one."""
    first = asked("output_review")
    again = asked("output_review", id="b~2", created_at="2026-05-05T00:00:00Z", round=2)
    other = asked("output_review", message="Really?")

    assert first.digest == again.digest
    assert first.digest != other.digest
    assert len(first.digest) == 64


@pytest.mark.parametrize(
    ("retries", "limit", "again"), [(1, 2, True), (2, 2, False), (0, 0, False), (9, None, True)]
)
def test_retry_ends_at_the_limit(retries: int, limit: int | None, again: bool) -> None:
    """A failed step may be tried again until its retries are used up; skip stays possible."""
    requirement = asked("error", retries=retries, retries_limit=limit)
    validate(requirement, answer("skip"))
    if again:
        validate(requirement, answer("retry"))
        return

    assert "skip is what is left" in refusal(requirement, answer("retry"))


# What is no resolution at all


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(None, 'None is not a resolution; write {"requirement_id"', id="null"),
        pytest.param("confirm", "'confirm' is not a resolution", id="text"),
        pytest.param(7, "7 is not a resolution", id="number"),
        pytest.param([], "[] is not a resolution", id="list"),
        pytest.param({}, "action", id="nothing-in-it"),
        pytest.param({"action": "confirm"}, "requirement_id: Field required", id="no-id"),
        pytest.param(
            {"requirement_id": "a", "action": "approve"}, "'confirm'", id="unknown-action"
        ),
        pytest.param({"requirement_id": 7, "action": "confirm"}, "(got 7)", id="id-of-wrong-type"),
        pytest.param(
            {"requirement_id": "a", "action": "confirm", "decided_by": "human"},
            "decided_by: Extra inputs are not permitted",
            id="what-a-client-may-not-say",
        ),
        pytest.param(
            {"requirement_id": "a", "action": "confirm", "late": False, "channel": "x"},
            "late: Extra inputs are not permitted (got False); confirm.channel",
            id="every-problem",
        ),
        pytest.param(
            {"requirement_id": "a", "action": "time_out", "on_timeout": "approve"},
            "time_out",
            id="the-deadline's-own-action",
        ),
        pytest.param("x" * 100_000, "…", id="long"),
    ],
)
def test_what_is_no_resolution(data: Any, problem: str) -> None:
    """Anything that is not a resolution is refused in words, short ones, whatever its size."""
    with pytest.raises(MalformedResolution) as caught:
        parse_resolution(data)

    assert problem in str(caught.value)
    assert len(str(caught.value)) < 600


# The wire


def _variants(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [schema["$defs"][each["$ref"].rpartition("/")[2]] for each in schema["oneOf"]]


@pytest.mark.parametrize(
    ("adapter", "tag", "tags"),
    [(REQUIREMENT, "kind", set(KINDS)), (RESOLUTION, "action", set(ACTIONS))],
    ids=["requirements", "resolutions"],
)
def test_schemas_tell_a_form_what_to_show(
    adapter: TypeAdapter[Any], tag: str, tags: set[str]
) -> None:
    """The unions' JSON schemas name their discriminator, and describe each class and each field."""
    schema = adapter.json_schema()
    variants = _variants(schema)
    undescribed = [
        f"{each['title']}.{name}"
        for each in variants
        for name, field in each["properties"].items()
        if name != tag and "description" not in field
    ]

    assert tag == schema["discriminator"]["propertyName"]
    assert tags == set(schema["discriminator"]["mapping"])
    assert [each["title"] for each in variants if not each.get("description")] == []
    assert [each["title"] for each in variants if each["additionalProperties"] is not False] == []
    assert undescribed == []


def test_a_form_s_schema_renders() -> None:
    """A form's JSON schema has each field's type, hint, choices and prefill."""
    fields = [
        UserInputField("threshold", "float", description="From 0 to 1", value=0.5),
        UserInputField(
            "mode", "str", allowed_values=("fast", "slow"), required=False, value="fast"
        ),
    ]
    schema = form_of(fields, "settings").model_json_schema()
    threshold, mode = schema["properties"]["threshold"], schema["properties"]["mode"]

    assert (
        threshold["type"],
        threshold["description"],
        threshold["examples"],
    ) == ("number", "From 0 to 1", [0.5])
    assert mode["anyOf"][0]["enum"] == ["fast", "slow"]
    assert mode["default"] == "fast"
    assert schema["required"] == ["threshold"]
    assert schema["additionalProperties"] is False


def test_wire_shapes_are_frozen_and_closed() -> None:
    """Requirements and resolutions are values: nothing in them is assigned or added."""
    requirement = Confirmation(**BASE)
    with pytest.raises(ValidationError):
        requirement.message = "No?"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Confirmation(**BASE, choices=["a"])  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        Confirm(requirement_id="a", values={})  # type: ignore[call-arg]

    assert requirement.message == "Go?"
    assert issubclass(Requirement, Wire) and issubclass(Resolution, Wire)


TEXT = st.text(max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=3)
MOMENT = st.datetimes(
    min_value=datetime(1970, 1, 1), max_value=datetime(9999, 1, 1), timezones=st.just(UTC)
)
FOR_FIELD: dict[str, st.SearchStrategy[Any]] = {
    "form": OBJECT,
    "output": JSON,
    "result": JSON,
    "choices": st.lists(TEXT, max_size=3),
    "tool_args": OBJECT,
    "arguments": OBJECT,
    "values": OBJECT,
    "feedback": st.none() | TEXT,
}


def _fields(names: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: FOR_FIELD.get(name, TEXT) for name in names})


@st.composite
def requirements(draw: st.DrawFn) -> AnyRequirement:
    kind = draw(st.sampled_from(sorted(KINDS)))
    numbers = {"iteration", "max_iterations", "attempts"}
    own = draw(_fields(set(KINDS[kind][0]) - numbers))
    own |= {name: draw(st.integers(1, 9)) for name in numbers & set(KINDS[kind][0])}
    own |= {"message": draw(TEXT), "created_at": draw(MOMENT), "round": draw(st.integers(1, 99))}
    own |= {"deadline": draw(st.none() | MOMENT), "on_timeout": draw(st.sampled_from(OnTimeout))}
    return asked(kind, **own)


@st.composite
def resolutions(draw: st.DrawFn) -> AnyResolution:
    action = draw(st.sampled_from(sorted(ACTIONS)))
    own = draw(_fields(ACTIONS[action]))
    shared = {name: draw(st.none() | TEXT) for name in ("resolved_by", "comment", "decision_id")}
    return answer(action, **own, **shared)


@given(requirements())
def test_requirements_survive_json(requirement: AnyRequirement) -> None:
    """A requirement read back from its JSON is the same one, of the same class and digest."""
    read = REQUIREMENT.validate_json(json.dumps(requirement.model_dump(mode="json")))

    assert requirement == read
    assert type(requirement) is type(read)
    assert requirement.digest == read.sealed().digest


@given(resolutions())
def test_resolutions_survive_json(resolution: AnyResolution) -> None:
    """A resolution read back from its JSON is the same one, and so is the digest of its body."""
    read = parse_resolution(json.loads(json.dumps(resolution.model_dump(mode="json"))))

    assert resolution == read
    assert type(resolution) is type(read)
    assert resolution.body_digest() == read.body_digest()


def test_the_body_digest_leaves_the_decision_id_out() -> None:
    """A body sent twice has one digest; another word, reviewer or action has another."""
    body = answer("reject", decision_id="d1").body_digest()

    assert body == answer("reject", decision_id="d2").body_digest()
    assert body != answer("reject", feedback="other").body_digest()
    assert body != answer("reject", resolved_by="bo").body_digest()
    assert body != answer("confirm").body_digest()


# Ids


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("process_data", "process_data"),
        ("Process Data", "process_data"),
        ("Überprüfung  Nr. 3!", "uberprufung_nr_3"),
        ("a/b?c=d&e", "a_b_c_d_e"),
        ("a.b~2", "a_b_2"),
        ("$(rm -rf /)", "rm_-rf"),
        ("__x__", "x"),
    ],
)
def test_slugs(name: str, segment: str) -> None:
    """A name becomes one id segment that needs no quoting in a URL or a shell."""
    assert segment == slug(name)


@pytest.mark.parametrize("name", ["", "   ", "!?", "日本"])
def test_names_without_a_slug(name: str) -> None:
    """A name of which nothing typeable is left is refused, and shown."""
    with pytest.raises(DefinitionError, match="no letter or digit"):
        slug(name)


@given(st.text(max_size=40))
def test_slugs_are_safe_and_stable(name: str) -> None:
    """Whatever the name, its slug is made of safe characters and is its own slug."""
    try:
        segment = slug(name)
    except DefinitionError:
        return

    assert set(segment) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    assert segment == slug(segment)


def test_digests_ignore_the_order_of_keys() -> None:
    """Data has one digest however its keys are ordered, and another as soon as a value differs."""
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})


def test_an_error_s_attempts_are_counted_from_one() -> None:
    """A failed step has been executed at least once, and a form requirement has a form."""
    with pytest.raises(ValidationError):
        ErrorDecision(**BASE, error_type="x", error_message="y", attempts=0)
    with pytest.raises(ValidationError):
        UserInput(**BASE)  # type: ignore[call-arg]
