"""What may be an executor, what it is called with, and what becomes of what it returns (design
6).
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import functools
import sys
import threading
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio import activity
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Parallel, RunOptions, RunStatus, Step, StepInput, StepOutput, Workflow
from tests.stage import WAIT, outcome


def function(step_input: StepInput) -> str:
    return f"{step_input.input}!"


async def coroutine(step_input: StepInput) -> str:
    await asyncio.sleep(0)
    return f"{step_input.input}!"


class Callable_:
    """An object with a call method."""

    def __call__(self, step_input: StepInput) -> str:
        return f"{step_input.input}!"

    def method(self, step_input: StepInput) -> str:
        return f"{step_input.input}!"

    @staticmethod
    def static(step_input: StepInput) -> str:
        return f"{step_input.input}!"

    @classmethod
    def of_class(cls, step_input: StepInput) -> str:
        return f"{step_input.input}!"


class AsyncCallable:
    """An object with an async call method."""

    async def __call__(self, step_input: StepInput) -> str:
        await asyncio.sleep(0)
        return f"{step_input.input}!"


def with_mark(mark: str, step_input: StepInput, *, times: int = 1) -> str:
    return f"{step_input.input}{mark * times}"


async def with_mark_async(step_input: StepInput, mark: str) -> str:
    return f"{step_input.input}{mark}"


def wrapped(inner: Any) -> Any:
    @functools.wraps(inner)
    def outer(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs)

    return outer


@pytest.mark.parametrize(
    "executor",
    [
        function,
        coroutine,
        Callable_(),
        AsyncCallable(),
        Callable_().method,
        Callable_.static,
        Callable_.of_class,
        functools.partial(with_mark, "!"),
        functools.partial(with_mark, "!", times=1),
        functools.partial(with_mark_async, mark="!"),
        functools.partial(functools.partial(with_mark), "!"),
        functools.partial(Callable_()),
        lambda step_input: f"{step_input.input}!",
        wrapped(function),
        functools.partial(AsyncCallable()),
    ],
    ids=[
        "function",
        "coroutine",
        "object",
        "async object",
        "method",
        "static",
        "class method",
        "partial",
        "partial with keyword",
        "partial of coroutine",
        "partial of partial",
        "partial of object",
        "lambda",
        "decorated",
        "partial of async object",
    ],
)
async def test_whatever_can_be_called(env: WorkflowEnvironment, executor: Any) -> None:
    """Functions, coroutines, objects, methods, partials and lambdas are executors alike."""
    step = Step("call", executor, max_retries=0, on_error="fail")
    output = await outcome(env, Workflow("calling", [step]), "users")

    assert (output.error, output.content) == (None, "users!")


def no_argument() -> str:
    return "no argument"


def star(*args: Any) -> list[Any]:
    return [type(each).__name__ for each in args]


def star_and_keywords(*args: Any, **kwargs: Any) -> list[Any]:
    return [len(args), sorted(kwargs)]


def other_name(data: StepInput, /) -> Any:
    return data.input


def with_default(step_input: StepInput, limit: int = 3) -> list[Any]:
    return [step_input.input, limit]


def keyword_only(step_input: StepInput, *, session_state: dict[str, Any]) -> list[Any]:
    return [step_input.input, session_state]


def state_only(session_state: dict[str, Any]) -> dict[str, Any]:
    return session_state


def state_first(session_state: dict[str, Any], step_input: StepInput) -> list[Any]:
    return [step_input.input, session_state]


def state_second(step_input: StepInput, session_state: dict[str, Any]) -> list[Any]:
    return [step_input.input, session_state]


def context_first(run_context: Any, step_input: StepInput) -> list[Any]:
    return [step_input.input, run_context.user_id, run_context.attempt, run_context.session_state]


def state_default(step_input: StepInput, session_state: dict[str, Any] | None = None) -> Any:
    return session_state


@pytest.mark.parametrize(
    ("executor", "content"),
    [
        (no_argument, "no argument"),
        (star, ["StepInput"]),
        (star_and_keywords, [1, []]),
        (other_name, "users"),
        (with_default, ["users", 3]),
        (keyword_only, ["users", {"a": 1}]),
        (state_only, {"a": 1}),
        (state_second, ["users", {"a": 1}]),
        (state_default, {"a": 1}),
        (state_first, ["users", {"a": 1}]),
        (context_first, ["users", "ana", 1, {"a": 1}]),
        (lambda: "bare lambda", "bare lambda"),
    ],
)
async def test_what_an_executor_is_called_with(
    env: WorkflowEnvironment, executor: Any, content: Any
) -> None:
    """An executor gets the step input if it has room for it, and by name what else it asks for, in
    any order.
    """
    options = RunOptions(session_state={"a": 1}, user_id="ana")
    step = Step("call", executor, max_retries=0, on_error="fail")
    output = await outcome(env, Workflow("calling", [step]), "users", options)

    assert (output.error, content) == (None, output.content)


async def test_the_run_context_says_where_it_is(env: WorkflowEnvironment) -> None:
    """`run_context` says which run, step, session, user and attempt it is; its state is the
    session state.
    """

    def tell(run_context: Any) -> dict[str, Any]:
        run_context.session_state["told"] = True
        told = dataclasses.asdict(run_context)
        return told | {"activity": activity.info().workflow_id == run_context.run_id}

    options = RunOptions(session_id="s1", user_id="ana")
    output = await outcome(env, Workflow("calling", [Step("call", tell)]), options=options)

    assert output.content == {
        "run_id": output.run_id,
        "path": "call",
        "session_id": "s1",
        "user_id": "ana",
        "attempt": 1,
        "session_state": {"told": True},
        "activity": True,
    }
    assert output.session_state == {"told": True}


async def test_sync_executors_have_threads_and_async_ones_the_loop(
    env: WorkflowEnvironment,
) -> None:
    """A sync executor never runs on the worker's loop, and an async one always does."""
    loop_thread = threading.get_ident()

    def in_thread(step_input: StepInput) -> int:
        return threading.get_ident()

    async def on_loop(step_input: StepInput) -> int:
        return threading.get_ident()

    fan = Parallel(in_thread, on_loop, Step("object", AsyncCallable()), name="fan")
    threads = (await outcome(env, Workflow("threads", [fan]))).content

    assert threads["in_thread"] != loop_thread
    assert threads["on_loop"] == loop_thread


