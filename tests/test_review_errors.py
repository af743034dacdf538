"""Whatever an author writes of a review that cannot be meant is refused when the node is built, in
both spellings, with the node, what is wrong and what there is instead (reference 1.3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, Field

from temporal_hitl import (
    Condition,
    DefinitionError,
    HumanReview,
    Loop,
    Parallel,
    Router,
    Step,
    StepInput,
    Steps,
    UserInputField,
    Workflow,
    pause,
)


def run(step_input: StepInput) -> str:
    return "ran"


def choose(step_input: StepInput) -> str:
    return "run"


class Settings(BaseModel):
    threshold: float = 0.5


Make = Callable[..., Any]
MADE: dict[str, Make] = {
    "Step": lambda **options: Step("box", run, **options),
    "Router": lambda **options: Router([run], choose, "box", **options),
    "Loop": lambda **options: Loop([run], "box", **options),
    "Condition": lambda **options: Condition([run], name="box", **options),
    "Steps": lambda **options: Steps("box", steps=[run], **options),
    "Parallel": lambda **options: Parallel(run, name="box", **options),
}

EVERY = {"requires_confirmation", "confirmation_message", "timeout", "on_timeout"}
EVERY |= {"on_reject", "strict_deadline", "roles", "notify", "notify_before"}
FORM = {"requires_user_input", "user_input_message"}
OUTPUT = {"requires_output_review", "output_review_message", "max_retries"}
ITERATION = {"requires_iteration_review", "iteration_review_message"}
ERROR = {"on_error", "max_error_retries"}
SUPPORTED: dict[str, set[str]] = {
    "Step": EVERY | FORM | OUTPUT | ERROR | {"user_input_schema"},
    "Router": EVERY | FORM | OUTPUT | ERROR | {"allow_multiple_selections"},
    "Loop": EVERY | ITERATION | ERROR,
    "Condition": EVERY | ERROR,
    "Steps": EVERY,
    "Parallel": EVERY,
}
"""What each primitive supports (design 6, reference 1.3)."""

WRITTEN: dict[str, list[Any]] = {
    "requires_confirmation": [True],
    "confirmation_message": ["Sure?"],
    "requires_user_input": [True],
    "user_input_message": ["Fill in:"],
    "user_input_schema": [[UserInputField(name="a")], [{"name": "a"}], Settings],
    "allow_multiple_selections": [True],
    "requires_output_review": [True, bool],
    "output_review_message": ["Good?"],
    "requires_iteration_review": [True],
    "iteration_review_message": ["Good?"],
    "on_reject": ["cancel"],
    "on_error": ["pause", "fail"],
    "max_retries": [0, 1],
    "max_error_retries": [0, 1],
    "timeout": [60],
    "on_timeout": ["skip"],
    "strict_deadline": [True],
    "roles": [("finance", "chief")],
    "notify": [("managers",), ()],
    "notify_before": [30],
}
"""Every field of a review, and values of it that are not its default."""
BESIDE = {
    "max_error_retries": {"on_error": "pause"},
    "user_input_schema": {"requires_user_input": True},
    "roles": {"requires_confirmation": True},
    "notify_before": {"timeout": 60},
}
"""What a field needs beside it."""
FLAT = {"timeout": "hitl_timeout", "max_retries": "hitl_max_retries"}
"""The fields that flat keywords call otherwise."""


def flat(review: dict[str, Any]) -> dict[str, Any]:
    return {FLAT.get(name, name): value for name, value in review.items()}


def human_review(review: dict[str, Any]) -> dict[str, Any]:
    return {"human_review": HumanReview(**review)}


Spelling = Callable[[dict[str, Any]], dict[str, Any]]
BOTH = pytest.mark.parametrize("spelling", [flat, human_review])


def refusal(build: Callable[[], Any]) -> str:
    """Return what `build` is refused with: the author's error, which is a ValueError."""
    with pytest.raises(DefinitionError) as refused:
        build()
    assert isinstance(refused.value, ValueError)
    return str(refused.value)


def lacking(told: Sequence[str], message: str) -> list[str]:
    """Return what `message` should say and does not."""
    return [each for each in told if each not in message]


def test_every_field_is_here() -> None:
    """What follows covers every field that a review has."""
    assert list(WRITTEN) == sorted(WRITTEN, key=list(WRITTEN).index)
    assert set(HumanReview.model_fields) == set(WRITTEN)


