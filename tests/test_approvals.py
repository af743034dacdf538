"""Approvals: what `@approval` marks is executed only once somebody who may has signed for it, and
every decision is on file before.
"""

from __future__ import annotations

import asyncio
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.toolsets import FunctionToolset
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Approval, HitlClient, Loop, Parallel, Reject, RunStatus, Step, Workflow
from temporal_hitl.agents import (
    Agent,
    Ask,
    AskingFunction,
    Function,
    RunOutput,
    Team,
    approval,
    tool,
)
from temporal_hitl.approvals import FILE, ApprovalsFile
from temporal_hitl.errors import AlreadyResolved, BadSignature, DefinitionError, NotPermitted
from temporal_hitl.requirements import Confirm, EditArguments, Report, Retry
from temporal_hitl.signing import KEYS as VARIABLE
from tests.agents import Desk, desk_of, scripted
from tests.resets import asked, opening, reset
from tests.signatures import KEYS, sign
from tests.stage import cli, ended, paused, replay_all, serving, until

A_DAY = timedelta(days=1)
done: list[str] = []
"""What tools did, with the statuses on file at that moment."""


@pytest.fixture(autouse=True)
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let workers that start have the keys, and a file."""
    done.clear()
    there = tmp_path / "kept" / "approvals.jsonl"
    monkeypatch.setenv(VARIABLE, KEYS)
    monkeypatch.setenv(FILE, str(there))
    return there


def lines() -> list[dict[str, Any]]:
    there = Path(os.environ[FILE])
    return [json.loads(each) for each in there.read_text().splitlines()] if there.exists() else []


def did(what: str) -> str:
    filed = ",".join(f"{each['requirement_id']} {each['status']}" for each in lines())
    done.append(f"{what} ({filed})")
    return f"did {what}"


@approval
@tool
def wipe(disk: str) -> str:
    """Wipe a disk."""
    return did(f"wipe {disk}")


@tool
@approval(not_requester=True, roles=["chief", "finance"])
def pay(amount: int) -> str:
    """Pay."""
    return did(f"pay {amount}")


@approval(type="audit")
@tool(requires_confirmation=True)
def mail(to: str) -> str:
    """Send a mail."""
    return did(f"mail {to}")


@approval
@tool(timeout=A_DAY, on_timeout="skip")
def soon(what: str) -> str:
    """Do it soon."""
    return did(what)


@approval(type="audit")
@tool(external_execution=True)
def outside(what: str) -> str:
    """Have it done."""
    return did(what)


def agent(name: str, *calls: tuple[str, Any], **options: Any) -> Agent:
    return Agent(name, scripted(calls), tools=[wipe, pay, mail, soon, outside], **options)


def signed(
    desk: Desk | HitlClient, run: str, answer: Any, subject: str = "ana", *roles: str
) -> Any:
    client = desk.client if isinstance(desk, Desk) else desk
    return sign(client, run, answer, subject=subject, roles=roles or ["approver"])


def yes(desk: Desk | HitlClient, run: str, key: str, *who: str) -> Any:
    return signed(desk, run, Confirm(requirement_id=key), *who)


def told(approvals: list[Approval]) -> list[tuple[str, str]]:
    return [(each.requirement_id, each.status.value) for each in approvals]


async def payout(ask: Ask, prompt: str) -> str:
    return await ask.call("pays", amount=5, message="Pay {amount}?")


def pays(amount: int) -> str:
    return did(f"pay {amount}")


def theirs() -> Workflow:
    """Return a step for each agent that is not of our own making, and calls what is marked."""
    agent = PydanticAgent(scripted([("pays", {"amount": 5})]), name="theirs")
    agent.tool_plain(approval(roles=["chief"])(pays))
    asks = AskingFunction(payout, {"pays": approval(roles=["chief"])(pays)})
    return Workflow("marked", [Step(agent=agent), Step(agent=asks)])


async def test_of_agents_as_they_are(env: WorkflowEnvironment) -> None:
    """`@approval` on a tool of a pydantic-ai agent, and on one of an `AskingFunction`, needs who it
    names.
    """
    flow = theirs()
    async with desk_of(env, flow) as desk:
        run = (await desk.open(flow, "theirs.1.pays")).run_id
        for key in ("theirs.1.pays", "payout.1.pays"):
            output = await desk.asked(run, key)
            with pytest.raises(NotPermitted, match="chief"):
                await desk.resolve(run, yes(desk, run, key, "ana", "approver"))
            await desk.resolve(run, yes(desk, run, key, "ana", "chief"))
        ended = await desk.end(run)

    assert ["Pay 5?"] == [each.message for each in output.run.requirements]
    assert "did pay 5" == ended.content
    assert 2 == len(done)


def test_marks_that_would_be_overlooked() -> None:
    """`@approval` that would mean nothing for a pydantic-ai agent is refused with what to write."""
    audits = PydanticAgent(scripted(), name="audits", tools=[approval(type="audit")(pays)])
    with pytest.raises(DefinitionError, match="add requires_approval=True"):
        Workflow("audits", [audits])
    toolset: FunctionToolset[Any] = FunctionToolset([approval(pays)])
    wraps = PydanticAgent(scripted(), name="wraps", toolsets=[toolset.prefixed("my")])
    with pytest.raises(DefinitionError, match="give the agent the tool, or its toolset, itself"):
        Workflow("wraps", [wraps])


async def test_only_who_may_and_signs(env: WorkflowEnvironment) -> None:
    """A required approval takes no yes that is not signed by an approver, by no door, nothing runs
    and the record waits; the first that is signed has the tool run once, with the record on file.
    """
    asks, key = agent("asks", ("wipe", {"disk": "sda"})), "asks.1.wipe"
    async with desk_of(env, asks) as desk:
        output = await desk.open(asks, key)
        run = output.run_id
        (requirement,) = output.active_requirements
        requirement.confirm()
        with pytest.raises(NotPermitted, match=r"--role approver.*HITL_SIGNING_KEYS"):
            await desk.send(requirement)
        with pytest.raises(NotPermitted, match="has the roles: reviewer"):
            await desk.client.resolve(run, yes(desk, run, key, "bob", "reviewer"))
        by_hand = [await _by_hand(env, how, run, key) for how in ("update execute", "signal")]
        refused = await until(lambda: _refused_by_signal(desk, run))
        (waiting,) = (await desk.asked(run, key)).approvals
        record = await desk.client.resolve(run, yes(desk, run, key))
        output = await desk.end(run)

    assert [True, False] == [code != 0 for code, _, _ in by_hand]
    assert "is answered by approver only" in by_hand[0][2] and "approver only" in refused
    assert ("pending", {"disk": "sda"}) == (waiting.status.value, waiting.arguments)
    assert (None, ("approver",)) == (waiting.resolved_at, waiting.asks)
    assert [f"wipe sda ({key} approved)"] == done
    (closed,) = output.approvals
    assert lines() == [closed.model_dump(mode="json")]
    assert closed == waiting.model_copy(
        update={
            "status": "approved",
            "resolved_at": record.resolved_at,
            "resolved_by": "ana",
            "identity": "signed",
            "roles": ("approver",),
            "channel": "http",
            "decided_by": "human",
            "action": "confirm",
        }
    )


async def _by_hand(env: WorkflowEnvironment, how: str, run: str, key: str) -> tuple[int, Any, str]:
    words = f"workflow {how} --name confirm -w {run} --input".split()
    return await cli(env, *words, f'"{key}"')


async def _refused_by_signal(desk: Desk, run: str) -> str:
    refused = (await desk.client.get(run)).refused
    return "".join(each.reason for each in refused if each.door == "confirm")


async def test_a_no_is_a_no(env: WorkflowEnvironment) -> None:
    """What was rejected, or has expired, is never executed, whoever signs for it afterwards; the
    agent is told, and both are on file.
    """
    no, late = agent("no", ("wipe", {"disk": "sda"})), agent("late", ("soon", {"what": "it"}))
    async with desk_of(env, no, late) as desk:
        first, second = [(await desk.open(each)).run_id for each in (no, late)]
        reason = Reject(requirement_id="no.1.wipe", feedback="not that one")
        await desk.client.resolve(first, signed(desk, first, reason))
        await env.fast_forward(desk.client.handle(second), A_DAY + timedelta(hours=1))
        ends = [await desk.end(first), await desk.end(second)]
        for run, key in ((first, "no.1.wipe"), (second, "late.1.soon")):
            with pytest.raises(AlreadyResolved):
                await desk.client.resolve(run, yes(desk, run, key))

    assert [] == done
    assert ["rejected", "expired"] == [each["status"] for each in lines()]
    assert [("not that one", "human"), (None, "timeout")] == [
        (each["comment"], each["decided_by"]) for each in lines()
    ]
    assert "wipe: rejected by ana: not that one" == ends[0].content
    assert "soon: nobody decided before the deadline, so it was not called" == ends[1].content


async def test_a_reset_asks_again(env: WorkflowEnvironment) -> None:
    """A run that is reset to before a rejection asks again, and again takes no unsigned yes; both
    decisions are on file.
    """
    asks, key = agent("again", ("wipe", {"disk": "sda"})), "again.1.wipe"
    async with serving(env, asks.workflow, max_cached_workflows=0) as client:
        run = await client.start(asks.workflow, "go")
        await paused(client, run)
        before = await opening(client.handle(run), key)
        await client.resolve(run, signed(client, run, Reject(requirement_id=key)))
        await ended(client, run)
        await reset(env, run, "--event-id", before, "--reapply-exclude", "All")
        await asked(client, run, key)
        with pytest.raises(NotPermitted):
            await client.resolve(run, Confirm(requirement_id=key))
        nothing = list(done)
        await client.resolve(run, yes(client, run, key))
        output = await ended(client, run)
        await replay_all(env, run, asks.workflow)

    assert ([], [f"wipe sda ({key} rejected,{key} approved)"]) == (nothing, done)
    assert [(key, "approved")] == told(output.approvals)
    filed = ApprovalsFile(Path(os.environ[FILE])).records()
    assert ["rejected", "approved"] == [each.status.value for each in filed]


async def test_one_record_for_each(env: WorkflowEnvironment) -> None:
    """An audit beside two required approvals in one turn gives three records: anybody decides the
    audit, and each of the others takes a signature of its own.
    """
    calls = ("mail", {"to": "bo"}), ("wipe", {"disk": "sda"}), ("wipe", {"disk": "sdb"})
    asks, keys = agent("three", *calls), ("three.1.mail", "three.1.wipe", "three.1.wipe-2")
    async with desk_of(env, asks) as desk:
        output = await desk.open(asks, *keys)
        run = output.run_id
        await desk.client.resolve(run, Confirm(requirement_id=keys[0], resolved_by="somebody"))
        for key in keys[1:]:
            with pytest.raises(NotPermitted):
                await desk.client.resolve(run, Confirm(requirement_id=key))
        edited = EditArguments(requirement_id=keys[2], arguments={"disk": "sdc"})
        await desk.client.resolve(run, signed(desk, run, edited))
        half = await until(lambda: _with(desk, run, keys[2], "approved"))
        await desk.client.resolve(run, yes(desk, run, keys[1]))
        end = await desk.end(run)

    # Both that have closed are on their way to the file, and may come there in either order.
    assert (keys[1], "pending") == told(half)[-1]
    assert {(keys[0], "approved"), (keys[2], "approved")} == set(told(half)[:-1])
    by_id = {each["requirement_id"]: each for each in lines()}
    assert set(keys) == by_id.keys()
    assert ("audit", "claimed", [], "somebody") == tuple(
        by_id[keys[0]][name] for name in ("type", "identity", "asks", "resolved_by")
    )
    assert ({"disk": "sdb"}, {"disk": "sdc"}, "edit_arguments") == tuple(
        by_id[keys[2]][name] for name in ("arguments", "given", "action")
    )
    assert ["mail bo", "wipe sdc", "wipe sda"] == [each.partition(" (")[0] for each in done]
    assert sorted(by_id) == sorted(key for key, _ in told(end.approvals))


async def _with(desk: Desk, run: str, key: str, status: str) -> list[Approval]:
    """Return the run's approvals, once `key` stands so and is on file."""
    approvals = (await desk.client.get(run)).approvals
    return approvals if {key} <= {e["requirement_id"] for e in lines()} else []


