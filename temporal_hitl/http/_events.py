"""What happens, as server-sent events: changes of what waits for a person."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from temporal_hitl.http._problems import ProblemRoute, documented
from temporal_hitl.http._requirements import RequirementPlace
from temporal_hitl.http._service import Here, Viewer
from temporal_hitl.http._snapshot import Lost

router = APIRouter(route_class=ProblemRoute, tags=["events"])

LastEventId = Annotated[
    str | None,
    Header(max_length=200, description="The id of the last event that was seen: goes on after it."),
]


async def _begin(here: Here, last_event_id: LastEventId = None) -> str:
    # Before the stream begins, so that it can still be refused.
    view = await here.snapshot.view()
    return last_event_id or view.version


@router.get("/requirements/events", response_class=EventSourceResponse, responses=documented())
async def requirement_events(
    wanted: Annotated[RequirementPlace, Query()],
    here: Here,
    _: Viewer,
    begin: Annotated[str, Depends(_begin)],
) -> AsyncIterator[ServerSentEvent]:
    """Tell what opens and closes over all runs, within about a second.

    Events are `opened` and `closed`, each with the requirement as the list tells it. `ready` comes
    first. `lost` says that changes were missed: look at the list again; the stream goes on.
    """
    name = "ready"
    while True:
        yield ServerSentEvent(event=name, id=begin, data={})
        try:
            async with aclosing(here.snapshot.changes(begin)) as changes:
                async for change in changes:
                    if wanted.holds(change.requirement, datetime.now(UTC)):
                        yield ServerSentEvent(
                            event=change.change,
                            id=here.snapshot.version_of(change),
                            raw_data=change.json,
                        )
        except Lost:
            name, begin = "lost", here.snapshot.version
