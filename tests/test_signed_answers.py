"""A signed answer says who decides, and counts only as what was signed."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, Worker

from temporal_hitl import (
    Confirm,
    HitlClient,
    HitlPlugin,
    HumanReview,
    Parallel,
    Reject,
    RunStatus,
    Step,
    Workflow,
)
from temporal_hitl.errors import (
    AlreadyResolved,
    BadSignature,
    DecisionConflict,
    NotPermitted,
    OperatorError,
)
from temporal_hitl.requirements import AnyResolution, Channel, Identity
from temporal_hitl.signing import KEYS as VARIABLE
from temporal_hitl.signing import SKEW, SigningKeys
from tests import resets
from tests.desk import Desk
from tests.signatures import BEFORE, KEYS, SECRET, claimed, confirmed, resigned, sign
from tests.stage import (
    activities,
    cli,
    details,
    ended,
    new_queue,
    paused,
    replay_all,
    replays,
    serving,
    until,
)

ROLES = ["finance", "chief"]
TOLD = (
    "'pay' is answered by finance or chief only, and nothing signs for who answers here: answer"
    " it in the inbox or over the HTTP API, signed in with that role, or with temporal-hitl"
    f" (--role finance), or continue_run(roles=[...]), on a machine that has {VARIABLE}, or"
    " beside the embedded server"
)
OLD_FIRST = ",".join(reversed(KEYS.split(",")))
HOUR = timedelta(hours=1)


def work() -> str:
    return "done"


payment = Workflow("payment", [Step("pay", work, requires_confirmation=True, roles=ROLES)])
open_to_all = Workflow("open_to_all", [Step("pay", work, requires_confirmation=True)])
two = Workflow(
    "two_payments",
    [
        Parallel(
            Step("pay", work, requires_confirmation=True, roles=ROLES),
            Step("tell", work, requires_confirmation=True),
            name="p",
        )
    ],
)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers that start have the keys."""
    monkeypatch.setenv(VARIABLE, KEYS)


def wrong_ones(client: HitlClient, run: str) -> Iterator[tuple[str, AnyResolution]]:
    """Yield answers that must not count, each with what is said of it."""
    good, expired = confirmed(client, run), timedelta(seconds=-1) - SKEW
    wrong = KEYS.replace(SECRET, BEFORE)
    future = datetime.now(UTC) + timedelta(hours=1)
    body: dict[str, dict[str, Any]] = {
        "another answer": {"comment": "and more"},
        "another decision id": {"decision_id": "mine"},
        "made for another answer": {"resolved_by": "bob"},
    }
    yield "was changed, or made with another secret", confirmed(client, run, keys=wrong)
    yield "with the key '1999', and the worker knows 2026, 2025", resigned(good, kid="1999")
    yield "has expired: give the answer again", confirmed(client, run, lasts=expired)
    yield "of the future", resigned(good, iat=future, exp=future + timedelta(hours=1))
    yield "made for another run", confirmed(client, "another")
    yield "made for another requirement", resigned(good, req="paid")
    yield "made for another namespace", confirmed(client, run, namespace="staging")
    for told, changed in body.items():
        yield told, good.model_copy(update=changed)
    yield "made for another content", resigned(good, shown="0" * 64)
    yield "made for another person than its resolved_by says", resigned(good, sub="bob")
    yield "was changed", claimed(good, roles=["chief"])
    yield "was changed", claimed(good, sub="bob")
    yield "cannot be read", resigned(good, secret=None)
    yield "nobody signs for the channel 'temporal'", resigned(good, chn="temporal")
    yield "does not say who", resigned(good, chn="post")
    yield "does not say who", resigned(good, without="roles")
    for claim in ("exp", "iat", "sub", "jti", "aud"):
        yield f'cannot be read .*"{claim}"', resigned(good, without=claim)
    for garbage in ("", "x", "a.b.c", "\0", "é.é.é"):
        yield "cannot be read", good.model_copy(update={"signature": garbage})
    yield (
        "by finance or chief only; 'ana' has the roles: reviewer",
        confirmed(client, run, roles=["reviewer"]),
    )
    yield "has the roles: none", confirmed(client, run, roles=[])


