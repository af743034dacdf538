"""A deploy lacks code that a paused run needs: the run waits, says so, and goes on by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, Worker

from temporal_hitl import (
    Condition,
    Confirm,
    DefinitionError,
    HitlClient,
    HitlPlugin,
    Loop,
    Parallel,
    Reject,
    RunStatus,
    Step,
    Workflow,
)
from temporal_hitl._attributes import HITL_STATUS, HITL_TAGS
from temporal_hitl.workflow import BLOCKED_KEY
from tests.stage import cli, details, ended, new_queue, paused, replay_all, replays, serving, until

NAME = "release"
SOON = timedelta(seconds=2)
"""After how long the server gives a workflow task out again that nobody could do."""
executed: list[str] = []


def load() -> str:
    return "loaded"


def redact() -> str:
    executed.append("redact")
    return "redacted"


def is_large() -> bool:
    return True


class NotFoundError(Exception):
    """An author's own class of the name that the SDK uses for a missing activity."""


def miss() -> None:
    raise NotFoundError("no such customer")


def whole(**options: Any) -> Workflow:
    gated = Step("load", load, requires_confirmation=True)
    return Workflow(NAME, [gated, Step("redact", redact, **options)])


def without_redact() -> Workflow:
    return Workflow(NAME, [Step("load", load)])


async def blocked(client: HitlClient, run: str) -> Any:
    """Return the run once it is blocked."""

    async def look() -> Any:
        output = await client.get(run)
        return output if output.blocked else None

    return await until(look)


async def memo_of(handle: WorkflowHandle[Any, Any]) -> Any:
    return (await (await handle.describe()).memo()).get(BLOCKED_KEY)


@pytest.mark.parametrize(
    "options", [{"on_error": "fail"}, {"on_error": "skip", "max_retries": 0}], ids=str
)
async def test_a_step_that_no_worker_has(env: WorkflowEnvironment, options: dict[str, Any]) -> None:
    """A step that the workers lack counts no attempt, and is not skipped: it runs later."""
    executed.clear()
    queue = new_queue()
    async with serving(env, whole(**options), queue=queue) as client:
        run = await client.start(NAME)
        await paused(client, run)
    async with serving(env, without_redact(), queue=queue) as client:
        await client.resolve(run, Confirm(requirement_id="load"))
        seen = await blocked(client, run)
        handle = client.handle(run)
        shown, memo = await details(handle), await memo_of(handle)
        described = await handle.describe()
        await env.fast_forward(handle, timedelta(minutes=2))
        still = await blocked(client, run)
    async with serving(env, whole(**options), queue=queue) as client:
        await env.fast_forward(handle, timedelta(minutes=10))
        output = await ended(client, run)

    activity = f"{NAME}.redact"
    attributes = described.typed_search_attributes
    assert (RunStatus.blocked, {"redact": activity}) == (seen.status, seen.blocked)
    assert still.blocked == seen.blocked
    assert f"no worker has `{activity}`" in shown
    assert [activity] == memo
    assert ("blocked", ["blocked"]) == (attributes[HITL_STATUS], attributes[HITL_TAGS])
    assert (RunStatus.completed, "redacted", {}) == (output.status, output.content, output.blocked)
    assert ["redact"] == executed
    assert [True, True] == [each.success for each in output.step_results]
    assert await memo_of(handle) is None
    await replays(handle, whole(**options))


async def test_an_evaluator_that_is_gone(env: WorkflowEnvironment) -> None:
    """A plan that names an evaluator which no worker has waits for it as for a step."""
    gated = Step("load", load, requires_confirmation=True)
    old = Workflow(NAME, [gated, Condition([Step("redact", redact)], is_large, name="size")])
    queue = new_queue()
    async with serving(env, old, queue=queue) as client:
        run = await client.start(NAME)
        await paused(client, run)
    async with serving(env, whole(), queue=queue) as client:
        await client.resolve(run, Confirm(requirement_id="load"))
        seen = await blocked(client, run)
    async with serving(env, old, queue=queue) as client:
        await env.fast_forward(client.handle(run), timedelta(minutes=10))
        output = await ended(client, run)

    assert {"size.evaluator": f"{NAME}.size.evaluator"} == seen.blocked
    assert (RunStatus.completed, "redacted") == (output.status, output.content)
    await replays(client.handle(run), old)


