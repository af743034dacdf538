"""The bugs of the reference system that its callers meet (K5, K7, K13, K14, K16, K22 of reference
5.1): none of them is ours. See `test_reference_bugs.py` for the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from temporal_hitl import (
    Answer,
    Condition,
    Loop,
    RunStatus,
    SqliteDb,
    Step,
    StepInput,
    UserInputField,
    Workflow,
    WorkflowRunOutput,
)
from temporal_hitl.errors import AlreadyResolved, ResolutionError
from tests.stage import embedded_client, replays

MANY = 100
"""More events than any stream here has."""


def says(word: str, executed: list[Any] | None = None) -> Callable[[StepInput], str]:
    """Return an executor that adds its word, and the iteration, to the content before."""

    def say(step_input: StepInput) -> str:
        if executed is not None:
            executed.append(step_input.iteration or word)
        return " ".join(filter(None, [step_input.previous_step_content, word]))

    return say


async def replayed(db: SqliteDb, workflow: Workflow, *run_ids: str) -> None:
    async with embedded_client(db) as client:
        for run_id in run_ids:
            await replays(client.handle(run_id), workflow)


async def resolved(db: SqliteDb, run_id: str, answer: Any) -> None:
    """Answer a run without a draft."""
    async with embedded_client(db) as client:
        await client.resolve(run_id, answer)


def last(workflow: Workflow) -> WorkflowRunOutput:
    """Return the last run of a pipeline as its session has it (seed 000)."""
    return workflow.get_session().runs[-1]


def decided(workflow: Workflow, how: str) -> WorkflowRunOutput:
    """Return the last run of a pipeline with the one thing that it asks decided."""
    output = last(workflow)
    (req,) = output.steps_requiring_confirmation or output.steps_requiring_output_review
    getattr(req, how)()
    return output


async def test_k5_of_two_that_continue_one_counts(embedded: SqliteDb) -> None:
    """Two callers who confirm the same question run the step once, and one of them is told that the
    other was first.
    """
    executed: list[Any] = []
    step = Step("publish", says("published", executed), requires_confirmation=True)
    workflow = Workflow("k5", [step], db=embedded)
    run_id = (await workflow.arun("x")).run_id
    looks = [await workflow.aget_run_output(run_id) for _ in range(2)]
    for who, look in zip(("ana", "ben"), looks, strict=True):
        (req,) = look.steps_requiring_confirmation
        req.confirm()
        req.resolved_by = who
    told = await asyncio.gather(*map(workflow.acontinue_run, looks), return_exceptions=True)
    output = await workflow.aget_run_output(run_id)
    await replayed(embedded, workflow, run_id)

    (lost,) = [each for each in told if isinstance(each, AlreadyResolved)]
    (won,) = [each for each in told if isinstance(each, WorkflowRunOutput)]
    assert (["published"], won.resolutions) == (executed, output.resolutions)
    (record,) = output.resolutions
    assert record.resolved_by is not None and record.resolved_by in str(lost)


def test_k7_a_streamed_loop_goes_on(embedded: SqliteDb) -> None:
    """A stream that goes on after a rejected iteration tells of the next one and ends where that
    waits; after an accepted one it tells of the end.
    """
    executed: list[Any] = []
    loop = Loop(
        [Step("draft", says("draft", executed))],
        "refine",
        max_iterations=5,
        requires_iteration_review=True,
        on_reject="retry",
    )
    workflow = Workflow("k7", [loop, Step("end", says("end"))], db=embedded)
    told = [bounded(workflow.run("x", stream=True, stream_events=True))]
    for how in ("reject", "reject", "confirm"):
        output = decided(workflow, how)
        told.append(bounded(workflow.continue_run(output, stream=True, stream_events=True)))
    output = last(workflow)
    asyncio.run(replayed(embedded, workflow, output.run_id))

    iterations = [[each.iteration for each in part if named(each, "Started")] for part in told]
    assert ([[1], [2], [3], []], [1, 2, 3]) == (iterations, executed)
    assert ["StepOutputReview"] * 3 == [part[-1].event for part in told[:3]]
    assert "WorkflowCompleted" == told[3][-1].event
    assert "draft end" == output.content


def named(event: Any, what: str) -> bool:
    return event.event == f"LoopIteration{what}"


def bounded(events: Iterator[Any]) -> list[Any]:
    """Return the events of a stream, which must end."""
    told: list[Any] = []
    for event in events:
        told.append(event)
        assert len(told) < MANY
    return told


def test_k13_a_form_is_empty_in_each_run(embedded: SqliteDb) -> None:
    """What one run was answered is in no other run's form, and not in the author's own fields."""
    field = UserInputField(name="tone", field_type="str")
    tell = Step(
        "tell",
        lambda step_input: step_input.additional_data["user_input"]["tone"],
        requires_user_input=True,
        user_input_schema=[field],
    )
    workflow = Workflow("k13", [tell], db=embedded)
    first = workflow.run("x")
    (req,) = first.steps_requiring_user_input
    req.set_user_input(tone="formal")
    first = workflow.continue_run(first)
    second = workflow.run("x")
    (req,) = second.steps_requiring_user_input
    with pytest.raises(ValueError, match="nothing was decided"):
        workflow.continue_run(second)
    values = [each.value for each in req.user_input_schema or []]
    needs, resolved = req.needs_user_input, req.is_resolved
    req.set_user_input(tone="plain")
    second = workflow.continue_run(second)
    asyncio.run(replayed(embedded, workflow, first.run_id, second.run_id))

    assert (None, [None], True, False) == (field.value, values, needs, resolved)
    assert ("formal", "plain") == (first.content, second.content)


def test_k14_what_is_refused_is_not_stored(embedded: SqliteDb) -> None:
    """A form that was filled in wrongly is as open as before, in the draft and in the run."""
    tell = Step(
        "tell",
        lambda step_input: step_input.additional_data["user_input"],
        requires_user_input=True,
        user_input_schema=[
            UserInputField(name="count", field_type="int"),
            UserInputField(name="tone", allowed_values=["plain", "formal"]),
        ],
    )
    workflow = Workflow("k14", [tell], db=embedded)
    output = workflow.run("x")
    (req,) = output.steps_requiring_user_input
    bad: dict[str, Any]
    for bad in ({"count": "many"}, {"tone": "rude"}, {"other": 1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            req.set_user_input(**bad)
        assert (True, False) == (req.needs_user_input, req.is_resolved)
    with pytest.raises(ValueError, match="nothing was decided"):
        workflow.continue_run(output)
    wrong: dict[str, Any] = {"count": "many", "tone": "rude"}
    with pytest.raises(ValueError, match=r"count.*tone"):
        req.user_input = wrong
    answer = Answer(requirement_id="tell", values=wrong)
    with pytest.raises(ResolutionError, match=r"count.*tone"):
        asyncio.run(resolved(embedded, output.run_id, answer))
    unchanged = workflow.get_run_output(output.run_id)
    (req,) = unchanged.steps_requiring_user_input
    req.set_user_input(count=3, tone="plain")
    ended = workflow.continue_run(unchanged)
    asyncio.run(replayed(embedded, workflow, output.run_id))

    assert (output.requirements, []) == (unchanged.requirements, unchanged.resolutions)
    assert {"count": 3, "tone": "plain"} == ended.content


def test_k16_a_pause_is_told_once_it_is_there(embedded: SqliteDb) -> None:
    """Who leaves a stream at the pause that it tells of finds the run paused there, and goes on."""
    steps = [Step("a", says("a")), Step("b", says("b"), requires_confirmation=True)]
    workflow = Workflow("k16", steps, db=embedded)
    events = workflow.run("x", stream=True, stream_events=True)
    event = next(each for each in events if each.event == "StepPaused")
    output = last(workflow)
    (req,) = output.steps_requiring_confirmation
    req.confirm()
    ended = workflow.continue_run(output)
    asyncio.run(replayed(embedded, workflow, output.run_id))

    assert (event.run_id, event.requirement.id) == (output.run_id, req.id)
    assert (True, "a b") == (output.is_paused, ended.content)


async def streamed(events: AsyncIterator[Any]) -> None:
    count = 0
    async for _ in events:
        count += 1
        assert count < MANY


async def arun_streamed(workflow: Workflow) -> None:
    await streamed(workflow.arun("x", stream=True, stream_events=True))


async def acontinue_streamed(workflow: Workflow, output: WorkflowRunOutput) -> None:
    await streamed(await workflow.acontinue_run(output, stream=True, stream_events=True))


WAYS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sync": (lambda each: each.run("x"), lambda each, output: each.continue_run(output)),
    "async": (
        lambda each: asyncio.run(each.arun("x")),
        lambda each, output: asyncio.run(each.acontinue_run(output)),
    ),
    "streamed": (
        lambda each: bounded(each.run("x", stream=True, stream_events=True)),
        lambda each, output: bounded(each.continue_run(output, stream=True, stream_events=True)),
    ),
    "streamed, async": (
        lambda each: asyncio.run(arun_streamed(each)),
        lambda each, output: asyncio.run(acontinue_streamed(each, output)),
    ),
}


def breaks(step_input: StepInput) -> str:
    raise ValueError(f"cannot publish {step_input.previous_step_content!r}")


@pytest.mark.parametrize("way", WAYS)
def test_k22_every_way_to_run_is_the_same(embedded: SqliteDb, way: str) -> None:
    """Sync or async, streamed or not: a rejected condition without an else-branch is left out, a
    loop goes on with its next iteration, and a run that failed is there as failed.
    """
    begin, go_on = WAYS[way]
    unless = Condition([Step("never", says("never"))], name="when", requires_confirmation=True)
    review: dict[str, Any] = {"requires_iteration_review": True, "on_reject": "retry"}
    loop = Loop([Step("one", says("one")), Step("two", says("two"))], "refine", **review)
    fails = Step("publish", breaks, on_error="fail", max_retries=0)
    workflow = Workflow("k22", [Step("a", says("a")), unless, loop, fails], db=embedded)
    begin(workflow)
    for decide in ("reject", "reject"):
        go_on(workflow, decided(workflow, decide))
    # A stream tells of the failure as its last event.
    raised = nullcontext() if "streamed" in way else pytest.raises(ValueError, match="publish")
    with raised:
        go_on(workflow, decided(workflow, "confirm"))
    output = last(workflow)
    asyncio.run(replayed(embedded, workflow, output.run_id))

    assert (RunStatus.error, "publish: cannot publish 'a one two'") == (output.status, output.error)
    actions = [(each.requirement_id, each.action) for each in output.resolutions]
    assert [("when", "reject"), ("refine.1", "reject"), ("refine.2", "confirm")] == actions
    assert ["a", "refine", "refine.2.one", "refine.2.two"] == [each.path for each in output.walk()]
