"""What an agent has said so far, as a reviewer of its calls sees it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic_ai.messages import (
    BinaryContent,
    ImageUrl,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    RetryFeedbackPart,
    RetryInfo,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, Parallel, Step, StepInput, Workflow, _sizes
from temporal_hitl.agents import Agent, Ask, AskingFunction, Team, tool
from temporal_hitl.conversation import said_of
from temporal_hitl.errors import NoConversation
from tests.agents import scripted
from tests.stage import ended, paused, replays, serving
from tests.web import web


@tool(requires_confirmation=True)
def delete(user: str) -> str:
    """Delete a user."""
    return f"{user} is gone"


def look_up(name: str) -> str:
    """Look a user up."""
    return f"{name} is u7 " + "x" * 300


CALLS: Any = ([("look_up", {"name": "Ann"})], [("delete", {"user": "u7"})])


def desk(name: str) -> Agent:
    return Agent(name, scripted(*CALLS), instructions="Be good.", tools=[delete, look_up])


def brief(messages: Any) -> list[tuple[str, str]]:
    """Return who said something, and the first of what."""
    return [
        (
            each.role,
            each.text[:9]
            or next((call.tool for call in each.calls), "")
            or next((f"{r.tool} {r.outcome}" for r in each.results), ""),
        )
        for each in messages
    ]


SAID = [
    ("user", "Delete An"),
    ("agent", "look_up"),
    ("tool", "look_up success"),
    ("agent", "delete"),
]


async def test_as_it_goes_on_and_after_the_end(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an agent waits, what was said is told from the path of its question or its own, however
    many pages that takes; when its run has ended, without a worker, in whole.
    """
    agent = desk("said_own")
    monkeypatch.setattr(_sizes, "PAGE", 300)
    async with serving(env, agent.workflow) as client:
        run = await client.start(agent.workflow, "Delete Ann")
        (asked,) = (await paused(client, run)).requirements
        by_question = await client.conversation(run, asked.path)
        by_agent = await client.conversation(run, "said_own")
        only = await client.conversation(run)
        whole = await client.conversation(run, all=True)
        with pytest.raises(NoConversation, match="no agent is at work at 'elsewhere'"):
            await client.conversation(run, "elsewhere")
        page = await client.handle(run).query("conversation", args=["", 0])
        await client.resolve(run, Confirm(requirement_id=asked.id))
        await ended(client, run)
        await replays(client.handle(run), agent.workflow)
    after = await client.conversation(run)

    assert SAID == brief(by_question.messages)
    assert by_question == by_agent == only
    assert len(page["messages"]) < page["total"]
    assert ("system", "Be good.") == brief(whole.messages)[0]
    assert SAID == brief(after.messages)[:4]
    assert ("tool", "delete success") == brief(after.messages)[4]
    assert ("said_own", 6) == (after.path, len(after.messages))


async def test_of_several(env: WorkflowEnvironment) -> None:
    """Each agent of a run has a conversation of its own, a team's member below its leader; where
    several are at work and none is named, the error names them. When a step has ended, what its
    agent said is gone.
    """
    told: Any = ([("delegate", {"member": "m1", "task": "Delete Ann"})],)
    team = Team("lead", [desk("m1")], scripted(*told))
    steps = [Step("left", agent=team), Step("right", agent=desk("said_right"))]
    pipeline = Workflow("said_several", [Parallel(*steps, name="all")])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline, "Delete them")
        asked = [each.path for each in (await paused(client, run)).requirements]
        said = {path: await client.conversation(run, path) for path in sorted(asked)}
        leader = await client.conversation(run, "all.left")
        with pytest.raises(NoConversation, match=r"say which: all\.left, all\.right$"):
            await client.conversation(run)
        for each in (await client.requirements(run)).open:
            await client.resolve(run, Confirm(requirement_id=each.id))
        await ended(client, run)
        await replays(client.handle(run), pipeline)
        with pytest.raises(NoConversation, match="kept until the step ends"):
            await client.conversation(run, "all.right")

    assert ["all.left.1.m1.1.delete", "all.right.1.delete"] == sorted(asked), asked
    assert ["all.left.1.m1", "all.right"] == [each.path for each in said.values()]
    assert ["Delete Ann", "Delete them"] == [each.messages[0].text for each in said.values()]
    assert [("user", "Delete th"), ("agent", "delegate")] == brief(leader.messages)


