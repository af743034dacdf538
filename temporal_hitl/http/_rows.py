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
from typing import TypeAlias

from temporalio.client import WorkflowExecution

from temporal_hitl._listing import memo_of
from temporal_hitl._reach import AT_ONCE
from temporal_hitl.client import PENDING_RUNS, HitlClient, OpenRequirement
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


_Key: TypeAlias = tuple[str, str]


@dataclass
class _Known:
    memo: bytes
    rows: list[OpenRequirement]
    """What the memo holds, or all that is open, once the run has told it."""
    asked_at: float | None
    """When the run was asked for what its memo has no room for; None where it has."""


class Rows:
    """Reads every open requirement there is."""

    def __init__(self, client: HitlClient) -> None:
        self._client = client
        self._known: dict[_Key, _Known] = {}
        self._asking: dict[_Key, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(AT_ONCE)

    async def read(self) -> tuple[list[OpenRequirement], int]:
        """Return all rows, and how many calls to visibility that took.

        What a memo has no room for is asked of its run meanwhile, and is there the next time: a run
        that does not answer holds nothing up.
        """
        runs, calls = await self._listed()
        before, self._known = self._known, {}
        for number, run in enumerate(runs, 1):
            if number % TURN == 0:
                await asyncio.sleep(0)
            key, memo = (run.id, run.run_id), _memo_of(run)
            known = before.get(key)
            if known is None or known.memo != memo:
                known = await self._decoded(run, memo)
            self._known[key] = known
            if known.asked_at is not None and time.monotonic() - known.asked_at > ASKED:
                self._ask_again(key, run, known)
        return [row for known in self._known.values() for row in known.rows], calls

    async def _listed(self) -> tuple[list[WorkflowExecution], int]:
        listed = self._client.client.list_workflows(
            PENDING_RUNS, page_size=PAGE, rpc_timeout=PATIENCE
        )
        runs, calls = list[WorkflowExecution](), 0
        while calls == 0 or listed.next_page_token:
            # The SDK's own limit is one attempt's, and it makes ten.
            async with asyncio.timeout(PATIENCE.total_seconds()):
                await listed.fetch_next_page()
            runs += listed.current_page or ()
            calls += 1
        return runs, calls

    async def _decoded(self, run: WorkflowExecution, memo: bytes) -> _Known:
        rows, count = list[OpenRequirement](), 1
        told = await memo_of(run) or {}
        with contextlib.suppress(LookupError, TypeError, ValueError):  # Anybody may write a memo.
            rows = [OpenRequirement.of(run, each) for each in told[MEMO_KEY]["rows"]]
            count = told[MEMO_KEY]["count"]
        has_all = isinstance(count, int) and count <= len(rows)
        return _Known(memo, rows, None if has_all else 0.0)

    def _ask_again(self, key: _Key, run: WorkflowExecution, known: _Known) -> None:
        if key not in self._asking:
            known.asked_at = time.monotonic()
            asking = asyncio.create_task(self._ask(run, known))
            self._asking[key] = asking
            asking.add_done_callback(lambda _: self._asking.pop(key))

    async def _ask(self, run: WorkflowExecution, known: _Known) -> None:
        # Of a run that no worker answers for, the rows in its memo are shown. What a converter of
        # the user's raises is that run's alone.
        with contextlib.suppress(Exception):
            async with self._room, asyncio.timeout(ASK):
                asked = (await self._client.requirements(run.id)).open
            known.rows = [OpenRequirement.of(run, each) for each in asked]


def _memo_of(run: WorkflowExecution) -> bytes:
    return run.raw_info.memo.fields[MEMO_KEY].SerializeToString(deterministic=True)
