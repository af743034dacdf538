"""One decision closes a requirement: the state behind every door, without Temporal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from temporal_hitl import Confirm, OnTimeout, Reject, ResolutionError, UserInputField
from temporal_hitl._ledger import RECORDS_KEPT, REFUSALS_KEPT, GateState, Ledger
from temporal_hitl.errors import (
    AlreadyResolved,
    DecisionConflict,
    MalformedResolution,
    TooLate,
    UnknownRequirement,
)
from temporal_hitl.requirements import Confirmation, Door, Identity, UserInput
from temporal_hitl.review import form_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def ledger(*ids: str, deadline: datetime | None = None) -> Ledger:
    """Return a ledger in which confirmations `ids` are open."""
    state = Ledger()
    for key in ids or ("a",):
        policy = None if deadline is None else OnTimeout.skip
        asked = Confirmation(
            id=key,
            path=key,
            name=key,
            message="Go?",
            created_at=NOW,
            deadline=deadline,
            on_timeout=policy,
        )
        state.ask(asked.sealed())
    return state


def confirm(key: str = "a", **over: Any) -> dict[str, Any]:
    return {"requirement_id": key, "action": "confirm"} | over


def decide(state: Ledger, *data: Any, now: datetime = NOW) -> list[Any]:
    return state.decide(data, Door.update, now)


def everything(state: Ledger) -> Any:
    return dict(state.open), dict(state.records), list(state.refusals)


def test_the_record_says_who_how_and_when() -> None:
    """A decision's record holds its claim, its door and its time, and the requirement is closed."""
    state = ledger("a", "b")
    (record,) = decide(state, confirm(resolved_by="ana", comment="fine"), now=LATER)

    assert (record.requirement_id, record.kind, record.action) == ("a", "confirmation", "confirm")
    assert (record.decided_by, record.resolved_at) == ("human", LATER)
    assert (record.channel, record.door) == ("temporal", "update")
    assert (record.resolved_by, record.comment, record.identity) == ("ana", "fine", "claimed")
    assert (record.approved, record.late, record.timed_out) == (True, False, False)
    assert (["b"], {"a": record}) == (list(state.open), state.records)
    assert record.told() == "ana decided 'confirm' by update at 2026-01-02T04:04:05+00:00: fine"


def test_no_name_is_no_identity() -> None:
    """Who gives no name is on record as nobody, not as somebody."""
    (record,) = decide(ledger(), confirm())

    assert Identity.none is record.identity
    assert record.resolved_by is None
    assert "somebody who gave no name decided 'confirm'" in record.told()


REFUSED = [
    pytest.param([], MalformedResolution, "no resolution was sent; open: a, b", id="none"),
    pytest.param([None], MalformedResolution, "None is not a resolution", id="null"),
    pytest.param(
        [confirm("c")], UnknownRequirement, "no requirement 'c'; open: a, b", id="unknown"
    ),
    pytest.param(
        [confirm(action="select", choices=["x"])],
        MalformedResolution,
        "'select' does not answer it; use confirm, reject",
        id="another-kind's-action",
    ),
    pytest.param(
        [confirm(), confirm("c")], UnknownRequirement, "no requirement 'c'", id="one-of-two"
    ),
    pytest.param(
        [confirm(), confirm(action="reject")],
        MalformedResolution,
        "'a' is answered twice in one call",
        id="twice-in-one-call",
    ),
    pytest.param([confirm(digest="0" * 64)], MalformedResolution, "look again", id="other-content"),
    pytest.param(
        [confirm("done")], AlreadyResolved, "'done' is resolved already: bo decided", id="resolved"
    ),
    pytest.param(
        [confirm(), confirm("done")], AlreadyResolved, "bo decided 'reject'", id="one-resolved"
    ),
    pytest.param(
        [confirm(decision_id="d1")],
        DecisionConflict,
        "decision id 'd1' was used for another decision, on 'done': bo decided 'reject'",
        id="decision-id-of-another-requirement",
    ),
]


