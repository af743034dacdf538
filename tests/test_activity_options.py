"""Each step's activity options stand in history as its author wrote them (design 6)."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.common import RetryPolicy
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from temporal_hitl import Condition, HitlPlugin, Parallel, Step, StepInput, Workflow
from tests.stage import activities, ended, outcome, replays, serving


def load(step_input: StepInput) -> str:
    return "loaded"


def yes(step_input: StepInput) -> bool:
    return True


async def scheduled(env: WorkflowEnvironment, **options: Any) -> Any:
    """Return how an activity with `options` was scheduled."""
    pipeline = Workflow("optional", [Step("load", load, **options)])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline)
        await ended(client, run)
        found = await activities(client.handle(run))
        await replays(client.handle(run), pipeline)
    return found["load"]


@pytest.mark.parametrize("seconds", [90, 90.5, timedelta(seconds=90)])
@pytest.mark.parametrize(
    "option", ["start_to_close_timeout", "schedule_to_close_timeout", "heartbeat_timeout"]
)
async def test_timeouts(env: WorkflowEnvironment, option: str, seconds: float | timedelta) -> None:
    """Timeouts, in seconds or as timedeltas, are the activity's own."""
    found = getattr(await scheduled(env, **{option: seconds}), option)
    asked = seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)

    assert asked == found.ToTimedelta()


async def test_what_holds_without_options(env: WorkflowEnvironment) -> None:
    """Without options: a day per execution, no end of retries but their number, and half a minute
    of silence.
    """
    found = await scheduled(env)

    assert timedelta(days=1) == found.start_to_close_timeout.ToTimedelta()
    assert timedelta(seconds=30) == found.heartbeat_timeout.ToTimedelta()
    assert not found.schedule_to_close_timeout.ToTimedelta()
    assert (
        found.retry_policy.maximum_attempts,
        found.retry_policy.backoff_coefficient,
    ) == (4, 2.0)
    assert timedelta(seconds=1) == found.retry_policy.initial_interval.ToTimedelta()


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (7, 8)])
async def test_max_retries(env: WorkflowEnvironment, retries: int, attempts: int) -> None:
    """`max_retries` is Temporal's maximum of attempts, less one."""
    found = await scheduled(env, max_retries=retries)

    assert attempts == found.retry_policy.maximum_attempts


async def test_a_retry_policy_is_taken_whole(env: WorkflowEnvironment) -> None:
    """A retry policy crosses into history with every value it has."""
    policy = RetryPolicy(
        initial_interval=timedelta(seconds=3),
        backoff_coefficient=1.5,
        maximum_interval=timedelta(minutes=2),
        maximum_attempts=9,
        non_retryable_error_types=["KeyError"],
    )
    found = (await scheduled(env, retry_policy=policy)).retry_policy

    assert (
        found.initial_interval.seconds,
        found.backoff_coefficient,
        found.maximum_interval.seconds,
        found.maximum_attempts,
    ) == (3, 1.5, 120, 9)
    # The last is ours: a step that no worker has is not retried by the server.
    assert list(found.non_retryable_error_types) == ["KeyError", "NotFoundError"]


async def test_a_retry_policy_without_end(env: WorkflowEnvironment) -> None:
    """A retry policy that bounds nothing tries again for ever, as everywhere in Temporal."""
    found = (await scheduled(env, retry_policy=RetryPolicy())).retry_policy

    assert found.maximum_attempts == 0


async def test_a_step_on_another_task_queue(env: WorkflowEnvironment) -> None:
    """A step with a task queue of its own is run by the worker of that queue, and by no other."""

    def where(step_input: StepInput) -> str:
        return activity.info().task_queue

    pipeline = Workflow(
        "fleet", [Step("here", where), Step("there", where, task_queue="gpu-fleet")]
    )
    async with (
        serving(env, pipeline) as client,
        Worker(
            env.client,
            task_queue="gpu-fleet",
            plugins=[HitlPlugin(workflows=[pipeline])],
        ),
    ):
        run = await client.start(pipeline)
        output = await ended(client, run)
        found = await activities(client.handle(run))
        await replays(client.handle(run), pipeline)

    assert [client.task_queue, "gpu-fleet"] == [each.content for each in output.step_results]
    assert found["there"].task_queue.name == "gpu-fleet"


async def test_an_execution_that_takes_too_long(env: WorkflowEnvironment) -> None:
    """A step that exceeds its start-to-close timeout has failed, and the failure says that it was
    the time.
    """
    over: list[bool] = []

    def slow(step_input: StepInput) -> str:
        while not over:
            time.sleep(0.02)
        return "late"

    step = Step("slow", slow, start_to_close_timeout=0.5, max_retries=0)
    pipeline = Workflow("slow", [step])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline)
        output = await ended(client, run)
        over.append(True)
        await replays(client.handle(run), pipeline)

    assert [each.step_name for each in output.failed_steps] == ["slow"]
    assert "Timeout" in (output.failed_steps[0].error or "")


async def test_what_the_web_ui_shows(env: WorkflowEnvironment) -> None:
    """An activity's type is `pipeline.step`, its id the path, and its summary the step's name."""
    fan = Parallel(Step("Load Rows", load), name="fan")
    pipeline = Workflow("shown", [fan, Condition([Step("then", load)], yes, name="when")])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline)
        await ended(client, run)
        history = await client.handle(run).fetch_history()
        found = await activities(client.handle(run))
        await replays(client.handle(run), pipeline)
    summaries = [
        each.user_metadata.summary.data.decode()
        for each in history.events
        if each.HasField("activity_task_scheduled_event_attributes")
    ]

    assert {key: each.activity_type.name for key, each in found.items()} == {
        "fan.load_rows": "shown.load_rows",
        "when.evaluator": "shown.when.evaluator",
        "when.then": "shown.then",
    }
    assert summaries == ['"Load Rows"', '"when, evaluator"', '"then"']


async def test_a_step_may_heartbeat_itself(env: WorkflowEnvironment) -> None:
    """With a heartbeat timeout of its own a step heartbeats itself, and reads what it last said
    after a retry.
    """

    def resumes(step_input: StepInput) -> Any:
        before = list(activity.info().heartbeat_details)
        if not before:
            activity.heartbeat("row 7")
            raise ConnectionError("lost")
        return before

    step = Step("resumes", resumes, heartbeat_timeout=20, max_retries=1)
    output = await outcome(env, Workflow("beating", [step]))

    assert output.content == ["row 7"]
