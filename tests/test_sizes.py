"""Nothing that a run carries is too large: what does not fit is fetched, kept outside, or said."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Confirm,
    HitlClient,
    Loop,
    OnError,
    Parallel,
    ResolutionError,
    RunOptions,
    RunStatus,
    Step,
    StepInput,
    Workflow,
)
from temporal_hitl._reach import Reach
from temporal_hitl._sizes import BUDGET, INLINE, MESSAGE, SHOWN
from temporal_hitl.run import Omitted
from tests.stage import (
    WAIT,
    boundless,
    cli,
    ended,
    new_queue,
    outcome,
    paused,
    replay_all,
    replays,
    serving,
    until,
)

KB = 1024
LARGE = 300 * KB
LONG = 110
"""Seconds that the widest of these may take."""
TASK_FAILED = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED


def large() -> str:
    return "x" * LARGE


def look(step_input: StepInput, session_state: dict[str, Any]) -> list[Any]:
    session_state["seen"] = True
    return [
        len(step_input.previous_step_outputs),
        len(step_input.get_step_content("large")),
        len(step_input.previous_step_content),
        len(step_input.input),
        len(step_input.additional_data["more"]),
        len(session_state["ballast"]),
    ]


async def look_async(step_input: StepInput, session_state: dict[str, Any]) -> list[Any]:
    return look(step_input, session_state)


def small(number: int) -> Step:
    return Step(f"small_{number}", lambda: f"{number}".ljust(10 * KB, "s"))


async def history(client: HitlClient, run: str) -> History:
    return History(events=(await client.handle(run).fetch_history()).events)


def calls(told: History) -> list[int]:
    """The bytes that each call of a run was scheduled with."""
    scheduled = [each.activity_task_scheduled_event_attributes for each in told.events]
    return [sum(len(e.data) for e in s.input.payloads) for s in scheduled if s.activity_id]


def failures(told: History) -> list[Any]:
    return [each for each in told.events if each.event_type == TASK_FAILED]


@pytest.mark.parametrize("executor", [look, look_async])
async def test_what_does_not_travel_is_fetched(
    env: WorkflowEnvironment, cache: int, executor: Any
) -> None:
    """A step sees all that it may as plain data, though little of it travels with its call."""
    steps = [Step("large", large), *(small(n) for n in range(8)), Step("look", executor)]
    definition = Workflow("growing", steps)
    options = RunOptions(
        session_state={"ballast": "b" * 20 * KB}, additional_data={"more": "m" * 20 * KB}
    )
    async with serving(env, definition, max_cached_workflows=cache) as client:
        run = await client.start(definition, "i" * 20 * KB, options=options)
        output = await ended(client, run)
        told = await history(client, run)

    assert [9, LARGE, 10 * KB, 20 * KB, 20 * KB, 20 * KB] == output.content
    assert {"ballast", "seen"} == set(output.session_state)
    assert max(calls(told)) < INLINE + KB
    assert [] == failures(told)
    await replays(client.handle(run), definition)


async def test_what_an_end_condition_is_given(env: WorkflowEnvironment) -> None:
    """An end condition sees its iteration's outputs in full, however large they are."""
    seen: list[int] = []

    def enough(outputs: list[Any]) -> bool:
        seen.append(len(outputs[-1].content))
        return True

    definition = Workflow("judged", [Loop([Step("large", large)], end_condition=enough)])

    output = await outcome(env, definition)

    assert ([LARGE], RunStatus.completed) == (seen, output.status)


async def test_many_that_are_given_much(env: WorkflowEnvironment) -> None:
    """Branches that together are given more than one message holds get it all the same."""
    looks = [Step(f"look_{n}", two_lengths) for n in range(15)]
    definition = Workflow("fan", [Step("large", large), Parallel(*looks, name="all")])
    async with serving(env, definition) as client:
        run = await client.start(definition, "i" * LARGE)
        output = await ended(client, run)
        told = await history(client, run)

    assert 2 * LARGE * len(looks) > 2 * MESSAGE
    assert [[LARGE, LARGE]] * len(looks) == list(output.content.values())
    assert [] == failures(told)
    await replays(client.handle(run), definition)


def two_lengths(step_input: StepInput) -> list[int]:
    return [len(step_input.input), len(step_input.previous_step_content)]


async def two_lengths_async(step_input: StepInput) -> list[int]:
    return two_lengths(step_input)