@BOTH
@pytest.mark.parametrize("kind", list(MADE))
def test_what_is_not_supported(kind: str, spelling: Spelling) -> None:
    """Each field that means nothing on a primitive is refused there, whatever its value, with the
    node, the field as it was written, and all that the primitive supports.
    """
    for field in sorted(WRITTEN.keys() - SUPPORTED[kind]):
        for value in WRITTEN[field]:
            written = spelling({field: value})
            message = refusal(lambda written=written: MADE[kind](**written))
            spelled = FLAT.get(field, field) if spelling is flat else f"HumanReview({field}="
            assert [] == lacking([f"{kind} 'box'", spelled, *SUPPORTED[kind]], message), field


@BOTH
@pytest.mark.parametrize("kind", list(MADE))
def test_what_is_supported(kind: str, spelling: Spelling) -> None:
    """Each field that a primitive supports is taken there, and the node then says so."""
    for field in sorted(SUPPORTED[kind]):
        for value in WRITTEN[field]:
            options = spelling({**BESIDE.get(field, {}), field: value})
            by_person = (kind, field) == ("Router", "requires_user_input")
            node = Router([run], name="box", **options) if by_person else MADE[kind](**options)
            assert value == getattr(node.review, field), field


@pytest.mark.parametrize("kind", list(MADE))
def test_a_default_may_be_written(kind: str) -> None:
    """A review that names what a primitive does not support, with its default, asks for nothing,
    and is fine.
    """
    defaults = {name: each.default for name, each in HumanReview.model_fields.items()}
    node = MADE[kind](human_review=HumanReview(**defaults))

    assert False is node.review.requires_confirmation


def test_both_reviews() -> None:
    """One review cannot be of outputs and of iterations; `HumanReview` itself says which is whose,
    and so does each primitive in the flat spelling.
    """
    both = {"requires_output_review": True, "requires_iteration_review": True}
    words = ["requires_output_review", "Step", "Router", "requires_iteration_review", "Loop"]

    assert [] == lacking(words, refusal(lambda: HumanReview(**both)))
    for kind in ("Step", "Router", "Loop"):
        message = refusal(lambda kind=kind: MADE[kind](**both))
        assert [] == lacking([f"{kind} 'box'", *words], message)


@pytest.mark.parametrize("kind", list(MADE))
def test_both_spellings(kind: str) -> None:
    """Whatever a node supports is written in one spelling; with both, what is there twice is named
    as it was written.
    """
    review = HumanReview(requires_confirmation=True)
    for field in sorted(SUPPORTED[kind] - ERROR):
        name = FLAT.get(field, field)
        written = {name: WRITTEN[field][0], "human_review": review}
        message = refusal(lambda written=written: MADE[kind](**written))
        assert [] == lacking([f"{kind} 'box'", name, "human_review"], message), field


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    **{
        f"{field}={value!r}": ({field: value}, [field, repr(value), "boolean"])
        for field in (
            "requires_confirmation",
            "requires_user_input",
            "requires_iteration_review",
            "allow_multiple_selections",
            "strict_deadline",
        )
        for value in ("yes", 1)
    },
    **{
        f"{field}={value!r}": ({field: value}, [field, repr(value)])
        for field in (
            "confirmation_message",
            "user_input_message",
            "output_review_message",
            "iteration_review_message",
        )
        for value in (7, ["Sure?"])
    },
    **{
        f"on_reject={value!r}": (
            {"on_reject": value},
            ["on_reject", repr(value), "'skip'", "'else'"],
        )
        for value in ("drop", "", "Skip", True)
    },
    **{
        f"on_error={value!r}": ({"on_error": value}, ["on_error", repr(value), "'fail'", "'pause'"])
        for value in ("ignore", "Pause", 0)
    },
    **{
        f"on_timeout={value!r}": (
            {"timeout": 5, "on_timeout": value},
            ["on_timeout", repr(value), "'cancel'", "'approve'"],
        )
        for value in ("wait", "retry", 7)
    },
    **{
        f"timeout={value!r}": ({"timeout": value}, ["timeout", str(value)])
        for value in (0, -1, math.nan, math.inf, True, "60")
    },
    "no timedelta": ({"timeout": timedelta(0)}, ["timeout", "0.0", "positive"]),
    "a negative timedelta": ({"timeout": timedelta(hours=-1)}, ["timeout", "-3600.0", "positive"]),
    **{
        f"{field}={value!r}": ({field: value}, [field, repr(value)])
        for field in ("max_retries", "max_error_retries")
        for value in (-1, 1.5, True, "3")
    },
    "a predicate that is a text": (
        {"requires_output_review": "len(content) > 9"},
        ["requires_output_review", "'len(content) > 9'"],
    ),
    "a predicate that is a number": (
        {"requires_output_review": 1},
        ["requires_output_review", "1"],
    ),
    "a predicate that is a list": (
        {"requires_output_review": [bool]},
        ["requires_output_review", "bool"],
    ),
}


