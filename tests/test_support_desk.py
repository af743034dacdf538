"""A support desk: an agent that acts on a real database, as far as people allow."""

from __future__ import annotations

import asyncio
import json
import runpy
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from activities import support_desk as desk
from activities.support_desk.scripted import SAYS_SO
from temporal_hitl import Answer, Confirm, EditArguments, HitlClient, Reject, RunStatus
from temporal_hitl.approvals import FILE as APPROVALS
from temporal_hitl.cli._exits import Exit
from temporal_hitl.errors import AlreadyResolved, NotPermitted, OperatorError
from temporal_hitl.requirements import AnyRequirement, AnyResolution
from temporal_hitl.signing import KEYS as VARIABLE
from tests.provider import KEY, Calls, Says, provider
from tests.shell import Shell
from tests.signatures import KEYS, sign
from tests.stage import cli, ended, paused, replays, serving, until
from workflows.support_desk import support_desk

FILE = Path(__file__).parent.parent / "workflows" / "support_desk.py"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the desk's database is, in a folder that is not there yet."""
    path = tmp_path / "of" / "the" / "shop.db"
    monkeypatch.setenv("SUPPORT_DESK_DB", str(path))
    return path


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where approvals are filed; workers have that, and keys."""
    path = tmp_path / "kept" / "approvals.jsonl"
    monkeypatch.setenv(APPROVALS, str(path))
    monkeypatch.setenv(VARIABLE, KEYS)
    return path


def filed(file: Path) -> dict[str, dict[str, Any]]:
    """Return what is on file, by tool."""
    lines = file.read_text().splitlines() if file.exists() else []
    return {each["tool_name"]: each for each in map(json.loads, lines)}


def rows(shop: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(shop)) as connection:
        return connection.execute(query).fetchall()


# The database


def test_the_database_is_made_once(shop: Path, tmp_path: Path) -> None:
    """Whoever comes first makes the database, always the same one, and nobody sees half of it."""
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: desk.find_order("1007"), range(8)))
    first = shop.read_bytes()
    shop.unlink()
    desk.database()

    assert 1 == len({*found})
    assert ("C-204", 41900, 0) == (found[0].customer, found[0].cents, found[0].refunded_cents)
    assert ["1001", "1007"] == desk.find_account("C-204").orders
    assert first == shop.read_bytes()
    assert [shop] == list(shop.parent.iterdir())


def test_an_order_is_refunded_once(shop: Path) -> None:
    """Of many who refund an order at one moment one does; executed again it says the same, and
    what is not possible is refused.
    """

    def refund(key: int, cents: int = 100) -> str:
        try:
            return desk.refund_order("1001", cents, "card", "late", f"run/{key}")
        except ValueError as refused:
            return str(refused)

    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(refund, range(8)))
    ((winner,),) = rows(shop, "SELECT key FROM refunds")

    done = "refunded 1.00 EUR for order 1001 to card"
    assert 1 == told.count(done)
    assert 7 == told.count("order 1001 was refunded before: 1.00 EUR")
    assert done == refund(int(winner.removeprefix("run/")))
    assert "order 1001 cost 24.90 EUR, not 24.91 EUR" == refund(9, 2491)
    assert 100 == desk.find_order("1001").refunded_cents


def test_what_is_gone_is_gone(shop: Path) -> None:
    """An account is deleted once and no second time, and nothing is credited to it."""
    assert "deleted the account C-026" == desk.delete_account("C-026")
    for again in (
        lambda: desk.delete_account("C-026"),
        lambda: desk.find_account("C-026"),
        lambda: desk.grant_goodwill("C-026", 100, "1", "k"),
        lambda: desk.find_order("9999"),
    ):
        with pytest.raises(LookupError, match="there is no"):
            again()
    with pytest.raises(ValueError, match=r"0\.00 EUR is no amount"):
        desk.grant_goodwill("C-204", 0, "1", "k")
    assert [desk.grant_goodwill("C-204", 100, "1", "k") for _ in range(2)] == (
        ["credited C-204 with 1.00 EUR"] * 2
    )
    assert [(1,)] == rows(shop, "SELECT COUNT(*) FROM goodwill")


# The agent

ALL = "I am C-204. Refund order 1007, it came damaged; 5 EUR of goodwill, and delete my account!"
CALLS = "support_desk.2"
REFUND, DELETION = f"{CALLS}.refund_order", f"{CALLS}.delete_account"
COST = Answer(
    requirement_id=f"{CALLS}.grant_goodwill", values={"cost_centre": "4711"}, resolved_by="bo"
)
NO_REFUND = Reject(requirement_id=REFUND, feedback="no receipt")
PART = {"number": "1007", "cents": 20000, "paid_to": "card", "reason": "damaged"}


def chosen(asked: AnyRequirement, what: str) -> Answer:
    """Return the answer to the desk's question."""
    form: Any = asked.model_dump()["form"]
    return Answer(requirement_id=asked.id, values=dict.fromkeys(form["properties"], what))


