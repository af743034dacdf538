"""Agents, and teams of them, and what people answered in the runs recorded of them.

As in `pipelines`, a definition may change, and its name may not. What a model says stands in the
histories.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator

from temporal_hitl import (
    Answer,
    Confirm,
    EditArguments,
    Loop,
    Parallel,
    Reject,
    Report,
    Step,
    Workflow,
)
from temporal_hitl.agents import (
    Agent,
    Function,
    Team,
    UserControlFlowTools,
    UserFeedbackTools,
    tool,
)
from temporal_hitl.requirements import AnyResolution
from tests.agents import Called, scripted

A_DAY = timedelta(days=1)


def _known(disk: str) -> str:
    if not disk.startswith("sd"):
        raise ValueError("no such disk")
    return disk


@tool(requires_confirmation=True, timeout=A_DAY, execution_message="Wipe {disk}?")
def wipe(disk: Annotated[str, AfterValidator(_known)], session_state: dict[str, Any]) -> str:
    """Wipe a disk."""
    session_state["wiped"] = disk
    return f"wiped {disk}"


@tool(requires_user_input=True, user_input_fields=["to"])
def send(subject: str, to: str) -> str:
    """Send a mail."""
    return f"sent {subject} to {to}"


@tool(external_execution=True)
def shell(command: str) -> str:
    """Run a command."""
    return command


def lookup(name: str) -> str:
    """Look somebody up."""
    return f"{name} is u7"


def count(session_state: dict[str, Any]) -> int:
    """Count."""
    session_state["n"] = session_state.get("n", 0) + 1
    return session_state["n"]


A: Called = ("wipe", {"disk": "sda"})
EVERYTHING: list[Called] = [
    A,
    ("wipe", {"disk": "sdb"}),
    ("send", {"subject": "hi"}),
    ("shell", {"command": "ls"}),
    ("get_user_input", {"user_input_fields": [{"field_name": "city"}]}),
    ("ask_user", {"questions": [{"question": "Why?", "options": [{"label": e} for e in "ab"]}]}),
    ("lookup", {"name": "Ann"}),
    ("count", {}),
    ("wipe", {"disc": "sda"}),
]
KITS = [UserControlFlowTools(), UserFeedbackTools()]


def _paused() -> Workflow:
    tools = [wipe, send, shell, lookup, Function(count, idempotent=False), *KITS]
    return Agent("agent_paused_and_continued", scripted(EVERYTHING, [A]), tools=tools).workflow


def _team() -> Workflow:
    first = Agent("first", scripted([A]), tools=[wipe])
    second = Agent("second", scripted([A], [A]), tools=[wipe])
    tasks: list[Called] = [
        ("delegate", {"member": "first", "task": "one"}),
        ("delegate", {"member": "second", "task": "two"}),
    ]
    leader = scripted(tasks, tasks[:1])
    return Team("team_two_members", [first, second], leader).workflow


def _edited() -> Workflow:
    return Agent("agent_edited_and_reopened", scripted([A]), tools=[wipe]).workflow


def _continued() -> Workflow:
    patient = Agent("patient", scripted([A, ("wipe", {"disk": "sdb"})], [A]), tools=[wipe])
    counts = Loop([Step("again", lambda: "again")], name="count", max_iterations=25)
    both = Parallel(Step(name="patient", agent=patient), counts, name="all")
    return Workflow("agent_continued_as_new", [both])


_ALL = (_paused(), _team(), _edited(), _continued())
AGENTS = {each.name: each for each in _ALL}


def _confirm(requirement_id: str) -> Confirm:
    return Confirm(requirement_id=requirement_id, resolved_by="ana")


def _reject(requirement_id: str, feedback: str | None = None) -> Reject:
    return Reject(requirement_id=requirement_id, feedback=feedback)


def _answer(requirement_id: str, values: dict[str, Any]) -> Answer:
    return Answer(requirement_id=requirement_id, values=values)


def _edit(requirement_id: str, disk: str) -> EditArguments:
    return EditArguments(requirement_id=requirement_id, arguments={"disk": disk})


ANSWERS: dict[str, list[AnyResolution]] = {
    "agent_paused_and_continued": [
        _confirm("agent_paused_and_continued.1.wipe"),
        _reject("agent_paused_and_continued.1.wipe-2", "keep it"),
        _answer("agent_paused_and_continued.1.send", {"to": "ana"}),
        Report(requirement_id="agent_paused_and_continued.1.shell", error="no such command"),
        _answer("agent_paused_and_continued.1.get_user_input", {"city": "Rome"}),
        _answer("agent_paused_and_continued.1.ask_user", {"Why?": "b"}),
        _confirm("agent_paused_and_continued.2.wipe"),
    ],
    "team_two_members": [
        _confirm("team_two_members.1.second.1.wipe"),
        _reject("team_two_members.1.first.1.wipe"),
        _confirm("team_two_members.1.second.2.wipe"),
        _confirm("team_two_members.2.first.1.wipe"),
    ],
    "agent_edited_and_reopened": [
        _edit("agent_edited_and_reopened.1.wipe", "hda"),
        _edit("agent_edited_and_reopened.1.wipe~2", "sdb"),
    ],
}
"""What people answer, in order."""
LATER: dict[str, list[AnyResolution]] = {
    "agent_continued_as_new": [
        _confirm("all.patient.1.wipe"),
        _reject("all.patient.1.wipe-2"),
        _confirm("all.patient.2.wipe"),
    ],
}
"""The same, where the last answer is given in a later execution than those before."""
