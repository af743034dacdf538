"""An agent's provider is a server like any other: it errs, is slow, and breaks off."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable
from itertools import pairwise
from typing import Any

import pytest
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.capabilities import ProcessEventStream
from pydantic_ai.messages import PartDeltaEvent, TextPartDelta
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, HitlClient, Reject, RunStatus, Step, Workflow
from temporal_hitl.agents import Agent, tool
from temporal_hitl.requirements import ToolConfirmation
from tests.provider import CHUNK, KEY, Calls, Drops, Holds, Refuses, Says, provider
from tests.stage import ended, paused, replays, serving, until

ONCE = {"max_retries": 0}
"""Model settings: the provider's client asks once, and trying again is Temporal's."""


def lookup(name: str) -> str:
    """Find a customer."""
    return f"{name} is u7"


@tool(requires_confirmation=True, retries=2)
def refund(amount: int) -> str:
    """Give money back."""
    return f"refunded {amount}"


def told(usage: dict[str, Any] | None) -> tuple[int, int, int]:
    """Return the requests, and the tokens in and out, that stand in a run."""
    assert usage is not None
    return usage["requests"], usage["input_tokens"], usage["output_tokens"]


async def seen_of(client: HitlClient, run: str) -> bytes:
    """Return all that the server keeps of a run."""
    handle = client.handle(run)
    events = (await handle.fetch_history()).events
    described = (await handle.describe()).raw_description
    return b"".join(e.SerializeToString() for e in events) + described.SerializeToString()


async def test_several_calls_at_once(
    env: WorkflowEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls that a provider makes at once, under ids that it uses again and again, each come to
    what was decided of them; its key is nowhere to be seen.
    """
    caplog.set_level(logging.DEBUG)
    script = (
        Calls([("lookup", {"name": "Ann"}), ("refund", {"amount": 5}), ("refund", {"amount": 9})]),
        Calls([("refund", {"amount": 7}), ("lookup", {"name": "Bob"})]),
    )
    async with provider(*script) as said:
        agent = Agent("desk", said.model(), "Be good.", [lookup, refund])
        async with serving(env, agent.workflow) as client:
            run = await client.start(agent.workflow, "refund Ann")
            first, second = (await paused(client, run)).requirements
            await client.resolve(run, Reject(requirement_id=second.id, resolved_by="ana"))
            await client.resolve(run, Confirm(requirement_id=first.id))
            third = (await paused(client, run)).requirements[0]
            await client.resolve(run, Confirm(requirement_id=third.id))
            output = await ended(client, run)
            kept = await seen_of(client, run)
        await replays(client.handle(run), agent.workflow)

    results = [m["content"] for m in said.asked[1]["messages"] if m["role"] == "tool"]
    ids = ["desk.1.refund", "desk.1.refund-2", "desk.2.refund"]
    assert ids == [each.id for each in (first, second, third)]
    assert ["Ann is u7", "refunded 5", "rejected by ana"] == results
    assert "end: refunded 7 | Bob is u7" == output.content
    assert (3, 30, 15) == told(output.step_results[0].usage)
    assert {f"Bearer {KEY}"} == said.keys
    assert KEY.encode() not in kept and KEY not in caplog.text and KEY not in repr(agent.model)


async def test_arguments_that_make_no_sense(env: WorkflowEnvironment) -> None:
    """What a tool cannot be called with goes back to the model, and no person is asked about it."""
    script = (
        Calls([("refund", '{"amount": 5')]),
        Calls([("refund", {"amount": "much"})]),
        Calls([("refund", {"amount": 5})]),
    )
    async with provider(*script) as said:
        agent = Agent("desk", said.model(), tools=[refund])
        async with serving(env, agent.workflow) as client:
            run = await client.start(agent.workflow, "refund Ann")
            asked = (await paused(client, run)).requirements[0]
            await client.resolve(run, Confirm(requirement_id="desk.1.refund"))
            output = await ended(client, run)
        await replays(client.handle(run), agent.workflow)

    assert isinstance(asked, ToolConfirmation) and {"amount": 5} == asked.tool_args
    assert ("end: refunded 5", 4) == (output.content, len(said.asked))


