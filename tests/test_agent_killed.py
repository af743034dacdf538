"""A worker is killed with signal 9 while agents work on it, and another one goes on (guarantee 1).

What a model was asked is counted at its provider, what a tool did stands in a file.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Confirm,
    HitlClient,
    HitlPlugin,
    Report,
    Retry,
    Skip,
    Step,
    Workflow,
    WorkflowRunOutput,
)
from temporal_hitl._attributes import SEARCH_ATTRIBUTES
from temporal_hitl.agents import Agent, tool
from temporal_hitl.local import serve
from temporal_hitl.requirements import ErrorDecision
from tests.processes import Running, running
from tests.processes.agents import desk
from tests.processes.worker import lines
from tests.provider import Calls, Holds, Provider, Refuses, Says, Script, provider
from tests.stage import ended, new_queue, paused, replay_each, replays, serving, until
from tests.test_server_killed import again


def calls(*tools: str) -> Calls:
    """Return an answer that calls tools, each written as `note a1`."""
    pairs = [each.split() for each in tools]
    return Calls([(kind, {"name": name}) for kind, name in pairs])


@dataclass
class Desk:
    """A task queue with a ledger and a provider, and no worker but those that `worker` starts."""

    client: HitlClient
    said: Provider
    ledger: Path

    def worker(self, grace: float = 0) -> AbstractAsyncContextManager[Running]:
        """Run a worker process, which has so many seconds to finish when it is terminated."""
        address = self.client.client.service_client.config.target_host
        args = [address, self.client.task_queue, self.ledger, self.said.url, grace]
        return running("tests.processes.agents", *args)

    async def start(self, *prompts: str) -> dict[str, str]:
        """Start a run for each prompt."""
        return {each: await self.client.start("desk", each) for each in prompts}

    def hold(self, *names: str) -> None:
        """Have the tools that are called for these names not end."""
        for name in names:
            self.ledger.with_name(name).touch()

    def let_go(self, *names: str) -> None:
        """Let all that is held go on: tools, and the provider's answers."""
        for name in names:
            self.ledger.with_name(name).unlink()
        self.said.go.set()

    def wrote(self, name: str) -> list[str]:
        """Return what the tools that were called for a name wrote, in order."""
        return [each.split()[2] for each in lines(self.ledger) if each.split()[1] == name]

    async def saved(self, run: str) -> tuple[int, int]:
        """Return how many new messages, and results of tools, the turn's checkpoint holds."""
        described = await self.client.handle(run).describe()
        for pending in described.raw_description.pending_activities:
            for payload in pending.heartbeat_details.payloads:
                saved = json.loads(payload.data)["checkpoint"]
                return len(saved["new"]), len(saved["done"])
        return 0, 0

    async def until_saved(self, run: str, *what: int) -> None:
        """Wait until a turn's checkpoint holds so many new messages and results of tools."""

        async def there() -> bool:
            return what == await self.saved(run)

        await until(there)

    async def confirm(self, run: str) -> None:
        """Say yes to what a run waits for."""
        asked = (await paused(self.client, run)).requirements[0]
        await self.client.resolve(run, Confirm(requirement_id=asked.id))

    async def finished(self, runs: dict[str, str]) -> dict[str, WorkflowRunOutput]:
        """Return each run's output at its end, after replaying the histories of all."""
        outputs = {prompt: await ended(self.client, run) for prompt, run in runs.items()}
        handles = [self.client.handle(run) for run in runs.values()]
        await replay_each(handles, desk(self.ledger, self.said.url).workflow)
        return outputs


@asynccontextmanager
async def a_desk(client: HitlClient, ledger: Path, **scripts: Script) -> AsyncIterator[Desk]:
    """Yield a desk whose provider answers by `scripts`."""
    async with provider(**scripts) as said:
        yield Desk(client, said, ledger)


async def given_up(client: HitlClient, run: str) -> bool:
    """Return whether the server has been told that an activity of the run failed."""
    events = (await client.handle(run).fetch_history()).events
    return any(each.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED for each in events)


def usage(output: WorkflowRunOutput) -> tuple[int, ...]:
    """Return the requests, the tokens and the calls of tools that stand in a run."""
    used: dict[str, Any] = output.step_results[0].usage or {}
    return tuple(used[e] for e in ("requests", "input_tokens", "output_tokens", "tool_calls"))


@dataclass(frozen=True)
class Row:
    """What a worker can be at when it dies, and what comes of it."""

    script: Script
    places: list[int]
    """How far the conversation was at each request that the provider saw."""
    content: str
    used: tuple[int, ...] = (2, 20, 10, 0)


