"""Who may call, and what they may do; and what a caller is told who sends nonsense."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import DefinitionError, HitlClient, Step, StepInput, Workflow
from temporal_hitl.http import (
    BearerTokens,
    Caller,
    NotAuthenticated,
    Role,
    Token,
    hitl_router,
    new_token,
)
from tests.stage import ended, paused, replays, serving
from tests.web import HERE, application, bearer, calling, tokens, web


def work(step_input: StepInput) -> str:
    return "worked"


ask = Workflow("ask", [Step("ask", work, requires_confirmation=True)])
PROBLEM = "application/problem+json"
READS = ["/pipelines", "/pipelines/ask", "/runs", "/requirements", "/requirements/count"]


async def test_who_is_not_known(env: WorkflowEnvironment) -> None:
    """Without a known token nothing is told, whatever stands in its place."""
    _, kept = tokens(vera=["viewer"])
    wrong: list[Any] = [{}, {"Authorization": "Basic YTpi"}, {"Authorization": b"Bearer \xfc"}]
    wrong += [bearer("nonsense"), bearer(kept[0].sha256), bearer("")]
    client = HitlClient(env.client)
    async with web(client, ask, authenticator=BearerTokens(kept)) as http:
        told = [await http.get(path, headers=each) for path in READS for each in wrong]
        started = await http.post("/runs", json={"pipeline": "ask"})

    assert {(401, PROBLEM)} == {
        (each.status_code, each.headers["content-type"]) for each in (*told, started)
    }
    assert all(each.headers["www-authenticate"].startswith("Bearer") for each in told)


async def test_roles(env: WorkflowEnvironment) -> None:
    """A viewer looks, a reviewer answers, an operator starts and cancels, who has no role does
    nothing, and none does what is another's.
    """
    secret, kept = tokens(vera=["viewer"], rosa=["reviewer"], otto=["operator"], nora=[])
    may = BearerTokens(kept)
    async with serving(env, ask) as client, web(client, ask, authenticator=may) as http:
        run = await client.start(ask)
        await paused(client, run)

        async def tries(method: str, path: str, body: Any = None) -> list[int]:
            told = [
                await http.request(method, path, json=body, headers=bearer(each))
                for each in secret.values()
            ]
            return [each.status_code for each in told]

        looked = [await tries("GET", path) for path in READS]
        started = await tries("POST", "/runs", {"pipeline": "ask"})
        path, yes = f"/runs/{run}/requirements/ask/resolution", {"action": "confirm"}
        answered = await tries("POST", path, yes)
        one = {"run_id": run, "requirement_id": "ask", "resolution": yes}
        many = await tries("POST", "/resolutions", {"resolutions": [one]})
        cancelled = await tries("POST", f"/runs/{run}/cancel")
        output = await ended(client, run)
        await replays(client.handle(run), ask)

    assert [[200, 200, 200, 403]] * len(READS) == looked
    assert [[403, 403, 201, 403], [403, 403, 202, 403]] == [started, cancelled]
    assert [[403, 200, 403, 403]] * 2 == [answered, many]
    assert "rosa" == output.resolutions[0].resolved_by


def test_tokens_are_kept_as_digests(tmp_path: Path) -> None:
    """A file of tokens holds no token, is read as it is written, and a mistake in it is told
    without what somebody may have written there by mistake.
    """
    file = tmp_path / "tokens.toml"
    secret, kept = new_token("ana", ["reviewer", "viewer"])
    roles = json.dumps(sorted(kept.roles))
    file.write_text(f'[[tokens]]\nuser = "ana"\nroles = {roles}\nsha256 = "{kept.sha256}"\n')
    read = BearerTokens.read(file)
    caller = asyncio.run(read.authenticate(_request(f"Bearer {secret}")))
    wrong = [
        f'[[tokens]]\nuser = "ana"\nroles = ["viewer"]\nsha256 = "{secret}"\n',
        f'[[tokens]]\nuser = "ana"\nroles = ["{secret}"]\nsha256 = "{kept.sha256}"\n',
        f'[[tokens]]\nuser = "ana"\nroles = []\ntoken = "{secret}"\n',
        "tokens = 1",
        "x = ",
        "",
    ]

    assert secret not in file.read_text() + repr(kept)
    assert Caller(user="ana", roles=frozenset({Role.reviewer, Role.viewer})) == caller
    for text in wrong:
        file.write_text(text)
        with pytest.raises(DefinitionError, match="is no file of tokens") as refused:
            BearerTokens.read(file)
        assert secret not in str(refused.value)
    with pytest.raises(DefinitionError, match=r"none\.toml"):
        BearerTokens.read(tmp_path / "none.toml")


def _request(authorization: str) -> Request:
    headers = [(b"authorization", authorization.encode())]
    return Request({"type": "http", "headers": headers})


async def test_none_is_for_this_machine(env: WorkflowEnvironment) -> None:
    """Without authentication only this machine is served: no other address, no other name of the
    server, no page of another site.
    """
    app = application(HitlClient(env.client), ask)
    places = [
        ("127.0.0.1", HERE, {}, 200),
        ("127.8.9.10", "http://127.0.0.1:8000", {}, 200),
        ("::1", "http://[::1]:8000", {}, 200),
        ("::ffff:127.0.0.1", "http://localhost", {}, 200),
        ("127.0.0.1", "http://localhost:1", {"Origin": "http://localhost:1"}, 200),
        ("10.0.0.7", HERE, {}, 403),
        ("127.0.0.1", HERE, {"X-Forwarded-For": "127.0.0.1"}, 403),
        ("127.0.0.1", HERE, {"Forwarded": "for=10.0.0.7"}, 403),
        ("::ffff:10.0.0.7", HERE, {}, 403),
        ("nonsense", HERE, {}, 403),
        ("127.0.0.1", "http://10.0.0.1", {}, 403),
        ("127.0.0.1", "http://0.0.0.0", {}, 403),
        ("127.0.0.1", HERE, {"Host": "evil.example"}, 403),
        ("127.0.0.1", HERE, {"Host": "localhost.evil.example:80"}, 403),
        ("127.0.0.1", HERE, {"Host": ""}, 403),
        ("127.0.0.1", HERE, {"Host": "[::1"}, 403),
        ("127.0.0.1", HERE, {"Origin": "http://evil.example"}, 403),
        ("127.0.0.1", HERE, {"Origin": "null"}, 403),
        ("127.0.0.1", HERE, {"Origin": "http://127.0.0.1:9"}, 403),
    ]
    for address, url, headers, status in places:
        async with calling(app, headers, client=address, url=url) as http:
            told = await http.get("/pipelines")
            assert status == told.status_code, (address, url, headers, told.text)


class ByHeader:
    """What a user may write: another scheme, behind the same protocol."""

    scheme = None

    async def authenticate(self, request: Request) -> Caller:
        """Believe a header, as behind a proxy that sets it."""
        user = request.headers.get("x-user")
        if user is None:
            raise NotAuthenticated("who are you?", challenge="Proxy")
        return Caller(user=user, roles=frozenset({Role.reviewer}))


async def test_a_scheme_of_ones_own(env: WorkflowEnvironment) -> None:
    """An authenticator of a user's is all that it takes: its caller is who resolved."""
    async with serving(env, ask) as client:
        app = FastAPI()
        app.include_router(hitl_router(client, [ask], authenticator=ByHeader()), prefix="/hitl")
        async with calling(app, client="10.0.0.7", url="http://hitl.example") as http:
            run = await client.start(ask)
            await paused(client, run)
            path = f"/hitl/runs/{run}/requirements/ask/resolution"
            nobody = await http.post(path, json={"action": "confirm"})
            me = await http.post(path, json={"action": "confirm"}, headers={"X-User": "me"})
            await ended(client, run)
            await replays(client.handle(run), ask)

    assert (401, "Proxy") == (nobody.status_code, nobody.headers["www-authenticate"])
    assert "me" == me.json()["resolution"]["resolved_by"]