async def test_sync_executors_do_not_hold_each_other_up(env: WorkflowEnvironment) -> None:
    """Twenty sync executors and twenty async ones wait for each other, so all of them run at
    once.
    """
    met = threading.Barrier(20)
    arrived, everybody = [0], asyncio.Event()

    def meets(step_input: StepInput) -> str:
        met.wait(WAIT / 2)
        return "met"

    async def gathers(step_input: StepInput) -> str:
        arrived[0] += 1
        if arrived[0] == 20:
            everybody.set()
        await asyncio.wait_for(everybody.wait(), WAIT / 2)
        return "met"

    steps = [Step(f"s{n}", meets) for n in range(20)] + [Step(f"a{n}", gathers) for n in range(20)]
    output = await outcome(env, Workflow("threads", [Parallel(*steps, name="fan")]))

    assert {"met"} == set(output.content.values())
    assert len(output.content) == 40


@dataclasses.dataclass
class Row:
    """A dataclass that an executor returns."""

    name: str
    born: date


class Report(BaseModel):
    """A Pydantic model that an executor returns."""

    rows: list[Row]
    took: timedelta


class Colour(enum.Enum):
    """An enum that an executor returns."""

    red = "r"


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROW = Row("Ana", date(2001, 2, 3))
ROW_JSON = {"name": "Ana", "born": "2001-02-03"}
KEY = uuid.UUID(int=7)


RETURNED: list[tuple[Any, Any]] = [
    (None, None),
    ("", ""),
    (0, 0),
    (10**40, 10**40),
    ([1, (2, 3)], [1, [2, 3]]),
    ({"ä": "ß\u2028"}, {"ä": "ß\u2028"}),
    (ROW, ROW_JSON),
    (Report(rows=[ROW], took=timedelta(hours=1)), {"rows": [ROW_JSON], "took": "PT1H"}),
    ({"deep": [ROW]}, {"deep": [ROW_JSON]}),
    (NOON, "2026-03-01T12:00:00Z"),
    (Decimal("1.10"), "1.10"),
    (KEY, str(KEY)),
    (Path("/tmp/x"), "/tmp/x"),
    (Colour.red, "r"),
    ({3}, [3]),
    (b"bytes", "bytes"),
    ({1: "one"}, {"1": "one"}),
    (StepOutput(content=ROW), ROW_JSON),
    (StepOutput(content={"when": NOON}), {"when": "2026-03-01T12:00:00Z"}),
    (StepOutput(), None),
]
"""What an executor returns, and the content that it is."""


async def test_what_an_executor_returns_becomes_json(env: WorkflowEnvironment) -> None:
    """What an executor returns is the content, as the JSON that Pydantic makes of it; the next
    step sees that.
    """

    def gives(returned: Any) -> Any:
        return lambda step_input: returned

    def seen(step_input: StepInput) -> Any:
        return step_input.previous_step_content

    steps: list[Step] = []
    for number, (returned, _) in enumerate(RETURNED):
        give = Step(f"give_{number}", gives(returned), max_retries=0, on_error="fail")
        steps += [give, Step(f"see_{number}", seen)]
    output = await outcome(env, Workflow("returning", steps))

    contents = [repr(content) for _, content in RETURNED]
    assert output.error is None
    assert contents == [repr(each.content) for each in output.step_results[::2]]
    assert contents == [repr(each.content) for each in output.step_results[1::2]]


