"""Approvals over HTTP, in the inbox, at the command line, and beside an embedded server."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient
from temporalio.testing import WorkflowEnvironment

from api.settings import Settings
from temporal_hitl import HitlClient, InMemoryDb, RunOptions, RunStatus, SqliteDb
from temporal_hitl._site import Site
from temporal_hitl.agents import Agent, approval, tool
from temporal_hitl.approvals import FILE, ApprovalsFile
from temporal_hitl.cli._exits import Exit
from temporal_hitl.errors import DefinitionError, NotPermitted, OperatorError
from temporal_hitl.http import BearerTokens, Inbox, LoopbackOnly
from temporal_hitl.signing import KEYS as VARIABLE
from temporal_hitl.signing import SigningKeys
from tests.agents import desk_of, scripted
from tests.pages import read, send
from tests.shell import Shell, typed
from tests.signatures import KEYS
from tests.stage import ended, paused, replay_all, serving, until
from tests.web import application, bearer, calling, tokens

done: list[str] = []


@approval(not_requester=True)
@tool
def wipe(disk: str) -> str:
    """Wipe a disk."""
    done.append(disk)
    return f"wiped {disk}"


@approval(type="audit")
@tool(requires_confirmation=True)
def mail(to: str) -> str:
    """Send a mail."""
    return f"mailed {to}"


CALLS = [("wipe", {"disk": "sda"}), ("mail", {"to": "bo"})]
FOR_ANA = RunOptions(user_id="ana")
WIPE, MAIL = "asks.1.wipe", "asks.1.mail"


@pytest.fixture(autouse=True)
def _a_file_and_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv(VARIABLE, KEYS)
    monkeypatch.setenv(FILE, str(tmp_path / "approvals.jsonl"))
    done.clear()
    yield


def asking() -> Agent:
    return Agent("asks", scripted(CALLS), tools=[wipe, mail])


async def listed(http: AsyncClient, **wanted: Any) -> list[str]:
    told = (await http.get("/approvals", params=wanted)).raise_for_status().json()
    return [f"{each['requirement_id']} {each['status']}" for each in told["items"]]


@asynccontextmanager
async def served(env: WorkflowEnvironment, **users: list[str]) -> AsyncIterator[Any]:
    """Serve the agent, and yield its client, and how each user calls."""
    secret, kept = tokens(**users)
    agent = asking()
    async with serving(env, agent.workflow) as client:

        def calls(user: str) -> Any:
            keys = SigningKeys.parse(KEYS)
            options = {"authenticator": BearerTokens(kept), "signing_keys": keys}
            return calling(application(client, agent.workflow, **options), bearer(secret[user]))

        yield client, calls


APPROVERS = {"ana": ["operator", "reviewer", "approver"], "bob": ["reviewer", "approver"]}
YES = {"action": "confirm", "comment": "as agreed"}


async def test_who_asks_over_http(env: WorkflowEnvironment) -> None:
    """Over HTTP a run is for who calls, whatever the body says, and they do not approve what
    somebody else must; another approver does.
    """
    async with served(env, **APPROVERS) as (client, calls):
        async with calls("ana") as ana, calls("bob") as bob:
            start = {"pipeline": "asks", "input": "go"}
            forged = await ana.post("/runs", json={**start, "user_id": "bob"})
            run = (await ana.post("/runs", json=start)).json()["run_id"]
            await paused(client, run)
            where = f"/runs/{run}/requirements/{WIPE}/resolution"
            own = await ana.post(where, json=YES)
            other = await bob.post(where, json=YES)
            await bob.post(f"/runs/{run}/requirements/{MAIL}/resolution", json=YES)
        output = await ended(client, run)
        await replay_all(env, run, asking().workflow)

    assert (422, 403, 200) == (forged.status_code, own.status_code, other.status_code)
    assert "body.user_id" == forged.json()["errors"][0]["field"]
    assert "somebody else than 'ana', who started the run" in own.json()["detail"]
    assert ("ana", ["sda"]) == (output.user_id, done)


async def test_lists_over_http(env: WorkflowEnvironment) -> None:
    """Whoever may look lists, counts and exports what waits and what is on file."""
    async with served(env, bob=["reviewer", "approver"], cy=["viewer"]) as (client, calls):
        run = await client.start(asking().workflow, "go", options=FOR_ANA)
        await paused(client, run)
        async with calls("bob") as bob:
            waiting = await until(lambda: listed(bob, run_id=run))
            for key in (WIPE, MAIL):
                await bob.post(f"/runs/{run}/requirements/{key}/resolution", json=YES)
        await ended(client, run)
        async with calls("cy") as http:
            filters: list[dict[str, Any]] = [{}, {"type": "audit"}, {"status": "rejected"}]
            closed = [await listed(http, run_id=run, **each) for each in filters]
            page = await http.get("/approvals", params={"run_id": run, "limit": 1})
            rest = await listed(http, run_id=run, cursor=page.json()["cursor"])
            count = (await http.get("/approvals/count", params={"run_id": run})).json()
            export = await http.get("/approvals/export", params={"tool": "wipe"})
            bad = await http.get("/approvals", params={"cursor": "e30="})
        await replay_all(env, run, asking().workflow)

    assert {f"{WIPE} pending", f"{MAIL} pending"} == set(waiting)
    assert {f"{WIPE} approved", f"{MAIL} approved"} == set(closed[0]) == {*rest, *_items(page)}
    assert [[f"{MAIL} approved"], []] == closed[1:]
    assert (2, {"approved": 2}) == (
        count["count"],
        {status: number for status, number in count["by_status"].items() if number},
    )
    assert 422 == bad.status_code
    assert "application/jsonl" == export.headers["content-type"].partition(";")[0]
    (line,) = [json.loads(each) for each in export.text.splitlines()]
    assert ("ana", "bob", {"disk": "sda"}, "as agreed") == tuple(
        line[name] for name in ("requested_by", "resolved_by", "arguments", "comment")
    )


async def test_a_service_without_a_file(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that cannot read the file says what to set, and lists what waits all the same."""
    monkeypatch.delenv(FILE)
    async with calling(application(HitlClient(env.client))) as http:
        none = await http.get("/approvals")
        pending = await http.get("/approvals", params={"status": "pending", "run_id": "none"})

    assert (503, 200, []) == (none.status_code, pending.status_code, pending.json()["items"])
    assert FILE in none.json()["detail"]