async def test_kinds_and_requesters(env: WorkflowEnvironment) -> None:
    """Who started a run does not approve what somebody else must, whatever their roles; where
    nobody knows who that is, it is not called. What runs outside is on file with what was reported.
    """
    asks, key = agent("mine", ("pay", {"amount": 7})), "mine.1.pay"
    reports = agent("reports", ("outside", {"what": "it"}))
    async with desk_of(env, asks, reports) as desk:
        nobody = await desk.said(asks)
        run = (await desk.open(asks, key, user_id="ana")).run_id
        for who in (("ana", "finance"), ("bob", "approver")):
            with pytest.raises(NotPermitted) as refused:
                await desk.client.resolve(run, yes(desk, run, key, *who))
            done.append(str(refused.value).partition(" is ")[2])
        await desk.client.resolve(run, yes(desk, run, key, "bob", "finance"))
        end = await desk.end(run)
        out = (await desk.open(reports, "reports.1.outside")).run_id
        await desk.client.resolve(out, Report(requirement_id="reports.1.outside", result=[1]))
        await desk.end(out)

    assert "does not say who that is (user_id)" in nobody
    assert [
        "decided by somebody else than 'ana', who started the run",
        "answered by chief or finance only; 'bob' has the roles: approver",
        f"pay 7 ({key} approved)",
    ] == done
    assert ("ana", "bob", ("chief", "finance")) == (
        end.approvals[0].requested_by,
        end.approvals[0].resolved_by,
        end.approvals[0].asks,
    )
    reported = lines()[-1]
    assert ("tool_execution", "approved", {"result": [1], "error": None}) == tuple(
        reported[name] for name in ("kind", "status", "given")
    )


