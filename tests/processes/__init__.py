"""Processes of their own that tests start, kill as the system does, and start again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.stage import WAIT

ROOT = Path(__file__).parent.parent.parent


@dataclass
class Running:
    """A process that said that it is ready, and the line that said it."""

    process: asyncio.subprocess.Process
    said: str

    async def killed(self) -> None:
        """Kill it with signal 9, and return when it is gone."""
        if self.process.returncode is None:
            self.process.kill()
        await self.gone()

    async def asked_to_end(self) -> None:
        """Ask it to end, and return when it says that it does."""
        self.process.terminate()
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), WAIT)
        assert line, "it has ended without a word"

    async def gone(self) -> int:
        """Return its exit code, negative for a signal, once it has ended."""
        return await asyncio.wait_for(self.process.wait(), WAIT)


@asynccontextmanager
async def running(module: str, *args: object) -> AsyncIterator[Running]:
    """Run `python -m module args` for the length of the block at most, once it has said a line."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *map(str, args)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), WAIT)
        assert line, f"{module} ended before it was ready"
        yield Running(process, line.decode().strip())
    finally:
        if process.returncode is None:
            process.kill()
        await asyncio.wait_for(process.wait(), WAIT)