@pytest.mark.slow
async def test_more_calls_than_one_message_holds(env: WorkflowEnvironment) -> None:
    """Calls that are too many for one message are made in several, and none is lost."""
    count = 2 * MESSAGE // INLINE // 3 * 2
    steps = [Step(f"s{n}", lambda step_input: len(step_input.input)) for n in range(count)]
    definition = Workflow("crowd", [Parallel(*steps, name="all")])
    async with serving(env, definition) as client:
        run = await client.start(definition, "i" * (INLINE - 100))
        output = await asyncio.wait_for(client.wait_for_end(run), LONG)
        told = await history(client, run)

    assert [INLINE - 100] * count == list(output.content.values())
    assert [] == failures(told)
    assert sum(calls(told)) > 1.2 * MESSAGE
    await replays(client.handle(run), definition)


# What a run may hold


def grow(session_state: dict[str, Any]) -> str:
    session_state["ballast"] = "y" * 1900 * KB
    return "z" * 10


def three_megabytes() -> str:
    return "3" * 3_000_000


@pytest.mark.parametrize("executor", [grow, three_megabytes])
async def test_a_step_that_returns_too_much(env: WorkflowEnvironment, executor: Any) -> None:
    """A step that returns more than Temporal takes fails with a sentence, and the run goes on."""
    definition = Workflow("heavy", [Step("heavy", executor), Step("next", lambda: "there")])

    output = await outcome(env, definition)

    assert (RunStatus.completed, "there") == (output.status, output.content)
    assert "temporal_hitl.TooLarge" in (output.failed_steps[0].error or "")
    assert "external_storage=ExternalStorage" in (output.failed_steps[0].error or "")
    assert {} == output.session_state


async def test_a_step_that_breaks_the_budget(env: WorkflowEnvironment) -> None:
    """The step with which a run would hold too much fails by its author's policy, and says why."""
    steps = [Step(f"s{n}", lambda: "x" * 400_000, on_error=OnError.fail) for n in range(4)]
    definition = Workflow("budget", steps)

    output = await outcome(env, definition)

    assert (RunStatus.error, "temporal_hitl.TooLarge") == (output.status, output.error_type)
    assert (output.error or "").startswith("s2: a run may hold 1,000,000 bytes")
    assert "external_storage=ExternalStorage" in (output.error or "")
    assert ["s0", "s1"] == [each.step_name for each in output.step_results]


@pytest.mark.parametrize(
    ("input", "state"), [("i" * 1_200_000, {}), ("", {"ballast": "y" * 1_900_000})]
)
async def test_a_run_that_starts_too_large(
    env: WorkflowEnvironment, input: str, state: dict[str, Any]
) -> None:
    """A run that is started with too much fails at once, before any step, and says why."""
    ran: list[str] = []
    definition = Workflow("obese", [Step("never", lambda: ran.append("never"))])

    output = await outcome(env, definition, input, RunOptions(session_state=state))

    assert (RunStatus.error, "temporal_hitl.TooLarge") == (output.status, output.error_type)
    assert [] == ran


