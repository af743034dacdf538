"""Whatever a node asks: the question and the answers before it outlive workers and executions.

Each node asks everything that it may, one question after another, so that those before are answered
while the node has not ended.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Answer,
    Condition,
    Confirm,
    Edit,
    HitlClient,
    HumanReview,
    Loop,
    OnReject,
    Parallel,
    Reject,
    Retry,
    Router,
    RunStatus,
    Select,
    Step,
    StepInput,
    StepOutput,
    Steps,
    UserInputField,
    Workflow,
    WorkflowRunOutput,
)
from temporal_hitl.requirements import AnyRequirement, AnyResolution
from tests.processes import running
from tests.processes.worker import ALL, lines, pipelines
from tests.stage import ended, new_queue, replay_all, replay_each, replays, serving, until

WEEK = 7 * 24 * 3600
SOON = timedelta(seconds=2)
"""How long the server waits for what a worker that is gone took, or had cached."""
told: dict[str, list[dict[str, Any]]] = defaultdict(list)
"""What the executor of each run was told beside its input, execution by execution."""
failed: set[str] = set()
answered: set[str] = set()
"""The runs in which nothing is left to ask."""


def work(step_input: StepInput) -> str:
    told[_run()].append(step_input.additional_data)
    return "worked"


def works_then(step_input: StepInput) -> str:
    told[_run()].append(step_input.additional_data)
    return _once_failed("worked")


def is_so_then() -> bool:
    return _once_failed(True)


def goes_on_then() -> bool:
    return _once_failed(False)


def chooses_then() -> list[str]:
    return _once_failed(["work"])


def judge(output: StepOutput) -> bool:
    told[_run()].append({"judged": output.content})
    return True


def last(step_input: StepInput) -> str:
    return f"last after {step_input.get_step_content('node')}"


def beat() -> str:
    return "beat"


def has_no_more() -> bool:
    return _run() in answered


def _run() -> str:
    # Of the run at the top: a child's id is its parent's with a path.
    return (activity.info().workflow_id or "").split(".")[0]


def _once_failed(then: Any) -> Any:
    if _run() in failed:
        return then
    failed.add(_run())
    raise ValueError("not yet")


@dataclass(frozen=True)
class Chain:
    """A node that asks in turn: the answers by the end of the question's id; what comes of it."""

    node: Callable[..., Any]
    answers: dict[str, Callable[..., AnyResolution]]
    told: list[dict[str, Any]]
    content: Any = "worked"


ASKS: dict[str, Any] = {"requires_confirmation": True, "hitl_timeout": WEEK}
INSIDE = Step("work", work, **ASKS)
FORM = [UserInputField("many", "int")]
TWO = {"user_input": {"many": 2}}
AGAIN = {"rejection_feedback": "longer", "previous_output": "worked"}
JUDGED = {"judged": "worked"}
_longer = partial(Reject, feedback="longer")
_two = partial(Answer, values={"many": 2})
_edited = partial(Edit, output="edited")
_work = partial(Select, choices=("work",))
EVERYTHING = HumanReview(
    requires_confirmation=True,
    requires_user_input=True,
    user_input_schema=FORM,
    requires_output_review=True,
    on_reject=OnReject.retry,
    on_error="pause",
    timeout=WEEK,
)
OF_EVERYTHING = {"": Confirm, "~2": _two, "~3": Retry, "~4": _longer, "~5": _edited}


def _inner() -> Workflow:
    return Workflow("inner", [Step("work", works_then, max_retries=0, on_error="fail")])