async def test_what_is_not_signed_right_does_not_count(env: WorkflowEnvironment) -> None:
    """An answer counts as signed only where all that was signed is true of it; by either door each
    other one is refused in words, and the question stays open.
    """
    refusals = list[tuple[str, str]]()
    async with serving(env, payment) as client:
        run = await client.start(payment)
        await paused(client, run)
        wrong = list(wrong_ones(client, run))
        for told, answer in wrong:
            with pytest.raises((BadSignature, NotPermitted)) as refused:
                await client.resolve(run, answer)
            refusals.append((told, str(refused.value)))
            await client.handle(run).signal("resolve", answer.to_wire())
        before = await paused(client, run)
        record = await client.resolve(run, confirmed(client, run))
        output = await ended(client, run)
        await replays(client.handle(run), payment)

    reasons = [each.reason for each in before.refused]
    assert [] == [each for each in refusals if not re.search(*each)]
    assert [told for _, told in refusals][-25:] == reasons[::2][-25:] == reasons[1::2][-25:]
    assert all('"signature": "..."' in each.payload for each in before.refused)
    assert ["pay"] == [each.id for each in before.requirements]
    assert (Identity.signed, RunStatus.completed) == (record.identity, output.status)


async def test_the_record_says_who(env: WorkflowEnvironment, cache: int) -> None:
    """A signed answer is recorded with who decided, in what roles and over what channel, whether or
    not the question asks for a role; the signature itself is in no record, and the keys nowhere.
    """
    channels = {"pay": Channel.http, "tell": Channel.cli}
    async with serving(env, two, max_cached_workflows=cache) as client:
        run = await client.start(two)
        await paused(client, run)
        answers = [
            confirmed(client, run, f"p.{key}", channel=channel, subject=f"{key}-er")
            for key, channel in channels.items()
        ]
        records = [await client.resolve(run, each) for each in answers]
        output = await ended(client, run)
        told = (await client.handle(run).fetch_history()).to_json()
        scheduled = await activities(client.handle(run))
        assert 1 == await replay_all(env, run, two)

    assert output.resolutions == records
    assert [
        (f"{key}-er", Identity.signed, channel, ("finance", "reviewer"))
        for key, channel in channels.items()
    ] == [(each.resolved_by, each.identity, each.channel, each.roles) for each in records]
    assert "pay-er (signed, http) decided 'confirm' by update at" in records[0].told()
    assert [None, None] == [getattr(each.resolution, "signature", "") for each in records]
    assert "signature" not in output.model_dump_json()
    assert ["p.pay", "p.tell"] == list(scheduled)  # Verified without an activity's events.
    assert not any(secret in told for secret in (SECRET, BEFORE))


async def test_who_has_no_signature_is_told_where_to_answer(env: WorkflowEnvironment) -> None:
    """Whatever asks for a role takes no answer that is not signed, by no door, whatever it claims;
    what else is open is answered as ever, and the deadline acts.
    """
    asked = HumanReview(
        requires_confirmation=True, roles=ROLES, timeout=timedelta(hours=1), on_timeout="skip"
    )
    definition = Workflow("timed_payment", [Step("pay", work, human_review=asked)])
    async with serving(env, definition) as client:
        run = await client.start(definition)
        waiting = await paused(client, run)
        handle = client.handle(run)
        shown = await details(handle)
        with pytest.raises(NotPermitted) as refused:
            await client.resolve(run, Confirm(requirement_id="pay", resolved_by="ana"))
        length = len((await handle.fetch_history()).events)
        by_cli = [
            await cli(
                env, *f"workflow update execute --name confirm -w {run}".split(), "--input", '"pay"'
            ),
            await cli(env, *f"workflow signal --name confirm -w {run}".split(), "--input", '"pay"'),
        ]
        rejected = Reject(requirement_id="pay").to_wire()
        await handle.signal("resolve", [rejected, {**rejected, "requirement_id": "other"}])
        seen = await until(lambda: all_refused(client, run, 2))
        await env.fast_forward(handle, timedelta(hours=2))
        output = await ended(client, run)
        await replays(handle, definition)

    assert (TOLD, tuple(ROLES)) == (str(refused.value), waiting.requirements[0].roles)
    assert "Only: `finance`, `chief`. Answered signed" in shown and "--name" not in shown
    assert length < 20  # An update that is refused leaves no event.
    assert by_cli[0][0] != 0 and "answered by finance or chief only" in by_cli[0][2]
    assert [TOLD, TOLD] == [each.reason for each in seen]
    assert ["time_out"] == [each.action for each in output.resolutions]


