"""The list of what waits, and what is done with several of it at once."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, cast
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field, model_validator

from temporal_hitl.client import OpenRequirement
from temporal_hitl.http._access import Role
from temporal_hitl.http._problems import refused
from temporal_hitl.http._requirements import Requirements, is_overdue, page_of
from temporal_hitl.http._resolutions import MANY, decide_many
from temporal_hitl.http.inbox._pages import Form, PageRoute, Posted, Visit
from temporal_hitl.http.inbox._words import Words

router = APIRouter(route_class=PageRoute)


class Wanted(Requirements):
    """Which of what waits to show."""

    q: str | None = Field(default=None, max_length=200)
    """What its words hold, all of them."""

    @model_validator(mode="before")
    @classmethod
    def _without_what_is_empty(cls, said: Any) -> Any:
        # A form sends its empty fields too.
        return {name: value for name, value in dict(said).items() if value != ""}

    def holds(self, row: OpenRequirement, now: datetime) -> bool:
        """Return whether `row` is wanted."""
        if not super().holds(row, now):
            return False
        text = f"{row.message} {row.workflow_name} {row.name} {row.run_id} {row.id}".casefold()
        return all(word in text for word in (self.q or "").casefold().split())

    @property
    def is_empty(self) -> bool:
        """Whether it lets everything through."""
        return self.q is None and super().is_empty

    def link(self, **more: Any) -> str:
        """Return the query of the same list, with `more` said."""
        said = {**self.model_dump(mode="json", exclude_defaults=True), **more}
        return "?" + urlencode({name: value for name, value in said.items() if value is not None})


@router.get("/inbox", name="inbox_list")
async def inbox_list(wanted: Annotated[Wanted, Query()], page: Visit) -> Response:
    """Show what waits for a person, what is overdue first."""
    view, outage = await page.here.snapshot.last()
    found, now = page_of(view, wanted), datetime.now(UTC)
    rows = [row for row in view.rows.values() if wanted.holds(row, now)]
    return page.render(
        "list.html",
        wanted=wanted,
        rows=[(row, is_overdue(row, now), value_of(row)) for row in found.items],
        count=len(rows),
        overdue=sum(is_overdue(row, now) for row in rows),
        pipelines=sorted({row.workflow_name for row in view.rows.values()}),
        more=wanted.link(cursor=found.cursor) if found.cursor else None,
        version=found.version,
        unreachable=outage.since,
        as_of=view.taken_at,
        key=uuid.uuid4().hex,
    )


def value_of(row: OpenRequirement) -> str:
    """Return what addresses a row in a form."""
    return json.dumps([row.run_id, row.id])


def _selected(posted: Form) -> list[tuple[str, str]]:
    found = list[tuple[str, str]]()
    for value in posted.all("row"):
        try:
            told: Any = json.loads(value)
        except (ValueError, RecursionError):
            told = None
        if not _is_address(told):
            raise refused(422, f"{value!r:.80} addresses no row of the list")
        found.append((told[0], told[1]))
    if len(found) > MANY:
        raise refused(422, f"{MANY} at once, and not {len(found)}")
    return found


def _is_address(told: Any) -> bool:
    parts = cast(list[Any], told) if isinstance(told, list) else []
    # As the HTTP API has it: Temporal's database stops at a zero.
    return len(parts) == 2 and all(
        isinstance(part, str) and part and len(part) <= 1000 and "\0" not in part for part in parts
    )


@router.post("/inbox")
async def decide_selected(
    page: Visit, posted: Form, selected: Annotated[list[tuple[str, str]], Depends(_selected)]
) -> Response:
    """Confirm or reject all that is selected, and show what became of each."""
    caller = page.who(Role.reviewer)
    said = _said(posted)
    if said["action"] not in ("confirm", "reject"):
        raise refused(422, "several are confirmed or rejected, and nothing else")
    sent = [(run_id, asked, said) for run_id, asked in selected]
    key = posted.said("key") or uuid.uuid4().hex
    became = await decide_many(page.here, caller, sent, key) if sent else []
    return page.render("bulk.html", became=became, action=Words.actions[said["action"]])


def _said(posted: Posted) -> dict[str, Any]:
    said: dict[str, Any] = {"action": posted.text("action"), "resolved_by": posted.said("name")}
    if said["action"] == "reject":
        said["feedback"] = posted.said("feedback")
    return said
