"""Branches of a `Parallel` run at once, ask at once, and are answered one by one while the others
run on.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Confirm,
    OnReject,
    Parallel,
    Reject,
    RunStatus,
    Step,
    StepInput,
    Steps,
    Workflow,
)
from tests.stage import WAIT, activities, ended, outcome, paused, replays, serving, until


def start(step_input: StepInput) -> str:
    return "started"


def echo(step_input: StepInput) -> str:
    return f"{step_input.input} after {step_input.previous_step_content}"


def broken(step_input: StepInput) -> str:
    raise ValueError("no such table")


def gather(step_input: StepInput) -> dict[str, Any]:
    return {
        "previous": step_input.previous_step_content,
        "fan": step_input.get_step_content("fan"),
        "b": step_input.get_step_content("b"),
        "names": list(step_input.previous_step_outputs),
    }


async def test_branches_start_from_the_same_place(env: WorkflowEnvironment) -> None:
    """Every branch sees the same input and the same step before it; what follows sees all of them
    by name.
    """
    fan = Parallel(Step("b", echo), Steps("c", steps=[echo]), Step("a", echo), name="fan")
    output = await outcome(env, Workflow("branches", [start, fan, gather]), "users")
    each = "users after started"

    assert [("b", each), ("c", each), ("a", each)] == [
        (branch.step_name, branch.content) for branch in output.step_results[1].steps or []
    ]
    assert output.content == {
        "previous": {"b": each, "c": each, "a": each},
        "fan": {"b": each, "c": each, "a": each},
        "b": each,
        "names": ["start", "fan"],
    }


async def test_branches_run_at_once(env: WorkflowEnvironment) -> None:
    """Sync branches run in threads side by side: each waits for the others to have started."""
    meeting = threading.Barrier(3)

    def meet(step_input: StepInput) -> int:
        meeting.wait(WAIT / 2)
        return threading.get_ident()

    fan = Parallel(Step("a", meet), Step("b", meet), Step("c", meet), name="fan")
    output = await outcome(env, Workflow("meeting", [fan]))

    assert not output.failed_steps
    assert len(set(output.content.values())) == 3


async def test_the_name_may_come_first() -> None:
    """`Parallel("fan", ...)` names the node, as `name="fan"` does."""
    assert (
        (fan := Parallel("fan", Step("a", echo), Step("b", echo))).name,
        len(fan.steps),
    ) == ("fan", 2)


async def test_a_failed_branch_is_left_out_of_the_content(env: WorkflowEnvironment) -> None:
    """A branch that failed and is skipped marks the Parallel, and its content lacks that branch."""
    fan = Parallel(Step("a", echo), Step("b", broken, max_retries=0), name="fan")
    output = await outcome(env, Workflow("branches", [fan, gather]), "users")

    assert output.step_results[0].success is False
    assert output.content["previous"] == {"a": "users after None"}
    assert [each.step_name for each in output.failed_steps] == ["b"]


def asking(name: str, **policy: Any) -> Step:
    return Step(name, echo, requires_confirmation=True, **policy)


@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
async def test_gates_of_branches_are_answered_in_any_order(
    env: WorkflowEnvironment, order: str
) -> None:
    """Gates in several branches are open at once; each answer lets its own branch go on, while
    others run.
    """
    goes_on = asyncio.Event()

    async def slow(step_input: StepInput) -> str:
        await goes_on.wait()
        return "slow"

    fan = Parallel(*(asking(name) for name in "abc"), Step("d", slow), name="fan")
    pipeline = Workflow("branches", [fan, gather])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline, "users")
        await until(lambda: has_open(client, run, 3))
        assert (await client.get(run)).running == ["fan.d"]
        for answered, name in enumerate(order, 1):
            await client.resolve(run, Confirm(requirement_id=f"fan.{name}"))
            await until(lambda name=name: has_scheduled(client, run, f"fan.{name}"))
            assert 3 - answered == len((await client.get(run)).requirements)
        goes_on.set()
        output = await ended(client, run)
        scheduled = await activities(client.handle(run))
        await replays(client.handle(run), pipeline)

    assert list(output.content["previous"]) == ["a", "b", "c", "d"]
    assert ["fan.d", *(f"fan.{name}" for name in order), "gather"] == list(scheduled)
    assert [f"fan.{name}" for name in order] == [each.requirement_id for each in output.resolutions]


async def has_open(client: Any, run: str, count: int) -> bool:
    return count == len((await client.get(run)).requirements)


async def has_scheduled(client: Any, run: str, activity_id: str) -> bool:
    return activity_id in await activities(client.handle(run))


async def test_a_branch_asks_again_while_another_waits(
    env: WorkflowEnvironment, cache: int
) -> None:
    """A branch goes on to its next gate while another branch's first one is still open."""
    branch = Steps("left", steps=[asking("first"), asking("second")])
    pipeline = Workflow("branches", [Parallel(branch, asking("right"), name="fan")])
    async with serving(env, pipeline, max_cached_workflows=cache) as client:
        run = await client.start(pipeline, "users")
        await paused(client, run)
        await client.resolve(run, Confirm(requirement_id="fan.left.first"))
        await until(lambda: has_open(client, run, 2))
        opened = [each.id for each in (await client.get(run)).requirements]
        for each in ("fan.right", "fan.left.second"):
            await client.resolve(run, Confirm(requirement_id=each))
        output = await ended(client, run)
        await replays(client.handle(run), pipeline)

    assert sorted(opened) == ["fan.left.second", "fan.right"]
    assert output.content == {"left": "users after users after None", "right": "users after None"}


