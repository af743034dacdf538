"""A person sees each iteration of a Loop, and accepts it or has it go round again (seed 001)."""

from __future__ import annotations

from typing import Any

from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Confirm,
    HumanReview,
    Loop,
    Parallel,
    Reject,
    RunOptions,
    RunStatus,
    Step,
    StepInput,
    StepOutput,
)
from temporal_hitl.primitives import Node
from temporal_hitl.requirements import PreviousOutput
from tests.modes import AFTER, BEFORE, Case, draft, edit, played, reject


def loop(*steps: Step, **options: Any) -> Loop:
    asks: dict[str, Any] = {"requires_iteration_review": True, "on_reject": "retry", **options}
    return Loop(steps or [Step("draft", draft)], "refine", **asks)


def around(node: Node) -> list[Node]:
    return [BEFORE, node, AFTER]


YES_ENDS = " (yes: the loop ends; no: it goes round again)"
LAST = (
    " (yes: the loop ends; no: the loop ends and its output is dropped; this is the last iteration)"
)


async def test_each_answer(env: WorkflowEnvironment) -> None:
    """Yes ends the loop and keeps the output, an edit replaces it; a rejection does as written."""
    review = HumanReview(requires_iteration_review=True, on_reject="retry")
    spelled = Loop([Step("draft", draft)], "refine", human_review=review)
    runs = await played(
        env,
        {
            "confirm": Case(around(loop()), [Confirm]),
            "edit": Case(around(loop()), [edit({"mine": None})]),
            "edit_none": Case(around(loop()), [edit(None)]),
            "retry": Case(around(loop()), [reject("more"), Reject, Confirm]),
            "edit_later": Case(around(loop()), [reject("more"), edit("mine")]),
            "default": Case(around(loop(on_reject=None)), [Reject]),
            "skip": Case(around(loop(on_reject="skip")), [reject("bad")]),
            "cancel": Case(around(loop(on_reject="cancel")), [reject("bad")]),
            "spelled": Case(around(spelled), [reject("more"), Confirm]),
        },
    )

    assert {
        "confirm": ["draft"],
        "edit": [{"mine": None}],
        "edit_none": [None],
        "retry": ["draft, more, again"],
        "edit_later": ["mine"],
        "default": ["before"],
        "skip": ["before"],
        "cancel": None,
        "spelled": ["draft, more"],
    } == {key: run.results.get("after") for key, run in runs.items()}
    assert ["refine.1", "refine.2", "refine.3"] == runs["retry"].ids
    assert [1, 2, 3] == [each.iteration for each in runs["retry"].asked]
    assert ["draft", "draft, more"] == [each.output for each in runs["retry"].asked[:2]]
    assert ["node_skipped refine"] == runs["default"].events == runs["skip"].events
    assert [True] == [e.edited for e in runs["edit"].output.step_results if e.step_type == "Loop"]
    cancelled = runs["cancel"].output
    assert RunStatus.cancelled is cancelled.status
    assert "bad" in (cancelled.error or "")
    assert ["draft"] == [each.content for each in cancelled.inner_results]


async def test_the_iteration_before(env: WorkflowEnvironment) -> None:
    """Who reviews an iteration is told what the one before produced, and what was asked for."""
    rounds = [reject("more"), Reject, Confirm]
    told = (await played(env, {"loop": Case(around(loop()), rounds)}))["loop"]

    assert [
        None,
        PreviousOutput(output="draft", feedback="more"),
        PreviousOutput(output="draft, more"),
    ] == [each.previous for each in told.asked]


