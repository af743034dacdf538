"""The loops of seeds 000 (flat keywords) and 001 (`HumanReview`) do what they say; see
`tests/seeds.py`.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import OnTimeout, RunStatus
from tests.seeds import DEFINE, GO_ON, RUN, Play, around, cells_in, paths
from tests.stage import ended, paused, replays, serving

PREPARE = """
from agno.workflow.types import StepInput, StepOutput

def prepare_data(step_input: StepInput) -> StepOutput:
    return StepOutput(content="prepared")

def finalize_results(step_input: StepInput) -> StepOutput:
    return StepOutput(content=f"final: {step_input.previous_step_content}")
"""

LOOP = """
from agno.workflow import Workflow
from agno.workflow.loop import Loop
from agno.workflow.step import Step
from agno.workflow.types import StepInput, StepOutput
from agno.db.sqlite import SqliteDb

def refine_analysis(step_input: StepInput) -> StepOutput:
    return StepOutput(content="Iteration complete: Quality improved")

workflow = Workflow(
    name="refinement_workflow",
    db=SqliteDb(db_file="workflow.db"),
    steps=[
        Step(name="prepare", executor=prepare_data),
        Loop(
            name="refinement_loop",
            steps=[Step(name="refine", executor=refine_analysis)],
            max_iterations=5,
            requires_confirmation=True,
            confirmation_message="Start refinement loop? (up to 5 iterations)",
        ),
        Step(name="finalize", executor=finalize_results),
    ],
)

run_output = workflow.run("Process data")

if run_output.is_paused:
    for req in run_output.steps_requiring_confirmation:
        print(f"Loop: {req.step_name}")
        print(f"Message: {req.confirmation_message}")

        if input("Start loop? (y/n): ").lower() == "y":
            req.confirm()
            print("Starting loop")
        else:
            req.reject()
            print("Skipping loop")

    run_output = workflow.continue_run(run_output)

print(run_output.content)
"""

LOOP_HUMAN_REVIEW = """
from agno.workflow import Workflow
from agno.workflow.loop import Loop
from agno.workflow.step import Step
from agno.workflow.types import HumanReview, StepInput, StepOutput
from agno.db.sqlite import SqliteDb
def refine_analysis(step_input: StepInput) -> StepOutput:
    return StepOutput(content="Iteration complete: Quality improved")
workflow = Workflow(
    name="refinement_workflow",
    db=SqliteDb(db_file="workflow.db"),
    steps=[
        Step(name="prepare", executor=prepare_data),
        Loop(
            name="refinement_loop",
            steps=[Step(name="refine", executor=refine_analysis)],
            max_iterations=5,
            human_review=HumanReview(
                requires_confirmation=True,
                confirmation_message="Start refinement loop? (up to 5 iterations)",
            ),
        ),
        Step(name="finalize", executor=finalize_results),
    ],
)
run_output = workflow.run("Process data")
if run_output.is_paused:
    for req in run_output.steps_requiring_confirmation:
        print(f"Loop: {req.step_name}")
        print(f"Message: {req.confirmation_message}")
        if input("Start loop? (y/n): ").lower() == "y":
            req.confirm()
            print("Starting loop")
        else:
            req.reject()
            print("Skipping loop")
    run_output = workflow.continue_run(run_output)
print(run_output.content)
"""

BOTH_LOOPS = pytest.mark.parametrize("loop", [LOOP, LOOP_HUMAN_REVIEW], ids=["000", "001"])
ASKED = ["Loop: refinement_loop", "Message: Start refinement loop? (up to 5 iterations)"]


@BOTH_LOOPS
def test_a_loop_that_is_started(play: Play, loop: str) -> None:
    """The loops of seeds 000 and 001 ask once, and then run to their limit."""
    played = play(PREPARE, loop, typed=["Y"])

    content = "final: Iteration complete: Quality improved"
    assert [*ASKED, "Start loop? (y/n): Y", "Starting loop", content] == played.told
    refined = ["refinement_loop", "refinement_loop.5.refine"]
    assert ["prepare", *refined, "finalize"] == paths(played.run_output)
    assert [("refinement_loop", "confirm")] == played.decided


@BOTH_LOOPS
def test_a_loop_that_is_not_started(play: Play, loop: str) -> None:
    """The loops of seeds 000 and 001 are skipped where they are rejected, and the run goes on."""
    played = play(PREPARE, loop, typed=["n"])

    assert [*ASKED, "Start loop? (y/n): n", "Skipping loop", "final: prepared"] == played.told
    assert ["prepare", "finalize"] == paths(played.run_output)


QUALITY = (
    around("quality_workflow")
    + """