def approver(
    client: HitlClient, run: str, answer: AnyResolution, name: str = "ana", *roles: str
) -> AnyResolution:
    """Return an answer as an approver signs it."""
    return sign(client, run, answer, subject=name, roles=roles or ["approver"])


async def through(
    client: HitlClient, run: str, answers: Sequence[AnyResolution], shop: Path
) -> None:
    """Answer the desk's question, and then all that it wants to do."""
    (question,) = (await paused(client, run)).requirements
    await client.resolve(run, chosen(question, "card"))
    asked = {each.id for each in (await paused(client, run)).requirements}
    assert {f"{CALLS}.{each}" for each in ("refund_order", "grant_goodwill", "delete_account")} == (
        asked
    )
    for each in answers:
        # What a person fills in anybody may; the rest is an approver's.
        await client.resolve(run, each if each is COST else approver(client, run, each))
        if each is COST:
            # What is allowed is done at once: nobody credits an account that is gone.
            await until(lambda: rows(shop, "SELECT * FROM goodwill"))


@pytest.mark.parametrize(
    ("answers", "refunded", "is_there", "told", "on_file"),
    [
        (
            [
                Confirm(requirement_id=REFUND),
                COST,
                Confirm(requirement_id=DELETION),
            ],
            [(41900, "card")],
            0,
            ["refunded 419.00 EUR", "credited C-204 with 5.00 EUR", "deleted the account C-204"],
            [("approved", "ana", None), ("approved", "ana", None)],
        ),
        (
            [
                EditArguments(requirement_id=REFUND, arguments=PART),
                COST,
                Reject(requirement_id=DELETION, feedback="not yet"),
            ],
            [(20000, "card")],
            1,
            ["refunded 200.00 EUR", "rejected by ana: not yet (not done)"],
            [("approved", "ana", None), ("rejected", "ana", "not yet")],
        ),
        (
            [NO_REFUND, COST],
            [],
            1,
            ["rejected by ana: no receipt (not done)", "nobody decided before the deadline"],
            [("rejected", "ana", "no receipt"), ("expired", None, None)],
        ),
    ],
    ids=["approved", "edited and rejected", "nobody"],
)
async def test_only_what_people_allow_is_done(
    env: WorkflowEnvironment,
    shop: Path,
    file: Path,
    answers: list[AnyResolution],
    refunded: list[tuple[Any, ...]],
    is_there: int,
    told: list[str],
    on_file: list[tuple[Any, ...]],
) -> None:
    """What is approved is in the database, as it was edited and no more; what is not is not, the
    answer tells the customer, and that a script wrote it, and each decision is on file. No model
    sees the cost centre.
    """
    workflow = support_desk.workflow
    async with serving(env, workflow) as client:
        run = await client.start(workflow, ALL)
        await through(client, run, answers, shop)
        if len(answers) < 3:
            await env.fast_forward(client.handle(run), timedelta(days=3, seconds=1))
        output = await ended(client, run)
        said = await client.conversation(run, all=True)
        await replays(client.handle(run), workflow)

    assert RunStatus.completed is output.status, output.error
    assert output.content.startswith(SAYS_SO)
    assert [] == [each for each in told if each not in output.content]
    assert refunded == rows(shop, "SELECT cents, paid_to FROM refunds")
    assert [(is_there,)] == rows(shop, "SELECT COUNT(*) FROM customers WHERE id = 'C-204'")
    assert [(500, "4711")] == rows(shop, "SELECT cents, cost_centre FROM goodwill")
    assert "4711" not in said.model_dump_json()
    records = filed(file)
    assert on_file == [
        tuple(records[name][each] for each in ("status", "resolved_by", "comment"))
        for name in ("refund_order", "delete_account")
    ]
    assert ("audit", "approved", "bo", "claimed", {"cost_centre": "4711"}) == tuple(
        records["grant_goodwill"][each]
        for each in ("type", "status", "resolved_by", "identity", "given")
    )


