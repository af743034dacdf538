"""What the tests of notifications share: a subscriber in the environment, and what told it."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from temporal_hitl import HitlClient
from tests.sink import SECRET, Sink
from tests.stage import until


def subscribe(monkeypatch: pytest.MonkeyPatch, name: str, at: Sink) -> None:
    """Have the workers of this process know the subscriber `name`."""
    monkeypatch.setenv(f"HITL_NOTIFY_{name.upper()}", at.webhook)
    monkeypatch.setenv(f"HITL_NOTIFY_{name.upper()}_SECRET", SECRET)


async def notifications(client: HitlClient, run: str) -> list[WorkflowHandle[Any, Any]]:
    """Return what tells of the requirements of a run, in order, once all of it has started."""

    async def confirmed() -> tuple[list[str]] | None:
        events = (await client.handle(run).fetch_history()).events
        wanted = [
            each.start_child_workflow_execution_initiated_event_attributes.workflow_id
            for each in events
            if each.HasField("start_child_workflow_execution_initiated_event_attributes")
        ]
        begun = [
            each.child_workflow_execution_started_event_attributes.workflow_execution.workflow_id
            for each in events
            if each.HasField("child_workflow_execution_started_event_attributes")
        ]
        return (wanted,) if set(wanted) == set(begun) else None

    (ids,) = await until(confirmed)
    return [client.handle(each) for each in ids]


async def dumped(handle: WorkflowHandle[Any, Any]) -> str:
    """Return all that a history holds, payloads included, as text."""
    events = (await handle.fetch_history()).events
    return "".join(each.SerializeToString().decode(errors="replace") for each in events)
