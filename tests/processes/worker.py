"""A worker that is there to be killed, and the pipelines that it serves.

`python -m tests.processes.worker ADDRESS QUEUE LEDGER [DIE_AT]` serves them until it dies.
Every step writes its start and its end to the file LEDGER; `process` does not end while the file
LEDGER.hold exists. With DIE_AT the worker kills itself the moment it is about to send data that
holds this text.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import PayloadCodec
from temporalio.worker import Worker

from temporal_hitl import HitlPlugin, Step, StepInput, Workflow

SHORT = timedelta(seconds=2)
"""The deadline of the `urgent` pipeline's requirement."""
SOON = timedelta(seconds=3)
"""After how much silence of its worker `process` is started again."""
ALL = [f"{step} {mark}" for step in ("load", "process", "save") for mark in ("start", "end")]
"""The ledger of a run in which every step ran once."""


def hold(ledger: Path) -> Path:
    """Return the file whose existence keeps `process` from ending."""
    return ledger.with_suffix(".hold")


def lines(ledger: Path) -> list[str]:
    """Return what the steps wrote, in order."""
    return ledger.read_text().splitlines() if ledger.exists() else []


def write(ledger: Path, line: str) -> None:
    """Append a line, so that it is there whatever happens next."""
    with os.fdopen(os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "w") as file:
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())


def recorded(
    ledger: Path, name: str, work: Callable[[], None] = lambda: None
) -> Callable[[StepInput], str]:
    """Return an executor that does `work` and writes down when it starts and ends."""

    def execute(step_input: StepInput) -> str:
        write(ledger, f"{name} start")
        work()
        write(ledger, f"{name} end")
        return f"{step_input.previous_step_content or step_input.input} {name}"

    return execute


def pipelines(ledger: Path) -> list[Workflow]:
    """Return `release`, which waits an hour for a person, `urgent`, two seconds, `patient`, for
    ever, and `reviewed`, which shows what `process` gives, too.
    """

    def wait() -> None:
        while hold(ledger).exists():
            activity.heartbeat()
            time.sleep(0.05)

    def steps(**options: Any) -> list[Step]:
        return [
            Step("load", recorded(ledger, "load")),
            Step(
                "process",
                recorded(ledger, "process", wait),
                requires_confirmation=True,
                **options,
            ),
            Step("save", recorded(ledger, "save")),
        ]

    return [
        Workflow("release", steps(hitl_timeout=timedelta(hours=1), heartbeat_timeout=SOON)),
        Workflow("urgent", steps(hitl_timeout=SHORT, on_timeout="skip")),
        Workflow("patient", steps()),
        Workflow("reviewed", steps(requires_output_review=True, on_reject="retry")),
    ]


class Deadly(PayloadCodec):
    """Kills the process when it is about to send data that holds a text."""

    def __init__(self, text: str) -> None:
        self._text = text.encode()

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        if any(self._text in payload.data for payload in payloads):
            os.kill(os.getpid(), signal.SIGKILL)
        return list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return list(payloads)


async def main(address: str, queue: str, ledger: str, die_at: str | None = None) -> None:
    converter = pydantic_data_converter
    if die_at is not None:
        converter = dataclasses.replace(converter, payload_codec=Deadly(die_at))
    client = await Client.connect(address, data_converter=converter)
    worker = Worker(
        client,
        task_queue=queue,
        plugins=[HitlPlugin(workflows=pipelines(Path(ledger)))],
        # What a dead worker had cached goes to another one soon; only long silence is death.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
        max_heartbeat_throttle_interval=timedelta(seconds=0.3),
    )
    async with worker:
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
