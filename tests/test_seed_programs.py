"""The seeds' own programs run as they are printed, with only their imports changed (design 7)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FUNCTIONS = """
from agno.workflow.types import StepInput, StepOutput

def fetch(step_input: StepInput) -> StepOutput:
    return StepOutput(content=f"rows for {step_input.input}")

def process(step_input):
    return f"processed {step_input.previous_step_content}"

def save(step_input: StepInput) -> str:
    return f"saved {step_input.previous_step_content}"
"""

DATA_PIPELINE = """
from agno.workflow import Workflow, OnReject
from agno.workflow.step import Step
from agno.db.sqlite import SqliteDb

workflow = Workflow(
    name="data_pipeline",
    db=SqliteDb(db_file="workflow.db"),  # Required for HITL
    steps=[
        Step(name="fetch_data", executor=fetch),
        Step(
            name="process_data",
            executor=process,
            requires_confirmation=True,
            confirmation_message="Process sensitive data?",
            on_reject=OnReject.skip,
        ),
        Step(name="save_results", executor=save),
    ],
)

run_output = workflow.run("Process user data")

if run_output.is_paused:
    for req in run_output.steps_requiring_confirmation:
        print(req.step_name, req.confirmation_message)
        req.confirm()  # or req.reject()
    run_output = workflow.continue_run(run_output)

print(run_output.content)
"""

LOOP = """
from agno.workflow import Workflow
from agno.workflow.loop import Loop
from agno.workflow.step import Step
from agno.workflow.types import StepInput, StepOutput
from agno.db.sqlite import SqliteDb

def prepare_data(step_input: StepInput) -> StepOutput:
    return StepOutput(content="prepared")

def refine_analysis(step_input: StepInput) -> StepOutput:
    print("refine", step_input.iteration)
    return StepOutput(content="Iteration complete: Quality improved")

def finalize_results(step_input: StepInput) -> StepOutput:
    return StepOutput(content=f"final: {step_input.previous_step_content}")

def improve_quality(step_input: StepInput) -> StepOutput:
    print("improve", step_input.iteration)
    return StepOutput(content="improved")

def check_quality(step_input: StepInput, iteration: int) -> bool:
    # Continue if quality threshold not met
    return iteration < 3  # Example: max 3 iterations

workflow = Workflow(
    name="refinement_workflow",
    db=SqliteDb(db_file="workflow.db"),
    steps=[
        Step(name="prepare", executor=prepare_data),
        Loop(
            name="refinement_loop",
            steps=[Step(name="refine", executor=refine_analysis)],
            max_iterations=5,
        ),
        Loop(
            name="quality_loop",
            steps=[Step(name="improve", executor=improve_quality)],
            should_continue=check_quality,
            max_iterations=5,
        ),
        Step(name="finalize", executor=finalize_results),
    ],
)

run_output = workflow.run("Process data")

if run_output.is_paused:
    raise SystemExit("nobody was to be asked")

print(run_output.content)
"""


def ours(program: str) -> str:
    """Return a seed's program with every `from agno.... import X` reading `from temporal_hitl
    import X`.
    """
    return re.sub(r"from agno[\w.]* import", "from temporal_hitl import", program)


def printed(program: str, folder: Path) -> list[str]:
    """Run a program in a process and a folder of its own, warnings as errors, and return what it
    prints.
    """
    settings = {key: value for key, value in os.environ.items() if not key.startswith("TEMPORAL")}
    root = str(Path(__file__).parent.parent)
    settings |= {"PYTHONPATH": root, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    file = folder / "program.py"
    file.write_text(ours(program))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(file)],
        cwd=folder,
        env=settings,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("no Temporal server is configured") == 1
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        ("req.confirm()", "saved processed rows for Process user data"),
        ("req.reject()", "saved rows for Process user data"),
    ],
    ids=["confirm", "reject"],
)
def test_the_data_pipeline(tmp_path: Path, answer: str, content: str) -> None:
    """Seed 002's first program pauses before `process_data`, and goes on as its reader answers."""
    program = FUNCTIONS + DATA_PIPELINE.replace("req.confirm()  #", f"{answer}  #")
    told = printed(program, tmp_path)

    assert told == ["process_data Process sensitive data?", content]
    assert (tmp_path / "workflow.db").exists()


def test_the_refinement_loop(tmp_path: Path) -> None:
    """Seed 000's loops without their gate run to their limit and until `should_continue` says
    no.
    """
    told = printed(LOOP, tmp_path)

    assert [f"refine {number}" for number in range(1, 6)] == told[:5]
    assert [f"improve {number}" for number in range(1, 4)] == told[5:8]
    assert told[8:] == ["final: improved"]