def improve_quality(step_input: StepInput) -> StepOutput:
    return StepOutput(content=f"improved {step_input.iteration} times")
"""
)

SHOULD_CONTINUE = """
def check_quality(step_input: StepInput, iteration: int) -> bool:
    # Continue if quality threshold not met
    return iteration < 3  # Example: max 3 iterations

Loop(
    name="quality_loop",
    steps=[Step(name="improve", executor=improve_quality)],
    should_continue=check_quality,
    requires_confirmation=True,
    confirmation_message="Start quality improvement loop?",
)
"""

SHOULD_CONTINUE_HUMAN_REVIEW = """
def check_quality(step_input: StepInput, iteration: int) -> bool:
    return iteration < 3
Loop(
    name="quality_loop",
    steps=[Step(name="improve", executor=improve_quality)],
    should_continue=check_quality,
    human_review=HumanReview(
        requires_confirmation=True,
        confirmation_message="Start quality improvement loop?",
    ),
)
"""

CONFIRM = """
for req in run_output.steps_requiring_confirmation:
    print(req.step_name, req.confirmation_message)
    req.confirm()
"""


@pytest.mark.parametrize("wanted", [3, 2, 1])
@pytest.mark.parametrize(
    "loop", [SHOULD_CONTINUE, SHOULD_CONTINUE_HUMAN_REVIEW], ids=["000", "001"]
)
def test_should_continue(play: Play, loop: str, wanted: int) -> None:
    """The loops of seeds 000 and 001 ask once, and end when `should_continue` says no: as printed
    after three iterations, and after fewer where it says no before.
    """
    loop = loop.replace("iteration < 3", f"iteration < {wanted}")
    played = play(QUALITY, loop, RUN, CONFIRM, GO_ON)

    asked = "quality_loop Start quality improvement loop?"
    assert [asked, f"finished: improved {wanted} times"] == played.told
    assert f"quality_loop.{wanted}.improve" in paths(played.run_output)


STREAM = """
from agno.run.workflow import StepPausedEvent

for event in workflow.run("input", stream=True, stream_events=True):
    if isinstance(event, StepPausedEvent):
        print(f"Paused at: {event.step_name}")

session = workflow.get_session()
run_output = session.runs[-1]

while run_output.is_paused:
    for req in run_output.steps_requiring_confirmation:
        req.confirm()

    for event in workflow.continue_run(run_output, stream=True, stream_events=True):
        pass

    session = workflow.get_session()
    run_output = session.runs[-1]
"""


@BOTH_LOOPS
def test_a_streamed_loop(play: Play, loop: str) -> None:
    """After the program before it, the stream of seeds 000 and 001 tells where it paused, and what
    it confirms runs to its end.
    """
    played = play(PREPARE, loop, STREAM, typed=["n"])

    assert "Paused at: refinement_loop" == played.told[-1]
    assert "final: Iteration complete: Quality improved" == played.content
    assert RunStatus.completed is played.run_output.status
    assert ["Process data", "input"] == [each.input for each in played.names["session"].runs]


# Seed 001: iteration review

AGENTS = """
def OpenAIChat(id):
    return id

def Agent(name, model, instructions):
    def refine(step_input):
        told = step_input.additional_data
        draft = told.get("previous_output", step_input.input)
        return f"{draft} [{told.get('rejection_feedback', 'no feedback')}]"
    return refine
