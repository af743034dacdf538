"""Subscribers are told when a requirement opens and when it is closed, and nothing that happens to
them happens to the run (issue 5, "Notifications").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, Step, StepInput, Workflow
from tests.sink import SECRET, Sink, sink
from tests.stage import ended, paused, replays, serving, until


def process(step_input: StepInput) -> str:
    return "processed"


def asks(name: str = "process", **options: Any) -> Step:
    return Step(name, process, requires_confirmation=True, **options)


@pytest.fixture
def managers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    """The subscriber `managers`: a webhook."""
    with sink() as there:
        monkeypatch.setenv("HITL_NOTIFY_MANAGERS", there.webhook)
        monkeypatch.setenv("HITL_NOTIFY_MANAGERS_SECRET", SECRET)
        yield there


async def test_opened_and_closed(
    env: WorkflowEnvironment, managers: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subscriber is told of the question and of the decision, each signed, with a link and an id
    of its own.
    """
    monkeypatch.setenv("HITL_URL", "https://hitl.example.com/")
    definition = Workflow("told", [asks(confirmation_message="Process {rows}?", notify=["managers"])])
    async with serving(env, definition) as client:
        run = await client.start(definition, {"rows": 7})
        asked = (await paused(client, run)).requirements[0]
        await until(lambda: managers.calls)
        record = await client.resolve(run, Confirm(requirement_id="process", resolved_by="ana"))
        await ended(client, run)
        await until(lambda: len(managers.calls) == 2)
        await replays(client.handle(run), definition)
    opened, closed = (each.verified() for each in managers.calls)
    print(managers.calls)
    assert ("managers",) == asked.notify
