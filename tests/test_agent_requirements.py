"""A requirement of an agent's run, in the words of reference `agent-hitl.md` 1.4: what it says, how
it is decided, and as data.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from temporal_hitl.agents import (
    Function,
    ResolvedRequirement,
    RunOutput,
    RunRequirement,
)
from temporal_hitl.drafts import StepRequirement
from temporal_hitl.errors import DefinitionError, MalformedResolution
from temporal_hitl.requirements import (
    Confirm,
    Confirmation,
    DecidedBy,
    Question,
    Requirement,
    ResolutionRecord,
    ToolConfirmation,
    ToolExecution,
    ToolInput,
    ToolOutcome,
)
from temporal_hitl.requirements._resolutions import Channel
from temporal_hitl.run import RunStatus, WorkflowRunOutput

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def mail(subject: str, to: str, copies: int = 0, urgent: bool | None = None) -> str:
    """Send a mail.

    Args:
        to: Whom.
    """
    return f"{subject} {to} {copies} {urgent}"


PARAMETERS = Function(mail).parameters
FILLED = {**PARAMETERS, "required": ["to"]}
FILLED["properties"] = {**FILLED["properties"], "subject": {"type": "string", "default": "hi"}}
CHOICES = {
    "type": "object",
    "properties": {
        "Why?": {"type": "string", "enum": ["old", "broken"], "header": "Reason"},
        "Which?": {"type": "array", "items": {"enum": ["a", "b"]}, "title": "Which?"},
    },
    "required": ["Why?", "Which?"],
    "additionalProperties": False,
}
WANTED = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def asked(kind: type[Requirement], member: str | None = None, **shown: Any) -> RunRequirement:
    """Return what a run asks at `team.1.mailer.1.mail`."""
    if kind not in (Question, Confirmation):
        shown |= {"tool_name": "mail", "tool_args": {"subject": "hi"}}
    path = "team.1.mailer.1.mail"
    made = kind(id=path, path=path, name="team", message="May it?", created_at=NOW, **shown)
    return RunRequirement(StepRequirement(made.sealed(), "team-1"), member)


KINDS: dict[str, Callable[[], RunRequirement]] = {
    "confirmation": lambda: asked(ToolConfirmation, form=PARAMETERS),
    "before the run": lambda: asked(Confirmation),
    "input": lambda: asked(ToolInput, form=FILLED),
    "execution": lambda: asked(ToolExecution),
    "question": lambda: asked(Question, form=WANTED),
    "choice": lambda: asked(Question, form=CHOICES),
    "outcome": lambda: asked(ToolOutcome, error_message="lost"),
}
NEEDS = ("confirmation", "user_input", "user_feedback", "external_execution")
PAUSES = {
    "confirmation": "confirmation",
    "before the run": "confirmation",
    "input": "user_input",
    "question": "user_input",
    "choice": "user_feedback",
    "execution": "external_execution",
    "outcome": "outcome",
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_needs(kind: str) -> None:
    """Each requirement needs one thing, and says so under both spellings; its tool, too."""
    each = KINDS[kind]()
    needs = {name: getattr(each, f"needs_{name}") for name in NEEDS}
    call = each.tool_execution

    assert {name: name == PAUSES[kind] for name in NEEDS} == needs
    assert PAUSES[kind] == each.pause_type
    assert each.needs_external_execution is each.is_external_tool_execution
    assert not each.is_resolved() and not each.external_execution_silent
    assert call == each.tool
    assert call.is_paused is (kind != "outcome")
    flags = (
        call.requires_confirmation,
        call.requires_user_input,
        call.external_execution_required,
    )
    of_user = needs["user_input"] or needs["user_feedback"]
    assert (needs["confirmation"], of_user, needs["external_execution"]) == flags
    assert (each.id, NOW, "May it?") == (each.requirement.id, each.created_at, each.message)


DECISIONS: dict[str, list[Callable[[RunRequirement], None]]] = {
    "confirmation": [
        lambda r: r.confirm(),
        lambda r: r.reject("no"),
        lambda r: r.edit(to="ana"),
        lambda r: setattr(r, "confirmation", True),
        lambda r: setattr(r, "confirmed", False),
    ],
    "before the run": [lambda r: r.confirm(), lambda r: r.reject()],
    "input": [
        lambda r: r.provide_user_input({"to": "ana"}),
        lambda r: setattr(r.user_input_schema[1], "value", "bob"),
        lambda r: r.reject("nobody"),
    ],
    "question": [lambda r: r.provide_user_input({"city": "Rome"}), lambda r: r.reject()],
    "choice": [lambda r: r.provide_user_feedback({"Why?": "old", "Which?": ["b", "a"]})],
    "execution": [
        lambda r: r.set_external_execution_result(""),
        lambda r: setattr(r, "external_execution_result", {"id": 1}),
        lambda r: r.set_external_execution_error("no such disk"),
        lambda r: r.reject("not done"),
    ],
    "outcome": [
        lambda r: r.set_external_execution_result("it has"),
        lambda r: r.retry(),
        lambda r: r.skip(),
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_decisions(kind: str) -> None:
    """Whatever fits a requirement resolves it, the later of two replaces the earlier, and what does
    not fit raises a ValueError and changes nothing; as data it stays what it is.
    """
    each, decided = KINDS[kind](), None
    for decide in DECISIONS[kind]:
        decide(each)
        decided = each.draft.resolution()
        again = RunRequirement.from_dict(json.loads(json.dumps(each.to_dict())))
        assert each.is_resolved() and not any(getattr(each, f"needs_{name}") for name in NEEDS)
        assert decided == again.draft.resolution()
        assert each.to_dict() == again.to_dict()
    for other, decisions in DECISIONS.items():
        fits = {PAUSES[kind], PAUSES[other]} in ({"user_input", "user_feedback"}, {PAUSES[kind]})
        for decide in [] if fits or "outcome" in (kind, other) else decisions[:1]:
            with pytest.raises(ValueError):
                decide(each)
            assert decided == each.draft.resolution()


def test_the_fields_of_a_tool() -> None:
    """The fields are the tool's parameters, with their types, what is told of them, and what the
    model filled in; what they are assigned stands in later views of them.
    """
    each = KINDS["input"]()
    fields = {f.name: (f.field_type, f.description, f.value) for f in each.user_input_schema}
    each.user_input_schema[2].value = 3
    begun = each.is_resolved(), each.needs_user_input, each.draft.missing_values
    with pytest.raises(MalformedResolution, match="copies"):
        each.user_input_schema[2].value = "many"
    with pytest.raises(MalformedResolution, match="nobody"):
        each.provide_user_input({"nobody": 1})
    each.user_input_schema[1].value = "ana"

    assert {
        "subject": ("str", None, "hi"),
        "to": ("str", "Whom.", None),
        "copies": ("int", None, 0),
        "urgent": ("bool", None, None),
    } == fields
    assert (False, True, ["to"]) == begun
    assert {"copies": 3, "to": "ana"} == each.draft.user_input
    assert ["hi", "ana", 3, None] == [f.value for f in each.user_input_schema]
    assert each.is_resolved()


def test_the_questions_of_ask_user() -> None:
    """The questions show their options and what is chosen; all of them need an answer."""
    each = KINDS["choice"]()
    each.provide_user_feedback({"Which?": ["b"]})
    half = each.is_resolved(), each.needs_user_feedback
    why, which = each.user_feedback_schema
    each.provide_user_feedback({"Why?": ["old"]})

    assert (False, True) == half and each.is_resolved()
    assert ("Why?", "Reason", False, None) == (
        why.question,
        why.header,
        why.multi_select,
        why.selected_options,
    )
    assert (None, True, ["b"]) == (which.header, which.multi_select, which.selected_options)
    assert [("a", False), ("b", True)] == [(e.label, e.selected) for e in which.options]
    assert [] == each.user_input_schema == KINDS["input"]().user_feedback_schema


def test_a_begun_form_as_data() -> None:
    """A form that is begun and not complete is begun after the way through JSON too; one that only
    the model filled in is not.
    """
    begun, untouched = KINDS["input"](), KINDS["input"]()
    begun.provide_user_input({"copies": 2})
    again = [RunRequirement.from_dict(each.to_dict()) for each in (begun, untouched)]

    assert [{"copies": 2}, None] == [each.draft.user_input for each in again]
    assert [False, False] == [each.is_resolved() for each in again]


def test_a_note_before_the_no() -> None:
    """A note may be written before the decision and after it, and goes with it."""
    for note_first in (True, False):
        each = KINDS["confirmation"]()
        assigned: list[tuple[str, Any]] = [("confirmation_note", "late"), ("confirmation", False)]
        for name, value in assigned if note_first else reversed(assigned):
            setattr(each, name, value)
        call = each.to_dict()["tool_execution"]
        assert ("late", False) == (each.confirmation_note, each.confirmation)
        assert ("late", False) == (call["confirmation_note"], call["confirmed"])


BAD: dict[str, Any] = {
    "nothing": {},
    "no question": {"id": "x", "run_id": "r", "confirmation": True},
    "another id": {"id": "other"},
    "no such action": {"decision": {"action": "approve"}},
    "an answer to an approval": {"decision": {"action": "answer", "values": {}}},
    "no dict": {"decision": "confirm"},
    "both": {"decision": {"action": "confirm"}, "confirmation": False},
    "no bool": {"confirmation": "yes"},
    "arguments that do not fit": {
        "decision": {"action": "edit_arguments", "arguments": {"copies": "x"}}
    },
    "more than a decision": {"decision": {"action": "confirm", "result": "forged"}},
}


@pytest.mark.parametrize("wrong", BAD)
def test_bad_data(wrong: str) -> None:
    """What is no data of a requirement, or decides two things, is refused."""
    whole = {} if wrong in ("nothing", "no question") else KINDS["confirmation"]().to_dict()
    with pytest.raises(MalformedResolution):
        RunRequirement.from_dict({**whole, **BAD[wrong]})


CLIENTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "yes": ("confirmation", {"confirmation": True}, "confirm"),
    "no": ("confirmation", {"confirmation": False, "confirmation_note": "n"}, "reject"),
    "a result": ("execution", {"external_execution_result": ""}, "report"),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_what_a_client_writes(client: str) -> None:
    """A client that has the data may write the decision into it, under the reference's names."""
    kind, written, action = CLIENTS[client]
    decided = RunRequirement.from_dict({**KINDS[kind]().to_dict(), **written}).draft.resolution()

    assert decided is not None and action == decided.action
    assert written.get("confirmation_note") == getattr(decided, "feedback", None)


