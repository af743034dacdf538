"""A step that fails is tried again, and what it leaves behind is never silent (seed 002, "Error
Handling").
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Condition,
    Loop,
    OnError,
    Parallel,
    Router,
    RunStatus,
    Step,
    StepInput,
    StepOutput,
    Steps,
    Workflow,
)
from tests.stage import activities, details, ended, outcome, replays, serving, until

AT_ONCE = timedelta(milliseconds=10)


class Flaky:
    """Fails so many times, then succeeds; counts its executions."""

    def __init__(self, failures: int, error: Callable[[], Exception] | None = None) -> None:
        self.failures, self.error, self.executions = failures, error, 0

    def __call__(self, step_input: StepInput) -> str:
        self.executions += 1
        if self.executions <= self.failures:
            raise (self.error or self._refused)()
        return f"done at execution {self.executions}"

    def _refused(self) -> Exception:
        return ConnectionError(f"refused {self.executions}")


class CardDeclined(Exception):
    """An exception of the author's own."""


class CardExpired(CardDeclined):
    """One below it."""


def after(step_input: StepInput) -> str:
    return f"after {step_input.previous_step_content}"


def quickly(attempts: int, *never: str) -> RetryPolicy:
    return RetryPolicy(
        initial_interval=AT_ONCE,
        maximum_attempts=attempts,
        non_retryable_error_types=list(never) or None,
    )


async def test_max_retries_counts_executions_after_the_first(env: WorkflowEnvironment) -> None:
    """`max_retries=1` is two executions: the second one's success is the step's, and nothing is
    said of the first.
    """
    call = Flaky(1)
    output = await outcome(env, Workflow("flaky", [Step("call", call, max_retries=1)]))

    assert (call.executions, output.content) == (2, "done at execution 2")
    assert (output.events, output.failed_steps) == ([], [])


async def test_no_retries(env: WorkflowEnvironment) -> None:
    """`max_retries=0` is one execution."""
    call = Flaky(1)
    await outcome(env, Workflow("flaky", [Step("call", call, max_retries=0)]))

    assert call.executions == 1


async def test_a_retry_policy_in_temporals_words(env: WorkflowEnvironment) -> None:
    """A `retry_policy` bounds executions as Temporal does."""
    call = Flaky(9)
    step = Step("call", call, retry_policy=quickly(2))
    output = await outcome(env, Workflow("flaky", [step]))

    assert call.executions == 2
    assert [each.attempts for each in output.events if each.event == "node_failed"] == [2]


@pytest.mark.parametrize(
    ("listed", "error", "executions"),
    [
        ("ValueError", lambda: ValueError("bad"), 1),
        ("builtins.ValueError", lambda: ValueError("bad"), 1),
        ("KeyError", lambda: ValueError("bad"), 2),
        ("Declined", lambda: ApplicationError("no", type="Declined"), 1),
        ("CardDeclined", lambda: CardDeclined("no"), 1),
        ("tests.test_retries.CardDeclined", lambda: CardDeclined("no"), 1),
        ("CardDeclined", lambda: CardExpired("no"), 2),
    ],
)
async def test_errors_that_are_not_tried_again(
    env: WorkflowEnvironment, listed: str, error: Callable[[], Exception], executions: int
) -> None:
    """An exception that the policy lists, by its bare or its full name, ends the step at once."""
    call = Flaky(9, error)
    step = Step("call", call, retry_policy=quickly(2, listed))
    await outcome(env, Workflow("flaky", [step]))

    assert executions == call.executions


async def test_an_executor_may_say_that_trying_again_is_useless(env: WorkflowEnvironment) -> None:
    """A non-retryable `ApplicationError` of the executor's own ends the step at once, under its
    own type.
    """
    call = Flaky(9, lambda: ApplicationError("no", "why", type="Declined", non_retryable=True))
    output = await outcome(env, Workflow("flaky", [Step("call", call, on_error="fail")]))

    assert call.executions == 1
    assert (output.error, output.error_type) == ("call: no", "application.Declined")


async def test_a_skipped_failure_is_seen(env: WorkflowEnvironment) -> None:
    """A step that failed for good does not end the run: a failed mark, an event and a line of the
    details say so.
    """
    call = Flaky(9)
    pipeline = Workflow("flaky", [after, Step("call", call, max_retries=0), Step("last", after)])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline)
        output = await ended(client, run)
        shown = await details(client.handle(run))
        await replays(client.handle(run), pipeline)
    (failed,) = output.failed_steps
    (event,) = output.events

    assert (output.status, output.content) == (RunStatus.completed, "after after None")
    assert (failed.step_name, failed.path, failed.success) == ("call", "call", False)
    assert failed.error == "builtins.ConnectionError: refused 1"
    assert event.event == "node_failed"
    assert (event.path, event.error_message, event.attempts) == ("call", "refused 1", 1)
    assert "call failed after 1 attempts: builtins.ConnectionError: refused 1" in shown


