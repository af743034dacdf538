"""`temporal-hitl`, as somebody types it."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
from dataclasses import dataclass
from typing import Any

from temporalio.testing import WorkflowEnvironment
from typer.testing import CliRunner

from temporal_hitl.cli._app import app


@dataclass(frozen=True)
class Said:
    """What a command ended with and wrote."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What it wrote for programs."""
        return json.loads(self.out)


def bare_environment() -> dict[str, str | None]:
    """Return what takes every setting of Temporal's, and ours, out of the environment."""
    names = [each for each in os.environ if each.startswith("TEMPORAL_")]
    return {**dict.fromkeys(names), "TEMPORAL_CONFIG_FILE": "/nonexistent/temporal.toml"}


async def typed(*words: str, given: str | None = None, **variables: str) -> Said:
    """Run a command in this process, with `given` on its standard input, and no terminal."""
    environment = {**bare_environment(), **variables}
    result = await asyncio.to_thread(
        CliRunner().invoke, app, list(words), input=given, env=environment
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Said(result.exit_code, result.stdout, result.stderr)


class Shell:
    """Types commands that reach one server."""

    def __init__(self, env: WorkflowEnvironment) -> None:
        self.address = env.client.service_client.config.target_host

    async def __call__(self, *words: str, given: str | None = None, **variables: str) -> Said:
        """Run a command; see `typed`."""
        return await typed(*words, given=given, TEMPORAL_ADDRESS=self.address, **variables)

    async def pasted(self, command: str) -> Said:
        """Run a command as it was told."""
        first, *words = shlex.split(command, comments=True)
        assert "temporal-hitl" == first, command
        return await self(*words)
