"""The inbox's page for what an agent asks: what was said so far stands beside the question."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.testing import WorkflowEnvironment

from temporal_hitl.agents import Agent, UserFeedbackTools, tool
from tests.agents import heard, scripted
from tests.pages import read, send
from tests.stage import ended, paused, replays, serving
from tests.test_inbox import HOSTILE, inbox, path


@tool(requires_confirmation=True)
def refund(order: int, reason: str = "none") -> str:
    """Pay an order back."""
    return f"paid {order} back: {reason}"


@tool(external_execution=True)
def ship(order: int) -> str:
    """Ship an order."""
    return ""


def look(order: int) -> str:
    """Look an order up."""
    return HOSTILE


clerk = Agent(
    "clerk",
    scripted([("look", {"order": 7})], [("refund", {"order": 7}), ("ship", {"order": 7})], heard),
    instructions="Be brief.",
    tools=[look, refund, ship],
)


async def test_an_agent_asks(env: WorkflowEnvironment) -> None:
    """A reviewer sees what was said and what the tools gave, and no instructions; wrong arguments
    are told beside their field and decide nothing; a result from outside may be that it failed.
    """
    async with serving(env, clerk.workflow) as client, inbox(client) as http:
        run = await client.start(clerk.workflow, "Money back for 7!")
        await paused(client, run)
        page = read(await http.get(path(run, "clerk.1.refund")))
        wrong = read(await send(http, page, "edit_arguments-form", value__order="x"))
        edited = await send(http, page, "edit_arguments-form", value__order="8")
        asked = read(await http.get(path(run, "clerk.1.ship")))
        failed = await send(http, asked, "report-form", error="no lorry")
        output = await asyncio.wait_for(ended(client, run), 20)
        await replays(client.handle(run), clerk.workflow)
    said = page.one("ol", class_="conversation")
    lines = said.text

    assert [303, 303] == [each.status_code for each in (edited, failed)]
    assert "User Money back for 7!" in lines and "calls look" in lines and "calls refund" in lines
    assert HOSTILE in said.raw and not said.all("img") and "Be brief" not in page.text
    assert "order" in wrong.one("form", id="edit_arguments-form").text
    told: dict[str, Any] = {e["tool_name"]: e["content"] for e in _results(output.step_results[0])}
    assert "paid 8 back: none" == told["refund"]
    assert "no lorry" in str(told["ship"])


async def test_an_agent_has_questions(env: WorkflowEnvironment) -> None:
    """Each question stands at its own choices, with what the choices mean; a choice is the answer
    by the question's text.
    """
    options = [{"label": "card", "description": "as it came"}, {"label": "voucher"}]
    paid = {"question": "How shall it be paid?", "header": "Pay", "options": options}
    days = {"question": "Which days suit?", "multi_select": True, "options": options}
    asking = Agent(
        "asking_desk",
        scripted([("ask_user", {"questions": [paid, days]})], heard),
        tools=[UserFeedbackTools()],
    )
    async with serving(env, asking.workflow) as client, inbox(client) as http:
        run = await client.start(asking.workflow, "Refund me!")
        await paused(client, run)
        page = read(await http.get(path(run, "asking_desk.1.ask_user")))
        answers = {f"value.{paid['question']}": '"voucher"', f"value.{days['question']}": '"card"'}
        sent = await send(http, page, "answer-form", **answers)
        output = await asyncio.wait_for(ended(client, run), 20)
        await replays(client.handle(run), asking.workflow)
    form = page.one("form", id="answer-form")

    assert 303 == sent.status_code
    assert any(each.text.startswith("How shall it be paid?") for each in form.all("label"))
    assert "card: as it came" in form.text and "Pay" not in form.text
    assert ["Which days suit? card: as it came"] == [each.text for each in form.all("legend")]
    assert '"How shall it be paid?": "voucher"' in output.content
    assert '"Which days suit?": ["card"]' in output.content


def _results(output: Any) -> list[dict[str, Any]]:
    parts = [part for message in output.messages for part in message["parts"]]
    return [each for each in parts if each["part_kind"] == "tool-return"]
