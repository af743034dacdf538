"""The agents whose conversations are stored, and a turn of theirs without a run around it."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import BaseModel
from pydantic_ai import BinaryContent, ToolReturn
from pydantic_ai.exceptions import ModelRetry

from temporal_hitl._forms import UserInputField
from temporal_hitl.agents import Agent, Ask, AskingFunction, Function, UserControlFlowTools
from temporal_hitl.turns import Adapter, ToolCall, Turn
from tests.agents import Called, scripted

ran: list[str] = []
"""The tools that were called here."""


class Person(BaseModel):
    name: str
    born: date


def person(name: str) -> Person:
    """Look somebody up."""
    ran.append("person")
    return Person(name=name, born=date(1990, 1, 2))


def picture(name: str) -> ToolReturn:
    """Take a picture."""
    ran.append("picture")
    image = BinaryContent(b"\x89PNG", media_type="image/png")
    return ToolReturn(f"a picture of {name}", content=["See:", image], metadata={"of": name})


def again(name: str) -> str:
    """Want to be called in another way."""
    ran.append("again")
    raise ModelRetry(f"not {name}")


def breaks(name: str) -> str:
    """Break."""
    ran.append("breaks")
    raise ValueError(f"no {name}")


TOOLS = (person, picture, again, breaks)
ALL: list[Called] = [(each.__name__, {"name": "Ann"}) for each in TOOLS]
ASKED: Called = ("get_user_input", {"user_input_fields": [{"field_name": "city"}]})
THRICE: list[Called] = [("person_2", {"name": each}) for each in "abc"]

guarded = Agent(
    "guarded",
    scripted([*ALL, ASKED, *THRICE]),
    "Be good",
    [
        *(Function(each, requires_confirmation=True) for each in TOOLS),
        Function(person, name="person_2", external_execution=True),
        UserControlFlowTools(),
    ],
)
free = Agent("free", scripted(ALL), "Be quick", [Function(each, retries=3) for each in TOOLS])


async def asks(ask: Ask, prompt: str) -> str:
    first = await ask.question("Which one?", [UserInputField("disk")])
    second = await ask.outside("wipe", disk=first["disk"])
    return f"{prompt}: {first['disk']}, {second}"


ADAPTERS: dict[str, Adapter] = {
    "guarded": guarded.adapter,
    "free": free.adapter,
    "asks": AskingFunction(asks),
}


def turn(**given: Any) -> Turn:
    """Return a turn, of which only what is given matters."""
    usual: dict[str, Any] = {
        "number": 2,
        "prompt": None,
        "answers": (),
        "messages": [],
        "usage": {},
        "made_by": "",
        "guarded": frozenset[str](),
        "conditional": frozenset[str](),
        "checkpoint": None,
        "save": lambda _: None,
        "stops": lambda: False,
    }
    return Turn(**_in_run(), **{**usual, **given})


def call(tool: str, call_id: str, arguments: dict[str, Any]) -> ToolCall:
    """Return a call of a tool's that somebody has approved."""
    return ToolCall(**_in_run(), tool=tool, call_id=call_id, arguments=arguments)


def _in_run() -> dict[str, Any]:
    return {
        "run_id": "r1",
        "path": "keeper",
        "session_id": "s1",
        "user_id": None,
        "attempt": 1,
        "session_state": {},
        "additional_data": {},
    }