async def test_members_of_a_team(env: WorkflowEnvironment) -> None:
    """Members of a team ask for approvals each for itself, below their own paths, and a yes of
    anybody has none of them executed.
    """
    ops = agent("ops", ("wipe", {"disk": "sda"}))
    bank = agent("bank", ("wipe", {"disk": "sdb"}))
    calls = [("delegate", {"member": name, "task": "go"}) for name in ("ops", "bank")]
    team = Team("team", [ops, bank], scripted(calls))
    keys = "team.1.ops.1.wipe", "team.1.bank.1.wipe"
    async with desk_of(env, team) as desk:
        run = (await desk.open(team)).run_id
        output = await asked(desk.client, run, *keys)
        drafts = {each.id: each for each in RunOutput(output).active_requirements}
        for key in keys:
            drafts[key].confirm()
            with pytest.raises(NotPermitted):
                await desk.send(drafts[key])
            await desk.client.resolve(run, yes(desk, run, key))
        end = await desk.end(run)

    assert {("ops", "sda"), ("bank", "sdb")} == {
        (each.agent_name, each.arguments and each.arguments["disk"]) for each in end.approvals
    }
    assert 2 == len(done) == len(lines())


async def test_in_a_pipeline_within(env: WorkflowEnvironment) -> None:
    """In a child run who started the parent does not approve, and no signature counts that was
    made for the parent; a cancel of the parent closes what the child asks.
    """
    asks = agent("below", ("pay", {"amount": 7}), ("wipe", {"disk": "sda"}))
    sub = Workflow("approvals_sub", [Step("ask", agent=asks)])
    top = Workflow("approvals_top", [Step("sub", workflow=sub)])
    pays, wipes = "ask.1.pay", "ask.1.wipe"
    async with desk_of(env, top, sub) as desk:
        parent = await desk.start(top, user_id="ana")
        seen = await desk.client.wait(parent, timeout=20)
        (run,) = {each.run_id for each in seen.runs() if each.requirements}
        await asked(desk.client, run, pays, wipes)
        with pytest.raises(NotPermitted, match="'ana', who started the run"):
            await desk.client.resolve(run, yes(desk, run, pays, "ana", "finance"))
        with pytest.raises(BadSignature, match="made for another run"):
            await desk.client.resolve(run, yes(desk, parent, pays, "bob", "finance"))
        await desk.client.resolve(run, yes(desk, run, pays, "bob", "finance"))
        await until(lambda: done)
        await desk.client.cancel(parent)
        await desk.end(parent)
        end = await desk.end(run)

    assert [f"pay 7 ({pays} approved)"] == done
    assert [(pays, "approved"), (wipes, "cancelled")] == told(end.approvals)
    assert {run} == {each["run_id"] for each in lines()}