@pytest.mark.parametrize(("data", "kind", "sentence"), REFUSED)
def test_what_is_refused_changes_nothing(
    data: list[Any], kind: type[ResolutionError], sentence: str
) -> None:
    """A refusal says why and leaves the ledger as it was, a list of answers included."""
    state = ledger("a", "b", "done")
    decide(state, confirm("done", action="reject", resolved_by="bo", decision_id="d1"))
    before = everything(state)
    with pytest.raises(kind) as by_check:
        state.check(data, NOW)
    with pytest.raises(kind) as by_decide:
        decide(state, *data)

    assert sentence in str(by_check.value)
    assert str(by_check.value) == str(by_decide.value)
    assert before == everything(state)


def test_checking_changes_nothing() -> None:
    """A check that passes opens, closes and remembers nothing."""
    state = ledger("a", "b")
    before = everything(state)
    state.check([confirm(decision_id="d1"), confirm("b")], NOW)
    decide(state, confirm("b", decision_id="d1"))

    assert before[1] == {}
    assert list(state.records) == ["b"]


def test_a_list_is_applied_in_order() -> None:
    """A list of answers closes each of its requirements, and its records come in its order."""
    state = ledger("a", "b", "c")
    records = decide(state, confirm("c"), confirm("a", action="reject"))

    assert [(r.requirement_id, r.approved) for r in records] == [("c", True), ("a", False)]
    assert list(state.open) == ["b"]


def test_the_loser_learns_who_won() -> None:
    """The second answer is refused with the winner's record in the exception."""
    state = ledger()
    (won,) = decide(state, confirm(resolved_by="ana"))
    with pytest.raises(AlreadyResolved, match="ana decided 'confirm' by update at") as caught:
        decide(state, confirm(action="reject", resolved_by="bo"))

    assert won.model_dump(mode="json") == caught.value.record


@pytest.mark.parametrize("door", Door)
def test_the_same_decision_twice_is_one(door: Door) -> None:
    """A decision id with the same body returns the first record, whichever door it comes to."""
    state = ledger()
    body = confirm(resolved_by="ana", decision_id="d1")
    (first,) = state.decide([body], door, NOW)
    (again,) = decide(state, body, now=LATER)

    assert first is again
    assert [first] == list(state.records.values())


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"action": "reject"}, id="action"),
        pytest.param({"resolved_by": "bo"}, id="reviewer"),
        pytest.param({"comment": "well"}, id="comment"),
        pytest.param({"requirement_id": "b"}, id="requirement"),
    ],
)
def test_the_same_decision_id_for_something_else(other: dict[str, Any]) -> None:
    """A decision id with another body is refused as a conflict, with the record that stands."""
    state = ledger("a", "b")
    (first,) = decide(state, confirm(resolved_by="ana", decision_id="d1"))
    with pytest.raises(DecisionConflict, match="'d1' was used for another decision") as caught:
        decide(state, confirm(resolved_by="ana", decision_id="d1") | other)

    assert first.model_dump(mode="json") == caught.value.record
    assert list(state.open) == ["b"]


def test_one_decision_id_for_two_requirements_in_one_call() -> None:
    """Two answers in one call cannot share a decision id: it would tell neither from a repeat."""
    state = ledger("a", "b")
    with pytest.raises(ResolutionError, match="d1"):
        decide(state, confirm("a", decision_id="d1"), confirm("b", decision_id="d1"))

    assert list(state.open) == ["a", "b"]


def test_a_repeat_in_a_list_does_not_block_the_rest() -> None:
    """A list that was sent before with one answer more applies the new one alone."""
    state = ledger("a", "b")
    (first,) = decide(state, confirm("a", decision_id="d1"))
    records = decide(state, confirm("a", decision_id="d1"), confirm("b"), now=LATER)

    assert [(r.requirement_id, r.resolved_at) for r in records] == [("a", NOW), ("b", LATER)]
    assert first is records[0]


@pytest.mark.parametrize(
    ("resolution", "offset", "late"),
    [
        pytest.param(Confirm(requirement_id="a"), -1, False, id="confirmed-before"),
        pytest.param(Confirm(requirement_id="a"), 0, True, id="confirmed-at"),
        pytest.param(Confirm(requirement_id="a"), 1, True, id="confirmed-after"),
        pytest.param(Reject(requirement_id="a"), -1, False, id="rejected-before"),
        pytest.param(Reject(requirement_id="a"), 1, False, id="rejected-after"),
    ],
)
def test_late_answers_are_marked(resolution: Confirm | Reject, offset: int, late: bool) -> None:
    """Until the deadline has acted an answer counts; a late yes is marked, a no is never late."""
    state = ledger(deadline=LATER)
    (record,) = decide(state, resolution, now=LATER + timedelta(seconds=offset))

    assert (late, resolution) == (record.late, record.resolution)