async def test_a_failure_that_the_executor_returns_is_seen(env: WorkflowEnvironment) -> None:
    """A step that returns `success=False` is as visible as one that raises: mark, event and
    details.
    """

    def gives_up(step_input: StepInput) -> StepOutput:
        return StepOutput(success=False, error="ran out of rows")

    pipeline = Workflow("giving_up", [gives_up])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline)
        output = await ended(client, run)
        shown = await details(client.handle(run))
        await replays(client.handle(run), pipeline)

    assert [each.error for each in output.failed_steps] == ["ran out of rows"]
    assert [each.path for each in output.events] == ["gives_up"]
    assert "ran out of rows" in shown


async def test_a_failure_that_the_executor_returns_can_fail_the_run(
    env: WorkflowEnvironment,
) -> None:
    """With `on_error=fail` a returned failure ends the run as a raised one does."""

    def gives_up(step_input: StepInput) -> StepOutput:
        return StepOutput(success=False, error="ran out of rows")

    output = await outcome(env, Workflow("giving_up", [Step("call", gives_up, on_error="fail")]))

    assert output.status is RunStatus.error
    assert "ran out of rows" in (output.error or "")


async def test_skip_on_failure(env: WorkflowEnvironment) -> None:
    """`skip_on_failure=True` skips whatever `on_error` says, and is as visible."""
    step = Step("call", Flaky(9), max_retries=0, skip_on_failure=True, on_error=OnError.fail)
    output = await outcome(env, Workflow("flaky", [step, after]))

    assert output.status is RunStatus.completed
    assert [each.step_name for each in output.failed_steps] == ["call"]
    assert [each.event for each in output.events] == ["node_failed"]


async def test_on_error_fail_fails_the_run(env: WorkflowEnvironment) -> None:
    """`on_error=fail` ends the run as failed on Temporal too, with what it had in the failure."""
    step = Step("call", Flaky(9), max_retries=0, on_error=OnError.fail)
    pipeline = Workflow("flaky", [Step("first", after), step, Step("last", after)])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline)
        output = await ended(client, run)
        described = await client.handle(run).describe()
        await replays(client.handle(run), pipeline)

    assert described.status is WorkflowExecutionStatus.FAILED
    assert output.status is RunStatus.error
    assert (output.error, output.error_type) == ("call: refused 1", "builtins.ConnectionError")
    assert [each.step_name for each in output.step_results] == ["first"]
    assert output.content == "after None"


def choose(step_input: StepInput) -> str:
    return "call"


@pytest.mark.parametrize(
    "around",
    [
        lambda step: Steps("box", steps=[step]),
        lambda step: Condition(name="box", steps=[step]),
        lambda step: Loop(name="box", steps=[step], max_iterations=3),
        lambda step: Router(name="box", choices=[step], selector=choose),
        lambda step: Parallel(step, name="box"),
    ],
    ids=["steps", "condition", "loop", "router", "parallel"],
)
async def test_on_error_fail_passes_through_every_container(
    env: WorkflowEnvironment, around: Callable[[Step], Any]
) -> None:
    """No container swallows a failure that its author wants to end the run."""
    box = around(Step("call", Flaky(9), max_retries=0, on_error="fail"))
    output = await outcome(env, Workflow("flaky", [box, after]))

    assert (output.status, output.error_type) == (RunStatus.error, "builtins.ConnectionError")


async def test_a_failing_branch_ends_the_others(env: WorkflowEnvironment) -> None:
    """In a Parallel, `on_error=fail` ends the other branches: open gates are withdrawn, nothing
    starts any more.
    """
    fails = asyncio.Event()

    async def waits_and_fails(step_input: StepInput) -> str:
        await fails.wait()
        raise ValueError("too late")

    failing = Step("fails", waits_and_fails, max_retries=0, on_error="fail")
    asks = Steps("left", steps=[Step("asks", after, requires_confirmation=True), after])
    pipeline = Workflow("flaky", [Parallel(asks, failing, name="fan")])
    async with serving(env, pipeline) as client:
        run = await client.start(pipeline)
        await until(lambda: is_open(client, run))
        fails.set()
        output = await ended(client, run)
        scheduled = await activities(client.handle(run))
        await replays(client.handle(run), pipeline)

    assert (output.status, output.error_type) == (RunStatus.error, "builtins.ValueError")
    assert (output.requirements, output.running) == ([], [])
    assert [
        (each.requirement_id, each.resolution.action, each.decided_by)
        for each in output.resolutions
    ] == [("fan.left.asks", "withdraw", "policy")]
    assert list(scheduled) == ["fan.fails"]


async def is_open(client: Any, run: str) -> bool:
    return bool((await client.get(run)).requirements)