def taker(field: str) -> str:
    """Return a primitive that supports `field`."""
    return next(kind for kind in ("Step", "Loop", "Router") if field in SUPPORTED[kind])


@BOTH
@pytest.mark.parametrize(("fields", "told"), WRONG.values(), ids=WRONG.keys())
def test_values(fields: dict[str, Any], told: list[str], spelling: Spelling) -> None:
    """A value that is none is refused with the field, the value and what there is: by
    `HumanReview` when that is built, by the node in the flat spelling, which then is named.
    """
    kind = taker(list(fields)[-1])
    message = refusal(lambda: MADE[kind](**spelling(fields)))
    node = [f"{kind} 'box'"] if spelling is flat else ["HumanReview"]

    assert [] == lacking([*node, *told], message)


def test_a_review_has_no_other_fields() -> None:
    """A field that a review does not have is refused with all that it has; a keyword that a node
    does not have is Python's own error.
    """
    message = refusal(lambda: HumanReview(hitl_timeout=5))
    with pytest.raises(TypeError, match="output_review"):
        Step("box", run, output_review=True)  # type: ignore[call-arg]

    assert [] == lacking(["'hitl_timeout'", *WRITTEN], message)


class Broken(BaseModel):
    """A model that has no JSON schema."""

    call: Callable[[], None] = Field()


class NoModel:
    threshold: float = 0.5


FORMS: dict[str, tuple[Any, list[str]]] = {
    "no field": ([], ["fields", "[]"]),
    "two fields of one name": ([{"name": "a"}, UserInputField(name="a")], ["'a', 'a'"]),
    "an unknown type": ([{"name": "a", "field_type": "text"}], ["field_type", "'text'", "'str'"]),
    "a type that is none": ([{"name": "a", "field_type": 7}], ["field_type", "7", "'str'"]),
    "no name": ([{"field_type": "str"}], ["name"]),
    "an empty name": ([{"name": ""}], ["name"]),
    "a name that is no text": ([{"name": 7}], ["name", "7"]),
    "an unknown key": ([{"name": "a", "reqired": True}], ["reqired"]),
    "required that is no bool": ([{"name": "a", "required": "maybe"}], ["required", "'maybe'"]),
    "no choices to choose from": ([{"name": "a", "allowed_values": "plain"}], ["allowed_values"]),
    "a value of another type": ([{"name": "a", "field_type": "int", "value": "x"}], ["'a'", "'x'"]),
    "a value that is not allowed": (
        [{"name": "a", "allowed_values": ["b", "c"], "value": "d"}],
        ["'a'", "'d'", "'b'"],
    ),
    "choices of another type": (
        [{"name": "a", "field_type": "int", "allowed_values": ["b"]}],
        ["'a'", "'b'", "int"],
    ),
    "a field that is a name": (["a"], ["'a'", "UserInputField"]),
    "a name alone": ("a", ["'a'", "UserInputField", "JSON schema"]),
    "a number": (7, ["7", "UserInputField", "JSON schema"]),
    "one field without a list": (UserInputField(name="a"), ["UserInputField", "list"]),
    "a class that is no model": (NoModel, ["NoModel", "BaseModel"]),
    "a builtin type": (dict, ["dict", "BaseModel"]),
    "a model object": (Settings(), ["Settings", "class"]),
    "a model without a JSON schema": (Broken, ["Broken", "JSON schema"]),
    "an empty dict": ({}, ["object", "properties"]),
    "a dict of fields": ({"threshold": "float"}, ["object", "properties", "threshold"]),
    "the schema of a list": ({"type": "array"}, ["object", "'type'"]),
    "properties that are no schemas": (
        {"type": "object", "properties": {"a": "float"}},
        ["JSON schema", "'float'"],
    ),
    "an unknown type in a schema": (
        {"type": "object", "properties": {"a": {"type": "decimal"}}},
        ["JSON schema", "'decimal'"],
    ),
    "required that is no list": ({"properties": {}, "required": "a"}, ["JSON schema", "'a'"]),
    "a pattern that is none": (
        {"properties": {"a": {"pattern": "("}}},
        ["JSON schema", "pattern"],
    ),
    "a reference to nowhere": (
        {"properties": {"a": {"$ref": "#/$defs/Missing"}}},
        ["JSON schema", "Missing"],
    ),
}


