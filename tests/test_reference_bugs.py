"""The bugs of the reference system, K1 to K24 of reference 5.1: none of them is ours.

Shown elsewhere, by what would be the same test:
K11a `test_sync_and_async.py::test_nothing_decided`,
K19 `test_cancel.py::test_a_run_that_waits` and `test_sync_and_async.py::test_cancel_run`,
K24 `test_author_errors.py::test_trees`.
There is no K20. K10 and K11 are about agents that pause, which come with the agents; here they are
shown of the questions that steps ask. What drafts and streams are needed for is in
`test_reference_bugs_of_callers.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Answer,
    Condition,
    Confirm,
    Edit,
    HitlClient,
    Loop,
    Parallel,
    Reject,
    Retry,
    Router,
    RunOptions,
    RunStatus,
    Select,
    Step,
    StepInput,
    Steps,
    Workflow,
    WorkflowRunOutput,
)
from tests.stage import ended, new_queue, paused, replays, serving

executed: list[Any] = []
"""What executors wrote down, in order."""


@pytest.fixture(autouse=True)
def nothing_executed() -> None:
    executed.clear()


def says(word: str) -> Callable[[StepInput], str]:
    """Return an executor that adds its word to the content before."""

    def say(step_input: StepInput) -> str:
        executed.append(word)
        return " ".join(filter(None, [step_input.previous_step_content, word]))

    return say


def tells(what: str) -> Callable[[StepInput], Any]:
    """Return an executor that gives back one of the fields of its input."""
    return lambda step_input: getattr(step_input, what)


def fails_once() -> Callable[[StepInput], str]:
    calls: list[StepInput] = []

    def call(step_input: StepInput) -> str:
        calls.append(step_input)
        if len(calls) == 1:
            raise ConnectionError("no answer")
        return "answered"

    return call


async def answered(client: HitlClient, run: str, *answers: Any) -> WorkflowRunOutput:
    """Give a run one answer after another, each once it waits, and return how it ended."""
    for answer in answers:
        await paused(client, run)
        await client.resolve(run, answer)
    return await ended(client, run)


async def played(
    env: WorkflowEnvironment,
    definition: Workflow,
    *answers: Any,
    options: RunOptions | None = None,
) -> WorkflowRunOutput:
    """Run a pipeline with these answers to its end, and replay it."""
    async with serving(env, definition) as client:
        run = await client.start(definition, options=options)
        output = await answered(client, run, *answers)
        await replays(client.handle(run), definition)
    return output


def asked(output: WorkflowRunOutput) -> list[str]:
    """Return the requirements of a run that were answered, in order."""
    return [each.requirement_id for each in output.resolutions]


async def test_k1_a_gate_asks_wherever_it_stands(env: WorkflowEnvironment) -> None:
    """Five containers deep, whatever a node asks of a person is asked, and of each container."""
    draft = Step(
        "draft",
        fails_once(),
        requires_confirmation=True,
        requires_user_input=True,
        user_input_schema=[{"name": "tone"}],
        requires_output_review=True,
        on_error="pause",
        max_retries=0,
    )
    every = Parallel(draft, name="all", requires_confirmation=True)
    route = Router([every], name="route", requires_confirmation=True, requires_user_input=True)
    refine = Loop([route], "refine", requires_confirmation=True, requires_iteration_review=True)
    when = Condition([refine], name="when", requires_confirmation=True)
    definition = Workflow("k1", [Steps("box", steps=[when], requires_confirmation=True)])
    routed = "box.when.refine.1.route"
    drafted = f"{routed}.all.draft"
    answers = [
        Confirm(requirement_id=key) for key in ("box", "box.when", "box.when.refine", routed)
    ]
    answers += [Select(requirement_id=f"{routed}~2", choices=("all",))]
    answers += [Confirm(requirement_id=key) for key in (f"{routed}.all", drafted)]
    answers += [Answer(requirement_id=f"{drafted}~2", values={"tone": "formal"})]
    answers += [Retry(requirement_id=f"{drafted}~3"), Confirm(requirement_id=f"{drafted}~4")]
    answers += [Confirm(requirement_id="box.when.refine.1")]
    output = await played(env, definition, *answers)

    assert [each.requirement_id for each in answers] == asked(output)
    assert (RunStatus.completed, {"draft": "answered"}) == (output.status, output.content)


FORGED: list[Any] = [
    [],
    {},
    {"step_id": "publish"},
    {"requirement_id": "publish"},
    {"requirement_id": "publish", "confirmed": True},
    {"requirement_id": "publish", "action": "confirm", "requires_confirmation": False},
    {"requirement_id": "publish", "action": "reject", "on_reject": "retry"},
    {"requirement_id": "publish", "action": "confirm", "timeout_at": "2999-01-01T00:00:00Z"},
    {"requirement_id": "publish", "action": "time_out", "on_timeout": "approve"},
    {"requirement_id": "publish", "action": "edit", "output": "published"},
    {"requirement_id": "another", "action": "confirm"},
    [{"requirement_id": "publish", "action": "confirm"}, {"step_id": "publish"}],
]


async def test_k2_a_forged_answer_passes_no_gate(env: WorkflowEnvironment) -> None:
    """What is no answer to this question, or brings a policy of its own, is refused and changes
    nothing.
    """
    definition = Workflow("k2", [Step("publish", says("published"), requires_confirmation=True)])
    async with serving(env, definition) as client:
        run = await client.start(definition)
        before = await paused(client, run)
        for forged in FORGED:
            with pytest.raises(WorkflowUpdateFailedError):
                await client.handle(run).execute_update("resolve", forged)
        after = await client.get(run)
        ran = list(executed)
        await answered(client, run, Reject(requirement_id="publish"))
        await replays(client.handle(run), definition)

    assert (before.requirements, [], []) == (after.requirements, after.resolutions, ran)


def reviewed(name: str, **options: Any) -> Step:
    return Step(name, says(name), requires_output_review=True, **options)


async def test_k3_an_edit_counts_once(env: WorkflowEnvironment) -> None:
    """An edit changes the output that it was made of, and none of a later review."""
    definition = Workflow("k3", [reviewed("one"), reviewed("two"), reviewed("three")])
    edit = Edit(requirement_id="one", output="edited")
    rest = [Confirm(requirement_id=key) for key in ("two", "three")]
    output = await played(env, definition, edit, *rest)

    contents = [each.content for each in output.step_results]
    assert ["edited", "edited two", "edited two three"] == contents


async def test_k4_an_error_is_decided_by_its_own_answer(env: WorkflowEnvironment) -> None:
    """After a rejected step and a filled in form, a failed step that is tried again runs, without
    the values of that form.
    """
    calls = fails_once()

    def unreliable(step_input: StepInput) -> Any:
        calls(step_input)
        return step_input.additional_data

    form = Step("form", says("form"), requires_user_input=True, hitl_timeout=timedelta(hours=1))
    failing = Step("call", unreliable, on_error="pause", max_retries=0)
    definition = Workflow(
        "k4", [Step("left", says("left"), requires_confirmation=True), form, failing]
    )
    async with serving(env, definition) as client:
        run = await client.start(definition)
        for answer in (
            Reject(requirement_id="left"),
            Answer(requirement_id="form", values={"a": 1}),
        ):
            await paused(client, run)
            await client.resolve(run, answer)
        await paused(client, run)
        await env.fast_forward(client.handle(run), timedelta(hours=2))
        output = await answered(client, run, Retry(requirement_id="call"))
        await replays(client.handle(run), definition)

    assert ["form", "call"] == [each.step_name for each in output.step_results]
    assert (RunStatus.completed, {}) == (output.status, output.content)


async def test_k6_a_decision_outlives_its_deadline(env: WorkflowEnvironment) -> None:
    """A review that was rejected in time stays rejected when its deadline passes, which was to
    approve; and one that was confirmed stays confirmed.
    """
    waits: dict[str, Any] = {"hitl_timeout": 60, "on_timeout": "approve"}
    left = reviewed("left", **waits)
    kept = reviewed("kept", hitl_timeout=60, on_timeout="cancel")
    definition = Workflow("k6", [left, kept, Step("end", says("end"), requires_confirmation=True)])
    async with serving(env, definition) as client:
        run = await client.start(definition)
        for answer in (Reject(requirement_id="left"), Confirm(requirement_id="kept")):
            await paused(client, run)
            await client.resolve(run, answer)
        await paused(client, run)
        await env.fast_forward(client.handle(run), timedelta(hours=1))
        output = await answered(client, run, Confirm(requirement_id="end"))
        await replays(client.handle(run), definition)

    assert ["reject", "confirm", "confirm"] == [each.action for each in output.resolutions]
    assert (RunStatus.completed, "kept end") == (output.status, output.content)


async def test_k8_iterations_are_counted_one_by_one(env: WorkflowEnvironment) -> None:
    """However many steps a loop has, a rejected iteration is followed by the next one, up to the
    limit.
    """

    def count(step_input: StepInput) -> None:
        executed.append(step_input.iteration)

    steps = [Step(name, count) for name in ("a", "b", "c")]
    loop = Loop(steps, "refine", requires_iteration_review=True, on_reject="retry")
    rejected = [Reject(requirement_id=f"refine.{number}") for number in (1, 2, 3)]
    output = await played(env, Workflow("k8", [loop]), *rejected)

    assert [1, 1, 1, 2, 2, 2, 3, 3, 3] == executed
    assert ["refine.1", "refine.2", "refine.3"] == asked(output)


async def test_k9_rejections_of_a_router_are_counted(env: WorkflowEnvironment) -> None:
    """A router whose output is rejected once more than `max_retries` allows ends the run, and runs
    nothing again.
    """
    router = Router(
        [Step("a", says("a")), Step("b", says("b"))],
        lambda: "a",
        "route",
        requires_output_review=True,
        on_reject="retry",
        hitl_max_retries=1,
    )
    rejected, again = Reject(requirement_id="route"), Reject(requirement_id="route~3")
    select = Select(requirement_id="route~2", choices=("b",))
    output = await played(env, Workflow("k9", [router]), rejected, select, again)

    assert (["a", "b"], RunStatus.cancelled) == (executed, output.status)
    assert "retries" in (output.error or "")


async def test_k10_siblings_of_a_pause_are_kept(env: WorkflowEnvironment) -> None:
    """Of a container in which two steps ask, every step runs once, in order, each with what was
    answered for it; the container's output is the container's.
    """

    def fill(step_input: StepInput) -> Any:
        executed.append(step_input.additional_data["user_input"])
        return step_input.additional_data["user_input"]["of"]

    def form(name: str) -> Step:
        return Step(name, fill, requires_user_input=True)

    inner = [Step("a", says("a")), form("b"), Step("c", says("c")), form("d"), Step("e", says("e"))]
    definition = Workflow("k10", [Loop(inner, "box", max_iterations=2), Step("end", says("end"))])
    forms = ["box.1.b", "box.1.d", "box.2.b", "box.2.d"]
    answers = [Answer(requirement_id=each, values={"of": each}) for each in forms]
    output = await played(env, definition, *answers)

    of = [{"of": each} for each in forms]
    assert ["a", of[0], "c", of[1], "e", "a", of[2], "c", of[3], "e", "end"] == executed
    box = output.step_results[0]
    assert ("box", list("abcde")) == (box.step_name, [each.step_name for each in box.steps or []])
    assert ("box.2.d e", "box.2.d e end") == (box.content, output.content)


async def test_k11_a_question_is_no_output(env: WorkflowEnvironment) -> None:
    """A step that asks has produced nothing until it is answered and has run, and what it asks is
    in no content.
    """
    definition = Workflow(
        "k11",
        [
            Step("a", says("a")),
            Step("b", says("b"), requires_user_input=True, user_input_message="What is b?"),
            Step("c", says("c")),
        ],
    )
    async with serving(env, definition) as client:
        run = await client.start(definition)
        waits = await paused(client, run)
        await client.resolve(run, Answer(requirement_id="b", values={"b": 1}))
        output = await ended(client, run)
        await replays(client.handle(run), definition)

    assert (["a"], "a") == ([each.step_name for each in waits.step_results], waits.content)
    assert ["a", "a b", "a b c"] == [each.content for each in output.step_results]


async def test_k12_a_pipeline_in_a_pipeline_is_waited_for(env: WorkflowEnvironment) -> None:
    """A nested pipeline that asks has not ended: the run waits with it, and goes on with what it
    came to.
    """
    inner = Workflow("k12_inner", [reviewed("draft")])
    definition = Workflow("k12", [Step("sub", workflow=inner), Step("end", says("end"))])
    async with serving(env, definition) as client:
        run = await client.start(definition)
        waits = await paused(client, run)
        ran = list(executed)
        await client.resolve(f"{run}.sub", Edit(requirement_id="draft", output="edited"))
        output = await ended(client, run)
        await replays(client.handle(run), definition)

    assert (["draft"], []) == (ran, waits.step_results)
    assert (RunStatus.completed, "edited end") == (output.status, output.content)


async def test_k15_what_the_caller_gave_survives_every_pause(env: WorkflowEnvironment) -> None:
    """`additional_data`, state and user are the same before and after each kind of pause."""
    given = {"tenant": 7}

    def note(step_input: StepInput, session_state: dict[str, Any], run_context: Any) -> str:
        executed.append((step_input.additional_data["tenant"], dict(session_state)))
        return "noted"

    review: dict[str, Any] = {"requires_output_review": True, "on_reject": "retry"}
    steps = [
        Step("a", note),
        Step("b", note, requires_confirmation=True),
        Step("c", note, requires_user_input=True, **review),
        Step("d", tells("additional_data")),
    ]
    answers = [Confirm(requirement_id="b"), Answer(requirement_id="c", values={"x": 1})]
    answers += [Reject(requirement_id="c~2", feedback="again"), Confirm(requirement_id="c~3")]
    options = RunOptions(additional_data=given, session_state={"seen": 1}, user_id="ana")
    output = await played(env, Workflow("k15", steps), *answers, options=options)

    assert [(7, {"seen": 1})] * 4 == executed
    assert (given, {"seen": 1}, "ana") == (output.content, output.session_state, output.user_id)


async def test_k17_unnamed_containers_have_names(env: WorkflowEnvironment) -> None:
    """A container without a name asks under one that is made from its kind and place: the same in
    path, name and id, at each look and in each run.
    """
    asks: dict[str, Any] = {"requires_confirmation": True}
    definition = Workflow(
        "k17",
        [
            Steps(steps=[says("a")], **asks),
            Loop([Step("b", says("b"))], max_iterations=1, **asks),
            Condition([Step("c", says("c"))], **asks),
            Router([Step("d", says("d"))], lambda: "d", **asks),
            Parallel(Step("e", says("e")), **asks),
        ],
    )
    expected = ["steps_1", "loop_2", "condition_3", "router_4", "parallel_5"]
    async with serving(env, definition) as client:
        for run in [await client.start(definition) for _ in range(2)]:
            for name in expected:
                (first,) = (await paused(client, run)).requirements
                (again,) = (await client.get(run)).requirements
                await client.resolve(run, Confirm(requirement_id=name))
                assert ((name, name, name), first) == ((first.id, first.name, first.path), again)
            await ended(client, run)
            await replays(client.handle(run), definition)


async def test_k18_each_review_counts_its_own_retries(env: WorkflowEnvironment) -> None:
    """A rejection of one output is none of the next one's: each may be made again as often as its
    author said.
    """
    options: dict[str, Any] = {"on_reject": "retry", "hitl_max_retries": 1}
    definition = Workflow("k18", [reviewed("one", **options), reviewed("two", **options)])
    async with serving(env, definition) as client:
        run = await client.start(definition)
        counted: list[tuple[str, int]] = []
        for answer in (Reject, Confirm, Reject, Confirm):
            (open_one,) = (await paused(client, run)).requirements
            counted.append((open_one.id, open_one.model_dump()["retries"]))
            await client.resolve(run, answer(requirement_id=open_one.id))
        output = await ended(client, run)
        await replays(client.handle(run), definition)

    assert [("one", 0), ("one~2", 1), ("two", 0), ("two~2", 1)] == counted
    assert (RunStatus.completed, "one two") == (output.status, output.content)


async def test_k21_an_edit_of_a_router_or_a_loop_counts(env: WorkflowEnvironment) -> None:
    """What a reviewer makes of the output of a router or of an iteration is what later steps are
    given, by content and by name.
    """
    choice = Step("a", says("a"))
    router = Router([choice], lambda: "a", "route", requires_output_review=True)
    loop = Loop([Step("b", lambda: "b")], "refine", requires_iteration_review=True)

    def look(step_input: StepInput) -> list[Any]:
        by_name = [step_input.get_step_content(name) for name in ("route", "refine")]
        return [step_input.previous_step_content, *by_name]

    definition = Workflow("k21", [router, Step("look", look), loop, Step("look_again", look)])
    edits = {"route": "routed", "refine.1": "refined"}
    answers = [Edit(requirement_id=key, output=output) for key, output in edits.items()]
    output = await played(env, definition, *answers)

    looks = [each.content for each in output.step_results if "look" in (each.step_name or "")]
    assert [["routed", "routed", None], ["refined", "routed", "refined"]] == looks


async def test_k23_a_nested_pipeline_is_rebuilt_from_its_plan(env: WorkflowEnvironment) -> None:
    """A worker that was started after the pause, with definitions of its own, goes on with a run
    and with the pipeline nested in it.
    """

    def definition() -> Workflow:
        inner = Workflow("k23_inner", [reviewed("draft"), Step("save", says("save"))])
        return Workflow("k23", [Step("sub", workflow=inner), reviewed("end")])

    queue = new_queue()
    async with serving(env, definition(), queue=queue) as client:
        run = await client.start("k23")
        await paused(client, run)
    later = definition()
    async with serving(env, later, queue=queue) as client:
        await client.resolve(f"{run}.sub", Edit(requirement_id="draft", output="edited"))
        output = await answered(client, run, Confirm(requirement_id="end"))
        await replays(client.handle(run), later)
        await replays(client.handle(f"{run}.sub"), later)

    assert (RunStatus.completed, "edited save end") == (output.status, output.content)
