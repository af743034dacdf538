"""A pipeline in the cells of a notebook, in a real kernel: run, answered, defined again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

IMPORTS = """
from temporal_hitl import OnReject, RunStatus, SqliteDb, Step, Workflow
"""
DEFINE = """
def fetch(step_input):
    return f"{step_input.input} fetched"

def process(step_input):
    return f"{step_input.previous_step_content} processed"

workflow = Workflow(
    name="data_pipeline",
    db=SqliteDb(db_file="dev.db"),
    steps=[
        Step(name="fetch", executor=fetch),
        Step(name="process", executor=process, requires_confirmation=True),
    ],
)
"""
DEFINE_AGAIN = """
async def process(step_input):
    return f"{step_input.previous_step_content} processed anew"

def save(step_input):
    return f"{step_input.previous_step_content} and saved"

workflow = Workflow(
    name="data_pipeline",
    db=SqliteDb(db_file="dev.db"),
    steps=[
        Step(name="fetch", executor=fetch),
        Step(name="process", executor=process, requires_confirmation=True),
        Step(name="save", executor=save),
    ],
)
"""
CONFIRM = """
for req in run_output.steps_requiring_confirmation:
    req.confirm()
"""
PLAIN = {
    "run": 'run_output = workflow.run("users")',
    "continue": "run_output = workflow.continue_run(run_output)",
}
AWAITED = {
    "run": 'run_output = await workflow.arun("users")',
    "continue": "run_output = await workflow.acontinue_run(run_output)",
}
SHOW = "\nprint(run_output.status, run_output.content, len(run_output.events))"


async def executed(folder: Path, *cells: str) -> list[str]:
    """Run the cells in a kernel that is this interpreter, and return what each wrote to stdout.

    On stderr there may be one line in all: the notice of the embedded server.
    """
    notebook: Any = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells]
    )
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=60,
        resources={"metadata": {"path": str(folder)}},
        shutdown_kernel="immediate",
    )
    await client.async_execute()
    notices = [line for cell in notebook.cells for line in written(cell, "stderr").splitlines()]
    assert [line.partition(":")[0] for line in notices] == ["temporal_hitl"], notices
    return [written(cell, "stdout").strip() for cell in notebook.cells]


def written(cell: Any, stream: str) -> str:
    return "".join(
        each.text for each in cell.outputs if each.output_type == "stream" and each.name == stream
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the kernel runs; nothing is configured there."""
    for name in ("ADDRESS", "NAMESPACE", "PROFILE", "API_KEY", "TLS"):
        monkeypatch.delenv(f"TEMPORAL_{name}", raising=False)
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / "temporal.toml"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    return tmp_path


@pytest.mark.parametrize("calls", [PLAIN, AWAITED], ids=["plain calls", "await"])
async def test_cells(folder: Path, calls: dict[str, str]) -> None:
    """Run, confirm and continue in cells of their own; defined again, runs that wait go on too."""
    said = await executed(
        folder,
        IMPORTS + DEFINE,
        calls["run"] + SHOW,
        CONFIRM + calls["continue"] + SHOW,
        calls["run"] + SHOW,
        DEFINE_AGAIN,
        CONFIRM + calls["continue"] + SHOW,
        calls["run"] + SHOW,
        CONFIRM + calls["continue"] + SHOW,
    )

    assert said == [
        "",
        "PAUSED users fetched 0",
        "COMPLETED users fetched processed 0",
        "PAUSED users fetched 0",
        "",
        "COMPLETED users fetched processed anew 1",
        "PAUSED users fetched 0",
        "COMPLETED users fetched processed anew and saved 0",
    ]


async def test_both_forms_in_one_notebook(folder: Path) -> None:
    """Plain calls and awaited ones take turns on one run; a cell run twice changes nothing."""
    said = await executed(
        folder,
        IMPORTS + DEFINE,
        PLAIN["run"] + SHOW,
        DEFINE,
        CONFIRM + AWAITED["continue"] + SHOW,
        "print(len((await workflow.aget_session(run_output.session_id)).runs))",
        "print(workflow.get_run_output(run_output.run_id) == run_output)",
    )

    assert said == [
        "",
        "PAUSED users fetched 0",
        "",
        "COMPLETED users fetched processed 0",
        "1",
        "True",
    ]
