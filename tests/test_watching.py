"""A run is watched: from any process, at any time, over all of its executions, with its child
runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Condition,
    Confirm,
    HitlClient,
    Loop,
    OnError,
    OnReject,
    Parallel,
    Reject,
    Router,
    Select,
    Skip,
    Step,
    StepInput,
    Steps,
    Workflow,
)
from temporal_hitl.errors import NoWorker, RunError, RunNotFound
from temporal_hitl.requirements import AnyResolution, ErrorDecision, Route
from temporal_hitl.stream_events import (
    AnyStreamEvent,
    NodeEvent,
    RunSnapshotEvent,
    StepPausedEvent,
    StepStartedEvent,
    WorkflowCompletedEvent,
)
from tests.desk import Desk
from tests.resets import opening, reset
from tests.stage import WAIT, ended, new_queue, paused, replay_all, serving, until

ASKED = "WorkflowStarted, StepStarted a, StepOutput a, StepCompleted a, StepPaused b"
ENDED = "StepContinued b, StepStarted b, StepOutput b, StepCompleted b, WorkflowCompleted"


def act(step_input: StepInput) -> str:
    return f"{step_input.previous_step_content or step_input.input}+"


def step(name: str, **options: Any) -> Step:
    return Step(name, act, **options)


def broken() -> str:
    raise ValueError("never")


def asking(name: str = "asking") -> Workflow:
    return Workflow(name, [step("a"), step("b", requires_confirmation=True)])


def shown(events: Sequence[AnyStreamEvent]) -> str:
    names = [f"{e.event} {e.path}" if isinstance(e, NodeEvent) else e.event for e in events]
    return ", ".join(names)


async def told(client: HitlClient, run: str, **how: Any) -> list[AnyStreamEvent]:
    async with asyncio.timeout(WAIT):
        return [each async for each in client.watch(run, **how)]


class Watcher:
    """Keeps what it is told, while the test goes on."""

    def __init__(self, client: HitlClient, run: str, **how: Any) -> None:
        self.events: list[AnyStreamEvent] = []
        self._task = asyncio.create_task(self._watch(client.watch(run, **how)))

    async def _watch(self, events: AsyncIterator[AnyStreamEvent]) -> None:
        async for event in events:
            self.events.append(event)

    async def until_told(self, text: str) -> None:
        """Wait until it was told this, as its latest."""
        await until(lambda: shown(self.events).endswith(text))

    async def end(self) -> list[AnyStreamEvent]:
        """Return all, once the stream has ended."""
        await asyncio.wait_for(self._task, WAIT)
        return self.events


async def test_several_who_watch(env: WorkflowEnvironment) -> None:
    """Who watches from the beginning, from another client, from now on, late, and after the end is
    told the same, each from where it begins.
    """
    definition = asking()
    async with serving(env, definition) as client:
        target = client.client.service_client.config.target_host
        other = HitlClient(await Client.connect(target, data_converter=pydantic_data_converter))
        run = await client.start(definition, "in")
        early = [Watcher(each, run) for each in (client, client, other)]
        for each in early:
            await each.until_told("StepPaused b")
        now = Watcher(other, run, from_now=True)
        late = Watcher(other, run)
        await late.until_told("StepPaused b")
        await client.resolve(run, Confirm(requirement_id="b"))
        all_of_it = [await each.end() for each in (*early, late)]
        after = await told(other, run)
        of_now = await now.end()
        await replay_all(env, run, definition)

    assert [f"{ASKED}, {ENDED}"] * 4 == [shown(each) for each in all_of_it]
    assert f"{ASKED}, {ENDED}" == shown(after)
    assert ENDED.endswith(shown(of_now))


async def test_from_now(env: WorkflowEnvironment) -> None:
    """What happened before is left out; of a run that has ended, all but the end."""
    definition = asking()
    async with serving(env, definition) as client:
        run = await client.start(definition, "in")
        await paused(client, run)
        before = await told(client, run, from_now=True, until_paused=True)
        await client.resolve(run, Confirm(requirement_id="b"))
        await ended(client, run)
        after = await told(client, run, from_now=True)
        await replay_all(env, run, definition)

    assert ("", "WorkflowCompleted") == (shown(before), shown(after))


async def test_over_many_executions(short: WorkflowEnvironment) -> None:
    """A run that continues as new is told once, from its first execution to its last, to who
    watches it live and to who comes late; what stays open is asked once.
    """
    loop = Loop([step("x")], name="work", max_iterations=14)
    gate = step("sign", requires_confirmation=True)
    definition = Workflow("many", [Parallel(gate, loop, name="all")])
    iterations = ", ".join(
        f"LoopIterationStarted all.work.{n}, StepStarted all.work.{n}.x, StepOutput all.work.{n}.x,"
        f" StepCompleted all.work.{n}.x, LoopIterationCompleted all.work.{n}"
        for n in range(1, 15)
    )
    async with serving(short, definition) as client:
        run = await client.start(definition, "in")
        live = Watcher(client, run)
        await live.until_told("LoopExecutionCompleted all.work")
        await client.resolve(run, Confirm(requirement_id="all.sign"))
        events = await live.end()
        late = await told(client, run)
        started = await replay_all(short, run, definition)

    assert 2 < started
    assert shown(events) == shown(late)
    assert shown([e for e in events if not isinstance(e, NodeEvent) or "work" not in e.path]) == (
        "WorkflowStarted, ParallelExecutionStarted all, StepPaused all.sign,"
        " StepContinued all.sign, StepStarted all.sign, StepOutput all.sign,"
        " StepCompleted all.sign, ParallelExecutionCompleted all, WorkflowCompleted"
    )
    assert f"LoopExecutionStarted all.work, {iterations}, LoopExecutionCompleted all.work" == shown(
        [e for e in events if isinstance(e, NodeEvent) and "work" in e.path]
    )


async def test_what_waits_is_told_once(
    env: WorkflowEnvironment, short: WorkflowEnvironment
) -> None:
    """A run that continues as new while it waits, whatever for, tells what one tells that does not:
    containers, questions, retries and all.
    """
    review = {"requires_output_review": True, "on_reject": OnReject.retry}
    way = Router([step("x", **review), step("y")], lambda: "x", name="way", **review)
    check = Condition([Steps("all", steps=[way])], name="check", requires_confirmation=True)
    failing = Step("f", broken, max_retries=0, on_error=OnError.pause)
    loop = Loop(
        [check, failing],
        name="refine",
        max_iterations=2,
        requires_iteration_review=True,
        on_reject=OnReject.retry,
    )
    definition = Workflow("waits", [loop])
    parts: list[str] = []
    for where in (env, short):
        async with serving(where, definition) as client:
            run = await client.start(definition, "in")
            live = Watcher(client, run)
            await answer_all(client, run)
            parts.append(shown(await live.end()))
            assert parts[-1] == shown(await told(client, run))
            started = await replay_all(where, run, definition)

    assert 1 < started
    assert parts[0] == parts[1]
    # In each iteration `x` is done four times, once more each for itself and for the Router; of two
    # iterations one is followed by another.
    assert (2, 8, 7) == tuple(
        parts[0].count(each) for each in ("StepError", ".x, StepCompleted", "StepContinued refine.")
    )


async def answer_all(client: HitlClient, run: str) -> None:
    """Reject every first output, retry nothing that failed, and approve all else."""
    seen: list[str] = []
    while not (output := await client.wait(run, seen=seen, timeout=WAIT)).has_ended:
        for asked in output.requirements:
            if asked.id in seen:
                continue
            seen.append(asked.id)
            again = asked.kind == "iteration_review" or getattr(asked, "retries", 1) == 0
            resolution: AnyResolution = Confirm(requirement_id=asked.id)
            match asked:
                case ErrorDecision():
                    resolution = Skip(requirement_id=asked.id)
                case Route():
                    resolution = Select(requirement_id=asked.id, choices=("x",))
                case _ if again:
                    resolution = Reject(requirement_id=asked.id)
                case _:
                    pass
            await client.resolve(run, resolution)


async def test_where_the_beginning_is_gone(short: WorkflowEnvironment) -> None:
    """Where the first execution has been deleted, the stream opens with the run as it stands, and
    goes on with the executions that are there.
    """
    loop = Loop([step("x")], name="work", max_iterations=8)
    definition = Workflow("gone", [loop, step("sign", requires_confirmation=True)])
    async with serving(short, definition) as client:
        run = await client.start(definition, "in")
        await paused(client, run)
        whole = await told(client, run, until_paused=True)
        described = await client.handle(run).describe()
        first = described.raw_description.workflow_execution_info.first_run_id
        assert described.run_id != first
        await delete(short, run, first)
        torn = await told(client, run, until_paused=True)
        await client.resolve(run, Confirm(requirement_id="sign"))
        await ended(client, run)
        await replay_all(short, run, definition)

    opening, *rest = torn
    assert isinstance(opening, RunSnapshotEvent)
    assert ["sign"] == [each.id for each in opening.run_output.requirements]
    assert rest
    assert whole[-len(rest) :] == rest


async def delete(env: WorkflowEnvironment, run: str, execution: str) -> None:
    of = WorkflowExecution(workflow_id=run, run_id=execution)
    request = DeleteWorkflowExecutionRequest(namespace=env.client.namespace, workflow_execution=of)
    await env.client.workflow_service.delete_workflow_execution(request)

    async def is_gone() -> bool:
        try:
            await env.client.get_workflow_handle(run, run_id=execution).describe()
        except RPCError as error:
            return error.status is RPCStatusCode.NOT_FOUND
        return False

    await until(is_gone)


async def test_a_run_that_is_reset(env: WorkflowEnvironment) -> None:
    """Who watches a run while it is reset is told nothing twice, and what is done again as it is
    done; who comes late is told of what counts.
    """
    gates = [step(name, requires_confirmation=True) for name in ("b", "c")]
    definition = Workflow("reset", [step("a"), *gates])
    async with serving(env, definition) as client:
        run = await client.start(definition, "in")
        live = Watcher(client, run)
        await live.until_told("StepPaused b")
        await client.resolve(run, Confirm(requirement_id="b"))
        await live.until_told("StepPaused c")
        before = len(live.events)
        await reset(env, run, "--event-id", await opening(client.handle(run), "b"))
        await live.until_told("StepPaused c, StepOutput a, StepCompleted a, StepPaused b")
        await client.resolve(run, Reject(requirement_id="b"))
        await live.until_told("StepPaused b, StepPaused c")
        await client.resolve(run, Reject(requirement_id="c"))
        events = await live.end()
        late = await told(client, run)
        await replay_all(env, run, definition)

    first = f"{ASKED}, {ENDED.removesuffix('WorkflowCompleted')}StepPaused c"
    assert first == shown(events[:before])
    # The reset undoes the workflow task that took `a` over, and not the one that started it.
    again = "StepOutput a, StepCompleted a, StepPaused b"
    assert f"{again}, StepPaused c, WorkflowCompleted" == shown(events[before:])
    assert f"{ASKED}, StepPaused c, WorkflowCompleted" == shown(late)


@pytest.mark.slow
async def test_another_worker(env: WorkflowEnvironment) -> None:
    """A stream outlives the worker that served its run: it waits for the next one."""
    definition, queue = asking(), new_queue()
    async with contextlib.AsyncExitStack() as first:
        client = await first.enter_async_context(serving(env, definition, queue=queue))
        run = await client.start(definition, "in")
        live = Watcher(client, run)
        await live.until_told("StepPaused b")
    await client.handle(run).signal("resolve", {"requirement_id": "b", "action": "confirm"})
    async with serving(env, definition, queue=queue):
        events = await live.end()
        await replay_all(env, run, definition)

    assert f"{ASKED}, {ENDED}" == shown(events)


async def test_child_runs(env: WorkflowEnvironment) -> None:
    """The events of a child run stand between the start and the output of its step, under its own
    run id; a stream that ends at its question has told it, and one that goes on does so there.
    """
    inner = asking("inner")
    definition = Workflow("outer", [step("x"), Step("child", workflow=inner), step("z")])
    async with serving(env, definition) as client:
        run = await client.start(definition, "in")
        live = Watcher(client, run)
        first = await told(client, run, until_paused=True)
        await live.until_told("StepPaused b")
        now = Watcher(client, run, from_now=True)
        await asyncio.sleep(0.2)
        await client.resolve(f"{run}.child", Confirm(requirement_id="b"))
        events = await live.end()
        of_now = await now.end()
        late = await told(client, run)
        await replay_all(env, run, definition)
        await replay_all(env, f"{run}.child", definition)

    before = "WorkflowStarted, StepStarted x, StepOutput x, StepCompleted x, StepStarted child"
    rest = (
        "StepOutput child, StepCompleted child, StepStarted z, StepOutput z, StepCompleted z,"
        " WorkflowCompleted"
    )
    assert f"{before}, {ASKED}" == shown(first)
    assert f"{before}, {ASKED}, {ENDED}, {rest}" == shown(events) == shown(late)
    assert f"{ENDED}, {rest}".endswith(shown(of_now))
    assert "StepOutput b" in shown(of_now)
    question = next(each for each in events if isinstance(each, StepPausedEvent))
    assert (f"{run}.child", "inner", 1) == (
        question.run_id,
        question.workflow_name,
        question.nested_depth,
    )
    begun = [each for each in events if isinstance(each, StepStartedEvent)]
    assert [None, f"{run}.child", None, None, None] == [each.child_run_id for each in begun]
    assert [1, 0] == [e.nested_depth for e in events if isinstance(e, WorkflowCompletedEvent)]


async def test_more_child_runs_than_are_followed(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many child runs some are told of as they go on, and the others once they have ended, or
    the stream ends.
    """
    monkeypatch.setattr("temporal_hitl._watching.FOLLOWED", 1)
    inner = asking("inner")
    children = [Step(name, workflow=inner) for name in ("one", "two", "three")]
    definition = Workflow("brood", [Parallel(*children, name="all")])
    async with serving(env, definition) as client:
        run = await client.start(definition, "in")
        live = Watcher(client, run)
        await until(lambda: "StepPaused b" in shown(live.events))
        runs = [f"{run}.all.{name}" for name in ("one", "two", "three")]
        for child in runs:
            await until(lambda of=child: asks(client, of))
        first = await told(client, run, until_paused=True)
        before = shown(live.events)
        for child in runs:
            await client.resolve(child, Confirm(requirement_id="b"))
        events = await live.end()
        await replay_all(env, run, definition)

    assert (3, 1) == (shown(first).count("StepPaused b"), before.count("StepPaused b"))
    for child in runs:
        of_child = [each for each in events if each.run_id == child]
        assert f"{ASKED}, {ENDED}" == shown(of_child)


