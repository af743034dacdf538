"""Subscribers are told when a requirement opens and when it is closed, and nothing that happens to
them happens to the run (issue 5, "Notifications").
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Confirm,
    HitlClient,
    HumanReview,
    Loop,
    Parallel,
    Reject,
    RunStatus,
    Step,
    StepInput,
    Workflow,
)
from temporal_hitl.http import Inbox
from tests.sink import SECRETS, Sink, sink
from tests.stage import details, ended, paused, replay_all, replays, serving, until
from tests.telling import dumped, notifications, subscribe
from tests.told_by_hand import Refund
from tests.web import free_port, web

OPENED, DUE, CLOSED = (f"requirement.{each}" for each in ("opened", "due", "closed"))
HOURS = timedelta(hours=10)
# apprise imports it, where there is one.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever cannot be reached is tried again soon."""
    pauses = timedelta(seconds=0.05), timedelta(seconds=0.2)
    monkeypatch.setattr("temporal_hitl._notifying.PAUSES", pauses)


@pytest.fixture
def managers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    """The subscriber `managers`: a webhook."""
    with sink() as there:
        subscribe(monkeypatch, "managers", there)
        yield there


def process(step_input: StepInput) -> str:
    return "processed"


def breaks() -> None:
    raise ValueError("broken")


def asks(name: str = "process", **options: Any) -> Step:
    return Step(name, process, requires_confirmation=True, **options)


def told(name: str = "process", **options: Any) -> Workflow:
    return Workflow("told", [asks(name, notify=["managers"], **options)])


async def started(client: HitlClient, definition: Workflow, input: Any = None) -> str:
    run = await client.start(definition, input)
    await paused(client, run)
    return run