async def test_the_last_iteration(env: WorkflowEnvironment) -> None:
    """It is asked about too, and says so; `retry` then drops the output, whatever `max_retries`."""
    most = {"max_iterations": 2}
    written = {"iteration_review_message": "Is {output} good? ({iteration})"}
    runs = await played(
        env,
        {
            "confirm": Case(around(loop(**most)), [Reject, Confirm]),
            "retry": Case(around(loop(**most)), [Reject, Reject]),
            "only": Case(around(loop(max_iterations=1)), [Reject]),
            "cancel": Case(around(loop(**most, on_reject="cancel")), [Confirm]),
            "written": Case(around(loop(**most, **written)), [Reject, edit("mine")]),
        },
    )

    asked = {key: [each.message for each in run.asked] for key, run in runs.items()}
    completed = "Loop 'refine' completed iteration {} of {}. Accept it?"
    both = [completed.format(1, 2) + YES_ENDS, completed.format(2, 2) + LAST]
    assert both == asked["confirm"] == asked["retry"]
    assert [completed.format(1, 1) + LAST] == asked["only"]
    assert asked["cancel"][0].endswith("(yes: the loop ends; no: the run is cancelled)")
    assert [f"Is draft good? (1){YES_ENDS}", f"Is draft, again good? (2){LAST}"] == asked["written"]
    assert {
        "confirm": ["draft, again"],
        "retry": ["before"],
        "only": ["before"],
        "cancel": ["draft"],
        "written": ["mine"],
    } == {key: run.results["after"] for key, run in runs.items()}
    assert [2, 1, 1] == [len(runs[key].asked) for key in ("retry", "only", "cancel")]


def tell(step_input: StepInput) -> dict[str, Any]:
    return {"input": step_input.input, "before": step_input.previous_step_content} | {
        key: step_input.additional_data.get(key)
        for key in ("previous_output", "rejection_feedback", "team")
    }


async def test_what_the_next_iteration_is_told(env: WorkflowEnvironment) -> None:
    """Feedback and the rejected output reach every step of the next iteration, and no later one;
    forwarding adds to it.
    """

    def case(**options: Any) -> Case:
        body = loop(Step("write", draft), Step("one", tell), Step("two", tell), **options)
        team = RunOptions(additional_data={"team": "blue"})
        return Case(around(body), [reject("more"), Reject, Confirm], options=team)

    runs = await played(env, {"plain": case(), "forward": case(forward_iteration_output=True)})

    for key, run in runs.items():
        first, second, third = (each.output for each in run.asked)
        nothing = {"previous_output": None, "rejection_feedback": None, "team": "blue"}
        assert nothing | {"input": "in", "before": first["before"]} == first
        assert (first, "more", "blue") == (
            second["previous_output"], second["rejection_feedback"], second["team"],
        )  # fmt: skip
        assert (second, None) == (third["previous_output"], third["rejection_feedback"])
        forwarded = key == "forward"
        assert [first if forwarded else "in", second if forwarded else "in"] == [
            second["input"], third["input"],
        ]  # fmt: skip
    one = {each.step_name: each.content for each in runs["plain"].output.walk()}
    assert one["one"]["previous_output"] == one["two"]["previous_output"]
    assert "after" in one


def second_is_good(outputs: list[StepOutput]) -> bool:
    return "again" in str(outputs[-1].content)


def below_two(step_input: StepInput, iteration: int) -> bool:
    return iteration < 2


def stops(step_input: StepInput) -> StepOutput:
    return StepOutput(content=draft(step_input), stop="again" in draft(step_input))


async def test_what_ends_without_asking(env: WorkflowEnvironment) -> None:
    """Where the end condition is true, or a step has asked to stop, nobody is asked: not after the
    last iteration either.
    """
    first = {"max_iterations": 1}
    runs = await played(
        env,
        {
            "end_condition": Case(around(loop(end_condition=second_is_good)), [Reject]),
            "should_continue": Case(around(loop(should_continue=below_two)), [Reject]),
            "stop": Case(around(loop(Step("draft", stops))), [Reject]),
            "last": Case(around(loop(max_iterations=2, end_condition=second_is_good)), [Reject]),
            "false_at_last": Case(around(loop(**first, end_condition=second_is_good)), [Confirm]),
        },
    )

    again = "draft, again"
    assert {
        "end_condition": (["refine.1"], [again]),
        "should_continue": (["refine.1"], [again]),
        "stop": (["refine.1"], again),
        "last": (["refine.1"], [again]),
        "false_at_last": (["refine.1"], ["draft"]),
    } == {key: (run.ids, run.output.content) for key, run in runs.items()}
    assert "after" not in runs["stop"].results