async def test_whatever_ends_the_run(env: WorkflowEnvironment) -> None:
    """Whether a run is cancelled, or fails, while approvals wait, each is closed as cancelled, told
    in the result and on file by then.
    """
    both = agent("both", ("wipe", {"disk": "sda"}), ("mail", {"to": "bo"}))

    def fails() -> None:
        raise ValueError("no")

    broken = Step("broken", fails, on_error="fail", max_retries=0, requires_confirmation=True)
    fragile = Workflow("fragile", [Parallel(Step("ask", agent=both), broken, name="p")])
    async with desk_of(env, both, fragile) as desk:
        cancelled = (await desk.open(both, "both.1.wipe", "both.1.mail")).run_id
        await desk.client.cancel(cancelled)
        first = await desk.end(cancelled)
        run = await desk.start(fragile)
        await asked(desk.client, run, "p.ask.1.wipe", "p.ask.1.mail", "p.broken")
        await desk.client.resolve(run, Confirm(requirement_id="p.broken"))
        second = await desk.end(run)

    assert (RunStatus.cancelled, RunStatus.error) == (first.status, second.status)
    assert 4 * ["cancelled"] == [each["status"] for each in lines()]
    for output in (first, second):
        closed = [each for each in lines() if each["run_id"] == output.run_id]
        assert 2 * ["cancelled"] == [each.status.value for each in output.approvals]
        assert {e["id"] for e in closed} == {each.id for each in output.approvals}
    assert [] == done


