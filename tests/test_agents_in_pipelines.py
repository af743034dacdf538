"""Agents as steps: their questions stand in the pipeline's run wherever the step stands, together
with those of the step, in the order of table F of `workflow-hitl.md`.

All pipelines are served by one worker, and every history replays at the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Answer,
    Condition,
    Confirm,
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
    Steps,
    UserInputField,
    Workflow,
)
from temporal_hitl.agents import Agent, Ask, AskingFunction, Team, tool
from temporal_hitl.requirements import AnyResolution
from tests.agents import Called, Desk, desk_of, heard, scripted

done: dict[str, list[str]] = defaultdict(list)
"""What tools did, by run."""


@tool(requires_confirmation=True)
def wipe(disk: str, run_context: Any) -> str:
    """Wipe a disk."""
    done[run_context.run_id.partition(".")[0]].append(disk)
    return f"wiped {disk}"


def wiper(name: str, disk: str = "sda", **options: Any) -> Agent:
    """Return an agent that wipes one disk and says what came of it."""
    calls: list[Called] = [("wipe", {"disk": disk})]
    return Agent(name, scripted(calls), tools=[wipe], **options)


def listener(name: str) -> Agent:
    """Return an agent that says what it is told to do."""
    return Agent(name, scripted(heard))


def first() -> str:
    return "first"


def last(step_input: StepInput) -> str:
    return f"last after {step_input.previous_step_content}"


def wipes(name: str, agent: Any = None, **options: Any) -> Step:
    return Step(name=name, agent=agent or wiper(name, name), **options)


def yes(*ids: str) -> list[AnyResolution]:
    return [Confirm(requirement_id=each) for each in ids]


def no(requirement_id: str, feedback: str | None = None) -> Reject:
    return Reject(requirement_id=requirement_id, feedback=feedback)


@dataclass
class Case:
    """A pipeline, what is answered in turn, and what comes of it."""

    steps: Sequence[Any]
    answers: list[AnyResolution]
    content: Any
    """Of the run."""
    did: list[str] = field(default_factory=list[str])
    """The disks that were wiped."""


team = Team(
    "pair",
    [wiper("one", "sda"), wiper("two", "sdb")],
    scripted(
        [
            ("delegate", {"member": "one", "task": "wipe"}),
            ("delegate", {"member": "two", "task": "wipe"}),
        ]
    ),
)
pair_in_team = Team(
    "outside",
    [Team("within", [wiper("deep")], scripted([("delegate", {"member": "deep", "task": "wipe"})]))],
    scripted([("delegate", {"member": "within", "task": "wipe"})]),
)
sub = Workflow("agents_sub", [wipes("sda")])
asks: dict[str, Any] = {"requires_confirmation": True}
report = [UserInputField("format"), UserInputField("rows", "int", required=False)]
WIPED = "last after wipe: wiped"


async def triage(ask: Ask, prompt: str) -> str:
    answer = await ask.question("Which one?", [UserInputField("disk")])
    return f"{prompt}: {answer['disk']}"


CASES: dict[str, Case] = {
    "steps": Case(
        [Steps("all", steps=[wipes("sda"), wipes("sdb")]), last],
        yes("all.sda.1.wipe", "all.sdb.1.wipe"),
        f"{WIPED} sdb",
        ["sda", "sdb"],
    ),
    "loop": Case(
        [Loop([wipes("sda")], name="twice", max_iterations=2, **asks), last],
        yes("twice", "twice.1.sda.1.wipe", "twice.2.sda.1.wipe"),
        f"{WIPED} sda",
        ["sda", "sda"],
    ),
    "condition": Case(
        [Condition([wipes("sda")], evaluator=True, name="when", **asks), last],
        yes("when", "when.sda.1.wipe"),
        f"{WIPED} sda",
        ["sda"],
    ),
    "else": Case(
        [
            Condition(
                [wipes("sda")], evaluator=True, else_steps=[wipes("sdb")], name="when", **asks
            ),
            last,
        ],
        [no("when"), *yes("when.sdb.1.wipe")],
        f"{WIPED} sdb",
        ["sdb"],
    ),
    "router": Case(
        [
            Router(
                [Step("plain", first), wipes("sda"), wipes("sdb")],
                name="way",
                requires_user_input=True,
            ),
            last,
        ],
        [Select(requirement_id="way", choices=("sdb",)), *yes("way.sdb.1.wipe")],
        f"{WIPED} sdb",
        ["sdb"],
    ),
    "parallel": Case(
        [Parallel(wipes("sda"), wipes("sdb"), name="both")],
        [no("both.sdb.1.wipe", "not b"), *yes("both.sda.1.wipe")],
        {"sda": "wipe: wiped sda", "sdb": "wipe: rejected by a person: not b"},
        ["sda"],
    ),
    "nested": Case(
        [Step("sub", workflow=sub), last], yes("sub/sda.1.wipe"), f"{WIPED} sda", ["sda"]
    ),
    "team": Case(
        [Step(name="crew", team=team), last],
        [no("crew.1.one.1.wipe"), *yes("crew.1.two.1.wipe")],
        "last after delegate: wipe: rejected by a person; delegate: wipe: wiped sdb",
        ["sdb"],
    ),
    "team in a team": Case(
        [Loop([Step(name="crew", team=pair_in_team)], name="once", max_iterations=1), last],
        yes("once.1.crew.1.within.1.deep.1.wipe"),
        "last after delegate: delegate: wipe: wiped sda",
        ["sda"],
    ),
    "agents as they are": Case(
        [wiper("sda"), AskingFunction(triage), last],
        [*yes("sda.1.wipe"), Answer(requirement_id="triage.1.question", values={"disk": "b"})],
        "last after wipe: wiped sda: b",
        ["sda"],
    ),
    "iteration review": Case(
        [
            Loop(
                [wipes("sda"), Step("between", first), wipes("sdb")],
                name="refine",
                max_iterations=3,
                requires_iteration_review=True,
                on_reject=OnReject.retry,
            ),
            last,
        ],
        [
            *yes("refine.1.sda.1.wipe", "refine.1.sdb.1.wipe"),
            no("refine.1", "once more"),
            *yes("refine.2.sda.1.wipe", "refine.2.sdb.1.wipe", "refine.2"),
        ],
        f"{WIPED} sdb",
        ["sda", "sdb", "sda", "sdb"],
    ),
    "the second of two agents": Case(
        [
            Steps(
                "all",
                steps=[
                    Step(name="says", agent=listener("says")),
                    Condition(
                        [Parallel(wipes("sda"), wipes("sdb"), name="both")],
                        evaluator=True,
                        name="when",
                        **asks,
                    ),
                ],
                **asks,
            )
        ],
        yes("all", "all.when", "all.when.both.sdb.1.wipe", "all.when.both.sda.1.wipe"),
        {"sda": "wipe: wiped sda", "sdb": "wipe: wiped sdb"},
        ["sdb", "sda"],
    ),
    "no before the step": Case([wipes("sda", **asks), last], [no("sda")], "last after None"),
    "confirmation, form, tool": Case(
        [
            Step(
                name="told",
                agent=Agent(
                    "told",
                    scripted(lambda messages, _: [("wipe", {"disk": heard(messages)})]),
                    tools=[wipe],
                ),
                requires_user_input=True,
                user_input_schema=report,
                **asks,
            )
        ],
        [
            *yes("told"),
            Answer(requirement_id="told~2", values={"format": "pdf", "rows": 3}),
            *yes("told.1.wipe"),
        ],
        "wipe: wiped in\n\nWhat the user asked for:\n- format: pdf\n- rows: 3",
        ["in\n\nWhat the user asked for:\n- format: pdf\n- rows: 3"],
    ),
}
PIPELINES = {
    name: Workflow(f"agents_{number}", each.steps)
    for number, (name, each) in enumerate(CASES.items())
}


@pytest.mark.parametrize("name", CASES)
async def test_where_an_agent_stands(desk: Desk, name: str) -> None:
    """Wherever a step stands, its agent's calls wait in the pipeline's run, what the step asks
    comes before them, each is asked once, and what follows goes on with what the agent gave.
    """
    case = CASES[name]
    run = await desk.start(PIPELINES[name], "in")
    seen: list[tuple[str, str]] = []
    for answer in case.answers:
        child, _, key = answer.requirement_id.rpartition("/")
        run_id = f"{run}.{child}" if child else run
        output = await desk.client.wait(run, seen=seen, timeout=20)
        open_ = {(each.run_id, asked.id) for each in output.runs() for asked in each.requirements}
        assert (run_id, key) in open_
        seen = [*seen, *open_]
        await desk.client.resolve(run_id, answer.model_copy(update={"requirement_id": key}))
    ended = await desk.end(run)

    assert (RunStatus.completed, case.content) == (ended.status, ended.content)
    assert case.did == done[run]


# Output review, and errors

again: dict[str, Any] = {"requires_output_review": True, "on_reject": OnReject.retry}


def asked_for(messages: Any, _: Any) -> list[Called]:
    """Call with the last line of what is asked for."""
    return [("wipe", {"disk": heard(messages).splitlines()[-1]})]


drafts = Workflow(
    "agents_reviewed",
    [Step(name="draft", agent=Agent("draft", scripted(asked_for), tools=[wipe]), **again), last],
)


async def test_output_review(desk: Desk) -> None:
    """What an agent gave is reviewed after its tools; a rejection that wants another one reaches
    its prompt with what it gave before, and its calls are asked about again, under new ids.
    """
    run = await desk.start(drafts, "sda")
    for answer in (
        *yes("draft.1.wipe"),
        no("draft", "sdb"),
        *yes("draft.1.wipe~2", "draft~2"),
    ):
        await desk.asked(run, answer.requirement_id)
        await desk.resolve(run, answer)
    ended = await desk.end(run)

    assert f"{WIPED} sdb" == ended.content
    assert ["sda", "sdb"] == done[run]


limited = Workflow(
    "agents_limited",
    [
        Step(
            name="draft",
            agent=Agent("draft", scripted(asked_for), tools=[wipe]),
            hitl_max_retries=1,
            **again,
        ),
        last,
    ],
)


async def test_output_review_is_limited(desk: Desk) -> None:
    """However often its tools ask, an agent makes its output again no more often than the review
    allows; then the run ends, as it does for every step.
    """
    run = await desk.start(limited, "sda")
    for answer in (
        *yes("draft.1.wipe"),
        no("draft", "sdb"),
        *yes("draft.1.wipe~2"),
        no("draft~2", "sdc"),
    ):
        await desk.asked(run, answer.requirement_id)
        await desk.resolve(run, answer)
    ended = await desk.end(run)

    assert (RunStatus.cancelled, None) == (ended.status, ended.content)
    assert ["sda", "sdb"] == done[run]


broken: list[str] = []


def breaks(messages: Any, info: Any) -> Any:
    """Fail after the tool has run: in its turn, and in the one that this is handed over to."""
    if len(broken) < 2:
        broken.append("breaks")
        raise ConnectionError("no model")
    return heard(messages)


fails = Workflow(
    "agents_failing",
    [
        Step(
            name="work",
            agent=Agent("work", scripted([("wipe", {"disk": "sda"})], breaks), tools=[wipe]),
            on_error=OnError.pause,
            max_retries=0,
        ),
        last,
    ],
)


@pytest.mark.parametrize(
    ("answer", "content"),
    [(Retry, f"{WIPED} sda"), (Skip, "last after None")],
    ids=["retry", "skip"],
)
async def test_an_error_after_a_tool(desk: Desk, answer: Any, content: str) -> None:
    """An agent whose turn fails waits where its step says so; tried again it goes on where it was,
    and no tool is called twice.
    """
    broken.clear()
    run = await desk.start(fails, "in")
    await desk.asked(run, "work.1.wipe")
    await desk.resolve(run, *yes("work.1.wipe"))
    output = await desk.asked(run, "work")
    await desk.resolve(run, answer(requirement_id="work"))
    ended = await desk.end(run)

    assert "no model" in str(output.run.error_requirements[0].error_message)
    assert (RunStatus.completed, content) == (ended.status, ended.content)
    assert ["sda"] == done[run]


async def test_cancelled_in_parallel(desk: Desk) -> None:
    """A cancel closes what two agents at once wait for, and neither tool runs."""
    run = await desk.start(PIPELINES["parallel"], "in")
    await desk.asked(run, "both.sda.1.wipe", "both.sdb.1.wipe")
    await desk.client.cancel(run)
    ended = await desk.end(run)

    assert RunStatus.cancelled is ended.status
    assert 2 * ["withdraw"] == [each.action for each in ended.resolutions]
    assert [] == done[run]


@pytest.fixture(scope="module")
async def desk(env: WorkflowEnvironment) -> AsyncIterator[Desk]:
    async with desk_of(env, *PIPELINES.values(), drafts, limited, fails) as made:
        yield made
