"""The HTTP service, its inbox and the command line sign for who answers there."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient, Response
from pydantic import ValidationError
from temporalio.testing import WorkflowEnvironment

from api.settings import Settings
from temporal_hitl import Parallel, Step, Workflow
from temporal_hitl.cli._exits import Exit
from temporal_hitl.errors import DefinitionError, OperatorError
from temporal_hitl.http import BearerTokens, Inbox, Token, new_token
from temporal_hitl.requirements import Channel, Identity
from temporal_hitl.signing import KEYS as VARIABLE
from temporal_hitl.signing import SigningKeys
from tests.pages import read, send
from tests.shell import Shell
from tests.signatures import BEFORE, KEYS, SECRET
from tests.stage import ended, paused, replays, serving
from tests.web import application, bearer, calling, tokens

WHERE = "on a machine that has HITL_SIGNING_KEYS"


def work() -> str:
    return "done"


NAMES = ("a", "b", "c", "d", "e")
gates = [Step(name, work, requires_confirmation=True, roles=["finance"]) for name in NAMES]
payments = Workflow("payments", [Parallel(*gates, name="p")])


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers that start have the keys."""
    monkeypatch.setenv(VARIABLE, KEYS)


def path(run: str, name: str, inbox: str = "") -> str:
    return f"{inbox}/runs/{run}/requirements/p.{name}" + ("" if inbox else "/resolution")