async def test_with_an_external_storage(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """With an external storage outputs, state and input may have any size, the result too."""
    steps = [Step("three", three_megabytes), Step("grow", grow), Step("look", sees_three)]
    definition = Workflow("stored", [*steps, Parallel(*(small(n) for n in range(3)), name="all")])
    client = boundless(env.client, tmp_path)
    options = RunOptions(session_state={"first": "f" * 1_900_000})
    async with serving(env, definition, client=client) as hitl:
        run = await hitl.start(definition, "i" * 2_500_000, options=options)
        output = await ended(hitl, run)
        told = await history(hitl, run)
        await replays(hitl.handle(run), definition, converter=client.data_converter)

    assert (RunStatus.completed, []) == (output.status, output.failed_steps)
    assert 3_000_000 == len(output.step_results[0].content)
    assert [2_500_000, 3_000_000, 1_900_000, 1900 * KB] == output.step_results[2].content
    assert (1_900_000, 1900 * KB) == tuple(len(each) for each in output.session_state.values())
    assert [] == failures(told)
    assert [] == output.omitted


def sees_three(step_input: StepInput, session_state: dict[str, Any]) -> list[int]:
    three = len(step_input.get_step_content("three"))
    return [len(step_input.input), three, *(len(each) for each in session_state.values())]


@pytest.mark.slow
async def test_a_thousand_steps(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """A thousand steps of 10 KB, each seeing all before it, neither wedge a run nor its end."""
    steps = [
        Step(f"s{n}", lambda step_input: [seen(step_input), "s" * 10 * KB]) for n in range(1000)
    ]
    definition = Workflow("thousand", steps)
    client = boundless(env.client, tmp_path)
    async with serving(env, definition, client=client) as hitl:
        run = await hitl.start(definition)
        output = await asyncio.wait_for(hitl.wait_for_end(run), LONG)
        started = await replay_all(env, run, definition, converter=client.data_converter)

    assert list(range(1000)) == [each.content[0] for each in output.step_results]
    assert 1 < started


def seen(step_input: StepInput) -> int:
    return len(step_input.previous_step_outputs)


@pytest.mark.slow
async def test_a_long_loop(env: WorkflowEnvironment) -> None:
    """Two thousand iterations of 10 KB hold what one holds, and need no storage."""
    body = Step("draft", lambda step_input: f"{step_input.iteration}".ljust(10 * KB, "d"))
    definition = Workflow("long", [Loop([body], name="refine", max_iterations=2000)])
    async with serving(env, definition) as client:
        run = await client.start(definition)
        output = await asyncio.wait_for(client.wait_for_end(run), LONG)
        started = await replay_all(env, run, definition)

    assert "2000" == output.content.rstrip("d")
    assert 1 == len(output.step_results[0].steps or [])
    assert 1 < started


# What a run tells


async def test_contents_by_reference(env: WorkflowEnvironment) -> None:
    """How a run stands is told without large contents; the client fetches these by themselves."""
    steps = [Step("large", large), Step("small", lambda: "s"), Step("ask", large)]
    steps[-1] = Step("ask", large, requires_confirmation=True)
    definition = Workflow("shown", [Parallel(*steps[:2], name="both"), steps[-1]])
    state = {"ballast": "b" * (SHOWN + 1)}
    async with serving(env, definition) as client:
        run = await client.start(definition, options=RunOptions(session_state=state))
        output = await paused(client, run)
        brief = await client.handle(run).query("run_output")
        _, by_hand, _ = await cli(
            env, "workflow", "query", "-w", run, "--type", "run_parts", "-o", "json",
            "--input", json.dumps([brief["omitted"][0]]),
        )  # fmt: skip
        await client.resolve(run, Confirm(requirement_id="ask"))
        end = await ended(client, run)
        await replays(client.handle(run), definition)

    assert {"large": "x" * LARGE, "small": "s"} == output.step_results[0].content
    assert (state, []) == (output.session_state, output.omitted)
    assert len(str(brief)) < 5 * KB
    told = [(each["part"], each["path"]) for each in brief["omitted"]]
    assert [("step_content", "both.large"), ("step_content", "both")] == told[:2]
    assert {("content", None), ("session_state", None)} == set(told[2:])
    assert "x" * LARGE in str(by_hand)
    assert "x" * LARGE == end.content
    assert [] == end.omitted


async def test_a_content_that_is_gone(env: WorkflowEnvironment) -> None:
    """A content that a run holds no more stays named: nobody takes None for what it was."""
    body = [Step("draft", large), Step("ask", lambda: "ok", requires_confirmation=True)]
    definition = Workflow("fleeting", [Loop(body, name="refine", max_iterations=2)])
    async with serving(env, definition) as client:
        run = await client.start(definition)
        await paused(client, run)
        early = await Reach(env.client).state(run)
        await client.resolve(run, Confirm(requirement_id="refine.1.ask"))
        await client.wait(run, seen=["refine.1.ask"], timeout=WAIT)
        late = await Reach(env.client).whole(early)
        unknown = Omitted(part="of_tomorrow", bytes=1)
        asked = [each.model_dump() for each in (unknown, *early.omitted)]
        told = await client.handle(run).query("run_parts", asked)
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), definition)

    assert ["refine.1.draft"] == [each.path for each in early.omitted]
    assert early.omitted == late.omitted
    assert [None, None] == told


