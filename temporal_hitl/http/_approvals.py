"""Approvals: list over all runs, count, export. What is open is answered as any requirement."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from temporal_hitl._approvals import listed, on_file, page_of
from temporal_hitl.approvals import Approval, ApprovalFilter, ApprovalStatus
from temporal_hitl.http._filters import Name
from temporal_hitl.http._problems import ProblemRoute, documented
from temporal_hitl.http._service import Here, Service, Viewer

router = APIRouter(route_class=ProblemRoute, tags=["approvals"])

JSON_LINES = "application/jsonl"


class WantedApprovals(ApprovalFilter):
    """Which approvals; all that is given must hold."""

    pipeline: Name | None = None
    """The pipeline, or the agent, whose run asks."""
    run_id: Name | None = None
    tool: Name | None = None
    """The tool's name."""
    resolved_by: Name | None = None
    """Who decided."""


class Approvals(WantedApprovals):
    """Which approvals to list, and how many."""

    limit: int = Field(default=100, ge=1, le=1000)
    """How many at most."""
    cursor: str | None = Field(default=None, max_length=10_000)
    """What the page before returned."""


class ApprovalPage(BaseModel):
    """One page of approvals, what was opened last first."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    items: list[Approval]
    cursor: str | None = None
    """Where the next page begins; null where this is the last."""


class ApprovalCount(BaseModel):
    """How many approvals there are."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    count: int
    by_status: dict[ApprovalStatus, int]
    """How many of each status; what there is none of stands with 0."""


async def approvals_of(here: Service, wanted: ApprovalFilter) -> list[Approval]:
    """Return the approvals that are wanted, what was opened last first.

    Raises:
        OperatorError: nothing that has closed can be read here.
    """
    asks_for_open = wanted.status in (None, ApprovalStatus.pending)
    rows = (await here.snapshot.view()).rows.values() if asks_for_open else ()
    return await asyncio.to_thread(listed, rows, here.approvals, wanted)


def counted(approvals: list[Approval]) -> ApprovalCount:
    """Return how many there are."""
    by_status = {each: sum(one.status is each for one in approvals) for each in ApprovalStatus}
    return ApprovalCount(count=len(approvals), by_status=by_status)


@router.get("/approvals", responses=documented())
async def list_approvals(
    wanted: Annotated[Approvals, Query()], here: Here, _: Viewer
) -> ApprovalPage:
    """List approvals over all runs, pending ones too; of these the run tells the arguments."""
    items, cursor = page_of(await approvals_of(here, wanted), wanted.limit, wanted.cursor)
    return ApprovalPage(items=items, cursor=cursor)


@router.get("/approvals/count", responses=documented())
async def count_approvals(
    wanted: Annotated[WantedApprovals, Query()], here: Here, _: Viewer
) -> ApprovalCount:
    """Count approvals over all runs."""
    return counted(await approvals_of(here, wanted))


@router.get(
    "/approvals/export",
    response_class=StreamingResponse,
    responses={200: {"content": {JSON_LINES: {}}}, **documented()},
)
async def export_approvals(
    wanted: Annotated[WantedApprovals, Query()], here: Here, _: Viewer
) -> Any:
    """Return what has closed as JSON Lines, in the order in which it was filed."""
    closed = await asyncio.to_thread(on_file, here.approvals, wanted)

    def lines() -> Iterator[str]:
        yield from (f"{each.model_dump_json()}\n" for each in closed)

    return StreamingResponse(lines(), media_type=JSON_LINES)