async def test_opened_and_closed(
    env: WorkflowEnvironment, managers: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subscriber is told of the question and of the decision, each signed and under an id of its
    own, with a link and without what the run holds.
    """
    monkeypatch.setenv("HITL_URL", "https://hitl.example.com/")
    definition = told(confirmation_message="Process {rows}?", hitl_timeout=HOURS)
    async with serving(env, definition) as client:
        run = await started(client, definition, {"rows": "private"})
        asked = (await client.get(run)).requirements[0]
        await until(lambda: managers.calls)
        record = await client.resolve(run, Confirm(requirement_id="process", resolved_by="ana"))
        await ended(client, run)
        await until(lambda: len(managers.calls) == 2)
        await replays(client.handle(run), definition)
    opened, closed = (each.verified() for each in managers.calls)
    same = {
        **{"run_id": run, "pipeline": "told", "requirement_id": "process", "path": "process"},
        **{"kind": "confirmation", "name": "process", "on_timeout": "cancel"},
        "message": "Process {rows}?",
        "link": f"https://hitl.example.com/inbox/runs/{run}/requirements/process",
        "command": f"temporal-hitl show {run} process",
    }
    outcome = closed["data"]["outcome"]

    assert ("managers",) == asked.notify
    assert [OPENED, CLOSED] == [opened["type"], closed["type"]]
    assert same.items() <= opened["data"].items() and same.items() <= closed["data"].items()
    assert asked.deadline == datetime.fromisoformat(opened["data"]["deadline"])
    assert asked.created_at == datetime.fromisoformat(opened["timestamp"])
    assert record.resolved_at == datetime.fromisoformat(closed["timestamp"])
    assert [opened["data"]["id"], closed["data"]["id"]] == [each.id for each in managers.calls]
    assert managers.calls[0].id != managers.calls[1].id
    assert opened["data"]["outcome"] is None
    assert (record.told(), "confirm", "human", "ana", "claimed") == tuple(
        outcome[name] for name in ("told", "action", "decided_by", "resolved_by", "identity")
    )
    assert not any("private" in each.text for each in managers.calls)


async def test_who_is_told(
    env: WorkflowEnvironment, managers: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step's subscribers are told, else its pipeline's, else those of the worker's environment as
    it was when the run started; an empty list tells nobody.
    """
    monkeypatch.setenv("HITL_NOTIFY", "managers")
    review = HumanReview(requires_confirmation=True, notify=["managers"])
    nodes = [asks("own", notify=["managers"]), asks("silent", notify=[]), asks("plain")]
    branches = Parallel("all", *nodes, Step("whole", process, human_review=review))
    quiet = Workflow("quiet", [branches], notify=[])
    loud = Workflow("loud", [branches])
    with sink() as ops:
        subscribe(monkeypatch, "ops", ops)
        theirs = Workflow("theirs", [branches], notify=["ops"])
        async with serving(env, quiet, loud, theirs) as client:
            runs = [await started(client, each) for each in (quiet, theirs, loud)]
            monkeypatch.setenv("HITL_NOTIFY", "ops")
            asked = [(await client.get(run)).requirements for run in runs]
            await until(lambda: (len(managers.calls), len(ops.calls)) == (2 + 2 + 3, 1))
            for run in runs:
                await client.cancel(run)
                await ended(client, run)
                await replays(client.handle(run), quiet, loud, theirs)
            await until(lambda: (len(managers.calls), len(ops.calls)) == (14, 2))
    managers_, ops_ = ("managers",), ("ops",)
    by_name = [{each.name: each.notify for each in some} for some in asked]

    assert [
        {"own": managers_, "silent": (), "plain": (), "whole": managers_},
        {"own": managers_, "silent": (), "plain": ops_, "whole": managers_},
        {"own": managers_, "silent": (), "plain": managers_, "whole": managers_},
    ] == by_name
    assert [(OPENED, "all.plain"), (CLOSED, "all.plain")] == ops.told()


async def test_nobody_to_tell(env: WorkflowEnvironment) -> None:
    """Where nobody is told, a run makes no command for it."""
    definition = Workflow("untold", [asks()])
    async with serving(env, definition) as client:
        run = await started(client, definition)
        await client.resolve(run, Confirm(requirement_id="process"))
        await ended(client, run)

    assert [] == await notifications(client, run)


async def test_a_sink_that_is_down(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on and ends while nobody can be reached; they are told in the end, under the
    same id at each attempt.
    """
    port = await free_port()
    subscribe(monkeypatch, "managers", Sink(port))
    definition = told()
    async with serving(env, definition) as client:
        run = await started(client, definition)
        await client.resolve(run, Confirm(requirement_id="process"))
        output = await ended(client, run)
        (_, closing) = await notifications(client, run)
        await until(lambda: attempts(closing, 2))
        with sink(port, statuses=[500, 302]) as managers:
            results = [await each.result() for each in await notifications(client, run)]
        for each in (client.handle(run), closing):
            await replays(each, definition)

    assert output.status is RunStatus.completed
    assert [(CLOSED, "process")] * 3 == managers.told()
    assert 1 == len({each.id for each in managers.calls})
    assert all(each.verified() for each in managers.calls)
    assert [
        {OPENED: {"managers": "not told: it is not open any more"}},
        {CLOSED: {"managers": "told"}},
    ] == results


async def attempts(handle: WorkflowHandle[Any, Any], least: int) -> bool:
    """Return whether so many attempts were made of what the notification does now."""
    pending = (await handle.describe()).raw_description.pending_activities
    return any(each.attempt > least for each in pending)


@pytest.mark.parametrize("how", ["cancelled", "failed", "rejected"])
async def test_however_it_ends(env: WorkflowEnvironment, managers: Sink, how: str) -> None:
    """What is open when a run ends, in whatever way, is told as closed."""
    after = Step("breaks", breaks, requires_confirmation=True, on_error="fail", max_retries=0)
    rejected = asks("rejected", on_reject="cancel")
    definition = Workflow("ends", [Parallel("all", asks(), after, rejected)], notify=["managers"])
    decisions = {
        "failed": Confirm(requirement_id="all.breaks"),
        "rejected": Reject(requirement_id="all.rejected"),
    }
    async with serving(env, definition) as client:
        run = await started(client, definition)
        await until(lambda: len(managers.calls) == 3)
        if how in decisions:
            await client.resolve(run, decisions[how])
        else:
            await client.cancel(run)
        output = await ended(client, run)
        await until(lambda: len(managers.calls) == 6)
        await replays(client.handle(run), definition)
    closed = {each.data["name"]: each.data["outcome"] for each in managers.calls[3:]}
    answered = {"failed": "breaks", "rejected": "rejected"}.get(how)

    assert {"failed": RunStatus.error}.get(how, RunStatus.cancelled) is output.status
    assert {"process", "breaks", "rejected"} == closed.keys()
    assert all(
        ("withdraw" if name != answered else decisions[how].action) == each["action"]
        for name, each in closed.items()
    )


@pytest.mark.parametrize(("given", "before", "due"), [
    (HOURS, None, HOURS - timedelta(hours=1)),
    (timedelta(hours=2), None, timedelta(hours=1, minutes=36)),
    (HOURS, timedelta(hours=3), HOURS - timedelta(hours=3)),
])  # fmt: skip
async def test_due(
    env: WorkflowEnvironment,
    managers: Sink,
    given: timedelta,
    before: timedelta | None,
    due: timedelta,
) -> None:
    """A while before the deadline, and not sooner, the subscribers of what is still open are told;
    those of what was answered are not.
    """
    definition = told(hitl_timeout=given, notify_before=before)
    shortly = timedelta(minutes=2)
    async with serving(env, definition) as client:
        waits, answered = [await started(client, definition) for _ in range(2)]
        await until(lambda: len(managers.calls) == 2)
        await client.resolve(answered, Confirm(requirement_id="process"))
        await ended(client, answered)
        await until(lambda: len(managers.calls) == 3)
        (late,), (moot, _) = [await notifications(client, each) for each in (waits, answered)]
        assert await env.fast_forward(late, due - shortly)
        assert 3 == len(managers.calls)
        for each in (late, moot):
            await env.fast_forward(each, due + shortly)
        results = [await each.result() for each in (late, moot)]
        for each in (late, moot):
            await replays(each, definition)
    call = managers.calls[-1]

    assert [(DUE, waits)] == [(each.event, each.data["run_id"]) for each in managers.calls[3:]]
    assert [
        {OPENED: {"managers": "told"}, DUE: {"managers": "told"}},
        {OPENED: {"managers": "told"}},
    ] == results
    assert due == datetime.fromisoformat(call.body["timestamp"]) - datetime.fromisoformat(
        call.data["created_at"]
    )
    assert 4 == len({each.id for each in managers.calls})


async def test_no_secret_anywhere(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """URLs and secrets of subscribers stand in no history, no result and no log, reached or not."""
    caplog.set_level(logging.DEBUG)
    definition = Workflow("told", [asks()], notify=["managers", "down", "chat", "unsigned", "odd"])
    nowhere = await free_port()
    with sink(statuses=[500]) as managers:
        subscribe(monkeypatch, "managers", managers)
        subscribe(monkeypatch, "down", Sink(nowhere))
        monkeypatch.setenv("HITL_NOTIFY_CHAT", f"json://127.0.0.1:{nowhere}/path-with-a-token")
        monkeypatch.setenv("HITL_NOTIFY_UNSIGNED", managers.webhook)
        monkeypatch.setenv("HITL_NOTIFY_ODD", "path-with-a-token://here path-with-a-token json://")
        async with serving(env, definition) as client:
            run = await started(client, definition)
            (opening,) = await notifications(client, run)
            await until(lambda: attempts(opening, 2))
            await until(lambda: len(managers.calls) == 2)
            await client.resolve(run, Confirm(requirement_id="process"))
            await ended(client, run)
            outcome = await opening.result()
            histories = [await dumped(each) for each in (client.handle(run), opening)]
            pending = [
                str((await each.describe()).raw_description)
                for each in await notifications(client, run)
            ]

    assert {"managers": "told"} | dict.fromkeys(
        ["down", "chat", "unsigned", "odd"], "not told: it is not open any more"
    ) == outcome[OPENED]
    assert "HITL_NOTIFY_UNSIGNED_SECRET" in "".join(pending), "these are the places to look at"
    assert "requirement.opened" in histories[0] and "requirement.opened" in histories[1]
    places = [*histories, *pending, *(each.getMessage() for each in caplog.records), caplog.text]
    assert [] == [(each, place) for place in places for each in SECRETS if each in place]


async def test_an_unknown_subscriber(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker warns at its start of names that it does not know; what these are to be told waits,
    saying what to set, and is told once that is set.
    """
    definition = Workflow("told", [asks(notify=["who"])])
    async with serving(env, definition) as client:
        run = await started(client, definition)
        (opening,) = await notifications(client, run)
        await until(lambda: attempts(opening, 1))
        (pending,) = (await opening.describe()).raw_description.pending_activities
        with sink() as who:
            subscribe(monkeypatch, "who", who)
            result = await opening.result()
        await client.cancel(run)
    (warned,) = [each.getMessage() for each in caplog.records if "'who'" in each.getMessage()
                 and each.name == "temporal_hitl.notifications"]  # fmt: skip

    assert "set HITL_NOTIFY_WHO to its apprise URLs" in pending.last_failure.message
    assert "set HITL_NOTIFY_WHO to its apprise URLs" in warned
    assert {OPENED: {"who": "told"}} == result
    assert [(OPENED, "process")] == who.told()


async def test_given_up(
    env: WorkflowEnvironment, managers: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who cannot be reached for days is given up: the notification completes, and says who was not
    reached and why; one that is down holds no other one up.
    """
    monkeypatch.setattr("temporal_hitl._notifying.PATIENCE", timedelta(seconds=0.4))
    subscribe(monkeypatch, "down", Sink(await free_port()))
    definition = Workflow("told", [asks(notify=["down", "managers"])])
    async with serving(env, definition) as client:
        run = await started(client, definition)
        (opening,) = await notifications(client, run)
        result = await opening.result()
        await client.cancel(run)

    why = "not told: subscriber 'down': no answer: ConnectionError"
    assert {OPENED: {"down": why, "managers": "told"}} == result
    assert OPENED == managers.calls[0].event


async def test_too_many(
    env: WorkflowEnvironment, managers: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notices that would be more than a run may have under way are left out; its details say so,
    and it goes on.
    """
    monkeypatch.setattr("temporal_hitl._notices.MOST", 1)
    managers.delay = 5.0
    definition = Workflow("many", [Parallel("all", asks("a"), asks("b"))], notify=["managers"])
    async with serving(env, definition) as client:
        run = await started(client, definition)
        shown = await details(client.handle(run))
        await until(lambda: managers.calls)
        await client.cancel(run)
        output = await ended(client, run)

    left_out = "requirement.opened is not told; too many notices are under way"
    assert f"all.b: {left_out}" in shown and f"all.a: {left_out}" not in shown
    assert RunStatus.cancelled is output.status
    assert [(OPENED, "all.a")] == managers.told()


async def test_one_of_two_urls(
    env: WorkflowEnvironment, managers: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a subscriber's several URLs, one that was told is not told again with those that were
    not.
    """
    with sink(statuses=[503, 503]) as other:
        monkeypatch.setenv("HITL_NOTIFY_MANAGERS", f"{managers.webhook} {other.webhook}")
        definition = told()
        async with serving(env, definition) as client:
            run = await started(client, definition)
            (opening,) = await notifications(client, run)
            result = await opening.result()
            await client.cancel(run)
            await until(lambda: len(managers.calls) == 2)

    assert {OPENED: {"managers": "told"}} == result
    assert [OPENED, CLOSED] == [each.event for each in managers.calls]
    assert [OPENED] * 3 == [each.event for each in other.calls[:3]]


async def test_by_apprise(env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mail and chat get a title, and a text with the question, the deadline and the link, or the
    command that shows the requirement where nobody said what the link is.
    """
    definition = Workflow(
        "pay", [asks("refund", notify=["chat"], confirmation_message="Pay?", hitl_timeout=HOURS)]
    )
    with sink() as chat:
        monkeypatch.setenv("HITL_NOTIFY_CHAT", f"json://127.0.0.1:{chat.port}/chat")
        async with serving(env, definition) as client:
            run = await started(client, definition)
            asked = (await client.get(run)).requirements[0]
            await until(lambda: chat.calls)
            monkeypatch.setenv("HITL_URL", "https://hitl.example.com")
            await client.resolve(run, Reject(requirement_id="refund", feedback="no"))
            await until(lambda: len(chat.calls) == 2)
            (record,) = (await ended(client, run)).resolutions
    opened, closed = (each.body for each in chat.calls)
    assert asked.deadline is not None
    until_ = asked.deadline.isoformat(timespec="seconds")

    assert ("Waits for a decision: pay, refund", "Decided: pay, refund") == (
        opened["title"],
        closed["title"],
    )
    assert (
        f"Pay?\n\nrefund (confirmation) of run {run}\nuntil {until_}; then the deadline acts: "
        f"cancel\n\ntemporal-hitl show {run} refund"
    ) == opened["message"]
    assert (
        f"Pay?\n\nrefund (confirmation) of run {run}\n{record.told()} (identity: none)"
        f"\n\nhttps://hitl.example.com/inbox/runs/{run}/requirements/refund"
    ) == closed["message"]


async def test_a_slow_subscriber(env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscriber that takes ten seconds to answer delays nothing in the run."""
    definition = told()
    with sink(delay=10) as managers:
        subscribe(monkeypatch, "managers", managers)
        async with serving(env, definition) as client:
            run = await started(client, definition)
            await until(lambda: managers.calls)
            before = datetime.now(UTC)
            await client.resolve(run, Confirm(requirement_id="process"))
            output = await ended(client, run)
            took = datetime.now(UTC) - before

    assert "processed" == output.content
    assert took < timedelta(seconds=5)


async def test_over_executions(short: WorkflowEnvironment, managers: Sink) -> None:
    """A question that stays open while its run continues as new is told as opened once, and as
    closed once.
    """
    ticks = Loop([Step("tick", process)], name="ticks", max_iterations=15)
    definition = Workflow("long", [Parallel("all", asks(notify=["managers"]), ticks)])
    async with serving(short, definition) as client:
        run = await client.start(definition)
        await until(lambda: quiet(client, run))
        await client.resolve(run, Confirm(requirement_id="all.process"))
        output = await ended(client, run)
        await until(lambda: len(managers.calls) == 2)
        executions = await replay_all(short, run, definition)

    assert RunStatus.completed is output.status
    assert executions > 1
    assert [(OPENED, "all.process"), (CLOSED, "all.process")] == managers.told()


async def quiet(client: HitlClient, run: str) -> bool:
    """Return whether nothing but the question is left of the run."""
    output = await client.get(run)
    return output.is_paused and any(each.step_name == "ticks" for each in output.walk())


@pytest.mark.parametrize("how", ["answered", "cancelled"])
async def test_by_hand(env: WorkflowEnvironment, managers: Sink, how: str) -> None:
    """A workflow written by hand tells the subscribers of its gate, or of one question, and what
    closes with the run as well.
    """
    async with serving(env, workflows=[Refund]) as client:
        run = await client.start("Refund", 7)
        await paused(client, run)
        await client.resolve(run, Reject(requirement_id="small"))
        await until(lambda: managers.calls)
        if how == "answered":
            await client.resolve(run, Confirm(requirement_id="big"))
        else:
            await client.cancel(run)
        await ended(client, run)
        await until(lambda: len(managers.calls) == 2)
        await replays(client.handle(run), workflows=[Refund])

    assert [(OPENED, "big"), (CLOSED, "big")] == managers.told()
    assert "Refund 7?" == managers.calls[0].data["message"]


async def test_they_are_no_runs(env: WorkflowEnvironment, managers: Sink) -> None:
    """What tells subscribers stands in no list of runs, is no child run, and puts nothing at work
    in the run.
    """
    definition = told(hitl_timeout=HOURS)
    async with serving(env, definition) as client:
        run = await started(client, definition)
        (opening,) = await notifications(client, run)
        listed = f"WorkflowType = 'temporal_hitl.Notification' AND RootWorkflowId = '{run}'"

        async def seen() -> list[str]:
            return [each.id async for each in env.client.list_workflows(listed)]

        there = await until(seen)
        below = f"RootWorkflowId = '{run}'"
        rows = [each.run_id async for each in client.list_runs(below)]
        page = [each.run_id for each in (await client.page_of_runs(below)).items]
        async with web(client, definition) as caller:
            over_http = (await caller.get("/runs", params={"root_run_id": run})).json()["items"]
        output = await client.get(run)
        await client.cancel(run)

    assert [opening.id] == there
    assert [run] == rows == page == [each["run_id"] for each in over_http]
    assert ({}, [], []) == (output.children, output.child_runs, output.running)


async def test_a_link_decides_nothing(
    env: WorkflowEnvironment, managers: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fetches the link, as mail scanners do, decides nothing: the page only shows the
    question.
    """
    monkeypatch.setenv("HITL_URL", "http://127.0.0.1")
    definition = told(confirmation_message="Really?")
    async with serving(env, definition) as client:
        run = await started(client, definition)
        link = (await until(lambda: managers.calls))[0].data["link"]
        async with web(client, definition, inbox=Inbox()) as caller:
            page = await caller.get(link)
            others = [
                await caller.request(method, f"{link}{rest}")
                for method in ("GET", "HEAD", "OPTIONS")
                for rest in ("?action=confirm", "/confirm", "/resolution?action=confirm")
            ]
        told_ = await client.requirements(run, resolved=True)
        await client.cancel(run)

    assert (200, True) == (page.status_code, "Really?" in page.text)
    assert (["process"], [], []) == (
        [each.id for each in told_.open],
        told_.resolved,
        told_.refused,
    )
    assert all(each.status_code in (200, 404, 405) for each in others)