async def test_beside_an_open_gate(env: WorkflowEnvironment) -> None:
    """While one branch is blocked the others go on; the run is listed as waiting for a person."""
    first = Step("load", load, requires_confirmation=True)
    sign = Step("sign", load, requires_confirmation=True)
    old = Workflow(NAME, [first, Parallel(Step("redact", redact), sign, name="both")])
    new = Workflow(NAME, [Step("load", load), Step("sign", load)])
    queue = new_queue()
    async with serving(env, old, queue=queue) as client:
        run = await client.start(NAME)
        await paused(client, run)
    async with serving(env, new, queue=queue) as client:
        await client.resolve(run, Confirm(requirement_id="load"))
        await blocked(client, run)
        waiting = await paused(client, run)
        handle = client.handle(run)
        attributes = (await handle.describe()).typed_search_attributes
        await client.resolve(run, Confirm(requirement_id="both.sign"))
    async with serving(env, old, queue=queue) as client:
        await env.fast_forward(handle, timedelta(minutes=10))
        output = await ended(client, run)

    assert (RunStatus.paused, ["both.redact"]) == (waiting.status, list(waiting.blocked))
    assert "pending" == attributes[HITL_STATUS]
    assert ["blocked", "kind:confirmation"] == sorted(attributes[HITL_TAGS])
    assert {"redact": "redacted", "sign": "loaded"} == output.content
    await replays(handle, old)


async def test_blocked_while_it_continues_as_new(short: WorkflowEnvironment) -> None:
    """A run that continues as new while blocked stays blocked, and shows it no longer than so."""
    queue = new_queue()
    first = Step("load", load, requires_confirmation=True)
    loop = Loop([Step("again", load)], name="work", max_iterations=18)
    lacking = Workflow(NAME, [Step("load", load), Step("again", load)])
    definition = Workflow(NAME, [first, Parallel(Step("redact", redact), loop, name="both")])
    async with serving(short, definition, queue=queue) as client:
        run = await client.start(NAME)
        await paused(client, run)
    async with serving(short, lacking, queue=queue) as client:
        await client.resolve(run, Confirm(requirement_id="load"))
        handle = client.handle(run)
        began = (await handle.describe()).run_id

        async def later_and_blocked() -> Any:
            seen = await client.get(run)
            done = "work" in [each.step_name for each in seen.inner_results]
            return seen if done and seen.blocked and seen.execution_id != began else None

        seen = await until(later_and_blocked)
        # A new execution tries first, and says that it is blocked a moment later.
        memo = await until(lambda: memo_of(handle))
    async with serving(short, definition, queue=queue) as client:
        await short.fast_forward(handle, timedelta(minutes=10))
        output = await ended(client, run)
        started = await replay_all(short, run, definition)

    assert {"both.redact": f"{NAME}.redact"} == seen.blocked
    assert [f"{NAME}.redact"] == memo
    assert (RunStatus.completed, "redacted") == (output.status, output.content["redact"])
    assert await memo_of(handle) is None
    assert HITL_STATUS not in (await handle.describe()).typed_search_attributes
    assert 1 < started


async def test_cancelled_while_blocked(env: WorkflowEnvironment) -> None:
    """A run that is blocked can be cancelled at once."""
    queue = new_queue()
    async with serving(env, whole(), queue=queue) as client:
        run = await client.start(NAME)
        await paused(client, run)
    async with serving(env, without_redact(), queue=queue) as client:
        await client.resolve(run, Confirm(requirement_id="load"))
        await blocked(client, run)
        await client.cancel(run)
        output = await ended(client, run)

    assert RunStatus.cancelled is output.status
    await replays(client.handle(run), whole())


