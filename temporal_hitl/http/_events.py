"""What happens, as server-sent events: changes of what waits for a person, and a run's own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from temporal_hitl.http._problems import ProblemRoute, documented, told
from temporal_hitl.http._requirements import RequirementPlace
from temporal_hitl.http._runs import RunId
from temporal_hitl.http._seen import Seen
from temporal_hitl.http._service import Here, Viewer
from temporal_hitl.http._snapshot import Lost, Outage, Snapshot
from temporal_hitl.stream_events import AnyStreamEvent

router = APIRouter(route_class=ProblemRoute, tags=["events"])

LastEventId = Annotated[
    str | None,
    Header(
        max_length=16_000, description="The id of the last event that was seen: goes on after it."
    ),
]


async def _begin(here: Here, last_event_id: LastEventId = None) -> str:
    # Before the stream begins, so that it can still be refused.
    view, _ = await here.snapshot.last()
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
    `unavailable` says since when Temporal cannot be reached, `available` that it can be again.
    """
    async with aclosing(changes_told(here.snapshot, wanted, begin)) as told_of:
        async for event in told_of:
            yield event


async def changes_told(
    snapshot: Snapshot, wanted: RequirementPlace, begin: str
) -> AsyncGenerator[ServerSentEvent]:
    """Yield what opens and closes after `begin`, and whether Temporal is there, without end."""
    name = "ready"
    while True:
        yield ServerSentEvent(event=name, id=begin, data={})
        try:
            async with aclosing(snapshot.changes(begin)) as changes:
                async for change in changes:
                    if isinstance(change, Outage):
                        yield _outage(change)
                    elif wanted.holds(change.requirement, datetime.now(UTC)):
                        yield ServerSentEvent(
                            event=change.change,
                            id=snapshot.version_of(change),
                            raw_data=change.json,
                        )
        except Lost:
            name, begin = "lost", snapshot.version


def _outage(outage: Outage) -> ServerSentEvent:
    if outage.since is None:
        return ServerSentEvent(event="available", data={})
    return ServerSentEvent(event="unavailable", data={"since": outage.since.isoformat()})


async def _seen(last_event_id: LastEventId = None) -> Seen:
    return Seen.of(last_event_id)


async def _watched(run_id: RunId, here: Here) -> AsyncIterator[AsyncIterator[AnyStreamEvent]]:
    # The first event comes before the stream begins, so that it can still be refused.
    async with aclosing(here.client.watch(run_id)) as events:
        first = await anext(events, None)

        async def all_of_them() -> AsyncIterator[AnyStreamEvent]:
            if first is not None:
                yield first
            async for event in events:
                yield event

        yield all_of_them()


@router.get(
    "/runs/{run_id:path}/events", response_class=EventSourceResponse, responses=documented(404)
)
async def run_events(
    _: Viewer,
    seen: Annotated[Seen, Depends(_seen)],
    events: Annotated[AsyncIterator[AnyStreamEvent], Depends(_watched)],
) -> AsyncIterator[ServerSentEvent]:
    """Tell what happens in a run and its child runs, from its beginning until it has ended.

    Each event has its name (`StepPaused`) and all that it tells. With `Last-Event-ID` it goes on
    after that event. `end` comes last, or `problem`: come back after that one.
    """
    try:
        async for event in events:
            if seen.passes(event):
                data = event.model_dump_json()
                yield ServerSentEvent(event=event.event, id=str(seen), raw_data=data)
    except Exception as error:
        refused = told(error)
        if refused is None:
            raise
        yield ServerSentEvent(event="problem", raw_data=refused.problem.model_dump_json())
    else:
        yield ServerSentEvent(event="end", id=str(seen), data={})