async def test_a_result_that_is_too_large(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contents that a result cannot hold are had from a worker; with none they are named."""
    wide = Parallel(*(Step(f"s{n}", lambda: "x" * 220_000) for n in range(4)), name="wide")
    definition = Workflow("wide", [wide])
    async with serving(env, definition) as client:
        run = await client.start(definition)
        output = await ended(client, run)
        result = await client.handle(run).result()
        await replays(client.handle(run), definition)
    assert [220_000] * 4 == [len(each) for each in output.content.values()]
    assert [220_000] * 4 == [len(each.content) for each in output.step_results[0].steps or []]
    assert [] == output.omitted
    assert result["omitted"]

    monkeypatch.setattr("temporal_hitl._reach.PATIENCE", timedelta(seconds=1))
    alone = await client.get(run)

    assert RunStatus.completed is alone.status
    assert len(result["omitted"]) == len(alone.omitted)
    assert "step_content of wide" in str(alone.omitted[-1])


# What people say


async def test_an_answer_that_is_too_large(env: WorkflowEnvironment) -> None:
    """An answer of 3 MB is refused in the call; one by signal is among the refused."""
    definition = Workflow("flood", [Step("ask", lambda: "ok", requires_confirmation=True)])
    async with serving(env, definition) as client:
        run = await client.start(definition)
        await paused(client, run)
        for size in (3_000_000, 600_000):
            with pytest.raises(ResolutionError, match="may have 500,000"):
                await client.resolve(run, Confirm(requirement_id="ask", comment="c" * size))
        flood = {"requirement_id": "ask", "action": "confirm", "comment": "c" * 600_000}
        await client.handle(run).signal("resolve", flood)
        refused = (await client.requirements(run)).refused
        still = await paused(client, run)
        await client.resolve(run, Confirm(requirement_id="ask"))
        output = await ended(client, run)
        told = await history(client, run)
        await replays(client.handle(run), definition)

    assert "may have 500,000" in refused[0].reason
    assert ["ask"] == [each.id for each in still.requirements]
    assert (RunStatus.completed, []) == (output.status, failures(told))


async def test_a_message_as_long_as_a_book(env: WorkflowEnvironment) -> None:
    """A long question is cut in the memo and whole in the requirement."""
    book = "Go? " * 50_000
    gated = Step("ask", large, requires_confirmation=True, confirmation_message=book)
    definition = Workflow("long", [gated])
    async with serving(env, definition) as client:
        run = await client.start(definition)
        output = await paused(client, run)
        memo = await (await client.handle(run).describe()).memo()
        await client.resolve(run, Confirm(requirement_id="ask"))
        await ended(client, run)

    assert book == output.requirements[0].message
    assert 1000 == len(memo["hitl_requirements"]["rows"][0]["message"])
    await replays(client.handle(run), definition)


# How history grows


async def test_history_grows_with_the_work(env: WorkflowEnvironment) -> None:
    """History holds each output little more than twice, however many steps came before."""

    async def history_bytes(count: int) -> int:
        definition = Workflow(f"steps_{count}", [small(n) for n in range(count)])
        async with serving(env, definition) as client:
            run = await client.start(definition)
            output = await ended(client, run)
            told = await history(client, run)
        assert RunStatus.completed is output.status
        return sum(event.ByteSize() for event in told.events)

    some, twice_as_many = await history_bytes(15), await history_bytes(30)

    assert twice_as_many / some < 2.1
    assert twice_as_many / (30 * 10 * KB) < 2.5


async def test_a_loop_of_large_iterations(env: WorkflowEnvironment) -> None:
    """A loop keeps one iteration, so that its run does not grow with their number."""
    body = Step("draft", lambda: "d" * 100 * KB)
    definition = Workflow("looping", [Loop([body], name="refine", max_iterations=40)])

    output = await outcome(env, definition)

    assert 100 * KB == len(output.content)
    assert 1 == len(output.step_results[0].steps or [])
    assert 40 * 100 * KB > BUDGET


async def test_what_is_fetched_while_the_run_is_away(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step whose run has no worker to tell what it is given waits for one, and fails nothing."""
    monkeypatch.setattr("temporal_hitl._line.PATIENCE", timedelta(seconds=0.25))
    queue, elsewhere = new_queue(), new_queue()
    looks = [
        Step(name, executor, task_queue=elsewhere, max_retries=0)
        for name, executor in (("in_a_thread", two_lengths), ("on_the_loop", two_lengths_async))
    ]
    definition = Workflow("away", [Step("large", large), Parallel(*looks, name="all")])
    async with serving(env, definition, queue=queue) as client:
        run = await client.start(definition, "i" * LARGE)
        await until(lambda: is_at(client, run, "all.in_a_thread", "all.on_the_loop"))
    async with serving(env, definition, queue=elsewhere):
        await asyncio.sleep(1)  # Nobody tells: they have asked a few times by then.
        async with serving(env, definition, queue=queue) as client:
            output = await asyncio.wait_for(client.wait_for_end(run), WAIT)
            await replays(client.handle(run), definition)

    both = {"in_a_thread": [LARGE, LARGE], "on_the_loop": [LARGE, LARGE]}
    assert (both, []) == (output.content, output.failed_steps)


async def is_at(client: HitlClient, run: str, *paths: str) -> bool:
    return sorted(paths) == sorted((await client.get(run)).running)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_more_branches_than_the_server_takes(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    """Branches beyond what the server takes at once wait their turn, whatever they are given."""

    async def length(step_input: StepInput, session_state: dict[str, Any]) -> int:
        return len(step_input.input) + len(session_state["ballast"])

    count = 2_100
    steps = [Step(f"s{n}", length) for n in range(count)]
    definition = Workflow("horde", [Parallel(*steps, name="all")])
    options = RunOptions(session_state={"ballast": "b" * 100_000})
    client = boundless(env.client, tmp_path)
    async with serving(env, definition, client=client, max_concurrent_activities=200) as hitl:
        run = await hitl.start(definition, "i" * 100_000, options=options)
        output = await asyncio.wait_for(hitl.wait_for_end(run), 2 * LONG)
        told = await history(hitl, run)
        await replay_all(env, run, definition, converter=client.data_converter)

    assert [200_000] * count == list(output.content.values())
    assert [] == failures(told)