@BOTH
@pytest.mark.parametrize(("schema", "told"), FORMS.values(), ids=FORMS.keys())
def test_forms(schema: Any, told: list[str], spelling: Spelling) -> None:
    """What is no form is refused where it is written, with what is wrong and what a form is."""
    fields = {"requires_user_input": True, "user_input_schema": schema}
    message = refusal(lambda: Step("box", run, **spelling(fields)))
    node = "Step 'box'" if spelling is flat else "HumanReview"

    assert [] == lacking([node, "user_input_schema", *told], message)


@pytest.mark.parametrize(("schema", "told"), FORMS.values(), ids=FORMS.keys())
def test_forms_of_pause(schema: Any, told: list[str]) -> None:
    """What `@pause` marks with no form is refused where a step uses it, named."""
    marked = pause(requires_user_input=True, user_input_schema=schema)(lambda: None)
    message = refusal(lambda: Step("box", marked))

    assert [] == lacking(["Step 'box'", "user_input_schema", *told], message)


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ({"name": "a", "field_type": "text"}, ["field_type", "'text'", "'str'"]),
        ({"name": ""}, ["name"]),
        ({}, ["name"]),
        ({"name": "a", "required": "maybe"}, ["required", "maybe"]),
    ],
)
def test_a_field_by_itself(field: dict[str, Any], told: list[str]) -> None:
    """A `UserInputField` that is none is refused when it is built, with a ValueError that says
    what there is.
    """
    with pytest.raises(ValueError) as refused:
        UserInputField(**field)

    assert [] == lacking(told, str(refused.value))


REQUIRED = {"requires_user_input": True, "user_input_schema": [{"name": "a"}]}
OPTIONAL = {"requires_user_input": True, "user_input_schema": [{"name": "a", "required": False}]}
CHOSEN = {"requires_user_input": True}
APPROVE = {"timeout": 60, "on_timeout": "approve"}

NONSENSE: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    **{
        f"{kind}: retry without a review": (
            kind,
            {"requires_confirmation": True, "on_reject": "retry"},
            ["on_reject='retry'", "'skip'", "'cancel'"],
        )
        for kind in MADE
    },
    "a form alone with retry": ("Step", {**REQUIRED, "on_reject": "retry"}, ["on_reject='retry'"]),
    **{
        f"{kind}: else": (
            kind,
            {"requires_confirmation": True, "on_reject": "else"},
            ["on_reject='else'", "Condition"],
        )
        for kind in MADE
        if kind != "Condition"
    },
    "a form with required fields approves": ("Step", {**REQUIRED, **APPROVE}, ["'approve'", "a"]),
    "a route approves": ("Router", {**CHOSEN, **APPROVE}, ["'approve'", "route", "'skip'"]),
    **{
        f"{kind}: an error approves": (
            kind,
            {"on_error": "pause", **APPROVE},
            ["'approve'", "error", "'skip'", "'cancel'"],
        )
        for kind in ("Step", "Router", "Loop", "Condition")
    },
    "error retries without a person": (
        "Step",
        {"on_error": "skip", "max_error_retries": 2},
        ["max_error_retries", "on_error"],
    ),
}


@BOTH
@pytest.mark.parametrize(("kind", "fields", "told"), NONSENSE.values(), ids=NONSENSE.keys())
def test_combinations(
    kind: str, fields: dict[str, Any], told: list[str], spelling: Spelling
) -> None:
    """Policies that each are fine and together mean nothing are refused, with the node."""
    make = MADE[kind]
    if kind == "Router" and "requires_user_input" in fields:
        make = lambda **options: Router([run], name="box", **options)  # noqa: E731
    message = refusal(lambda: make(**spelling(fields)))

    assert [] == lacking([f"{kind} 'box'", *told], message)


