"""Programs answer what a run asks by its drafts, in the words of the seeds (reference 1.8, 1.9)."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel, Field
from temporalio import workflow
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    ErrorRequirement,
    HumanReview,
    Loop,
    OnError,
    Parallel,
    Router,
    SqliteDb,
    Step,
    StepInput,
    StepOutput,
    StepRequirement,
    UserInputField,
    Workflow,
)
from temporal_hitl.drafts import AnyDraft, Drafts
from temporal_hitl.errors import AlreadyResolved, MalformedResolution
from temporal_hitl.requirements import (
    AnyRequirement,
    Confirmation,
    ErrorDecision,
    IterationReview,
    OutputReview,
    Requirement,
    ResolutionRecord,
    Route,
    ToolConfirmation,
    UserInput,
    parse_resolution,
    validate,
)
from temporal_hitl.review import OnReject, OnTimeout, form_of
from temporal_hitl.run import RunStatus, WorkflowRunOutput
from temporal_hitl.workflow import Gate
from tests.stage import WAIT, embedded_client, replays, serving, until

AT = datetime(2026, 11, 20, tzinfo=UTC)
FIELDS = (
    UserInputField("columns", "list", description="Which to redact"),
    UserInputField("method", "str", allowed_values=("mask", "drop"), value="mask"),
    UserInputField("limit", "int", required=False, value=10),
    UserInputField("note", required=False),
)


class Settings(BaseModel, extra="forbid"):
    """A form that is given as a model."""

    in_: str = Field(alias="in")
    rows: int
    dry: bool = False


def asked(kind: type[Requirement], name: str = "node", **fields: Any) -> AnyRequirement:
    shared = {"id": name, "path": name, "name": name, "message": f"{name}?", "created_at": AT}
    return kind(**{**shared, **fields}).sealed()


def form(*fields: UserInputField, **rest: Any) -> AnyRequirement:
    return asked(UserInput, fields=fields, form=form_of(fields).model_json_schema(), **rest)


def error(**fields: Any) -> AnyRequirement:
    told = {"error_type": "builtins.OSError", "error_message": "gone", "attempts": 4}
    return asked(ErrorDecision, **told | fields)


ASKED: dict[str, AnyRequirement] = {
    "confirmation": asked(Confirmation, on_reject=OnReject.cancel),
    "user_input": form(*FIELDS),
    "schema": asked(UserInput, form=Settings.model_json_schema()),
    "route": asked(Route, choices=("quick", "deep")),
    "routes": asked(Route, choices=("quick", "deep", "full"), allow_multiple=True),
    "output_review": asked(OutputReview, output={"rows": 3}, retries=1, retries_limit=3),
    "iteration_review": asked(
        IterationReview, path="node.2", output="second", iteration=2, max_iterations=5
    ),
    "error": error(retries=1, retries_limit=2),
}


def draft(kind: str) -> Any:
    return Drafts().of(ASKED[kind], "run-1")


def sent(each: AnyDraft) -> dict[str, Any] | None:
    """Return what the draft decides, checked as a run checks it."""
    resolution = each.resolution()
    if resolution is None:
        return None
    validate(each.requirement, resolution)
    assert (each.id, each.requirement.digest) == (resolution.requirement_id, resolution.digest)
    said = {"requirement_id", "digest", "decision_id", "resolved_by", "comment"}
    return resolution.model_dump(mode="json", exclude=said)


def assign(name: str, value: Any) -> Callable[[Any], None]:
    return lambda each: setattr(each, name, value)


YES, NO = {"action": "confirm"}, {"action": "reject", "feedback": None}
WHY = {"action": "reject", "feedback": "why"}
EDIT = {"action": "edit", "output": "new"}
QUICK = {"action": "select", "choices": ["quick"]}
BOTH = {"action": "select", "choices": ["deep", "quick"]}
FORM = {"action": "answer", "values": {"method": "mask", "columns": ["ssn"]}}
SCHEMA = {"action": "answer", "values": {"in": "a", "rows": 1}}

# What each way to decide sends, by the kind of question. What a kind does not name refuses it.
SENDS: dict[str, tuple[Callable[[Any], None], dict[str, dict[str, Any]]]] = {
    "confirm": (
        lambda each: each.confirm(),
        {"confirmation": YES, "output_review": YES, "iteration_review": YES},
    ),
    "confirmed = True": (
        assign("confirmed", True),
        {"confirmation": YES, "output_review": YES, "iteration_review": YES},
    ),
    "reject": (lambda each: each.reject(), dict.fromkeys([*ASKED][:-1], NO)),
    "reject why": (lambda each: each.reject("why"), dict.fromkeys([*ASKED][:-1], WHY)),
    "confirmed = False": (assign("confirmed", False), dict.fromkeys([*ASKED][:-1], NO)),
    "edit": (lambda each: each.edit("new"), {"output_review": EDIT, "iteration_review": EDIT}),
    "edited_output": (
        assign("edited_output", "new"),
        {"output_review": EDIT, "iteration_review": EDIT},
    ),
    "set_user_input": (lambda each: each.set_user_input(columns=["ssn"]), {"user_input": FORM}),
    "user_input": (assign("user_input", {"columns": ["ssn"]}), {"user_input": FORM}),
    "schema": (lambda each: each.set_user_input(**{"in": "a", "rows": 1}), {"schema": SCHEMA}),
    "select": (lambda each: each.select("quick"), {"route": QUICK, "routes": QUICK}),
    "select_single": (lambda each: each.select_single("quick"), {"route": QUICK, "routes": QUICK}),
    "select_multiple": (lambda each: each.select_multiple(["deep", "quick"]), {"routes": BOTH}),
    "select two": (lambda each: each.select("deep", "quick"), {"routes": BOTH}),
    "selected_choices": (assign("selected_choices", ["quick"]), {"route": QUICK, "routes": QUICK}),
    "retry": (lambda each: each.retry(), {"error": {"action": "retry"}}),
    "skip": (lambda each: each.skip(), {"error": {"action": "skip"}}),
    "decision = retry": (assign("decision", "retry"), {"error": {"action": "retry"}}),
    "decision = skip": (assign("decision", "skip"), {"error": {"action": "skip"}}),
}


@pytest.mark.parametrize("way", SENDS)
def test_each_way_to_decide_on_each_kind(way: str) -> None:
    """A way to decide either fits a kind and sends exactly that, or raises and decides nothing."""
    decide, expected = SENDS[way]
    for kind in ASKED:
        each = draft(kind)
        assert sent(each) is None
        if kind in expected:
            decide(each)
            decide(each)  # Once more makes no difference.
            assert expected[kind] == sent(each), kind
        else:
            with pytest.raises((ValueError, AttributeError)):
                decide(each)
            assert (None, False) == (sent(each), each.is_resolved), kind


@pytest.mark.parametrize(
    ("kind", "decide", "told"),
    [
        (
            "confirmation",
            lambda each: each.edit("new"),
            "'node' is a confirmation: 'edit' does not",
        ),
        ("confirmation", lambda each: each.edit(None), "use confirm, reject"),
        ("confirmation", lambda each: each.select_multiple(["a"]), "use confirm, reject"),
        ("confirmation", assign("confirmed", "yes"), "True, False or None: 'yes'"),
        ("confirmation", assign("confirmed", 1), "True, False or None: 1"),
        ("confirmation", assign("user_input", 1), "not a resolution"),
        ("confirmation", lambda each: each.reject(7), "feedback: Input should be a valid string"),
        ("user_input", lambda each: each.confirm(), "use answer, reject"),
        ("route", lambda each: each.confirm(), "is a route: 'confirm' does not answer it; use"),
        ("route", lambda each: each.select("fast"), "'fast' is not one of quick, deep"),
        ("route", lambda each: each.select(), "choose one of quick, deep"),
        ("route", lambda each: each.select("quick", "deep"), "only one may be chosen"),
        ("route", lambda each: each.select_multiple(["quick"]), "only one may be chosen"),
        ("routes", lambda each: each.select_multiple("quick"), "choices"),
        ("routes", lambda each: each.select("quick", "quick"), "named twice"),
        ("output_review", lambda each: each.edit(None), "confirm() keeps the output"),
        ("output_review", lambda each: each.edit({1, 2}), "output"),
        ("output_review", lambda each: each.edit("x" * 600_000), "600,"),
        ("error", assign("decision", "confirm"), "is a error: 'confirm' does not answer it; use"),
        ("error", assign("decision", "again"), "not a resolution"),
    ],
)
def test_what_does_not_fit(kind: str, decide: Callable[[Any], None], told: str) -> None:
    """What does not fit is a `ValueError` that says what does, and the draft stays as it was."""
    for before in (None, "reject" if kind != "error" else "skip"):
        each = draft(kind)
        if before is not None:
            getattr(each, before)()
        state = sent(each)
        with pytest.raises(ValueError) as raised:
            decide(each)
        assert told in str(raised.value)
        assert isinstance(raised.value, MalformedResolution)
        assert state == sent(each)


# An assignment does not change what it says already.
KEPT = {
    ("edit", "confirmed = True"),
    ("edited_output", "confirmed = True"),
    ("reject why", "confirmed = False"),
}


def test_the_last_decision_counts() -> None:
    """Whatever was decided before, in whatever order, only the last decision is sent."""
    for kind in ASKED:
        fitting = [(way, decide) for way, (decide, table) in SENDS.items() if kind in table]
        for first, before in fitting:
            for last, decide in fitting:
                if (first, last) in KEPT:
                    continue
                each = draft(kind)
                before(each)
                decide(each)
                assert SENDS[last][1][kind] == sent(each), (kind, first, last)


def test_assigning_what_is_already() -> None:
    """An edit stays when it is confirmed by assignment, and feedback when that is rejected so."""
    review = draft("output_review")
    review.edited_output = "new"
    review.confirmed = True
    assert EDIT == sent(review)
    assert (True, "new") == (review.confirmed, review.edited_output)

    review.reject("why")
    review.confirmed = False
    assert WHY == sent(review)

    review.confirmed = True
    assert (YES, None, None) == (sent(review), review.rejection_feedback, review.edited_output)


def test_feedback_by_assignment() -> None:
    """Feedback may be assigned before the rejection or after it, and decides nothing by itself."""
    before, after, unsaid = (draft("output_review") for _ in range(3))
    before.rejection_feedback = "why"
    assert (None, "why") == (sent(before), before.rejection_feedback)
    before.confirmed = False
    assert WHY == sent(before)

    after.confirmed = False
    after.rejection_feedback = "why"
    assert (WHY, "why") == (sent(after), after.rejection_feedback)

    unsaid.rejection_feedback = "why"
    unsaid.confirm()
    unsaid.confirmed = False
    assert NO == sent(unsaid)


@pytest.mark.parametrize(
    ("kind", "decide", "name"),
    [
        ("confirmation", lambda each: each.confirm(), "confirmed"),
        ("output_review", lambda each: each.reject("why"), "confirmed"),
        ("output_review", lambda each: each.edit("new"), "edited_output"),
        ("user_input", lambda each: each.set_user_input(columns=[]), "user_input"),
        ("route", lambda each: each.select("deep"), "selected_choices"),
        ("error", lambda each: each.retry(), "decision"),
    ],
)
def test_taken_back(kind: str, decide: Callable[[Any], None], name: str) -> None:
    """Assigning None takes a decision back, and on an undecided draft changes nothing."""
    each = draft(kind)
    setattr(each, name, None)
    decide(each)
    assert each.is_resolved
    setattr(each, name, None)
    assert (None, None, False) == (sent(each), getattr(each, name), each.is_resolved)


def test_a_mistyped_attribute() -> None:
    """An attribute that there is not cannot be assigned, so no decision is lost in silence."""
    for kind in ASKED:
        with pytest.raises(AttributeError):
            draft(kind).conirmed = True


# Forms


def test_a_form_field_by_field() -> None:
    """Values are kept from call to call; the form is resolved once no required one is missing."""
    each = draft("user_input")
    assert ([], True) == (each.missing_values, each.needs_user_input)

    each.set_user_input(limit=3)
    assert (["columns"], False) == (each.missing_values, each.is_resolved)
    assert {"limit": 3} == each.user_input
    assert ("mask", 3, None) == tuple(map(each.get_user_input, ("method", "limit", "columns")))

    each.set_user_input(columns=["ssn"])
    assert ([], False) == (each.missing_values, each.needs_user_input)
    each.set_user_input(method="drop", limit=None)
    expected = {"limit": None, "columns": ["ssn"], "method": "drop"}
    assert {"action": "answer", "values": expected} == sent(each)

    each.reject()
    each.set_user_input(limit=3)
    assert {"limit": 3} == each.user_input


def test_the_seeds_loop_over_fields() -> None:
    """Seed 002's loop gives each field its value in a call of its own (reference, trap a)."""
    values = {"columns": ["ssn"], "method": "drop", "limit": 5, "note": "quickly"}
    each = draft("user_input")
    for field in each.user_input_schema:
        each.set_user_input(**{field.name: values[field.name]})

    assert {"action": "answer", "values": values} == sent(each)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"limit": "5"}, ["limit: '5' is not"]),
        ({"limit": True}, ["limit"]),
        ({"method": "burn"}, ["method: 'burn' is not one of ['mask', 'drop']"]),
        ({"method": None}, ["method"]),
        ({"columns": "ssn"}, ["columns", "'ssn'"]),
        ({"colums": []}, ["'colums' was unexpected"]),
        ({"limit": "5", "method": "burn", "nope": 1, "columns": []}, ["limit", "method", "nope"]),
        ({"columns": {1}}, ["columns"]),
    ],
)
def test_wrong_values(values: dict[str, Any], told: list[str]) -> None:
    """A call with a wrong value lists every problem, and keeps none of its values (bug K14)."""
    for before in ({}, {"note": "kept", "columns": ["ssn"]}):
        each = draft("user_input")
        if before:
            each.set_user_input(**before)
        state = sent(each)
        with pytest.raises(ValueError) as raised:
            each.set_user_input(**values)
        assert [] == [part for part in told if part not in str(raised.value)]
        with pytest.raises(ValueError):
            each.user_input = values
        assert (before or None, state) == (each.user_input, sent(each))


