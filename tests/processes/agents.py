"""A worker that serves an agent, and is there to be killed.

`python -m tests.processes.agents ADDRESS QUEUE LEDGER URL [GRACE]` serves `desk`, whose model is
the provider at URL, until it is killed; terminated, it says so and has GRACE seconds to finish.
Every tool writes its start and its end to the file LEDGER; one that is called for NAME does not end
while the file NAME beside it exists.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

from temporal_hitl import HitlPlugin
from temporal_hitl.agents import Agent, OpenAIChat, tool
from tests.processes.worker import write
from tests.provider import KEY

SILENT = 3.0
"""Seconds of silence after which a turn, or a tool, is taken from its worker."""


def desk(ledger: Path, url: str) -> Agent:
    """Return the agent."""

    def work(kind: str, name: str) -> str:
        write(ledger, f"{kind} {name} start")
        while ledger.with_name(name).exists():
            time.sleep(0.02)
        write(ledger, f"{kind} {name} end")
        return f"{name} done"

    def note(name: str) -> str:
        """Work unasked."""
        return work("note", name)

    def count(name: str, session_state: dict[str, Any]) -> str:
        """Work unasked, and say so in the session state."""
        session_state[name] = "counted"
        return work("count", name)

    @tool(requires_confirmation=True)
    def refund(name: str) -> str:
        """Work once, if a person says so."""
        return work("refund", name)

    @tool(requires_confirmation=True, idempotent=True)
    def notify(name: str) -> str:
        """Work as often as need be, if a person says so."""
        return work("notify", name)

    @tool(idempotent=False)
    def charge(name: str) -> str:
        """Work once, unasked."""
        return work("charge", name)

    model = OpenAIChat(id="scripted", base_url=url, api_key=KEY)
    model.model()  # What it imports takes a while, in which no heart beats.
    tools = [note, count, refund, notify, charge]
    return Agent("desk", model, "Be good.", tools, heartbeat_timeout=SILENT)


async def main(address: str, queue: str, ledger: str, url: str, grace: str = "0") -> None:
    client = await Client.connect(address, data_converter=pydantic_data_converter)
    worker = Worker(
        client,
        task_queue=queue,
        plugins=[HitlPlugin(workflows=[desk(Path(ledger), url).workflow])],
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
        graceful_shutdown_timeout=timedelta(seconds=float(grace)),
    )
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    async with worker:
        print("ready", flush=True)
        await over.wait()
        ending = asyncio.create_task(worker.shutdown())
        await asyncio.sleep(0.2)  # Its activities have heard of it by then.
        print("ending", flush=True)
        await ending


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
