"""A pipeline is defined again in the same process, as a notebook does, while it runs."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from temporalio import activity

from temporal_hitl import RunStatus, SqliteDb, Step, StepInput, Workflow
from temporal_hitl.events import SourceChanged
from tests.stage import WAIT, embedded_client, replays, until


def fetch(step_input: StepInput) -> str:
    return f"{step_input.input} fetched"


def gently(step_input: StepInput) -> str:
    return f"{step_input.previous_step_content} gently"


def fast(step_input: StepInput) -> str:
    return f"{step_input.previous_step_content} fast"


async def on_the_loop(step_input: StepInput) -> str:
    await asyncio.sleep(0)
    return f"{step_input.previous_step_content} on the loop"


def asking(db: SqliteDb, executor: Callable[..., Any], message: str = "Go on?") -> Workflow:
    """Return the pipeline `cell`, whose second step asks first."""
    gated = Step("work", executor, requires_confirmation=True, confirmation_message=message)
    return Workflow("cell", [Step("fetch", fetch), gated], db=db)


async def replayed(db: SqliteDb, workflow: Workflow, *run_ids: str) -> None:
    async with embedded_client(db) as client:
        for run_id in run_ids:
            await replays(client.handle(run_id), workflow)


async def test_functions_of_unchanged_names(embedded: SqliteDb) -> None:
    """They are replaced in place: new ones are served while a step of the old ones runs."""
    begun, go, executions = threading.Event(), threading.Event(), list[str]()

    def slow(step_input: StepInput) -> str:
        executions.append("slow")
        begun.set()
        assert go.wait(WAIT)
        return "slow"

    def quick(step_input: StepInput) -> str:
        executions.append("quick")
        return "quick"

    before = Workflow("in_place", [Step("work", slow)], db=embedded)
    running = asyncio.create_task(before.arun("data"))
    await until(begun.is_set)
    again = Workflow("in_place", [Step("work", quick)], db=embedded)
    second = await asyncio.wait_for(again.arun("data"), WAIT)
    meanwhile = running.done()
    go.set()
    first = await asyncio.wait_for(running, WAIT)

    assert not meanwhile
    assert executions == ["slow", "quick"]
    assert (first.content, second.content) == ("slow", "quick")
    assert [] == first.events == second.events
    await replayed(embedded, again, first.run_id, second.run_id)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_new_step(embedded: SqliteDb, kind: str) -> None:
    """The worker drains and restarts for it: a step that runs meanwhile ends, and runs once."""
    begun, executions = threading.Event(), list[str]()

    def slow(step_input: StepInput) -> str:
        executions.append("slow")
        begun.set()
        activity.wait_for_worker_shutdown_sync(WAIT)
        return f"slow, drained: {activity.is_worker_shutdown()}"

    async def slow_on_the_loop(step_input: StepInput) -> str:
        executions.append("slow")
        begun.set()
        await asyncio.wait_for(activity.wait_for_worker_shutdown(), WAIT)
        return f"slow, drained: {activity.is_worker_shutdown()}"

    def more(step_input: StepInput) -> str:
        executions.append("more")
        return "more"

    name = f"grown_{kind}"
    work = Step("work", slow if kind == "sync" else slow_on_the_loop)
    running = asyncio.create_task(Workflow(name, [work], db=embedded).arun("data"))
    await until(begun.is_set)
    again = Workflow(name, [Step("work", fast), Step("more", more)], db=embedded)
    second = await asyncio.wait_for(again.arun("data"), WAIT)
    first = await asyncio.wait_for(running, WAIT)

    assert executions == ["slow", "more"]
    assert (first.content, second.content) == ("slow, drained: True", "more")
    assert [[each.step_name for each in output.step_results] for output in (first, second)] == [
        ["work"],
        ["work", "more"],
    ]
    await replayed(embedded, again, first.run_id, second.run_id)


async def test_a_run_that_waits_meanwhile(embedded: SqliteDb) -> None:
    """It goes on with its own plan and the new functions, and says which of them are others."""
    before = await asking(embedded, gently, "Gently?").arun("data")
    again = asking(embedded, fast, "Fast?")
    after = await again.arun("data")
    for draft in (*before.steps_requiring_confirmation, *after.steps_requiring_confirmation):
        draft.confirm()
    first, second = await again.acontinue_run(before), await again.acontinue_run(after)

    assert [each.requirements[0].message for each in (before, after)] == ["Gently?", "Fast?"]
    assert [first.content, second.content] == ["data fetched fast"] * 2
    assert [("work", f"{__name__}.fast")] == [
        (each.path, each.executor) for each in first.events if isinstance(each, SourceChanged)
    ]
    assert (len(first.events), second.events) == (1, [])
    await replayed(embedded, again, first.run_id, second.run_id)


async def test_steps_that_are_no_longer_there(embedded: SqliteDb) -> None:
    """A run that waits keeps the steps that the new definition has no more."""
    before = await asking(embedded, gently).arun("data")
    again = Workflow("cell", [Step("only", fetch)], db=embedded)
    after = await again.arun("data")
    before.steps_requiring_confirmation[0].confirm()
    first = await again.acontinue_run(before)

    assert ("data fetched", RunStatus.completed) == (after.content, after.status)
    assert (first.content, first.events) == ("data fetched gently", [])
    await replayed(embedded, again, first.run_id, after.run_id)


async def test_sync_becomes_async_and_back(embedded: SqliteDb) -> None:
    """A function on the loop takes the place of one in a thread, and the other way round."""
    waiting = await asking(embedded, gently).arun("data")
    contents: list[Any] = []
    again = asking(embedded, gently)
    for executor in (on_the_loop, fast, functools.partial(on_the_loop), gently):
        again = asking(embedded, executor)
        output = await again.arun("data")
        output.steps_requiring_confirmation[0].confirm()
        contents.append((await again.acontinue_run(output)).content)
    waiting.steps_requiring_confirmation[0].confirm()
    first = await asking(embedded, on_the_loop).acontinue_run(waiting)

    assert [content.removeprefix("data fetched ") for content in contents] == [
        "on the loop",
        "fast",
        "on the loop",
        "gently",
    ]
    assert (first.content, len(first.events)) == ("data fetched on the loop", 1)
    await replayed(embedded, again, first.run_id)


async def test_the_same_cell_twice(embedded: SqliteDb) -> None:
    """Defining the same pipeline again changes nothing for a run that waits."""
    before = await asking(embedded, gently).arun("data")
    again = asking(embedded, gently)
    before.steps_requiring_confirmation[0].confirm()
    output = await again.acontinue_run(before)

    assert (output.content, output.events) == ("data fetched gently", [])
    await replayed(embedded, again, output.run_id)