def test_unchecked_values() -> None:
    """With `validate=False` values are kept as they are: the run, which checks them, refuses."""
    each = draft("user_input")
    each.set_user_input(validate=False, limit="5", columns=["ssn"])

    assert {"limit": "5", "columns": ["ssn"]} == each.user_input
    with pytest.raises(MalformedResolution, match="limit"):
        validate(each.requirement, each.resolution())
    each.set_user_input(method="drop")
    assert "5" == each.user_input["limit"]


def test_a_form_with_nothing_required() -> None:
    """A form with optional fields alone is undecided until somebody has looked at it."""
    each = StepRequirement(form(UserInputField("note", required=False, value="x")), "run-1")
    assert (None, True) == (sent(each), each.needs_user_input)
    each.set_user_input()
    assert {"action": "answer", "values": {}} == sent(each)


def test_a_form_given_as_a_schema() -> None:
    """Of a JSON schema each value is checked by the rules about it, and missed where it is
    required; rules about several values together are for the run to check.
    """
    each = draft("schema")
    each.set_user_input(rows=3)
    assert (["in"], [], None) == (each.missing_values, each.user_input_schema, sent(each))
    for wrong, told in (({"rows": "four"}, "rows: 'four'"), ({"colour": "red"}, "'colour' was")):
        with pytest.raises(ValueError, match=told):
            each.set_user_input(**wrong)
    each.set_user_input(**{"in": "a"})
    assert {"action": "answer", "values": {"rows": 3, "in": "a"}} == sent(each)

    together = {"type": "object", "minProperties": 2, "dependentRequired": {"a": ["b"]}}
    part = StepRequirement(asked(UserInput, form=together), "run-1")
    part.set_user_input(a=1)
    part.set_user_input(b=2)
    assert {"action": "answer", "values": {"a": 1, "b": 2}} == sent(part)

    shared = {"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n"}}}
    referring = StepRequirement(asked(UserInput, form=shared), "run-1")
    with pytest.raises(ValueError, match="a: 'x' is not of type 'integer'"):
        referring.set_user_input(a="x")


