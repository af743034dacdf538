"""What a run tells while it goes on: the events of reference 1.10, in the order of its table."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import TypeAdapter
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Answer,
    Condition,
    Confirm,
    Edit,
    HitlClient,
    Loop,
    OnError,
    OnReject,
    Parallel,
    Reject,
    Retry,
    Router,
    RunStatus,
    Select,
    Skip,
    Step,
    StepInput,
    StepOutput,
    Steps,
    UserInputField,
    Workflow,
    WorkflowRunOutput,
)
from temporal_hitl.primitives import NodeLike
from temporal_hitl.requirements import ErrorDecision, OutputReview
from temporal_hitl.stream_events import (
    AnyStreamEvent,
    LoopIterationCompletedEvent,
    NodeEvent,
    StepErrorEvent,
    StepOutputEvent,
    StepOutputReviewEvent,
    StepPausedEvent,
    WorkflowCancelledEvent,
    WorkflowCompletedEvent,
    WorkflowErrorEvent,
)
from tests.stage import WAIT, ended, replays, serving

failed: set[str] = set()
"""The runs whose flaky step has failed once."""


def act(step_input: StepInput) -> str:
    return f"{step_input.previous_step_content or step_input.input}+"


def flaky(step_input: StepInput) -> str:
    if step_input.input not in failed:
        failed.add(step_input.input)
        raise OSError("no network")
    return "there"


def broken() -> str:
    raise ValueError("never")


def stop() -> StepOutput:
    return StepOutput(content="enough", stop=True)


def yes() -> bool:
    return True


def step(name: str, **options: Any) -> Step:
    return Step(name, act, **options)


def fails(name: str, executor: Any = broken, **options: Any) -> Step:
    return Step(name, executor, max_retries=0, **options)


def shown(events: Sequence[AnyStreamEvent]) -> str:
    """Write events as the reference's table does: `StepStarted a, StepOutput a`."""
    names = [f"{e.event} {e.path}" if isinstance(e, NodeEvent) else e.event for e in events]
    return ", ".join(names)


def done(*names: str) -> str:
    """Write what a step tells that is executed."""
    kinds = ("StepStarted", "StepOutput", "StepCompleted")
    return ", ".join(f"{kind} {name}" for name in names for kind in kinds)


@dataclass(frozen=True)
class Row:
    """A pipeline, what is answered at each pause, and what is told until each pause."""

    steps: list[NodeLike]
    answers: list[Any] = field(default_factory=list[Any])
    told: list[str] = field(default_factory=list[str])


ASKED = f"WorkflowStarted, {done('a')}, StepPaused b"
ENDED = f"{done('c')}, WorkflowCompleted"
REVIEWED = f"WorkflowStarted, {done('b')}, StepOutputReview b"
FORM = [UserInputField(name="size", field_type="int", required=True)]


def gated(**options: Any) -> list[NodeLike]:
    return [step("a"), step("b", **options), step("c")]


def reviewed(on_reject: OnReject = OnReject.skip) -> list[NodeLike]:
    return [step("b", requires_output_review=True, on_reject=on_reject), step("c")]