def _items(page: Any) -> list[str]:
    return [f"{each['requirement_id']} {each['status']}" for each in page.json()["items"]]


async def test_in_the_inbox(env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of a requirement says that it is an approval, and has no answer for who may not give
    it; that of approvals shows what waits and what is on file. On a developer's own machine the
    inbox signs for whoever is there.
    """
    secret, kept = tokens(cy=["reviewer"])
    named = {"authenticator": BearerTokens(kept), "signing_keys": SigningKeys.parse(KEYS)}
    mine = LoopbackOnly(signs_as="dev", roles=["approver"])
    own = {"authenticator": mine, "signing_keys": SigningKeys.parse(KEYS)}
    agent = asking()
    async with desk_of(env, agent) as desk:
        run = (await desk.open(agent, WIPE, MAIL, user_id="ana")).run_id
        where = f"/inbox/runs/{run}/requirements"
        async with calling(application(desk.client, inbox=Inbox(), **named)) as http:
            await send(http, read(await http.get("/inbox/login")), token=secret["cy"])
            reviewer = read(await http.get(f"{where}/{WIPE}"))
        async with calling(application(desk.client, inbox=Inbox(), **own)) as http:
            await until(lambda: listed(http, run_id=run))
            page = read(await http.get(f"{where}/{WIPE}"))
            said = (await send(http, page, "confirm-form")).status_code
            audit = read(await http.get(f"{where}/{MAIL}"))
            await send(http, audit, "reject-form", name="bo", feedback="no")
            await desk.end(run)
            every = read(await http.get(f"/inbox/approvals?status=&run_id={run}&since=2026-01-01"))
        monkeypatch.delenv(FILE)
        async with calling(application(desk.client, inbox=Inbox(), **own)) as http:
            without = read(await http.get("/inbox/approvals"))

    facts = reviewer.one("dl", class_="facts").text
    assert "nothing is executed without it, and it is on file; not by ana" in facts
    assert [] == reviewer.all("form", id="confirm-form")
    assert "what is decided is on file" in audit.one("dl", class_="facts").text
    assert 303 == said
    rows = sorted(each.text for each in every.one("tbody").all("tr"))
    assert ["mail", "wipe"] == [each.partition(" ")[0] for each in rows]
    assert "audit" in rows[0] and "rejected no" in rows[0] and "bo signed as" in rows[0]
    assert "approved" in rows[1] and "dev signed as approver" in rows[1]
    assert "sets HITL_APPROVALS_FILE" in without.one("p", class_="notice").text


async def test_at_the_command_line(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """The command line approves in a role that is said, and lists, counts and exports."""
    shell, agent = Shell(env), asking()
    async with desk_of(env, agent) as desk:
        run = (await desk.open(agent, WIPE, MAIL, user_id="ana")).run_id
        await until(lambda: _lists(shell, run))
        waiting = await shell("approvals", "--run", run, "--status", "pending")
        no = await shell("confirm", run, WIPE, "--by", "bob", "--role", "clerk")
        yes = await shell("confirm", run, WIPE, "--by", "bob", "--role", "approver")
        await shell("confirm", run, MAIL, "--by", "cy", "--role", "clerk")
        await desk.end(run)
        table = await shell("approvals", "--run", run, "--by", "bob", "--since", "2026-01-01")
        count = await shell("approvals", "count", "--run", run, "--json")
        export = await shell("approvals", "export", "--type", "required")
        wrong = await shell("approvals", "--since", "yesterday")
        no_file = await shell("approvals", **{FILE: ""})

    assert ("wipe" in waiting.out, "waits for approver" in waiting.out) == (True, True)
    assert (Exit.refused, Exit.done) == (no.code, yes.code)
    assert "approved" in table.out and "bob (signed)" in table.out and "mail" not in table.out
    assert (2, 2) == (count.data["count"], count.data["by_status"]["approved"])
    assert [f"{run}/{WIPE}"] == [json.loads(each)["id"] for each in export.out.splitlines()]
    assert (Exit.usage, Exit.unreachable) == (wrong.code, no_file.code)
    assert FILE in no_file.err


async def _lists(shell: Shell, run: str) -> bool:
    told = await shell("approvals", "--run", run, "--status", "pending", "--json")
    return len(told.data) == 2


async def test_beside_an_embedded_server(
    embedded: SqliteDb, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing configured a script runs an approval, and cannot give it; its developer does at
    the command line of the folder, in a role, and finds it on file there.
    """
    monkeypatch.delenv(VARIABLE)
    monkeypatch.delenv(FILE)
    for module in ("_connection", "_command"):
        monkeypatch.setattr(f"temporal_hitl.cli.{module}.DEFAULT_DB_FILE", database)
    agent = Agent("asks", scripted(CALLS[:1]), tools=[wipe], db=embedded)
    waiting = await agent.arun("go", user_id="ana")
    (requirement,) = waiting.active_requirements
    requirement.confirm()
    with pytest.raises(NotPermitted, match="or beside the embedded server"):
        await agent.acontinue_run(waiting)
    nothing = list(done)
    confirm = ["confirm", waiting.run_id, WIPE, "--by", "bob"]
    unsigned = await typed(*confirm)
    signed = await typed(*confirm, "--role", "approver", "--json")
    await until(lambda: _has_ended(agent, waiting.run_id))
    export = await typed("approvals", "export", "--run", waiting.run_id)

    assert ([], ["sda"]) == (nothing, done)
    assert (Exit.refused, "signed") == (unsigned.code, signed.data["identity"])
    there = database.with_name(f"{database.name}.approvals.jsonl")
    assert waiting.run_id in [each.run_id for each in ApprovalsFile(there).records()]
    assert ["approved"] == [json.loads(each)["status"] for each in export.out.splitlines()]


async def test_a_script_says_who(
    embedded: SqliteDb, monkeypatch: pytest.MonkeyPatch, env: WorkflowEnvironment
) -> None:
    """A script that says who decides, and in what roles, signs that as docs/approvals.md shows; one
    that leaves out either, or has no keys, sends nothing.
    """
    monkeypatch.delenv(VARIABLE)
    monkeypatch.delenv(FILE)
    agent = Agent("asks", scripted(CALLS), tools=[wipe, mail], db=embedded)
    output = await agent.arun("go", user_id="bob")
    asked = output.active_requirements
    for each in asked:
        each.confirm()
    with pytest.raises(ValueError, match=r"signs for who decides; set resolved_by"):
        await agent.acontinue_run(output, roles=["approver"])
    for each in asked:
        each.resolved_by = "ana"
    with pytest.raises(DefinitionError, match=r"'approver' is no list of roles"):
        await agent.acontinue_run(output, roles="approver")
    with pytest.raises(OperatorError, match=rf"set {VARIABLE} \(kid:secret\)"):
        Site(HitlClient(env.client), None).signer()
    output = await agent.aget_run_output(output.run_id)
    nothing = [*done, *output.run.resolutions]
    shown: dict[str, Any] = {"agent": agent, "output": output}
    await asyncio.to_thread(exec, shown_in("approvals.md")[1], shown)

    records = {each.requirement_id: each for each in shown["output"].approvals}
    assert ([], ["sda"]) == (nothing, done)
    for key, kind in ((WIPE, "required"), (MAIL, "audit")):
        assert (kind, "approved", "ana", "signed", ("approver",), "cli") == (
            records[key].type,
            records[key].status,
            records[key].resolved_by,
            records[key].identity,
            records[key].roles,
            records[key].channel,
        )


@pytest.mark.slow
async def test_a_script_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that keeps nothing has keys all the same, and its worker the same ones."""
    monkeypatch.delenv(VARIABLE)
    for name in ("ADDRESS", "PROFILE"):
        monkeypatch.delenv(f"TEMPORAL_{name}", raising=False)
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", "/nonexistent/temporal.toml")
    agent = Agent("asks", scripted(CALLS[:1]), tools=[wipe], db=InMemoryDb())
    output = await agent.arun("go", user_id="bob")
    (requirement,) = output.active_requirements
    requirement.confirm()
    requirement.resolved_by = "ana"
    output = await agent.acontinue_run(output, roles=["approver"])

    assert (["sda"], "COMPLETED") == (done, output.status.value)


async def _has_ended(agent: Agent, run: str) -> bool:
    return (await agent.aget_run_output(run)).status is RunStatus.completed


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service reads the file that the workers' variable names; an empty one is none."""
    named = Settings().approvals()
    monkeypatch.setenv(FILE, "")

    assert named is not None and "approvals.jsonl" == named.path.name
    assert Settings().approvals() is None


def shown_in(page: str) -> list[str]:
    """Return the blocks of Python of a page."""
    text = (Path(__file__).parent.parent / "docs" / page).read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_page() -> None:
    """What docs/approvals.md shows is an agent of three approvals, by roles that it says."""
    shown: dict[str, Any] = {}
    exec(shown_in("approvals.md")[0], shown)
    guards = {name: each.guard for name, each in shown["agent"].functions.items()}

    assert {
        "delete_account": ("required", ("approver",)),
        "refund": ("required", ("finance", "chief")),
        "send_mail": ("audit", ()),
    } == {name: (each.approval.value, each.roles) for name, each in guards.items()}
