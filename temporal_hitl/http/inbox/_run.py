"""The page of a run: how it stands, what happened in it, what is open, and what comes next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Response
from temporalio.client import WorkflowQueryFailedError

from temporal_hitl.client import RunRow
from temporal_hitl.http._runs import RunId
from temporal_hitl.http._service import Service
from temporal_hitl.http.inbox._pages import PageRoute, Visit
from temporal_hitl.http.inbox._showing import shown
from temporal_hitl.http.inbox._words import Words, what, who
from temporal_hitl.requirements import AnyRequirement, Refusal, ResolutionRecord, slug
from temporal_hitl.run import StepOutput, WorkflowRunOutput


@dataclass(frozen=True)
class Happening:
    """One line of a run's timeline."""

    at: datetime
    kind: str
    text: str
    why: str | None = None


@dataclass
class Seen:
    """A run as a page shows it: a pipeline's, or one that was written by hand."""

    run_id: str
    workflow_name: str
    status: str
    row: RunRow
    output: WorkflowRunOutput | None = None
    open: list[tuple[str, AnyRequirement]] = field(default_factory=list[tuple[str, AnyRequirement]])
    """What it and its child runs ask, each with the run that asks."""
    timeline: list[Happening] = field(default_factory=list[Happening])
    steps: list[tuple[str, str | None, str]] = field(
        default_factory=list[tuple[str, str | None, str]]
    )
    """Of each node its mark, its path and its line."""


async def seen(here: Service, run_id: str) -> Seen:
    """Return a run as it stands."""
    row = await here.client.describe(run_id)
    try:
        output = await here.client.get(run_id)
    except WorkflowQueryFailedError:
        # Written by hand, with a gate alone.
        asked = await here.client.requirements(run_id, resolved=True)
        lines = [*map(_decision, asked.resolved), *map(_refusal, asked.refused)]
        open_ = [(run_id, each) for each in asked.open]
        return Seen(run_id, row.workflow_name, row.status, row, None, open_, _sorted(lines))
    return Seen(
        run_id,
        output.workflow_name,
        output.status.value,
        row,
        output,
        [(run.run_id, each) for run in output.runs() for each in run.requirements],
        _timeline(output),
        _steps(output),
    )


def _timeline(output: WorkflowRunOutput) -> list[Happening]:
    lines = [*map(_decision, output.resolutions), *map(_refusal, output.refused)]
    lines += [Happening(each.at, each.event, each.told()) for each in output.events]
    return _sorted(lines)


def _sorted(lines: list[Happening]) -> list[Happening]:
    return sorted(lines, key=lambda each: each.at)


def _decision(record: ResolutionRecord) -> Happening:
    text = f"{record.path}: {who(record)} {what(record)}"
    why = record.feedback or record.comment
    return Happening(record.resolved_at, f"decision {record.action}", text, why)


def _refusal(refusal: Refusal) -> Happening:
    text = Words.refused_answer.format(door=refusal.door, reason=refusal.reason)
    return Happening(refusal.at, "refusal", text)


def _steps(output: WorkflowRunOutput) -> list[tuple[str, str | None, str]]:
    """Return a line for each node: what is through, what works or waits, what comes next."""
    asking = {each.path for each in output.requirements}
    within = [each for each in output.inner_results if each.path not in asking]
    done = [_done(each) for each in (*output.step_results, *within)]
    at_work = [("running", path, Words.running) for path in output.running]
    blocked = [
        ("blocked", path, Words.blocked.format(activity=activity))
        for path, activity in output.blocked.items()
    ]
    return [*done, *at_work, *blocked, *_left(output)]


def _left(output: WorkflowRunOutput) -> Iterator[tuple[str, str | None, str]]:
    """Yield the top-level nodes that are not through, but for those that are at work."""
    if output.has_ended:
        return
    through = {each.step_name for each in output.step_results}
    asking = {each.path.partition(".")[0] for each in output.requirements}
    busy = {path.partition(".")[0] for path in (*output.running, *output.blocked, *output.children)}
    for name in output.step_names:
        if name not in through and slug(name) in asking:
            yield "paused", name, Words.waits_for_a_person
        elif name not in through and slug(name) not in busy:
            yield "next", name, Words.comes_next


def _done(output: StepOutput) -> tuple[str, str | None, str]:
    name = output.path or output.step_name
    if not output.produced:
        return "failed", name, Words.step_failed.format(error=output.error or "")
    if output.edited:
        return "edited", name, Words.step_edited
    return "done", name, Words.step_done


last = APIRouter(route_class=PageRoute)
"""What matches any path below a run: after all else, as the id of a run may hold slashes."""


@last.get("/inbox/runs/{run_id:path}")
async def run_page(run_id: RunId, page: Visit) -> Response:
    """Show a run."""
    run = await seen(page.here, run_id)
    ended: Any = None if run.output is None else run.output.content
    given: Any = None if run.output is None else run.output.input
    return page.render(
        "run.html",
        run=run,
        result=shown(ended),
        input=shown(given),
    )