def test_forms_are_not_shared() -> None:
    """What one draft is given reaches no other, nor the author's fields (bug K13)."""
    author = UserInputField("columns", "list", value=["ssn"])
    requirement = form(author)
    one, other = StepRequirement(requirement, "run-1"), StepRequirement(requirement, "run-2")
    given = ["name"]
    one.set_user_input(columns=given)
    given.append("late")
    told = one.user_input
    assert told is not None
    told["columns"].append("later")
    other.user_input_schema[0].value.append("of a copy")  # type: ignore[index]

    assert ["name"] == one.get_user_input("columns")
    assert [["name"], ["ssn"]] == [e.user_input_schema[0].value for e in (one, other)]  # type: ignore[index]
    assert (["ssn"], None) == (author.value, other.user_input)


# The question


def test_what_each_kind_is_called() -> None:
    """A draft tells its question in the words of its kind, and is silent in those of others."""
    flags = {
        "requires_confirmation": {"confirmation"},
        "requires_user_input": {"user_input", "schema"},
        "requires_route_selection": {"route", "routes"},
        "requires_output_review": {"output_review", "iteration_review"},
        "is_post_execution": {"output_review", "iteration_review"},
        "needs_confirmation": {"confirmation"},
        "needs_user_input": {"user_input", "schema"},
        "needs_route_selection": {"route", "routes"},
        "needs_output_review": {"output_review", "iteration_review"},
        "confirmation_message": {"confirmation"},
        "user_input_message": {"user_input", "schema", "route", "routes"},
        "output_review_message": {"output_review", "iteration_review"},
        "allow_multiple_selections": {"routes"},
        "available_choices": {"route", "routes"},
        "form": {"user_input", "schema"},
        "step_output": {"output_review", "iteration_review"},
        "needs_executor_resolution": set(),
    }
    drafts = {kind: draft(kind) for kind in ASKED if kind != "error"}
    for name, expected in flags.items():
        assert expected == {kind for kind, each in drafts.items() if getattr(each, name)}, name
    assert {"node?"} == {each.message for each in drafts.values()}
    assert ["quick", "deep"] == drafts["route"].available_choices
    assert None is drafts["confirmation"].user_input_schema
    assert OnReject.cancel is drafts["confirmation"].on_reject