async def decides(ask: Ask, prompt: str) -> str:
    answer = await ask.question("Really?", [{"name": "sure", "field_type": "bool"}])
    return f"{prompt}: {answer['sure']}"


def nothing(step_input: StepInput) -> str:
    return "no agent"


async def test_other_adapters_and_over_http(env: WorkflowEnvironment) -> None:
    """What only another adapter can read is shown as it is; over HTTP it is the same, and where no
    agent talks that is not found.
    """
    asks = Workflow("said_asks", [Step("triage", agent=AskingFunction(decides))])
    plain = Workflow("said_plain", [Step("go", nothing, requires_confirmation=True)])
    agent = desk("said_http")
    async with (
        serving(env, asks, plain, agent.workflow) as client,
        web(client, asks, plain, agent.workflow) as http,
    ):
        runs = [await client.start(each, "in") for each in (asks, agent.workflow, plain)]
        for run in runs:
            await paused(client, run)
        raw, whole, short, none, nowhere = [
            await http.get(f"/runs/{path}")
            for path in (
                f"{runs[0]}/conversation?path=triage.1.question",
                f"{runs[1]}/conversation?path=said_http.1.delete&all=true",
                f"{runs[1]}/conversation",
                f"{runs[2]}/conversation",
                "no-such-run/conversation",
            )
        ]
        await asyncio.gather(*(client.cancel(run) for run in runs))
        states = [(await client.wait_for_end(run)).status for run in runs]

    asked = [{"prompt": "in"}, {"asked": "question sure"}]
    assert asked == [each["raw"] for each in raw.json()["messages"]]
    roles = [each["role"] for each in whole.json()["messages"]]
    assert ["system", "user", "agent", "tool", "agent"] == roles
    assert roles[1:] == [each["role"] for each in short.json()["messages"]]
    calls = short.json()["messages"][1]["calls"]
    assert [{"call_id": "c0", "tool": "look_up", "arguments": {"name": "Ann"}}] == calls
    assert [404, 404] == [none.status_code, nowhere.status_code]
    assert none.json()["type"].endswith("NoConversation")
    assert 3 == len(states)


PICTURE = ImageUrl("http://example.org/a.png")
DRAWING = BinaryContent(b"a", media_type="image/png")
RETRIED = ToolReturnPart("c", "call it so", "c3", outcome="retried")
MESSAGES = [
    ModelRequest(
        [
            SystemPromptPart("sys"),
            UserPromptPart(["see", PICTURE, DRAWING]),
        ],
        instructions="Be good",
    ),
    ModelResponse(
        [
            ThinkingPart("hm"),
            TextPart("hi"),
            ToolCallPart("a", '{"x": 1}', "c1"),
            ToolCallPart("c", "{bad", "c3"),
        ]
    ),
    ModelRequest(
        [ToolReturnPart("a", {"y": 2}, "c1", outcome="denied"), RETRIED, UserPromptPart("so")],
        instructions="Be good",
    ),
    ModelRequest([RetryFeedbackPart("again", retry=RetryInfo("no_output"))]),
]


def test_what_the_framework_keeps_is_read() -> None:
    """Messages as pydantic-ai of this version writes them are read in all that was said, hidden is
    only what steers the model; what nobody knows is shown as it is.
    """
    data = ModelMessagesTypeAdapter.dump_python(MESSAGES, mode="json")

    said = said_of(data)
    whole = said_of([*data, {"role": "user", "text": "by hand"}, 5], all=True)

    assert ["user", "agent", "tool", "tool", "tool"] == [each.role for each in said]
    assert "see\n[image-url image/png http://example.org/a.png]\n[binary image/png]" == said[0].text
    assert ("hi", [{"x": 1}, "{bad"]) == (said[1].text, [e.arguments for e in said[1].calls])
    assert [("denied", {"y": 2}), ("retried", "call it so")] == [
        (each.outcome, each.result) for one in said[2:4] for each in one.results
    ]
    others = [each.raw for each in whole if each.role == "other"]
    assert ["thinking", "retry-feedback"] == [each["part_kind"] for each in others[:2]]  # type: ignore[index,call-overload]
    assert [5] == others[2:]
    assert "by hand" == whole[-2].text
    assert ["Be good", "sys"] == [each.text for each in whole if each.role == "system"]