async def test_a_rejected_branch_is_left_out(env: WorkflowEnvironment) -> None:
    """Rejecting one branch's gate leaves that branch out and no other."""
    pipeline = Workflow("branches", [Parallel(asking("a"), asking("b"), name="fan"), gather])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline, "users")
        await paused(client, run)
        await client.resolve(run, Reject(requirement_id="fan.a"))
        await client.resolve(run, Confirm(requirement_id="fan.b"))
        output = await ended(client, run)
        await replays(client.handle(run), pipeline)

    assert output.content["previous"] == {"b": "users after None"}


async def test_all_branches_rejected(env: WorkflowEnvironment) -> None:
    """A Parallel of which every branch was rejected leaves no output, and the run goes on."""
    fan = Parallel(asking("a"), asking("b"), name="fan")
    pipeline = Workflow("branches", [start, fan, gather])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline, "users")
        await paused(client, run)
        for name in "ab":
            await client.resolve(run, Reject(requirement_id=f"fan.{name}"))
        output = await ended(client, run)
        await replays(client.handle(run), pipeline)

    assert output.content == {"previous": "started", "fan": None, "b": None, "names": ["start"]}


async def test_a_branch_that_cancels_the_run_ends_the_others(env: WorkflowEnvironment) -> None:
    """`on_reject=cancel` in one branch ends the run: the others' gates close as withdrawn, their
    steps stop.
    """

    async def endless(step_input: StepInput) -> str:
        await asyncio.Event().wait()
        return "never"

    cancels = asking("a", on_reject=OnReject.cancel)
    running = Step("c", endless)
    pipeline = Workflow(
        "branches", [Parallel(cancels, asking("b"), running, name="fan"), Step("after", start)]
    )
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline, "users")
        await until(lambda: has_open(client, run, 2))
        await client.resolve(run, Reject(requirement_id="fan.a", feedback="wrong table"))
        output = await ended(client, run)
        history = await client.handle(run).fetch_history()
        await replays(client.handle(run), pipeline)

    assert (output.status, output.requirements, output.running) == (RunStatus.cancelled, [], [])
    assert [(each.requirement_id, each.resolution.action) for each in output.resolutions] == [
        ("fan.a", "reject"),
        ("fan.b", "withdraw"),
    ]
    assert output.step_results == []
    assert any(
        each.HasField("activity_task_cancel_requested_event_attributes") for each in history.events
    )


async def test_fifty_branches_ask_at_once(env: WorkflowEnvironment) -> None:
    """Fifty gates open in one task are one pause: one update of the memo, and each is answered by
    its id.
    """
    names = [f"b{number}" for number in range(50)]
    fan = Parallel(*(asking(name) for name in names), name="fan")
    pipeline = Workflow("branches", [fan])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline, "users")
        asked = await paused(client, run)
        answers = [(run, Confirm(requirement_id=f"fan.{name}")) for name in reversed(names)]
        await client.resolve_many(answers)
        output = await ended(client, run)
        await replays(client.handle(run), pipeline)

    assert [f"fan.{name}" for name in names] == [each.id for each in asked.requirements]
    assert names == list(output.content)