CHAINS = {
    "step": Chain(
        lambda: Step("node", works_then, max_retries=0, human_review=EVERYTHING),
        OF_EVERYTHING,
        [TWO, TWO, TWO | AGAIN],
        "edited",
    ),
    "pipeline": Chain(
        lambda: Step("node", workflow=_inner(), human_review=EVERYTHING),
        OF_EVERYTHING,
        [TWO, TWO, TWO | AGAIN],
        "edited",
    ),
    "router": Chain(
        lambda: Router(
            [INSIDE],
            name="node",
            requires_user_input=True,
            requires_output_review=True,
            on_reject=OnReject.retry,
            **ASKS,
        ),
        {
            "": Confirm,
            "~2": _work,
            ".work": Confirm,
            "~3": _longer,
            "~4": _work,
            ".work~2": Confirm,
            "~5": Confirm,
        },
        [{}, AGAIN],
    ),
    "router that selects": Chain(
        lambda: Router(
            [INSIDE],
            chooses_then,
            name="node",
            max_retries=0,
            on_error="pause",
            requires_output_review=True,
            on_reject=OnReject.retry,
        ),
        {
            "": Retry,
            ".work": Confirm,
            "~2": _longer,
            "~3": _work,
            ".work~2": Confirm,
            "~4": Confirm,
        },
        [{}, AGAIN],
    ),
    "judge": Chain(
        lambda: Step("node", work, requires_output_review=judge, on_reject=OnReject.retry),
        {"": _longer, "~2": Confirm},
        [{}, JUDGED, AGAIN, JUDGED],
    ),
    "loop": Chain(
        lambda: Loop(
            [INSIDE],
            "node",
            end_condition=goes_on_then,
            max_retries=0,
            on_error="pause",
            requires_iteration_review=True,
            on_reject=OnReject.retry,
            **ASKS,
        ),
        {
            "": Confirm,
            ".1.work": Confirm,
            ".1": Retry,
            ".1~2": _longer,
            ".2.work": Confirm,
            ".2": Confirm,
        },
        [{}, AGAIN],
    ),
    "condition": Chain(
        lambda: Condition(
            [INSIDE], is_so_then, name="node", max_retries=0, on_error="pause", **ASKS
        ),
        {"": Confirm, "~2": Retry, ".work": Confirm},
        [{}],
    ),
    "steps": Chain(
        lambda: Steps("node", steps=[INSIDE], **ASKS), {"": Confirm, ".work": Confirm}, [{}]
    ),
    "parallel": Chain(
        lambda: Parallel(INSIDE, name="node", **ASKS),
        {"": Confirm, ".work": Confirm},
        [{}],
        {"work": "worked"},
    ),
}


async def question(client: HitlClient, run: str, key: str) -> AnyRequirement:
    """Return the question `key`, once it is open."""

    async def there() -> AnyRequirement | None:
        found = [each for each in (await client.get(run)).requirements if each.id == key]
        return found[0] if found else None

    return await until(there, every=0.05)


def check(chain: Chain, run: str, output: WorkflowRunOutput, ids: list[str]) -> None:
    """Assert that each answer counted once, and each execution was told what it should be."""
    assert ids == [each.requirement_id for each in output.resolutions], run
    assert {"human"} == {each.decided_by for each in output.resolutions}, run
    assert chain.told == told[run], run
    assert (RunStatus.completed, f"last after {chain.content}") == (output.status, output.content)


async def test_its_worker_goes_at_every_question(env: WorkflowEnvironment) -> None:
    """Another worker asks the same, and goes on from the answers that it never saw."""
    definitions = {name: pipeline(name, each.node()) for name, each in CHAINS.items()}
    runs = dict[str, str]()
    options: dict[str, Any] = {"queue": new_queue(), "sticky_queue_schedule_to_start_timeout": SOON}
    async with serving(env, *definitions.values(), **options) as client:
        for name, definition in definitions.items():
            runs[name] = await client.start(definition)
        before = await questions(client, runs, 0)
    for turn in range(max(len(each.answers) for each in CHAINS.values())):
        async with serving(env, *definitions.values(), **options) as client:
            assert before == await questions(client, runs, turn)
            for name, asked in before.items():
                await give(client, runs[name], asked, list(CHAINS[name].answers.values())[turn])
            before = await questions(client, runs, turn + 1)
    async with serving(env, *definitions.values(), **options) as client:
        for name, run in runs.items():
            ids = [f"node{each}" for each in CHAINS[name].answers]
            check(CHAINS[name], run, await ended(client, run), ids)
        await replay_each(map(client.handle, runs.values()), *definitions.values())


