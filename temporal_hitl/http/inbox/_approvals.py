"""The page of approvals: what waits for one, and what was decided."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Response
from pydantic import model_validator

from temporal_hitl._approvals import page_of
from temporal_hitl.approvals import ApprovalStatus, ApprovalType
from temporal_hitl.http._approvals import Approvals, approvals_of
from temporal_hitl.http.inbox._pages import PageRoute, Visit
from temporal_hitl.http.inbox._words import Words

router = APIRouter(route_class=PageRoute)


class Wanted(Approvals):
    """Which approvals to show."""

    @model_validator(mode="before")
    @classmethod
    def _without_what_is_empty(cls, said: Any) -> Any:
        # A form sends its empty fields too.
        return {name: value for name, value in dict(said).items() if value != ""}


@router.get("/inbox/approvals")
async def inbox_approvals(wanted: Annotated[Wanted, Query()], page: Visit) -> Response:
    """Show approvals, what was opened last first; only what is pending where no file is read."""
    notice = None
    if page.here.approvals is None and wanted.status is not ApprovalStatus.pending:
        notice = Words.no_approvals_file
        wanted = wanted.model_copy(update={"status": ApprovalStatus.pending})
    found = await approvals_of(page.here, wanted)
    items, cursor = page_of(found, wanted.limit, wanted.cursor)
    said = wanted.model_dump(mode="json", exclude_defaults=True) | {"cursor": cursor}
    return page.render(
        "approvals.html",
        wanted=wanted,
        items=items,
        count=len(found),
        notice=notice,
        statuses=list(ApprovalStatus),
        types=list(ApprovalType),
        more=f"?{urlencode(said)}" if cursor else None,
    )
