"""A definition is data: the plan round-trips, is the same in every process, and is what a run
records (design 6).
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from temporalio.common import RetryPolicy
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from temporal_hitl import (
    Condition,
    Confirm,
    HitlPlugin,
    HumanReview,
    Loop,
    OnReject,
    OnTimeout,
    Parallel,
    Router,
    Step,
    StepInput,
    Steps,
    Workflow,
)
from temporal_hitl._source import source_digest
from temporal_hitl.plan import Plan
from temporal_hitl.primitives import Node
from tests.stage import WAIT, ended, paused, replays, serving


def run(step_input: StepInput) -> str:
    return "ran"


def goes_on(step_input: StepInput, iteration: int) -> bool:
    return False


def choose(step_input: StepInput) -> str:
    return "left"


def everything() -> list[Node]:
    """Return a tree with every kind of node and every option."""
    review = HumanReview(
        requires_confirmation=True,
        confirmation_message="Wirklich? ✓",
        on_reject=OnReject.cancel,
        timeout=timedelta(days=7),
        on_timeout=OnTimeout.approve,
    )
    policy = RetryPolicy(
        initial_interval=timedelta(milliseconds=1500),
        maximum_interval=timedelta(hours=1),
        maximum_attempts=7,
        non_retryable_error_types=["KeyError"],
    )
    full = Step(
        "Full Step",
        run,
        human_review=review,
        on_error="fail",
        retry_policy=policy,
        start_to_close_timeout=0.1,
        schedule_to_close_timeout=timedelta(days=3),
        heartbeat_timeout=7,
        task_queue="gpu",
    )
    fan = Parallel(Step("p", run), Step("q", run, max_retries=0), name="fan")
    router = Router([fan, [Step("r", run)]], choose, name="route", on_error="fail")
    loop = Loop([router], name="loop", should_continue=goes_on, forward_iteration_output=True)
    when = Condition([loop], choose, else_steps=[Step("else", run)], name="when")
    return [full, Steps(steps=[when]), Condition([Step("always", run)], True, name="fixed")]


async def test_a_plan_survives_json() -> None:
    """A plan through JSON is the same plan with the same digest, to the last option."""
    plan = Workflow("everything", everything()).plan
    again = Plan.model_validate_json(plan.model_dump_json())

    assert plan == again
    assert plan.digest == again.digest
    assert plan.model_dump_json() == again.model_dump_json()


def test_a_plan_is_frozen() -> None:
    """A plan cannot be changed once it is made."""
    plan = Workflow("everything", everything()).plan
    with pytest.raises(ValueError, match="frozen"):
        plan.name = "other"  # type: ignore[misc]

    assert isinstance(plan.children, tuple)


def test_a_plan_of_a_later_version_can_be_read() -> None:
    """Keys that this version does not know are passed over, at every level of the tree."""
    plan = Workflow("everything", everything()).plan
    data = with_future_keys(plan.model_dump(mode="json"))

    assert data != plan.model_dump(mode="json")
    assert plan == Plan.model_validate(data)


def with_future_keys(data: Any) -> Any:
    """Return `data` with a key more in every object."""
    if isinstance(data, list):
        return [with_future_keys(each) for each in data]
    if not isinstance(data, dict):
        return data
    return {key: with_future_keys(value) for key, value in data.items()} | {"from_2031": {"x": 1}}


def test_a_plan_of_an_earlier_version_can_be_read() -> None:
    """Options that an old plan does not have take the values that they had then."""
    old = {
        "name": "old",
        "children": [
            {
                "kind": "step",
                "name": "a",
                "slug": "a",
                "call": {"activity": "old.a", "function": "m.a", "digest": "00"},
                "review": {"requires_confirmation": True},
                "on_error": "skip",
            }
        ],
    }
    step: Any = Plan.model_validate(old).children[0]

    assert (step.review.on_reject, step.review.timeout) == (OnReject.skip, None)
    assert (step.call.start_to_close, step.call.retry.maximum_attempts) == (86400, 4)


SCRIPT = """
from tests.test_plan import everything
from temporal_hitl import Workflow
print(Workflow("everything", everything()).plan.digest)
"""


def test_the_digest_is_the_same_in_every_process() -> None:
    """Two processes with different hash seeds make the same plan, so workers of a fleet agree."""
    seed = "1" if os.environ.get("PYTHONHASHSEED") == "4711" else "4711"
    there = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=True,
    )

    assert Workflow("everything", everything()).plan.digest == there.stdout.strip()


CHANGES: dict[str, Callable[[], list[Node]]] = {
    "message": lambda: [Step("a", run, requires_confirmation=True, confirmation_message="Sure?")],
    "gate": lambda: [Step("a", run, requires_confirmation=True)],
    "deadline": lambda: [Step("a", run, requires_confirmation=True, hitl_timeout=60)],
    "retries": lambda: [Step("a", run, max_retries=1)],
    "timeout": lambda: [Step("a", run, start_to_close_timeout=60)],
    "queue": lambda: [Step("a", run, task_queue="gpu")],
    "policy": lambda: [Step("a", run, on_error="fail")],
    "function": lambda: [Step("a", choose)],
    "name": lambda: [Step("A", run)],
    "container": lambda: [Steps("box", steps=[Step("a", run)])],
    "iterations": lambda: [Loop([Step("a", run)], name="box", max_iterations=2)],
    "more iterations": lambda: [Loop([Step("a", run)], name="box", max_iterations=4)],
}


def test_whatever_changes_a_run_changes_the_digest() -> None:
    """Every option that a run could notice is in the digest."""
    digests = {Workflow("p", build()).plan.digest for build in CHANGES.values()}
    plain = Workflow("p", [Step("a", run)]).plan.digest

    assert len(CHANGES) == len(digests)
    assert plain not in digests
    assert plain == Workflow("p", [Step("a", run)]).plan.digest


def loaded(folder: Path, source: str) -> Any:
    """Return a module with this source, read from a file as a user's is."""
    file = folder / f"steps_{abs(hash(source))}.py"
    file.write_text(source)
    spec = importlib.util.spec_from_file_location("steps_of_a_test", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PLAIN = "def step(step_input):\n    return 1\n"
METHOD = "class C:\n    def __call__(self, step_input):\n        return {}\nstep = C()\n"
WRAPPED = (
    "import functools\n"
    "def mark(f):\n"
    "    @functools.wraps(f)\n"
    "    def inner(*a): return f(*a)\n"
    "    return inner\n"
    "@mark\n"
    "def step(step_input):\n"
    "    return {}\n"
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (PLAIN, PLAIN.replace("1", "2")),
        (METHOD.format(1), METHOD.format(2)),
        (WRAPPED.format(1), WRAPPED.format(2)),
        ("import functools\n" + PLAIN, "import functools\n" + PLAIN.replace("1", "2")),
    ],
    ids=["function", "object", "decorated", "partial"],
)
def test_another_source_is_another_digest(tmp_path: Path, before: str, after: str) -> None:
    """A function's digest follows its source, through decorators, objects and partials."""
    old, same, new = (loaded(tmp_path, text).step for text in (before, before, after))

    assert source_digest(old) == source_digest(same)
    assert source_digest(old) != source_digest(new)
    assert source_digest(partial(old)) != source_digest(partial(new))


