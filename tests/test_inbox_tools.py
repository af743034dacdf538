"""The inbox's pages for what agents ask: a workflow written by hand may ask it already."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio import workflow
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import ResolutionRecord
from temporal_hitl import workflow as hitl
from temporal_hitl.http.inbox._pages import Posted
from temporal_hitl.http.inbox._widgets import arguments, filled
from temporal_hitl.requirements import (
    Question,
    ToolConfirmation,
    ToolExecution,
    ToolInput,
    ToolOutcome,
)
from tests.pages import read, send
from tests.stage import replays, serving, until
from tests.test_inbox import HOSTILE, all_open, inbox, path

FORM = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
CALL: dict[str, Any] = {"tool_name": "send_mail", "tool_args": {"to": HOSTILE, "copies": 2}}
ASKS: dict[str, tuple[Any, dict[str, Any]]] = {
    "yes": (ToolConfirmation, CALL),
    "change": (ToolConfirmation, CALL | {"agent_name": "Clerk"}),
    "fill": (ToolInput, CALL | {"form": FORM}),
    "run": (ToolExecution, CALL),
    "text": (ToolExecution, CALL),
    "ask": (Question, {"form": FORM, "agent_name": "Clerk"}),
    "lost": (ToolOutcome, CALL | {"error_message": HOSTILE}),
}


@workflow.defn(name="agent_desk", sandboxed=False)
class AgentDesk:
    """Asks one question of each kind that agents have, and returns the answers."""

    @workflow.init
    def __init__(self) -> None:
        self.gate = hitl.Gate()

    @workflow.run
    async def run(self) -> dict[str, Any]:
        """Ask all at once."""
        records = await asyncio.gather(*(self.ask(each) for each in ASKS))
        return dict(zip(ASKS, map(answer, records), strict=True))

    async def ask(self, name: str) -> ResolutionRecord:
        kind, shown = ASKS[name]
        return await self.gate.ask(kind, name=name, message=f"{name}?", shown=shown)


def answer(record: ResolutionRecord) -> Any:
    """Return what a resolution says."""
    said = record.resolution.model_dump(mode="json")
    return next((said[name] for name in ("arguments", "values", "result") if name in said), None)


ANSWERS: list[tuple[str, str, dict[str, Any], Any]] = [
    ("yes", "confirm", {}, None),
    ("change", "edit_arguments", {"value__": '{"to": "Ada"}'}, {"to": "Ada"}),
    ("fill", "answer", {"value__to": "Bo"}, {"to": "Bo"}),
    ("run", "report", {"value__result": '{"sent": [1]}'}, {"sent": [1]}),
    ("text", "report", {"value__result": "all\ngone"}, "all\ngone"),
    ("ask", "answer", {"value__to": "Cy"}, {"to": "Cy"}),
    ("lost", "report", {"value__result": "it has happened"}, "it has happened"),
]


async def test_what_agents_ask(env: WorkflowEnvironment) -> None:
    """A tool call is confirmed, or goes ahead with other arguments; what a tool needs is filled in,
    what it returned is reported, a question is answered; what cannot be read decides nothing.
    """
    async with serving(env, workflows=[AgentDesk]) as client, inbox(client) as http:
        run = await client.start("agent_desk")
        await until(lambda: all_open(client, run, len(ASKS)))
        pages = {each: read(await http.get(path(run, each))) for each in ASKS}
        wrong = [
            await send(http, pages["change"], "edit_arguments-form", value__=text)
            for text in ("{", "[1]", "")
        ]
        still = len((await client.requirements(run)).open)
        told = [
            (await send(http, pages[asked], f"{form}-form", **written)).status_code
            for asked, form, written, _ in ANSWERS
        ]
        decided = read(await http.get(path(run, "change")))
        result = await asyncio.wait_for(client.handle(run).result(), 20)
        await replays(client.handle(run), workflows=[AgentDesk])

    assert {asked: expected for asked, *_, expected in ANSWERS} == result
    assert [303] * len(ANSWERS) == told
    assert ([422] * 3, len(ASKS)) == ([each.status_code for each in wrong], still)
    beside = [read(each).one("form", id="edit_arguments-form") for each in wrong]
    texts = ["is not JSON", "is no JSON object", "is needed"]
    assert all(text in form.text for text, form in zip(texts, beside, strict=True))
    assert [["{"], ["[1]"], [""]] == [[e.raw for e in each.all("textarea")] for each in beside]
    told_there = decided.one("section", aria_labelledby="the-answer")
    assert '{\n  "to": "Ada"\n}' == told_there.one("pre").raw
    facts = pages["change"].one("dl", class_="facts").text
    assert "Tool send_mail Agent Clerk" in facts
    assert HOSTILE in pages["yes"].one("ul", class_="tree").raw
    assert all(1 == len(each.all("script")) and not each.all("img") for each in pages.values())


SCHEMA = {
    "type": "object",
    "properties": {
        "to": {"type": "string"},
        "copies": {"type": "integer"},
        "loud": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["to"],
}
GIVEN: list[tuple[dict[str, Any], str]] = [
    ({"to": "Ada", "copies": 2, "loud": True, "tags": ["a"]}, "text number yes_no list"),
    ({"to": "Ada", "copies": "two", "more": {"x": [1]}}, "text json yes_no list json"),
    ({"to": " a\nb ", "tags": ["a\nb", ""]}, "lines number yes_no json"),
    ({"to": None, "loud": 1}, "json number json list"),
    ({"to": "", "tags": []}, "json number yes_no json"),
]


@pytest.mark.parametrize("given, kinds", GIVEN)
def test_arguments_of_their_types(given: dict[str, Any], kinds: str) -> None:
    """With a schema each argument has the field of its type; what is not of that type, or not in
    the schema, is JSON; what is sent back unchanged is what was given.
    """
    form = arguments(given, SCHEMA)
    sent = [(each.field, text) for each in form for text in each.written]

    assert kinds.split() == [each.kind for each in form]
    assert (given, True) == filled(form, Posted(sent))