@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_a_strict_deadline(offset: int) -> None:
    """Under a strict deadline a yes counts before it only; a no counts until it has acted."""
    now = LATER + timedelta(seconds=offset)
    strict, other = ledger(deadline=LATER), ledger(deadline=LATER)
    for state in (strict, other):
        asked = state.open["a"].model_copy(update={"strict_deadline": True})
        state.ask(asked)
    (no,) = decide(other, Reject(requirement_id="a"), now=now)

    if offset < 0:
        (yes,) = decide(strict, Confirm(requirement_id="a"), now=now)
        assert not yes.late
    else:
        with pytest.raises(TooLate, match="strictly"):
            decide(strict, Confirm(requirement_id="a"), now=now)
        assert "a" in strict.open
    assert ("reject", False) == (no.action, no.late)


@pytest.mark.parametrize("answer", [confirm(), confirm(action="reject")], ids=["yes", "no"])
def test_once_the_deadline_has_acted_answers_are_refused(answer: dict[str, Any]) -> None:
    """After the deadline acted every answer is refused, with the time at which it did."""
    state = ledger(deadline=LATER)
    record = state.time_out("a", LATER)
    with pytest.raises(AlreadyResolved) as caught:
        decide(state, answer, now=LATER + timedelta(seconds=1))

    assert (record.decided_by, record.channel, record.action) == ("timeout", "timer", "time_out")
    assert record.door is None
    assert (record.timed_out, record.approved, record.resolved_by) == (True, False, None)
    assert "its deadline acted (skip) at 2026-01-02T04:04:05+00:00" in str(caught.value)


def test_what_the_run_stops_asking_is_withdrawn() -> None:
    """A requirement that the run stopped asking is neither approved nor rejected, and says why."""
    state = ledger()
    record = state.withdraw("a", "the run was cancelled", NOW)
    with pytest.raises(AlreadyResolved, match="the run was cancelled"):
        decide(state, confirm())

    assert (record.withdrawn, record.approved, record.timed_out) == (True, False, False)
    assert (record.decided_by, record.channel) == ("policy", "run")


def test_a_form_checks_its_answers() -> None:
    """Values that the form refuses leave the requirement open; right ones close it."""
    form = form_of([UserInputField("n", "int")])
    state = Ledger()
    schema = form.model_json_schema()
    asked = UserInput(id="f", path="f", name="f", message="?", created_at=NOW, form=schema)
    state.ask(asked.sealed(), form)
    with pytest.raises(MalformedResolution, match="n: "):
        decide(state, confirm("f", action="answer", values={"n": "5"}))
    (record,) = decide(state, confirm("f", action="answer", values={"n": 5}))

    assert record.values == {"n": 5}


# The shorthands


@pytest.mark.parametrize(
    ("action", "args", "resolution"),
    [
        ("confirm", ["a"], {"action": "confirm", "requirement_id": "a"}),
        ("confirm", ["a", "ok"], {"action": "confirm", "requirement_id": "a", "comment": "ok"}),
        ("reject", ["a"], {"action": "reject", "requirement_id": "a"}),
        ("reject", ["a", "no"], {"action": "reject", "requirement_id": "a", "feedback": "no"}),
    ],
)
def test_shorthands(action: str, args: list[Any], resolution: dict[str, Any]) -> None:
    """`confirm ID` and `reject ID` are resolutions, with a text beside them if one is given."""
    assert resolution == ledger().shorthand(action, args, ())


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        pytest.param([], "nothing", id="none"),
        pytest.param([""], "''", id="empty"),
        pytest.param([None], "None", id="null"),
        pytest.param(["a", "b", "c"], "'a', 'b', 'c'", id="three"),
        pytest.param([{"requirement_id": "a"}], "{'requirement_id': 'a'}", id="an-object"),
        pytest.param(["a", 7], "'a', 7", id="number-beside"),
    ],
)
def test_shorthands_without_an_id(args: list[Any], shown: str) -> None:
    """A shorthand never guesses what is meant: it lists what is open and the commands to paste."""
    with pytest.raises(MalformedResolution) as caught:
        ledger("a", "b").shorthand("confirm", args, ["run a", "run b"])
    told = str(caught.value)

    assert f"it got {shown}." in told
    assert told.endswith("Write:\n  run a\n  run b\nopen: a, b")