RAN = (2, 20, 10, 1)
UNKNOWN = "it is not known whether it happened, and nobody could tell; do not call it again"
ROWS = {
    "asking": Row([calls("count a1"), Holds(Says("asked"))], [0, 1, 1], "asked", (2, 20, 10, 1)),
    "calling": Row([calls("note b1")], [0, 1], "end: b1 done", (2, 20, 10, 1)),
    "one_of_three": Row(
        [calls("note c1", "note c2", "note c3")],
        [0, 1],
        "end: c1 done | c2 done | c3 done",
        (2, 20, 10, 3),
    ),
    "told": Row(
        [calls("refund d1"), calls("refund d2"), Holds(Says("told"))],
        [0, 1, 2, 2],
        "told",
        (3, 30, 15, 2),
    ),
    "paused": Row([calls("refund e1")], [0, 1], "end: e1 done", RAN),
    "again": Row([calls("notify f1")], [0, 1], "end: f1 done", RAN),
    "reported": Row([calls("refund g1")], [0, 1], "end: it came through"),
    "retried": Row([calls("refund h1")], [0, 1], "end: h1 done", RAN),
    "skipped": Row([calls("refund i1")], [0, 1], f'end: {{"error":"{UNKNOWN}"}}'),
    "unasked": Row([calls("charge j1")], [0, 1], "end: it was paid"),
}
HELD = ("b1", "c3", "f1", "g1", "h1", "i1", "j1")
ONCE, TWICE, CUT = ["start", "end"], ["start", "start", "end"], ["start"]
WROTE = {
    **dict.fromkeys(("a1", "c1", "c2", "d1", "d2", "e1"), ONCE),
    **dict.fromkeys(("b1", "c3", "f1", "h1"), TWICE),
    **dict.fromkeys(("g1", "i1", "j1"), CUT),
}