"""

ITERATION_REVIEW = """
from agno.workflow import Workflow, OnReject
from agno.workflow.loop import Loop
from agno.workflow.step import Step
from agno.workflow.types import HumanReview
from agno.db.sqlite import SqliteDb
refine_agent = Agent(
    name="Refiner",
    model=OpenAIChat(id="gpt-4o-mini"),
    instructions=(
        "You refine and improve text. If the reviewer provides feedback, "
        "incorporate it. Return only the improved text."
    ),
)
workflow = Workflow(
    name="iterative_refinement",
    db=SqliteDb(db_file="workflow.db"),
    steps=[
        Loop(
            name="refinement_loop",
            steps=[Step(name="refine", agent=refine_agent)],
            max_iterations=5,
            forward_iteration_output=True,
            human_review=HumanReview(
                requires_iteration_review=True,
                iteration_review_message="Review this iteration.",
                on_reject=OnReject.retry,
            ),
        ),
    ],
)
run_output = workflow.run("Improve this paragraph...")
while run_output.is_paused:
    for req in run_output.steps_requiring_output_review:
        print(req.step_output.content)
        choice = input("Accept? (yes/no): ").strip().lower()
        if choice in ("yes", "y"):
            req.confirm()
        else:
            feedback = input("Feedback: ").strip()
            if feedback:
                req.reject(feedback=feedback)
            else:
                req.reject()
    run_output = workflow.continue_run(run_output)
"""


def test_iteration_review(play: Play) -> None:
    """Seed 001's agent is given the feedback on what it wrote and that itself, until a person
    accepts; what was accepted is the run's content.
    """
    typed = ["no", "Shorter.", "no", "", " YES "]
    played = play(AGENTS, ITERATION_REVIEW, typed=typed)

    first = "Improve this paragraph... [no feedback]"
    second = f"{first} [Shorter.]"
    third = f"{second} [no feedback]"
    expected = [first, "Accept? (yes/no): no", "Feedback: Shorter."]
    expected += [second, "Accept? (yes/no): no", "Feedback: "]
    expected += [third, "Accept? (yes/no):  YES "]
    assert expected == played.told
    assert (RunStatus.completed, third) == (played.run_output.status, played.content)
    decided = [(each.action, each.feedback) for each in played.run_output.resolutions]
    assert [("reject", "Shorter."), ("reject", None), ("confirm", None)] == decided


def test_every_iteration_is_rejected(play: Play) -> None:
    """Seed 001's loop ends with its fifth iteration, of which nothing is kept where it is rejected
    too.
    """
    played = play(AGENTS, ITERATION_REVIEW, typed=["no", "Again."] * 5)

    assert (RunStatus.completed, None) == (played.run_output.status, played.content)
    assert [(f"refinement_loop.{number}", "reject") for number in range(1, 6)] == played.decided


GENERATE = (
    around("timed_review")
    + """
def generate_fn(step_input: StepInput) -> StepOutput:
    return StepOutput(content=f"draft {step_input.iteration}")
"""
)

TIMEOUT = """
from agno.workflow import OnTimeout
Loop(
    name="review_loop",
    steps=[Step(name="generate", executor=generate_fn)],
    max_iterations=3,
    human_review=HumanReview(
        requires_iteration_review=True,
        iteration_review_message="Review this iteration.",
        on_reject=OnReject.retry,
        timeout=120,  # 2 minutes per pause
        on_timeout=OnTimeout.approve,
    ),
)
"""


async def test_timeout(env: WorkflowEnvironment, tmp_path: Path) -> None:
    """Seed 001's loop waits two minutes for a reviewer and not longer: it then keeps the iteration
    that was to be reviewed.
    """
    workflow = cells_in(tmp_path, [GENERATE, TIMEOUT, DEFINE], str)["workflow"]
    async with serving(env, workflow) as client:
        run = await client.start(workflow)
        (asked,) = (await paused(client, run)).requirements
        await env.fast_forward(client.handle(run), timedelta(seconds=125))
        output = await ended(client, run)
        await replays(client.handle(run), workflow)

    assert asked.created_at + timedelta(minutes=2) == asked.deadline
    assert asked.message.startswith("Review this iteration.")
    assert OnTimeout.approve is asked.on_timeout
    assert ["timeout"] == [each.decided_by for each in output.resolutions]
    assert (RunStatus.completed, "finished: draft 1") == (output.status, output.content)