def test_what_is_under_review() -> None:
    """A review shows what was produced with its `content`, and a failure with its error."""
    review, iteration = draft("output_review"), draft("iteration_review")
    assert StepOutput(step_name="node", path="node", content={"rows": 3}) == review.step_output
    assert (1, 3) == (review.retry_count, review.max_retries)
    assert ("second", "node.2") == (iteration.step_output.content, iteration.step_id)

    failed = StepRequirement(asked(OutputReview, output=None, error="no such file"), "run-1")
    assert failed.step_output is not None
    assert (False, "no such file") == (failed.step_output.success, failed.step_output.error)


def test_what_failed() -> None:
    """A draft after an error tells the error and what was tried, and refuses a retry too many."""
    each = draft("error")
    assert isinstance(each, ErrorRequirement)
    assert ("gone", "builtins.OSError", 4) == (each.error_message, each.error_type, each.attempts)
    assert (1, 2, "node", "node") == (each.retry_count, each.max_retries, each.step_id, each.id)
    assert (True, False, False) == (each.needs_decision, each.should_retry, each.should_skip)
    each.retry()
    assert (False, True, False) == (each.needs_decision, each.should_retry, each.should_skip)

    used = Drafts().of(error(retries=2, retries_limit=2), "run-1")
    assert isinstance(used, ErrorRequirement)
    with pytest.raises(ValueError, match="all 2 retries are used; skip"):
        used.retry()
    used.skip()
    assert (True, "skip") == (used.should_skip, used.decision)


