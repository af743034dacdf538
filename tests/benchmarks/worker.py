"""A worker in a process of its own, for what a worker takes.

`python -m tests.benchmarks.worker ADDRESS` serves the pipelines as their users would, and the
workflows written by hand as theirs would, each on a task queue of its own. It answers each line on
its standard input with the bytes that it has resident after a garbage collection, and ends with the
input.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from types import MappingProxyType

import psutil
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

from temporal_hitl import HitlPlugin, Workflow
from tests.benchmarks import by_hand, job
from tests.benchmarks.contest import QUEUE, pipeline, steps

BY_HAND_QUEUE = "bench-by-hand"
THREADS = 100
START_LIMIT = 60.0
STRAIGHT = Workflow("straight", steps())
"""The job without its question."""


async def main(address: str) -> None:
    """Serve until standard input ends."""
    client = await Client.connect(address, data_converter=pydantic_data_converter)
    pipelines = Worker(
        client, task_queue=QUEUE, plugins=[HitlPlugin(workflows=[pipeline(), STRAIGHT])]
    )
    with ThreadPoolExecutor(THREADS) as threads:
        rivals = Worker(
            client,
            task_queue=BY_HAND_QUEUE,
            workflows=[by_hand.Straight, by_hand.UnsandboxedStraight],
            activities=[job.load, job.redact, job.save],
            activity_executor=threads,
        )
        async with pipelines, rivals:
            print("ready", flush=True)
            while await asyncio.to_thread(sys.stdin.readline):
                gc.collect()
                print(psutil.Process().memory_info().rss, flush=True)


class Process:
    """That process, seen from the one that measures."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._seen = psutil.Process(process.pid)

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has spent."""
        spent = self._seen.cpu_times()
        return spent.user + spent.system

    async def resident_bytes(self) -> int:
        """Return the memory that it has, after a garbage collection."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        return int(await self.line())

    async def line(self) -> str:
        """Return the next line that it says."""
        assert self._process.stdout is not None
        told = await asyncio.wait_for(self._process.stdout.readline(), START_LIMIT)
        assert told, "the worker has ended"
        return told.decode().strip()


@asynccontextmanager
async def working(
    address: str, settings: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[Process]:
    """Run the process for the length of the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.worker", address),
        env={**os.environ, **settings},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        worker = Process(process)
        await worker.line()
        yield worker
    finally:
        # What waits, waits on: to tell a thousand cached runs goodbye takes its time.
        process.kill()
        await process.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
