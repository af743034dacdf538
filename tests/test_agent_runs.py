"""Runs of agents over time: deadlines, deploys in their midst, and new executions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, Loop, OnTimeout, Parallel, Reject, RunStatus, Step, Workflow
from temporal_hitl.agents import (
    Agent,
    Function,
    Team,
    UserControlFlowTools,
    UserFeedbackTools,
    tool,
)
from temporal_hitl.errors import DefinitionError
from temporal_hitl.events import SourceChanged
from tests.agents import Called, Desk, desk_of, scripted
from tests.stage import ended, paused, replay_all, replays, serving, until

HOUR = timedelta(hours=1)
ran: list[str] = []


def wipe(disk: str) -> str:
    """Wipe a disk."""
    ran.append(f"wipe {disk}")
    return f"wiped {disk}"


def archive(disk: str) -> str:
    """Archive a disk."""
    ran.append(f"archive {disk}")
    return f"archived {disk}"


# Deadlines


def late(kind: str, on_timeout: OnTimeout) -> Agent:
    """Return an agent whose one call waits for an hour."""
    name = f"late_{kind}_{on_timeout.value}"
    waits: dict[str, Any] = {kind: True, "timeout": HOUR, "on_timeout": on_timeout}
    calls: list[Called] = [("wipe", {"disk": "sda"})]
    return Agent(name, scripted(calls), tools=[Function(wipe, **waits)])


KINDS = ("requires_confirmation", "requires_user_input", "external_execution")
LATE = {
    (kind, policy): late(kind, policy)
    for kind in KINDS
    for policy in OnTimeout
    if kind == KINDS[0] or policy is not OnTimeout.approve
}
NOBODY = "wipe: nobody decided before the deadline, so it was not called"


@pytest.mark.parametrize(("kind", "policy"), LATE)
async def test_deadline_of_a_tool(desk: Desk, kind: str, policy: OnTimeout) -> None:
    """What a tool's deadline does is its `on_timeout`: the tool runs, or the agent is told that
    nobody decided, which is no rejection, or the run ends.
    """
    ran.clear()
    made = LATE[kind, policy]
    output = await desk.open(made, f"{made.name}.1.wipe")
    await desk.env.fast_forward(desk.client.handle(output.run_id), HOUR + timedelta(seconds=5))
    done = await desk.end(output.run_id)

    expected = {
        OnTimeout.approve: (RunStatus.completed, "wipe: wiped sda"),
        OnTimeout.skip: (RunStatus.completed, NOBODY),
        OnTimeout.cancel: (RunStatus.cancelled, None),
    }
    assert expected[policy] == (done.status, done.content)
    assert (policy is OnTimeout.approve) == bool(ran)
    assert ["time_out"] == [each.action for each in done.resolutions]


ASKED: list[Called] = [
    ("get_user_input", {"user_input_fields": [{"field_name": "city"}]}),
    (
        "ask_user",
        {"questions": [{"question": "Why?", "options": [{"label": "a"}, {"label": "b"}]}]},
    ),
]
patient = Agent(
    "patient",
    scripted([("wipe", {"disk": "sda"}), ("archive", {"disk": "sdb"}), *ASKED]),
    tools=[
        Function(wipe, requires_confirmation=True),
        Function(archive, requires_confirmation=True, timeout=3 * HOUR),
        UserControlFlowTools(timeout=3 * HOUR, on_timeout="skip"),
        UserFeedbackTools(),
    ],
    hitl_timeout=HOUR,
    on_timeout="skip",
)


async def test_a_deadline_beside_open_questions(desk: Desk) -> None:
    """A deadline of the agent's holds for what has none of its own, questions too; where it passes
    the rest of the turn stays open, and the agent goes on once all of it has come to something.
    """
    ran.clear()
    ids = [f"patient.1.{name}" for name in ("wipe", "archive", "get_user_input", "ask_user")]
    output = await desk.open(patient, *ids)
    run, handle = output.run_id, desk.client.handle(output.run_id)
    await desk.env.fast_forward(handle, HOUR + timedelta(seconds=5))
    still = await desk.asked(run, ids[1], ids[2])
    question = still.active_requirements[1]
    question.provide_user_input({"city": "Rome"})
    await desk.send(question)
    await desk.resolve(run, Confirm(requirement_id=ids[1]))
    done = await desk.end(run)

    spans = [each.deadline - each.created_at for each in output.run.requirements if each.deadline]
    assert [HOUR, 3 * HOUR, 3 * HOUR, HOUR] == spans
    told = 'archive: archived sdb; get_user_input: {"city": "Rome"}; ask_user: nobody answered'
    assert f"{NOBODY}; {told} before the deadline" == done.content
    assert ["archive sdb"] == ran


ANY_BUT_APPROVAL: list[dict[str, Any]] = [
    {"requires_user_input": True},
    {"external_execution": True},
    {},
]


def test_a_deadline_cannot_answer() -> None:
    """A deadline can approve a call, and neither fill in a form nor report, nor answer."""
    for asks in ANY_BUT_APPROVAL:
        with pytest.raises(DefinitionError, match="cannot answer for a person"):
            Function(wipe, timeout=5, on_timeout="approve", **asks)
    with pytest.raises(DefinitionError, match="cannot answer for a person"):
        UserFeedbackTools(timeout=5, on_timeout="approve")


@pytest.fixture(scope="module")
async def desk(env: WorkflowEnvironment) -> AsyncIterator[Desk]:
    async with desk_of(env, *LATE.values(), patient) as made:
        yield made


# Deploys in the midst of a run


def deployed(*tools: Any, instructions: str = "Be quick") -> Agent:
    """Return the agent as it is deployed, whose model calls both tools, and then both again."""
    both: list[Called] = [("wipe", {"disk": "sda"}), ("archive", {"disk": "sdb"})]
    return Agent("keeper", scripted(both, both[:1]), instructions, tools)


async def test_a_deploy_while_it_waits(env: WorkflowEnvironment) -> None:
    """What was guarded when the run began stays guarded, whatever is deployed meanwhile; a tool
    that is gone blocks its approved call until some worker has it again, and nothing is lost.
    """
    ran.clear()
    much = Function(wipe, requires_confirmation=lambda disk: True)
    guarded = [Function(each, requires_confirmation=True) for each in (wipe, archive)]
    before, without = deployed(*guarded), deployed(wipe, instructions="Be slow")
    after = deployed(much, guarded[1])
    async with serving(env, before.workflow) as client:
        run = await client.start(before.workflow, "go")
        await paused(client, run)
    async with serving(env, without.workflow, queue=client.task_queue) as client:
        for name in ("wipe", "archive"):
            await client.resolve(run, Confirm(requirement_id=f"keeper.1.{name}"))

        async def is_blocked() -> Any:
            return ran and list((await client.get(run)).blocked)

        assert ["keeper.1.archive"] == await until(is_blocked)
    async with serving(env, after.workflow, queue=client.task_queue) as client:
        await env.fast_forward(client.handle(run), timedelta(minutes=1))
        await paused(client, run)
    async with serving(env, without.workflow, queue=client.task_queue) as client:
        again = await paused(client, run)
        await client.resolve(run, Reject(requirement_id="keeper.2.wipe"))
        done = await ended(client, run)
        await replays(client.handle(run), before.workflow)

    assert ["keeper.2.wipe"] == [each.id for each in again.requirements]
    assert ["tool_confirmation"] == [each.kind for each in again.requirements]
    assert ["wipe sda", "archive sdb"] == ran
    assert "wipe: rejected by a person" == done.content
    changed = {each.path for each in done.events if isinstance(each, SourceChanged)}
    assert "keeper.2" in changed


@pytest.mark.parametrize("planned", ["always", "on a condition"])
async def test_a_guard_that_is_taken_away(env: WorkflowEnvironment, planned: str) -> None:
    """A turn that is taken by newer code, which guards a tool no more, still asks about it."""
    ran.clear()
    is_much: Any = True if planned == "always" else (lambda disk: disk == "sdz")
    asks = Agent(
        "hasty",
        scripted([("note", {})], [("wipe", {"disk": "sda"})]),
        tools=[Function(wipe, requires_confirmation=is_much), note],
    )
    bold = Agent("hasty", asks.model, tools=[wipe, note])
    async with serving(env, asks.workflow) as client:
        run = await client.start(asks.workflow, "go")
        await paused(client, run)
    async with serving(env, bold.workflow, queue=client.task_queue) as client:
        await client.resolve(run, Confirm(requirement_id="hasty.1.note"))
        output = await client.wait(run, seen=["hasty.1.note"], timeout=20)
        await client.resolve(run, Confirm(requirement_id="hasty.2.wipe"))
        done = await ended(client, run)
        await replays(client.handle(run), asks.workflow)

    assert ["hasty.2.wipe"] == [each.id for each in output.requirements]
    assert ["tool_confirmation"] == [each.kind for each in output.requirements]
    assert ("wipe: wiped sda", ["wipe sda"]) == (done.content, ran)


@tool(requires_confirmation=True)
def note() -> str:
    """Take a note."""
    return "noted"


# New executions

steady = Agent("steady", scripted(*[[("note", {})]] * 8), tools=[note])


async def test_between_turns(short: WorkflowEnvironment) -> None:
    """An agent of many turns goes on through several executions: each question is asked once, each
    call made once, the conversation and the usage are whole.
    """
    async with serving(short, steady.workflow) as client:
        run = await client.start(steady.workflow, "go")
        ids: list[str] = []
        for turn in range(1, 9):
            output = await client.wait(run, seen=ids, timeout=20)
            ids += [each.id for each in output.requirements]
            await client.resolve(run, Confirm(requirement_id=f"steady.{turn}.note"))
        done = await ended(client, run)
        executions = await replay_all(short, run, steady.workflow)

    assert [f"steady.{turn}.note" for turn in range(1, 9)] == ids
    assert "note: noted" == done.content
    (result,) = done.step_results
    assert (9, 18) == (result.usage["requests"], len(result.messages))
    assert 1 < executions


waits = Team(
    "waits",
    [
        Agent("first", scripted([("note", {})]), tools=[note]),
        Agent("second", scripted([("note", {})], [("note", {})]), tools=[note]),
    ],
    scripted(
        [
            ("delegate", {"member": "first", "task": "a"}),
            ("delegate", {"member": "second", "task": "b"}),
        ]
    ),
)
ticks = Loop([Step("tick", lambda: ran.append("tick"))], name="ticks", max_iterations=18)
beside = Workflow("waits_beside", [Parallel(Step(name="team", team=waits), ticks, name="all")])


async def test_while_members_wait(short: WorkflowEnvironment) -> None:
    """What members wait for stays open across executions, and they go on where they were."""
    ran.clear()
    async with serving(short, beside) as client:
        run = await client.start(beside, "go")
        first, second = "all.team.1.first.1.note", "all.team.1.second.1.note"

        async def has_ticked() -> Any:
            output = await client.get(run)
            return 18 == len(ran) and not output.running and output

        waiting = await until(has_ticked)
        await client.resolve(run, Confirm(requirement_id=second))
        await client.wait(run, seen=[first, second], timeout=20)
        await client.resolve(run, Confirm(requirement_id="all.team.1.second.2.note"))
        await client.resolve(run, Reject(requirement_id=first, feedback="no"))
        done = await ended(client, run)
        executions = await replay_all(short, run, beside)

    assert [first, second] == sorted(each.id for each in waiting.requirements)
    told = "delegate: note: rejected by a person: no; delegate: note: noted"
    assert told == done.content["team"]
    assert 1 < executions