DEEP = "[" * 100_000 + "]" * 100_000
TEXTS = [
    "",
    "{",
    "nonsense",
    '{"action": NaN}',
    '{"action": "confirm", "comment": "\\ud800"}',
    '{"action": "answer", "values": {"a": 1e999}}',
    '{"action": "answer", "values": {"a": Infinity}}',
    '{"action": "answer", "values": {"a": ' + DEEP + "}}",
    '{"action": "answer", "values": {"a": ' + "9" * 10_000 + "}}",
    '{"action": "confirm", "comment": "\\u0000"}',
    '{"action": "confirm", "comment": "' + "x" * 600_000 + '"}',
    '{"action": "confirm", "comment": "' + "x" * 5_000_000 + '"}',
    '{"action": ["confirm"]}',
    '[{"action": "confirm"}]',
]
BODIES = [*(each.encode() for each in TEXTS), b"\xff\xfe", b"\x00", b'"\xed\xa0\x80"']
KINDS = ["text/plain", "application/x-www-form-urlencoded", "", "a/b; c"]


async def test_nonsense_is_the_callers(env: WorkflowEnvironment) -> None:
    """Nothing that a client sends is a 500: each nonsense is told as the caller's, as a problem."""
    paths = ["/runs", "/runs/a/requirements/b/resolution", "/resolutions"]
    async with serving(env, ask) as client, web(client, ask) as http:
        run = await client.start(ask)
        await paused(client, run)
        here = f"/runs/{run}/requirements/none/resolution"
        told = [
            await http.post(path, content=body, headers={"Content-Type": "application/json"})
            for path in (*paths, here)
            for body in BODIES
        ]
        told += [
            await http.post(here, content=b'{"action": "confirm"}', headers={"Content-Type": kind})
            for kind in KINDS
        ]
        told += [await http.get(path) for path in hostile_paths(run)]
        await client.cancel(run)
        await ended(client, run)

    wrong = [
        (str(each.request.url)[:60], each.status_code, each.headers["content-type"], each.text[:99])
        for each in told
        if not 400 <= each.status_code < 500 or each.headers["content-type"] != PROBLEM
    ]
    assert [] == wrong


