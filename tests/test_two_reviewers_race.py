"""Many people answer one question at once: one decision stands, and everybody else learns whose."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.service import RetryConfig
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Confirm,
    HitlClient,
    Parallel,
    Reject,
    ResolutionRecord,
    RunStatus,
    Step,
    StepInput,
    Workflow,
)
from temporal_hitl.errors import AlreadyResolved, DecisionConflict, NoWorker, UnknownRequirement
from tests.stage import WAIT, ended, new_queue, paused, replays, serving

CROWD = 200


def publish(step_input: StepInput) -> str:
    return f"published {step_input.input}"


def pipeline() -> Workflow:
    """Ends as soon as somebody has decided, so that the last of a crowd come after the end."""
    return Workflow("race", [Step("publish", publish, requires_confirmation=True)])


def wide() -> Workflow:
    gates = [Step(name, publish, requires_confirmation=True) for name in ("a", "b", "c")]
    return Workflow("wide_race", [Parallel(*gates, name="all")])


async def asked(client: HitlClient, name: str = "race") -> str:
    run = await client.start(name, "it")
    await paused(client, run)
    return run


def confirm(**over: Any) -> Confirm:
    return Confirm(requirement_id="publish", **over)


async def together(calls: Sequence[Awaitable[Any]]) -> list[Any]:
    """Make all calls at once, and return what each returned or raised."""
    return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), WAIT * 3)


def winner_of(answers: Sequence[Any]) -> tuple[ResolutionRecord, list[AlreadyResolved]]:
    """Return the one record and the refusals; anything else among `answers` is an error."""
    won = [each for each in answers if isinstance(each, ResolutionRecord)]
    lost = [each for each in answers if isinstance(each, AlreadyResolved)]

    assert [
        each for each in answers if not isinstance(each, (ResolutionRecord, AlreadyResolved))
    ] == []
    assert len(won) == 1
    return won[0], lost


async def test_two_hundred_at_once(env: WorkflowEnvironment) -> None:
    """Of two hundred answers exactly one is accepted; all others are told who won, how and when."""
    async with serving(env, pipeline()) as client:
        run = await asked(client)
        crowd = [
            client.resolve(run, confirm(resolved_by=f"r{number}", decision_id=f"{run}-{number}"))
            for number in range(CROWD)
        ]
        won, lost = winner_of(await together(crowd))
        output = await ended(client, run)
        with pytest.raises(AlreadyResolved) as afterwards:
            await client.resolve(run, confirm(resolved_by="late"))

    sentence = f"'publish' is resolved already: {won.resolved_by} decided 'confirm' by update at"
    assert len(lost) == CROWD - 1
    assert [won] == output.resolutions
    assert [str(each) for each in [*lost, afterwards.value] if sentence not in str(each)] == []
    assert [each for each in lost if each.record != won.model_dump(mode="json")] == []
    assert won.model_dump(mode="json") == afterwards.value.record
    assert output.content == "published it"
    await replays(client.handle(run), pipeline())


async def test_signals_and_updates_race(env: WorkflowEnvironment) -> None:
    """Among signals and updates one wins too; the losing signals are refused, and told why."""
    async with serving(env, pipeline()) as client:
        run = await asked(client)

        async def by_signal(number: int) -> None:
            data = confirm(resolved_by=f"s{number}").model_dump(mode="json")
            # A run that has ended takes no signals: that is Temporal's answer to this sender.
            await client.handle(run).signal("resolve", data)

        updates = [client.resolve(run, confirm(resolved_by=f"u{number}")) for number in range(20)]
        signals = [by_signal(number) for number in range(20)]
        mixed = [call for pair in zip(signals, updates, strict=True) for call in pair]
        answers = (await together(mixed))[1::2]
        output = await ended(client, run)

    (record,) = output.resolutions
    accepted = [each for each in answers if isinstance(each, ResolutionRecord)]
    refused = [each for each in answers if isinstance(each, AlreadyResolved)]
    assert accepted == ([record] if record.door == "update" else [])
    assert len(accepted) + len(refused) == 20
    assert {str(record.resolved_by)} == {
        each.record["resolution"]["resolved_by"] for each in refused if each.record
    }
    assert [
        each.reason for each in output.refused if str(record.resolved_by) not in each.reason
    ] == []
    await replays(client.handle(run), pipeline())


async def test_yes_and_no_race(env: WorkflowEnvironment) -> None:
    """Whether yes or no came first, the run does what its one record says."""
    async with serving(env, pipeline()) as client:
        run = await asked(client)
        no = Reject(requirement_id="publish", feedback="no")
        calls = [client.resolve(run, each) for number in range(20) for each in (confirm(), no)]
        won, lost = winner_of(await together(calls))
        output = await ended(client, run)

    assert (RunStatus.completed, [won], 39) == (output.status, output.resolutions, len(lost))
    assert output.content == ("published it" if won.approved else None)
    assert {f"decided '{won.action}'" in str(each) for each in lost} == {True}
    await replays(client.handle(run), pipeline())


# The same decision, sent again


@pytest.mark.parametrize("first_by", ["update", "signal"])
@pytest.mark.parametrize("name", ["race", "wide_race"], ids=["ended", "still-open"])
async def test_sent_twice(env: WorkflowEnvironment, first_by: str, name: str) -> None:
    """A decision that is sent again is a success, by update and by signal, also after the end."""
    key = "publish" if name == "race" else "all.b"
    decision = Confirm(requirement_id=key, resolved_by="ana", decision_id=uuid.uuid4().hex)
    async with serving(env, pipeline(), wide()) as client:
        run = await asked(client, name)
        if first_by == "update":
            await client.resolve(run, decision)
        else:
            await client.handle(run).signal("resolve", decision.model_dump(mode="json"))
        again = await client.resolve(run, decision)
        if name == "race":
            await ended(client, run)
        else:
            await client.handle(run).signal("resolve", decision.model_dump(mode="json"))
        once_more = await client.resolve(run, decision)
        told = await client.requirements(run, resolved=True)
        for each in told.open:
            await client.resolve(run, Confirm(requirement_id=each.id))
        await ended(client, run)

    assert [again] == told.resolved
    assert again == once_more
    assert told.refused == []
    assert (first_by, "ana") == (again.door, again.resolved_by)
    await replays(client.handle(run), pipeline(), wide())


async def test_sent_twenty_times_at_once(env: WorkflowEnvironment) -> None:
    """One decision from twenty impatient clicks is one record, and a success for each of them."""
    decision = confirm(resolved_by="ana", decision_id=uuid.uuid4().hex)
    async with serving(env, pipeline()) as client:
        run = await asked(client)
        answers = await together([client.resolve(run, decision) for _ in range(20)])
        output = await ended(client, run)

    assert [output.resolutions[0]] * 20 == answers
    assert len(output.resolutions) == 1
    await replays(client.handle(run), pipeline())


@pytest.mark.parametrize("over", [False, True], ids=["still-open", "ended"])
@pytest.mark.parametrize("first_by", ["update", "signal"])
async def test_another_body_under_one_decision_id(
    env: WorkflowEnvironment, first_by: str, over: bool
) -> None:
    """A decision id that comes again with another body is a conflict, and names what stands."""
    key = "publish" if over else "all.a"
    first = Confirm(requirement_id=key, resolved_by="ana", decision_id=uuid.uuid4().hex)
    other = Reject(requirement_id=key, resolved_by="bo", decision_id=first.decision_id)
    async with serving(env, pipeline(), wide()) as client:
        run = await asked(client, "race" if over else "wide_race")
        if first_by == "update":
            await client.resolve(run, first)
        else:
            await client.handle(run).signal("resolve", first.model_dump(mode="json"))
        if over:
            await ended(client, run)
        with pytest.raises(DecisionConflict, match="ana decided 'confirm'") as caught:
            await client.resolve(run, other)
        resolved = (await client.requirements(run, resolved=True)).resolved
        if not over:
            await client.cancel(run)
            await ended(client, run)

    assert [first] == [each.resolution for each in resolved]
    assert resolved[0].model_dump(mode="json") == caught.value.record
    await replays(client.handle(run), pipeline(), wide())


# Several at once


async def test_a_list_is_all_or_nothing(env: WorkflowEnvironment) -> None:
    """A list with one answer that cannot be applied changes nothing; a good one closes them all."""
    yes = [{"requirement_id": f"all.{name}", "action": "confirm"} for name in ("a", "b", "c")]
    bad: list[tuple[list[Any], str]] = [
        ([*yes[:2], yes[2] | {"action": "select", "choices": ["x"]}], "does not answer it"),
        ([*yes[:2], yes[2] | {"requirement_id": "all.d"}], "no requirement 'all.d'"),
        ([yes[0], yes[0]], "answered twice in one call"),
        ([yes[0] | {"decision_id": "d"}, yes[1] | {"decision_id": "d"}], "'d'"),
        ([*yes[:2], None], "None is not a resolution"),
    ]
    async with serving(env, wide()) as client:
        run = await asked(client, "wide_race")
        handle = client.handle(run)
        refusals: list[str] = []
        for each, _ in bad:
            await handle.signal("resolve", each)
            with pytest.raises(Exception) as caught:
                await handle.execute_update("resolve", each)
            refusals.append(str(caught.value.__cause__))
        before = await client.requirements(run, resolved=True)
        records: list[dict[str, Any]] = await handle.execute_update("resolve", [*reversed(yes)])
        output = await ended(client, run)

    assert [each.id for each in before.open] == ["all.a", "all.b", "all.c"]
    assert before.resolved == []
    for (_, sentence), by_update, by_signal in zip(bad, refusals, before.refused, strict=True):
        assert sentence in by_update
        assert sentence in by_signal.reason
    assert [each["requirement_id"] for each in records] == ["all.c", "all.b", "all.a"]
    assert len(output.resolutions) == 3
    await replays(client.handle(run), wide())


async def test_different_questions_do_not_race(env: WorkflowEnvironment) -> None:
    """`resolve_many` answers many questions of many runs, and reports on each in its place."""
    async with serving(env, pipeline(), wide()) as client:
        runs = [await asked(client, "wide_race") for _ in range(3)]
        decisions: list[tuple[str, Any]] = [
            (run, {"requirement_id": f"all.{name}", "action": "confirm", "resolved_by": run + name})
            for run in runs
            for name in ("a", "b", "c", "nope")
        ]
        answers = await client.resolve_many(decisions)
        outputs = [await ended(client, run) for run in runs]

    wrong = [each for each in answers if isinstance(each, Exception)]
    assert answers[3::4] == wrong
    assert [UnknownRequirement] * 3 == [type(each) for each in wrong]
    assert {RunStatus.completed} == {each.status for each in outputs}
    assert [
        decision["resolved_by"] for _, decision in decisions if "nope" not in str(decision)
    ] == [each.resolved_by for each in answers if isinstance(each, ResolutionRecord)]
    for run in runs:
        await replays(client.handle(run), wide())


async def test_both_doors_as_the_run_ends(env: WorkflowEnvironment) -> None:
    """Updates that come while signals end their run each get a verdict, though the server fails the
    workflow task that they were in.
    """
    answers: list[Any] = []
    async with serving(env, pipeline()) as client:
        for _ in range(10):
            run = await asked(client)
            reject = Reject(requirement_id="publish", resolved_by="signal")
            signals = [
                client.handle(run).signal("resolve", reject.model_dump(mode="json"))
                for _ in range(4)
            ]
            updates = [
                client.resolve(run, Reject(requirement_id="publish", resolved_by=f"update {n}"))
                for n in range(4)
            ]
            told = await together([*updates, *signals])
            answers += [each for each in told[:4] if not isinstance(each, ResolutionRecord)]
            output = await ended(client, run)
            assert 1 == len(output.resolutions)
            await replays(client.handle(run), pipeline())

    assert {AlreadyResolved} == {type(each) for each in answers}


async def test_more_than_the_server_holds(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no worker answers, more people than a server has wait for one run are all told so, and
    that the same decision may be sent again; then each counts.
    """
    for module in ("_reach", "_answering"):
        monkeypatch.setattr(f"temporal_hitl.{module}.PATIENCE", timedelta(seconds=1))
    names = [f"g{number}" for number in range(15)]
    gates = [Step(name, publish, requires_confirmation=True) for name in names]
    definition, queue = Workflow("crowded", [Parallel(*gates, name="all")]), new_queue()
    sent = [Confirm(requirement_id=f"all.{name}", decision_id=name) for name in names]
    async with serving(env, definition, queue=queue) as client:
        run = await asked(client, "crowded")
    impatient = await Client.connect(
        env.client.service_client.config.target_host,
        data_converter=env.client.data_converter,
        retry_config=RetryConfig(max_retries=1),
    )
    with env.with_time_skipping_disabled():
        unheard = await together([HitlClient(impatient).resolve(run, each) for each in sent])
    async with serving(env, definition, queue=queue) as client:
        await together([client.resolve(run, each) for each in sent])
        output = await ended(client, run)
        await replays(client.handle(run), definition)

    assert [NoWorker] * 15 == [type(each) for each in unheard]
    decided = {each.requirement_id: each.action for each in output.resolutions}
    assert dict.fromkeys((f"all.{name}" for name in names), "confirm") == decided
