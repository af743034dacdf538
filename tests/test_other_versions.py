"""What a newer version wrote is read by an older one: upgrades are rolled out, and rolled back."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from temporalio import workflow
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Confirm,
    HitlClient,
    Step,
    StepInput,
    StepOutput,
    Workflow,
    WorkflowRunOutput,
)
from temporal_hitl._calls import PlanFound
from temporal_hitl._ledger import GateState
from temporal_hitl._progress import Carried, Progress
from temporal_hitl._scope import State
from temporal_hitl._wire import read
from tests.stage import ended, paused, replay_all, serving, until


def extended(data: Any) -> Any:
    """Return `data` with a field more in each of our objects in it, as a newer version has."""
    if isinstance(data, list):
        return [extended(each) for each in data]
    if not isinstance(data, dict):
        return data
    ours = {"path", "status", "plan", "kind", "open", "written", "done"} & data.keys()
    told = {key: extended(value) for key, value in data.items()}
    return told | ({"of_tomorrow": {"a": 1}} if ours else {})


@workflow.defn(name="newer", sandboxed=False)
class Newer:
    """Stands for a run of a newer version, which continues as new on an older worker."""

    @workflow.run
    async def run(self, carried: Any, task_queue: str) -> None:
        options = {"user_id": "ana", "of_tomorrow": True}
        args = ["data", options, carried]
        workflow.continue_as_new(workflow="versions", args=args, task_queue=task_queue)


def save(step_input: StepInput) -> str:
    return f"{step_input.previous_step_content} saved"


async def gone_on(client: HitlClient, run: str) -> Any:
    output = await client.get(run)
    return output if output.workflow_name == "versions" and output.user_id else None


async def test_a_run_goes_on_under_an_older_version(env: WorkflowEnvironment) -> None:
    """A run that a newer version brought along goes on, with all that this one knows of."""
    load = Step("load", lambda: "never")
    definition = Workflow("versions", [load, Step("save", save, requires_confirmation=True)])
    done = StepOutput(step_name="load", path="load", content="loaded")
    async with serving(env, definition, workflows=[Newer]) as client:
        await client.start(definition, run_id="sample")
        asked = (await paused(client, "sample")).requirements[0]
        started_at = asked.created_at
        carried = Carried(
            found=PlanFound(plan=definition.plan),
            progress=Progress(done={"load": done}, asked={"save": asked.id}),
            state=State(written={"seen": 1}),
            started_at=started_at,
            gate=GateState(open=[asked]),
        )
        data = extended(carried.model_dump(mode="json"))
        args = [data, client.task_queue]
        handle = await env.client.start_workflow(
            "newer", args=args, id="rolled-back", task_queue=client.task_queue
        )
        waiting = await until(lambda: gone_on(client, handle.id))
        await client.resolve(handle.id, Confirm(requirement_id="save"))
        output = await ended(client, handle.id)
        await client.cancel("sample")
        await replay_all(env, "sample", definition)

    assert "of_tomorrow" in data["progress"]["done"]["load"]
    assert "of_tomorrow" in data["gate"]["open"][0]
    assert ([asked], "ana") == (waiting.requirements, waiting.user_id)
    assert ("loaded saved", {"seen": 1}) == (output.content, output.session_state)
    assert started_at == output.started_at


async def test_an_output_is_read_by_an_older_client(env: WorkflowEnvironment) -> None:
    """What a newer worker tells of a run is read; only what people write may not be unknown."""
    definition = Workflow("told", [Step("load", lambda: "loaded")])
    async with serving(env, definition) as client:
        run = await client.start(definition)
        output = await ended(client, run)
        data = await client.handle(run).result()
        await replay_all(env, run, definition)

    assert output == read(WorkflowRunOutput, extended(data))
    with pytest.raises(ValidationError, match="of_tomorrow"):
        StepOutput.model_validate({"of_tomorrow": 1})
