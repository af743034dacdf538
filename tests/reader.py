"""Somebody who does what README and docs say, against a real server, API and worker."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer

from temporal_hitl import HitlClient, HitlPlugin, ResolutionError, WorkflowRunOutput
from temporal_hitl.cli._modules import Contents
from temporal_hitl.errors import RunNotFound
from tests.documents import Block, Said, Start, started_by, starts
from tests.shell import typed
from tests.stage import WAIT, ended, executions, temporal_binary, until

UNITS = {"h": 3600, "d": 86400}
SOON = 5
"""Seconds beside a deadline."""


@dataclass
class Reader:
    """Follows one page, block by block."""

    env: WorkflowEnvironment
    client: HitlClient
    api: str
    """Where the HTTP API is."""
    defined: Contents
    """What the worker serves."""
    screen: asyncio.Lock
    """Held by who prints, or changes the environment, in this process."""
    names: dict[str, Any]
    """What the page's Python has defined."""
    in_bash: bool
    """Whether `temporal-hitl` is a process, too, and not called in this one."""
    starts: dict[str, Start] = field(default_factory=starts)
    run: str | None = None
    """The run that was named last."""
    left: set[str] = field(default_factory=set[str])
    """The runs that the block at hand has touched."""
    touched: set[str] = field(default_factory=set[str])
    """The runs that the page has touched."""

    async def follow(self, block: Block, is_run: Callable[[Said], bool]) -> int:
        """Do what a block says, as far as it is run, assert that it comes as it says, and return
        how much that was.
        """
        self.left = set()
        if block.language == "text":
            return 0  # The block of Python before it is compared with it.
        if block.printed is not None:
            async with self.screen:
                printed = await asyncio.to_thread(self._printed, block)
            assert block.printed == printed, block.where
            return 1
        of_shell = block.language == "sh"
        said = [each for each in block.commands if is_run(each)] if of_shell else block.statements
        for each in said:
            await self._one(each, block)
        return len(said)

    def _printed(self, block: Block) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(block.text, block.where, "exec"), self.names)
        return printed.getvalue()

    async def _one(self, said: Said, block: Block) -> None:
        self.run = self._named(said.text) or self.run
        begins = block.language == "sh" and started_by(said) is not None
        if begins:
            await self._gone(self.run)
        elif self.run is not None and (self.run not in self.left or said.then is not None):
            await self._waits(self.run)
        code, told = await self._done(said, block)
        if self.run is not None:
            self.left.add(self.run)
            self.touched.add(self.run)
        why = f"{block.where}: {said.text}: {told}"
        expected = said.then or ""
        if expected.startswith("refused: "):
            assert code != 0 and expected.removeprefix("refused: ") in told, why
            return
        assert code == 0, why
        if said.then is not None:
            assert self.run is not None, why
            stands = await self._stands(self.run, expected)
            assert expected == stands, f"{stands}, after {why}"

    def _named(self, text: str) -> str | None:
        found = [id for id in self.starts if re.search(rf"\b{re.escape(id)}\b", text)]
        return found[0] if found else None

    async def replay(self) -> None:
        """Assert that whatever has run under the ids of the page replays."""
        replayer = Replayer(
            workflows=self.defined.workflows,
            plugins=[HitlPlugin(workflows=self.defined.pipelines)],
            data_converter=pydantic_data_converter,
        )
        for run in sorted(self.touched):
            await self._gone(run)
            handles = await executions(self.env, run)
            await replayer.replay_workflows(await each.fetch_history() for each in handles)

    # Runs

    async def _waits(self, run: str) -> None:
        """Have a run wait, anew unless the block has left it so."""
        if run in self.left and (await self.client.wait(run, timeout=WAIT)).is_paused:
            return
        await self._gone(run)
        start = self.starts[run]
        await self.client.start(start.pipeline, start.input, run_id=run)
        await self.client.wait(run, timeout=WAIT)

    async def _gone(self, run: str | None) -> None:
        """Have no run of an id."""
        assert run is not None
        with contextlib.suppress(RunNotFound):
            await self.client.cancel(run)
            await ended(self.client, run)

    async def _stands(self, run: str, expected: str) -> str:
        """Return how a run stands, as soon as that is as expected; at last, however it does."""

        async def stands() -> str:
            found = told(await self.client.wait(run, timeout=WAIT))
            return expected if found.startswith(f"{expected}:") else found

        # A signal may be on its way.
        with contextlib.suppress(AssertionError):
            return await until(lambda: _same(stands, expected), seconds=3)
        return await stands()

    # Doing it

    async def _done(self, said: Said, block: Block) -> tuple[int, str]:
        if block.language == "sh":
            return await self._command(said)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code: CodeType = compile(said.text, block.where, "exec", flags)
        try:
            result = eval(code, self.names)
            if asyncio.iscoroutine(result):
                await result
        except ResolutionError as refused:
            return 1, str(refused)
        return 0, ""

    async def _command(self, said: Said) -> tuple[int, str]:
        first, *words = said.words
        if first == "sleep":
            return await self._sleep(words[0])
        if first == "export":  # Where all of it is, is said by the environment.
            return 0, ""
        if first == "temporal-hitl" and not self.in_bash:
            cut = words.index(">>") if ">>" in words else len(words)
            here = self.env.client.service_client.config.target_host
            async with self.screen:
                result = await typed(*words[:cut], TEMPORAL_ADDRESS=here)
            return result.code, f"{result.out}{result.err}"
        return await self._bash(said.text)

    async def _sleep(self, span: str) -> tuple[int, str]:
        """Move the clock of the run."""
        assert self.run is not None
        seconds = int(span[:-1]) * UNITS[span[-1]] + SOON
        await self.env.fast_forward(self.client.handle(self.run), seconds)
        return 0, ""

    async def _bash(self, text: str) -> tuple[int, str]:
        folders = [Path(sys.executable).parent, Path(temporal_binary()).parent, os.environ["PATH"]]
        environment = {
            **os.environ,
            "PATH": os.pathsep.join(map(str, folders)),
            "PYTHONPATH": str(Path(__file__).parent.parent),
            "TEMPORAL_ADDRESS": self.env.client.service_client.config.target_host,
            "HITL": self.api,
        }
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", text),
            cwd=Path.cwd(),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(process.communicate(), WAIT)
        return process.returncode or 0, out.decode()


async def _same(stands: Any, expected: str) -> str | None:
    found = await stands()
    return found if found == expected else None


def told(output: WorkflowRunOutput) -> str:
    """Return how a run stands, as the pages tell it: what it asks, or how it ended."""
    if not output.is_paused:
        text = output.content if isinstance(output.content, str) else json.dumps(output.content)
        return f"{output.status.value.lower()}: {output.error or text}"
    asked = [(run.run_id, each) for run in output.runs() for each in run.requirements]
    ids = [each.id if id == output.run_id else f"{id} {each.id}" for id, each in asked]
    return f"asks {', '.join(ids)}" + (f": {asked[0][1].message}" if len(asked) == 1 else "")
