"""Temporal is stopped, and started again on its file: what streams and pages tell meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from temporal_hitl import Confirm, HitlClient, HitlPlugin, Step, StepInput, Workflow
from temporal_hitl.http import Inbox, _health, _rows, _snapshot
from temporal_hitl.http._health import health_router
from tests.pages import read
from tests.stage import ended, paused, replays, server_options
from tests.test_http_events import next_of, stream
from tests.web import Event, application, free_port, listening


def work(step_input: StepInput) -> str:
    return "worked"


ask = Workflow("ask", [Step("ask", work, requires_confirmation=True)])


@asynccontextmanager
async def server(port: int, file: Path) -> AsyncIterator[None]:
    """Run a server at a port, on a file."""
    options = {**server_options(), "dev_server_database_filename": str(file)}
    async with await WorkflowEnvironment.start_local(port=port, **options):
        yield


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Temporal asked so often that a test need not wait for it."""
    monkeypatch.setattr(_snapshot, "EVERY", 0.1)
    monkeypatch.setattr(_snapshot, "CALL", 0.0)


@contextmanager
def impatient() -> Iterator[None]:
    """Have Temporal given up soon; a busy machine may seem to have none meanwhile."""
    with pytest.MonkeyPatch.context() as patched:
        for each in (_rows, _health):
            patched.setattr(each, "PATIENCE", timedelta(seconds=0.5))
        yield


async def event(told: AsyncIterator[Event], name: str) -> Event:
    """Return the next event of a name; before it Temporal may have seemed to come and go."""
    while (each := await next_of(told)).name != name:
        assert each.name in ("unavailable", "available"), each
    return each


async def connected(port: int) -> HitlClient:
    """Return a client of the server at a port."""
    address = f"127.0.0.1:{port}"
    return HitlClient(await Client.connect(address, data_converter=pydantic_data_converter))


def working(client: HitlClient) -> Worker:
    """Return a worker, to be run."""
    return Worker(client.client, task_queue=client.task_queue, plugins=[HitlPlugin([ask])])


async def begun(client: HitlClient) -> str:
    """Return a run that waits for a person; no worker is left."""
    async with working(client):
        run = await client.start(ask)
        await paused(client, run)
    return run


@pytest.mark.slow
async def test_while_temporal_is_down(tmp_path: Path, brisk: None) -> None:
    """Open streams are told since when Temporal cannot be reached and when it can be again; until
    then the inbox shows what it knew, and says so; a stream that begins meanwhile is told too.
    """
    port, file, before = await free_port(), tmp_path / "dev.db", datetime.now(UTC)
    async with AsyncExitStack() as open_:
        async with server(port, file):
            client = await connected(port)
            app = application(client, ask, inbox=Inbox())
            app.include_router(health_router(client))
            http = await open_.enter_async_context(listening(app))
            told = await open_.enter_async_context(stream(http))
            await event(told, "ready")
            run = await begun(client)
            opened = await event(told, "opened")
            soon = open_.enter_context(ExitStack())
            soon.enter_context(impatient())
        await event(told, "unavailable")
        async with stream(http) as late:
            meanwhile = [await next_of(late), await next_of(late)]
        page, listed = read(await http.get("/inbox")), await http.get("/requirements")
        ready = await asyncio.wait_for(http.get("/health/ready"), 5)
        async with server(port, file):
            await event(told, "available")
            soon.close()
            assert [] == read(await http.get("/inbox")).all("p", class_="notice")
            async with working(client):
                await client.resolve(run, Confirm(requirement_id="ask"))
                await ended(client, run)
                await replays(client.handle(run), ask)
            closed = await event(told, "closed")

    assert opened.data == closed.data
    assert ["ready", "unavailable"] == [each.name for each in meanwhile]
    since = datetime.fromisoformat(meanwhile[1].data["since"])
    assert before < since < datetime.now(UTC)
    notice = page.one("p", class_="notice").text
    assert f"cannot be reached since {since:%Y-%m-%d %H:%M:%S} UTC" in notice
    assert [run] == [each.text for each in page.all("a") if each.text == run]
    assert (503, 503) == (listed.status_code, ready.status_code)