def hostile_paths(run: str) -> list[str]:
    """Return what may stand in an address, and finds nothing."""
    names = ["%00", "%FF", "%ED%A0%80", "x" * 5_000, "'; DROP", "a%5Cb", "ü" * 900]
    queries = [
        "limit=0",
        "limit=x",
        f"limit={'9' * 20}",
        "cursor=%00",
        "cursor=ü",
        "x=1",
        "sort=no",
    ]
    queries += ["kind=no", "run_id=%00", "overdue=perhaps", "limit=1&limit=z"]
    return [
        *(f"/runs/{name}" for name in names),
        *(f"/runs/{name}/requirements" for name in names),
        *(f"/runs/{run}/requirements/{name}" for name in names if "%2F" not in name),
        *(f"/pipelines/{name}" for name in names),
        *(f"/requirements?{query}" for query in queries),
        *(f"/runs?{query}" for query in queries if query != "run_id=%00"),
    ]


async def test_no_temporal(caplog: pytest.LogCaptureFixture) -> None:
    """Where Temporal does not answer, everything is a 503 that says when to try again."""
    client = await Client.connect("127.0.0.1:9", lazy=True, data_converter=pydantic_data_converter)
    caplog.set_level(logging.CRITICAL, "temporalio")
    async with web(HitlClient(client), ask) as http:
        yes = {"action": "confirm"}
        told = await asyncio.gather(
            http.get("/runs"),
            http.get("/runs/a"),
            http.get("/requirements"),
            http.get("/requirements/count"),
            http.get("/runs/a/requirements/b"),
            http.post("/runs", json={"pipeline": "ask"}),
            http.post("/runs/a/cancel"),
            http.post("/runs/a/requirements/b/resolution", json=yes),
            http.post("/resolutions", json={"resolutions": [
                {"run_id": "a", "requirement_id": "b", "resolution": yes}
            ]}),
        )  # fmt: skip
        pipelines = await http.get("/pipelines")

    assert {(503, "application/problem+json")} == {
        (each.status_code, each.headers["content-type"]) for each in told
    }
    assert all(int(each.headers["retry-after"]) > 0 for each in told)
    assert 200 == pipelines.status_code


def test_a_token_does_not_show() -> None:
    """What is kept of a token cannot be used as one, and a token has 256 random bits."""
    made = [new_token("ana", ["viewer"]) for _ in range(50)]

    assert 50 == len({secret for secret, _ in made})
    assert all(len(secret) >= 43 for secret, _ in made)
    assert all(isinstance(kept, Token) and secret not in kept.model_dump_json()
               for secret, kept in made)  # fmt: skip
