"""Lists runs: one List call per hundred of them, and no call per run."""

# temporalio's own signatures hold bare Callables and TypeVars.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus

from temporal_hitl._attributes import BLOCKED, HITL_STATUS, PENDING
from temporal_hitl._notices import NOTIFICATION
from temporal_hitl.errors import BadCursor
from temporal_hitl.workflow import BLOCKED_KEY, MEMO_KEY

PAGE = 100
"""Runs in one call."""
_RUNS = f"WorkflowType != '{NOTIFICATION}'"
"""Leaves out what tells subscribers of a run."""
_log = logging.getLogger(__name__)
_WAITS = {PENDING: "PAUSED", BLOCKED: "BLOCKED"}


class RunRow(BaseModel):
    """One row of the list of runs: what addresses a run, and how it stands."""

    # Built at first use: most processes never list runs.
    model_config = ConfigDict(
        frozen=True, extra="ignore", use_attribute_docstrings=True, defer_build=True
    )

    run_id: str
    workflow_name: str
    status: str
    """`RUNNING`, `PAUSED` or `BLOCKED`; of an execution that has ended, what Temporal calls it:
    `COMPLETED` also where a person or a deadline ended the run early."""
    task_queue: str
    root_run_id: str
    """The run at the top, where this one is a child."""
    started_at: datetime
    ended_at: datetime | None = None
    open: int | None = 0
    """How many requirements it has open; None where its memo cannot be read, as of runs whose
    payloads are encrypted otherwise."""
    blocked: list[str] = []
    """The activity types that it waits for, as no worker has them."""


async def list_runs(client: Client, query: str | None, limit: int | None) -> AsyncIterator[RunRow]:
    """Yield the latest execution of each run that `query` finds: those that run, and then those
    that have ended, the latest first.
    """
    seen = set[str]()
    async for execution in client.list_workflows(_of_runs(query), page_size=PAGE):
        if execution.id in seen:
            continue  # An earlier execution of a run that has continued as new.
        if limit is not None and len(seen) == limit:
            return
        seen.add(execution.id)
        yield await row_of(execution)


class RunPage(BaseModel):
    """One page of the list of runs: those that run, and then those that have ended, the latest
    first.
    """

    model_config = ConfigDict(use_attribute_docstrings=True, defer_build=True)

    items: list[RunRow]
    cursor: str | None = None
    """Where the next page begins; null where this is the last."""


async def page_of_runs(
    client: Client, query: str | None, limit: int, cursor: str | None
) -> RunPage:
    """Return one page of the executions that `query` finds; raises `BadCursor`."""
    listed = client.list_workflows(_of_runs(query), page_size=limit, next_page_token=_token(cursor))
    await listed.fetch_next_page()
    token = listed.next_page_token
    return RunPage(
        items=[await row_of(each) for each in listed.current_page or ()],
        cursor=base64.urlsafe_b64encode(token).decode() if token else None,
    )


def _of_runs(query: str | None) -> str:
    return _RUNS if query is None or not query.strip() else f"{_RUNS} AND ({query})"


def _token(cursor: str | None) -> bytes | None:
    try:
        return None if cursor is None else base64.b64decode(cursor, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadCursor(f"{cursor!r:.80} is no cursor of this list; leave it out") from None


async def row_of(execution: WorkflowExecution) -> RunRow:
    """Return what Temporal tells of one execution as a row."""
    runs = execution.status is WorkflowExecutionStatus.RUNNING
    attribute = execution.typed_search_attributes.get(HITL_STATUS)
    ended = "UNKNOWN" if execution.status is None else execution.status.name
    memo: Mapping[str, Any] | None = await memo_of(execution) if runs else {}
    # The rows stay in the memo when all is answered; the attribute says whether they count.
    pending = attribute == PENDING
    asked: dict[str, Any] = ((memo or {}).get(MEMO_KEY) or {}) if pending else {}
    return RunRow(
        run_id=execution.id,
        workflow_name=execution.workflow_type,
        status=_WAITS.get(attribute or "", "RUNNING") if runs else ended,
        task_queue=execution.task_queue,
        root_run_id=execution.root_id or execution.id,
        started_at=execution.start_time,
        ended_at=execution.close_time,
        open=None if memo is None else asked.get("count", 0),
        blocked=(memo or {}).get(BLOCKED_KEY) or [],
    )


async def memo_of(execution: WorkflowExecution) -> Mapping[str, Any] | None:
    """Return the memo of a run, or None where it cannot be read."""
    try:
        return await execution.memo()
    except Exception as error:  # A converter of the user's may raise anything.
        # One run must not hide all others.
        _log.warning("the memo of run %r cannot be read: %r", execution.id, error)
        return None
