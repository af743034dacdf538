"""What random trees have found (`tests/test_properties.py`), each as small as it gets."""

from __future__ import annotations

from typing import Any

from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Answer,
    Confirm,
    Edit,
    HitlClient,
    Loop,
    Reject,
    Router,
    Step,
    StepInput,
    Steps,
    Workflow,
    WorkflowRunOutput,
)
from temporal_hitl.requirements import AnyResolution
from tests.stage import ended, paused, replay_all, serving


def given(step_input: StepInput) -> Any:
    return step_input.additional_data.get("user_input")


def said(step_input: StepInput) -> dict[str, Any]:
    return step_input.additional_data


def before(step_input: StepInput) -> str:
    return f"after {step_input.previous_step_content}"


def fail() -> None:
    raise ValueError("broken")


def work(step_input: StepInput) -> str:
    return "worked"


async def asked_in_turn(
    client: HitlClient, run: str, answers: list[tuple[type, dict[str, Any]]]
) -> list[str]:
    """Answer the one open question, again and again; return their ids."""
    ids: list[str] = []
    for kind, fields in answers:
        (asked,) = (await paused(client, run)).requirements
        ids.append(asked.id)
        answer: AnyResolution = kind(requirement_id=asked.id, **fields)
        await client.resolve(run, answer)
    return ids


async def come_to(
    env: WorkflowEnvironment, definition: Workflow, answers: list[tuple[type, dict[str, Any]]]
) -> tuple[list[str], WorkflowRunOutput, int]:
    async with serving(env, definition) as client:
        run = await client.start(definition)
        ids = await asked_in_turn(client, run, answers)
        output = await ended(client, run)
        executions = await replay_all(env, run, definition)
    return ids, output, executions


YES, NO = (Confirm, {}), (Reject, {})


async def test_a_choice_that_runs_twice_and_asks_twice(env: WorkflowEnvironment) -> None:
    """The second turn of a choice asks its own questions: no decision counts for another one."""
    twice = Step("a", given, requires_confirmation=True, requires_user_input=True)
    definition = Workflow("twice", [Router([twice], lambda: ["a", "a"], "route")])
    first, second = (Answer, {"values": {"n": 1}}), (Answer, {"values": {"n": 2}})

    ids, output, _ = await come_to(env, definition, [YES, first, YES, second])

    assert ["route.a", "route.a~2", "route.a~2~2", "route.a~2~3"] == ids
    assert [{"n": 1}, {"n": 2}] == [each.content for each in output.step_results[0].steps or []]


async def test_a_loop_that_is_left_out(env: WorkflowEnvironment) -> None:
    """Where a person drops what a loop made, the event names the loop and not its iteration."""
    loop = Loop([Step("a", work)], "loop", requires_iteration_review=True)

    ids, output, _ = await come_to(env, Workflow("drops", [loop]), [NO])

    assert (["loop.1"], []) == (ids, output.step_results)
    assert [("node_skipped", "loop", "loop.1")] == [
        (each.event, each.path, getattr(each, "requirement_id", None)) for each in output.events
    ]


async def test_an_iteration_in_which_all_was_left_out(env: WorkflowEnvironment) -> None:
    """What a person writes for an iteration that gave nothing is what the loop gives."""
    gated = Step("a", work, requires_confirmation=True)
    definition = Workflow("edits", [Loop([gated], "loop", requires_iteration_review=True)])

    ids, output, _ = await come_to(env, definition, [NO, (Edit, {"output": "written"})])

    assert (["loop.1.a", "loop.1"], "written") == (ids, output.content)
    assert [(True, True)] == [(each.success, each.edited) for each in output.step_results]


async def test_what_a_person_writes_for_failed_steps(env: WorkflowEnvironment) -> None:
    """What a person writes for a container whose steps have all failed is what the container
    around it gives the next step.
    """
    router = Router([Step("a", fail, max_retries=0)], lambda: "a", "r", requires_output_review=True)
    around = Steps("around", steps=[router])
    definition = Workflow("edits", [around, Step("after", before)])

    _, output, _ = await come_to(env, definition, [(Edit, {"output": "written"})])

    assert "after written" == output.content


async def test_a_form_is_filled_in_once(short: WorkflowEnvironment) -> None:
    """The values of a form hold for every round of a review, across continue-as-new too."""
    asks = {"requires_user_input": True, "requires_output_review": True, "on_reject": "retry"}
    step = Step("a", given, hitl_max_retries=9, **asks)
    definition = Workflow("fills", [step])
    filled = (Answer, {"values": {"n": 1}})

    ids, output, executions = await come_to(short, definition, [filled, *[NO] * 8, YES])

    assert ["a", *(f"a~{count}" for count in range(2, 11))] == ids
    assert {"n": 1} == output.content
    assert 1 < executions


async def test_feedback_goes_with_what_it_was_given_for(env: WorkflowEnvironment) -> None:
    """A step that is made again without feedback is not given what was said of its iteration."""
    step = Step("a", said, requires_output_review=True, on_reject="retry")
    loop = Loop([step], "loop", requires_iteration_review=True, on_reject="retry")
    shorter = (Reject, {"feedback": "shorter"})

    _, output, _ = await come_to(env, Workflow("says", [loop]), [YES, shorter, NO, YES, YES])

    assert {"previous_output": {"previous_output": {}, "rejection_feedback": "shorter"}} == (
        output.content
    )
