"""What happens while a model is being asked: deadlines pass, people answer, runs are cancelled; and
what an agent needs is gone when it is to go on.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, OnTimeout, Parallel, RunStatus, Step, Workflow
from temporal_hitl.agents import Agent, Function, Team, use_model
from temporal_hitl.errors import AlreadyResolved
from tests.agents import Called, Desk, desk_of, scripted
from tests.stage import ended, paused, replays, serving, until

SOON = timedelta(seconds=0.5)
"""By the real clock: none is skipped while an activity runs."""
ran: dict[str, list[str]] = defaultdict(list)
"""What tools did, by run."""


def wipe(disk: str, run_context: Any) -> str:
    """Wipe a disk."""
    ran[run_context.run_id].append(disk)
    return f"wiped {disk}"


class Thinking:
    """A model that answers once it may, and knows when it is told to stop."""

    def __init__(self) -> None:
        self.begun, self.may, self.stopped = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        self.begun.set()
        try:
            await self.may.wait()
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        return ModelResponse([TextPart("thought")])


def crew(policy: OnTimeout) -> tuple[Team, Thinking]:
    """Return a team of which one asks, and another thinks."""
    thinking, name = Thinking(), f"crew_{policy.value}"
    calls: list[Called] = [("wipe", {"disk": "sda"})]
    guarded = Function(wipe, requires_confirmation=True, timeout=SOON, on_timeout=policy)
    asks = Agent("asks", scripted(calls), tools=[guarded])
    thinks = Agent("thinks", FunctionModel(thinking, model_name="slow"), heartbeat_timeout=1)
    tasks = [("delegate", {"member": each, "task": "go"}) for each in ("asks", "thinks")]
    return Team(name, [asks, thinks], scripted(tasks)), thinking


CREWS = {policy: crew(policy) for policy in OnTimeout}


async def test_a_deadline_in_a_turn(desk: Desk) -> None:
    """A deadline that passes while a model is in its turn does at once what it is to do: the tool
    runs, or the agent is told that nobody decided, or the run ends and the turn is told to stop;
    nobody's yes counts after it.
    """
    try:
        await asyncio.gather(*(_passes(desk, policy) for policy in OnTimeout))
    finally:
        for _, thinking in CREWS.values():
            thinking.may.set()


async def _passes(desk: Desk, policy: OnTimeout) -> None:
    team, thinking = CREWS[policy]
    key = f"{team.name}.1.asks.1.wipe"
    run = await desk.start(team)
    await asyncio.wait_for(thinking.begun.wait(), 10)
    await until(lambda: _is_closed(desk, run, key))
    with pytest.raises(AlreadyResolved):
        await desk.resolve(run, Confirm(requirement_id=key))
    if policy is OnTimeout.approve:
        await until(lambda: ran[run])
    if policy is not OnTimeout.cancel:
        assert f"{team.name}.1.thinks.1" in (await desk.client.get(run)).running
        thinking.may.set()
    done = await desk.end(run)
    if policy is OnTimeout.cancel:
        await asyncio.wait_for(thinking.stopped.wait(), 20)

    silent = "wipe: nobody decided before the deadline, so it was not called"
    expected = {
        OnTimeout.approve: ["delegate: wipe: wiped sda", "delegate: thought"],
        OnTimeout.skip: [f"delegate: {silent}", "delegate: thought"],
        OnTimeout.cancel: None,
    }
    assert expected[policy] == (done.content and done.content.split("; "))
    assert (RunStatus.cancelled is done.status) == (policy is OnTimeout.cancel)
    assert (["sda"] if policy is OnTimeout.approve else []) == ran[run]
    assert ["time_out"] == [each.action for each in done.resolutions]


async def _is_closed(desk: Desk, run: str, key: str) -> bool:
    return key in [each.requirement_id for each in (await desk.client.get(run)).resolutions]


thinking_beside = Thinking()
beside = Workflow(
    "beside_a_turn",
    [
        Parallel(
            Step(
                name="asks",
                agent=Agent(
                    "asks",
                    scripted([("wipe", {"disk": "sda"}), ("wipe", {"disk": "sdb"})]),
                    tools=[Function(wipe, requires_confirmation=True)],
                ),
            ),
            Step(
                name="thinks",
                agent=Agent("thinks", FunctionModel(thinking_beside, model_name="slow")),
                heartbeat_timeout=1,
            ),
            name="both",
        )
    ],
)


async def test_a_cancel_in_a_turn(desk: Desk) -> None:
    """A cancel while one agent waits for people and another for its model closes every question,
    and ends the run without waiting for the model; what was approved before has run once.
    """
    first, second = "both.asks.1.wipe", "both.asks.1.wipe-2"
    run = (await desk.open(beside, first, second)).run_id
    await asyncio.wait_for(thinking_beside.begun.wait(), 10)
    await desk.resolve(run, Confirm(requirement_id=first))
    await until(lambda: ran[run])
    await desk.client.cancel(run)
    done = await desk.end(run)
    await asyncio.wait_for(thinking_beside.stopped.wait(), 20)

    assert RunStatus.cancelled is done.status
    assert [("confirm", first), ("withdraw", second)] == [
        (each.action, each.requirement_id) for each in done.resolutions
    ]
    assert ["sda"] == ran[run]


async def test_the_model_is_gone(env: WorkflowEnvironment) -> None:
    """An agent whose worker has no model is told so when it begins; one that was at work, and is
    answered where nothing names a model, waits as for a worker, and goes on once there is one.
    """
    forgetful = Agent(
        "forgetful", tools=[Function(wipe, requires_confirmation=True)], max_retries=0
    )
    calls: list[Called] = [("wipe", {"disk": "sda"})]
    try:
        use_model(scripted(calls))
        async with serving(env, forgetful.workflow) as client:
            run = await client.start(forgetful.workflow, "go")
            await paused(client, run)
            use_model(None)
            await client.resolve(run, Confirm(requirement_id="forgetful.1.wipe"))

            async def is_blocked() -> Any:
                return list((await client.get(run)).blocked)

            blocked = await until(is_blocked)
            begun = await ended(client, await client.start(forgetful.workflow, "go"))
            use_model(scripted(calls))
            await env.fast_forward(client.handle(run), timedelta(minutes=1))
            done = await ended(client, run)
        await replays(client.handle(run), forgetful.workflow)
    finally:
        use_model(None)

    assert ["forgetful.2"] == blocked
    assert "set HITL_MODEL" in str(begun.error)
    assert ("wipe: wiped sda", ["sda"]) == (done.content, ran[run])


@pytest.fixture(scope="module")
async def desk(env: WorkflowEnvironment) -> AsyncIterator[Desk]:
    async with desk_of(env, *[team for team, _ in CREWS.values()], beside) as made:
        yield made