async def test_the_service_signs(
    env: WorkflowEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer over HTTP, alone, among many or from the inbox, is signed as who calls; who lacks
    the role is told 403, and offered nothing. Neither keys nor signatures are logged.
    """
    caplog.set_level(logging.DEBUG)
    secret, kept = tokens(ana=["reviewer", "finance"], bob=["reviewer"], cy=["finance"])
    yes = {"action": "confirm", "comment": "as agreed"}
    app = {"signing_keys": SigningKeys.parse(KEYS), "authenticator": BearerTokens(kept)}
    async with serving(env, payments) as client:
        run = await client.start(payments)
        await paused(client, run)
        async with calling(application(client, inbox=Inbox(), **app)) as http:
            told = await each_answers(http, path(run, "a"), yes, secret)
            claims = {**yes, "resolved_by": "bob", "signature": "x"}
            refused = await http.post(path(run, "b"), json=claims, headers=bearer(secret["ana"]))
            named = [f"p.{name}" for name in ("b", "c", "a")]
            several = [{"run_id": run, "requirement_id": e, "resolution": yes} for e in named]
            http.headers.update(bearer(secret["ana"]))
            many = await http.post("/resolutions", json={"resolutions": several})
            pages = [await by_hand(http, run, secret[user]) for user in ("bob", "ana")]
        await client.cancel(run)
        output = await ended(client, run)
        await replays(client.handle(run), payments)

    assert {"bob": 403, "cy": 403, "ana": 200} == {name: e.status_code for name, e in told.items()}
    assert (
        "urn:temporal-hitl:problem:NotPermitted",
        "'p.a' is answered by finance only; 'bob' has the roles: reviewer",
    ) == (told["bob"].json()["type"], told["bob"].json()["detail"])
    assert (422, [200, 200, 409]) == (refused.status_code, [each["status"] for each in many.json()])
    assert [(Identity.signed, Channel.http, "ana", ("finance", "reviewer"))] * 4 == [
        (each.identity, each.channel, each.resolved_by, each.roles)
        for each in output.resolutions[:4]
    ]
    assert [(False, 403), (True, 303)] == pages
    assert not any(each in caplog.text for each in (SECRET, BEFORE, '"signature"', "eyJ"))


async def each_answers(
    http: AsyncClient, where: str, body: dict[str, str], secret: dict[str, str]
) -> dict[str, Response]:
    return {
        user: await http.post(where, json=body, headers=bearer(secret[user]))
        for user in ("bob", "cy", "ana")
    }


async def test_a_service_that_does_not_sign(env: WorkflowEnvironment) -> None:
    """Without keys, or without a name to sign for, no answer to what is for a role counts; with
    keys that the worker does not take, an operator has to see to it.
    """
    secret, kept = tokens(ana=["reviewer", "finance"])
    named = {"authenticator": BearerTokens(kept)}
    other = SigningKeys.parse(f"1999:{SECRET}")
    services: list[dict[str, Any]] = [
        named,
        {"signing_keys": SigningKeys.parse(KEYS)},
        {**named, "signing_keys": other},
    ]
    yes, told = {"action": "confirm", "resolved_by": "ana"}, list[Response]()
    async with serving(env, payments) as client:
        run = await client.start(payments)
        await paused(client, run)
        for each in services:
            headers = bearer(secret["ana"]) if "authenticator" in each else {}
            async with calling(application(client, **each), headers) as http:
                told.append(await http.post(path(run, "a"), json=yes))
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), payments)

    assert [403, 403, 503] == [each.status_code for each in told]
    assert all(WHERE in each.json()["detail"] for each in told[:2])
    assert "was signed with the key '1999'" in told[2].json()["detail"]


async def by_hand(http: AsyncClient, run: str, token: str) -> tuple[bool, int]:
    """Confirm in the inbox, and return whether the page has a form, and what came of sending it."""
    http.cookies.clear()
    await send(http, read(await http.get("/inbox/login")), token=token)
    page = read(await http.get(path(run, "d", "/inbox")))
    assert "Only finance" in page.one("dl", class_="facts").text
    forms = page.all("form", id="confirm-form")
    if forms:
        return True, (await send(http, page, "confirm-form")).status_code
    assert "Only finance may answer this" in page.text
    form = read(await http.get("/inbox/login"))
    csrf = form.one("form", class_="answer").one("input", name="csrf").attributes["value"]
    body = {"csrf": csrf, "action": "confirm"}
    return False, (await http.post(path(run, "d", "/inbox"), data=body)).status_code


async def test_the_command_line_signs(env: WorkflowEnvironment) -> None:
    """Where the operator's own process has the keys, an answer is signed as `--by`, in the roles of
    HITL_ROLES; without either, what asks for a role is refused, and `show` says whom it is for.
    """
    shell = Shell(env)
    ana = {VARIABLE: KEYS, "HITL_ROLES": "finance, chief"}
    async with serving(env, payments) as client:
        run = await client.start(payments)
        await paused(client, run)
        confirm = ["confirm", run, "p.a", "--by", "ana"]
        shown = [await shell("show", run), await shell("show", run, "p.a")]
        refused = [
            await shell(*confirm, **{VARIABLE: ""}),
            await shell(*confirm, **{VARIABLE: KEYS}),
            await shell(*confirm, **{VARIABLE: KEYS, "HITL_ROLES": "Finance!"}),
            await shell(*confirm, **{VARIABLE: f"a:{SECRET[:20]}"}),
            await shell(*confirm, **{VARIABLE: f"1999:{SECRET}", "HITL_ROLES": "finance"}),
        ]
        done = await shell(*confirm, "--json", **ana)
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), payments)

    assert all("only: finance (signed)" in each.out for each in shown)
    codes = [Exit.refused, Exit.refused, Exit.usage, Exit.usage, Exit.refused]
    assert codes == [each.code for each in refused]
    said = [WHERE, "'ana' has the roles: none", "HITL_ROLES", "less than 32", "with the key '1999'"]
    assert all(told in each.err for told, each in zip(said, refused, strict=True))
    assert not any(SECRET[:20] in each.err + each.out for each in refused)
    assert (0, "signed", "cli", "ana", ["finance", "chief"]) == (
        done.code,
        done.data["identity"],
        done.data["channel"],
        done.data["resolution"]["resolved_by"],
        sorted(done.data["roles"], reverse=True),
    )


def test_keys_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service reads the keys of the variable that workers read, and shows them to nobody."""
    assert repr(Settings().keys()) == "SigningKeys()"
    assert SECRET not in repr(Settings()) + str(Settings().model_dump())
    monkeypatch.setenv(VARIABLE, "")
    assert Settings().keys() is None
    monkeypatch.setenv(VARIABLE, "short-secret")
    with pytest.raises(OperatorError, match="entry 1 is not kid:secret") as refused:
        Settings().keys()
    assert "short-secret" not in str(refused.value)
    monkeypatch.setenv("HITL_API_SESSION_KEY", "short-secret")
    with pytest.raises(ValidationError) as invalid:
        Settings()
    assert "short-secret" not in str(invalid.value)


def test_roles_of_tokens(tmp_path: Path) -> None:
    """A token may have roles that an author made up; what is no word is none."""
    made = new_token("ana", ["reviewer", "finance"])[1]
    file = tmp_path / "tokens.toml"
    kept = made.model_dump(mode="json") | {"roles": ["Finance Team"]}
    lines = "\n".join(f"{name} = {json.dumps(each)}" for name, each in kept.items())
    file.write_text(f"[[tokens]]\n{lines}")

    assert frozenset({"reviewer", "finance"}) == made.roles
    with pytest.raises(DefinitionError, match="a role is a word in lower case"):
        BearerTokens.read(file)
    with pytest.raises(ValidationError, match="a role is a word"):
        Token(user="ana", roles=frozenset({""}), sha256="0" * 64)
