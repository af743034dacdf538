"""A call of which nobody knows the end, and nobody who says."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import RunStatus, Step, Workflow
from temporal_hitl.agents import Agent, tool
from temporal_hitl.requirements import ToolOutcome
from tests.agents import heard, scripted
from tests.stage import ended, paused, replays, serving

CALLED = Counter[str]()
HOUR = 3600


async def pay(to: str) -> str:
    """Pay somebody."""
    CALLED[to] += 1
    if CALLED[to] == 1:
        await asyncio.sleep(10)
    return "paid"


@pytest.mark.parametrize("on_timeout", ["approve", pytest.param("skip", marks=pytest.mark.slow)])
async def test_silence_calls_nothing_again(env: WorkflowEnvironment, on_timeout: str) -> None:
    """A deadline that may approve a call may not make it again when nobody knows whether it has
    happened: the agent is told so, and the tool was called once.
    """
    gated = tool(requires_confirmation=True, timeout=HOUR, on_timeout=on_timeout)(pay)
    call: Any = [("pay", {"to": on_timeout})]
    agent = Agent("payer", scripted(call, heard), tools=[gated])
    pipeline = Workflow(f"lost_{on_timeout}", [Step("pay", agent=agent, start_to_close_timeout=1)])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline, "Pay!")
        (asked,) = (await paused(client, run)).requirements
        await client.resolve(run, {"requirement_id": asked.id, "action": "confirm"})
        (lost,) = (await paused(client, run)).requirements
        await env.fast_forward(client.handle(run), HOUR + 1)
        output = await ended(client, run)
        await replays(client.handle(run), pipeline)

    assert ("tool_outcome", "skip") == (lost.kind, lost.on_timeout)
    assert RunStatus.completed is output.status
    assert 1 == CALLED[on_timeout]
    assert "it is not known whether it happened" in json.dumps(output.content)


async def test_what_ran_is_shown(env: WorkflowEnvironment) -> None:
    """Who says what became of a lost call is shown the arguments that it ran with, even where a
    person had taken all of them away.
    """

    @tool(requires_confirmation=True)
    async def sweep(area: str = "cellar") -> str:
        """Sweep somewhere."""
        await asyncio.sleep(10)
        return area

    agent = Agent("sweeper", scripted([("sweep", {"area": "roof"})], heard), tools=[sweep])
    pipeline = Workflow("swept", [Step("sweep", agent=agent, start_to_close_timeout=1)])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline, "Sweep!")
        (asked,) = (await paused(client, run)).requirements
        edit = {"requirement_id": asked.id, "action": "edit_arguments", "arguments": {}}
        await client.resolve(run, edit)
        (lost,) = (await paused(client, run)).requirements
        told = {"requirement_id": lost.id, "action": "report", "result": "clean"}
        await client.resolve(run, told)
        output = await ended(client, run)
        await replays(client.handle(run), pipeline)

    assert isinstance(lost, ToolOutcome)
    assert {} == lost.tool_args
    assert "clean" in json.dumps(output.content)
