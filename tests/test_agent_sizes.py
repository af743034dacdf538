"""However large a conversation becomes, its run goes on or fails with a sentence; none wedges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from temporalio.api.enums.v1 import EventType
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, RunStatus, Step, Workflow, WorkflowRunOutput
from temporal_hitl.agents import Agent, tool
from tests.stage import boundless, ended, paused, replays, serving

KB = 1000
TASK_FAILED = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
SCHEDULED = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
BUDGET_SAYS = "a run may hold 1,000,000 bytes"


class Desk:
    """An agent that calls its tools as `script` says, one response after the other; what is called
    `(tool, n)` gives n bytes.
    """

    def __init__(self, *script: Sequence[tuple[str, int]]) -> None:
        self._script = script
        self.requests = 0
        self.ran: Counter[str] = Counter()
        approved = tool(requires_confirmation=True, name="approved")(self.give)
        tools = [tool(name="give")(self.give), approved]
        self.agent = Agent("desk", FunctionModel(self._model), tools=tools)

    def give(self, name: str, size: int) -> str:
        """Give so many bytes."""
        self.ran[name] += 1
        return name[0] * size

    def _model(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.requests += 1
        place = sum(isinstance(each, ModelResponse) for each in messages)
        if place < len(self._script):
            asked = [
                ToolCallPart(name, {"name": f"{place}.{n}", "size": size}, f"c{n}")
                for n, (name, size) in enumerate(self._script[place])
            ]
            return ModelResponse(parts=asked)
        results = [p for p in messages[-1].parts if isinstance(p, ToolReturnPart)]
        said = [f"{e.outcome}: {str(e.content)[:100]}" for e in results]
        return ModelResponse(parts=[TextPart("\n".join(said))])

    async def run(self, env: WorkflowEnvironment, **options: Any) -> WorkflowRunOutput:
        """Confirm all that a run asks, and return its output at its end, after replaying it."""
        definition = Workflow("desks", [Step("desk", agent=self.agent, on_error="fail")])
        converter = {}
        if "client" in options:
            converter = {"converter": options["client"].data_converter}
        async with serving(env, definition, **options) as client:
            run = await client.start(definition, "go")
            if any(name == "approved" for calls in self._script for name, _ in calls):
                for each in (await paused(client, run)).requirements:
                    await client.resolve(run, Confirm(requirement_id=each.id))
            output = await ended(client, run)
            events = (await client.handle(run).fetch_history()).events
        await replays(client.handle(run), definition, **converter)
        kinds = Counter(each.event_type for each in events)
        assert 0 == kinds[TASK_FAILED]
        scheduled = [e.activity_task_scheduled_event_attributes for e in events]
        self.turns = sum(e.activity_type.name == "desks.desk.turn" for e in scheduled)
        self.bytes = sum(each.ByteSize() for each in events)
        return output


async def test_a_result_that_nothing_can_hold(env: WorkflowEnvironment) -> None:
    """Of a result of 2.5 MB the agent is told that it is lost, of an approved tool's as well, and
    no tool is called for it again.
    """
    desk = Desk([("give", 2500 * KB), ("approved", 2500 * KB), ("give", 10)])

    output = await desk.run(env)

    lost = "failed: the tool was called, but its result of 2,500,"
    told = (output.content or "").split("\n")
    assert [True, True, False] == [each.startswith(lost) for each in told]
    assert "success: 0000000000" == told[2]
    assert {"0.0": 1, "0.1": 1, "0.2": 1} == desk.ran


async def test_results_that_are_too_much_together(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """Of results that no checkpoint holds together the last is lost, which the agent is told."""
    desk = Desk([("give", 700 * KB)] * 3)

    output = await desk.run(env, client=boundless(env.client, tmp_path))

    told = sorted((output.content or "").split("\n"))
    assert told[0].startswith(
        "failed: the tool was called, but its result, with those of the calls"
    )
    assert ["success: 000", "success: 000"] == [each[:12] for each in told[1:]]
    assert {"0.0": 1, "0.1": 1, "0.2": 1} == desk.ran


async def test_a_long_turn(env: WorkflowEnvironment) -> None:
    """A turn whose checkpoint has become long ends, and the next one goes on; no request is made
    twice, and no tool called twice.
    """
    desk = Desk(*[[("give", 60 * KB)]] * 12)

    output = await desk.run(env)

    assert (RunStatus.completed, 13) == (output.status, desk.requests)
    assert [1] * 12 == list(desk.ran.values())
    assert 3 == desk.turns
    assert 13 == (output.step_results[0].usage or {})["requests"]


@pytest.mark.slow
async def test_more_than_a_run_may_hold(env: WorkflowEnvironment) -> None:
    """A conversation that the run may not hold fails its step, with what can be done about it."""
    desk = Desk(*[[("give", 60 * KB)]] * 20)

    output = await desk.run(env)

    assert RunStatus.error is output.status
    assert BUDGET_SAYS in (output.error or "") and "external_storage" in (output.error or "")
    assert desk.requests < 20 and {1} == {*desk.ran.values()}


@pytest.mark.slow
async def test_with_an_external_storage(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """The same conversation goes on where large values stand outside."""
    desk = Desk(*[[("give", 60 * KB)]] * 20)

    output = await desk.run(env, client=boundless(env.client, tmp_path))

    assert (RunStatus.completed, 21) == (output.status, desk.requests)
    assert [1] * 20 == list(desk.ran.values())


@pytest.mark.parametrize(("count", "lost"), [(5, 0), (14, 8)])
async def test_many_approved_results(env: WorkflowEnvironment, count: int, lost: int) -> None:
    """What approved tools give is kept once until the agent is told, as much as the run may hold;
    the agent is told of what is lost.
    """
    desk = Desk([("approved", 150 * KB)] * count)

    output = await desk.run(env)

    told = (output.content or "").split("\n")
    assert (count, lost) == (
        len(told),
        sum(e.startswith("failed: the tool was called") for e in told),
    )
    assert [1] * count == list(desk.ran.values())
