"""The programs of seed 002, one for each way that a person comes in, do what they say; see
`tests/seeds.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from temporal_hitl import RunStatus
from tests.seeds import GO_ON, RUN, Play, around, cells_in, ours, paths

FUNCTIONS = """
from agno.workflow.types import StepInput, StepOutput

def fetch_agent(step_input: StepInput) -> StepOutput:
    return StepOutput(content=f"rows for {step_input.input}")

def process_agent(step_input):
    return f"processed {step_input.previous_step_content}"

def save_agent(step_input: StepInput) -> str:
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
        Step(name="fetch_data", agent=fetch_agent),
        Step(
            name="process_data",
            agent=process_agent,
            requires_confirmation=True,
            confirmation_message="Process sensitive data?",
            on_reject=OnReject.skip,
        ),
        Step(name="save_results", agent=save_agent),
    ],
)

run_output = workflow.run("Process user data")

if run_output.is_paused:
    for req in run_output.steps_requiring_confirmation:
        req.confirm()  # or req.reject()
    run_output = workflow.continue_run(run_output)
"""

SHOW = """
print(run_output.content)
"""


def test_the_data_pipeline_in_a_process(tmp_path: Path) -> None:
    """Seed 002's first program, as a file in a folder of its own and without a server, starts one
    there, says so once, pauses, goes on, and leaves without a sound.
    """
    settings = {key: value for key, value in os.environ.items() if not key.startswith("TEMPORAL")}
    root = str(Path(__file__).parent.parent)
    settings |= {"PYTHONPATH": root, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    file = tmp_path / "program.py"
    file.write_text(ours(FUNCTIONS + DATA_PIPELINE + SHOW))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(file)],
        cwd=tmp_path,
        env=settings,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (0, "saved processed rows for Process user data\n") == (done.returncode, done.stdout), (
        done.stderr
    )
    assert 1 == done.stderr.count("no Temporal server is configured")
    assert "Traceback" not in done.stderr
    assert (tmp_path / "workflow.db").exists()


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        ("req.confirm()", "saved processed rows for Process user data"),
        ("req.reject()", "saved rows for Process user data"),
    ],
    ids=["confirm", "reject"],
)
def test_the_data_pipeline(play: Play, answer: str, content: str) -> None:
    """Seed 002's first program pauses before `process_data`, and goes on as its reader answers."""
    played = play(FUNCTIONS, DATA_PIPELINE.replace("req.confirm()  #", f"{answer}  #"), SHOW)

    assert [content] == played.told
    req = played.names["req"]
    assert ("process_data", "Process sensitive data?") == (req.step_name, req.confirmation_message)


DATABASES = """
from agno.db.sqlite import SqliteDb
from agno.db.postgres import PostgresDb

# SQLite for development
workflow = Workflow(db=SqliteDb(db_file="workflow.db"), ...)

# PostgreSQL for production
workflow = Workflow(db=PostgresDb(db_url="postgresql://..."), ...)
"""


def test_databases(tmp_path: Path) -> None:
    """A definition may name either of seed 002's databases; nothing is connected before it runs."""
    filled = DATABASES.replace(", ...)", ', name="stored", steps=[prepare])')
    workflow = cells_in(tmp_path, [around("stored"), filled], str)["workflow"]

    assert "postgresql://..." == workflow.db.db_url
    assert ["prepare"] == [each.slug for each in workflow.plan.children]


DELETE = (
    around("deletion")
    + """
def delete_agent(step_input: StepInput) -> str:
    return "deleted"
"""
)

CONFIRMATION = """
Step(
    name="delete_records",
    agent=delete_agent,
    requires_confirmation=True,
    confirmation_message="Delete 1000 records?",
    on_reject=OnReject.skip,  # cancel | skip (default)
)
"""

USER_APPROVES = """
for req in run_output.steps_requiring_confirmation:
    print(req.confirmation_message)
    if user_approves():
        req.confirm()
    else:
        req.reject()
"""


@pytest.mark.parametrize(
    ("approves", "on_reject", "status", "content"),
    [
        (True, "skip", RunStatus.completed, "finished: deleted"),
        (False, "skip", RunStatus.completed, "finished: prepared"),
        (True, "cancel", RunStatus.completed, "finished: deleted"),
        (False, "cancel", RunStatus.cancelled, "prepared"),
    ],
)
def test_confirmation(
    play: Play, approves: bool, on_reject: str, status: RunStatus, content: str
) -> None:
    """Seed 002's question before a deletion: yes deletes; no skips the step, or ends the run."""
    step = CONFIRMATION.replace("OnReject.skip", f"OnReject.{on_reject}")
    user = f"def user_approves(): return {approves}"
    played = play(DELETE, user, step, RUN, USER_APPROVES, GO_ON)

    assert ["Delete 1000 records?", content] == played.told
    assert status is played.run_output.status


