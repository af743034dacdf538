"""The demo of `workflows.refund`, written by hand: its own worker, and answers by `HitlClient`."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from activities.refund import ACTIVITIES
from temporal_hitl import HitlClient, HitlPlugin, WorkflowRunOutput
from temporal_hitl.local import Server, connection, serve, ui_url
from workflows.demo.playing import Played, Result, Reviewer
from workflows.demo.scripted import GivesUp, Script
from workflows.refund import Refund

SOURCE = "1007"
ABOUT = "Refunding order {source}: why, does somebody agree, write it down."
QUEUE = "refunds"

SCRIPT: Script = {
    "reason": (
        "I say why: it came damaged",
        lambda asked: asked.set_user_input(reason="damaged", note="bent in its box"),
    ),
    "agree": ("I agree, as a photograph came with it", lambda asked: asked.confirm()),
}


def play(source: str, reviewer: Reviewer) -> Played:
    """Run the workflow to its end, on the configured server or an embedded one."""
    server = None if connection() else serve()
    if server is not None:
        told = f"no Temporal server is configured, so it runs one at {server.address.target}"
        print(f"{told} (Web UI {server.address.ui}).", file=sys.stderr)
    run_output = asyncio.run(_play(source, reviewer, server))
    page = None if server is None else ui_url(server.address, run_output.run_id)
    return run_output, page, (lambda: None) if server is None else server.close


def result(run_output: WorkflowRunOutput) -> Result:
    """Return whether the money was paid, and what came of the run."""
    outcome: Any = run_output.content
    if not outcome:
        return False, [f"nothing was refunded: {run_output.error or 'the run was stopped'}"]
    said = f"{outcome['amount']} for order {outcome['order']} ({outcome['why']})"
    ledger = [f"ledger:   {outcome['path']}"] if outcome["path"] else []
    return bool(ledger), [f"{outcome['status']}: {said}", *ledger]


async def _play(source: str, reviewer: Reviewer, server: Server | None) -> WorkflowRunOutput:
    hitl = await _client(server)
    async with _worker(hitl):
        run = await hitl.start("refund", {"order": source})
        run_output = await hitl.wait(run)
        try:
            while run_output.is_paused:
                for draft in run_output.step_requirements:
                    await asyncio.to_thread(reviewer.answer, draft)
                    if answer := draft.resolution():
                        await hitl.resolve(run, answer)
                run_output = await hitl.wait(run)
        except GivesUp:
            await hitl.cancel(run)
            run_output = await hitl.wait_for_end(run)
        return run_output


async def _client(server: Server | None) -> HitlClient:
    if server is None:
        return await HitlClient.connect(task_queue=QUEUE)
    address, converter = server.address, server.data_converter
    client = await Client.connect(
        address.target, namespace=address.namespace, data_converter=converter
    )
    return HitlClient(client, task_queue=QUEUE)


@asynccontextmanager
async def _worker(hitl: HitlClient) -> AsyncGenerator[Worker]:
    with ThreadPoolExecutor(4) as threads:
        async with Worker(
            hitl.client,
            task_queue=QUEUE,
            workflows=[Refund],
            activities=ACTIVITIES,
            activity_executor=threads,
            plugins=[HitlPlugin()],
        ) as worker:
            yield worker