async def test_only_an_approver_pays(env: WorkflowEnvironment, shop: Path, file: Path) -> None:
    """A refund that somebody confirms without a signature, by whatever door, or with that of
    another role, is refused and pays nothing; of approvers the first one pays, once.
    """
    workflow, shell, yes = support_desk.workflow, Shell(env), Confirm(requirement_id=REFUND)
    async with serving(env, workflow) as client:
        run = await client.start(workflow, "I want my money back for 1007, it came damaged.")
        await client.resolve(run, chosen((await paused(client, run)).requirements[0], "card"))
        (asked,) = (await paused(client, run)).requirements
        for answer in (yes, approver(client, run, yes, "bo", "reviewer")):
            with pytest.raises(NotPermitted, match="answered by approver only"):
                await client.resolve(run, answer)
        plain = await shell("confirm", run, REFUND, "--role", "approver", **{VARIABLE: ""})
        bare = await cli(
            env, *f"workflow update execute --name confirm -w {run} --input".split(), f'"{REFUND}"'
        )
        nothing = [*rows(shop, "SELECT * FROM refunds"), *filed(file)]
        both = [(run, approver(client, run, yes, name)) for name in ("ana", "cy")]
        verdicts = await client.resolve_many(both)
        output = await ended(client, run)
        await replays(client.handle(run), workflow)

    assert ("approver",) == asked.roles
    assert (Exit.refused, True, []) == (plain.code, bare[0] != 0, nothing)
    refused = [each for each in verdicts if isinstance(each, AlreadyResolved)]
    (won,) = [each for each in verdicts if not isinstance(each, Exception)]
    assert 1 == len(refused) and won.resolved_by in ("ana", "cy")
    assert [("1007", 41900, "card", f"{run}/{REFUND}")] == rows(
        shop, "SELECT number, cents, paid_to, key FROM refunds"
    )
    assert "refunded 419.00 EUR for order 1007 to card" in output.content
    (record,) = filed(file).values()
    assert ("required", "approved", won.resolved_by, "signed", ["approver"]) == tuple(
        record[each] for each in ("type", "status", "resolved_by", "identity", "roles")
    )
    assert {"number": "1007", "cents": 41900, "paid_to": "card", "reason": "damaged"} == (
        record["arguments"]
    )


@pytest.mark.parametrize("missing", [VARIABLE, APPROVALS])
async def test_a_worker_lacks_something(
    env: WorkflowEnvironment, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that cannot verify approvals of the desk, or file them, does not start, and says
    what to set; who waits for its end is told.
    """
    monkeypatch.delenv(missing)
    with pytest.raises(OperatorError, match=rf"'support_desk\.refund_order' .* set {missing} "):
        async with serving(env, support_desk.workflow):
            await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ("When was order 1002 placed, and 1999?", '"date":"2026-10-05"'),
        pytest.param(
            "Refund order 1999.", "there is no order '1999'", marks=pytest.mark.slow, id="none"
        ),
        pytest.param("Hello?", "Name an order (1007, say)", marks=pytest.mark.slow, id="hello"),
    ],
)
async def test_what_asks_nobody(
    env: WorkflowEnvironment,
    shop: Path,
    wish: str,
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What only reads asks no person, and an order that is not there is told so."""
    async with serving(env, support_desk.workflow) as client:
        output = await ended(client, await client.start(support_desk.workflow, wish))

    assert (RunStatus.completed, []) == (output.status, output.resolutions)
    assert told in output.content
    assert 1 == capsys.readouterr().err.count(SAYS_SO)


@pytest.mark.slow
async def test_a_configured_model_is_used(
    env: WorkflowEnvironment, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a model in the environment there is no script: its provider is asked, by the key that is
    there, and told the rules and the tools, but for what only a person fills in.
    """
    goodwill = Calls([("grant_goodwill", {"customer": "C-204", "cents": 500})])
    look_up = Calls([("look_up_account", {"customer": "C-204"})])
    async with provider(look_up, goodwill, Says("Done.")) as said:
        monkeypatch.setenv("HITL_MODEL", "openai-chat:gpt-4o-mini")
        monkeypatch.setenv("OPENAI_BASE_URL", said.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        made = runpy.run_path(str(FILE))["support_desk"]
        async with serving(env, made.workflow) as client:
            run = await client.start(made.workflow, "Something for my trouble?")
            (asked,) = (await paused(client, run)).requirements
            answer = Answer(requirement_id=asked.id, values={"cost_centre": "4711"})
            await client.resolve(run, answer)
            output = await ended(client, run)
            await replays(client.handle(run), made.workflow)

    tools = {each["function"]["name"]: each["function"] for each in said.asked[0]["tools"]}
    assert (RunStatus.completed, "Done.") == (output.status, output.content)
    assert [(500, "4711")] == rows(shop, "SELECT cents, cost_centre FROM goodwill")
    assert "garden shop" in said.asked[0]["messages"][0]["content"]
    assert {"customer", "cents"} == {*tools["grant_goodwill"]["parameters"]["properties"]}
    assert {f"Bearer {KEY}"} == said.keys
    assert "4711" not in str(said.asked)
