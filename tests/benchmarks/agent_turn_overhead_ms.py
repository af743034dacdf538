"""What a turn of an agent takes as a run, over calling the pydantic-ai agent: milliseconds.

A turn of two requests of a scripted model with a tool between them, which take no time. The value
is the p50 of whole runs, from before the start call until the output is there, less that of
`agent.run`; on an embedded server that keeps nothing on disk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from temporalio.worker import Worker

from temporal_hitl import HitlClient, HitlPlugin
from temporal_hitl.agents import Agent
from tests.benchmarks.figure import Figure, percentile
from tests.benchmarks.server import embedded, new_id

ROUNDS = 200
WARM = 10
RUN_LIMIT = 60.0
QUEUE = "agent-turn"


def lookup(name: str) -> str:
    """Find a customer."""
    return f"{name} is u7"


def say(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Call the tool, then say a word."""
    if len(messages) == 1:
        return ModelResponse(parts=[ToolCallPart("lookup", {"name": "Ann"}, "c1")])
    return ModelResponse(parts=[TextPart("done")])


async def measure(rounds: int) -> Figure:
    """Return the overhead after `rounds` turns of either kind, by turns."""
    ours = Agent("desk", FunctionModel(say), "Be good.", [lookup])
    theirs = PydanticAgent(FunctionModel(say), instructions="Be good.", tools=[lookup])
    run_ms, call_ms = list[float](), list[float]()
    async with embedded() as client:
        plugin = HitlPlugin(workflows=[ours.workflow])
        async with Worker(client, task_queue=QUEUE, plugins=[plugin]):
            hitl = HitlClient(client, task_queue=QUEUE)

            async def run() -> None:
                key = await hitl.start("desk", "go", run_id=new_id("desk"))
                output = await asyncio.wait_for(hitl.wait_for_end(key), RUN_LIMIT)
                assert output.content == "done", output.error

            async def call() -> None:
                assert (await theirs.run("go")).output == "done"

            for _ in range(rounds + WARM):
                run_ms.append(await _timed(run))
                call_ms.append(await _timed(call))
    percents = {
        f"p{percent}": {
            "run": percentile(run_ms[WARM:], percent),
            "call": percentile(call_ms[WARM:], percent),
        }
        for percent in (50, 99)
    }
    value = round(percents["p50"]["run"] - percents["p50"]["call"], 3)
    detail = {"aim": 40, "rounds": rounds, **percents}
    return Figure("agent_turn_overhead_ms", value, "milliseconds", detail)


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return (time.perf_counter() - began) * 1000