def test_deadlines() -> None:
    """A draft tells its deadline, and whether it has passed."""
    for kind in ASKED:
        each = draft(kind)
        assert (None, None, False) == (each.timeout_at, each.on_timeout, each.is_timed_out)
    for after, passed in ((-1, True), (60, False)):
        at = datetime.now(UTC) + timedelta(seconds=after)
        late = error(deadline=at, on_timeout=OnTimeout.skip)
        each = Drafts().of(late, "run-1")
        assert (at, "skip", passed) == (each.timeout_at, each.on_timeout, each.is_timed_out)


def test_who_and_why() -> None:
    """Who decides and why goes along, whether said before the decision or after it."""
    for kind, way in (("confirmation", "confirm"), ("error", "skip")):
        each = draft(kind)
        each.resolved_by = "ana"
        getattr(each, way)()
        each.comment = "fine"
        made = each.resolution()
        assert made is not None
        assert ("ana", "fine") == (made.resolved_by, made.comment)
        each.resolved_by = 7
        with pytest.raises(ValueError, match="resolved_by"):
            each.resolution()


def test_agents_questions_are_drafts() -> None:
    """A kind that has no words of its own yet is asked and answered all the same."""
    each = StepRequirement(asked(ToolConfirmation, tool_name="delete"), "run-1")
    assert ("node?", False) == (each.message, each.needs_confirmation)
    each.confirm()
    assert YES == sent(each)


