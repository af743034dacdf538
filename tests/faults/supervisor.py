"""Keeps the processes of a campaign running, and kills them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from temporal_hitl._attributes import SEARCH_ATTRIBUTES
from temporal_hitl.local._files import Ports
from temporal_hitl.local._process import HOST, answers, command, free_ports
from temporal_hitl.local._process import running as server_running
from tests.faults.journal import Journal
from tests.faults.worker import AGAIN
from tests.stage import until

ROOT = Path(__file__).parent.parent.parent
SUGGESTED = 60
"""History events from which on the campaign's server suggests to continue as new."""
PAUSE = 0.4, 2.0
"""Seconds between two kills, at least and at most."""
DEAD = 1.5
"""Seconds at most for which a process stays dead; every other one is started again at once."""
FELL = 0.2
"""Seconds after which a process that ended by itself is started again."""

Run = Callable[[Callable[[int], None]], Awaitable[int]]
"""Runs a process, tells its id, and returns its exit code."""


class Kept:
    """A process that is started again whenever it has ended, unless it ended well."""

    def __init__(self, name: str, run: Run) -> None:
        self.name = name
        self.pid: int | None = None
        self.fell: list[int] = []
        """The exit codes of ends that were none of ours."""
        self._run = run
        self._gap: float | None = None

    async def keep(self) -> None:
        """Return once the process has ended well."""
        while (code := await self._run(self._is)) != 0:
            self.pid, gap, self._gap = None, self._gap, None
            if gap is None and code != AGAIN:
                self.fell.append(code)
            await asyncio.sleep(FELL if gap is None else gap)
        self.pid = None

    def _is(self, pid: int) -> None:
        self.pid = pid

    def kill(self, gap: float) -> None:
        """Kill it with signal 9; it is started again `gap` seconds later."""
        assert self.pid is not None
        with contextlib.suppress(ProcessLookupError):  # It may have ended by itself just now.
            os.kill(self.pid, signal.SIGKILL)
        self.pid, self._gap = None, gap


def server(ports: Ports, folder: Path) -> Run:
    """Return how a server is run on the folder's database."""
    told = command(ports, folder / "dev.db", SEARCH_ATTRIBUTES)
    told.append(f"--dynamic-config-value=limit.historyCount.suggestContinueAsNew={SUGGESTED}")

    async def run(started: Callable[[int], None]) -> int:
        with server_running(told, lock=None, log_file=folder / "server.log") as process:
            started(process.pid)
            while process.poll() is None:
                await asyncio.sleep(0.02)
            return process.returncode or 1  # A server has no end that is well.

    return run


def python(module: str, folder: Path, name: str, *args: object) -> Run:
    """Return how a process of ours is run; what it says goes to a file of its name."""

    async def run(started: Callable[[int], None]) -> int:
        with (folder / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module, *map(str, args)),
                cwd=ROOT,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        try:
            started(process.pid)
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    return run


class Site:
    """A server, two workers and a client in a folder, each of which may die."""

    def __init__(self, folder: Path, seed: int) -> None:
        ports = free_ports()
        self.folder = folder
        self.address = f"{HOST}:{ports.frontend}"
        self.server = Kept("server", server(ports, folder))
        self._ports = ports
        self._kills = Journal(folder / "kills")
        workers = [
            Kept(name, python("tests.faults.worker", folder, name, self.address, folder))
            for name in ("worker_a", "worker_b")
        ]
        told = python("tests.faults.client", folder, "client", self.address, folder, seed)
        self.client = Kept("client", told)
        self.all = [self.server, *workers, self.client]

    async def healthy(self) -> None:
        """Return once the server answers: one that dies while it creates its database would leave
        half of it.
        """

        async def answering() -> bool:
            return await asyncio.to_thread(answers, self._ports, SEARCH_ATTRIBUTES)

        await until(answering, seconds=30)

    async def kill_one(self, chance: random.Random) -> str:
        """Kill one of those alive after a moment, and return its name."""
        await asyncio.sleep(chance.uniform(*PAUSE))
        first, gap = chance.randrange(len(self.all)), max(0.0, chance.uniform(-DEAD, DEAD))
        order = self.all[first:] + self.all[:first]
        victim = await until(lambda: next((each for each in order if each.pid is not None), None))
        victim.kill(gap)
        self._kills.write(victim=victim.name, gap=gap)
        return victim.name


@asynccontextmanager
async def site(folder: Path, seed: int) -> AsyncIterator[tuple[Site, asyncio.Task[None]]]:
    """Run a site for the length of the block; yield it, and the task that ends with its client."""
    there = Site(folder, seed)
    tasks = [asyncio.create_task(there.server.keep())]
    try:
        await there.healthy()
        tasks += [asyncio.create_task(each.keep()) for each in there.all[1:]]
        yield there, tasks[-1]
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert [] == [each for each in ends if isinstance(each, Exception)]
