"""Each question of each node has a deadline, and does at it what its author wrote (seed 001).

One table: every question that a node may ask, times everything that its deadline may do. All runs
of a column are on their way at once, on one worker, each with a clock of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import pytest
from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Answer,
    Condition,
    Confirm,
    DefinitionError,
    HitlClient,
    HumanReview,
    Loop,
    OnTimeout,
    Parallel,
    Reject,
    Retry,
    Router,
    RunStatus,
    Select,
    Step,
    StepInput,
    Steps,
    UserInputField,
    Workflow,
    WorkflowRunOutput,
)
from temporal_hitl.errors import AlreadyResolved
from temporal_hitl.requirements import AnyRequirement, AnyResolution
from tests.stage import WAIT, ended, new_queue, paused, replay_each, serving, until

WEEK = timedelta(days=7)
BEFORE = timedelta(seconds=5)
"""How long before its deadline a question is answered; a busy machine must not miss it."""
AFTER = timedelta(seconds=1)
AT_ONCE = 24
"""How many clocks are moved at a time, so that none waits long for its turn."""
failed: set[str] = set()
"""The runs in which something has failed once."""


def before() -> str:
    return "before"


def work() -> str:
    return "worked"


def filled_in(step_input: StepInput) -> Any:
    return step_input.additional_data["user_input"]


def last(step_input: StepInput) -> str:
    return f"last after {step_input.previous_step_content}"


def _once_failed(then: Any) -> Any:
    run = activity.info().workflow_id or ""
    if run in failed:
        return then
    failed.add(run)
    raise ValueError("not yet")


def works_then() -> str:
    return _once_failed("worked")


def fails() -> str:
    raise ValueError("never")


def is_so_then() -> bool:
    return _once_failed(True)


def ends_then() -> bool:
    return _once_failed(True)


def chooses() -> list[str]:
    return ["work"]


def chooses_then() -> list[str]:
    return _once_failed(["work"])


INSIDE = Step("work", work)
FORM = [
    UserInputField("why", "str", required=False, value="because"),
    UserInputField("many", "int", required=False),
]


class Ends(NamedTuple):
    """How a run ends."""

    status: str
    content: Any
    steps: list[str]
    events: list[str]
    inner: Sequence[str] = ()
    """What was produced in a node that has not ended."""


CANCELLED = Ends("CANCELLED", None, ["before"], [])
LEFT_OUT = Ends("COMPLETED", "last after before", ["before", "last"], ["node_skipped"])
FAILED = Ends("COMPLETED", "last after before", ["before", "node", "last"], ["node_failed"])


@dataclass(frozen=True)
class Mode:
    """One question of one node: how it is asked and answered, and what its deadline may do."""

    node: Callable[..., Any]
    asks: dict[str, Any]
    answer: Callable[..., AnyResolution] = Confirm
    gives: Any = "worked"
    """What the node gives where it was answered."""
    by_default: Any = "worked"
    """What it gives where the deadline approved; None where it may not."""
    left_out: Ends = LEFT_OUT
    under_way: Sequence[str] = ()
    """What it has produced by the time that it asks, and a run that is cancelled still shows."""

    @property
    def policies(self) -> list[OnTimeout]:
        """What its deadline may do."""
        return [OnTimeout.cancel, OnTimeout.skip, *([OnTimeout.approve] if self.by_default else [])]

    def timed_out(self, on_timeout: OnTimeout) -> Ends:
        """Return how a run ends whose deadline did this."""
        return {
            OnTimeout.cancel: CANCELLED._replace(inner=self.under_way),
            OnTimeout.skip: self.left_out,
            OnTimeout.approve: _approved(self.by_default),
        }[on_timeout]


def _approved(content: Any) -> Ends:
    return Ends("COMPLETED", f"last after {content}", ["before", "node", "last"], [])


def _answer(requirement_id: str) -> Answer:
    return Answer(requirement_id=requirement_id, values={"many": 2})


def _select(requirement_id: str) -> Select:
    return Select(requirement_id=requirement_id, choices=("work",))


def _step(executor: Callable[..., Any], **options: Any) -> Step:
    return Step("node", executor, max_retries=0, **options)


def _steps(**options: Any) -> Steps:
    return Steps("node", steps=[INSIDE], **options)


def _parallel(**options: Any) -> Parallel:
    return Parallel(INSIDE, name="node", **options)


def _condition(evaluator: Any, **options: Any) -> Condition:
    return Condition([INSIDE], evaluator, name="node", max_retries=0, **options)


def _loop(end_condition: Any = None, **options: Any) -> Loop:
    rounds: dict[str, Any] = {"max_iterations": 2, "end_condition": end_condition}
    return Loop([INSIDE], "node", max_retries=0, **rounds, **options)


def _router(selector: Any, **options: Any) -> Router:
    return Router([INSIDE], selector, name="node", max_retries=0, **options)


CONFIRMATION = {"requires_confirmation": True}
FORM_ASKED = {"requires_user_input": True, "user_input_schema": FORM}
ROUTE = {"requires_user_input": True}
OUTPUT_REVIEW = {"requires_output_review": True, "on_reject": "retry"}
ITERATION_REVIEW = {"requires_iteration_review": True, "on_reject": "retry"}
ERROR = {"on_error": "pause"}
IN_PARALLEL = {"work": "worked"}
MODES = {
    "Step confirmed": Mode(partial(_step, work), CONFIRMATION),
    "Steps confirmed": Mode(_steps, CONFIRMATION),
    "Parallel confirmed": Mode(_parallel, CONFIRMATION, gives=IN_PARALLEL, by_default=IN_PARALLEL),
    "Condition confirmed": Mode(partial(_condition, True), CONFIRMATION),
    "Loop confirmed": Mode(_loop, CONFIRMATION),
    "Router confirmed": Mode(partial(_router, chooses), CONFIRMATION),
    "Step filled in": Mode(
        partial(_step, filled_in),
        FORM_ASKED,
        _answer,
        gives={"why": "because", "many": 2},
        by_default={"why": "because", "many": None},
    ),
    "Router chosen": Mode(partial(_router, None), ROUTE, _select, by_default=None),
    "Step reviewed": Mode(partial(_step, work), OUTPUT_REVIEW, under_way=("node",)),
    "Router reviewed": Mode(partial(_router, chooses), OUTPUT_REVIEW, under_way=("node",)),
    "Loop reviewed": Mode(_loop, ITERATION_REVIEW, under_way=("work",)),
    "Step failed": Mode(partial(_step, works_then), ERROR, Retry, by_default=None, left_out=FAILED),
    "Condition failed": Mode(
        partial(_condition, is_so_then), ERROR, Retry, by_default=None, left_out=FAILED
    ),
    "Loop failed": Mode(
        partial(_loop, ends_then),
        ERROR,
        Retry,
        by_default=None,
        left_out=FAILED._replace(content="last after worked"),
        under_way=("work",),
    ),
    "Router failed": Mode(
        partial(_router, chooses_then), ERROR, Retry, by_default=None, left_out=FAILED
    ),
}
ASKED_AGAIN = {
    "Step reviewed again": replace(MODES["Step reviewed"], answer=Reject),
    "Router chosen again": replace(MODES["Router reviewed"], answer=Reject, under_way=()),
    "Loop reviewed again": replace(MODES["Loop reviewed"], answer=Reject),
    "Step failed again": replace(MODES["Step failed"], node=partial(_step, fails)),
}
"""Here the answer is one after which another question is asked."""


class Cell(NamedTuple):
    """A question, what its deadline does, and whether it is strict."""

    name: str
    on_timeout: OnTimeout
    strict: bool = False

    @property
    def mode(self) -> Mode:
        """The question."""
        return (MODES | ASKED_AGAIN)[self.name]

    def pipeline(self) -> Workflow:
        """Return a pipeline that asks nothing else."""
        review = HumanReview(
            **self.mode.asks,
            timeout=WEEK,
            on_timeout=self.on_timeout,
            strict_deadline=self.strict,
        )
        name = f"{self.name} {self.on_timeout}{' strictly' if self.strict else ''}"
        steps = [Step("before", before), self.mode.node(human_review=review), Step("last", last)]
        return Workflow(name.replace(" ", "_").lower(), steps)


def cells_of(modes: dict[str, Mode]) -> list[Cell]:
    """Return a cell for each question and each thing that its deadline may do."""
    return [Cell(name, policy) for name, mode in modes.items() for policy in mode.policies]


CELLS = cells_of(MODES)


@dataclass
class Clock:
    """The clock of one run."""

    env: WorkflowEnvironment
    handle: WorkflowHandle[Any, Any]
    ahead: timedelta = timedelta()
    """Of that on the wall."""

    async def to(self, moment: datetime) -> None:
        """Move it."""
        span = moment - self.ahead - datetime.now(UTC)
        await self.env.fast_forward(self.handle, span)
        self.ahead += span


class Seen(NamedTuple):
    """What is compared of a run: each decision on record, and how it ended."""

    decided: list[tuple[str, str, bool]]
    ends: Ends


def seen(output: WorkflowRunOutput) -> Seen:
    """Return what is compared of a run that has ended."""
    decided = [(each.action, str(each.decided_by), each.late) for each in output.resolutions]
    content = output.content if output.status is RunStatus.completed else None
    steps = [each.step_name or "" for each in output.step_results]
    events = [each.event for each in output.events]
    inner = tuple(each.step_name or "" for each in output.inner_results)
    return Seen(decided, Ends(output.status, content, steps, events, inner))


Act = Callable[[HitlClient, Clock, AnyRequirement, Cell], Awaitable[Seen]]


async def column(
    env: WorkflowEnvironment, cells: Sequence[Cell], act: Act
) -> dict[Cell, Seen | BaseException]:
    """Return what was seen of a run of each cell when `act` was done with it, or what went wrong;
    all runs replay.
    """
    pipelines = {cell: cell.pipeline() for cell in cells}
    turn, handles = asyncio.Semaphore(AT_ONCE), list[WorkflowHandle[Any, Any]]()

    async def one(client: HitlClient, cell: Cell) -> Seen:
        async with turn:
            clock, asked = await open_run(env, client, pipelines[cell])
            handles.append(clock.handle)
            return await act(client, clock, asked, cell)

    async with serving(env, *pipelines.values()) as client:
        runs = [one(client, cell) for cell in cells]
        found = await asyncio.gather(*runs, return_exceptions=True)
    await replay_each(handles, *pipelines.values())
    return dict(zip(cells, found, strict=True))


async def open_run(
    env: WorkflowEnvironment, client: HitlClient, pipeline: Workflow
) -> tuple[Clock, AnyRequirement]:
    """Start a run, and return its clock and what it asks."""
    run = await client.start(pipeline)
    (asked,) = (await paused(client, run)).requirements
    return Clock(env, client.handle(run)), asked


def differences(
    expected: dict[Cell, Seen], found: dict[Cell, Seen | BaseException]
) -> dict[Cell, Any]:
    """Return the cells that are not as expected: what should be, and what is."""
    wrong = [cell for cell in expected if expected[cell] != found[cell]]
    return {cell: (expected[cell], found[cell]) for cell in wrong}


def due(asked: AnyRequirement) -> datetime:
    """Return the deadline of a question that has one."""
    assert asked.deadline is not None
    return asked.deadline


async def test_the_deadline_acts(env: WorkflowEnvironment) -> None:
    """A second after its deadline each question is closed as its author wrote, and who answers it
    is refused and told when.
    """

    async def act(client: HitlClient, clock: Clock, asked: AnyRequirement, cell: Cell) -> Seen:
        await clock.to(due(asked) + AFTER)
        await until(lambda: acted(client, clock))
        with pytest.raises(AlreadyResolved) as refused:
            await client.resolve(clock.handle.id, cell.mode.answer(requirement_id=asked.id))
        output = await ended(client, clock.handle.id)
        when = output.resolutions[0].resolved_at
        told = f"its deadline acted ({cell.on_timeout}) at {when.isoformat(timespec='seconds')}"
        assert told in str(refused.value), cell
        assert timedelta() <= when - due(asked) < AFTER + BEFORE, cell
        return seen(output)

    closed = [("time_out", "timeout", False)]
    expected = {cell: Seen(closed, cell.mode.timed_out(cell.on_timeout)) for cell in CELLS}
    assert {} == differences(expected, await column(env, CELLS, act))


async def acted(client: HitlClient, clock: Clock) -> bool:
    """Return whether a decision is on record: a clock may be ahead of its run."""
    return bool((await client.get(clock.handle.id)).resolutions)


async def test_an_answer_before_the_deadline(env: WorkflowEnvironment) -> None:
    """Seconds before its deadline an answer counts, whatever the deadline would have done."""

    async def act(client: HitlClient, clock: Clock, asked: AnyRequirement, cell: Cell) -> Seen:
        await clock.to(due(asked) - BEFORE)
        answer = cell.mode.answer(requirement_id=asked.id)
        record = await client.resolve(clock.handle.id, answer)
        assert timedelta() < due(asked) - record.resolved_at <= BEFORE, cell
        return seen(await ended(client, clock.handle.id))

    cells = [Cell(name, OnTimeout.cancel) for name in MODES]
    expected = {cell: answered(cell.mode, late=False) for cell in cells}
    assert {} == differences(expected, await column(env, cells, act))


def answered(mode: Mode, *, late: bool) -> Seen:
    """Return what is seen of a run whose question was answered."""
    action = mode.answer(requirement_id="any").action
    return Seen([(action, "human", late)], _approved(mode.gives))


async def test_an_answer_that_is_read_with_the_deadline(env: WorkflowEnvironment) -> None:
    """Where the workers were down, a late answer counts and says so, unless its deadline is strict:
    then it is refused, and the deadline acts.
    """
    cells = [Cell(name, OnTimeout.skip, strict) for name in MODES for strict in (False, True)]
    pipelines, queue = [cell.pipeline() for cell in cells], new_queue()
    async with serving(env, *pipelines, queue=queue) as client:
        runs = await asyncio.gather(*(open_run(env, client, each) for each in pipelines))
    await asyncio.gather(*(miss(*run, cell) for run, cell in zip(runs, cells, strict=True)))
    async with serving(env, *pipelines, queue=queue) as client:
        ends = [await ended(client, clock.handle.id) for clock, _ in runs]
    await replay_each([clock.handle for clock, _ in runs], *pipelines)

    closed = [("time_out", "timeout", False)]
    expected = {
        cell: Seen(closed, cell.mode.left_out) if cell.strict else answered(cell.mode, late=True)
        for cell in cells
    }
    assert {} == differences(expected, dict(zip(cells, map(seen, ends), strict=True)))
    refused = ["strictly" in str(output.refused) for output in ends]
    assert [cell.strict for cell in cells] == refused


async def miss(clock: Clock, asked: AnyRequirement, cell: Cell) -> None:
    """Answer after the deadline, while nobody lives to let it act."""
    await clock.to(due(asked) + AFTER)
    answer = cell.mode.answer(requirement_id=asked.id)
    await clock.handle.signal("resolve", answer.model_dump(mode="json"))


async def test_the_deadline_of_a_question_asked_again(env: WorkflowEnvironment) -> None:
    """Who has it done again has a new question, with as much time for it as for the first one."""

    async def act(client: HitlClient, clock: Clock, asked: AnyRequirement, cell: Cell) -> Seen:
        await clock.to(due(asked) - BEFORE)
        await client.resolve(clock.handle.id, cell.mode.answer(requirement_id=asked.id))
        ids = [asked.id]
        while (output := await client.wait(clock.handle.id, seen=ids, timeout=WAIT)).is_paused:
            (again,) = output.requirements
            assert WEEK == due(again) - again.created_at, cell
            ids.append(again.id)
            assert len(ids) < 4, cell
            await clock.to(due(again) + AFTER)
        assert ids == [each.requirement_id for each in output.resolutions], cell
        return seen(output)

    expected = {
        cell: Seen(closed_again(cell), cell.mode.timed_out(cell.on_timeout))
        for cell in cells_of(ASKED_AGAIN)
    }
    assert {} == differences(expected, await column(env, list(expected), act))


def closed_again(cell: Cell) -> list[tuple[str, str, bool]]:
    """Return how the questions of a run were closed: the first one by a person."""
    # Where nobody chooses the route again its selector does, and what that gives is reviewed.
    both = cell == ("Router chosen again", OnTimeout.approve, False)
    action = cell.mode.answer(requirement_id="any").action
    return [(action, "human", False), *[("time_out", "timeout", False)] * (2 if both else 1)]


@pytest.mark.parametrize("name", [name for name, mode in MODES.items() if not mode.by_default])
def test_where_nothing_could_be_approved(name: str) -> None:
    """A deadline that is to approve what only a person can say is refused where it is written."""
    with pytest.raises(DefinitionError, match="approve"):
        Cell(name, OnTimeout.approve).pipeline()