async def test_a_step_output_keeps_its_names_to_the_library(env: WorkflowEnvironment) -> None:
    """Name and path of an output are the run's own, whatever an executor writes into them."""

    def forge(step_input: StepInput) -> StepOutput:
        return StepOutput(step_name="other", path="else.where", content="x")

    output = await outcome(env, Workflow("forging", [Step("honest", forge)]))

    assert [(each.step_name, each.path) for each in output.step_results] == [("honest", "honest")]


def circular() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    "returned",
    [
        object(),
        {"deep": [threading.Lock()]},
        (each for each in [threading.Lock()]),
        StepOutput(content=object()),
        b"\xff\xfe",
        circular(),
        "\ud800",
        float("nan"),
        [float("inf")],
    ],
    ids=[
        "object",
        "deep",
        "generator",
        "output",
        "bytes",
        "circular",
        "surrogate",
        "nan",
        "infinity",
    ],
)
async def test_what_json_cannot_hold(env: WorkflowEnvironment, returned: Any) -> None:
    """What JSON cannot hold fails the step at once, with a sentence that names it and what to
    return instead.
    """
    executions: list[int] = []

    def give(step_input: StepInput) -> Any:
        executions.append(1)
        return returned

    step = Step("give", give, max_retries=1, on_error="fail")
    output = await outcome(env, Workflow("returning", [step]))

    assert output.status is RunStatus.error
    assert "give returned what JSON cannot hold" in (output.error or "")
    assert executions == [1]


def leave(step_input: StepInput) -> None:
    sys.exit(3)


async def leave_async(step_input: StepInput) -> None:
    sys.exit(3)


@pytest.mark.parametrize("executor", [leave, leave_async])
async def test_an_executor_that_exits(env: WorkflowEnvironment, executor: Any) -> None:
    """An executor that calls `sys.exit` ends its step, not the worker that runs it."""
    leaving = Step("leave", executor, max_retries=0)

    output = await outcome(env, Workflow("leaving", [leaving, Step("after", lambda: "on")]))

    assert ["builtins.SystemExit: 3", None] == [each.error for each in output.step_results]
    assert "on" == output.content


async def test_a_state_that_json_cannot_hold(env: WorkflowEnvironment) -> None:
    """A session state that JSON cannot hold fails the step at once, and the sentence says that it
    is the state.
    """

    def give(session_state: dict[str, Any]) -> None:
        session_state["lock"] = threading.Lock()

    output = await outcome(env, Workflow("returning", [Step("give", give, on_error="fail")]))

    assert "give: session_state" in (output.error or "")


@pytest.mark.parametrize("error", [KeyError, asyncio.InvalidStateError, TimeoutError])
async def test_odd_exceptions_are_failures_like_others(
    env: WorkflowEnvironment, error: type[Exception]
) -> None:
    """Exceptions that loops and threads treat specially fail the step as any other does."""

    def odd(step_input: StepInput) -> None:
        raise error("odd")

    async def odd_async(step_input: StepInput) -> None:
        raise error("odd")

    steps = [Step(each.__name__, each, max_retries=0) for each in (odd, odd_async)]
    output = await outcome(env, Workflow("odd", steps))
    expected = f"{error.__module__}.{error.__qualname__}"

    assert [expected, expected] == [
        each.error_type for each in output.events if each.event == "node_failed"
    ]


async def test_a_stop_iteration_in_a_thread(env: WorkflowEnvironment) -> None:
    """A `StopIteration` cannot cross a future, and yet it fails the step instead of hanging it."""

    def odd(step_input: StepInput) -> None:
        raise StopIteration

    output = await outcome(env, Workflow("odd", [Step("odd", odd, max_retries=0)]))

    assert [each.error_type for each in output.events if each.event == "node_failed"] == [
        "builtins.StopIteration"
    ]


async def test_a_coroutine_behind_a_sync_function(env: WorkflowEnvironment) -> None:
    """A sync function that returns a coroutine fails at once, with a sentence; the coroutine is
    closed, not leaked.
    """
    step = Step("call", lambda step_input: coroutine(step_input), on_error="fail")
    output = await outcome(env, Workflow("calling", [step]), "users")

    assert "call returned a coroutine" in (output.error or "")
    assert "async def" in (output.error or "")


async def test_one_function_in_several_steps(env: WorkflowEnvironment) -> None:
    """One function may serve several steps, each under a name of its own."""
    output = await outcome(
        env, Workflow("twice", [Step("one", function), Step("two", function)]), "x"
    )

    assert [each.step_name for each in output.step_results] == ["one", "two"]
