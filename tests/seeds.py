"""Plays the programs of the seeds as they are printed (design 7).

Only three things differ from the seeds' text: every import reads `from temporal_hitl`, seed 001 has
its indentation back, and where a seed writes `...` for what its reader has, that is filled in (a
model, where it names none: see `tests/agents.py`). What
a program needs beside is in a cell before it, and what a fragment leaves to its reader in one after
it: a program is played cell by cell, as in a notebook, so that `_` is the value of the expression
with which the last cell ended. Agents are functions.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporal_hitl import SqliteDb, Workflow, WorkflowRunOutput
from temporal_hitl.primitives import as_definition
from tests.stage import embedded_client, replays


def ours(program: str) -> str:
    """Return a seed's program with every `from agno.... import X` reading `from temporal_hitl
    import X`.
    """
    return re.sub(r"from agno[\w.]* import", "from temporal_hitl import", program)


@dataclass
class Played:
    """What cells came to."""

    told: list[str]
    """The lines that were printed, with what was typed after each prompt."""
    names: dict[str, Any]
    """The names that the cells made."""

    @property
    def workflow(self) -> Workflow:
        return pipeline_in(self.names)

    @property
    def run_output(self) -> WorkflowRunOutput:
        return self.names["run_output"]

    @property
    def decided(self) -> list[tuple[str, str]]:
        """What was decided, by requirement and action."""
        return [(each.requirement_id, each.action) for each in self.run_output.resolutions]

    @property
    def content(self) -> Any:
        return self.run_output.content


Play = Callable[..., Played]


def cells_in(folder: Path, cells: Sequence[str], types: Callable[[str], str]) -> dict[str, Any]:
    """Execute cells one after another, and return the names that they made."""
    names: dict[str, Any] = {"__name__": "seed", "input": types, "_": None}
    for number, cell in enumerate(cells):
        file = folder / f"cell_{number}.py"
        file.write_text(ours(cell))
        tree = ast.parse(file.read_text(), str(file))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, str(file), "exec"), names)
        if isinstance(last, ast.Expr):
            names["_"] = eval(compile(ast.Expression(last.value), str(file), "eval"), names)
    return names


def pipeline_in(names: dict[str, Any]) -> Workflow:
    """Return the pipeline that cells have made, or that their agent's, or team's, runs are."""
    made = next(names[each] for each in ("workflow", "team", "agent") if each in names)
    return as_definition(made)


async def replayed(db: SqliteDb, workflow: Workflow) -> None:
    async with embedded_client(db) as client:
        runs = (await workflow.aget_session()).runs
        assert runs
        for run in runs:
            await replays(client.handle(run.run_id), workflow)


def paths(output: WorkflowRunOutput) -> list[str | None]:
    """Return where the outputs of a run come from, in order."""
    return [each.path for each in output.walk()]


RUN = """
workflow = Workflow(name=NAME, db=SqliteDb(db_file="workflow.db"), steps=[prepare, _, finish])
run_output = workflow.run("input")
"""
"""Makes a pipeline of the step with which the cell before ended, and runs it."""
GO_ON = """
run_output = workflow.continue_run(run_output)
print(run_output.content)
"""


def around(name: str) -> str:
    """Return the cell that a fragment which is a step stands after."""
    return f"""
from agno.workflow import *
from agno.workflow.types import StepInput, StepOutput
from agno.db.sqlite import SqliteDb

NAME = "{name}"

def prepare(step_input: StepInput) -> str:
    return "prepared"

def finish(step_input: StepInput) -> str:
    return f"finished: {{step_input.previous_step_content}}"
"""


DEFINE = RUN.partition("run_output")[0]
"""What `RUN` does, without running it."""