async def asks(client: HitlClient, run: str) -> bool:
    with contextlib.suppress(RunNotFound):
        return bool((await client.requirements(run)).open)
    return False


async def test_a_child_over_many_executions_of_its_parent(short: WorkflowEnvironment) -> None:
    """A child run whose parent continues as new meanwhile is told to its end."""
    loop = Loop([step("x")], name="work", max_iterations=12)
    definition = Workflow("parent", [Parallel(Step("child", workflow=asking()), loop, name="all")])
    async with serving(short, definition) as client:
        run = await client.start(definition, "in")
        live = Watcher(client, run)
        await until(lambda: "LoopExecutionCompleted all.work" in shown(live.events))
        await client.resolve(f"{run}.all.child", Confirm(requirement_id="b"))
        events = await live.end()
        started = await replay_all(short, run, definition)

    assert 1 < started
    of_child = [each for each in events if each.run_id != run]
    assert f"{ASKED}, {ENDED}" == shown(of_child)
    places = [shown([each]) for each in events]
    assert places.index("StepOutput all.child") > places.index("StepOutput b")


async def test_large_contents(env: WorkflowEnvironment) -> None:
    """What is large is told whole, in as many answers as it takes."""
    sizes = [90_000] * 4 + [300_000]
    definition = Workflow(
        "large", [Step(f"s{n}", lambda _, s=s: "x" * s) for n, s in enumerate(sizes)]
    )
    async with serving(env, definition) as client:
        run = await client.start(definition, "in")
        events = await told(client, run)
        await replay_all(env, run, definition)

    contents = [e.step_output.content for e in events if e.event == "StepOutput"]
    assert sizes == [len(each) for each in contents]


