"""A run of any length: it continues as a new execution at quiet instants, and nobody notices."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Condition,
    Confirm,
    HitlClient,
    Loop,
    OnTimeout,
    Parallel,
    Reject,
    Router,
    RunOptions,
    RunStatus,
    Step,
    StepInput,
    Workflow,
)
from temporal_hitl.errors import DecisionConflict
from tests.stage import SUGGESTED, WAIT, ended, paused, replay_all, serving, until

executed: list[str] = []


def count(step_input: StepInput, session_state: dict[str, Any]) -> str:
    executed.append(f"count {step_input.iteration}")
    session_state["total"] = session_state.get("total", 0) + 1
    return f"{step_input.input}/{session_state['total']}"


def tick(step_input: StepInput) -> int | None:
    executed.append(f"tick {step_input.iteration}")
    return step_input.iteration


def say(step_input: StepInput, session_state: dict[str, Any]) -> str:
    session_state["said"] = True
    return f"said after {step_input.get_step_content('first')}"


def first() -> str:
    executed.append("first")
    return "first"


def yes() -> bool:
    executed.append("evaluated")
    return True


def both() -> list[str]:
    executed.append("selected")
    return ["tick_a", "tick_b"]


async def confirm_each(client: HitlClient, run: str, answer: Any = Confirm) -> list[str]:
    """Answer whatever is asked until the run has ended, and return the ids in order."""
    ids: list[str] = []
    while True:
        output = await client.wait(run, seen=ids, timeout=WAIT)
        if output.has_ended:
            return ids
        for asked in output.requirements:
            if asked.id not in ids:
                ids.append(asked.id)
                await client.resolve(run, answer(requirement_id=asked.id))


async def test_a_long_loop(short: WorkflowEnvironment, cache: int) -> None:
    """A loop without a gate goes on through many executions; every iteration runs exactly once."""
    executed.clear()
    body = [Step("count", count), Step("tick", tick)]
    loop = Loop(body, name="refine", max_iterations=18)
    definition = Workflow("long_loop", [Step("first", first), loop, Step("say", say)])
    async with serving(short, definition, max_cached_workflows=cache) as client:
        run = await client.start(definition, "in", options=RunOptions(session_state={"total": 0}))
        output = await ended(client, run)
        started = await replay_all(short, run, definition)

    assert RunStatus.completed is output.status
    assert [
        "first",
        *(f"{name} {n}" for n in range(1, 19) for name in ("count", "tick")),
    ] == executed
    assert {"total": 18, "said": True} == output.session_state
    assert "said after first" == output.content
    assert ["first", "refine", "say"] == [each.step_name for each in output.step_results]
    assert 2 < started


async def test_a_gate_in_each_iteration(short: WorkflowEnvironment, cache: int) -> None:
    """Gates in a loop are asked once each, under their own ids, whatever execution asks them."""
    executed.clear()
    gated = Step("count", count, requires_confirmation=True)
    nested = Loop([Loop([gated], name="inner", max_iterations=3)], name="outer", max_iterations=4)
    definition = Workflow("gated_loop", [nested])
    async with serving(short, definition, max_cached_workflows=cache) as client:
        run = await client.start(definition, "in")
        ids = await confirm_each(client, run)
        output = await ended(client, run)
        started = await replay_all(short, run, definition)

    expected = [f"outer.{o}.inner.{i}.count" for o in range(1, 5) for i in range(1, 4)]
    assert expected == ids
    assert expected == [each.requirement_id for each in output.resolutions]
    assert 12 == len(executed)
    assert 1 < started


async def test_an_open_requirement_is_kept(short: WorkflowEnvironment) -> None:
    """What is open stays open across executions: id, deadline, digest; it can be answered."""
    executed.clear()
    gate = Step("sign", first, requires_confirmation=True, hitl_timeout=timedelta(days=7))
    loop = Loop([Step("tick", tick)], name="work", max_iterations=18)
    definition = Workflow("beside", [Parallel(gate, loop, name="all"), Step("say", say)])
    async with serving(short, definition) as client:
        run = await client.start(definition)
        before = (await until(lambda: asked_of(client, run)))[0]
        waiting = await until(lambda: idle(client, run))
        listed = await until(lambda: rows_of(client, run))
        record = await client.resolve(run, Confirm(requirement_id="all.sign", decision_id="d1"))
        again = await client.resolve(run, Confirm(requirement_id="all.sign", decision_id="d1"))
        with pytest.raises(DecisionConflict):
            await client.resolve(run, Reject(requirement_id="all.sign", decision_id="d1"))
        output = await ended(client, run)
        started = await replay_all(short, run, definition)

    assert [before] == waiting.requirements
    assert ["all.sign"] == [row.id for row in listed]
    assert record == again
    assert ["d1"] == [each.resolution.decision_id for each in output.resolutions]  # type: ignore[union-attr]
    assert [f"tick {n}" for n in range(1, 19)] == [e for e in executed if "tick" in e]
    assert 1 < started


async def rows_of(client: HitlClient, run: str) -> list[Any]:
    return [row async for row in client.list_requirements(f"WorkflowId = '{run}'")]


async def asked_of(client: HitlClient, run: str) -> Any:
    return (await client.get(run)).requirements


async def idle(client: HitlClient, run: str) -> Any:
    output = await client.get(run)
    done = [each for each in output.inner_results if each.step_name == "work"]
    return output if done and not output.running else None


@pytest.mark.parametrize("on_timeout", list(OnTimeout))
async def test_a_deadline_is_kept(short: WorkflowEnvironment, on_timeout: OnTimeout) -> None:
    """A deadline acts at its own time, though the execution that set it has long ended."""
    executed.clear()
    gate = Step(
        "sign", first, requires_confirmation=True, hitl_timeout=86400, on_timeout=on_timeout
    )
    loop = Loop([Step("tick", tick)], name="work", max_iterations=14)
    definition = Workflow("deadline", [Parallel(gate, loop, name="all")])
    async with serving(short, definition) as client:
        run = await client.start(definition)
        waiting = await until(lambda: idle(client, run))
        await short.fast_forward(client.handle(run), timedelta(hours=23))
        still = await client.get(run)
        await short.fast_forward(client.handle(run), timedelta(hours=1, seconds=5))
        output = await ended(client, run)
        started = await replay_all(short, run, definition)

    (record,) = output.resolutions
    assert waiting.requirements == still.requirements
    assert record.timed_out
    due = still.requirements[0].deadline
    assert due is not None
    assert timedelta(0) <= record.resolved_at - due < timedelta(seconds=5)
    assert ("first" in executed) == (on_timeout is OnTimeout.approve)
    assert 1 < started


async def test_beside_a_running_step(short: WorkflowEnvironment) -> None:
    """Beside a running step a run does not continue as new: that would cut it short."""
    executed.clear()
    release = asyncio.Event()

    async def slow() -> str:
        executed.append("slow")
        await release.wait()
        return "slow"

    loop = Loop([Step("tick", tick)], name="work", max_iterations=40)
    definition = Workflow(
        "busy", [Parallel(Step("slow", slow), loop, name="all"), Step("say", say)]
    )
    async with serving(short, definition) as client:
        run = await client.start(definition)
        await until(lambda: 40 <= len([each for each in executed if "tick" in each]))
        meanwhile = (await client.handle(run).describe()).history_length
        release.set()
        output = await ended(client, run)
        await replay_all(short, run, definition)

    assert SUGGESTED * 2 < meanwhile
    assert 1 == executed.count("slow")
    assert {"slow": "slow", "work": 40} == output.step_results[0].content
    assert RunStatus.completed is output.status


async def test_what_was_chosen_is_not_asked_again(short: WorkflowEnvironment) -> None:
    """Evaluators, selectors and steps that have ended do not run again; state is kept."""
    executed.clear()
    ask = Step("ask", say, requires_confirmation=True)
    quick = Loop([Step("tick", tick)], name="work", max_iterations=20)
    ticks = [Step("tick_a", tick), Step("tick_b", tick, requires_confirmation=True)]
    definition = Workflow(
        "choices",
        [
            Step("first", first),
            Condition([Router(ticks, both, name="route"), quick, ask], yes, name="when"),
            Parallel(
                Step("left", count),
                Loop([Step("more", tick)], name="more_work", max_iterations=20),
                name="fan",
            ),
        ],
    )
    async with serving(short, definition) as client:
        run = await client.start(definition, "in")
        ids = await confirm_each(client, run)
        output = await ended(client, run)
        started = await replay_all(short, run, definition)

    assert ["when.route.tick_b", "when.ask"] == ids
    assert (1, 1, 1) == tuple(executed.count(each) for each in ("first", "evaluated", "selected"))
    assert {"said": True, "total": 1} == output.session_state
    assert 40 + 2 == len([each for each in executed if "tick" in each])
    assert 1 < started


async def test_answers_on_the_way_are_not_lost(short: WorkflowEnvironment) -> None:
    """Answers that come while a run continues as new, by signal and by update, all count once."""
    gates = [Step(f"g{n}", first, requires_confirmation=True) for n in range(24)]
    loop = Loop([Step("tick", tick)], name="work", max_iterations=60)
    definition = Workflow("answers", [Parallel(*gates, loop, name="all")])
    async with serving(short, definition) as client:
        run = await client.start(definition)
        await until(lambda: asked_of(client, run))
        handle = client.handle(run)
        for number in range(0, 24, 2):
            await asyncio.gather(
                handle.signal("confirm", f"all.g{number}"),
                client.resolve(run, Confirm(requirement_id=f"all.g{number + 1}")),
            )
            await asyncio.sleep(0.05)  # Spread over the run's executions; nothing waits for it.
        output = await ended(client, run)
        started = await replay_all(short, run, definition)

    assert [f"all.g{n}" for n in range(24)] == sorted(
        (each.requirement_id for each in output.resolutions), key=lambda key: int(key[5:])
    )
    assert [] == output.refused
    assert RunStatus.completed is output.status
    assert 1 < started


async def test_cancelled_after_it(short: WorkflowEnvironment) -> None:
    """A run that has continued as new is cancelled as any other; what is open closes."""
    gate = Step("sign", first, requires_confirmation=True)
    loop = Loop([Step("tick", tick)], name="work", max_iterations=18)
    definition = Workflow("cancelled", [Parallel(gate, loop, name="all")])
    async with serving(short, definition) as client:
        run = await client.start(definition)
        await until(lambda: idle(client, run))
        await client.cancel(run)
        output = await ended(client, run)
        started = await replay_all(short, run, definition)

    assert RunStatus.cancelled is output.status
    assert [True] == [each.withdrawn for each in output.resolutions]
    assert 1 < started


async def test_what_is_refused_is_not_taken_along(short: WorkflowEnvironment) -> None:
    """A step that would make its run hold too much fails, so that the run can continue as new."""

    def heavy() -> str:
        return "h" * 600_000

    loop = Loop([Step("tick", tick)], name="work", max_iterations=30)
    definition = Workflow("heavy", [Step("first", heavy), Step("second", heavy), loop])
    async with serving(short, definition) as client:
        run = await client.start(definition)
        output = await ended(client, run)
        started = await replay_all(short, run, definition)

    assert (RunStatus.completed, 30) == (output.status, output.content)
    assert ["second"] == [each.step_name for each in output.failed_steps]
    assert 1 < started


async def test_answers_too_large_to_take_along(short: WorkflowEnvironment) -> None:
    """While large answers are needed a run stays in its execution and says so, and loses none."""
    executed.clear()
    release = asyncio.Event()

    async def wait() -> str:
        await release.wait()
        return "done"

    gates = [Step(f"g{n}", wait, requires_confirmation=True) for n in range(5)]
    last = Step("last", first, requires_confirmation=True)
    loop = Loop([Step("tick", tick)], name="work", max_iterations=25)
    definition = Workflow("comments", [Parallel(*gates, name="all"), loop, last])
    async with serving(short, definition) as client:
        run = await client.start(definition)
        await until(lambda: asked_of(client, run))
        for number in range(5):
            answer = Confirm(requirement_id=f"all.g{number}", comment="c" * 450_000)
            await client.resolve(run, answer)
        await client.handle(run).signal("confirm", "nobody")
        release.set()
        waiting = await paused(client, run)
        await client.resolve(run, Confirm(requirement_id="last"))
        output = await ended(client, run)
        started = await replay_all(short, run, definition)

    assert ["last"] == [each.id for each in waiting.requirements]
    assert RunStatus.completed is output.status
    assert 25 == len([each for each in executed if "tick" in each])
    assert 1 < started


async def test_a_user_cannot_bring_state(env: WorkflowEnvironment) -> None:
    """Three inputs are refused where the run did not continue: carried state is the run's own."""
    definition = Workflow("forged", [Step("sign", first, requires_confirmation=True)])
    async with serving(env, definition) as client:
        handle = await env.client.start_workflow(
            "forged", args=["in", {}, {"progress": {}}], id="forged", task_queue=client.task_queue
        )
        output = await ended(client, handle.id)
        await paused(client, await client.start(definition))

    assert RunStatus.error is output.status
    assert "takes one input, and it got 3" in (output.error or "")
