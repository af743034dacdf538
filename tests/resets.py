"""What the tests of resets share: a pipeline of two gates, answers by both doors, and the reset."""

from __future__ import annotations

import json
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, HitlClient, Reject, Step, StepInput, Workflow
from temporal_hitl.workflow import MEMO_KEY
from tests.stage import cli, until

executed: list[str] = []
"""The steps that ran, in order."""
DOORS = ["update", "signal"]
UNKNOWN = "this run has no requirement {key!r}; nothing is open in this run"


def load() -> str:
    executed.append("load")
    return "loaded"


def sign(step_input: StepInput) -> str:
    executed.append("sign")
    return f"signed {step_input.previous_step_content}"


def send(step_input: StepInput) -> str:
    executed.append("send")
    return f"sent {step_input.previous_step_content}"


def gated(name: str, act: Any, **options: Any) -> Step:
    return Step(name, act, requires_confirmation=True, **options)


def pipeline(*before: Step, **options: Any) -> Workflow:
    """Two gates, `sign` and `send`, with steps `before` them and `options` of the first."""
    return Workflow("release", [*before, gated("sign", sign, **options), gated("send", send)])


def answer(key: str, **over: Any) -> Confirm:
    return Confirm(requirement_id=key, resolved_by="ana", decision_id=f"d-{key}", **over)


async def tell(
    client: HitlClient, run: str, key: str, door: str, decision: Confirm | Reject | None = None
) -> None:
    """Answer `key` by a door, yes unless a decision is given, and return when that has counted."""
    decision = decision or answer(key)
    if door == "update":
        await client.resolve(run, decision)
    else:
        await client.handle(run).signal("resolve", decision.model_dump(mode="json"))

    async def closed() -> bool:
        told = await client.requirements(run, resolved=True)
        return key in [each.requirement_id for each in told.resolved]

    await until(closed)


async def asked(client: HitlClient, run: str, *keys: str) -> Any:
    """Return the run once exactly `keys` are open."""

    async def look() -> Any:
        output = await client.get(run)
        return output if sorted(keys) == sorted(each.id for each in output.requirements) else None

    return await until(look)


async def opening(handle: WorkflowHandle[Any, Any], key: str) -> int:
    """Return the event that ended the task which opened `key`: a reset to it undoes that."""
    async for event in handle.fetch_history_events():
        told = event.workflow_properties_modified_event_attributes
        memo = json.loads(told.upserted_memo.fields[MEMO_KEY].data or "{}")
        if key in [row["id"] for row in memo.get("rows", [])]:
            return told.workflow_task_completed_event_id
    raise AssertionError(f"{key} was never open")


async def next_task(handle: WorkflowHandle[Any, Any], after: int) -> int:
    """Return the event that ended the first workflow task after the one that `after` ended."""
    events = (await handle.fetch_history()).events
    done = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    return next(each.event_id for each in events[after:] if each.event_type == done)


async def reset(env: WorkflowEnvironment, run: str, *how: str | int) -> None:
    """Reset a run as an operator does at a terminal."""
    words = ["workflow", "reset", "--workflow-id", run, "--reason", "test", *map(str, how)]
    code, out, err = await cli(env, *words)
    assert (0, "") == (code, err), out


async def listed(client: HitlClient, run: str, *keys: str) -> None:
    """Wait until the list of all that is open has these rows of the run, and no others."""

    async def there() -> bool:
        rows = client.list_requirements(f"WorkflowId = '{run}'")
        return sorted(keys) == sorted([row.id async for row in rows])

    await until(there)


def reasons(output: Any) -> list[str]:
    return [each.reason for each in output.refused]