async def test_closed_early(env: WorkflowEnvironment) -> None:
    """Who closes a stream follows no longer: no task of its own is left."""
    definition = asking()
    async with serving(env, definition) as client:
        run = await client.start(definition, "in")
        stream = client.watch(run)
        told = [await anext(stream) for _ in range(3)]
        meanwhile = watching()
        await stream.aclose()
        await until(lambda: not watching())
        await client.cancel(run)
        await ended(client, run)
        await replay_all(env, run, definition)

    assert "WorkflowStarted, StepStarted a, StepOutput a" == shown(told)
    assert meanwhile


def watching() -> list[str]:
    """Return the tasks that read journals or follow histories for a stream."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith(("Watching.", "Chronicle."))]


async def test_nothing_to_watch(env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is not there, one that no worker serves, and one written by hand say so."""
    monkeypatch.setattr("temporal_hitl._reach.PATIENCE", timedelta(seconds=0.5))
    definition = asking()
    async with serving(env, definition, workflows=[Desk]) as client:
        by_hand = await client.start("Desk", [])
        unserved = await client.start(definition, "in", task_queue=new_queue())
        with pytest.raises(RunNotFound):
            await told(client, "nowhere")
        with pytest.raises(RunError, match="tells no events"):
            await told(client, by_hand)
        with pytest.raises(NoWorker):
            await told(client, unserved)