def test_code_without_a_file_has_a_digest() -> None:
    """A function that was typed, and has no source file, has a digest of its code."""

    def typed(text: str) -> Any:
        space: dict[str, Any] = {}
        exec(text, space)
        return space["step"]

    assert source_digest(typed(PLAIN)) == source_digest(typed(PLAIN))
    assert source_digest(typed(PLAIN)) != source_digest(typed(PLAIN.replace("1", "2")))
    assert source_digest(len) == source_digest(len)


async def test_the_plan_is_in_the_runs_history(env: WorkflowEnvironment) -> None:
    """A run records the plan that it walks, whole, before anything else happens."""
    pipeline = Workflow("recorded", [Step("a", run, requires_confirmation=True)])
    async with serving(env, pipeline) as client:
        started = await client.start(pipeline)
        await paused(client, started)
        await client.resolve(started, Confirm(requirement_id="a"))
        await ended(client, started)
        history = await client.handle(started).fetch_history()
        await replays(client.handle(started), pipeline)
    tasks = ("started", "scheduled", "completed", "timed_out")
    told = [each.WhichOneof("attributes") or "" for each in history.events]
    own = [
        number
        for number, name in enumerate(told[1:], 1)
        if name not in [f"workflow_task_{task}_event_attributes" for task in tasks]
    ]
    marker = history.events[own[0]].marker_recorded_event_attributes
    recorded = marker.details["result"].payloads[0].data

    assert "marker_recorded_event_attributes" == told[own[0]]
    assert pipeline.plan == Plan.model_validate(json.loads(recorded)["plan"])


async def test_a_run_walks_the_plan_that_it_recorded(env: WorkflowEnvironment) -> None:
    """A run that is paused while its pipeline is redeployed ends on its own plan; a new run takes
    the new one.
    """
    old = Workflow("edited", [Step("ask", run, requires_confirmation=True), Step("old", run)])
    new = Workflow("edited", [Step("ask", run), Step("old", choose), Step("new", run)])
    async with serving(env, old) as before:
        waiting = await before.start(old)
        await paused(before, waiting)
    async with serving_again(env, new, before.task_queue):
        await before.resolve(waiting, Confirm(requirement_id="ask"))
        output = await ended(before, waiting)
        fresh = await ended(before, await before.start(new))
        await replays(before.handle(waiting), new)
    changed = [each for each in output.events if each.event == "source_changed"]

    assert [each.step_name for each in output.step_results] == ["ask", "old"]
    assert [each.step_name for each in fresh.step_results] == ["ask", "old", "new"]
    assert [each.path for each in changed] == ["old"]
    assert changed[0].executed == source_digest(choose)
    assert fresh.events == []


def serving_again(env: WorkflowEnvironment, definition: Workflow, task_queue: str) -> Any:
    """Serve another definition on the same task queue, as a deploy does."""
    return Worker(env.client, task_queue=task_queue, plugins=[HitlPlugin(workflows=[definition])])