def test_shown() -> None:
    """A draft shows its id, how it is decided, and the question."""
    each, failed = draft("user_input"), draft("error")
    each.set_user_input(limit=1)
    failed.retry()
    assert "<StepRequirement node undecided: 'node?'>" == repr(each)
    assert "<ErrorRequirement node retry: 'node?'>" == repr(failed)


# A run's output


def output(run_id: str, *open_: AnyRequirement, **fields: Any) -> WorkflowRunOutput:
    shared = {"execution_id": "x", "workflow_name": "w", "session_id": "s", "status": "PAUSED"}
    return WorkflowRunOutput.model_validate(
        {**shared, "run_id": run_id, "requirements": open_, "started_at": AT, **fields}
    )


def everything() -> WorkflowRunOutput:
    """Return a run in which every kind is open, and some in child runs, one below the other."""
    kinds = [
        each.model_copy(update={"id": kind, "path": f"all.{kind}"}).sealed()
        for kind, each in ASKED.items()
    ]
    lowest = output("run.sub.sub", error(), step_names=["node"])
    child = output(
        "run.sub", ASKED["confirmation"], child_runs=[lowest], children={"sub": lowest.run_id}
    )
    children = {"all.sub": child.run_id}
    return output("run", *kinds, child_runs=[child], children=children, step_names=["Start", "All"])


