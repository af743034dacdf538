"""A person sees what a Step or a Router has produced: keeps, changes or rejects it (seed 001)."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Confirm,
    HumanReview,
    Loop,
    Parallel,
    Reject,
    Router,
    RunStatus,
    Step,
    StepInput,
    StepOutput,
    Steps,
    Workflow,
)
from temporal_hitl.primitives import Node
from temporal_hitl.requirements import PreviousOutput
from tests.modes import (
    AFTER,
    BEFORE,
    Case,
    Played,
    after,
    before,
    draft,
    edit,
    played,
    reject,
    select,
)
from tests.stage import ended, paused, replays, serving, until

RETRY: dict[str, Any] = {"requires_output_review": True, "on_reject": "retry"}
EDITS = {
    "text": "new",
    "empty": "",
    "zero": 0,
    "none": None,
    "false": False,
    "deep": {"a": [1, {}]},
}


def first() -> str:
    return "draft"


def step(**options: Any) -> Node:
    asks: dict[str, Any] = {"requires_output_review": True, **options}
    return Step("draft", draft, **asks)


def router(**options: Any) -> Node:
    asks: dict[str, Any] = {"requires_output_review": True, **options}
    return Router([Step("draft", draft), Step("other", draft)], first, "route", **asks)


EITHER = pytest.mark.parametrize("make", [step, router])


def around(node: Node) -> list[Node]:
    return [BEFORE, node, AFTER]


def seen(run: Played) -> tuple[RunStatus, Any]:
    """Return how a run ended, and what `after` saw before it."""
    return run.output.status, run.results.get("after")


@EITHER
async def test_kept(env: WorkflowEnvironment, make: Any) -> None:
    """Who confirms keeps the output, whatever a rejection would do, in either spelling."""
    flat = {reason: make(on_reject=reason) for reason in ("skip", "cancel", "retry")}
    spelled = make(
        requires_output_review=None, human_review=HumanReview(requires_output_review=True)
    )
    nodes = {**flat, "spelled": spelled}

    runs = await played(env, {key: Case(around(each), [Confirm]) for key, each in nodes.items()})

    assert {key: (RunStatus.completed, ["draft"]) for key in nodes} == {
        key: seen(run) for key, run in runs.items()
    }
    asked = runs["skip"].asked[0]
    name = "router 'route'" if make is router else "step 'draft'"
    assert (f"Review output of {name}?", "draft", None) == (
        asked.message,
        asked.output,
        asked.error,
    )
    assert [False] == [each.edited for each in runs["skip"].output.step_results[1:2]]


async def test_edited(env: WorkflowEnvironment) -> None:
    """What a person writes instead, any JSON value, is the output; downstream sees it."""
    cases = {key: Case(around(step()), [edit(value)]) for key, value in EDITS.items()}
    for key in ("none", "deep"):
        cases[f"router_{key}"] = Case(around(router()), [edit(EDITS[key])])

    runs = await played(env, cases)

    for key, run in runs.items():
        value, result = EDITS[key.removeprefix("router_")], run.output.step_results[1]
        assert ([value], value) == (run.results["after"], result.content), key
        assert (True, True, None) == (result.edited, result.success, result.error), key


@EITHER
async def test_rejected(env: WorkflowEnvironment, make: Any) -> None:
    """`skip` drops the output and goes on, `cancel` ends the run and leaves the output visible."""
    runs = await played(
        env,
        {
            "default": Case(around(make()), [Reject]),
            "skip": Case(around(make(on_reject="skip")), [reject("bad")]),
            "cancel": Case(around(make(on_reject="cancel")), [reject("bad")]),
        },
    )

    for key in ("default", "skip"):
        assert (RunStatus.completed, ["before"]) == seen(runs[key])
        assert ["before", "after"] == list(runs[key].results)
        assert ["node_skipped"] == [each.event for each in runs[key].output.events]
    assert (RunStatus.cancelled, None) == seen(runs["cancel"])
    assert "bad" in (runs["cancel"].output.error or "")
    assert "draft" in [each.content for each in runs["cancel"].output.inner_results]


async def test_made_again(env: WorkflowEnvironment) -> None:
    """`retry` executes the step again with what was rejected and the feedback, if there is one;
    before there is an output there is nothing to do again.
    """
    twice = [reject("shorter"), Reject, reject("funnier"), Confirm]
    runs = await played(
        env,
        {
            "feedback": Case(around(step(**RETRY)), [reject("shorter"), Confirm]),
            "silent": Case(around(step(**RETRY)), [Reject, Confirm]),
            "rounds": Case(around(step(**RETRY)), twice),
            "edited": Case(around(step(**RETRY)), [reject("shorter"), edit("mine")]),
            "not_begun": Case(around(step(**RETRY, requires_confirmation=True)), [Reject]),
        },
    )

    assert {
        "feedback": ["draft, shorter"],
        "silent": ["draft, again"],
        "rounds": ["draft, shorter, again, funnier"],
        "edited": ["mine"],
        "not_begun": ["before"],
    } == {key: run.results["after"] for key, run in runs.items()}
    rounds = runs["rounds"]
    assert ["draft", "draft~2", "draft~3", "draft~4"] == rounds.ids
    assert [(0, 3), (1, 3), (2, 3), (3, 3)] == [
        (each.retries, each.retries_limit) for each in rounds.asked
    ]
    assert [1, 2, 3, 4] == [each.round for each in rounds.asked]
    assert ["before", *["draft"] * 4, "after"] == rounds.activities
    assert 4 == len({each.digest for each in rounds.asked})


def large() -> str:
    return "x" * 40_000


async def test_the_round_before(env: WorkflowEnvironment) -> None:
    """Who reviews what was made again is told the output of the round before and what was asked
    for, or how large it was; the digest is of what is under review alone.
    """
    heavy = Step("draft", large, **RETRY)
    rounds = [reject("shorter"), Reject, Confirm]
    runs = await played(
        env,
        {
            "text": Case(around(step(**RETRY)), rounds),
            "router": Case(around(router(**RETRY)), [Reject, select("draft"), Confirm]),
            "large": Case(around(heavy), [reject("shorter"), Confirm]),
        },
    )

    texts = [
        None,
        PreviousOutput(output="draft", feedback="shorter"),
        PreviousOutput(output="draft, shorter"),
    ]
    assert texts == [each.previous for each in runs["text"].asked]
    assert [None, PreviousOutput(output="draft")] == [
        each.previous for each in runs["router"].asked if each.kind == "output_review"
    ]
    told = PreviousOutput(feedback="shorter", left_out=40_002)
    assert [None, told] == [each.previous for each in runs["large"].asked]
    second = runs["text"].asked[1]
    alone = second.model_copy(update={"previous": None})
    assert second.digest == alone.sealed().digest == second.sealed().digest


async def test_the_limit(env: WorkflowEnvironment) -> None:
    """One rejection more than `max_retries` cancels the run; the output stays visible."""
    review = HumanReview(requires_output_review=True, on_reject="retry", max_retries=1)
    spelled = step(requires_output_review=None, human_review=review)
    cases = {"spelled_1": Case(around(spelled), [Reject] * 2)}
    for limit in (0, 1, 3):
        options = {**RETRY, "hitl_max_retries": limit}
        again = [Reject, select("draft")] * limit
        cases[f"step_{limit}"] = Case(around(step(**options)), [Reject] * (limit + 1))
        cases[f"router_{limit}"] = Case(around(router(**options)), [*again, Reject])

    runs = await played(env, cases)

    for key, run in runs.items():
        limit = int(key[-1])
        told = f"all {limit} retries are used" if limit else "no retries are allowed"
        assert (RunStatus.cancelled, None) == seen(run)
        assert told in (run.output.error or "")
        assert limit + 1 == len([each for each in run.activities if each.endswith("draft")])
        last = "draft" + ", again" * limit
        assert [last] == [e.content for e in run.output.walk() if e.step_name == "draft"]


async def test_rejections_are_not_counted_where_nothing_is_made_again(
    env: WorkflowEnvironment,
) -> None:
    """`max_retries` means nothing under another `on_reject`, and is not shown as a limit."""
    review = step(on_reject="skip", hitl_max_retries=0)
    runs = await played(env, {"skip": Case(around(review), [Reject])})

    assert (RunStatus.completed, ["before"]) == seen(runs["skip"])
    assert [(0, None)] == [(e.retries, e.retries_limit) for e in runs["skip"].asked]


# Who says whether a person is asked


def always(output: StepOutput) -> int:
    return 1


async def never(output: StepOutput) -> bool:
    return False


def is_short(output: StepOutput) -> bool:
    return len(output.content) < 10


def raises(output: StepOutput) -> bool:
    raise ValueError("cannot tell")


async def test_a_predicate_says_whether(env: WorkflowEnvironment) -> None:
    """It is an activity that sees each new output; where it fails, a person is asked."""
    once = {"max_retries": 0}
    runs = await played(
        env,
        {
            "true": Case(around(step(requires_output_review=always)), [Confirm]),
            "false": Case(around(step(requires_output_review=never))),
            "raises": Case(around(step(requires_output_review=raises, **once)), [Confirm]),
            "each": Case(
                around(step(requires_output_review=is_short, on_reject="retry")), [reject("longer")]
            ),
            "router": Case(around(router(requires_output_review=is_short)), [edit("mine")]),
            "spelled": Case(
                around(
                    step(
                        requires_output_review=None,
                        human_review=HumanReview(requires_output_review=is_short),
                    )
                ),
                [Confirm],
            ),
        },
    )

    assert {
        "true": (["draft"], ["draft"]),
        "false": ([], ["draft"]),
        "raises": (["draft"], ["draft"]),
        "each": (["draft"], ["draft, longer"]),
        "router": (["route"], ["mine"]),
        "spelled": (["draft"], ["draft"]),
    } == {key: (run.ids, run.results["after"]) for key, run in runs.items()}
    assert ["node_failed draft.output_review"] == runs["raises"].events
    asked = ["before", *["draft", "draft.output_review"] * 2, "after"]
    assert asked == runs["each"].activities
    assert runs["raises"].output.failed_steps == []


# What else a step may do


def last_word(step_input: StepInput) -> StepOutput:
    return StepOutput(
        content=draft(step_input), stop="previous_output" not in (step_input.additional_data)
    )


async def test_a_stop_stays_a_stop(env: WorkflowEnvironment) -> None:
    """An output that ends the run ends it once it counts; one that is dropped does not."""

    def stopping(**options: Any) -> list[Node]:
        return around(Step("draft", last_word, requires_output_review=True, **options))

    runs = await played(
        env,
        {
            "confirm": Case(stopping(), [Confirm]),
            "edit": Case(stopping(), [edit("mine")]),
            "skip": Case(stopping(), [Reject]),
            "retry": Case(stopping(on_reject="retry"), [Reject, Confirm]),
        },
    )

    assert {
        "confirm": (["before", "draft"], "draft"),
        "edit": (["before", "draft"], "mine"),
        "skip": (["before", "after"], ["before"]),
        "retry": (["before", "draft", "after"], ["draft, again"]),
    } == {key: (list(run.results), run.output.content) for key, run in runs.items()}


def counting(step_input: StepInput, session_state: dict[str, Any]) -> str:
    session_state["executions"] = session_state.get("executions", 0) + 1
    return draft(step_input)


async def test_what_a_rejected_execution_wrote_stays(env: WorkflowEnvironment) -> None:
    """It did happen: the session state is as the rejected execution left it."""

    def node(**options: Any) -> list[Node]:
        return around(Step("draft", counting, requires_output_review=True, **options))

    runs = await played(
        env,
        {
            "retry": Case(node(on_reject="retry"), [Reject, Reject, Confirm]),
            "skip": Case(node(), [Reject]),
        },
    )

    assert {"retry": 3, "skip": 1} == {
        key: run.output.session_state["executions"] for key, run in runs.items()
    }


def fails_at_first(step_input: StepInput) -> str:
    if "previous_output" not in step_input.additional_data:
        raise ValueError("no data")
    return draft(step_input)


def gives_up() -> StepOutput:
    return StepOutput(content="half", success=False, error="no more data")


async def test_a_failure_that_is_skipped_is_reviewed(env: WorkflowEnvironment) -> None:
    """The reviewer of a step that failed under `on_error="skip"` sees the error, and may decide on
    it as on an output.
    """

    def node(executor: Any = fails_at_first, **options: Any) -> list[Node]:
        asks = {"requires_output_review": True, "max_retries": 0, **options}
        return around(Step("draft", executor, **asks))

    runs = await played(
        env,
        {
            "confirm": Case(node(), [Confirm]),
            "edit": Case(node(), [edit("mine")]),
            "skip": Case(node(), [Reject]),
            "retry": Case(node(on_reject="retry"), [reject("now"), Confirm]),
            "returned": Case(node(gives_up), [Confirm]),
            "fail": Case(node(on_error="fail")),
        },
    )

    first = {key: run.asked[0] for key, run in runs.items() if run.asked}
    error = "builtins.ValueError: no data"
    assert {(None, error)} == {
        (each.output, each.error) for key, each in first.items() if key != "returned"
    }
    assert ("half", "no more data") == (first["returned"].output, first["returned"].error)
    assert {
        "confirm": (["before"], ["draft"]),
        "edit": (["mine"], []),
        "skip": (["before"], []),
        "retry": (["None, now"], []),
        "returned": (["before"], ["draft"]),
        "fail": (None, []),
    } == {
        key: (run.results.get("after"), [each.path for each in run.output.failed_steps])
        for key, run in runs.items()
    }
    assert RunStatus.error is runs["fail"].output.status


async def test_nothing_is_reviewed_where_nothing_was_produced(env: WorkflowEnvironment) -> None:
    """A Router whose chosen step was left out has no output, and nobody is asked about it."""
    choice = Step("draft", draft, requires_confirmation=True)
    node = Router([choice], first, "route", requires_output_review=True)
    runs = await played(env, {"left_out": Case(around(node), [Reject])})

    assert (["route.draft"], ["before"]) == (
        runs["left_out"].ids,
        runs["left_out"].results["after"],
    )


async def test_an_edit_acts_once(env: WorkflowEnvironment) -> None:
    """An edit changes the output that it was written for, and none that is confirmed later."""
    second = Step("second", draft, requires_output_review=True)
    third = Step("third", draft, requires_confirmation=True)
    steps = [step(), second, third, AFTER]
    runs = await played(env, {"edits": Case(steps, [edit("mine"), Confirm, Confirm])})

    assert {"draft": "mine", "second": "draft", "third": "draft", "after": ["draft"]} == runs[
        "edits"
    ].results


async def test_cancelled_from_outside(env: WorkflowEnvironment) -> None:
    """An output under review can be seen, once, also after its run was cancelled meanwhile."""
    definitions = [Workflow("a_step", [step()]), Workflow("a_router", [router()])]
    async with serving(env, *definitions) as client:
        for definition in definitions:
            run = await client.start(definition)
            waiting = await paused(client, run)
            await client.cancel(run)
            output = await ended(client, run)
            await replays(client.handle(run), definition)

            for each in (waiting, output):
                drafts = [one for one in each.walk() if one.step_name == "draft"]
                assert [(each.status, "draft")] == [(each.status, one.content) for one in drafts]
            assert RunStatus.cancelled is output.status
            assert [True] == [each.withdrawn for each in output.resolutions]


# Wherever it is written


async def test_in_branches_at_once(env: WorkflowEnvironment) -> None:
    """Branches are reviewed at once and in any order, each in its own rounds, while others work."""
    a, b = (Step(name, draft, **RETRY) for name in "ab")
    busy = Steps("busy", steps=[Step("c", before), Step("d", after)])
    definition = Workflow("branches", [Parallel(a, b, busy, name="all")])
    async with serving(env, definition) as client:
        run = await client.start(definition)

        async def both() -> Any:
            output = await client.get(run)
            worked = [each.step_name for each in output.inner_results]
            return output if len(output.requirements) == 2 and "busy" in worked else None

        waiting = await until(both)
        await client.resolve(run, reject("longer")(requirement_id="all.b"))
        await until(lambda: asks(client, run, "all.b~2"))
        await client.resolve(run, edit("mine")(requirement_id="all.b~2"))
        await client.resolve(run, Confirm(requirement_id="all.a"))
        output = await ended(client, run)
        await replays(client.handle(run), definition)

    assert {"all.a", "all.b"} == {each.id for each in waiting.requirements}
    assert {"a": "draft", "b": "mine", "busy": ["before"]} == output.content
    assert ["all.b", "all.b~2", "all.a"] == [each.requirement_id for each in output.resolutions]


async def asks(client: Any, run: str, key: str) -> bool:
    return key in [each.id for each in (await client.get(run)).requirements]


async def test_in_a_loop(env: WorkflowEnvironment) -> None:
    """Each iteration asks under ids of its own, and counts its own rounds."""
    loop = Loop([step(**RETRY, hitl_max_retries=1)], "refine", max_iterations=2)
    once = [reject("more"), Confirm]
    runs = await played(env, {"loop": Case([loop], [*once, *once])})

    ids = [f"refine.{n}.draft{turn}" for n in (1, 2) for turn in ("", "~2")]
    assert (ids, [0, 1, 0, 1]) == (runs["loop"].ids, [e.retries for e in runs["loop"].asked])
    assert "draft, more" == runs["loop"].output.content


async def test_a_pipeline_as_a_step(env: WorkflowEnvironment) -> None:
    """A child run's output is reviewed as a step's; rejected, the child runs again, told why."""
    child = Workflow("child", [Step("one", draft), Step("two", after)])
    node = Step("sub", workflow=child, **RETRY)
    runs = await played(env, {"parent": Case(around(node), [reject("more"), edit("mine")])})

    asked = runs["parent"].asked
    assert ["sub", "sub~2"] == runs["parent"].ids
    assert [["draft"], ["['draft'], more"]] == [each.output for each in asked]
    assert ["mine"] == runs["parent"].results["after"]


# A Router is asked for its route again


async def test_a_router_takes_another_way(env: WorkflowEnvironment) -> None:
    """Whose output of a Router is rejected with `retry` chooses the route, even where a selector
    chose it first; the rounds are counted on.
    """
    asks: dict[str, Any] = {"requires_user_input": True, "allow_multiple_selections": True}
    chosen = Router([Step("draft", draft), Step("other", draft)], name="route", **asks, **RETRY)
    first = [select("draft")]
    way = [reject("more"), select("other"), Confirm]
    runs = await played(
        env,
        {
            "selector": Case(around(router(**RETRY)), way),
            "person": Case(around(chosen), [*first, *way]),
            "both": Case(around(chosen), [*first, Reject, select("other", "draft"), Confirm]),
            "declined": Case(around(router(**RETRY)), [Reject, Reject]),
            "twice": Case(around(router(**RETRY)), [reject("a"), *first, reject("b"), *way[1:]]),
        },
    )

    asked = {key: list(zip(run.kinds, run.ids, strict=True)) for key, run in runs.items()}
    review, route = "output_review", "route"
    assert [(review, "route"), (route, "route~2"), (review, "route~3")] == asked["selector"]
    assert [(route, "route"), (review, "route~2"), (route, "route~3"), (review, "route~4")] == (
        asked["person"]
    )
    assert {
        "selector": ["draft, more"],
        "person": ["draft, more"],
        "both": ["draft, again"],
        "declined": ["before"],
        "twice": ["draft, a, b"],
    } == {key: run.results["after"] for key, run in runs.items()}
    assert ["route.selector", "route.draft", "route.other"] == runs["selector"].activities[1:-1]
    assert ["route.other", "route.draft"] == runs["both"].activities[2:4]
    assert [0, 1, 2] == [e.retries for e in runs["twice"].asked if e.kind == review]
