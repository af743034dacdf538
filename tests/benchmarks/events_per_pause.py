"""History events of one pause: what waiting for one person adds to a run.

Counted from the pause's first upsert up to, not including, the next step's ActivityTaskScheduled,
of a pipeline's step with deadline, memo and search attributes. The value is the larger one of an
answer by update and one by signal. The timer may start before that upsert: `whole_pause` in the
detail counts everything after the workflow task that opened the pause.
"""

from __future__ import annotations

import asyncio
import uuid

from temporalio.api.enums.v1 import EventType

from temporal_hitl import HitlClient
from tests.benchmarks.contest import LAP_LIMIT, stage
from tests.benchmarks.figure import Figure

ROUNDS = 5
_UPSERTS = ("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES", "WORKFLOW_PROPERTIES_MODIFIED")


async def measure(rounds: int) -> Figure:
    """Return the most events that a pause took in `rounds` runs by each door."""
    async with stage() as client:
        seen = {
            door: [await asyncio.wait_for(_pause(client, door), LAP_LIMIT) for _ in range(rounds)]
            for door in ("update", "signal")
        }
    most = {door: max(pauses, key=len) for door, pauses in seen.items()}
    detail = {
        "aim": 10,
        "runs": rounds,
        "counts": {door: sorted({_counted(each) for each in of}) for door, of in seen.items()},
        "whole_pause": {door: len(each) for door, each in most.items()},
        "events": most,
    }
    value = max(_counted(each) for of in seen.values() for each in of)
    return Figure("events_per_pause", value, "events", detail)


def _counted(pause: list[str]) -> int:
    first = next(place for place, name in enumerate(pause) if name in _UPSERTS)
    return len(pause) - first


async def _pause(client: HitlClient, door: str) -> list[str]:
    """Return the events of one pause, from the workflow task that opened it to the next step."""
    run = await client.start("release", "rows", run_id=f"events-{uuid.uuid4().hex[:12]}")
    await client.wait(run)
    handle = client.handle(run)
    if door == "update":
        await handle.execute_update("confirm", "redact")
    else:
        await handle.signal("confirm", "redact")
    await handle.result()
    types = [each.event_type for each in (await handle.fetch_history()).events]
    names = [EventType.Name(each).removeprefix("EVENT_TYPE_") for each in types]
    upsert = next(place for place, name in enumerate(names) if name in _UPSERTS)
    opened = max(n for n in range(upsert) if names[n] == "WORKFLOW_TASK_COMPLETED") + 1
    return names[opened : names.index("ACTIVITY_TASK_SCHEDULED", upsert)]
