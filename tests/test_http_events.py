"""Changes of what waits, as server-sent events; and what many streams cost Temporal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from httpx2 import AsyncClient
from temporalio.client import (
    Client,
    Interceptor,
    ListWorkflowsInput,
    OutboundInterceptor,
    WorkflowExecutionAsyncIterator,
)
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, HitlClient, Step, StepInput, Workflow
from temporal_hitl.http import _snapshot
from tests.stage import WAIT, ended, paused, replays, serving, until
from tests.web import Event, application, events, listening


def work(step_input: StepInput) -> str:
    return "worked"


def asking(name: str) -> Workflow:
    return Workflow(name, [Step("ask", work, requires_confirmation=True)])


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the list renewed so often that a test need not wait for it."""
    monkeypatch.setattr(_snapshot, "EVERY", 0.1)
    monkeypatch.setattr(_snapshot, "CALL", 0.0)


@asynccontextmanager
async def stream(
    http: AsyncClient, path: str = "/requirements/events", after: str | None = None, **wanted: Any
) -> AsyncIterator[AsyncIterator[Event]]:
    """Yield the events of a stream, which ends with the block."""
    headers = {} if after is None else {"Last-Event-ID": after}
    async with http.stream("GET", path, params=wanted, headers=headers) as response:
        assert (200, "text/event-stream; charset=utf-8") == (
            response.status_code,
            response.headers["content-type"],
        )
        yield events(response)


async def next_of(told: AsyncIterator[Event]) -> Event:
    """Return the next event, which must come in time."""
    return await asyncio.wait_for(anext(told), WAIT)


async def test_what_opens_and_closes(env: WorkflowEnvironment, brisk: None) -> None:
    """A stream tells what opens and closes, and only of what was asked for; one that comes back
    with the last id that it saw misses nothing and sees nothing twice.
    """
    mine, other = asking("mine"), asking("other")
    async with (
        serving(env, mine, other) as client,
        listening(application(client, mine, other)) as http,
    ):
        async with stream(http, pipeline="mine") as told:
            ready = await next_of(told)
            runs = [await client.start(each) for each in (other, mine)]
            opened = await next_of(told)
        await client.resolve(runs[0], Confirm(requirement_id="ask"))
        await client.resolve(runs[1], Confirm(requirement_id="ask"))
        for run in runs:
            await ended(client, run)
        async with stream(http, after=opened.id, pipeline="mine") as told:
            again = await next_of(told)
            closed = await next_of(told)
        async with stream(http, after=ready.id, pipeline="mine") as told:
            whole = [await next_of(told) for _ in range(3)]
        await replays(client.handle(runs[1]), mine)

    assert ("ready", {}) == (ready.name, ready.data)
    assert ("opened", runs[1], "ask") == (opened.name, opened.data["run_id"], opened.data["id"])
    assert ("ready", opened.id) == (again.name, again.id)
    assert ("closed", opened.data) == (closed.name, closed.data)
    assert [ready, opened, closed] == whole
    assert 3 == len({ready.id, opened.id, closed.id})


async def test_the_list_and_the_stream_meet(env: WorkflowEnvironment, brisk: None) -> None:
    """The list names the version from which a stream goes on, so that nothing falls between; a
    version that is not known is told to be lost.
    """
    mine = asking("meeting")
    async with serving(env, mine) as client, listening(application(client, mine)) as http:
        page = (await http.get("/requirements")).json()
        run = await client.start(mine)
        await paused(client, run)

        async def is_listed() -> bool:
            found = await http.get("/requirements", params={"run_id": run})
            return bool(found.json()["items"])

        await until(is_listed, every=0.1)
        async with stream(http, after=page["version"], run_id=run) as told:
            ready, opened = await next_of(told), await next_of(told)
        lost = list[Event]()
        for unknown in ("x", "00000000-1", f"{page['version']}9", "-", "a-b-c"):
            async with stream(http, after=unknown, run_id=run) as told:
                lost.append([await next_of(told), await next_of(told)][-1])
        await client.cancel(run)
        await ended(client, run)

    assert (page["version"], "opened", run) == (ready.id, opened.name, opened.data["run_id"])
    assert ["lost"] * 5 == [each.name for each in lost]


async def test_own_answers_are_told_at_once(env: WorkflowEnvironment) -> None:
    """An answer over HTTP is in every open stream before Temporal is asked again."""
    mine = asking("at_once")
    async with serving(env, mine) as client, listening(application(client, mine)) as http:
        run = await client.start(mine)
        await paused(client, run)
        async with stream(http, run_id=run) as told:
            await next_of(told)

            async def is_listed() -> bool:
                found = await http.get("/requirements", params={"run_id": run})
                return bool(found.json()["items"])

            await until(is_listed, every=0.1)
            path = f"/runs/{run}/requirements/ask/resolution"
            await http.post(path, json={"action": "confirm"})
            before = asyncio.get_running_loop().time()
            while (event := await next_of(told)).name != "closed":
                pass
            took = asyncio.get_running_loop().time() - before
        await ended(client, run)

    assert run == event.data["run_id"]
    assert took < 0.5