ROWS = {
    "confirmed": Row(
        gated(requires_confirmation=True),
        [Confirm(requirement_id="b")],
        [ASKED, f"StepContinued b, {done('b')}, {ENDED}"],
    ),
    "filled in": Row(
        gated(requires_user_input=True, user_input_schema=FORM),
        [Answer(requirement_id="b", values={"size": 3})],
        [ASKED, f"StepContinued b, {done('b')}, {ENDED}"],
    ),
    "confirmed and filled in": Row(
        gated(requires_confirmation=True, requires_user_input=True),
        [Confirm(requirement_id="b"), Answer(requirement_id="b~2", values={})],
        [ASKED, "StepContinued b, StepPaused b", f"StepContinued b, {done('b')}, {ENDED}"],
    ),
    "rejected: skip": Row(
        gated(requires_confirmation=True), [Reject(requirement_id="b")], [ASKED, ENDED]
    ),
    "rejected: cancel": Row(
        gated(requires_confirmation=True, on_reject=OnReject.cancel),
        [Reject(requirement_id="b")],
        [ASKED, "WorkflowCancelled"],
    ),
    "condition rejected: else": Row(
        [Condition([step("x")], name="check", else_steps=[step("y")], requires_confirmation=True)],
        [Reject(requirement_id="check")],
        [
            "WorkflowStarted, StepPaused check",
            f"ConditionExecutionStarted check, {done('check.y')},"
            " ConditionExecutionCompleted check, WorkflowCompleted",
        ],
    ),
    "condition confirmed": Row(
        [Condition([step("x")], yes, name="check", requires_confirmation=True)],
        [Confirm(requirement_id="check")],
        [
            "WorkflowStarted, StepPaused check",
            f"StepContinued check, ConditionExecutionStarted check, {done('check.x')},"
            " ConditionExecutionCompleted check, WorkflowCompleted",
        ],
    ),
    "routed": Row(
        [Router([step("x"), step("y")], name="way", requires_user_input=True)],
        [Select(requirement_id="way", choices=["y"])],  # type: ignore[arg-type]
        [
            "WorkflowStarted, RouterPaused way",
            f"RouterExecutionStarted way, {done('way.y')}, RouterExecutionCompleted way,"
            " WorkflowCompleted",
        ],
    ),
    "review confirmed": Row(reviewed(), [Confirm(requirement_id="b")], [REVIEWED, ENDED]),
    "review edited": Row(reviewed(), [Edit(requirement_id="b", output="x")], [REVIEWED, ENDED]),
    "review rejected: skip": Row(reviewed(), [Reject(requirement_id="b")], [REVIEWED, ENDED]),
    "review rejected: retry": Row(
        reviewed(OnReject.retry),
        [Reject(requirement_id="b", feedback="shorter"), Confirm(requirement_id="b~2")],
        [REVIEWED, f"StepContinued b, {done('b')}, StepOutputReview b", ENDED],
    ),
    "router review rejected: retry": Row(
        [
            Router(
                [step("x"), step("y")],
                lambda: "x",
                name="way",
                requires_output_review=True,
                on_reject=OnReject.retry,
            )
        ],
        [
            Reject(requirement_id="way"),
            Select(requirement_id="way~2", choices=["y"]),  # type: ignore[arg-type]
            Confirm(requirement_id="way~3"),
        ],
        [
            f"WorkflowStarted, RouterExecutionStarted way, {done('way.x')},"
            " RouterExecutionCompleted way, StepOutputReview way",
            "RouterPaused way",
            f"RouterExecutionStarted way, {done('way.y')}, RouterExecutionCompleted way,"
            " StepOutputReview way",
            "WorkflowCompleted",
        ],
    ),
    "iterations reviewed": Row(
        [
            Loop(
                [step("x")],
                name="refine",
                max_iterations=3,
                requires_iteration_review=True,
                on_reject=OnReject.retry,
            )
        ],
        [Reject(requirement_id="refine.1"), Confirm(requirement_id="refine.2")],
        [
            "WorkflowStarted, LoopExecutionStarted refine, LoopIterationStarted refine.1,"
            f" {done('refine.1.x')}, LoopIterationCompleted refine.1, StepOutputReview refine.1",
            f"StepContinued refine.1, LoopIterationStarted refine.2, {done('refine.2.x')},"
            " LoopIterationCompleted refine.2, StepOutputReview refine.2",
            "LoopExecutionCompleted refine, WorkflowCompleted",
        ],
    ),
    "failed: retry": Row(
        [fails("b", flaky, on_error=OnError.pause), step("c")],
        [Retry(requirement_id="b")],
        [
            "WorkflowStarted, StepStarted b, StepError b",
            f"StepContinued b, {done('b')}, {ENDED}",
        ],
    ),
    "failed: skip": Row(
        [fails("b", on_error=OnError.pause), step("c")],
        [Skip(requirement_id="b")],
        ["WorkflowStarted, StepStarted b, StepError b", ENDED],
    ),
    "condition failed: skip": Row(
        [Condition([step("x")], broken, name="check", max_retries=0, on_error=OnError.pause)],
        [Skip(requirement_id="check")],
        ["WorkflowStarted, StepError check", "WorkflowCompleted"],
    ),
    "on_error=skip": Row(
        [fails("b"), step("c")],
        told=[f"WorkflowStarted, StepStarted b, StepError b, {ENDED}"],
    ),
    "on_error=fail": Row(
        [fails("b", on_error=OnError.fail), step("c")],
        told=["WorkflowStarted, StepStarted b, StepError b, WorkflowError"],
    ),
    "stopped early": Row(
        [Loop([Step("x", stop)], name="refine"), step("c")],
        told=[
            "WorkflowStarted, LoopExecutionStarted refine, LoopIterationStarted refine.1,"
            f" {done('refine.1.x')}, LoopIterationCompleted refine.1,"
            " LoopExecutionCompleted refine, WorkflowCompleted",
        ],
    ),
    "nested": Row(
        [
            Loop(
                [
                    Condition(
                        [Steps("all", steps=[step("x"), step("y", requires_confirmation=True)])],
                        name="check",
                    )
                ],
                name="refine",
                max_iterations=1,
            )
        ],
        [Confirm(requirement_id="refine.1.check.all.y")],
        [
            "WorkflowStarted, LoopExecutionStarted refine, LoopIterationStarted refine.1,"
            " ConditionExecutionStarted refine.1.check,"
            f" StepsExecutionStarted refine.1.check.all, {done('refine.1.check.all.x')},"
            " StepPaused refine.1.check.all.y",
            f"StepContinued refine.1.check.all.y, {done('refine.1.check.all.y')},"
            " StepsExecutionCompleted refine.1.check.all,"
            " ConditionExecutionCompleted refine.1.check, LoopIterationCompleted refine.1,"
            " LoopExecutionCompleted refine, WorkflowCompleted",
        ],
    ),
}


