"""Every history in `tests/histories/` replays, for ever: runs like these wait in production now.

Never edit a history to make a test pass: put the change behind `workflow.patched`.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payloads
from temporalio.client import WorkflowHistory
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    Replayer,
    StartActivityInput,
    UnsandboxedWorkflowRunner,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ActivityHandle

from temporal_hitl import HitlPlugin
from tests.histories.pipelines import MADE_BY, pipelines_of, workflows_of

FOLDER = Path(__file__).parent / "histories"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
TOLD = ("status", "content", "session_state")
"""What must stay of a pipeline's result; later versions may add to the rest."""


def recorded(name: str) -> WorkflowHistory:
    return WorkflowHistory.from_json(name, (FOLDER / f"{name}.json").read_text())


def replayer(name: str, **options: Any) -> Replayer:
    made_by = MADE_BY[name]
    plugin = HitlPlugin(workflows=pipelines_of(made_by))
    return Replayer(workflows=workflows_of(made_by), plugins=[plugin], **options)


def test_every_history_is_claimed() -> None:
    """Each file belongs to what made it, and nothing that should have a file lacks it."""
    assert NAMES
    assert sorted(MADE_BY) == NAMES


def test_a_history_is_never_made_again_by_accident() -> None:
    """Recording keeps a file that is there, unless it is told otherwise."""
    file = FOLDER / f"{NAMES[0]}.json"
    before = file.stat().st_mtime_ns
    command = [sys.executable, "-m", "tests.histories.record", file.stem]
    ran = subprocess.run(command, cwd=FOLDER.parents[1], capture_output=True, text=True, timeout=60)

    assert (ran.returncode, ran.stdout) == (0, "")
    assert ran.stderr == f"kept, as --force was not given: {file.stem}\n"
    assert before == file.stat().st_mtime_ns


@pytest.mark.parametrize("name", NAMES)
async def test_replays(name: str) -> None:
    """The commands of today's code are those that the run recorded."""
    result = await replayer(name).replay_workflow(recorded(name), raise_on_replay_failure=False)

    assert result.replay_failure is None


class Watch(Interceptor):
    """Keeps what replayed runs give to activities and return: Temporal compares commands alone."""

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}
        self.returned: list[Any] = []

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        watch = self

        class Outbound(WorkflowOutboundInterceptor):
            def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
                watch.given[input.activity_id or ""] = input.args[0]
                return super().start_activity(input)

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound))

            async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
                watch.returned.append(await super().execute_workflow(input))
                return watch.returned[-1]

        return Inbound


@pytest.mark.parametrize("name", NAMES)
async def test_carries_the_same_data(name: str) -> None:
    """Activities are given what they were given, and the run comes to the end that it came to."""
    watch, history = Watch(), recorded(name)
    unsandboxed = UnsandboxedWorkflowRunner()  # The sandbox would keep what the watch sees.
    again = replayer(name, interceptors=[watch], workflow_runner=unsandboxed)
    await again.replay_workflow(history)
    scheduled = [each.activity_task_scheduled_event_attributes for each in history.events]
    given = {each.activity_id: content(each.input) for each in scheduled if each.activity_id}
    ends = [each.workflow_execution_completed_event_attributes for each in history.events]
    returned = [told(content(each.result)) for each in ends if each.result.payloads]

    assert list(given) == list(watch.given)
    assert given == {key: as_before(watch.given[key], each) for key, each in given.items()}
    assert returned == [told(each) for each in watch.returned]


def content(payloads: Payloads) -> Any:
    return json.loads(payloads.payloads[0].data)


def told(result: Any) -> Any:
    is_output = isinstance(result, dict) and "status" in result
    return {key: result[key] for key in TOLD} if is_output else result


def as_before(now: Any, before: Any) -> Any:
    """Return `now` without the fields that objects did not have `before`."""
    if isinstance(now, list) and isinstance(before, list) and len(now) == len(before):
        return [as_before(*each) for each in zip(now, before, strict=True)]
    if not isinstance(now, dict) or not isinstance(before, dict):
        return now
    return {key: as_before(each, before.get(key)) for key, each in now.items() if key in before}


@pytest.mark.parametrize("name", NAMES)
def test_names_no_machine(name: str) -> None:
    """No history holds the name of the machine, or a path on it, not even in a payload."""
    text = (FOLDER / f"{name}.json").read_text()
    contents = [base64.b64decode(each).decode() for each in encoded(json.loads(text))]
    identities = {each["identity"] for each in objects(json.loads(text)) if "identity" in each}

    assert identities - {"history-service"} == {"golden"}  # That is a part of the server.
    assert contents
    assert [
        each for each in (text, *contents) if str(FOLDER.parents[1]) in each or '.py"' in each
    ] == []


def objects(data: Any) -> list[dict[str, Any]]:
    """Return every object in `data`, however deep."""
    if isinstance(data, list):
        return [found for each in data for found in objects(each)]
    if not isinstance(data, dict):
        return []
    return [data, *(found for each in data.values() for found in objects(each))]


def encoded(data: Any) -> list[str]:
    """Return what every payload in `data` holds, still encoded."""
    return [each["data"] for each in objects(data) if isinstance(each.get("data"), str)]
