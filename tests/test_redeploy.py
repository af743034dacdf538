"""A pipeline is edited and deployed while a run waits: the run keeps to its own plan."""

from __future__ import annotations

import importlib.util
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, HitlClient, Workflow
from temporal_hitl.events import SourceChanged
from tests.stage import ended, new_queue, paused, replays, serving

BEFORE = """
from temporal_hitl import Condition, Step, Workflow

def fetch(step_input):
    return f"{step_input.input} fetched"

def process(step_input):
    return f"{step_input.previous_step_content} processed"

def wanted(step_input):
    return True

def save(step_input):
    return f"{step_input.previous_step_content} saved"

pipeline = Workflow(
    "release",
    [
        Step("fetch", fetch),
        Step("process", process, requires_confirmation=True, confirmation_message="Process it?"),
        Condition([Step("save", save)], wanted, name="publish"),
    ],
)
"""
MORE_STEPS = BEFORE.replace(
    '        Step("fetch", fetch),\n',
    '        Step("check", lambda step_input: f"{step_input.input} checked"),\n'
    '        Step("fetch", fetch),\n'
    '        Step("sign", lambda step_input: f"{step_input.previous_step_content} signed"),\n',
).replace("Process it?", "Process what was signed?")
OTHER_ORDER = BEFORE.replace(
    '        Step("fetch", fetch),\n',
    '        Condition([Step("save", save)], wanted, name="publish"),\n',
).replace(
    '        Condition([Step("save", save)], wanted, name="publish"),\n    ]',
    '        Step("fetch", fetch),\n    ]',
)
OTHER_SOURCE = BEFORE.replace(" processed", " PROCESSED").replace(
    "return True", "return bool(step_input)"
)


@pytest.fixture(autouse=True)
def deployed_module() -> Iterator[None]:
    """Take the deployed module away again."""
    yield
    sys.modules.pop("release", None)


def deploy(folder: Path, source: str) -> Workflow:
    """Write the module `release` into a folder of its own, and import it from there."""
    file = folder / uuid.uuid4().hex / "release.py"
    file.parent.mkdir()
    file.write_text(source)
    spec = importlib.util.spec_from_file_location("release", file)
    assert spec is not None and spec.loader is not None
    module = sys.modules["release"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pipeline


def edited(source: str) -> str:
    assert source != BEFORE, "the edit did not find its place"
    return source


@pytest.mark.parametrize(
    ("source", "message", "steps"),
    [
        (
            MORE_STEPS,
            "Process what was signed?",
            ["check", "fetch", "sign", "process", "publish"],
        ),
        (OTHER_ORDER, "Process it?", ["publish", "process", "fetch"]),
    ],
    ids=["more steps, other message", "other order"],
)
async def test_another_shape(
    env: WorkflowEnvironment, tmp_path: Path, source: str, message: str, steps: list[str]
) -> None:
    """The paused run asks what it asked and takes the steps it planned; a new one the new ones."""
    client = HitlClient(env.client, task_queue=new_queue())
    old = deploy(tmp_path, BEFORE)
    async with serving(env, old, queue=client.task_queue):
        waiting = await client.start("release", "data")
        before = (await paused(client, waiting)).requirements

    new = deploy(tmp_path, edited(source))
    async with serving(env, new, queue=client.task_queue):
        after = (await paused(client, waiting)).requirements
        fresh = await client.start("release", "data")
        asked = (await paused(client, fresh)).requirements[0]
        for run in (waiting, fresh):
            await client.resolve(run, Confirm(requirement_id="process"))
        finished, other = await ended(client, waiting), await ended(client, fresh)

    assert before == after
    assert [(each.id, each.message) for each in after] == [("process", "Process it?")]
    assert finished.content == "data fetched processed saved"
    assert [each.step_name for each in finished.step_results] == ["fetch", "process", "publish"]
    assert message == asked.message
    assert steps == [each.step_name for each in other.step_results]
    assert [] == finished.events == other.events
    for run in (waiting, fresh):
        await replays(client.handle(run), new)


async def test_other_source(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """What runs with other source than planned says so; all else, and a new run, do not."""
    client = HitlClient(env.client, task_queue=new_queue())
    old = deploy(tmp_path, BEFORE)
    async with serving(env, old, queue=client.task_queue):
        waiting = await client.start("release", "data")
        await paused(client, waiting)

    new = deploy(tmp_path, edited(OTHER_SOURCE))
    async with serving(env, new, queue=client.task_queue):
        fresh = await client.start("release", "data")
        await paused(client, fresh)
        for run in (waiting, fresh):
            await client.resolve(run, Confirm(requirement_id="process"))
        finished, other = await ended(client, waiting), await ended(client, fresh)
        metadata = await env.client.get_workflow_handle(waiting).query(
            "__temporal_workflow_metadata"
        )

    changes = [each for each in finished.events if isinstance(each, SourceChanged)]
    assert finished.events == changes
    assert [(each.path, each.executor) for each in changes] == [
        ("process", "release.process"),
        ("publish", "release.wanted"),
    ]
    assert all(each.planned != each.executed for each in changes)
    assert finished.content == "data fetched PROCESSED saved"
    for change in changes:
        assert change.told() in metadata.current_details
        assert change.planned[:12] in change.told() and change.executed[:12] in change.told()
    assert (other.content, other.events) == ("data fetched PROCESSED saved", [])
    for run in (waiting, fresh):
        await replays(client.handle(run), old)


async def test_another_pipeline_beside_it(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """A deploy that adds a pipeline and moves functions changes nothing for a paused run."""
    client = HitlClient(env.client, task_queue=new_queue())
    async with serving(env, deploy(tmp_path, BEFORE), queue=client.task_queue):
        waiting = await client.start("release", "data")
        await paused(client, waiting)

    moved = deploy(tmp_path, "# a comment\n\n" + BEFORE)
    beside = Workflow("other", moved.steps)
    async with serving(env, beside, moved, queue=client.task_queue):
        await client.resolve(waiting, Confirm(requirement_id="process"))
        finished = await ended(client, waiting)

    assert (finished.content, finished.events) == ("data fetched processed saved", [])
    await replays(client.handle(waiting), moved)