REPORT = (
    around("reporting")
    + """
import json

def report_agent(step_input: StepInput) -> str:
    return json.dumps(step_input.additional_data["user_input"], sort_keys=True)
"""
)

USER_INPUT = """
from agno.workflow.types import UserInputField

Step(
    name="generate_report",
    agent=report_agent,
    requires_user_input=True,
    user_input_message="Configure report settings:",
    user_input_schema=[
        UserInputField(name="format", field_type="str", required=True),
        UserInputField(name="include_charts", field_type="bool", required=False),
    ],
)
"""

SET_USER_INPUT = """
for req in run_output.steps_requiring_user_input:
    print(req.user_input_message)
    for field in req.user_input_schema:
        value = get_user_value(field.name, field.field_type)
        req.set_user_input(**{field.name: value})
"""


@pytest.mark.parametrize("charts", [True, False, None])
def test_user_input(play: Play, charts: bool | None) -> None:
    """Seed 002's form is filled in field by field, and its values are the step's
    `additional_data["user_input"]`; an optional one may be None.
    """
    user = f"""
def get_user_value(name, field_type):
    print(name, field_type)
    return {{"format": "pdf", "include_charts": {charts}}}[name]
"""
    played = play(REPORT, user, USER_INPUT, RUN, SET_USER_INPUT, GO_ON)

    fields = ["Configure report settings:", "format str", "include_charts bool"]
    shown = {True: "true", False: "false", None: "null"}[charts]
    report = f'finished: {{"format": "pdf", "include_charts": {shown}}}'
    assert [*fields, report] == played.told


ANALYSES = (
    around("analysis")
    + """
def quick(step_input: StepInput) -> str:
    return f"{step_input.previous_step_content}, quickly"

def deep(step_input: StepInput) -> str:
    return f"{step_input.previous_step_content}, deeply"
"""
)

ROUTER = """
from agno.workflow.router import Router

Router(
    name="analysis_router",
    choices=[
        Step(name="quick_analysis", ...),
        Step(name="deep_analysis", ...),
    ],
    requires_user_input=True,
    user_input_message="Select analysis type:",
    allow_multiple_selections=False,
)
"""
ANALYSIS_ROUTER = ROUTER.replace('"quick_analysis", ...', '"quick_analysis", executor=quick')
ANALYSIS_ROUTER = ANALYSIS_ROUTER.replace('"deep_analysis", ...', '"deep_analysis", executor=deep')

SELECT = """
for req in run_output.steps_requiring_route:
    print(req.available_choices)  # ["quick_analysis", "deep_analysis"]
    req.select("deep_analysis")
    # or req.select_multiple(["quick_analysis", "deep_analysis"])
"""


def test_route_selection(play: Play) -> None:
    """Seed 002's router offers its choices, and runs the one that is selected and no other."""
    played = play(ANALYSES, ANALYSIS_ROUTER, RUN, SELECT, GO_ON)

    choices = "['quick_analysis', 'deep_analysis']"
    assert [choices, "finished: prepared, deeply"] == played.told
    selected = ["analysis_router", "analysis_router.deep_analysis"]
    assert ["prepare", *selected, "finish"] == paths(played.run_output)
    assert "Select analysis type:" == played.names["req"].user_input_message
    assert [("analysis_router", "select")] == played.decided


def test_route_selection_of_several(play: Play) -> None:
    """Where several may be selected, seed 002's other line runs them one after another."""
    router = ANALYSIS_ROUTER.replace("selections=False", "selections=True")
    other = SELECT.replace("# or ", "").replace('req.select("deep_analysis")', "")
    played = play(ANALYSES, router, RUN, other, GO_ON)

    assert "finished: prepared, quickly, deeply" == played.told[-1]


API_CALL = (
    around("api_calls")
    + """
from temporalio.exceptions import ApplicationError

called = []

def unreliable_function(step_input: StepInput) -> str:
    called.append(step_input)
    if len(called) <= FAILURES:
        raise ApplicationError(f"no answer to call {len(called)}", non_retryable=True)
    return "answered"
"""
)

ERROR_HANDLING = """
from agno.workflow import OnError

Step(
    name="api_call",
    executor=unreliable_function,
    on_error=OnError.pause,  # fail | skip(default) | pause
)
"""