class Counting(Interceptor):
    """Counts the calls that ask Temporal's visibility, and how long they took place."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """Stand between a client and the server."""
        at = self.at

        class Counted(OutboundInterceptor):
            def list_workflows(self, input: ListWorkflowsInput) -> WorkflowExecutionAsyncIterator:
                at.append(asyncio.get_running_loop().time())
                return super().list_workflows(input)

        return Counted(next)


@pytest.mark.parametrize("streams", [20, pytest.param(200, marks=pytest.mark.slow)])
async def test_visibility_does_not_see_how_many_look(
    env: WorkflowEnvironment, streams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many streams are open and lists are asked for, visibility is asked once a second at
    most, and not at all once nobody looks.
    """
    monkeypatch.setattr(_snapshot, "LINGER", 0.5)
    mine, counting = asking(f"many_{streams}"), Counting()
    config = env.client.config()
    config["interceptors"] = [*config["interceptors"], counting]
    async with serving(env, mine) as client:
        counted = HitlClient(Client(**config), task_queue=client.task_queue)
        async with listening(application(counted, mine)) as http, AsyncExitStack() as open_streams:
            opened = [
                await open_streams.enter_async_context(stream(http, pipeline=mine.name))
                for _ in range(streams)
            ]
            await asyncio.gather(*(next_of(each) for each in opened))
            run = await client.start(mine)
            told = await asyncio.gather(*(next_of(each) for each in opened))
            await asyncio.gather(*(http.get("/requirements") for _ in range(streams)))
            await client.resolve(run, Confirm(requirement_id="ask"))
            gone = await asyncio.gather(*(next_of(each) for each in opened))
            await asyncio.gather(*(http.get("/requirements/count") for _ in range(streams)))
            await open_streams.aclose()
            await ended(client, run)
            await until(lambda: quiet(counting))

    assert {("opened", run)} == {(each.name, each.data["run_id"]) for each in told}
    assert {("closed", run)} == {(each.name, each.data["run_id"]) for each in gone}
    gaps = [after - before for before, after in zip(counting.at, counting.at[1:], strict=False)]
    assert gaps
    assert all(gap >= 0.95 for gap in gaps)


async def quiet(counting: Counting) -> bool:
    """Return whether visibility is not asked any more."""
    before = len(counting.at)
    await asyncio.sleep(1.5)
    return before == len(counting.at)


async def test_a_runs_events(env: WorkflowEnvironment) -> None:
    """A run's stream tells what `watch` tells, child runs' events too, to its end; one that comes
    back with the id of any event goes on right after it.
    """
    below = asking("below")
    above = Workflow("above", [Step("first", work), Step("deep", workflow=below)])
    async with serving(env, above) as client, listening(application(client, above)) as http:
        run = await client.start(above)
        path, whole = f"/runs/{run}/events", list[Event]()
        async with stream(http, path) as told:
            while (event := await next_of(told)).name != "end":
                whole.append(event)
                if event.name == "StepPaused":
                    answer = Confirm(requirement_id=event.data["requirement"]["id"])
                    await client.resolve(event.data["run_id"], answer)
        rest = [await after(http, path, seen) for seen in whole]
        watched = [event async for event in client.watch(run)]
        nonsense = [
            await http.get(path, headers={"Last-Event-ID": each})
            for each in ("x", "bnVsbA==", "eyJhIjogLTF9", "eyJhIjogInkifQ==", "e30")
        ]
        nobody = await http.get("/runs/nowhere/events")
        await replays(client.handle(run), above)

    assert [(each.event, each.run_id, each.created_at.isoformat()) for each in watched] == [
        (each.name, each.data["run_id"], each.data["created_at"].replace("Z", "+00:00"))
        for each in whole
    ]
    assert watched[0].model_dump(mode="json") == whole[0].data
    assert {run, f"{run}.deep"} == {each.data["run_id"] for each in whole}
    assert [[each.id for each in whole[at:]] for at in range(1, len(whole) + 1)] == [
        [each.id for each in told] for told in rest
    ]
    assert [422] * 5 == [each.status_code for each in nonsense]
    assert 404 == nobody.status_code


async def after(http: AsyncClient, path: str, seen: Event) -> list[Event]:
    """Return what a stream tells to its end, of which `seen` was seen last."""
    found = list[Event]()
    async with stream(http, path, after=seen.id) as told:
        while (event := await next_of(told)).name != "end":
            found.append(event)
    return found