@pytest.mark.slow
async def test_a_provider_that_errs(
    env: WorkflowEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    """A rate limit, an error and a broken connection each cost the one request; no finished tool is
    called again, and what was used counts what was answered.
    """
    caplog.set_level(logging.DEBUG)
    names: list[str] = []

    def note(name: str) -> str:
        names.append(name)
        return name

    def call(name: str) -> Calls:
        return Calls([("note", {"name": name})])

    limit = Refuses(429, {"retry-after-ms": "50"})
    script = ([Refuses(500), call("a")], [Drops(), call("b")], [limit, call("c")])
    async with provider(*script) as said:
        agent = Agent("desk", said.model(), tools=[note])
        async with serving(env, agent.workflow) as client:
            run = await client.start(agent.workflow, "go")
            output = await ended(client, run)
            kept = await seen_of(client, run)
        await replays(client.handle(run), agent.workflow)

    assert [0, 0, 1, 1, 2, 2, 3] == said.places
    assert (["a", "b", "c"], "end: c") == (names, output.content)
    assert (4, 40, 20) == told(output.step_results[0].usage)
    assert KEY.encode() not in kept and KEY not in caplog.text


@pytest.mark.slow
async def test_a_provider_that_says_when(env: WorkflowEnvironment) -> None:
    """A turn that a provider refuses is tried again when it has said, and goes on where it was."""
    wait = {"retry-after-ms": "1600"}
    script = (Calls([("lookup", {"name": "Ann"})]), [Refuses(429, wait), Says("done")])
    async with provider(*script) as said:
        agent = Agent("desk", said.model(), tools=[lookup], model_settings=ONCE)
        async with serving(env, agent.workflow) as client:
            run = await client.start(agent.workflow, "go")
            output = await ended(client, run)
        await replays(client.handle(run), agent.workflow)

    waited = [after - before for before, after in pairwise(said.times)]
    assert ([0, 1, 1], "done") == (said.places, output.content)
    assert (2, 20, 10) == told(output.step_results[0].usage)
    assert 1.6 <= waited[1]


async def test_a_cancel_in_mid_request(env: WorkflowEnvironment) -> None:
    """A run that is cancelled does not wait for its provider, which sees the request given up."""
    async with provider(Holds(Says("late"))) as said:
        agent = Agent("desk", said.model(), heartbeat_timeout=1)
        async with serving(env, agent.workflow) as client:
            run = await client.start(agent.workflow, "go")
            await until(lambda: said.asked)
            await client.handle(run).cancel()
            output = await ended(client, run)
            await until(lambda: said.hung_up)
        await replays(client.handle(run), agent.workflow)

    assert (RunStatus.cancelled, 1) == (output.status, len(said.asked))


@pytest.mark.slow
async def test_an_answer_in_pieces(env: WorkflowEnvironment) -> None:
    """An agent that looks at its answers as they come is given whole ones in the end, also where
    one breaks off in the middle and the turn is tried again.
    """
    pieces: list[str] = []

    async def look(ctx: Any, events: AsyncIterable[Any]) -> None:
        async for event in events:
            if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                pieces.append(event.delta.content_delta)

    text = "so it is done, and well"
    async with provider(Calls([("lookup", {"name": "Ann"})]), [Drops(), Says(text)]) as said:
        model = said.model().model()
        looking: Any = PydanticAgent(
            model,
            name="desk",
            tools=[lookup],
            capabilities=[ProcessEventStream(look)],
        )
        definition = Workflow("streams", [Step("desk", agent=looking)])
        async with model, serving(env, definition) as client:
            output = await ended(client, await client.start(definition, "go"))
        await replays(client.handle(output.run_id), definition)

    assert ([0, 1, 1], [True] * 3) == (said.places, [each["stream"] for each in said.asked])
    assert text == output.content and "".join(pieces).endswith(text[CHUNK:])
    assert (2, 20, 10) == told(output.step_results[0].usage)
