"""What Temporal holds of a run at the end of a campaign, as plain data for the checks."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHistory
from temporalio.worker import Replayer

from temporal_hitl import HitlPlugin, WorkflowRunOutput
from tests.faults.pipelines import Pipeline

HARMLESS = {WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND}
"""A message came while a run was about to close: the server has the task done again."""
PATIENCE = 20.0
"""Seconds that one question to the server may take."""


@dataclass(frozen=True)
class Completion:
    """An activity whose completion is in history: which attempt counted, and what it gave."""

    activity: str
    execution: str
    attempt: int
    output: dict[str, Any] | None = None
    """A step's output, as JSON data."""


@dataclass(frozen=True)
class Account:
    """One run, as Temporal tells it."""

    run: str
    pipeline: str
    status: str
    output: WorkflowRunOutput | None
    """Its result, where it has one."""
    completed: list[Completion]
    scheduled: Counter[str]
    """How often each activity was scheduled, over all executions."""
    troubles: list[str] = field(default_factory=list[str])
    """What is wrong already at the look at it: failed tasks and replays, what it still waits for.
    """
    executions: int = 1
    taken_along: int = 0
    """How many requirements were open while the run continued as new."""


async def account(client: Client, pipeline: Pipeline, run: str) -> Account:
    """Collect and replay all that Temporal holds of a run."""
    handle = client.get_workflow_handle(run)
    described = await asyncio.wait_for(handle.describe(), PATIENCE)
    histories = await asyncio.wait_for(_chain(client, run), PATIENCE)
    status = described.status or WorkflowExecutionStatus.RUNNING
    output, troubles = None, [each for history in histories for each in _failed_tasks(history)]
    if status is WorkflowExecutionStatus.COMPLETED:
        output = WorkflowRunOutput.model_validate(await handle.result())
    elif status is WorkflowExecutionStatus.RUNNING:
        raw = described.raw_description
        troubles += [f"waits for {str(each)[:600]}" for each in raw.pending_activities]
        troubles += [f"waits for {str(raw.pending_workflow_task)[:600]}"]
    return Account(
        run=run,
        pipeline=pipeline.definition.name,
        status=status.name,
        output=output,
        completed=[each for history in histories for each in _completed(history)],
        scheduled=Counter(each for history in histories for each in _scheduled(history).values()),
        troubles=[*troubles, *await _replayed(pipeline, histories)],
        executions=len(histories),
        taken_along=sum(map(_open_at_start, histories)),
    )


async def _chain(client: Client, run: str) -> list[WorkflowHistory]:
    """Return the histories of a run's executions, oldest first."""
    found: list[WorkflowHistory] = []
    execution: str | None = None
    while execution != "":
        handle = client.get_workflow_handle(run, run_id=execution)
        found.insert(0, await handle.fetch_history())
        begun = found[0].events[0].workflow_execution_started_event_attributes
        execution = begun.continued_execution_run_id
    return found


def _execution(history: WorkflowHistory) -> str:
    begun = history.events[0].workflow_execution_started_event_attributes
    return begun.original_execution_run_id


def _open_at_start(history: WorkflowHistory) -> int:
    begun = history.events[0].workflow_execution_started_event_attributes
    carried = [json.loads(each.data) for each in begun.input.payloads[2:]]
    return sum(len(each["gate"]["open"]) for each in carried)


def _scheduled(history: WorkflowHistory) -> dict[int, str]:
    return {
        event.event_id: event.activity_task_scheduled_event_attributes.activity_id
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    }


def _completed(history: WorkflowHistory) -> list[Completion]:
    scheduled = _scheduled(history)
    attempts = {
        event.event_id: event.activity_task_started_event_attributes.attempt
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
    }
    told = [
        event.activity_task_completed_event_attributes
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
    ]
    return [
        Completion(
            activity=scheduled[each.scheduled_event_id],
            execution=_execution(history),
            attempt=attempts[each.started_event_id],
            output=_result(each.result)["output"],
        )
        for each in told
    ]


def _result(payloads: Payloads) -> dict[str, Any]:
    return json.loads(payloads.payloads[0].data)


def _failed_tasks(history: WorkflowHistory) -> list[str]:
    failed = [
        event.workflow_task_failed_event_attributes
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
    ]
    return [
        f"a workflow task failed: {each.failure.message} ({each.cause})"
        for each in failed
        if each.cause not in HARMLESS
    ]


async def _replayed(pipeline: Pipeline, histories: list[WorkflowHistory]) -> list[str]:
    replayer = Replayer(workflows=[], plugins=[HitlPlugin(workflows=[pipeline.definition])])
    results = [
        await replayer.replay_workflow(each, raise_on_replay_failure=False) for each in histories
    ]
    return [
        f"an execution does not replay: {each.replay_failure}"
        for each in results
        if each.replay_failure is not None
    ]
