"""A worker that is killed again and again: `python -m tests.faults.worker ADDRESS FOLDER`."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError
from temporalio.worker import Worker

from temporal_hitl import HitlPlugin
from temporal_hitl.client import TASK_QUEUE
from tests.faults.journal import end, end_with_parent
from tests.faults.pipelines import pipelines

AGAIN = 75
"""The exit code of a process that could not start yet, as the server was not there."""
ATTEMPTS = 300
"""How often a process tries to connect, ten times a second."""


async def connected(address: str) -> Client:
    """Return a client once there is a server."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await Client.connect(address, data_converter=pydantic_data_converter)
        except RuntimeError:  # What the SDK raises where nobody listens.
            await asyncio.sleep(0.1)
    return await Client.connect(address, data_converter=pydantic_data_converter)


async def main(address: str, folder: str) -> None:
    end_with_parent()
    served = pipelines(Path(folder, "ledger")).values()
    worker = Worker(
        await connected(address),
        task_queue=TASK_QUEUE,
        plugins=[HitlPlugin(workflows=[each.definition for each in served])],
        # What a dead worker had cached goes to the other one soon.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
        max_heartbeat_throttle_interval=timedelta(seconds=0.3),
    )
    try:
        await worker.run()
    except RPCError as error:  # The server died before the worker had started.
        print(f"tried again: {error!r}", file=sys.stderr)
        end(AGAIN)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
