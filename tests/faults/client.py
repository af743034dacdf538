"""A client that is killed again and again: `python -m tests.faults.client ADDRESS FOLDER SEED`.

It starts runs under ids that it has chosen before, answers what they ask, and ends once the file
FOLDER/stop is there and every run has ended. All that it knows it has from the seed and from its
journal, so that it goes on where it died.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from temporal_hitl import HitlClient, ResolutionError
from temporal_hitl.errors import NoWorker
from tests.faults.answers import Sending, after, sendings
from tests.faults.journal import Journal, end, end_with_parent
from tests.faults.pipelines import pipelines
from tests.faults.worker import connected

AT_ONCE = 8
"""How many runs there are at a time."""
TURN = 0.2
"""Seconds between two looks."""
SOON = timedelta(seconds=2)
"""How long the server waits for a workflow task that a dead worker took."""


class Reviewer:
    """Starts runs and answers them, and writes down each thing before and after it is done."""

    def __init__(self, hitl: HitlClient, folder: Path, seed: int) -> None:
        self._hitl = hitl
        self._stop = folder / "stop"
        self._journal = Journal(folder / "journal")
        self._seed = seed
        self._mix = list(pipelines(folder / "ledger"))
        self._started = {each["run"] for each in self._journal.lines(what="started")}
        ended = {each["run"] for each in self._journal.lines(what="ended")}
        self._chosen = [each["run"] for each in self._journal.lines(what="start")]
        self._active = {each: None for each in self._chosen if each not in ended}
        self._told = {each["key"] for each in self._journal.lines(what="told")}
        self._seen = set[tuple[str, str]]()

    async def work(self) -> None:
        """Go on until told to stop and nothing is left."""
        async with asyncio.TaskGroup() as group:
            for each in self._journal.lines(what="seen"):
                self._answer(group, each["run"], each["requirement"], each["deadline"])
            while self._active or not self._stop.exists():
                try:
                    await self._turn(group)
                except RPCError as error:
                    logging.warning("no turn: %r", error)
                await asyncio.sleep(TURN)

    async def _turn(self, group: asyncio.TaskGroup) -> None:
        while len(self._active) < AT_ONCE and not self._stop.exists():
            self._choose()
        for run in [each for each in self._active if each not in self._started]:
            await self._start(run)
        for run in list(self._active):
            status = (await self._hitl.handle(run).describe()).status
            if status is not WorkflowExecutionStatus.RUNNING:
                self._journal.write(what="ended", run=run)
                del self._active[run]
        async for row in self._hitl.list_requirements():
            self._answer(group, row.run_id, row.id, row.deadline is not None)

    def _choose(self) -> None:
        number = len(self._chosen)
        pipeline = self._mix[number % len(self._mix)]
        run = f"{pipeline}-{number}"
        self._journal.write(what="start", run=run, pipeline=pipeline)
        self._chosen.append(run)
        self._active[run] = None

    async def _start(self, run: str) -> None:
        pipeline = self._journal.lines(what="start", run=run)[0]["pipeline"]
        # A start whose answer was never heard is made again, also of a run that has ended since.
        policy = WorkflowIDReusePolicy.REJECT_DUPLICATE
        try:
            await self._hitl.start(
                pipeline, run, run_id=run, task_timeout=SOON, id_reuse_policy=policy
            )
        except WorkflowAlreadyStartedError:
            logging.info("%s was started before", run)
        self._journal.write(what="started", run=run)
        self._started.add(run)

    # Answers

    def _answer(self, group: asyncio.TaskGroup, run: str, requirement: str, deadline: bool) -> None:
        if (run, requirement) in self._seen:
            return
        self._seen.add((run, requirement))
        if not self._journal.lines(what="seen", run=run, requirement=requirement):
            self._journal.write(what="seen", run=run, requirement=requirement, deadline=deadline)
        group.create_task(self._answer_all(run, requirement, deadline))

    async def _answer_all(self, run: str, requirement: str, deadline: bool) -> None:
        await asyncio.sleep(after(self._seed, run, requirement))
        planned = sendings(self._seed, run, requirement, deadline=deadline)
        left = [each for each in planned if each.key not in self._told]
        await asyncio.gather(*(self._send(run, each) for each in left))

    async def _send(self, run: str, sending: Sending) -> None:
        told = None
        while told is None:
            about = {"run": run, "key": sending.key, "door": sending.door}
            about |= {"decision": sending.decision.model_dump(mode="json")}
            self._journal.write(what="sent", **about)
            told = await (self._update if sending.door == "update" else self._signal)(run, sending)
            if told is not None:
                self._journal.write(what="told", **about, **told)

    async def _update(self, run: str, sending: Sending) -> dict[str, Any] | None:
        """Return the record, or the refusal; None where neither is known."""
        try:
            record = await self._hitl.resolve(run, sending.decision)
            return {"outcome": "recorded", "record": record.model_dump(mode="json")}
        except ResolutionError as refused:
            return {"outcome": type(refused).__name__, "record": refused.record}
        except (NoWorker, RPCError) as error:
            logging.warning("again: %s: %r %s", sending.key, error, getattr(error, "status", ""))
            await asyncio.sleep(TURN)
            return None

    async def _signal(self, run: str, sending: Sending) -> dict[str, Any] | None:
        """Return whether the server has taken it; None where that is not known."""
        data = sending.decision.model_dump(mode="json")
        try:
            await self._hitl.handle(run).signal("resolve", data)
            return {"outcome": "delivered"}
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return {"outcome": "after the end"}
            logging.warning("again: %s: %r", sending.key, error)
            await asyncio.sleep(TURN)
            return None


async def main(address: str, folder: str, seed: str) -> None:
    end_with_parent()
    hitl = HitlClient(await connected(address))
    await Reviewer(hitl, Path(folder), int(seed)).work()
    end(0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
