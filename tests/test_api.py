"""The reference service: as `uvicorn api.main:app` and `python -m api` run it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from httpx2 import AsyncClient, ConnectError
from pydantic import ValidationError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from api.main import PIPELINES, application
from api.settings import Settings
from tests.processes import ROOT
from tests.shell import typed
from tests.stage import WAIT, ended, paused, replays, serving, until
from tests.web import HERE, bearer, calling, free_port, listening
from workflows.article_refinement import article_refinement


@pytest.fixture
def configured(env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Have the environment name this test's server, and return its address."""
    address = env.client.service_client.config.target_host
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / "none.toml"))
    return address


async def test_the_service(env: WorkflowEnvironment, configured: str, tmp_path: Path) -> None:
    """The service starts a run of the deployment's for a bearer of a token, and answers it; health
    needs no token.
    """
    source = tmp_path / "article.txt"
    source.write_text("It is a fact that the utilisation of long words is not helpful to readers.")
    made = await typed("token", "ana", "reviewer", "operator")
    file = tmp_path / "tokens.toml"
    file.write_text(made.out)
    token = made.err.split()[-1]
    async with serving(env, article_refinement) as client:
        settings = Settings(tokens_file=file, task_queue=client.task_queue)
        async with listening(application(settings)) as http:
            health = [(await http.get(f"/health/{each}")).status_code for each in ("live", "ready")]
            nobody = await http.get("/pipelines")
            http.headers.update(bearer(token))
            names = [each["name"] for each in (await http.get("/pipelines")).json()]
            body = {"pipeline": "article_refinement", "input": {"source": str(source)}}
            started = await http.post("/runs", json=body)
            run = started.json()["run_id"]
            asked = (await paused(client, run)).requirements[0]
            path = f"/runs/{run}/requirements/{asked.id}/resolution"
            answered = await http.post(path, json={"action": "reject"})
            missing = await http.get("/nothing")
            page = await http.get("/", follow_redirects=True)
            await client.cancel(run)
            await ended(client, run)
            await replays(client.handle(run), article_refinement)

    assert ([200, 200], 401) == (health, nobody.status_code)
    assert [each.name for each in PIPELINES] == names
    assert (200, "/inbox") == (page.status_code, page.url.path)
    assert (201, 200) == (started.status_code, answered.status_code)
    assert "ana" == answered.json()["resolution"]["resolved_by"]
    assert (404, "application/problem+json") == (
        missing.status_code,
        missing.headers["content-type"],
    )


async def test_nothing_from_another_site() -> None:
    """The document of the API is there, and no page that loads its viewer from another site."""
    async with calling(application(Settings())) as http:
        told = [await http.get(f"/{each}") for each in ("openapi.json", "docs", "redoc")]

    assert [200, 404, 404] == [each.status_code for each in told]


def test_not_for_everybody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without tokens the service refuses to listen anywhere but at this machine, and says what to
    set.
    """
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", ""):
        monkeypatch.setenv("HITL_API_HOST", host)
        with pytest.raises(ValidationError, match="HITL_API_TOKENS_FILE"):
            Settings()
    monkeypatch.setenv("HITL_API_TOKENS_FILE", str(tmp_path / "tokens.toml"))
    assert "" == Settings().host
    monkeypatch.delenv("HITL_API_TOKENS_FILE")
    for host in ("localhost", "127.0.0.1", "::1"):
        monkeypatch.setenv("HITL_API_HOST", host)
        assert host == Settings().host


def test_the_data_converter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers' data converter is named by a variable; an empty one names none, and what is not
    there, or is no converter, is refused.
    """
    for named in ("", "temporalio.contrib.pydantic:pydantic_data_converter"):
        monkeypatch.setenv("TEMPORAL_HITL_DATA_CONVERTER", named)
        assert pydantic_data_converter is Settings().data_converter
    for named in ("nowhere:CONVERTER", "os:sep"):
        monkeypatch.setenv("TEMPORAL_HITL_DATA_CONVERTER", named)
        with pytest.raises(ValidationError, match="TEMPORAL_HITL_DATA_CONVERTER"):
            Settings()


async def test_without_temporal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service starts without Temporal: it lives, is not ready, and says 503 to all that needs
    Temporal.
    """
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:9")
    async with listening(application(Settings())) as http:
        told = {
            path: (await http.get(path)).status_code
            for path in ("/health/live", "/health/ready", "/requirements", "/pipelines")
        }

    assert [200, 503, 503, 200] == list(told.values())


async def test_as_processes(env: WorkflowEnvironment, configured: str) -> None:
    """Both commands serve, and end at SIGTERM though a stream is open."""
    await asyncio.gather(
        ends_in_order("uvicorn", "api.main:app", "--timeout-graceful-shutdown", "1"),
        ends_in_order("api"),
    )


async def ends_in_order(*command: str) -> None:
    """Assert that a command serves, and ends when it is told to."""
    async with process(*command) as (http, serves):
        document = (await http.get("/openapi.json")).json()
        async with http.stream("GET", "/requirements/events") as stream:
            await asyncio.wait_for(anext(stream.aiter_lines()), WAIT)
            serves.terminate()
            await asyncio.wait_for(serves.wait(), WAIT)
    assert "/requirements" in document["paths"]
    assert serves.returncode in (0, -15), command


@asynccontextmanager
async def process(*command: str) -> AsyncIterator[tuple[AsyncClient, asyncio.subprocess.Process]]:
    """Run `python -m command` at a free port, and yield a client of it."""
    port = await free_port()
    more = ["--port", str(port)] if command[0] == "uvicorn" else []
    environment = {"HITL_API_PORT": str(port), "HITL_API_GRACEFUL_SHUTDOWN": "1"}
    serves = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *command, *more),
        cwd=ROOT,
        env={**os.environ, **environment},
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with AsyncClient(base_url=f"{HERE}:{port}", timeout=WAIT) as http:

            async def answers() -> bool:
                try:
                    return (await http.get("/health/live")).status_code == 200
                except ConnectError:
                    return False

            await until(answers, every=0.1)
            yield http, serves
    finally:
        if serves.returncode is None:
            serves.kill()
            await serves.wait()