async def told(client: HitlClient, run: str) -> list[AnyStreamEvent]:
    """Return all that is told of a run until it waits for a person, or has ended."""
    return [each async for each in client.watch(run, until_paused=True)]


async def walked(client: HitlClient, name: str, row: Row) -> tuple[str, list[str]]:
    """Go through a row, and return its run and what was told at each pause."""
    run = await client.start(name, name)
    events = await told(client, run)
    parts = [shown(events)]
    for answer in row.answers:
        await client.resolve(run, answer)
        more = await told(client, run)
        # What was told once is told the same way for ever.
        assert shown(events) == shown(more[: len(events)])
        parts.append(shown(more[len(events) :]))
        events = more
    return run, parts


async def test_the_table_of_sequences(env: WorkflowEnvironment) -> None:
    """Each situation of the reference's table is told with its events, in their order, to a
    subscriber who begins anew at each pause.
    """
    definitions = [Workflow(name, row.steps) for name, row in ROWS.items()]
    actual: dict[str, list[str]] = {}
    async with serving(env, *definitions) as client:
        walks = [walked(client, name, row) for name, row in ROWS.items()]
        ends = await asyncio.wait_for(asyncio.gather(*walks), WAIT)
        for name, (run, parts) in zip(ROWS, ends, strict=True):
            actual[name] = parts
            await replays(client.handle(run), *definitions)

    assert {name: row.told for name, row in ROWS.items()} == actual


async def test_branches(env: WorkflowEnvironment) -> None:
    """Each branch of a Parallel is told in its own order, between the Parallel's start and end; a
    branch that waits holds no other one up.
    """
    branches = Parallel(step("x", requires_confirmation=True), step("y"), step("z"), name="all")
    definition = Workflow("branches", [branches])
    async with serving(env, definition) as client:
        run = await client.start(definition, "in")
        before = await asyncio.wait_for(told(client, run), WAIT)
        await client.resolve(run, Confirm(requirement_id="all.x"))
        after = (await asyncio.wait_for(told(client, run), WAIT))[len(before) :]
        await replays(client.handle(run), definition)

    assert "WorkflowStarted, ParallelExecutionStarted all" == shown(before[:2])
    for name in ("all.y", "all.z"):
        of_branch = [e for e in before if isinstance(e, NodeEvent) and e.path == name]
        assert done(name) == shown(of_branch)
    assert f"StepContinued all.x, {done('all.x')}" == shown(after[:-2])
    assert "ParallelExecutionCompleted all, WorkflowCompleted" == shown(after[-2:])


def held() -> Workflow:
    """A step, a review in a loop, and an error that a person decides about."""
    loop = Loop([step("x", requires_output_review=True)], name="refine", max_iterations=1)
    return Workflow("held", [step("a"), loop, fails("b", on_error=OnError.pause)])


