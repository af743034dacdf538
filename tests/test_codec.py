"""A payload codec on client, worker, HTTP API and command line: the one of docs/operations.md."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.workflowservice.v1 import QueryWorkflowRequest
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.testing import WorkflowEnvironment

from api.main import application
from api.settings import Settings
from temporal_hitl import Answer, RunOptions, RunStatus, Step, StepInput, UserInputField, Workflow
from tests.shell import Shell
from tests.stage import ended, paused, replays, serving, until
from tests.web import events, listening, web

TEXT = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()
SECRET = "heliotrope"
"""Part of everything that people and steps say here."""
NOTE = Answer(requirement_id="publish", values={"note": SECRET}, decision_id="note-4711")
VARIABLE, CONVERTER = "TEMPORAL_HITL_DATA_CONVERTER", "encryption_of_the_page:CONVERTER"
READABLE = ["encrypted_run", "encrypted_run.publish", "note-4711", "kind:user_input"]
"""What Temporal itself reads: names, the ids of decisions, search attributes."""


def publish(step_input: StepInput) -> str:
    raise ValueError(f"{SECRET} error")


def profile(step_input: StepInput) -> dict[str, str]:
    return {"profile": f"{SECRET} profile of {step_input.input}"}


PIPELINE = Workflow(
    "encrypted_run",
    [
        Step(
            "profile",
            profile,
            description=f"{SECRET} description",
            requires_output_review=True,
            output_review_message=f"{SECRET} review",
            on_reject="retry",
        ),
        Step(
            "publish",
            publish,
            requires_user_input=True,
            user_input_schema=[UserInputField("note", description=f"{SECRET} field")],
            user_input_message="Publish {profile}?",
            on_error="pause",
            max_retries=0,
        ),
    ],
    description=f"{SECRET} pipeline",
)


@pytest.fixture
def converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataConverter:
    """The converter of the page, in a module that the environment names."""
    (module,) = re.findall(r"```python\n(import base64.*?)```", TEXT, re.DOTALL)
    (tmp_path / "encryption_of_the_page.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PAYLOAD_KEY", base64.b64encode(os.urandom(32)).decode())
    monkeypatch.setenv(VARIABLE, CONVERTER)
    return Settings().data_converter


async def test_nothing_can_be_read_without_the_key(
    env: WorkflowEnvironment, converter: DataConverter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the page's codec, client, HTTP API and command line start, see, answer and follow a run,
    and nothing that is said in it stands readable in its history, memo, details or queries.
    """
    shell, coding = Shell(env), {VARIABLE: CONVERTER}
    monkeypatch.setenv("TEMPORAL_ADDRESS", shell.address)
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", "/nonexistent/temporal.toml")
    plain, coded = env.client, Client(**{**env.client.config(), "data_converter": converter})
    async with (
        serving(env, PIPELINE, client=coded) as client,
        listening(application(Settings(task_queue=client.task_queue))) as http,
    ):
        options = RunOptions(session_state={"kept": f"{SECRET} state"}, user_id=f"{SECRET} user")
        run = await client.start(PIPELINE, f"{SECRET} input", options=options)
        await paused(client, run)
        asked = await reject_over_http(http, run)
        # As the Web UI sends it: not encrypted.
        await plain.get_workflow_handle(run).signal("confirm", "profile~2")
        listed = await until(lambda: waits(http, run, "publish"))
        seen = await told_to_others(plain, run)
        await client.resolve(run, NOTE)
        error = (await paused(client, run)).requirements[0]
        seen += await told_to_others(plain, run)
        skipped = await shell("skip", run, error.id, "--by", SECRET, "--comment", SECRET, **coding)
        output = await ended(client, run)
        seen += await history(plain, run)
        watched = await shell("watch", run, **coding)
        async with http.stream("GET", f"/runs/{run}/events") as stream:
            streamed = [each async for each in events(stream)]
        await replays(client.handle(run), PIPELINE, converter=converter)

    assert [0, 0] == [skipped.code, watched.code]
    assert f"{SECRET} profile of {SECRET} input" == asked["output"]["profile"]
    assert ("Publish {profile}?", True) == (listed["message"], f"{SECRET} error" in str(error))
    assert RunStatus.completed is output.status
    assert ("end", True) == (streamed[-1].name, SECRET in str(streamed))
    assert SECRET.encode() not in seen
    assert [] == [each for each in READABLE if each.encode() not in seen]


async def reject_over_http(http: AsyncClient, run: str) -> Any:
    """Have the output under review made again, and return what was asked."""
    path = f"/runs/{run}/requirements"
    asked = (await http.get(f"{path}/profile")).json()
    rejection = {"action": "reject", "feedback": SECRET, "comment": SECRET}
    rejected = await http.post(f"{path}/profile/resolution", json=rejection)
    assert 200 == rejected.status_code, rejected.text
    await until(lambda: waits(http, run, "profile~2"))
    return asked


async def test_a_service_without_the_key(
    env: WorkflowEnvironment, converter: DataConverter, caplog: pytest.LogCaptureFixture
) -> None:
    """A service that cannot read a run says 503 of it, with what it needs, and lists the others."""
    open_one = Workflow("open_run", [Step("go", profile, requires_confirmation=True)])
    coded = Client(**{**env.client.config(), "data_converter": converter})
    async with (
        serving(env, PIPELINE, client=coded) as closed,
        serving(env, open_one) as client,
        web(client) as http,
    ):
        unreadable, run = await closed.start(PIPELINE, "in"), await client.start(open_one, "in")
        await paused(closed, unreadable)
        await until(lambda: waits(http, run, "go"))
        listed = (await http.get("/requirements", params={"run_id": unreadable})).json()
        path = f"/runs/{unreadable}/requirements/profile"
        answer = {"action": "confirm"}
        said = [
            await http.get(f"/runs/{unreadable}"),
            await http.get(path),
            await http.post(f"{path}/resolution", json=answer),
        ]
        for each, of in ((unreadable, closed), (run, client)):
            await of.cancel(each)
            await ended(of, each)
        await replays(closed.handle(unreadable), PIPELINE, converter=converter)

    assert [] == listed["items"]
    assert unreadable in caplog.text
    assert [503] * 3 == [each.status_code for each in said]
    assert all("the data converter that the workers have" in each.json()["detail"] for each in said)


async def waits(http: AsyncClient, run: str, requirement: str) -> Any:
    """Return the row of a requirement in the list of all that is open, once it is there."""
    rows = (await http.get("/requirements", params={"run_id": run})).json()["items"]
    return next((each for each in rows if each["id"] == requirement), None)


async def history(client: Client, run: str) -> bytes:
    """Return a run's history as it stands in the database."""
    found = await client.get_workflow_handle(run).fetch_history()
    return b"".join(each.SerializeToString() for each in found.events)


async def told_to_others(client: Client, run: str) -> bytes:
    """Return all that a client without the codec is told of a run that waits."""
    execution = WorkflowExecution(workflow_id=run)
    seen = (await client.get_workflow_handle(run).describe()).raw_description.SerializeToString()
    for name in ("requirements", "run_output", "__temporal_workflow_metadata"):
        query = QueryWorkflowRequest(
            namespace=client.namespace, execution=execution, query=WorkflowQuery(query_type=name)
        )
        seen += (await client.workflow_service.query_workflow(query)).SerializeToString()
    return seen
