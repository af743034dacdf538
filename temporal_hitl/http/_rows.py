"""The open requirements of all runs, read from visibility again and again, and cheaply.

Owns what is remembered between two looks: a memo that has not changed is not decoded again. Decides
nothing about when to look.
"""

# temporalio's own signatures hold bare Callables and TypeVars.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.client import WorkflowExecution, WorkflowQueryFailedError
from temporalio.service import RPCError

from temporal_hitl._reach import AT_ONCE
from temporal_hitl._wire import read
from temporal_hitl.client import PENDING_RUNS, HitlClient, OpenRequirement
from temporal_hitl.errors import HitlError
from temporal_hitl.requirements import AnyRequirement
from temporal_hitl.workflow import MEMO_KEY

_log = logging.getLogger(__name__)

PAGE = 1_000
"""Runs that one List call returns; the most that a server returns unless it is configured."""
PATIENCE = timedelta(seconds=5)
"""How long Temporal has to answer."""
TURN = 50
"""Runs after which others of the process get their turn."""
ASK = 2.0
"""Seconds that a run is given to tell what its memo has no room for."""
ASKED = 5.0
"""Seconds after which it is asked again, where its memo says nothing new."""


@dataclass(frozen=True)
class _Known:
    memo: bytes
    rows: list[OpenRequirement]
    until: float | None
    """Until when the rows hold though the memo has not changed; None for as long as that."""


class Rows:
    """Reads every open requirement there is."""

    def __init__(self, client: HitlClient) -> None:
        self._client = client
        self._known: dict[tuple[str, str], _Known] = {}

    async def read(self) -> tuple[list[OpenRequirement], int]:
        """Return all rows, and how many calls to visibility that took."""
        listed = self._client.client.list_workflows(
            PENDING_RUNS, page_size=PAGE, rpc_timeout=PATIENCE
        )
        runs = list[WorkflowExecution]()
        calls = 0
        while calls == 0 or listed.next_page_token:
            await listed.fetch_next_page()
            runs += listed.current_page or ()
            calls += 1
        before, self._known = self._known, {}
        room = asyncio.Semaphore(AT_ONCE)
        pending = list[asyncio.Task[None]]()
        for number, run in enumerate(runs, 1):
            key, memo = (run.id, run.run_id), _memo_of(run)
            known = before.get(key)
            if known is None or known.memo != memo or _is_over(known.until):
                known = await self._decoded(run, memo)
                if known.until is not None:
                    pending.append(asyncio.create_task(self._ask(run, known, room)))
            self._known[key] = known
            if number % TURN == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*pending)
        return [row for known in self._known.values() for row in known.rows], calls

    async def _decoded(self, run: WorkflowExecution, memo: bytes) -> _Known:
        told = await _told(run)
        rows = [_row(run, each) for each in told["rows"]]
        # A memo holds so many rows and no more; the run itself has the others.
        more = told["count"] > len(rows)
        return _Known(memo, rows, time.monotonic() + ASKED if more else None)

    async def _ask(self, run: WorkflowExecution, known: _Known, room: asyncio.Semaphore) -> None:
        # Of a run that no worker answers for, the rows in its memo are shown.
        with contextlib.suppress(HitlError, RPCError, WorkflowQueryFailedError, TimeoutError):
            async with room, asyncio.timeout(ASK):
                asked = (await self._client.requirements(run.id)).open
            rows = [_row(run, _brief(each)) for each in asked]
            self._known[run.id, run.run_id] = _Known(known.memo, rows, known.until)


async def _told(run: WorkflowExecution) -> dict[str, Any]:
    nothing: dict[str, Any] = {"count": 0, "rows": []}
    try:
        return (await run.memo()).get(MEMO_KEY) or nothing
    except Exception as error:  # A converter may raise anything; one run hides no others.
        _log.warning("what run %s asks cannot be read here: %r", run.id, error)
        return nothing


def _brief(asked: AnyRequirement) -> dict[str, Any]:
    # As its author wrote it: lists of all runs are read by more people than a run is.
    return {**asked.model_dump(), "message": asked.template or asked.message}


def _row(run: WorkflowExecution, requirement: dict[str, Any]) -> OpenRequirement:
    of_run = {
        "run_id": run.id,
        "workflow_name": run.workflow_type,
        "root_run_id": run.root_id or run.id,
    }
    return read(OpenRequirement, {**requirement, **of_run})


def _memo_of(run: WorkflowExecution) -> bytes:
    return run.raw_info.memo.fields[MEMO_KEY].SerializeToString(deterministic=True)


def _is_over(until: float | None) -> bool:
    return until is not None and time.monotonic() > until
