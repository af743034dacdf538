"""A worker stops, or loses a question, while a step waits for what its run has to tell it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, Interceptor, OutboundInterceptor, QueryWorkflowInput
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import HitlClient, RunStatus, Step, StepInput, Workflow
from temporal_hitl._line import Line
from tests.stage import ended, new_queue, paused, replays, serving, until

LARGE = "x" * 70_000
"""More than travels with a call."""


def first(step_input: StepInput) -> str:
    return LARGE


def mid(step_input: StepInput) -> str:
    return "done"


def both(step_input: StepInput) -> int:
    return len(str(step_input.get_step_content("first")))


async def both_on_loop(step_input: StepInput) -> int:
    return both(step_input)


@pytest.mark.parametrize("last", [both, both_on_loop])
async def test_a_worker_stops(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch, last: Callable[..., Any]
) -> None:
    """The only worker of a run ends at once though a step of it waits for the run's answer, which
    nobody else could give; the next worker goes on from there.
    """
    asking = asyncio.Event()

    async def never(*_: Any) -> None:
        asking.set()
        await asyncio.sleep(3600)

    definition = Workflow("stops", [Step("first", first), Step("mid", mid), Step("last", last)])
    queue = new_queue()
    with monkeypatch.context() as patched:
        patched.setattr(Line, "_ask", never)
        async with serving(env, definition, queue=queue) as client:
            run = await client.start(definition, "in")
            await asyncio.wait_for(asking.wait(), 20)
            began = time.monotonic()
        took = time.monotonic() - began
    async with serving(env, definition, queue=queue) as client:
        output = await ended(client, run)
        await replays(client.handle(run), definition)

    assert took < 5
    assert (RunStatus.completed, len(LARGE)) == (output.status, output.content)


class Forgets(Interceptor):
    """Has each first question of a name remain without an answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        asked = self.asked

        class Lost(OutboundInterceptor):
            async def query_workflow(self, input: QueryWorkflowInput) -> Any:
                asked.append(input.query)
                if asked.count(input.query) == 1:
                    assert input.rpc_timeout is not None
                    await asyncio.sleep(input.rpc_timeout.total_seconds())
                    raise RPCError("Timeout expired", RPCStatusCode.CANCELLED, b"")
                return await super().query_workflow(input)

        return Lost(next)


async def test_a_question_is_lost(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question that a worker loses, as one may that evicts the run at that moment, is sent once
    more, and the caller has its answer in time.
    """
    monkeypatch.setattr("temporal_hitl._reach.PATIENCE", timedelta(seconds=2))
    definition, forgets = Workflow("lost", [Step("go", mid, requires_confirmation=True)]), Forgets()
    config = env.client.config()
    config["interceptors"] = [forgets]
    forgetful = HitlClient(Client(**config))
    async with serving(env, definition) as client:
        run = await client.start(definition, "in")
        await paused(client, run)
        seen = await forgetful.get(run)
        await client.resolve(run, {"requirement_id": "go", "action": "confirm"})
        await until(lambda: ended(client, run))
        await replays(client.handle(run), definition)

    assert (["run_output"] * 2, True) == (forgets.asked, seen.is_paused)
