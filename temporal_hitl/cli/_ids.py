"""Ids as people type and paste them, and what they may have meant.

Helps, and never guesses: an id that is not there is told with the commands that name what is.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from urllib.parse import unquote

from temporalio.client import WorkflowExecutionStatus

from temporal_hitl.cli._exits import Missing
from temporal_hitl.client import HitlClient, OpenRequirement
from temporal_hitl.errors import NoWorker
from temporal_hitl.requirements import AnyRequirement

Again = Callable[[str, str], str]
"""The same command with another run and requirement, to be pasted."""
SHOWN = 10
"""How many commands are told."""
LOOKED_AT = 200
"""Among how many runs a similar id is looked for."""


def pasted(text: str) -> str:
    """Return the id in what was pasted: quotes, spaces, or a run's page in the Web UI around it."""
    bare = text.strip().strip("'\"`").strip()
    page = re.match(r"https?://[^/]+/namespaces/[^/]+/workflows/([^/?#]+)", bare)
    return unquote(page[1]) if page else bare


def text_of(value: str) -> str:
    """Return a value as it stands in a query of Temporal's filter language."""
    return "'" + value.replace("'", "''") + "'"


async def no_run(hitl: HitlClient, run_id: str, again: Callable[[str], str]) -> Missing:
    """Return the error that says which runs there are of a similar id."""
    begins = hitl.list_runs(f"WorkflowId STARTS_WITH {text_of(run_id)}", limit=SHOWN)
    there = [row.run_id async for row in begins]
    if not there:
        running = hitl.list_runs("ExecutionStatus = 'Running'", limit=LOOKED_AT)
        there = _similar(run_id, [row.run_id async for row in running])
    told = f"there is no run {run_id!r} in namespace {hitl.client.namespace!r}"
    if there:
        return Missing(_with(f"{told}; did you mean", (again(each) for each in there)))
    return Missing(f"{told}; `temporal-hitl runs` lists those that there are")


async def no_requirement(
    hitl: HitlClient, run_id: str, requirement_id: str, again: Again
) -> Missing:
    """Return the error that says what the run, and its child runs, ask under similar ids."""
    asked = await waiting(hitl, run_id)
    told = f"run {run_id!r} asks nothing under {requirement_id!r}"
    if not asked:
        return Missing(f"{told}, and nothing at all now; look: temporal-hitl show {run_id}")
    like = set(_similar(requirement_id, [each.id for _, each in asked]))
    close = [pair for pair in asked if pair[1].id in like]
    how = "did you mean" if close else "it waits for"
    return Missing(_with(f"{told}; {how}", _commands(close or asked, again)))


async def none_named(hitl: HitlClient, run_id: str, again: Again) -> str:
    """Return the commands that answer what the run asks: nobody approves what was not named."""
    asked = await waiting(hitl, run_id)
    if not asked:
        return f"run {run_id!r} waits for nobody now; look: temporal-hitl show {run_id}"
    return _with(
        f"name the requirement, as run {run_id!r} may ask something else by now",
        _commands(asked, again),
    )


async def nothing_named(hitl: HitlClient, kinds: Iterable[str], again: Again) -> str:
    """Return the commands that answer what is open anywhere, of kinds that the command answers."""
    rows = list[OpenRequirement]()
    async for row in hitl.list_requirements():
        if row.kind in set(kinds):
            rows.append(row)
        if len(rows) == SHOWN:
            break
    if not rows:
        return "name a run and a requirement; `temporal-hitl list` has all that is open"
    return _with(
        "name a run and a requirement",
        (f"{again(row.run_id, row.id)}  # {_short(row.message)}" for row in rows),
    )


async def waiting(hitl: HitlClient, run_id: str) -> list[tuple[str, AnyRequirement]]:
    """Return what is open in a run and in its child runs, each with the run that asks."""
    output = await hitl.get(run_id)
    return [(run.run_id, each) for run in output.runs() for each in run.requirements]


async def one(hitl: HitlClient, run_id: str, requirement_id: str, again: Again) -> AnyRequirement:
    """Return an open requirement of this run's own.

    Raises:
        Missing: it asks nothing under this id, with what it does ask.
        RunNotFound: there is no such run.
        NoWorker: nobody is there to tell.
    """
    try:
        asked = (await hitl.requirements(run_id)).open
    except NoWorker:
        # What has ended needs no worker to be told.
        if (await hitl.handle(run_id).describe()).status is WorkflowExecutionStatus.RUNNING:
            raise
        asked = []
    found = next((each for each in asked if each.id == requirement_id), None)
    if found is None:
        raise await no_requirement(hitl, run_id, requirement_id, again)
    return found


def _commands(asked: Iterable[tuple[str, AnyRequirement]], again: Again) -> list[str]:
    return [f"{again(run_id, each.id)}  # {_short(each.message)}" for run_id, each in asked]


def _with(told: str, commands: Iterable[str]) -> str:
    return f"{told}:\n" + "\n".join(f"  {each}" for each in list(commands)[:SHOWN])


def _short(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= 60 else f"{line[:59]}…"


def _similar(wanted: str, there: list[str]) -> list[str]:
    lower = wanted.lower()
    parts = [each for each in there if lower and lower in each.lower()]
    return parts or difflib.get_close_matches(wanted, there, n=SHOWN, cutoff=0.6)
