"""Bytes of history of an agent with twice the work over those of one: 2 where no turn pays for
those before it.

One run has 60 model requests, 20 of which call a tool that somebody confirms; the other has half.
Each request calls a tool that returns a few hundred bytes. Counted are the bytes of all events of
all executions, as the server gives them.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import UsageLimits
from temporalio.worker import Worker

from temporal_hitl import Confirm, HitlClient, HitlPlugin
from temporal_hitl.agents import Agent, tool
from tests.benchmarks.figure import Figure
from tests.benchmarks.server import embedded, histories, measures, new_id

ROUNDS = 1
SIZE = 30
"""Requests of the shorter run; a third of them call a tool that is confirmed."""
RUN_LIMIT = 120.0
QUEUE = "agent-history"
_TEXT = "a few hundred bytes of text " * 15


def look(number: int) -> str:
    """Look something up."""
    return f"{number}: {_TEXT}"


def agent(name: str, requests: int) -> Agent:
    """Return an agent that makes so many requests, every third of which asks."""

    def say(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        place = sum(isinstance(each, ModelResponse) for each in messages) + 1
        if place == requests:
            return ModelResponse(parts=[TextPart("done")])
        called = "act" if place % 3 == 2 else "look"
        return ModelResponse(parts=[ToolCallPart(called, {"number": place}, f"c{place}")])

    act = tool(requires_confirmation=True, name="act")(look)
    limits = UsageLimits(request_limit=None)
    return Agent(name, FunctionModel(say), "Be good.", [look, act], usage_limits=limits)


async def measure(rounds: int, size: int = SIZE) -> Figure:
    """Return the largest ratio of `rounds` pairs of runs."""
    agents = {requests: agent(f"desk_{requests}", requests) for requests in (size, 2 * size)}
    pairs = list[list[dict[str, Any]]]()
    async with embedded() as client:
        plugin = HitlPlugin(workflows=[each.workflow for each in agents.values()])
        async with Worker(client, task_queue=QUEUE, plugins=[plugin]):
            hitl = HitlClient(client, task_queue=QUEUE)
            for _ in range(rounds):
                pairs.append([await _grown(hitl, each) for each in agents])
    short, long = max(pairs, key=lambda pair: pair[1]["bytes"] / pair[0]["bytes"])
    ratio = round(long["bytes"] / short["bytes"], 3)
    detail = {"aim": 2.3, "pairs": rounds, "runs": [short, long]}
    return Figure("agent_history_ratio", ratio, "ratio", detail)


async def _grown(client: HitlClient, requests: int) -> dict[str, Any]:
    name = f"desk_{requests}"
    run = await client.start(name, "go", run_id=new_id(name))
    confirmed = 0
    while (output := await client.wait(run, timeout=RUN_LIMIT)).is_paused:
        await client.resolve(run, Confirm(requirement_id=output.requirements[0].id))
        confirmed += 1
    await asyncio.wait_for(client.wait_for_end(run), RUN_LIMIT)
    assert output.content == "done", output.error
    lengths = [measures(each) for each in await histories(client.client, run)]
    return {
        "requests": requests,
        "confirmed": confirmed,
        "bytes": sum(each["bytes"] for each in lengths),
        "events": sum(each["events"] for each in lengths),
        "executions": len(lengths),
    }