async def test_whatever_it_is_at(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """A request in flight is made again and a tool that had not finished is called again, and
    nothing else is; of an approved tool that was cut short a person says what became of it.
    """
    client = HitlClient(env.client, task_queue=new_queue())
    scripts = {prompt: row.script for prompt, row in ROWS.items()}
    with env.with_time_skipping_disabled():
        async with a_desk(client, tmp_path / "ledger", **scripts) as site:
            site.hold(*HELD)
            async with site.worker() as first:
                runs = await site.start(*ROWS)
                await brought_so_far(site, runs)
                await first.killed()
            site.let_go(*HELD)
            async with site.worker():
                asked = await answered(site, runs)
                done = await site.finished(runs)

    places = {prompt: site.said.places_of(prompt) for prompt in ROWS}
    assert {prompt: row.places for prompt, row in ROWS.items()} == places
    assert WROTE == {name: site.wrote(name) for name in WROTE}
    assert {prompt: (row.content, row.used) for prompt, row in ROWS.items()} == {
        prompt: (output.content, usage(output)) for prompt, output in done.items()
    }
    assert {"a1": "counted"} == done["asking"].session_state
    assert ["tool_outcome"] * 4 == [each.kind for each in asked]
    assert "desk was calling refund when its worker, or its server, was lost" in asked[0].message


async def brought_so_far(site: Desk, runs: dict[str, str]) -> None:
    """Return once every run is where its worker is to die."""
    for prompt in ("told", "told", "again", "reported", "retried", "skipped"):
        await site.confirm(runs[prompt])
    await site.until_saved(runs["asking"], 3, 0)
    await site.until_saved(runs["calling"], 2, 0)
    await site.until_saved(runs["one_of_three"], 2, 2)
    await site.until_saved(runs["told"], 1, 0)
    await paused(site.client, runs["paused"])
    await until(lambda: all("start" in site.wrote(name) for name in HELD))
    await until(lambda: {1, 2} <= {*site.said.places_of("asking"), *site.said.places_of("told")})


async def answered(site: Desk, runs: dict[str, str]) -> list[Any]:
    """Answer what is open, and return what was asked of the tools that were cut short."""
    await site.confirm(runs["paused"])
    asked: list[Any] = []
    says = {
        "reported": lambda key: Report(requirement_id=key, result="it came through"),
        "retried": lambda key: Retry(requirement_id=key),
        "skipped": lambda key: Skip(requirement_id=key),
        "unasked": lambda key: Report(requirement_id=key, result="it was paid"),
    }
    for prompt, make in says.items():
        asked += (await paused(site.client, runs[prompt])).requirements
        await site.client.resolve(runs[prompt], make(asked[-1].id))
    return asked


def test_no_heartbeat_is_held_back() -> None:
    """A worker that serves an agent, be it in a pipeline within a pipeline, sends each heartbeat at
    once, as it is a checkpoint; others hold theirs back as before.
    """
    agent = Agent("desk", "test")
    inner = Workflow("inner", [Step("desk", agent=agent)])
    served = [agent.workflow, inner, Workflow("outer", [Step("inner", workflow=inner)])]
    plain = Workflow("plain", [Step("one", lambda: 1)])
    at_once, soon, default = timedelta(), timedelta(seconds=3), timedelta(seconds=30)

    assert [(at_once, at_once)] * 3 == [throttles(each) for each in served]
    assert (default, soon) == throttles(plain)


def throttles(definition: Workflow) -> tuple[timedelta, timedelta]:
    """Return how long a worker for a pipeline holds heartbeats back, by default and at most."""
    config: Any = {
        "default_heartbeat_throttle_interval": timedelta(seconds=30),
        "max_heartbeat_throttle_interval": timedelta(seconds=60),
    }
    configured: Any = HitlPlugin(workflows=[definition]).configure_worker(config)
    names = ("default_heartbeat_throttle_interval", "max_heartbeat_throttle_interval")
    return configured[names[0]], configured[names[1]]


@pytest.mark.slow
async def test_shut_down_in_time(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """A worker that is given time when it ends repeats nothing: a turn ends after the request in
    flight, or the tools that run, and the next worker takes the next one.
    """
    scripts: dict[str, Script] = {
        "asking": [calls("note a1"), Holds(calls("note a2"))],
        "calling": [calls("note b1", "note b2")],
        "approved": [calls("refund c1")],
    }
    client = HitlClient(env.client, task_queue=new_queue())
    with env.with_time_skipping_disabled():
        async with a_desk(client, tmp_path / "ledger", **scripts) as site:
            site.hold("b1", "c1")
            async with site.worker(grace=20) as first:
                runs = await site.start(*scripts)
                await site.confirm(runs["approved"])
                await until(lambda: [0, 1] == site.said.places_of("asking"))
                await until(lambda: all("start" in site.wrote(each) for each in ("b1", "c1")))
                await first.asked_to_end()
                site.let_go("b1", "c1")
                await first.gone()
            async with site.worker():
                done = await site.finished(runs)

    assert {"asking": [0, 1, 2], "calling": [0, 1], "approved": [0, 1]} == {
        prompt: site.said.places_of(prompt) for prompt in scripts
    }
    assert [ONCE] * 5 == [site.wrote(name) for name in ("a1", "a2", "b1", "b2", "c1")]
    assert {"asking": (3, 30, 15, 2), "calling": (2, 20, 10, 2), "approved": RAN} == {
        prompt: usage(output) for prompt, output in done.items()
    }


@pytest.mark.slow
async def test_shut_down_at_once(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """A worker that is given no time when it ends is as one that dies: of an approved tool that it
    cut short nobody knows the end, and the agent is not told that it failed.
    """
    scripts: dict[str, Script] = {
        "asking": [calls("count a1"), Holds(Says("asked"))],
        "approved": [calls("refund b1")],
    }
    client = HitlClient(env.client, task_queue=new_queue())
    with env.with_time_skipping_disabled():
        async with a_desk(client, tmp_path / "ledger", **scripts) as site:
            site.hold("b1")
            async with site.worker() as first:
                runs = await site.start(*scripts)
                await site.confirm(runs["approved"])
                await until(lambda: [0, 1] == site.said.places_of("asking"))
                await until(lambda: site.wrote("b1"))
                await first.asked_to_end()
                await until(lambda: given_up(site.client, runs["approved"]))
                site.let_go("b1")
                await first.gone()
            async with site.worker():
                asked = (await paused(client, runs["approved"])).requirements[0]
                await client.resolve(runs["approved"], Retry(requirement_id=asked.id))
                done = await site.finished(runs)

    assert "tool_outcome" == asked.kind
    assert {"asking": [0, 1, 1], "approved": [0, 1]} == {
        prompt: site.said.places_of(prompt) for prompt in scripts
    }
    assert (ONCE, {"a1": "counted"}) == (site.wrote("a1"), done["asking"].session_state)
    assert {"asking": "asked", "approved": "end: b1 done"} == {
        prompt: output.content for prompt, output in done.items()
    }


@pytest.mark.slow
async def test_the_server_too(tmp_path: Path) -> None:
    """A question of an agent's is still open when server and worker were killed, and the agent goes
    on from the answer with all that was said before.
    """
    ledger, queue = tmp_path / "ledger", new_queue()
    with serve(tmp_path / "dev.db", search_attributes=SEARCH_ATTRIBUTES) as server:
        connected = await Client.connect(
            server.address.target, data_converter=pydantic_data_converter
        )
        client = HitlClient(connected, task_queue=queue)
        async with a_desk(client, ledger, go=[calls("note a1", "refund a2")]) as site:
            async with site.worker() as first:
                runs = await site.start("go")
                run = runs["go"]
                before = (await paused(client, run)).requirements
                assert server.pid is not None
                os.kill(server.pid, signal.SIGKILL)
                await first.killed()
            async with site.worker():
                after = (await again(client, run)).requirements
                await client.resolve(run, Confirm(requirement_id=after[0].id))
                output = (await site.finished(runs))["go"]

    assert before == after
    assert ([0, 1], ONCE, ONCE) == (site.said.places, site.wrote("a1"), site.wrote("a2"))
    assert ("end: a1 done | a2 done", (2, 20, 10, 2)) == (output.content, usage(output))


@pytest.mark.slow
async def test_what_takes_long(env: WorkflowEnvironment) -> None:
    """What takes longer than the heartbeat timeout is not taken from a worker that lives: neither a
    request, nor a tool of a turn, nor an approved one.
    """
    began: list[str] = []

    def wait(name: str) -> str:
        began.append(name)
        time.sleep(1.5)
        return name

    approved = tool(requires_confirmation=True, name="approved")(wait)
    script = (calls("wait a"), calls("approved b"), Holds(Says("done")))
    async with provider(*script) as said:
        agent = Agent("desk", said.model(), tools=[wait, approved], heartbeat_timeout=1)
        async with serving(env, agent.workflow) as client:
            run = await client.start(agent.workflow, "go")
            asked = (await paused(client, run)).requirements[0]
            await client.resolve(run, Confirm(requirement_id=asked.id))
            await until(lambda: 2 in said.places)
            asyncio.get_running_loop().call_later(1.5, said.go.set)
            output = await ended(client, run)
        await replays(client.handle(run), agent.workflow)

    assert (["a", "b"], [0, 1, 2], "done") == (began, said.places, output.content)


@pytest.mark.slow
async def test_tried_again_by_a_person(env: WorkflowEnvironment) -> None:
    """An agent that failed of its provider, and that a person has tried again, goes on with the
    request that failed: what came before is not done again.
    """
    names: list[str] = []

    def note(name: str) -> str:
        names.append(name)
        return name

    script = (calls("note a"), calls("note b"), [*[Refuses(500)] * 4, Says("done")])
    async with provider(*script) as said:
        once = {"max_retries": 0}
        agent = Agent("desk", said.model(), "Be good.", [note], model_settings=once)
        step = Step("desk", agent=agent, on_error="pause", max_retries=1)
        definition = Workflow("desks", [step])
        async with serving(env, definition) as client:
            run = await client.start(definition, "go")
            asked = (await paused(client, run)).requirements[0]
            await client.resolve(run, Retry(requirement_id=asked.id))
            output = await ended(client, run)
        await replays(client.handle(run), definition)

    assert ("error", "done") == (asked.kind, output.content)
    assert (["a", "b"], [0, 1, 2, 2, 2, 2, 2]) == (names, said.places)
    assert (3, 30, 15, 2) == usage(output)


@pytest.mark.slow
async def test_given_more_to_use(env: WorkflowEnvironment) -> None:
    """An agent that has used what it may use goes on where it was, once it may use more and a
    person has it tried again.
    """
    names: list[str] = []

    def note(name: str) -> str:
        names.append(name)
        return name

    def pipeline(said: Provider, requests: int) -> Workflow:
        limits = {"request_limit": requests}
        agent = Agent("desk", said.model(), "Be good.", [note], usage_limits=limits)
        return Workflow("desks", [Step("desk", agent=agent, on_error="pause")])

    async with provider(calls("note a"), calls("note b")) as said:
        less, more = pipeline(said, 2), pipeline(said, 3)
        async with serving(env, less) as client:
            run = await client.start(less, "go")
            asked = (await paused(client, run)).requirements[0]
        async with serving(env, more, queue=client.task_queue) as client:
            await client.resolve(run, Retry(requirement_id=asked.id))
            output = await ended(client, run)
        await replays(client.handle(run), more)

    assert isinstance(asked, ErrorDecision) and "end: b" == output.content
    assert "temporal_hitl.UsageLimitExceeded" == asked.error_type
    assert (["a", "b"], [0, 1, 2]) == (names, said.places)