async def test_what_cannot_be_filed_waits(env: WorkflowEnvironment, file: Path) -> None:
    """While an approval cannot be filed its tool waits, and an operator reads why in the pending
    activity; once it can, the tool runs, once.
    """
    asks, key = agent("stuck", ("wipe", {"disk": "sda"})), "stuck.1.wipe"
    async with desk_of(env, asks) as desk:
        run = (await desk.open(asks, key)).run_id
        file.mkdir(parents=True)
        await desk.client.resolve(run, yes(desk, run, key))
        reason = await until(lambda: _why(desk.client, run))
        meanwhile, stands = list(done), await desk.client.get(run)
        file.rmdir()
        await desk.end(run)

    assert "cannot be filed" in reason and "nothing that is approved is executed" in reason
    assert ([], [f"{key}.~approval"], False) == (meanwhile, stands.running, stands.is_paused)
    assert [f"wipe sda ({key} approved)"] == done


async def _why(client: HitlClient, run: str) -> str:
    pending = (await client.handle(run).describe()).raw_description.pending_activities
    return next((each.last_failure.message for each in pending if each.attempt > 1), "")


@pytest.mark.slow
async def test_over_many_executions(short: WorkflowEnvironment) -> None:
    """An approval that waits while its run continues as new again and again is the same one
    afterwards, and what has closed before is still told.
    """
    asks = agent("asks", ("mail", {"to": "bo"}), ("wipe", {"disk": "sda"}))
    may = asyncio.Event()
    count = Loop([Step("again", may.wait)], name="count", max_iterations=25)
    long = Workflow("long", [Parallel(Step("ask", agent=asks), count, name="p")])
    mails, wipes = "p.ask.1.mail", "p.ask.1.wipe"
    async with serving(short, long, max_cached_workflows=0) as client:
        run = await client.start(long, "go")
        before = await asked(client, run, mails, wipes)
        await client.resolve(run, Confirm(requirement_id=mails))
        may.set()
        await until(lambda: _counted(client, run))
        now = await client.get(run)
        await client.resolve(run, yes(client, run, wipes))
        output = await ended(client, run)
        assert 1 < await replay_all(short, run, long)

    assert before.execution_id != now.execution_id
    waited = {each.requirement_id: each for each in before.approvals}[wipes]
    assert [waited] == [each for each in now.approvals if each.status.value == "pending"]
    assert [(mails, "approved"), (wipes, "approved")] == told(output.approvals)
    assert [mails, wipes] == [each["requirement_id"] for each in lines()]