@BOTH
@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("Step", {**OPTIONAL, **APPROVE}),
        ("Step", {"requires_user_input": True, **APPROVE}),
        ("Step", {"requires_output_review": True, "on_reject": "retry", **APPROVE}),
        ("Router", {"requires_output_review": True, "on_reject": "retry", **APPROVE}),
        ("Loop", {"requires_iteration_review": True, "on_reject": "retry", **APPROVE}),
        ("Condition", {"requires_confirmation": True, "on_reject": "else", **APPROVE}),
        ("Step", {"requires_confirmation": True, "on_error": "fail", **APPROVE}),
        ("Step", {"on_error": "pause", "max_error_retries": 0}),
        ("Step", {"on_error": "pause", "timeout": 60, "on_timeout": "skip"}),
    ],
)
def test_combinations_that_are_fine(kind: str, fields: dict[str, Any], spelling: Spelling) -> None:
    """What only looks like those is taken."""
    review = MADE[kind](**spelling(fields)).review

    assert fields == {**fields, **{name: getattr(review, name) for name in fields}}


@BOTH
def test_who_chooses(spelling: Spelling) -> None:
    """Either a selector or a person chooses; a Router with both or neither is refused, with both
    ways named.
    """
    told = ["Router 'box'", "selector", "requires_user_input"]
    by_person = spelling({"requires_user_input": True})
    both = refusal(lambda: Router([run], choose, "box", **by_person))
    neither = refusal(lambda: Router([run], name="box"))

    assert ([], []) == (lacking(told, both), lacking(told, neither))
    assert None is Router([run], name="box", **by_person).selector


def test_what_pause_supports() -> None:
    """`@pause` takes what seed 002 gives it; anything else is Python's own error, and so is a value
    that is none where a step uses it.
    """
    for other in ("on_reject", "requires_output_review", "hitl_timeout"):
        with pytest.raises(TypeError, match=other):
            pause(**{other: True})  # type: ignore[arg-type]
    marked = pause(requires_user_input="yes")(lambda: None)  # type: ignore[arg-type]

    assert [] == lacking(
        ["Step 'box'", "requires_user_input", "'yes'"], refusal(lambda: Step("box", marked))
    )


def test_what_overrides_pause() -> None:
    """A flat keyword overrides its part of what `@pause` says, and a `HumanReview` all of it."""
    marked = pause(requires_confirmation=True, requires_user_input=True)(lambda: None)
    plain = Step("box", marked).review
    partly = Step("box", marked, requires_user_input=False).review
    wholly = Step("box", marked, human_review=HumanReview(requires_output_review=True)).review

    assert [(True, True), (True, False), (False, False)] == [
        (each.requires_confirmation, each.requires_user_input) for each in (plain, partly, wholly)
    ]


@BOTH
def test_a_pipeline_as_a_step(spelling: Spelling) -> None:
    """A step that is a pipeline supports what every step does, and nothing else."""
    for field in sorted(SUPPORTED["Step"]):
        written = spelling({**BESIDE.get(field, {}), field: WRITTEN[field][0]})
        node = Step("box", workflow=Workflow("inner", [run]), **written)
        assert WRITTEN[field][0] == getattr(node.review, field), field
    iteration = spelling({"requires_iteration_review": True})
    message = refusal(lambda: Step("box", workflow=Workflow("inner", [run]), **iteration))

    assert [] == lacking(["Step 'box'", "requires_iteration_review"], message)


def test_a_person_and_a_skip_on_failure() -> None:
    """`skip_on_failure` and a person who decides about failures contradict each other."""
    message = refusal(lambda: Step("box", run, skip_on_failure=True, on_error="pause"))

    assert [] == lacking(["Step 'box'", "skip_on_failure", "on_error"], message)


@BOTH
def test_a_form_that_nobody_is_asked_for(spelling: Spelling) -> None:
    """A form without the flag that has it asked is refused: a gate that silently is not there."""
    form = {"user_input_schema": [{"name": "a"}]}
    message = refusal(lambda: Step("box", run, **spelling(form)))
    marked = refusal(lambda: pause(user_input_schema=form["user_input_schema"])(run))

    assert [] == lacking(["Step 'box'", "add requires_user_input=True"], message)
    assert "add requires_user_input=True" in marked


def test_a_flat_value_is_named_as_it_was_written() -> None:
    """What is wrong with a keyword is told under the keyword's name."""
    message = refusal(lambda: Step("box", run, requires_confirmation=True, hitl_timeout=-1))

    assert [] == lacking(["Step 'box': hitl_timeout=...", "-1"], message)


def test_the_tree_is_checked_too() -> None:
    """A node in the depth of a tree is refused by its own name, before anything is built around
    it.
    """
    message = refusal(
        lambda: Workflow(
            "release", [Steps("outer", steps=[Loop([run], "inner", requires_output_review=True)])]
        )
    )

    assert [] == lacking(["Loop 'inner'", "requires_output_review"], message)
