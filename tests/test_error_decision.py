"""A node has failed for good, and a person decides: try again, or leave it out (seed 002)."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import timedelta
from typing import Any

import pytest
from temporalio.common import RetryPolicy
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Condition,
    Confirm,
    HumanReview,
    Loop,
    Parallel,
    Retry,
    Router,
    RunStatus,
    Skip,
    Step,
    StepInput,
    StepOutput,
    Workflow,
)
from temporal_hitl._activities import RunContext
from temporal_hitl.errors import MalformedResolution
from temporal_hitl.primitives import Node
from temporal_hitl.workflow import MEMO_KEY
from tests.modes import AFTER, BEFORE, Case, Played, answer, played
from tests.stage import details, ended, new_queue, paused, replays, serving, until

executed: dict[str, list[str]] = defaultdict(list)
"""The paths of all executions of a run, by its id."""
SECRET = "secret 4711"
ONCE: dict[str, Any] = {"on_error": "pause", "max_retries": 0}


def nth(run_context: RunContext) -> int:
    """Count this execution, and return how manieth of its place it is."""
    executed[run_context.run_id].append(run_context.path)
    return executed[run_context.run_id].count(run_context.path)


def flaky(step_input: StepInput, run_context: RunContext) -> str:
    """Fail until the input says that it is enough."""
    if (turn := nth(run_context)) < step_input.input:
        raise ConnectionError(f"{SECRET}, execution {turn}")
    return f"execution {turn}"


def returns_failure(step_input: StepInput, run_context: RunContext) -> StepOutput:
    if nth(run_context) < step_input.input:
        return StepOutput(content="half", success=False, error="no more data")
    return StepOutput(content="whole")


def says_yes(step_input: StepInput, run_context: RunContext) -> bool:
    flaky(step_input, run_context)
    return True


def chooses(step_input: StepInput, run_context: RunContext) -> str:
    flaky(step_input, run_context)
    return "a"


def misses(step_input: StepInput, run_context: RunContext) -> str:
    return "a" if nth(run_context) > 1 else "nowhere"


def ends(outputs: list[StepOutput], run_context: RunContext) -> bool:
    if nth(run_context) < 3:
        raise ConnectionError(SECRET)
    return True


def goes_on(step_input: StepInput, iteration: int, run_context: RunContext) -> bool:
    return not says_yes(step_input, run_context)


def work(step_input: StepInput, run_context: RunContext) -> str:
    nth(run_context)
    return "worked"


def around(node: Node) -> list[Node]:
    return [BEFORE, node, AFTER]


def step(**options: Any) -> list[Node]:
    return around(Step("work", flaky, **{**ONCE, **options}))


def counts(run: Played) -> list[tuple[int, int, int | None]]:
    return [(each.attempts, each.retries, each.retries_limit) for each in run.asked]


async def test_retry_and_skip(env: WorkflowEnvironment) -> None:
    """`retry` executes the step again, with all its attempts, as often as people like; `skip` goes
    on as from a failure that its author skips.
    """
    spelled = {"on_error": None, "human_review": HumanReview(on_error="pause")}
    twice = RetryPolicy(initial_interval=timedelta(milliseconds=1), maximum_attempts=2)
    each = Step("work", flaky, on_error="pause", retry_policy=twice)
    runs = await played(
        env,
        {
            "retry": Case(step(), [Retry], input=2),
            "often": Case(step(), [Retry] * 5, input=6),
            "skip": Case(step(), [Skip], input=2),
            "later": Case(step(), [Retry, Retry, Skip], input=9),
            "good": Case(step(), input=1),
            "all_attempts": Case(around(each), [Retry, Skip], input=9),
            "spelled": Case(step(**spelled), [Retry, Skip], input=9),
        },
    )

    assert {
        "retry": (["execution 2"], []),
        "often": (["execution 6"], []),
        "skip": (["before"], ["node_failed work"]),
        "later": (["before"], ["node_failed work"]),
        "good": (["execution 1"], []),
        "all_attempts": (["before"], ["node_failed work"]),
        "spelled": (["before"], ["node_failed work"]),
    } == {key: (run.results["after"], run.events) for key, run in runs.items()}
    assert ["work", "work~2", "work~3"] == runs["later"].ids
    assert [(1, 0, None), (2, 1, None), (3, 2, None)] == counts(runs["later"])
    assert [(2, 0, None), (4, 1, None)] == counts(runs["all_attempts"])
    (failed,) = runs["later"].output.failed_steps
    error = f"builtins.ConnectionError: {SECRET}, execution 3"
    assert (None, error) == (failed.content, failed.error)
    assert not runs["retry"].output.failed_steps


async def test_what_the_question_tells(env: WorkflowEnvironment) -> None:
    """It names the error, by type and in its words; the event of a skipped one has all attempts."""
    runs = await played(env, {"skip": Case(step(), [Retry, Skip], input=9)})

    (event,) = runs["skip"].output.events
    assert ("node_failed", 2) == (event.event, event.attempts)  # type: ignore[union-attr]
    asked = runs["skip"].asked[0]
    assert "builtins.ConnectionError" == asked.error_type
    assert f"{SECRET}, execution 1" == asked.error_message
    assert asked.message.startswith("Step 'work' failed: builtins.ConnectionError: ")
    assert asked.message.endswith("Retry or skip?")


async def test_the_limit(env: WorkflowEnvironment) -> None:
    """After `max_error_retries` a person can only skip: the question says so, and shows no other
    command.
    """
    review = HumanReview(on_error="pause", max_error_retries=1)
    definitions = [
        Workflow("one", step(max_error_retries=1)),
        Workflow("none", step(max_error_retries=0)),
        Workflow("spelled", step(on_error=None, human_review=review)),
    ]
    async with serving(env, *definitions) as client:
        for definition in definitions:
            run = await client.start(definition, 9)
            key, limit = "work", 0
            if definition.name != "none":
                await paused(client, run)
                await client.resolve(run, Retry(requirement_id="work"))
                key, limit = "work~2", 1
            (asked,) = (await paused(client, run)).requirements
            shown = await details(client.handle(run))
            with pytest.raises(MalformedResolution) as refused:
                await client.resolve(run, Retry(requirement_id=key))
            still = (await client.get(run)).requirements
            await client.resolve(run, Skip(requirement_id=key))
            output = await ended(client, run)
            await replays(client.handle(run), definition)

            assert (key, limit) == (asked.id, asked.retries_limit)  # type: ignore[union-attr]
            used = "all 1 retries are used" if limit else "no retries are allowed"
            assert f"{used}; skip is what is left" in str(refused.value)
            assert asked.message.endswith(f". {used.capitalize()}: skip it?")
            assert [asked] == still
            assert ['"skip"'] == re.findall(r'"action": ("\w+")', shown)
            assert (RunStatus.completed, ["before"]) == (output.status, output.content)


async def test_a_failure_that_is_returned(env: WorkflowEnvironment) -> None:
    """An executor that returns `success=False` has failed; skipped, its output is kept so."""
    node = Step("work", returns_failure, on_error="pause")
    runs = await played(
        env,
        {
            "retry": Case(around(node), [Retry], input=2),
            "skip": Case(around(node), [Skip], input=9),
        },
    )

    asked = runs["skip"].asked[0]
    assert ("temporal_hitl.ReturnedFailure", "no more data") == (
        asked.error_type,
        asked.error_message,
    )
    assert (["whole"], ["before"]) == (
        runs["retry"].results["after"],
        runs["skip"].results["after"],
    )
    (failed,) = runs["skip"].output.failed_steps
    assert ("half", "no more data") == (failed.content, failed.error)


def containers() -> dict[str, Node]:
    a = Step("a", work)
    return {
        "evaluator": Condition([a], says_yes, name="box", **ONCE),
        "selector": Router([a], chooses, "box", **ONCE),
        "wrong_choice": Router([a], misses, "box", **ONCE),
        "end_condition": Loop([a], "box", end_condition=ends, **ONCE),
        "should_continue": Loop([a], "box", should_continue=goes_on, **ONCE),
    }


async def test_functions_of_containers(env: WorkflowEnvironment) -> None:
    """Where an evaluator, a selector or an end condition fails, it alone is tried again; skipped,
    the container has failed, and a Loop keeps what it had.
    """
    nodes = containers()
    few = {"wrong_choice": [Retry]}
    retried = {
        f"retry_{key}": Case(around(node), few.get(key, [Retry, Retry]), input=3)
        for key, node in nodes.items()
    }
    skipped = {
        f"skip_{key}": Case(around(node), [Skip], input=3) for key, node in containers().items()
    }
    runs = await played(env, {**retried, **skipped})

    for key in nodes:
        retry, skip = runs[f"retry_{key}"], runs[f"skip_{key}"]
        assert ["worked"] == retry.results["after"], key
        assert 1 == len([each for each in retry.activities if each.endswith(".a")]), key
        assert {"box"} == {each.path for each in retry.asked} or key in (
            "end_condition",
            "should_continue",
        )
        kept = "worked" if key in ("end_condition", "should_continue") else "before"
        assert [kept] == skip.results["after"], key
        assert not skip.output.step_results[1].success
        assert ["node_failed"] == [each.event for each in skip.output.events]
    assert "temporal_hitl.UnknownChoice" == runs["retry_wrong_choice"].asked[0].error_type
    assert "nowhere" in runs["retry_wrong_choice"].asked[0].error_message
    assert ["box.1", "box.1~2"] == runs["retry_end_condition"].ids


async def test_a_child_run_that_fails(env: WorkflowEnvironment) -> None:
    """A pipeline as a step fails as a step does; tried again, it runs again from its beginning."""
    two = Step("two", flaky, on_error="fail", max_retries=0)
    node = Step("sub", workflow=Workflow("child", [Step("one", work), two]), on_error="pause")
    runs = await played(
        env,
        {
            "retry": Case([node, AFTER], [Retry, Retry], input=3),
            "skip": Case([node, AFTER], [Skip], input=9),
        },
    )

    retry, skip = runs["retry"], runs["skip"]
    assert ["sub", "sub~2"] == retry.ids
    assert [["execution 3"], [None]] == [retry.results["after"], skip.results["after"]]
    assert ["one", "two"] * 3 == executed[f"{retry.output.run_id}.sub"]
    assert f"two: {SECRET}, execution 1" == skip.asked[0].error_message
    assert ["sub"] == [each.path for each in skip.output.failed_steps]


async def test_a_step_that_no_worker_has(env: WorkflowEnvironment) -> None:
    """A step whose code is on no worker has not failed: the run is blocked, and nobody decides."""
    queue = new_queue()
    gate = Step("gate", work, requires_confirmation=True)
    whole = Workflow("release", [gate, Step("work", work, **ONCE)])
    async with serving(env, whole, queue=queue) as client:
        run = await client.start(whole)
        await paused(client, run)
    async with serving(env, Workflow("release", [gate]), queue=queue) as client:
        await client.resolve(run, Confirm(requirement_id="gate"))

        async def blocked() -> bool:
            return bool((await client.get(run)).blocked)

        await until(blocked)
        waiting = await client.get(run)
        await client.cancel(run)
        await ended(client, run)
    await replays(client.handle(run), whole)

    assert (RunStatus.blocked, []) == (waiting.status, waiting.requirements)
    assert {"work": "release.work"} == waiting.blocked


def fails_without_luck(step_input: StepInput, run_context: RunContext) -> Any:
    told = step_input.additional_data.get("user_input")
    if nth(run_context) < step_input.input:
        raise ConnectionError(str(told))
    return told


async def test_the_values_of_a_form_are_kept(env: WorkflowEnvironment) -> None:
    """What a person filled in reaches every execution of the step, and no question repeats it."""
    form = {"requires_user_input": True, "user_input_schema": [{"name": "key"}]}
    node = Step("work", fails_without_luck, **ONCE, **form)
    runs = await played(env, {"form": Case(around(node), [answer(key="k"), Retry, Retry], input=3)})

    assert ["user_input", "error", "error"] == runs["form"].kinds
    assert ["{'key': 'k'}"] * 2 == [each.error_message for each in runs["form"].asked[1:]]
    assert [{"key": "k"}] == runs["form"].results["after"]


async def test_lists_do_not_tell_what_an_error_says(env: WorkflowEnvironment) -> None:
    """What a failure said is in the requirement and the details, and in no list of all runs."""
    definition = Workflow("discreet", step())
    async with serving(env, definition) as client:
        run = await client.start(definition, 9)
        (asked,) = (await paused(client, run)).requirements
        memo = (await (await client.handle(run).describe()).memo())[MEMO_KEY]
        shown = await details(client.handle(run))

        async def listed() -> Any:
            return [row async for row in client.list_requirements(f"WorkflowId = '{run}'")]

        (row,) = await until(listed)
        await client.resolve(run, Skip(requirement_id="work"))
        await ended(client, run)
        await replays(client.handle(run), definition)

    assert "Step 'work' failed. Retry or skip?" == row.message == memo["rows"][0]["message"]
    assert SECRET not in str(memo) + str(row)
    assert SECRET in shown and SECRET in asked.message


async def test_what_is_not_paused(env: WorkflowEnvironment) -> None:
    """`fail` ends the run as failed, `skip` goes on, and neither asks anybody."""
    runs = await played(
        env,
        {
            "fail": Case(step(on_error="fail"), input=9),
            "skip": Case(step(on_error="skip"), input=9),
            "default": Case(step(on_error=None), input=9),
            "returned": Case(around(Step("work", returns_failure, on_error="fail")), input=9),
        },
    )

    assert [[]] * 4 == [run.asked for run in runs.values()]
    failed, returned = runs["fail"].output, runs["returned"].output
    assert (RunStatus.error, "builtins.ConnectionError") == (failed.status, failed.error_type)
    assert f"work: {SECRET}, execution 1" == failed.error
    assert (RunStatus.error, "work: no more data") == (returned.status, returned.error)
    for key in ("skip", "default"):
        assert (["before"], ["node_failed work"]) == (runs[key].results["after"], runs[key].events)


async def test_in_loops_and_branches(env: WorkflowEnvironment) -> None:
    """Each place asks for itself, several at once, and one that waits keeps no other from working;
    what does not answer an error is refused.
    """
    loop = Loop([Step("inner", flaky, **ONCE)], "again", max_iterations=2)
    bad = Step("bad", flaky, **ONCE)
    definition = Workflow("branches", [Parallel(loop, bad, Step("good", work), name="all")])
    async with serving(env, definition) as client:
        run = await client.start(definition, 2)

        async def both() -> Any:
            output = await client.get(run)
            return output if len(output.requirements) == 2 and output.inner_results else None

        waiting = await until(both)
        with pytest.raises(MalformedResolution, match="use retry, skip"):
            await client.resolve(run, Confirm(requirement_id="all.bad"))
        await client.resolve(run, Retry(requirement_id="all.again.1.inner"))
        await until(lambda: asks(client, run, "all.again.2.inner"))
        await client.resolve(run, Skip(requirement_id="all.bad"))
        await client.resolve(run, Retry(requirement_id="all.again.2.inner"))
        output = await ended(client, run)
        await replays(client.handle(run), definition)

    assert {"all.again.1.inner", "all.bad"} == {each.id for each in waiting.requirements}
    assert ["good"] == [each.step_name for each in waiting.inner_results]
    assert {"again": "execution 2", "good": "worked"} == output.content


async def asks(client: Any, run: str, key: str) -> bool:
    return key in [each.id for each in (await client.get(run)).requirements]
