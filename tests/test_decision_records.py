"""A decision that comes again, in every situation and by both doors: one record, and a verdict."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Confirm,
    HitlClient,
    Loop,
    Parallel,
    Reject,
    ResolutionRecord,
    Step,
    Workflow,
)
from temporal_hitl._ledger import RECORDS_KEPT
from temporal_hitl.errors import AlreadyResolved, DecisionConflict, UnknownRequirement
from tests.stage import cli, ended, paused, replay_all, replays, serving, until

DOORS = ["update", "signal"]
KEY = "all.sign"


def work() -> str:
    return "done"


def gated(name: str) -> Step:
    return Step(name, work, requires_confirmation=True)


def pipeline(*beside: Any) -> Workflow:
    """Asks `all.sign` and `all.last` at once, so that it waits on when one is answered."""
    return Workflow("records", [Parallel(gated("sign"), gated("last"), *beside, name="all")])


def yes(**over: Any) -> Confirm:
    return Confirm(requirement_id=KEY, resolved_by="ana", decision_id=uuid.uuid4().hex, **over)


async def send(client: HitlClient, run: str, decision: Any, door: str) -> ResolutionRecord | None:
    """Send a decision by one door; by update it returns the record."""
    if door == "update":
        return await client.resolve(run, decision)
    await client.handle(run).signal("resolve", decision.model_dump(mode="json"))
    return None


async def recorded(client: HitlClient, run: str) -> ResolutionRecord:
    """Return the record of the one decision, once it is there."""

    async def look() -> Any:
        return (await client.requirements(run, resolved=True)).resolved

    (record,) = await until(look)
    return record


async def finish(client: HitlClient, run: str) -> Any:
    """Answer what is left, and return how the run ended."""
    for each in (await client.requirements(run)).open:
        await client.resolve(run, Reject(requirement_id=each.id))
    return await ended(client, run)


@pytest.mark.parametrize("second", DOORS)
@pytest.mark.parametrize("first", DOORS)
async def test_repeated(env: WorkflowEnvironment, first: str, second: str) -> None:
    """The same decision by either door, twice and more, is one, and no copy of it is refused."""
    definition, decision = pipeline(), yes()
    async with serving(env, definition) as client:
        run = await client.start(definition)
        await paused(client, run)
        await send(client, run, decision, first)
        record = await recorded(client, run)
        again = [await send(client, run, decision, second) for _ in range(2)]
        output = await finish(client, run)

    assert (first, decision) == (record.door, record.resolution)
    assert [record if second == "update" else None] * 2 == again
    assert record == output.resolutions[0]
    assert [KEY, "all.last"] == [each.requirement_id for each in output.resolutions]
    assert [] == output.refused
    await replays(client.handle(run), definition)


@pytest.mark.parametrize("second", DOORS)
@pytest.mark.parametrize("first", DOORS)
async def test_another_body(env: WorkflowEnvironment, first: str, second: str) -> None:
    """The same decision id with another body is refused: in the call, or among the refused."""
    definition, decision = pipeline(), yes()
    other = Reject(requirement_id=KEY, resolved_by="bo", decision_id=decision.decision_id)
    async with serving(env, definition) as client:
        run = await client.start(definition)
        await paused(client, run)
        await send(client, run, decision, first)
        record = await recorded(client, run)
        if second == "update":
            with pytest.raises(DecisionConflict, match="ana decided 'confirm'") as caught:
                await client.resolve(run, other)
            assert record.model_dump(mode="json") == caught.value.record
        else:
            await send(client, run, other, "signal")
        output = await finish(client, run)

    told = [each.reason for each in output.refused]
    assert (1 if second == "signal" else 0) == len(told)
    assert all("was used for another decision" in each and "ana decided" in each for each in told)
    assert record == output.resolutions[0]
    await replays(client.handle(run), definition)


@pytest.mark.parametrize("second", DOORS)
@pytest.mark.parametrize("first", DOORS)
async def test_after_continuing_as_new(short: WorkflowEnvironment, first: str, second: str) -> None:
    """A decision of one execution is known in the next: a repeat is one, another body refused."""
    loop = Loop([Step("tick", work)], name="work", max_iterations=18)
    definition, decision = pipeline(loop), yes()
    other = Reject(requirement_id=KEY, decision_id=decision.decision_id)
    async with serving(short, definition) as client:
        run = await client.start(definition)
        await until(lambda: is_asked(client, run))
        await send(client, run, decision, first)
        record = await recorded(client, run)
        made_in = (await client.get(run)).execution_id
        later = await until(lambda: is_quiet(client, run))
        again = await send(client, run, decision, second)
        if second == "update":
            with pytest.raises(DecisionConflict):
                await client.resolve(run, other)
        else:
            await send(client, run, other, "signal")
        output = await finish(client, run)
        started = await replay_all(short, run, definition)

    assert made_in != later.execution_id
    assert (record if second == "update" else None) == again
    assert record == output.resolutions[0]
    assert ["was used for another decision" in each.reason for each in output.refused] == (
        [True] if second == "signal" else []
    )
    assert 1 < started


async def is_asked(client: HitlClient, run: str) -> bool:
    return KEY in [each.id for each in (await client.get(run)).requirements]


async def is_quiet(client: HitlClient, run: str) -> Any:
    output = await client.get(run)
    done = [each for each in output.inner_results if each.step_name == "work"]
    return output if done and not output.running else None


@pytest.mark.parametrize("first", DOORS)
async def test_after_the_end(env: WorkflowEnvironment, first: str) -> None:
    """By update a repeat is told the record, and others who won; a signal is told that it ended."""
    definition, decision = pipeline(), yes()
    other = Reject(requirement_id=KEY, decision_id=decision.decision_id)
    async with serving(env, definition) as client:
        run = await client.start(definition)
        await paused(client, run)
        await send(client, run, decision, first)
        record = await recorded(client, run)
        await finish(client, run)
        again = await client.resolve(run, decision)
        with pytest.raises(DecisionConflict, match="ana decided 'confirm'"):
            await client.resolve(run, other)
        with pytest.raises(AlreadyResolved, match="ana decided 'confirm'"):
            await client.resolve(run, yes())
        with pytest.raises(UnknownRequirement, match="it never had"):
            await client.resolve(run, Confirm(requirement_id="all.nothing"))
        with pytest.raises(RPCError, match="already completed") as caught:
            await send(client, run, decision, "signal")
        output = await client.get(run)

    assert record == again == output.resolutions[0]
    assert RPCStatusCode.NOT_FOUND is caught.value.status
    assert [] == output.refused
    await replays(client.handle(run), definition)


async def test_by_the_plain_cli(env: WorkflowEnvironment) -> None:
    """At a terminal: a repeat is one by both doors, another body is refused, the end is told."""
    definition, decision = pipeline(), yes()
    body = decision.model_dump(mode="json")
    other = json.dumps({**body, "comment": "changed"})
    async with serving(env, definition) as client:
        run = await client.start(definition)
        await paused(client, run)
        _, first, _ = await cli(env, *update(run), "--input", json.dumps(body))
        again, second, _ = await cli(env, *update(run), "--input", json.dumps(body))
        refused, _, told = await cli(env, *update(run), "--input", other)
        signal = ["workflow", "signal", "--workflow-id", run, "--name", "resolve", "--input"]
        sent = [(await cli(env, *signal, each))[0] for each in (json.dumps(body), other)]
        output = await finish(client, run)
        update_after, _, ended_one = await cli(env, *update(run), "--input", json.dumps(body))
        signal_after, _, ended_two = await cli(env, *signal, json.dumps(body))

    assert (0, 1, [0, 0]) == (again, refused, sent)
    assert first["result"] == second["result"] == output.resolutions[0].model_dump(mode="json")
    assert "was used for another decision" in told
    assert ["was used for another decision" in each.reason for each in output.refused] == [True]
    assert (1, 1) == (update_after, signal_after)
    assert "already completed" in ended_one and "already completed" in ended_two
    await replays(client.handle(run), definition)


def update(run: str) -> list[str]:
    return [
        "workflow",
        "update",
        "execute",
        "--workflow-id",
        run,
        "--name",
        "resolve",
        "-o",
        "json",
    ]


@pytest.mark.parametrize("most", [50, pytest.param(RECORDS_KEPT, marks=pytest.mark.slow)])
async def test_more_decisions_than_are_kept(
    short: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """The last 1,000 go along when a run continues as new; an older one is unknown afterwards."""
    monkeypatch.setattr("temporal_hitl._execution.RECORDS_KEPT", most)
    names = [f"g{number}" for number in range(most + 1)]
    many = Parallel(*(gated(name) for name in names), name="many")
    loop = Loop([Step("tick", work)], name="work", max_iterations=14)
    definition = Workflow("thousand", [many, loop, gated("sign")])
    noes = [Reject(requirement_id=f"many.{name}", decision_id=f"d-{name}") for name in names]
    async with serving(short, definition) as client:
        run = await client.start(definition)
        await until(lambda: all_asked(client, run, len(names)))
        handle: WorkflowHandle[Any, Any] = client.handle(run)
        sent = [each.model_dump(mode="json") for each in noes]
        records: list[Any] = await handle.execute_update("resolve", sent)
        await until(lambda: is_last(client, run))
        with pytest.raises(UnknownRequirement, match=r"'many\.g0'.*; open: sign"):
            await client.resolve(run, noes[0])
        kept = await client.resolve(run, noes[1])
        await handle.signal("resolve", sent[0])
        await client.resolve(run, Reject(requirement_id="sign"))
        output = await ended(client, run)
        started = await replay_all(short, run, definition)

    assert (1000, most + 1) == (RECORDS_KEPT, len(records))
    assert records[1] == kept.model_dump(mode="json")
    assert [f"many.{name}" for name in names[1:]] + ["sign"] == [
        each.requirement_id for each in output.resolutions
    ]
    assert ["this run has no requirement 'many.g0'"] == [
        each.reason.partition(";")[0] for each in output.refused
    ]
    assert 1 < started


async def all_asked(client: HitlClient, run: str, count: int) -> bool:
    return count == len((await client.requirements(run)).open)


async def is_last(client: HitlClient, run: str) -> bool:
    return ["sign"] == [each.id for each in (await client.requirements(run)).open]