async def test_what_events_hold(env: WorkflowEnvironment) -> None:
    """Events name run, path, place and iteration; those of questions hold the question, with what
    is under review. All of it survives JSON.
    """
    answers = [Confirm(requirement_id="refine.1.x"), Skip(requirement_id="b")]
    async with serving(env, held()) as client:
        run = await client.start("held", "in")
        for answer in answers:
            await told(client, run)
            await client.resolve(run, answer)
        events = await told(client, run)
        await replays(client.handle(run), held())

    by_kind = {type(each): each for each in events}
    review, error = by_kind[StepOutputReviewEvent], by_kind[StepErrorEvent]
    iteration = by_kind[LoopIterationCompletedEvent]
    assert isinstance(review, StepOutputReviewEvent)
    assert isinstance(review.requirement, OutputReview)
    assert ("in++", "refine.1.x", 1) == (
        review.requirement.output,
        review.requirement.id,
        review.iteration,
    )
    assert isinstance(error, StepErrorEvent)
    assert ("never", "builtins.ValueError", 2) == (error.error, error.error_type, error.step_index)
    assert isinstance(error.requirement, ErrorDecision)
    assert isinstance(iteration, LoopIterationCompletedEvent)
    assert (1, 1, False) == (
        iteration.iteration,
        iteration.max_iterations,
        iteration.should_continue,
    )
    adapter: TypeAdapter[AnyStreamEvent] = TypeAdapter(AnyStreamEvent)
    assert events == [adapter.validate_json(adapter.dump_json(each)) for each in events]


async def test_where_events_stand(env: WorkflowEnvironment) -> None:
    """Every event names its run, and those of nodes their place in it; the end holds what `run`
    returns.
    """
    definition = Workflow("placed", [step("a"), Loop([step("x")], name="refine", max_iterations=1)])
    async with serving(env, definition) as client:
        run = await client.start(definition, "in")
        events = await told(client, run)
        output = await ended(client, run)
        await replays(client.handle(run), definition)

    outputs = [each for each in events if isinstance(each, StepOutputEvent)]
    assert [("a", 0, "a", None, "in+"), ("x", 0, "refine.1.x", 1, "in++")] == [
        (e.step_name, e.step_index, e.step_id, e.iteration, e.step_output.content) for e in outputs
    ]
    loops = [each for each in events if isinstance(each, NodeEvent) and each.step_name == "refine"]
    assert {1} == {each.step_index for each in loops}
    end = events[-1]
    assert isinstance(end, WorkflowCompletedEvent)
    assert (output, output.content, output.step_results) == (
        end.run_output,
        end.content,
        end.step_results,
    )
    assert {(run, "placed", run, 0)} == {
        (each.run_id, each.workflow_name, each.session_id, each.nested_depth) for each in events
    }
    assert sorted(each.created_at for each in events) == [each.created_at for each in events]


async def test_ends(env: WorkflowEnvironment) -> None:
    """A run that is cancelled says why; one that is terminated, or never began, cannot say it
    itself, and its stream ends with an event all the same.
    """
    definition = Workflow("ends", gated(requires_confirmation=True))
    async with serving(env, definition) as client:
        runs = [await client.start(definition, "in") for _ in range(2)]
        wrong = (
            await client.client.start_workflow(
                "ends", args=["in", 5, 5], id="wrong", task_queue=client.task_queue
            )
        ).id
        for run in runs:
            await told(client, run)
        await client.cancel(runs[0])
        await client.handle(runs[1]).terminate("enough")
        cancelled, terminated = [await told(client, run) for run in runs]
        refused = await told(client, wrong)
        await replays(client.handle(runs[0]), definition)

    assert [f"{ASKED}, WorkflowCancelled", f"{ASKED}, WorkflowError", "WorkflowError"] == [
        shown(events) for events in (cancelled, terminated, refused)
    ]
    ends = (cancelled[-1], terminated[-1], refused[-1])
    assert isinstance(ends[0], WorkflowCancelledEvent)
    assert isinstance(ends[1], WorkflowErrorEvent)
    assert isinstance(ends[2], WorkflowErrorEvent)
    assert "somebody cancelled the run" == ends[0].reason
    assert "takes one input" in ends[2].error


# Through `Workflow`


def pipeline(db: Any) -> Workflow:
    return Workflow("streamed", gated(requires_confirmation=True), db=db)


