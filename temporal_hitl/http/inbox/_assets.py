"""The style, the script, and the events that the script listens to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from temporal_hitl.http._events import LastEventId, changes_told
from temporal_hitl.http._requirements import RequirementPlace
from temporal_hitl.http.inbox._pages import AnybodysPage, PageRoute, Visit

router = APIRouter(route_class=PageRoute)

_STATIC = files("temporal_hitl.http.inbox") / "static"
_TYPES = {
    "inbox.css": "text/css; charset=utf-8",
    "inbox.js": "text/javascript; charset=utf-8",
    "inbox.svg": "image/svg+xml",
}
_ASSETS = {name: (_STATIC / name).read_bytes() for name in _TYPES}


@router.get("/inbox/static/inbox.css")
async def style(_: AnybodysPage) -> Response:
    """Return the style."""
    return _asset("inbox.css")


@router.get("/inbox/static/inbox.js")
async def script(_: AnybodysPage) -> Response:
    """Return the script."""
    return _asset("inbox.js")


@router.get("/inbox/static/inbox.svg")
async def icon(_: AnybodysPage) -> Response:
    """Return the icon."""
    return _asset("inbox.svg")


def _asset(name: str) -> Response:
    kept = {"Cache-Control": "no-cache"}
    return Response(_ASSETS[name], media_type=_TYPES[name], headers=kept)


Version = Annotated[str, Query(max_length=100)]


async def _begin(page: Visit, version: Version = "", last_event_id: LastEventId = None) -> str:
    # Before the stream begins, so that it can still be refused.
    view, _ = await page.here.snapshot.last()
    return last_event_id or version or view.version


@router.get("/inbox/events", response_class=EventSourceResponse)
async def events(
    page: Visit, begin: Annotated[str, Depends(_begin)]
) -> AsyncIterator[ServerSentEvent]:
    """Tell the list's script what opens and closes."""
    told = changes_told(page.here.snapshot, RequirementPlace(), begin)
    async with aclosing(told) as changes:
        async for event in changes:
            yield event
