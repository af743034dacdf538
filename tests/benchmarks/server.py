"""What the figures stand on: an embedded server in memory, and the histories that it holds."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle, WorkflowHistory

from temporal_hitl._attributes import SEARCH_ATTRIBUTES
from temporal_hitl.local import serve

Handle = WorkflowHandle[Any, Any]


@asynccontextmanager
async def embedded() -> AsyncIterator[Client]:
    """Serve in memory, and yield a client; large values stand in a folder."""
    server = await asyncio.to_thread(serve, None, search_attributes=SEARCH_ATTRIBUTES)
    try:
        yield await Client.connect(server.address.target, data_converter=server.data_converter)
    finally:
        await asyncio.to_thread(server.close)


def new_id(name: str) -> str:
    """Return an id for a run."""
    return f"{name}-{uuid.uuid4().hex[:12]}"


async def histories(client: Client, run: str) -> list[WorkflowHistory]:
    """Return the history of each execution of a run, in order."""
    last = await client.get_workflow_handle(run).fetch_history()
    started = last.events[0].workflow_execution_started_event_attributes
    found, execution = list[WorkflowHistory](), started.first_execution_run_id
    while execution:
        handle = client.get_workflow_handle(run, run_id=execution)
        found.append(await handle.fetch_history())
        ended = found[-1].events[-1].workflow_execution_continued_as_new_event_attributes
        execution = ended.new_execution_run_id
    return found


def measures(history: WorkflowHistory) -> dict[str, int]:
    """Return how long a history is."""
    done = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    return {
        "events": len(history.events),
        "workflow_tasks": sum(each.event_type == done for each in history.events),
        "bytes": sum(each.ByteSize() for each in history.events),
    }
