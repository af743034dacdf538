"""One line on a Client or a Worker serves pipelines, and leaves everything of the user's as it
is.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import uuid
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client, WorkflowFailureError
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import (
    DataConverter,
    DefaultPayloadConverter,
    PayloadCodec,
)
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from temporal_hitl import (
    Condition,
    Confirm,
    DefinitionError,
    HitlClient,
    HitlPlugin,
    RunOptions,
    Step,
    StepInput,
    Workflow,
)
from temporal_hitl._attributes import SEARCH_ATTRIBUTES
from temporal_hitl.errors import SearchAttributesMissing
from tests.stage import WAIT, ended, paused, serving, temporal_binary, until
from tests.users_code import Clocked, Own, Refusing, thread_name


def fetch(step_input: StepInput) -> str:
    return f"fetched {step_input.input}"


def publish(step_input: StepInput) -> str:
    return f"published {step_input.previous_step_content}"


def pipeline(name: str = "plugged") -> Workflow:
    return Workflow(name, [fetch, Step("publish", publish, requires_confirmation=True)])


def queue() -> str:
    return f"test-{uuid.uuid4().hex[:8]}"


async def connected(env: WorkflowEnvironment, *plugins: Any, **options: Any) -> Client:
    """Return a client of the server as a user makes one."""
    return await Client.connect(
        env.client.service_client.config.target_host, plugins=plugins, **options
    )


async def runs_to_its_end(client: Client, task_queue: str, **start: Any) -> Any:
    """Start the pipeline, confirm it, and return its content."""
    hitl = HitlClient(client, task_queue=task_queue)
    run = await hitl.start("plugged", "secret rows", **start)
    await paused(hitl, run)
    await hitl.resolve(run, Confirm(requirement_id="publish", comment="secret comment"))
    return await ended(hitl, run)


DONE = "published fetched secret rows"


async def test_on_the_client(env: WorkflowEnvironment) -> None:
    """Given to a client, its workers inherit it."""
    client = await connected(env, HitlPlugin(workflows=[pipeline()]))
    async with Worker(client, task_queue=(name := queue())):
        output = await runs_to_its_end(client, name)

    assert output.content == DONE


async def test_on_the_worker(env: WorkflowEnvironment) -> None:
    """Given to a worker alone, the client may be any, with Temporal's default converter too."""
    client = await connected(env)
    async with Worker(
        client, task_queue=(name := queue()), plugins=[HitlPlugin(workflows=[pipeline()])]
    ):
        output = await runs_to_its_end(client, name)

    assert client.data_converter.payload_converter_class is DefaultPayloadConverter
    assert output.content == DONE


async def test_the_same_on_both(env: WorkflowEnvironment) -> None:
    """The same plugin on a client and on its worker serves everything once, without a warning."""
    plugin = HitlPlugin(workflows=[pipeline()])
    client = await connected(env, plugin)
    async with Worker(client, task_queue=(name := queue()), plugins=[plugin]):
        output = await runs_to_its_end(client, name)

    assert output.content == DONE


async def test_different_ones_on_both(env: WorkflowEnvironment) -> None:
    """A plugin on the client, for its converter, and one on the worker, with the pipelines, get
    along.
    """
    client = await connected(env, HitlPlugin())
    async with Worker(
        client, task_queue=(name := queue()), plugins=[HitlPlugin(workflows=[pipeline()])]
    ):
        output = await runs_to_its_end(client, name)

    assert output.content == DONE


async def test_on_a_replayer(env: WorkflowEnvironment) -> None:
    """A Replayer with the plugin and no workflows of its own replays pipelines."""
    definition = pipeline()
    async with serving(env, definition) as client:
        run = await client.start(definition)
        await paused(client, run)
        history = await client.handle(run).fetch_history()
        await client.cancel(run)
        await ended(client, run)
    replayer = Replayer(workflows=[], plugins=[HitlPlugin(workflows=[definition])])
    replayed = await replayer.replay_workflow(history)

    assert replayed.replay_failure is None


async def test_own_workflows_and_activities_beside(env: WorkflowEnvironment) -> None:
    """A user's own workflow and activity run beside pipelines, in the user's own threads where
    there are any.
    """
    own = ThreadPoolExecutor(4, thread_name_prefix="mine")
    plugin = HitlPlugin(workflows=[pipeline()])
    async with Worker(
        env.client,
        task_queue=(name := queue()),
        workflows=[Own],
        activities=[thread_name],
        activity_executor=own,
        plugins=[plugin],
    ):
        there = await env.client.execute_workflow(Own.run, id=queue(), task_queue=name)
        output = await runs_to_its_end(env.client, name)
    own.shutdown()

    assert there.startswith("mine")
    assert output.content == DONE


