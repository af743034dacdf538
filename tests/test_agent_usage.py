"""What agents use, and may use: over their turns, their guarded tools, and the members of teams.

All agents are served by one worker, and every history replays at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, OnError, Reject, RunStatus, Step, Workflow
from temporal_hitl._agent_progress import summed
from temporal_hitl.agents import Agent, Team, tool
from tests.agents import Called, Desk, desk_of, heard, scripted
from tests.stage import paused, replay_all, serving

ran = Counter[str]()
"""How often tools ran, by run."""


@tool(requires_confirmation=True)
def wipe(run_context: Any) -> str:
    """Wipe a disk."""
    ran[run_context.run_id] += 1
    return "wiped"


def note(run_context: Any) -> str:
    """Take a note."""
    ran[run_context.run_id] += 1
    return "noted"


WIPE: Called = ("wipe", {})
careful = Agent(
    "careful",
    scripted([WIPE], [WIPE, ("note", {})], [WIPE, WIPE, WIPE], [WIPE]),
    tools=[wipe, note],
    usage_limits={"tool_calls_limit": 4},
)


async def test_guarded_calls_are_calls(desk: Desk) -> None:
    """A guarded tool that has run counts as one that nobody guards does, and one that was rejected
    does not; beyond the limit no person is asked.
    """
    output = await desk.open(careful, "careful.1.wipe")
    run = output.run_id
    await desk.resolve(run, Confirm(requirement_id="careful.1.wipe"))
    await desk.asked(run, "careful.2.wipe")
    await desk.resolve(run, Reject(requirement_id="careful.2.wipe"))
    ended = await desk.end(run)

    assert RunStatus.error is ended.status
    assert "tool_calls_limit of 4 (tool_calls=5)" in str(ended.error)
    assert ["careful.1.wipe", "careful.2.wipe"] == [e.requirement_id for e in ended.resolutions]
    assert 2 == ran[run]


thrifty = Workflow(
    "thrifty_step",
    [
        Step(
            name="work",
            agent=Agent(
                "thrifty",
                scripted([WIPE, WIPE], heard),
                tools=[wipe],
                usage_limits={"tool_calls_limit": 1},
            ),
            on_error=OnError.pause,
        )
    ],
)
generous = Workflow(
    "thrifty_step",
    [
        Step(
            name="work",
            agent=Agent("thrifty", scripted([WIPE, WIPE], heard), tools=[wipe]),
            on_error=OnError.pause,
        )
    ],
)


async def test_more_calls_are_allowed(env: WorkflowEnvironment) -> None:
    """An agent that wants more calls than it may make goes on with the calls that it wanted, once
    it may and a person has it tried again.
    """
    ids = "work.2.wipe", "work.2.wipe-2"
    async with serving(env, thrifty) as client:
        run = await client.start(thrifty, "go")
        stopped = await paused(client, run)
    async with serving(env, generous, queue=client.task_queue) as client:
        await client.resolve(run, {"requirement_id": "work", "action": "retry"})
        asked = await client.wait(run, seen=["work"], timeout=20)
        for each in ids:
            await client.resolve(run, Confirm(requirement_id=each))
        ended = await client.wait_for_end(run)
        await replay_all(env, run, generous)

    assert "tool_calls_limit of 1" in str(stopped.error_requirements[0].error_message)
    assert ids == tuple(each.id for each in asked.requirements)
    assert ("wipe: wiped; wipe: wiped", 2) == (ended.content, ran[run])
    used = ended.step_results[0].usage
    assert (2, 2) == (used["requests"], used["tool_calls"])


def worker(name: str, **options: Any) -> Agent:
    """Return an agent that makes one guarded call for each task."""
    return Agent(name, scripted([WIPE]), tools=[wipe], **options)


def give(*members: str) -> list[Called]:
    return [("delegate", {"member": name, "task": "work"}) for name in members]


crew = Team("crew", [worker("hand"), worker("other")], scripted(give("hand", "hand", "other")))
short_crew = Team(
    "short_crew",
    [Team("pair", [worker("hand")], scripted(give("hand")))],
    scripted(give("pair"), give("pair")),
    usage_limits={"request_limit": 5},
)
tired = Team(
    "tired",
    [worker("hand", usage_limits={"request_limit": 3})],
    scripted(give("hand"), give("hand"), give("hand")),
)


async def test_a_team_tells_all(desk: Desk) -> None:
    """What a run has used is what the leader and the members have, also where one has two tasks at
    once, whose questions are told apart.
    """
    ids = ["crew.1.hand.1.wipe", "crew.1.hand-2.1.wipe", "crew.1.other.1.wipe"]
    output = await desk.open(crew, *ids)
    for each in ids:
        await desk.resolve(output.run_id, Confirm(requirement_id=each))
    ended = await desk.end(output.run_id)

    (result,) = ended.step_results
    assert (8, 3) == (result.usage["requests"], result.usage["tool_calls"])
    assert 3 == ran[output.run_id]


async def test_limits_of_a_team(desk: Desk) -> None:
    """What a team may use counts what its members have used, and theirs."""
    first, second = "short_crew.1.pair.1.hand.1.wipe", "short_crew.2.pair.1.hand.1.wipe"
    output = await desk.open(short_crew, first)
    await desk.resolve(output.run_id, Confirm(requirement_id=first))
    ended = await desk.end(output.run_id)

    assert RunStatus.error is ended.status and "request_limit of 5" in str(ended.error)
    assert [first] == [each.requirement_id for each in ended.resolutions], second


async def test_limits_of_a_member(desk: Desk) -> None:
    """What a member may use counts all its tasks of the run together."""
    ids = [f"tired.{turn}.hand.1.wipe" for turn in (1, 2)]
    output = await desk.open(tired, ids[0])
    await desk.resolve(output.run_id, Confirm(requirement_id=ids[0]))
    await desk.asked(output.run_id, ids[1])
    await desk.resolve(output.run_id, Confirm(requirement_id=ids[1]))
    ended = await desk.end(output.run_id)

    failed = [(each.event, each.path) for each in ended.events]
    assert [("node_failed", "tired.2.hand"), ("node_failed", "tired.3.hand")] == failed
    assert "request_limit of 3" in ended.content
    assert 2 == ran[output.run_id]


async def test_over_executions(short: WorkflowEnvironment) -> None:
    """What members have used counts on where the run continues as new."""
    team = Team(
        "lasting",
        [worker("hand", usage_limits={"request_limit": 11})],
        scripted(*[give("hand")] * 7),
    )
    async with serving(short, team.workflow) as client:
        run = await client.start(team.workflow, "go")
        ids: list[str] = []
        while (output := await client.wait(run, seen=ids, timeout=20)).is_paused:
            ids += [each.id for each in output.requirements]
            await client.resolve(run, Confirm(requirement_id=ids[-1]))
        executions = await replay_all(short, run, team.workflow)

    assert 6 == len(ids)
    assert "request_limit of 11" in output.content
    assert 19 == output.step_results[0].usage["requests"]
    assert 1 < executions


def test_sums() -> None:
    """Numbers are added at any depth, and money that is written as text; what one lacks is the
    other's.
    """
    one = {"requests": 1, "details": {"cached": 2}, "cost": "0.1", "seconds": 0.5}
    other = {"requests": 2, "details": {"cached": 1, "heard": 4}, "cost": "0.2", "seconds": 1}

    expected = {"requests": 3, "details": {"cached": 3, "heard": 4}, "cost": "0.3", "seconds": 1.5}
    assert (
        expected == summed(one, other) == summed({}, {**one, "cost": None}, other, {"cost": "0.1"})
    )
    assert {"requests": 1, "details": {"cached": 2}, "cost": "0.1", "seconds": 0.5} == one


@pytest.fixture(scope="module")
async def desk(env: WorkflowEnvironment) -> AsyncIterator[Desk]:
    async with desk_of(env, careful, crew, short_crew, tired) as made:
        yield made