def test_as_the_seed_has_it(embedded: Any) -> None:
    """Drain the stream, look at the session, decide, and go on while it is paused (seed 000)."""
    workflow = pipeline(embedded)
    paused = list[str]()
    parts: list[list[AnyStreamEvent]] = [[]]
    for event in workflow.run("in", stream=True, stream_events=True):
        parts[-1].append(event)
        if isinstance(event, StepPausedEvent):
            paused.append(event.step_name)

    session = workflow.get_session()
    run_output = session.runs[-1]

    while run_output.is_paused:
        for req in run_output.steps_requiring_confirmation:
            req.confirm()
        parts.append(list(workflow.continue_run(run_output, stream=True, stream_events=True)))

        session = workflow.get_session()
        run_output = session.runs[-1]

    assert ["b"] == paused
    assert [ASKED, f"StepContinued b, {done('b')}, {ENDED}"] == [shown(part) for part in parts]
    assert RunStatus.completed is run_output.status
    assert isinstance(end := parts[-1][-1], WorkflowCompletedEvent)
    assert run_output == end.run_output


def test_left_at_the_pause(embedded: Any) -> None:
    """Who leaves the loop at the pause finds the run paused, and looks on no longer."""
    workflow = pipeline(embedded)
    stream = workflow.run("in", stream=True)
    for event in stream:
        if isinstance(event, StepPausedEvent):
            break
    run_output = workflow.get_session().runs[-1]
    stream.close()

    assert run_output.is_paused
    assert ["b"] == [each.id for each in run_output.requirements]
    assert [] == list(stream)
    assert RunStatus.cancelled is workflow.cancel_run(run_output.run_id).status


def test_few_events(embedded: Any) -> None:
    """Without `stream_events` it tells outputs, questions and the end."""
    workflow = pipeline(embedded)
    first = list(workflow.run("in", stream=True))
    run_output = workflow.get_session().runs[-1]
    run_output.steps_requiring_confirmation[0].confirm()
    second = list(workflow.continue_run(run_output, stream=True))

    assert "WorkflowStarted, StepOutput a, StepPaused b" == shown(first)
    assert "StepContinued b, StepOutput b, StepOutput c, WorkflowCompleted" == shown(second)


async def test_the_async_twins(embedded: Any) -> None:
    """`arun` is iterated, and `acontinue_run` awaited and then iterated; both act when called."""
    workflow = pipeline(embedded)
    begun = workflow.arun("in", stream=True, stream_events=True)
    first = [event async for event in begun]
    run_output = (await workflow.aget_session()).runs[-1]
    run_output.steps_requiring_confirmation[0].reject("no")
    going_on = await workflow.acontinue_run(run_output, stream=True, stream_events=True)
    decided = await workflow.aget_run_output(run_output.run_id)
    second = [event async for event in going_on]

    assert (ASKED, ENDED) == (shown(first), shown(second))
    assert ["reject"] == [each.action for each in decided.resolutions]


def test_refused_decisions(embedded: Any) -> None:
    """A decision that is refused raises when `continue_run` is called, and starts no stream."""
    workflow = pipeline(embedded)
    list(workflow.run("in", stream=True))
    run_output: WorkflowRunOutput = workflow.get_session().runs[-1]
    stale = workflow.get_run_output(run_output.run_id)
    with pytest.raises(ValueError, match="nothing was decided"):
        workflow.continue_run(run_output, stream=True)
    run_output.steps_requiring_confirmation[0].confirm()
    list(workflow.continue_run(run_output, stream=True))
    stale.steps_requiring_confirmation[0].reject()
    with pytest.raises(ValueError, match="resolved already"):
        workflow.continue_run(stale, stream=True)


async def test_not_in_a_running_loop(embedded: Any) -> None:
    """Inside a running event loop the sync call raises, and names what to write."""
    with pytest.raises(RuntimeError, match=r"async for event in workflow\.arun"):
        pipeline(embedded).run("in", stream=True)


def test_events_have_the_names_of_the_reference() -> None:
    """A class is called what its event is called, and tells itself apart by it."""
    classes = TypeAdapter(AnyStreamEvent).json_schema()["discriminator"]["mapping"]
    assert {name: f"#/$defs/{name}Event" for name in classes} == classes
    assert {"StepPaused", "RouterPaused", "StepOutputReview"} < set(classes)