async def test_a_retired_pipeline(env: WorkflowEnvironment) -> None:
    """A retired name serves runs that wait, to their end or to a step, and starts no new one."""
    queue = new_queue()
    definition = Workflow(NAME, [Step("load", load, requires_confirmation=True)])
    async with serving(env, definition, queue=queue) as client:
        left_out, goes_on = [await client.start(NAME) for _ in range(2)]
        for run in (left_out, goes_on):
            await paused(client, run)
    plugin = HitlPlugin(retired=[NAME])
    async with Worker(env.client, task_queue=queue, plugins=[plugin]):
        await client.resolve(left_out, Reject(requirement_id="load"))
        rejected = await ended(client, left_out)
        await client.resolve(goes_on, Confirm(requirement_id="load"))
        waiting = await blocked(client, goes_on)
        fresh = await ended(client, await client.start(NAME))

    assert RunStatus.completed is rejected.status
    assert {"load": f"{NAME}.load"} == waiting.blocked
    assert RunStatus.error is fresh.status
    assert "retired" in (fresh.error or "")
    await Replayer(workflows=[], plugins=[plugin]).replay_workflow(
        await client.handle(left_out).fetch_history()
    )


def test_retired_and_served() -> None:
    """A name cannot be both served and retired."""
    with pytest.raises(DefinitionError, match=NAME):
        HitlPlugin(workflows=[whole()], retired=[NAME])


@pytest.mark.parametrize("on_error", ["skip", "fail"])
async def test_an_authors_own_exception_of_that_name(
    env: WorkflowEnvironment, on_error: str
) -> None:
    """An executor that raises a `NotFoundError` of its own fails as ever: nothing is blocked."""
    failing = Step("miss", miss, max_retries=0, on_error=on_error)
    definition = Workflow(NAME, [failing, Step("load", load)])
    async with serving(env, definition) as client:
        run = await client.start(NAME)
        output = await ended(client, run)

    told = "tests.test_blocked.NotFoundError: no such customer"
    if on_error == "skip":
        assert (RunStatus.completed, "loaded") == (output.status, output.content)
        assert told == output.step_results[0].error
    else:
        assert (RunStatus.error, []) == (output.status, output.step_results)
        assert "no such customer" in str(output.error)
        assert "tests.test_blocked.NotFoundError" == output.error_type
    assert {} == output.blocked
    await replays(client.handle(run), definition)


@pytest.mark.parametrize("when", ["paused", "new"])
async def test_a_workflow_type_that_no_worker_has(env: WorkflowEnvironment, when: str) -> None:
    """A run whose workflow type the workers lack goes on by itself once one has it."""
    executed.clear()
    queue = new_queue()
    other = Workflow("other", [Step("load", load)])
    async with serving(env, whole(), queue=queue) as client:
        run = await client.start(NAME, task_timeout=SOON) if when == "paused" else None
        if run is not None:
            await paused(client, run)
    async with serving(env, other, queue=queue):
        run = run or await client.start(NAME, task_timeout=SOON)
        # A signal needs no worker that understands it; an update would be told that there is none.
        await client.handle(run).signal("confirm", "load")
        described = await until(lambda: failed_task(env, run))
        beside = await ended(client, await client.start("other"))
    async with serving(env, whole(), queue=queue):
        if when == "new":
            # What is told before there is a question is refused.
            await paused(client, run)
            await client.resolve(run, Confirm(requirement_id="load"))
        output = await ended(client, run)

    assert NAME in described
    assert "loaded" == beside.content
    assert (RunStatus.completed, "redacted") == (output.status, output.content)
    assert (1 if when == "new" else 0) == len(output.refused)
    assert ["redact"] == executed
    await replays(client.handle(run), whole())


async def failed_task(env: WorkflowEnvironment, run: str) -> str | None:
    """Return why the run's workflow task failed, as an operator finds it."""
    _, told, _ = await cli(env, "workflow", "show", "--workflow-id", run, "-o", "json")
    events = [each.get("workflowTaskFailedEventAttributes") for each in told["events"]]
    failures = [each["failure"]["message"] for each in events if each]
    return failures[-1] if failures else None
