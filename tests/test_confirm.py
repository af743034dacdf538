"""A person is asked before a step, and says yes or no (seed 002, "Confirmation")."""

from __future__ import annotations

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, OnReject, Reject, RunStatus, Step, StepInput, Workflow
from tests.stage import ended, paused, replays, serving


def fetch(step_input: StepInput) -> str:
    return f"fetched {step_input.input}"


def process(step_input: StepInput) -> str:
    return str(step_input.previous_step_content).upper()


def save(step_input: StepInput) -> str:
    return f"saved {step_input.previous_step_content}"


def pipeline(on_reject: OnReject = OnReject.skip) -> Workflow:
    gated = Step("process", process, requires_confirmation=True, on_reject=on_reject)
    return Workflow("data_pipeline", [Step("fetch", fetch), gated, Step("save", save)])


async def test_confirmed_step_runs(env: WorkflowEnvironment, cache: int) -> None:
    """A confirmed step runs once, and the record says who confirmed, how and why."""
    async with serving(env, pipeline(), max_cached_workflows=cache) as client:
        run = await client.start("data_pipeline", "users")
        asked = (await paused(client, run)).requirements[0]
        sent = Confirm(requirement_id=asked.id, resolved_by="ana", comment="fine")
        record = await client.resolve(run, sent)
        output = await ended(client, run)

    assert (asked.id, asked.message) == ("process", "Execute step 'process'?")
    assert (record.resolved_by, record.comment, record.decided_by) == ("ana", "fine", "human")
    assert output.content == "saved FETCHED USERS"
    assert RunStatus.completed is output.status
    await replays(client.handle(run), pipeline())


@pytest.mark.parametrize(
    ("on_reject", "status", "content"),
    [
        (OnReject.skip, RunStatus.completed, "saved fetched users"),
        (OnReject.cancel, RunStatus.cancelled, "fetched users"),
    ],
)
async def test_rejection(
    env: WorkflowEnvironment, on_reject: OnReject, status: RunStatus, content: str
) -> None:
    """A rejected step never runs; the run goes on or ends cancelled, as its author wrote."""
    async with serving(env, pipeline(on_reject)) as client:
        run = await client.start("data_pipeline", "users")
        await paused(client, run)
        await client.resolve(run, Reject(requirement_id="process", feedback="too early"))
        output = await ended(client, run)

    assert (status, content) == (output.status, output.content)
    assert "process" not in [each.step_name for each in output.step_results]
    await replays(client.handle(run), pipeline(on_reject))