def pipeline(name: str, node: Any) -> Workflow:
    """Return a pipeline with a step before and after `node`."""
    return Workflow(name.replace(" ", "_"), [Step("first", beat), node, Step("last", last)])


async def give(
    client: HitlClient, run: str, asked: AnyRequirement, answer: Callable[..., AnyResolution]
) -> None:
    """Answer a question, as it was seen before."""
    await client.resolve(run, answer(requirement_id=asked.id, digest=asked.digest))


async def questions(
    client: HitlClient, runs: dict[str, str], turn: int
) -> dict[str, AnyRequirement]:
    """Return what the runs ask that have so many questions, once they ask it."""
    ids = {name: list(CHAINS[name].answers) for name in runs}
    return {
        name: await question(client, run, f"node{ids[name][turn]}")
        for name, run in runs.items()
        if turn < len(ids[name])
    }


async def test_its_worker_is_killed(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """Killed while the second output of a step is reviewed: it is not made a third time."""
    client, ledger = HitlClient(env.client, task_queue=new_queue()), tmp_path / "ledger"
    served = (env.client.service_client.config.target_host, client.task_queue, ledger)
    with env.with_time_skipping_disabled():
        async with running("tests.processes.worker", *served) as worker:
            run = await client.start("reviewed", "data", task_timeout=SOON)
            await give(client, run, await question(client, run, "process"), Confirm)
            await give(client, run, await question(client, run, "process~2"), _longer)
            before = await question(client, run, "process~3")
            await worker.killed()
        async with running("tests.processes.worker", *served):
            assert before == await question(client, run, "process~3")
            await give(client, run, before, Confirm)
            output = await ended(client, run)
    await replays(client.handle(run), *pipelines(ledger))

    ids = ["process", "process~2", "process~3"]
    assert ids == [each.requirement_id for each in output.resolutions]
    assert [*ALL[:4], *ALL[2:]] == lines(ledger)
    assert "data load process save" == output.content


@pytest.mark.slow
async def test_its_run_continues_as_new_at_every_question(short: WorkflowEnvironment) -> None:
    """What is open goes along as it is, and so do the answers of a node that has not ended."""
    definitions = {name: beside(name, chain) for name, chain in CHAINS.items()}
    async with serving(short, *definitions.values()) as client:
        runs = {name: await client.start(each) for name, each in definitions.items()}
        walks = [through(client, runs[name], chain) for name, chain in CHAINS.items()]
        outputs = dict(zip(CHAINS, await asyncio.gather(*walks), strict=True))
        for name, run in runs.items():
            chain = CHAINS[name]
            check(chain, run, outputs[name], [f"all.node{each}" for each in chain.answers])
            assert len(chain.answers) < await replay_all(short, run, definitions[name])


def beside(name: str, chain: Chain) -> Workflow:
    """Return a pipeline that has something to do until its node has nothing left to ask."""
    loop = Loop([Step("beat", beat)], "beats", max_iterations=1000, end_condition=has_no_more)
    return pipeline(name, Parallel(chain.node(), loop, name="all"))


async def through(client: HitlClient, run: str, chain: Chain) -> WorkflowRunOutput:
    """Answer each question in a later execution than that which asked it."""
    for end, answer in chain.answers.items():
        before = await question(client, run, f"all.node{end}")
        await another(client, run)
        assert before == await question(client, run, before.id)
        await give(client, run, before, answer)
    answered.add(run)
    return await ended(client, run)


async def another(client: HitlClient, run: str) -> None:
    """Return once the run has continued as a new execution."""
    first = (await client.handle(run).describe()).run_id

    async def there() -> bool:
        return first != (await client.handle(run).describe()).run_id

    await until(there, every=0.05)