EVERY = [*ASKED, "node"]
LISTS = {
    "step_requirements": [*EVERY[:-2], "node"],
    "active_step_requirements": [*EVERY[:-2], "node"],
    "steps_requiring_confirmation": ["confirmation", "node"],
    "steps_requiring_user_input": ["user_input", "schema"],
    "steps_requiring_route": ["route", "routes"],
    "steps_requiring_output_review": ["output_review", "iteration_review"],
    "steps_requiring_executor_resolution": [],
    "error_requirements": ["error", "node"],
    "active_error_requirements": ["error", "node"],
    "steps_with_errors": ["error", "node"],
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_drafts(name: str) -> None:
    """Each list has the drafts of its kinds, child runs' too, and the same objects each time."""
    run = everything()
    drafts: list[AnyDraft] = getattr(run, name)
    assert LISTS[name] == [each.id for each in drafts]
    assert all(one is other for one, other in zip(drafts, getattr(run, name), strict=True))
    assert all(any(each is draft for draft in run.drafts()) for each in drafts)


def test_decided_drafts_leave_their_lists() -> None:
    """What is decided here is no longer required, and stays among all that is open."""
    run = everything()
    for each in run.step_requirements:
        each.reject()
    for failed in run.error_requirements:
        failed.skip()

    lasting = {"step_requirements", "error_requirements"}
    left = {name: [each.id for each in getattr(run, name)] for name in LISTS}
    assert {name: LISTS[name] if name in lasting else [] for name in LISTS} == left
    assert 10 == len([each for each in run.drafts() if each.resolution()])
    assert run.is_paused


def test_where_a_run_is_paused() -> None:
    """A run says at which top-level node it waits, be the question far below it, or in a child."""
    run = everything()
    assert ("step", 1, "All") == (run.pause_kind, run.paused_step_index, run.paused_step_name)
    assert 10 == len(run.open_requirements)
    assert ["run"] * 8 + ["run.sub", "run.sub.sub"] == [each.run_id for each in run.drafts()]

    child = output("run.sub", ASKED["route"])
    waiting = {
        "child_runs": [child],
        "children": {"all": "run.sub"},
        "step_names": ["Start", "All"],
    }
    assert "All" == output("run", **waiting).paused_step_name
    quiet = output("run", status="RUNNING", step_names=["node"])
    assert (None, None, None) == (quiet.pause_kind, quiet.paused_step_index, quiet.paused_step_name)
    unknown = output("run", ASKED["route"])
    assert ("step", None) == (unknown.pause_kind, unknown.paused_step_name)
    assert output("run", status=RunStatus.cancelled).is_cancelled


def copies(run: WorkflowRunOutput) -> Iterator[WorkflowRunOutput]:
    yield WorkflowRunOutput.model_validate_json(run.model_dump_json())
    yield WorkflowRunOutput.model_validate(run.model_dump(mode="json"))
    yield copy.deepcopy(run)


@pytest.mark.parametrize("decided", [False, True], ids=["untouched", "decided"])
def test_json_and_back(decided: bool) -> None:
    """A paused run of every kind, with child runs, survives JSON exactly, drafts looked at or not:
    these are no part of it.
    """
    run = everything()
    if decided:
        for each in run.step_requirements:
            each.reject("why")
    for again in copies(run):
        assert run == again
        assert again == run
        assert run.model_dump() == again.model_dump()
    fresh = WorkflowRunOutput.model_validate_json(run.model_dump_json())
    assert [] == [each for each in fresh.drafts() if each.is_resolved]
    assert run != everything().model_copy(update={"requirements": []})


def test_a_resolution_is_plain_data() -> None:
    """What a draft decides survives JSON, so that it may be sent from anywhere."""
    for each in everything().drafts():
        decide = each.skip if isinstance(each, ErrorRequirement) else each.reject
        decide()
        made = each.resolution()
        assert made is not None
        assert made == parse_resolution(made.model_dump(mode="json"))


# On a server


@workflow.defn(sandboxed=False)
class AsksEverything:
    """A workflow written by hand that asks one question of each kind, all at a time."""

    @workflow.init
    def __init__(self) -> None:
        self.gate = Gate()

    @workflow.run
    async def run(self) -> list[str]:
        """Return how each question was answered, in the order of `ASKED`."""
        records = await asyncio.gather(*(self._ask(kind) for kind in ASKED))
        return [each.action for each in records]

    async def _ask(self, kind: str) -> ResolutionRecord:
        of = ASKED[kind]
        common = {"kind", *Requirement.model_fields}
        shown = {name: getattr(of, name) for name in type(of).model_fields if name not in common}
        return await self.gate.ask(type(of), name=kind, message=of.message, shown=shown)


async def test_a_run_accepts_every_kind_of_draft(env: WorkflowEnvironment) -> None:
    """What drafts of every kind decide, a run accepts; a draft of the same question as another
    person saw it is told who was first.
    """
    answers: dict[str, Callable[[Any], None]] = {
        "confirmation": lambda each: each.confirm(),
        "user_input": lambda each: each.set_user_input(columns=["ssn"]),
        "schema": lambda each: each.set_user_input(**{"in": "a", "rows": 3}),
        "route": lambda each: each.select("deep"),
        "routes": lambda each: each.select_multiple(["full", "quick"]),
        "output_review": lambda each: each.edit({"rows": 2}),
        "iteration_review": lambda each: each.reject("shorter"),
        "error": lambda each: each.retry(),
    }
    async with serving(env, workflows=[AsksEverything]) as client:
        queue = client.task_queue
        handle = await client.client.start_workflow("AsksEverything", id=queue, task_queue=queue)
        open_ = (await client.requirements(handle.id)).open
        drafts: list[Any] = [Drafts().of(each, handle.id) for each in open_]
        for each in drafts:
            answers[each.id](each)
            each.resolved_by = "ana"
        records: list[Any] = await client.resolve_many(
            [(each.run_id, each.resolution()) for each in drafts]
        )
        late: Any = StepRequirement(open_[0], handle.id)
        late.reject()
        with pytest.raises(AlreadyResolved, match="ana decided 'confirm'"):
            await client.resolve(handle.id, late.resolution())
        actions = await asyncio.wait_for(handle.result(), WAIT)

    expected = ["confirm", *["answer"] * 2, *["select"] * 2, "edit", "reject", "retry"]
    assert expected == actions
    assert list(answers) == [each.id for each in drafts]
    assert {"method": "mask", "columns": ["ssn"]} == records[1].values
    assert {"ana"} == {each.resolved_by for each in records}
    await replays(handle, workflows=[AsksEverything])


def fetch(step_input: StepInput) -> Any:
    return step_input.additional_data.get("user_input", f"fetched {step_input.input}")


def fails() -> str:
    raise OSError("gone")


def everything_at_once(db: SqliteDb) -> Workflow:
    """Return a pipeline whose branches ask one question of each kind, one in a child run."""
    loop_review = HumanReview(requires_iteration_review=True)
    branches = [
        Step("confirmed", fetch, requires_confirmation=True),
        Step("filled_in", fetch, requires_user_input=True, user_input_schema=FIELDS),
        Router(
            [Step("quick", fetch), Step("deep", fetch)], None, "routed", requires_user_input=True
        ),
        Step("reviewed", fetch, requires_output_review=True),
        Loop([Step("refine", fetch)], "refined", human_review=loop_review),
        Step("failed", fails, max_retries=0, on_error=OnError.pause),
        Workflow("below", [Step("inner", fetch, requires_confirmation=True)]),
    ]
    return Workflow("everything", [Step("Start", fetch), Parallel(*branches, name="All")], db=db)


async def asking(pipeline: Workflow) -> WorkflowRunOutput:
    """Start a run, and return it once each of its branches asks."""
    started = await pipeline.arun("data")

    async def all_open() -> WorkflowRunOutput | None:
        told = await pipeline.aget_run_output(started.run_id)
        return told if 7 == len(told.open_requirements) else None

    return await until(all_open)


async def test_nothing_is_decided(embedded: SqliteDb) -> None:
    """Where nothing was decided, that names all that is open, and what a form lacks that was
    begun.
    """
    pipeline = everything_at_once(embedded)
    run = await asking(pipeline)
    run.steps_requiring_user_input[0].set_user_input(limit=1)
    with pytest.raises(ValueError) as raised:
        await pipeline.acontinue_run(run)
    await pipeline.acancel_run(run.run_id)

    told = str(raised.value)
    assert [] == [each.id for each in run.drafts() if f"{each.id} " not in told]
    assert "all.filled_in (user_input without columns: Fill in what step 'filled_in'" in told
    assert f"inner of run '{run.run_id}.all.below' (confirmation: " in told
    assert run == WorkflowRunOutput.model_validate_json(run.model_dump_json())
    assert ("All", 1) == (run.paused_step_name, run.paused_step_index)


async def test_continue_run_sends_all_kinds(embedded: SqliteDb) -> None:
    """What a program fills in of every kind, child runs' too, one call sends."""
    pipeline = everything_at_once(embedded)
    run = await asking(pipeline)
    run.steps_requiring_user_input[0].set_user_input(limit=1)
    run.steps_requiring_user_input[0].set_user_input(columns=["ssn"])
    run.steps_requiring_route[0].select("deep")
    for review in run.steps_requiring_output_review:
        review.edit(f"edited {review.step_output.content}")  # type: ignore[union-attr]
    for confirmation in run.steps_requiring_confirmation:
        confirmation.confirm()
    run.steps_with_errors[0].skip()
    assert ([], []) == (run.active_step_requirements, run.active_error_requirements)
    drafts = [*run.step_requirements, *run.error_requirements]
    run = await pipeline.acontinue_run(run_id=run.run_id, step_requirements=drafts)

    expected = {
        "confirmed": "fetched data",
        "filled_in": {"columns": ["ssn"], "method": "mask", "limit": 1, "note": None},
        "routed": "fetched data",
        "reviewed": "edited fetched data",
        "refined": "edited fetched data",
        "below": "fetched fetched data",
    }
    assert expected == run.content
    assert ["failed"] == [each.step_name for each in run.failed_steps]
    async with embedded_client(embedded) as client:
        await replays(client.handle(run.run_id), pipeline)
