"""An operator resets a run: what was answered before counts no more, and nothing runs on it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, HitlClient, Loop, Parallel, Reject, RunStatus, Step, Workflow
from tests.resets import (
    DOORS,
    UNKNOWN,
    asked,
    executed,
    gated,
    listed,
    load,
    next_task,
    opening,
    pipeline,
    reasons,
    reset,
    send,
    sign,
    tell,
)
from tests.stage import details, ended, paused, replay_all, serving, until

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def nothing_executed() -> None:
    executed.clear()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("before", "way"),
    [
        pytest.param([], "FirstWorkflowTask", id="the first step"),
        pytest.param([Step("load", load)], "FirstWorkflowTask", id="after a step"),
        pytest.param([Step("load", load)], None, id="after a step that is kept"),
    ],
)
async def test_to_before_a_question(
    env: WorkflowEnvironment, door: str, before: list[Step], way: str | None
) -> None:
    """Its answer is refused, the question is open again, and only a new answer goes on."""
    definition = pipeline(*before)
    async with serving(env, definition) as client:
        run = await client.start(definition, "it")
        old = (await paused(client, run)).requirements
        await tell(client, run, "sign", door)
        await asked(client, run, "send")
        handle = client.handle(run)
        point = await opening(handle, "sign")
        await reset(env, run, *(["--type", way] if way else ["--event-id", point]))
        again = await asked(client, run, "sign")
        await listed(client, run, "sign")
        shown = await details(handle)
        done = executed.count("sign")
        await tell(client, run, "sign", door)
        await asked(client, run, "send")
        await client.resolve(run, Confirm(requirement_id="send"))
        output = await ended(client, run)
        started = await replay_all(env, run, definition)

    assert [UNKNOWN.format(key="sign")] == reasons(again) == reasons(output)
    assert '"decision_id": "d-sign"' in again.refused[0].payload
    assert ([], RunStatus.paused) == (again.resolutions, again.status)
    assert [each.message for each in old] == [each.message for each in again.requirements]
    assert old[0].created_at < again.requirements[0].created_at
    assert "1 answers were refused" in shown
    assert (1, 2, 1) == (done, executed.count("sign"), executed.count("send"))
    assert ["sign", "send"] == [each.requirement_id for each in output.resolutions]
    assert 2 == started


@pytest.mark.parametrize("door", DOORS)
async def test_after_the_end(env: WorkflowEnvironment, door: str) -> None:
    """A run that has ended is asked anew, is listed, and does nothing on its earlier answers."""
    definition = pipeline(Step("load", load))
    async with serving(env, definition) as client:
        run = await client.start(definition, "it")
        for key in ("sign", "send"):
            await asked(client, run, key)
            await tell(client, run, key, door)
        await ended(client, run)
        await reset(env, run, "--event-id", await opening(client.handle(run), "sign"))
        again = await asked(client, run, "sign")
        await listed(client, run, "sign")
        await client.resolve(run, Reject(requirement_id="sign"))
        second = await asked(client, run, "send")
        await client.resolve(run, Reject(requirement_id="send"))
        output = await ended(client, run)
        await listed(client, run)
        await replay_all(env, run, definition)

    assert [UNKNOWN.format(key=key) for key in ("sign", "send")] == reasons(again)
    assert ["load", "sign", "send"] == executed
    assert ["load"] == [each.step_name for each in second.step_results]
    assert ["reject", "reject"] == [each.action for each in output.resolutions]


@pytest.mark.parametrize(("door", "left_out"), [("update", "Update"), ("signal", "Signal")])
async def test_earlier_answers_left_out(env: WorkflowEnvironment, door: str, left_out: str) -> None:
    """With `--reapply-exclude` an earlier answer is not delivered, and so not refused either."""
    definition = pipeline()
    async with serving(env, definition) as client:
        run = await client.start(definition, "it")
        await paused(client, run)
        await tell(client, run, "sign", door)
        await asked(client, run, "send")
        await reset(env, run, "--type", "FirstWorkflowTask", "--reapply-exclude", left_out)
        again = await asked(client, run, "sign")
        await tell(client, run, "sign", door)
        await asked(client, run, "send")
        await client.cancel(run)
        await ended(client, run)
        await replay_all(env, run, definition)

    assert ([], []) == (again.refused, again.resolutions)
    assert ["sign", "sign"] == executed


async def test_answered_several_times(env: WorkflowEnvironment) -> None:
    """Whatever came for a question, by both doors and again, is refused each time that it came."""
    definition = pipeline()
    async with serving(env, definition) as client:
        run = await client.start(definition, "it")
        await paused(client, run)
        for door in ("update", "signal", "signal"):
            await tell(client, run, "sign", door)
        await client.handle(run).signal("reject", "sign")
        await asked(client, run, "send")
        await reset(env, run, "--type", "FirstWorkflowTask")
        again = await asked(client, run, "sign")
        await client.cancel(run)
        await ended(client, run)
        await replay_all(env, run, definition)

    assert ["reject", "resolve", "resolve", "resolve"] == sorted(
        each.door for each in again.refused
    )
    assert {UNKNOWN.format(key="sign")} == set(reasons(again))
    assert ["sign"] == executed


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("left_out", [None, "All"])
async def test_to_after_a_question(
    env: WorkflowEnvironment, door: str, left_out: str | None
) -> None:
    """Where the question stays open it is the same, so its answer counts, unless left out."""
    definition = pipeline(Step("load", load))
    async with serving(env, definition) as client:
        run = await client.start(definition, "it")
        old = (await paused(client, run)).requirements
        await tell(client, run, "sign", door)
        await asked(client, run, "send")
        handle = client.handle(run)
        point = await next_task(handle, await opening(handle, "sign"))
        exclude = [] if left_out is None else ["--reapply-exclude", left_out]
        await reset(env, run, "--event-id", point, *exclude)
        # What was signalled before the task that handled it stays in the run's history.
        counts = left_out is None or door == "signal"
        output = await asked(client, run, "send" if counts else "sign")
        await client.cancel(run)
        await ended(client, run)
        await replay_all(env, run, definition)

    assert [] == output.refused
    assert ([("ana", door)] if counts else []) == [
        (each.resolved_by, each.door) for each in output.resolutions
    ]
    assert counts or old == output.requirements
    assert ["load", "sign", *(["sign"] if counts else [])] == executed


@pytest.mark.parametrize("door", DOORS)
async def test_to_the_last_task(env: WorkflowEnvironment, door: str) -> None:
    """A reset to the last task keeps the decisions before it, and asks its question again."""
    definition = pipeline()
    async with serving(env, definition) as client:
        run = await client.start(definition, "it")
        await paused(client, run)
        await tell(client, run, "sign", door)
        old = await asked(client, run, "send")
        await reset(env, run, "--type", "LastWorkflowTask")
        again = await until(lambda: is_another(client, run, old.execution_id))
        await listed(client, run, "send")
        await client.resolve(run, Confirm(requirement_id="send"))
        output = await ended(client, run)
        await replay_all(env, run, definition)

    assert (old.resolutions, []) == (again.resolutions, again.refused)
    assert ["sign", "send"] == executed == [each.requirement_id for each in output.resolutions]


async def is_another(client: HitlClient, run: str, execution: str | None) -> Any:
    output = await client.get(run)
    return output if output.requirements and output.execution_id != execution else None


@pytest.mark.parametrize("to", ["before", "after"])
async def test_a_deadline_that_had_acted(env: WorkflowEnvironment, to: str) -> None:
    """To before its question the deadline counts from the reset; to after it, it acts as it did."""
    definition = pipeline(Step("load", load), hitl_timeout=HOUR, on_timeout="skip")
    async with serving(env, definition) as client:
        run = await client.start(definition, "it")
        handle = client.handle(run)
        old = (await paused(client, run)).requirements[0]
        await env.fast_forward(handle, HOUR)
        first = (await asked(client, run, "send")).resolutions[0]
        point = await opening(handle, "sign")
        await reset(
            env, run, "--event-id", point if to == "before" else await next_task(handle, point)
        )
        again = (await asked(client, run, "sign")).requirements[0] if to == "before" else old
        if to == "before":
            await env.fast_forward(handle, HOUR)
        output = await asked(client, run, "send")
        await client.cancel(run)
        await ended(client, run)
        await replay_all(env, run, definition)

    (record,) = output.resolutions
    assert again.deadline is not None
    assert ("sign", HOUR) == (again.id, again.deadline - again.created_at)
    assert (again == old) == (to == "after")
    assert ("time_out", "timeout") == (record.action, record.decided_by)
    assert again.deadline <= record.resolved_at
    assert first.resolved_at < record.resolved_at
    assert ["load"] == executed


async def test_a_deadline_that_has_passed(env: WorkflowEnvironment) -> None:
    """An answer delivered again after its deadline is late, or refused where that is strict."""
    # A reset takes skipped time back, so this deadline is waited for.
    usual, strict = (
        Workflow(name, pipeline(hitl_timeout=2, on_timeout="skip", strict_deadline=strict).steps)
        for name, strict in (("usual", False), ("strict", True))
    )
    async with serving(env, usual, strict) as client:

        async def delivered_again(definition: Workflow) -> Any:
            run = await client.start(definition, "it")
            old = (await paused(client, run)).requirements[0]
            await tell(client, run, "sign", "update")
            await asked(client, run, "send")
            handle = client.handle(run)
            point = await next_task(handle, await opening(handle, "sign"))
            assert old.deadline is not None
            due = old.deadline
            await until(lambda: datetime.now(UTC) > due)
            await reset(env, run, "--event-id", point)
            output = await asked(client, run, "send")
            await client.cancel(run)
            await ended(client, run)
            await replay_all(env, run, definition)
            (record,) = output.resolutions
            assert due <= record.resolved_at
            return record.action, record.late, any("strictly" in each for each in reasons(output))

        found = await asyncio.gather(delivered_again(usual), delivered_again(strict))

    assert [("confirm", True, False), ("time_out", False, True)] == found


@pytest.mark.parametrize("door", DOORS)
async def test_to_between_two_questions(env: WorkflowEnvironment, door: str) -> None:
    """The first question's decision stands; the second's answer is refused, though it follows."""
    # A question that is left out leads to the next one at once, within one workflow task.
    definition = pipeline()
    no = Reject(requirement_id="sign", decision_id="no")
    async with serving(env, definition) as client:
        run = await client.start(definition, "it")
        await paused(client, run)
        await tell(client, run, "sign", door, no)
        await asked(client, run, "send")
        await tell(client, run, "send", door)
        await ended(client, run)
        before = list(executed)
        await reset(env, run, "--event-id", await opening(client.handle(run), "send"))
        again = await asked(client, run, "send")
        await client.cancel(run)
        await ended(client, run)
        await replay_all(env, run, definition)

    (refused,) = reasons(again)
    assert refused.startswith("this run has no requirement 'send'")
    assert [("sign", "reject")] == [(e.requirement_id, e.action) for e in again.resolutions]
    assert ["send"] == before == executed


async def test_in_a_loop(env: WorkflowEnvironment) -> None:
    """A reset into a loop keeps the iterations before; later ones are asked again, one by one."""
    loop = Loop([gated("sign", sign)], name="refine", max_iterations=3)
    definition = Workflow("rounds", [loop])
    keys = [f"refine.{number}.sign" for number in (1, 2, 3)]
    async with serving(env, definition) as client:
        run = await client.start(definition, "it")
        for key, door in zip(keys, ["update", "signal", "update"], strict=True):
            await asked(client, run, key)
            await tell(client, run, key, door)
        await ended(client, run)
        await reset(env, run, "--event-id", await opening(client.handle(run), keys[1]))
        again = await asked(client, run, keys[1])
        await client.resolve(run, Confirm(requirement_id=keys[1]))
        still = await asked(client, run, keys[2])
        await client.resolve(run, Confirm(requirement_id=keys[2]))
        output = await ended(client, run)
        await replay_all(env, run, definition)

    assert [UNKNOWN.format(key=key) for key in keys[1:]] == sorted(reasons(again))
    assert keys[:1] == [each.requirement_id for each in again.resolutions]
    assert keys[:2] == [each.requirement_id for each in still.resolutions]
    assert ["ana", None, None] == [each.resolved_by for each in output.resolutions]
    assert 3 + 2 == len(executed)


@pytest.mark.parametrize("door", DOORS)
async def test_in_a_parallel(env: WorkflowEnvironment, door: str) -> None:
    """With one branch answered and one open, a reset to before both has both open again."""
    both = Parallel(gated("sign", sign), gated("send", send), name="both")
    definition = Workflow("wide", [Step("load", load), both])
    async with serving(env, definition) as client:
        run = await client.start(definition, "it")
        await asked(client, run, "both.sign", "both.send")
        await tell(client, run, "both.sign", door)
        await until(lambda: "sign" in executed)
        await reset(env, run, "--event-id", await opening(client.handle(run), "both.sign"))
        again = await asked(client, run, "both.sign", "both.send")
        await listed(client, run, "both.sign", "both.send")
        for key in ("both.sign", "both.send"):
            await client.resolve(run, Confirm(requirement_id=key))
        output = await ended(client, run)
        await replay_all(env, run, definition)

    assert [UNKNOWN.format(key="both.sign")] == reasons(again)
    assert ["load", "send", "sign", "sign"] == sorted(executed)
    assert [None, None] == [each.resolved_by for each in output.resolutions]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("to", ["first", "last"])
async def test_after_continuing_as_new(short: WorkflowEnvironment, door: str, to: str) -> None:
    """Answers are found in later executions too; in one that began with the question they count."""
    loop = Loop([Step("load", load)], name="work", max_iterations=18)
    wide = Parallel(gated("sign", sign), loop, name="all")
    definition = Workflow("long", [wide, gated("send", send)])
    async with serving(short, definition) as client:
        run = await client.start(definition, "it")
        began = (await client.handle(run).describe()).run_id
        await until(lambda: is_idle(client, run))
        await tell(client, run, "all.sign", door)
        await asked(client, run, "send")
        where = ["--run-id", began] if to == "first" else []
        await reset(short, run, *where, "--type", "FirstWorkflowTask")
        output = await asked(client, run, "all.sign" if to == "first" else "send")
        await listed(client, run, "all.sign" if to == "first" else "send")
        await client.cancel(run)
        await ended(client, run)
        started = await replay_all(short, run, definition)

    counted = [each.requirement_id for each in output.resolutions]
    first = ([], [UNKNOWN.format(key="all.sign")], 1)
    last = (["all.sign"], [], 2)
    assert (first if to == "first" else last) == (
        counted,
        reasons(output),
        executed.count("sign"),
    )
    assert 3 < started


async def is_idle(client: HitlClient, run: str) -> Any:
    output = await client.get(run)
    done = [each for each in output.inner_results if each.step_name == "work"]
    return done and not output.running