# What is kept, and how much of it


def test_refusals_are_bounded() -> None:
    """The latest refusals are kept and the oldest go; each is short, whatever came."""
    state = ledger()
    for number in range(REFUSALS_KEPT + 30):
        reason = UnknownRequirement(f"number {number}" + "x" * 10_000)
        state.refuse("resolve", ["y" * 100_000, object()], reason, NOW)

    assert len(state.refusals) == REFUSALS_KEPT
    assert state.refusals[-1].reason.startswith(f"number {REFUSALS_KEPT + 29}x")
    assert max(len(each.payload) for each in state.refusals) <= 500
    assert max(len(each.reason) for each in state.refusals) <= 1_000


def test_a_list_of_what_is_open_is_short() -> None:
    """A refusal names twenty open ids at most, and says how many more there are."""
    with pytest.raises(UnknownRequirement, match=r"open: g0, .*, g19 and 30 more$") as caught:
        decide(ledger(*(f"g{number}" for number in range(50))), confirm("nope"))

    assert "g20" not in str(caught.value)


def test_rounds_give_unique_ids() -> None:
    """A place that asks again gets the next round's id, each place counted for itself."""
    state = Ledger()
    rounds = [state.next_round(path) for path in ("a", "b.1.c", "a", "a", "b.1.c")]

    assert rounds == [("a", 1), ("b.1.c", 1), ("a~2", 2), ("a~3", 3), ("b.1.c~2", 2)]


ANSWERS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "nope"]),
        st.sampled_from(["confirm", "reject", "skip"]),
        st.sampled_from([None, "d1", "d2"]),
    ),
    max_size=3,
)


@given(st.lists(ANSWERS, max_size=8))
def test_any_order_of_answers(calls: list[list[tuple[str, str, str | None]]]) -> None:
    """Whatever arrives: each requirement is open or recorded, and a refusal changes nothing."""
    state = ledger("a", "b", "c")
    for call in calls:
        before = everything(state)
        data = [confirm(key, action=action, decision_id=did) for key, action, did in call]
        try:
            records = decide(state, *data)
        except ResolutionError:
            assert before == everything(state)
            continue

        assert len(data) == len(records)
        assert {"a", "b", "c"} == set(state.open) ^ set(state.records)
        assert before[1] == {key: state.records[key] for key in before[1]}
        assert [d["requirement_id"] for d in data] == [r.requirement_id for r in records]


def test_what_a_ledger_takes_along() -> None:
    """A ledger made from another's state answers as that one would, for all that is kept."""
    state = ledger("open", "old", "new")
    decide(state, Confirm(requirement_id="old", decision_id="d-old"))
    decide(state, Reject(requirement_id="new", decision_id="d-new", feedback="no"))
    carried = GateState.model_validate_json(state.state().model_dump_json())
    after = Ledger()
    after.load(carried)

    assert list(state.open) == list(after.open)
    assert state.records == after.records
    assert [state.records["old"]] == decide(
        after, Confirm(requirement_id="old", decision_id="d-old")
    )
    with pytest.raises(DecisionConflict):
        decide(after, Confirm(requirement_id="open", decision_id="d-new"))
    assert "d-old" in [each.resolution.decision_id for each in carried.records]  # type: ignore[union-attr]


def test_records_that_are_needed_are_kept() -> None:
    """Of many decisions the latest are taken along, and those that a node still needs."""
    keys = [f"k{number}" for number in range(RECORDS_KEPT + 5)]
    state = ledger(*keys)
    decide(state, *(Confirm(requirement_id=key) for key in keys))

    kept = [each.requirement_id for each in state.state(needed=["k2"]).records]

    assert ["k2", *keys[5:]] == kept