def test_members() -> None:
    """A member's requirement says whose it is; the agent's own does not."""
    own, members = KINDS["confirmation"](), asked(ToolConfirmation, "mailer")

    assert (None, None, None) == (own.member_agent_id, own.member_agent_name, own.member_run_id)
    ids = (members.member_agent_id, members.member_agent_name, members.member_run_id)
    assert ("mailer", "mailer", "team.1.mailer") == ids
    assert ids == tuple(
        RunRequirement.from_dict(members.to_dict()).to_dict()[name]
        for name in ("member_agent_id", "member_agent_name", "member_run_id")
    )


def test_rounds() -> None:
    """`requirements` has all that was ever asked, `active_requirements` what is undecided, and the
    same objects each time.
    """
    record = ResolutionRecord(
        requirement_id="team.1.wipe",
        kind="tool_confirmation",
        path="team.1.wipe",
        resolution=Confirm(requirement_id="team.1.wipe"),
        decided_by=DecidedBy.human,
        channel=Channel.temporal,
        resolved_at=NOW,
    )
    open_ = [KINDS["confirmation"]().requirement]
    run = WorkflowRunOutput(
        run_id="team-1",
        execution_id="e",
        session_id="s",
        workflow_name="team",
        status=RunStatus.paused,
        requirements=open_,
        resolutions=[record],
    )
    output = RunOutput(run)
    before, (active,) = output.requirements, output.active_requirements
    active.confirm()

    assert ["team.1.wipe", active.id] == [each.id for each in output.requirements]
    assert before[1] is active is output.requirements[1]
    assert isinstance(before[0], ResolvedRequirement) and before[0].confirmation
    assert [] == output.active_requirements
    assert "team.1.wipe" == before[0].to_dict()["requirement_id"]
    calls = (output.tools_requiring_confirmation, output.tools_requiring_user_input)
    assert (["mail"], []) == tuple([each.tool_name for each in kind] for kind in calls)


def test_another_run() -> None:
    """What another run asks is not sent with a run's decisions."""
    from temporal_hitl.agents._requirement import drafts_of

    each = KINDS["confirmation"]()
    assert [each.draft] == drafts_of([each], "team-1")
    with pytest.raises(DefinitionError, match="'team-1', not 'team-2'"):
        drafts_of([each], "team-2")
    with pytest.raises(DefinitionError, match="no requirement"):
        drafts_of(["wipe"], None)
