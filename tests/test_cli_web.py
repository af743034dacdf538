"""`temporal-hitl api`, and the tokens of those who may call it."""

from __future__ import annotations

import asyncio
import signal
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient
from temporalio.testing import WorkflowEnvironment
from typer.main import get_command

from api.settings import Settings
from temporal_hitl import Step, Workflow
from temporal_hitl.cli._app import app
from temporal_hitl.cli._dev import _inbox, _listener  # pyright: ignore[reportPrivateUsage]
from temporal_hitl.cli._exits import Exit
from tests.shell import Shell, typed
from tests.stage import WAIT, ended, new_queue, paused, replays, serving
from tests.test_cli_serving import serving as running
from tests.test_cli_serving import stopped
from tests.web import bearer

MODULE = """
from temporal_hitl import Step, Workflow


def publish() -> str:
    return "published"


publication = Workflow("publication", [Step("publish", publish, requires_confirmation=True)])
"""


def publish() -> str:
    return "published"


publication = Workflow("publication", [Step("publish", publish, requires_confirmation=True)])


async def test_the_api_of_a_users_module(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """`api` shows, starts and answers the pipelines of a module, for a bearer of a token that
    `token` made, and ends at SIGTERM though a stream is open.
    """
    (tmp_path / "publishing.py").write_text(MODULE)
    made = await typed("token", "ana", "reviewer", "operator")
    (tmp_path / "tokens.toml").write_text(made.out)
    queue = new_queue()
    words = ["api", "publishing", "--port", "0", "--tokens-file", "tokens.toml"]
    words += ["--task-queue", queue, "--address", Shell(env).address, "--graceful-shutdown", "1"]
    async with (
        serving(env, publication, queue=queue) as client,
        running(tmp_path, *words) as (process, told),
        AsyncClient(base_url=told["inbox"].removesuffix("/inbox"), timeout=WAIT) as http,
    ):
        nobody, ready = await http.get("/pipelines"), await http.get("/health/ready")
        sign_in = await http.get("/", follow_redirects=True)
        http.headers.update(bearer(made.err.split()[-1]))
        started = await http.post("/runs", json={"pipeline": "publication"})
        run = started.json()["run_id"]
        await paused(client, run)
        path = f"/runs/{run}/requirements/publish/resolution"
        answered = await http.post(path, json={"action": "confirm"})
        output = await ended(client, run)
        async with http.stream("GET", "/requirements/events") as stream:
            await asyncio.wait_for(anext(stream.aiter_lines()), WAIT)
            code, err = await stopped(process, signal.SIGTERM)
        await replays(client.handle(run), publication)

    assert [401, 200, 200] == [each.status_code for each in (nobody, ready, sign_in)]
    assert told["inbox"] + "/login" == str(sign_in.url).partition("?")[0]
    assert (201, "ana") == (started.status_code, answered.json()["resolution"]["resolved_by"])
    assert "published" == output.content
    assert (0, "") == (code, err)


async def test_what_the_api_does_not_do(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without tokens it serves no other machine; a taken port, a short key, a file of no tokens and
    a missing extra are told in one line, with what to write instead.
    """
    shell = Shell(env)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none.toml").write_text("tokens = 1\n")
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = str(taken.sockets[0].getsockname()[1])
    cases = {
        ("--host", "0.0.0.0"): "give --tokens-file",
        ("--host", ""): "any address is more",
        ("--port", port): "name another --port, or 0 for a free one",
        ("--session-key", "short"): "--session-key: 32 characters or more, and this has 5",
        ("--tokens-file", "none.toml"): "none.toml is no file of tokens",
    }
    said = {sentence: await shell("api", *words) for words, sentence in cases.items()}
    taken.close()
    await taken.wait_closed()
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    said["pip install 'temporal-hitl[api]'"] = await shell("api")

    for sentence, each in said.items():
        assert (Exit.usage, "", 1) == (each.code, each.out, each.err.count("\n")), each
        assert sentence in each.err


async def test_what_dev_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its usual port is taken, `dev` has the inbox at another one; without the extra it says
    what to install, and goes on.
    """
    with _listener(None) as first, _listener(None) as second:
        ports = {each.getsockname()[1] for each in (first, second)}
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    nobody: Any = None
    async with _inbox(nobody) as told:
        assert "pip install 'temporal-hitl[api]'" in told["inbox"]

    assert 2 == len(ports)


def test_one_setting_has_one_name() -> None:
    """What the reference service reads from a variable, `api` reads from the same one."""
    command: Any = get_command(app)
    options = {each.envvar for each in command.commands["api"].params if each.envvar}
    fields = Settings.model_fields.items()
    settings = {f"HITL_API_{name.upper()}" for name, each in fields if not each.validation_alias}

    assert settings == {each for each in options if each.startswith("HITL_API_")}


async def test_tokens_are_made() -> None:
    """What is printed for the file of tokens holds no token; an unknown role is refused."""
    made, wrong = await typed("token", 'O"Neil', "viewer"), await typed("token", "ana", "King")
    (table,) = tomllib.loads(made.out)["tokens"]
    data = (await typed("token", "ana", "viewer", "--json")).data

    assert (Exit.done, 'O"Neil', ["viewer"]) == (made.code, table["user"], table["roles"])
    assert made.err.split()[-1] not in made.out
    assert ("ana", ["viewer"]) == (data["kept"]["user"], data["kept"]["roles"])
    assert (Exit.usage, "") == (wrong.code, wrong.out)
    assert "reviewer" in wrong.err