async def all_refused(client: HitlClient, run: str, count: int) -> Any:
    found = (await client.requirements(run)).refused
    return found if len(found) == count else None


async def test_the_same_decision_again(env: WorkflowEnvironment) -> None:
    """A decision signed anew, and one sent again without a signature, are the first one; under its
    decision id no other one counts, signed or not.
    """
    answer = Confirm(requirement_id="p.pay", resolved_by="ana", decision_id="first")
    async with serving(env, two) as client:
        run = await client.start(two)
        await paused(client, run)
        expired = sign(client, run, answer, lasts=timedelta(hours=-1))
        with pytest.raises(BadSignature, match="expired"):
            await client.resolve(run, expired)
        first = await client.resolve(run, sign(client, run, answer))
        again = [
            await client.resolve(run, each)
            for each in (sign(client, run, answer, keys=OLD_FIRST), answer)
        ]
        other = answer.model_copy(update={"comment": "and more"})
        for each in (other, sign(client, run, other)):
            with pytest.raises(DecisionConflict):
                await client.resolve(run, each)
        with pytest.raises(AlreadyResolved):
            await client.resolve(run, confirmed(client, run, "p.pay", subject="bob"))
        await client.cancel(run)
        await client.wait_for_end(run)
        await replays(client.handle(run), two)

    assert [first] * 2 == again
    assert ("ana", Identity.signed) == (first.resolved_by, first.identity)


async def test_a_list_counts_as_a_whole(env: WorkflowEnvironment) -> None:
    """Of several answers in one call none counts where one signature does not hold."""
    async with serving(env, two) as client:
        run = await client.start(two)
        await paused(client, run)
        handle, free = client.handle(run), Confirm(requirement_id="p.tell").to_wire()
        pay = confirmed(client, run, "p.pay")
        bad = [free, claimed(pay, sub="bob").to_wire()]
        for each in (bad, [*bad, free], [free, pay.to_wire() | {"signature": 1}]):
            await handle.signal("resolve", each)
        await until(lambda: all_refused(client, run, 3))
        still = await paused(client, run)
        records = await handle.execute_update("resolve", [free, pay.to_wire()])
        output = await ended(client, run)
        await replays(handle, two)

    assert {"p.pay", "p.tell"} == {each.id for each in still.requirements}
    assert [("p.tell", "none"), ("p.pay", "signed")] == [
        (each["requirement_id"], each["identity"]) for each in records
    ]
    assert RunStatus.completed == output.status


async def test_one_of_many_wins(env: WorkflowEnvironment) -> None:
    """Of many who sign an answer at once, and many who send one unsigned, one wins, and everybody
    else learns who.
    """
    asks = [{"kind": "confirm", "name": name} for name in ("pay", "tell")]
    async with serving(env, workflows=[Desk]) as client:
        handle = await asked(env, client, asks)
        people = [f"p{number}" for number in range(5)]  # A server lets ten updates in at once.
        answers = [confirmed(client, handle.id, subject=each) for each in people]
        answers += [Confirm(requirement_id="pay", resolved_by=f"un{each}") for each in people]
        told = await asyncio.gather(
            *(client.resolve(handle.id, each) for each in sorted(answers, key=str)),
            return_exceptions=True,
        )
        await client.resolve(handle.id, confirmed(client, handle.id, "tell"))
        winner = (await handle.result())[0]["resolved_by"]
        await replays(handle, workflows=[Desk])

    (record,) = (each for each in told if not isinstance(each, BaseException))
    losers = [each for each in told if isinstance(each, BaseException)]
    assert winner == record.resolved_by
    assert {AlreadyResolved} == {type(each) for each in losers}
    assert [f"'pay' is resolved already: {record.told()}"] * 9 == [str(each) for each in losers]


async def asked(
    env: WorkflowEnvironment, client: HitlClient, asks: list[dict[str, Any]]
) -> WorkflowHandle[Any, Any]:
    """Return a run that asks all of this at once, by hand."""
    handle = await env.client.start_workflow(
        "Desk", args=[asks, True], id=f"desk-{new_queue()}", task_queue=client.task_queue
    )
    await until(lambda: open_ids(client, handle.id))
    return handle