async def _counted(client: HitlClient, run: str) -> bool:
    return "count" in [each.step_name for each in (await client.get(run)).inner_results]


def a_tool(name: str, **options: Any) -> Function:
    @tool(name=name, **options)
    def act(disk: str) -> str:
        return did(f"{name} {disk}")

    return act


NAMES = "first", "second", "third", "fourth"


def deployed(*tools: Function) -> Workflow:
    calls = scripted([(name, {"disk": "sda"}) for name in NAMES])
    ops = Agent("ops", calls, tools=tools)
    return Workflow("deployed", [Step("ask", agent=ops, requires_confirmation=True)])


async def test_a_deploy_takes_nothing_back(env: WorkflowEnvironment) -> None:
    """A run that began while tools needed an approval, always or on a condition, or a person's yes,
    needs it, though the code that takes its turn later says nothing of it; what was an audit then
    is on file.
    """
    confirmed = {"requires_confirmation": True}
    old = deployed(
        approval(a_tool("first")),
        approval(a_tool("second", requires_confirmation=lambda disk: True)),
        a_tool("third", **confirmed),
        approval(type="audit")(a_tool("fourth", **confirmed)),
    )
    new = deployed(*map(a_tool, NAMES[:3]), a_tool("fourth", **confirmed))
    keys = [f"ask.1.{name}" for name in NAMES]
    async with serving(env, old) as client:
        run = await client.start(old, "go")
        await paused(client, run)
    async with serving(env, new, queue=client.task_queue) as client:
        await client.resolve(run, Confirm(requirement_id="ask"))
        await asked(client, run, *keys)
        for key in keys[:2]:
            with pytest.raises(NotPermitted):
                await client.resolve(run, Confirm(requirement_id=key))
            await client.resolve(run, yes(client, run, key))
        for key in keys[2:]:
            await client.resolve(run, Confirm(requirement_id=key))
        await ended(client, run)
        await replay_all(env, run, new)

    assert set(NAMES) == {each.partition(" ")[0] for each in done}
    assert {keys[0], keys[1], keys[3]} == {each["requirement_id"] for each in lines()}


async def test_what_nobody_knows_is_asked_of_approvers(env: WorkflowEnvironment) -> None:
    """To make an approved call again whose end nobody knows takes an approval, too, which is
    a record of its own.
    """

    @approval
    @tool
    async def hang(what: str) -> str:
        done.append(what)
        await asyncio.sleep(0 if len(done) > 1 else 60)
        return what

    hangs = Agent("hangs", scripted([("hang", {"what": "it"})]), tools=[hang])
    second = timedelta(seconds=1)
    lost = Workflow("lost", [Step("ask", agent=hangs, start_to_close_timeout=second)])
    first, again = "ask.1.hang", "ask.1.hang~2"
    async with desk_of(env, lost) as desk:
        run = await desk.start(lost)
        await asked(desk.client, run, first)
        await desk.client.resolve(run, yes(desk, run, first))
        await asked(desk.client, run, again)
        with pytest.raises(NotPermitted):
            await desk.client.resolve(run, Retry(requirement_id=again))
        await desk.client.resolve(run, signed(desk, run, Retry(requirement_id=again), "bob"))
        await desk.end(run)

    assert ["it", "it"] == done
    assert [("tool_confirmation", "confirm", "ana"), ("tool_outcome", "retry", "bob")] == [
        (each["kind"], each["action"], each["resolved_by"]) for each in lines()
    ]