async def test_own_workflows_stay_in_the_sandbox(env: WorkflowEnvironment) -> None:
    """The sandbox still catches a user's workflow that asks the machine for the time."""
    async with serving(env, pipeline(), workflows=[Clocked]) as client:
        handle = await env.client.start_workflow(
            Clocked.run, id=queue(), task_queue=client.task_queue
        )

        async def caught() -> str:
            events = (await handle.fetch_history()).events
            failed = [each.workflow_task_failed_event_attributes for each in events]
            return "".join(each.failure.message for each in failed)

        message = await until(caught)
        await handle.terminate()

    assert "datetime.datetime.now" in message


async def test_only_the_library_is_passed_through() -> None:
    """Of all modules only `temporal_hitl` is added to what the sandbox passes through."""
    config: Any = {"workflow_runner": SandboxedWorkflowRunner(), "workflows": [], "activities": []}
    configured: Any = HitlPlugin(workflows=[pipeline()]).configure_worker(config)
    runner = configured["workflow_runner"]
    passed = (
        runner.restrictions.passthrough_modules - SandboxRestrictions.passthrough_modules_default
    )

    assert isinstance(runner, SandboxedWorkflowRunner)
    assert {"temporal_hitl"} == set(passed)
    assert SandboxRestrictions.default.invalid_modules == runner.restrictions.invalid_modules


async def test_our_errors_fail_a_run_instead_of_wedging_it(env: WorkflowEnvironment) -> None:
    """An error of ours that leaves a user's workflow ends it as failed."""
    async with serving(env, workflows=[Refusing]) as client:
        run = env.client.execute_workflow(Refusing.run, id=queue(), task_queue=client.task_queue)
        with pytest.raises(WorkflowFailureError) as failed:
            await asyncio.wait_for(run, WAIT)

    assert isinstance(failed.value.cause, ApplicationError)
    assert (failed.value.cause.type, failed.value.cause.message) == (
        "DefinitionError",
        "written wrongly",
    )


# Converters


class Scrambling(PayloadCodec):
    """Stands for encryption: nothing is readable in history."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(
                metadata={"encoding": b"scrambled"},
                data=base64.b85encode(each.SerializeToString()),
            )
            for each in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload.FromString(base64.b85decode(each.data))
            if each.metadata.get("encoding") == b"scrambled"
            else each
            for each in payloads
        ]


class OwnConverter(DefaultPayloadConverter):
    """A converter of the user's, which knows no Pydantic model."""


async def test_a_codec_of_the_users(env: WorkflowEnvironment) -> None:
    """With a codec, a pipeline's inputs, outputs, questions and answers stand in history encoded,
    and it works.
    """
    converter = dataclasses.replace(DataConverter.default, payload_codec=Scrambling())
    plugin = HitlPlugin(workflows=[pipeline()])
    client = await connected(env, plugin, data_converter=converter)
    async with Worker(client, task_queue=(name := queue())):
        options = RunOptions(session_state={"key": "secret state"})
        output = await runs_to_its_end(client, name, options=options)
        handle = HitlClient(client).handle(output.run_id)
        history = await handle.fetch_history()
    raw = b"".join(each.SerializeToString() for each in history.events)

    assert client.data_converter.payload_converter_class is PydanticPayloadConverter
    assert (output.content, output.session_state) == (DONE, {"key": "secret state"})
    assert b"secret" not in raw
    assert output.resolutions[0].comment == "secret comment"


async def test_a_payload_converter_of_the_users(env: WorkflowEnvironment) -> None:
    """A payload converter of the user's own stays, and pipelines work with it."""
    converter = dataclasses.replace(DataConverter.default, payload_converter_class=OwnConverter)
    client = await connected(env, HitlPlugin(workflows=[pipeline()]), data_converter=converter)
    async with Worker(client, task_queue=(name := queue())):
        output = await runs_to_its_end(client, name)

    assert client.data_converter.payload_converter_class is OwnConverter
    assert output.content == DONE


class Order(BaseModel):
    """A model as a run's input."""

    amount: int


async def test_a_client_with_the_plugin_sends_models(env: WorkflowEnvironment) -> None:
    """A client with the plugin alone can start a run with a Pydantic model as its input."""
    client = await connected(env, HitlPlugin())
    definition = Workflow("plugged", [fetch])
    async with serving(env, definition) as serves:
        hitl = HitlClient(client, task_queue=serves.task_queue)
        output = await ended(hitl, await hitl.start("plugged", Order(amount=7)))

    assert output.content == "fetched {'amount': 7}"


# Names


def test_two_pipelines_of_one_name() -> None:
    """Two pipelines of one name on one worker are refused by name."""
    with pytest.raises(DefinitionError, match="two pipelines are called 'plugged'"):
        HitlPlugin(workflows=[pipeline(), pipeline()])


def test_what_is_no_pipeline() -> None:
    """What is no pipeline is refused, and named."""
    with pytest.raises(DefinitionError, match="Own"):
        HitlPlugin(workflows=[Own])  # type: ignore[list-item]


def test_two_pipelines_whose_activities_are_called_alike() -> None:
    """Two pipelines that would run each other's functions under one activity type are refused."""
    one = Workflow("a", [Condition([fetch], publish, name="b")])
    other = Workflow("a.b", [Step("evaluator", fetch)])
    with pytest.raises(DefinitionError, match=r"a\.b\.evaluator"):
        HitlPlugin(workflows=[one, other])