async def test_several_steps_and_gates_inside(env: WorkflowEnvironment) -> None:
    """The counter is exact with several steps in an iteration, and with gates of their own."""
    gated = Step("draft", draft, requires_confirmation=True)
    reviewed = Step("polish", draft, requires_output_review=True, on_reject="retry")
    body = loop(gated, Step("count", tell), reviewed, max_iterations=4)
    answers = [Confirm, Confirm, reject("more"), Confirm, reject("x"), Confirm, Reject]
    answers += [Confirm, edit("mine"), Confirm]
    runs = await played(env, {"gates": Case(around(body), answers)})

    run = runs["gates"]
    assert run.ids == [
        "refine.1.draft", "refine.1.polish", "refine.1",
        "refine.2.draft", "refine.2.polish", "refine.2.polish~2", "refine.2",
        "refine.3.draft", "refine.3.polish", "refine.3",
    ]  # fmt: skip
    assert ["mine"] == run.results["after"]
    names = [each.rpartition(".")[2] for each in run.activities]
    assert (3, 3, 4) == tuple(names.count(each) for each in ("draft", "count", "polish"))
    # Its own rejection tells the step what it had made; the iteration's, what the iteration had.
    assert ["draft", "draft, more", "draft, more, x", "draft, more, x, again"] == [
        each.output for each in run.asked if each.kind == "output_review"
    ]


async def test_loops_in_loops_and_branches(env: WorkflowEnvironment) -> None:
    """Each loop asks for itself, under the path of its iteration."""
    inner = Loop([Step("draft", draft)], "inner", requires_iteration_review=True, on_reject="retry")
    outer = Loop(
        [Parallel(inner, name="all")], "outer", requires_iteration_review=True, on_reject="retry"
    )
    answers = [reject("a"), Confirm, reject("b"), Confirm, Confirm]
    runs = await played(env, {"nested": Case([outer], answers)})

    assert ["outer.1.all.inner.1", "outer.1.all.inner.2", "outer.1"] == runs["nested"].ids[:3]
    assert ["outer.2.all.inner.1", "outer.2"] == runs["nested"].ids[3:]
    assert [{"inner": "draft, a"}, {"inner": "{'inner': 'draft, a'}, b"}] == [
        each.output for each in runs["nested"].asked if each.path.count(".") == 1
    ]


async def test_an_iteration_that_gives_nothing(env: WorkflowEnvironment) -> None:
    """Where an iteration's steps were left out, the review shows what yes would keep, and an edit
    counts though there is nothing to replace.
    """
    node = loop(Step("draft", draft, requires_confirmation=True))
    runs = await played(
        env,
        {
            "kept": Case(around(node), [Confirm, Reject, Reject, Confirm]),
            "nothing": Case(around(node), [Reject, Confirm]),
            "edited": Case(around(node), [Reject, edit("mine")]),
        },
    )

    assert {"kept": ["draft", "draft"], "nothing": [None], "edited": [None]} == {
        key: [e.output for e in run.asked if e.kind == "iteration_review"]
        for key, run in runs.items()
    }
    assert {"kept": ["draft"], "nothing": ["before"], "edited": ["mine"]} == {
        key: run.results["after"] for key, run in runs.items()
    }


async def test_max_iterations_is_the_limit(env: WorkflowEnvironment) -> None:
    """How often a loop goes round is `max_iterations`, which no count of rejections shortens."""
    runs = await played(
        env, {"loop": Case(around(loop(max_iterations=6)), [*[Reject] * 5, Confirm])}
    )

    assert ["draft" + ", again" * 5] == runs["loop"].results["after"]