RETRY_OR_SKIP = """
for req in run_output.steps_with_errors:
    print(f"Error: {req.error_message}")
    if should_retry():
        req.retry()
    else:
        req.skip()
"""


def retries(failures: int, answers: list[bool]) -> str:
    """Return the cell that says how often a call fails, and what its reader answers."""
    return f"FAILURES, should_retry = {failures}, iter({answers}).__next__"


def test_error_handling(play: Play) -> None:
    """A call that failed is made again where seed 002's reader says retry, and the run goes on with
    its answer.
    """
    again = retries(2, [True, True])
    played = play(API_CALL, again, ERROR_HANDLING, RUN, *[RETRY_OR_SKIP, GO_ON] * 2)

    first, waiting, second, content = played.told
    assert "no answer to call 1" in first and first.startswith("Error: ")
    assert "no answer to call 2" in second and "prepared" == waiting
    assert ("finished: answered", []) == (content, played.run_output.failed_steps)
    assert [("api_call", "retry"), ("api_call~2", "retry")] == played.decided


def test_error_handling_gives_up(play: Play) -> None:
    """Where seed 002's reader says skip, the run goes on without the step, which stays visible as
    failed.
    """
    played = play(API_CALL, retries(1, [False]), ERROR_HANDLING, RUN, RETRY_OR_SKIP, GO_ON)

    assert "finished: prepared" == played.told[-1]
    assert ["api_call"] == [each.path for each in played.run_output.failed_steps]
    assert RunStatus.completed is played.run_output.status


STREAMING = """
for event in workflow.run("input", stream=True, stream_events=True):
    if isinstance(event, StepPausedEvent):
        # Handle pause
        pass

session = workflow.get_session()
run_output = session.runs[-1]

if run_output.is_paused:
    # Handle requirements
    workflow.continue_run(run_output, stream=True, stream_events=True)
"""

HANDLE_PAUSE = 'print("paused at", event.step_name, event.confirmation_message)'
HANDLE_REQUIREMENTS = """
    for req in run_output.steps_requiring_confirmation:
        req.confirm()"""
FOLLOW = """
for event in workflow.continue_run(run_id=run_output.run_id, stream=True):
    pass
run_output = workflow.get_session().runs[-1]
print(run_output.content)
"""


def test_streaming(play: Play) -> None:
    """What seed 002's program decides is sent by `continue_run(stream=True)` itself, although the
    program never looks at the events.
    """
    program = STREAMING.replace("# Handle pause\n        pass", HANDLE_PAUSE)
    program = program.replace("    # Handle requirements", HANDLE_REQUIREMENTS.strip("\n"))
    imports = "from agno.run.workflow import StepPausedEvent"
    played = play(FUNCTIONS, DATA_PIPELINE, imports, program, FOLLOW)

    assert ["paused at process_data Process sensitive data?", "saved processed rows for input"] == (
        played.told
    )
    assert [("process_data", "confirm")] == played.decided


def test_streaming_without_a_decision(play: Play) -> None:
    """As printed, seed 002's program decides nothing, which `continue_run` says at once."""
    imports = "from agno.run.workflow import StepPausedEvent"
    with pytest.raises(ValueError, match="process_data"):
        play(FUNCTIONS, DATA_PIPELINE, imports, STREAMING)


PAUSE = """
from agno.workflow.decorators import pause
from agno.workflow.types import UserInputField

@pause(
    requires_user_input=True,
    user_input_message="Enter parameters:",
    user_input_schema=[
        UserInputField(name="threshold", field_type="float", required=True),
    ],
)
def process_data(step_input: StepInput) -> StepOutput:
    threshold = step_input.additional_data["user_input"]["threshold"]
    return StepOutput(content=f"Processed with threshold {threshold}")

# The decorator config is auto-detected when used in a custom function step
Step(name="process", executor=process_data)
"""

THRESHOLD = """
def get_user_value(name, field_type):
    print(name, field_type)
    return 0.5
"""


@pytest.mark.parametrize("written", ["Step(name", "process_data"])
def test_the_pause_decorator(play: Play, written: str) -> None:
    """What seed 002's `@pause` says is asked wherever its function is a step, as one or as it is;
    the step has what was answered.
    """
    program = PAUSE if written == "Step(name" else f"{PAUSE.rpartition('# The')[0]}process_data\n"
    played = play(around("processing"), THRESHOLD, program, RUN, SET_USER_INPUT, GO_ON)

    asked = ["Enter parameters:", "threshold float"]
    assert [*asked, "finished: Processed with threshold 0.5"] == played.told