async def test_many_are_verified_at_once(env: WorkflowEnvironment) -> None:
    """Fifty signed answers to fifty questions of one run count, whichever door they come by."""
    asks = [{"kind": "confirm", "name": f"s{n}", "roles": ["finance"]} for n in range(50)]
    async with serving(env, workflows=[Desk]) as client:
        handle = await asked(env, client, asks)
        answers = [confirmed(client, handle.id, f"s{n}", subject=f"p{n}") for n in range(50)]
        await asyncio.gather(
            *(handle.signal("resolve", each.to_wire()) for each in answers[:40]),
            *(client.resolve(handle.id, each) for each in answers[40:]),
        )
        told = await handle.result()
        await replays(handle, workflows=[Desk])

    assert [(f"s{n}", f"p{n}") for n in range(50)] == [
        (each["requirement_id"], each["resolved_by"]) for each in told
    ]


async def test_keys_are_rotated(env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker takes what any of its keys signed, so that signers and workers may change keys one
    after the other; what was signed with one that is gone is refused, and so is everything where
    there are no keys. The questions stay open, and the runs go on elsewhere.
    """
    queue, told = new_queue(), list[str]()
    new = "2027:the-secret-of-2027-and-of-nobody-else"
    async with serving(env, payment, queue=queue) as client:
        runs = [await client.start(payment) for _ in range(3)]
        for run in runs:
            await paused(client, run)
        old = await client.resolve(runs[0], confirmed(client, runs[0], keys=OLD_FIRST))
    for keys in (new, ""):
        monkeypatch.setenv(VARIABLE, keys)
        async with serving(env, payment, queue=queue):
            with pytest.raises(BadSignature) as refused:
                await client.resolve(runs[1], confirmed(client, runs[1]))
            told.append(str(refused.value))
    monkeypatch.setenv(VARIABLE, f"{new},{KEYS}")
    async with serving(env, payment, queue=queue):
        rest = [
            await client.resolve(run, confirmed(client, run, keys=keys))
            for run, keys in zip(runs[1:], (KEYS, new), strict=True)
        ]
        for run in runs:
            await ended(client, run)
            await replays(client.handle(run), payment)

    assert [
        "'pay': it was signed with the key '2026', and the worker knows 2027: both need the same"
        " HITL_SIGNING_KEYS",
        "'pay': the worker of this run has no HITL_SIGNING_KEYS: an operator sets it there",
    ] == told
    assert {Identity.signed} == {each.identity for each in (old, *rest)}


@pytest.mark.parametrize(
    "text", ["secret", ":" + SECRET, "a:short-secret", f"a:{SECRET},a:{SECRET}"]
)
def test_keys_that_are_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no key is refused where it is read, with what to write and without a word of it."""
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(OperatorError, match="HITL_SIGNING_KEYS is kid:secret") as refused:
        SigningKeys.from_environment()

    assert "secret-" not in str(refused.value).partition("Make a secret")[0]
    assert (None, "SigningKeys()") == (_empty(monkeypatch), repr(SigningKeys.parse(KEYS)))


def _empty(monkeypatch: pytest.MonkeyPatch) -> SigningKeys | None:
    monkeypatch.setenv(VARIABLE, " ")
    return SigningKeys.from_environment()


async def test_a_worker_whose_keys_are_none(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose keys cannot be used does not start, and says what is missing or wrong."""
    told = list[str]()
    for keys, module in (("secret", jwt), (KEYS, None)):
        monkeypatch.setenv(VARIABLE, keys)
        monkeypatch.setitem(sys.modules, "jwt", module)
        worker = Worker(
            env.client, task_queue=new_queue(), workflows=[Desk], plugins=[HitlPlugin()]
        )
        with pytest.raises(OperatorError) as refused:
            await worker.run()
        told.append(str(refused.value))

    assert told[0].startswith("HITL_SIGNING_KEYS is kid:secret[,kid:secret...]: entry 1 is not")
    assert told[1] == (
        "HITL_SIGNING_KEYS is set, and what signs with it is missing: pip install"
        " 'temporal-hitl[api]'"
    )


async def test_a_worker_without_the_plugin(env: WorkflowEnvironment) -> None:
    """A hand-written workflow whose worker knows nothing of signatures refuses signed answers in
    words, by either door; it goes on, and replays on a worker that has the plugin and takes them.
    """
    queue = new_queue()
    asks = [{"kind": "confirm", "name": "pay", "roles": ROLES}, {"kind": "confirm", "name": "tell"}]
    async with Worker(env.client, task_queue=queue, workflows=[Desk]):
        client = HitlClient(env.client, task_queue=queue)
        started = await env.client.start_workflow(
            "Desk", args=[asks, True], id=f"desk-{queue}", task_queue=queue
        )
        run = started.id
        await until(lambda: open_ids(client, run))
        with pytest.raises(BadSignature) as refused:
            await client.resolve(run, confirmed(client, run))
        await started.signal("resolve", confirmed(client, run).to_wire())
        await until(lambda: all_refused(client, run, 2))
        await client.resolve(run, Confirm(requirement_id="tell", resolved_by="ana"))
        told = [each.reason for each in (await client.requirements(run)).refused]
    async with Worker(env.client, task_queue=queue, workflows=[Desk], plugins=[HitlPlugin()]):
        record = await client.resolve(run, confirmed(client, run))
        await started.result()
    replayer = Replayer(workflows=[Desk], plugins=[HitlPlugin()])
    await replayer.replay_workflow(await started.fetch_history())

    assert (
        [
            "the worker of this run verifies no signatures: an operator gives it HitlPlugin(), and"
            " HITL_SIGNING_KEYS"
        ]
        * 2
        == told
        == [str(refused.value), told[1]]
    )
    assert (Identity.signed, tuple(ROLES)) == (record.identity, ("finance", "chief"))


async def open_ids(client: HitlClient, run: str) -> list[str]:
    return [each.id for each in (await client.requirements(run)).open]


async def test_an_answer_outlives_its_execution(short: WorkflowEnvironment) -> None:
    """A run that has to continue as new does so between signed answers: each is verified, and
    counts or is refused, whichever execution it came to.
    """
    step = Step("pay", work, requires_confirmation=True, roles=["finance"])
    more = Step("tell", work, requires_confirmation=True)
    definition = Workflow("long_payment", [Parallel(step, more, name="p"), Step("end", work)])
    async with serving(short, definition) as client:
        run = await client.start(definition)
        await paused(client, run)
        for number in range(12):
            answer = confirmed(client, run, "p.pay", roles=[f"clerk{number}"])
            await client.handle(run).signal("resolve", answer.to_wire())
        refused = await until(lambda: all_refused(client, run, 12))
        await asyncio.gather(
            client.resolve(run, confirmed(client, run, "p.tell")),
            client.resolve(run, confirmed(client, run, "p.pay")),
        )
        output = await ended(client, run)
        executions = await replay_all(short, run, definition)

    assert executions > 1
    assert [f"clerk{number}" for number in range(12)] == [
        each.reason.rpartition(" ")[2] for each in refused
    ]
    assert {Identity.signed} == {each.identity for each in output.resolutions}


async def timers_fired(client: HitlClient, run: str) -> bool:
    events = (await client.handle(run).fetch_history()).events
    return any(each.event_type == EventType.EVENT_TYPE_TIMER_FIRED for each in events)


@pytest.mark.parametrize(
    ("good", "strict", "acts"),
    [(True, False, "confirm"), (True, True, "time_out"), (False, False, "time_out")],
)
async def test_in_one_task_with_the_deadline(
    env: WorkflowEnvironment, good: bool, strict: bool, acts: str
) -> None:
    """A signed answer that a worker finds together with the deadline is verified first: it counts
    as an unsigned one would, late, and where it does not hold the deadline acts at once.
    """
    review = HumanReview(
        requires_confirmation=True, timeout=HOUR, on_timeout="skip", strict_deadline=strict
    )
    definition = Workflow("due_payment", [Step("pay", work, human_review=review)])
    queue = new_queue()
    async with serving(env, definition, queue=queue) as client:
        run = await client.start(definition)
        await paused(client, run)
    answer = confirmed(client, run) if good else confirmed(client, "another")
    await env.fast_forward(client.handle(run), HOUR)
    await until(lambda: timers_fired(client, run))
    await client.handle(run).signal("resolve", answer.to_wire())
    async with serving(env, definition, queue=queue):
        output = await ended(client, run)
        await replays(client.handle(run), definition)

    (record,) = output.resolutions
    assert (acts, acts == "confirm") == (record.action, record.late)
    assert (acts == "time_out") == bool(output.refused)


async def test_in_one_task_with_a_cancel(env: WorkflowEnvironment) -> None:
    """A signed answer that a worker finds together with the run's cancel comes too late, and is
    told so: the run leaves no answer without one.
    """
    queue = new_queue()
    async with serving(env, payment, queue=queue) as client:
        run = await client.start(payment)
        await paused(client, run)
    asking = asyncio.create_task(client.resolve(run, confirmed(client, run)))
    await client.handle(run).signal("resolve", confirmed(client, run).to_wire())
    await asyncio.sleep(0.3)  # The server holds the update until a worker comes.
    await client.cancel(run)
    async with serving(env, payment, queue=queue):
        output = await ended(client, run)
        with pytest.raises(AlreadyResolved, match="the run no longer needs it"):
            await asking
        await replays(client.handle(run), payment)

    assert RunStatus.cancelled == output.status


async def test_by_hand_in_one_task_with_a_cancel(env: WorkflowEnvironment) -> None:
    """A workflow written by hand that is cancelled while an answer is verified ends with a word to
    whoever gave it.
    """
    queue, asks = new_queue(), [{"kind": "confirm", "name": "pay", "roles": ROLES}]
    async with serving(env, workflows=[Desk], queue=queue) as client:
        handle = await asked(env, client, asks)
    asking = asyncio.create_task(client.resolve(handle.id, confirmed(client, handle.id)))
    await handle.signal("resolve", confirmed(client, handle.id).to_wire())
    await asyncio.sleep(0.3)  # The server holds the update until a worker comes.
    await handle.cancel()
    async with serving(env, workflows=[Desk], queue=queue):
        with pytest.raises(AlreadyResolved, match="the run no longer needs it"):
            await asking
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        await replays(handle, workflows=[Desk])


async def test_in_one_task_with_another(env: WorkflowEnvironment) -> None:
    """Of signed answers that a worker finds together one counts, and the others are told so, even
    where the run ends with the one: it waits until all have been verified.
    """
    queue, asks = new_queue(), [{"kind": "confirm", "name": "pay", "roles": ROLES}]
    client = HitlClient(env.client, task_queue=queue)
    handle = await env.client.start_workflow(
        "Desk", args=[asks], id=f"desk-{queue}", task_queue=queue
    )
    async with Worker(env.client, task_queue=queue, workflows=[Desk]):
        await until(lambda: open_ids(client, handle.id))
    people = ("bob", "cy", "di", "ed")
    await handle.signal("resolve", confirmed(client, handle.id).to_wire())
    asking = [
        asyncio.create_task(client.resolve(handle.id, confirmed(client, handle.id, subject=each)))
        for each in people
    ]
    await asyncio.sleep(0.3)  # The server holds the updates until a worker comes.
    async with Worker(env.client, task_queue=queue, workflows=[Desk], plugins=[HitlPlugin()]):
        told = await asyncio.gather(*asking, return_exceptions=True)
        (done,) = await handle.result()
    replayer = Replayer(workflows=[Desk], plugins=[HitlPlugin()])
    await replayer.replay_workflow(await handle.fetch_history())

    assert "ana" == done["resolved_by"]
    assert ["ana (signed, http)"] * len(people) == [
        re.findall(r"already: (.*) decided", str(each))[0] for each in told
    ]


@pytest.mark.slow
@pytest.mark.parametrize("door", resets.DOORS)
async def test_after_a_reset(env: WorkflowEnvironment, door: str) -> None:
    """An answer that a reset delivers again to its question counts while its signature holds; where
    it has expired it is refused, kept, and the question waits for another one.
    """
    definition = resets.pipeline()
    async with serving(env, definition) as client:
        run = await client.start(definition, "it")
        await paused(client, run)
        lasts = timedelta(seconds=4) - SKEW
        first = sign(client, run, Confirm(requirement_id="sign", decision_id="1"), lasts=lasts)
        handle = client.handle(run)
        if door == "update":
            await client.resolve(run, first)
        else:
            await handle.signal("resolve", first.to_wire())
        await resets.asked(client, run, "send")
        point = await resets.opening(handle, "sign")
        await asyncio.sleep(4.1)  # Until it does not hold any more.
        await resets.reset(env, run, "--event-id", await resets.next_task(handle, point))
        waiting = await resets.asked(client, run, "sign")
        await until(lambda: all_refused(client, run, 1))
        again = await client.resolve(run, confirmed(client, run, "sign"))
        await resets.asked(client, run, "send")
        refused = (await client.requirements(run)).refused
        await client.cancel(run)
        await client.wait_for_end(run)
        await replays(client.handle(run), definition)

    assert [] == waiting.resolutions
    assert ["'sign': the signature has expired: give the answer again"] == [
        each.reason for each in refused
    ]
    assert Identity.signed == again.identity