def test_a_pipeline_that_takes_a_name_of_the_librarys() -> None:
    """A pipeline whose activity would be called as the library's own is refused."""
    with pytest.raises(DefinitionError, match=r"temporal_hitl\.plan"):
        HitlPlugin(workflows=[Workflow("temporal_hitl", [Step("plan", fetch)])])


async def test_an_activity_of_the_users_with_a_steps_name(env: WorkflowEnvironment) -> None:
    """An activity of the user's that has the name of a step is refused, not silently run in its
    place.
    """

    @activity.defn(name="plugged.fetch")
    def own() -> str:
        return "not the step"

    with pytest.raises((DefinitionError, ValueError), match=r"plugged\.fetch"):
        Worker(
            env.client,
            task_queue=queue(),
            activities=[own],
            activity_executor=ThreadPoolExecutor(1),
            plugins=[HitlPlugin(workflows=[pipeline()])],
        )


# Search attributes


@asynccontextmanager
async def a_server_with(**attributes: str) -> AsyncIterator[WorkflowEnvironment]:
    """Run a server that has these search attributes and no other."""
    extra = [
        part
        for name, kind in attributes.items()
        for part in ("--search-attribute", f"{name}={kind}")
    ]
    started = await WorkflowEnvironment.start_local(
        dev_server_existing_path=temporal_binary(), dev_server_extra_args=extra
    )
    async with started as environment:
        yield environment


async def attributes_of(client: Client) -> dict[str, int]:
    request = ListSearchAttributesRequest(namespace=client.namespace)
    return dict((await client.operator_service.list_search_attributes(request)).custom_attributes)


@pytest.mark.parametrize(
    "there", [{}, {"HitlStatus": "Keyword"}, {"HitlTags": "KeywordList"}], ids=str
)
async def test_the_worker_creates_what_is_missing(there: dict[str, str]) -> None:
    """A worker creates the search attributes that the namespace lacks, one or both, and a run can
    pause at once.
    """
    async with a_server_with(**there) as server:
        definition = pipeline()
        async with Worker(
            server.client,
            task_queue=(name := queue()),
            plugins=[HitlPlugin(workflows=[definition])],
        ):
            output = await runs_to_its_end(server.client, name)
            found = await attributes_of(server.client)

    assert set(SEARCH_ATTRIBUTES) <= set(found)
    assert output.content == DONE


TAKEN = {"One": "KeywordList", "Two": "KeywordList", "Three": "KeywordList"}


@pytest.mark.parametrize(
    ("there", "lacks"),
    [(TAKEN, "HitlTags"), ({**TAKEN, "HitlStatus": "Keyword"}, "HitlTags")],
    ids=["both", "one"],
)
async def test_the_worker_refuses_to_start_without(there: dict[str, str], lacks: str) -> None:
    """Where attributes cannot be created, the worker refuses to start with the command that an
    operator must run.
    """
    async with a_server_with(**there) as server:
        worker = Worker(
            server.client, task_queue=queue(), plugins=[HitlPlugin(workflows=[pipeline()])]
        )
        with pytest.raises(SearchAttributesMissing) as refused:
            await asyncio.wait_for(worker.run(), WAIT)

    assert f"--name {lacks} --type KeywordList" in str(refused.value)
    assert "temporal operator search-attribute create --namespace default" in str(refused.value)


@pytest.mark.parametrize(
    ("there", "wrong"),
    [
        ({"HitlStatus": "Int", "HitlTags": "KeywordList"}, "HitlStatus"),
        ({"HitlStatus": "Keyword", "HitlTags": "Keyword"}, "HitlTags"),
    ],
    ids=["status", "tags"],
)
async def test_an_attribute_of_another_type(
    monkeypatch: pytest.MonkeyPatch, there: dict[str, str], wrong: str
) -> None:
    """An attribute of our name and another type would wedge every run that pauses: the worker
    refuses to start.
    """
    monkeypatch.setattr("temporal_hitl._attributes.SPREAD", 0.5)
    async with a_server_with(**there) as server:
        worker = Worker(
            server.client, task_queue=queue(), plugins=[HitlPlugin(workflows=[pipeline()])]
        )
        with pytest.raises(SearchAttributesMissing, match=wrong):
            await asyncio.wait_for(worker.run(), WAIT / 4)


async def test_a_worker_without_pipelines_asks_for_nothing() -> None:
    """A worker that serves hand-written workflows alone neither creates attributes nor refuses to
    start.
    """
    async with a_server_with() as server:
        async with Worker(
            server.client,
            task_queue=(name := queue()),
            workflows=[Own],
            activities=[thread_name],
            activity_executor=ThreadPoolExecutor(1),
            plugins=[HitlPlugin()],
        ):
            await server.client.execute_workflow(Own.run, id=queue(), task_queue=name)
        found = await attributes_of(server.client)

    assert not set(SEARCH_ATTRIBUTES) & set(found)
