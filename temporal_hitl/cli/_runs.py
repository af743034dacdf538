"""The commands that start, show and stop runs."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from temporal_hitl.cli._command import Session, TaskQueue
from temporal_hitl.cli._exits import Exit
from temporal_hitl.cli._ids import no_run, one, pasted, text_of
from temporal_hitl.cli._showing import conversation_lines, requirement_lines, run_lines
from temporal_hitl.cli._terminal import ago, left, when
from temporal_hitl.cli._values import json_object, json_or_text
from temporal_hitl.client import TASK_QUEUE, HitlClient, OpenRequirement, RunRow
from temporal_hitl.conversation import Said
from temporal_hitl.errors import NoConversation, NoWorker, RunNotFound
from temporal_hitl.requirements import AnyRequirement
from temporal_hitl.run import RunOptions, RunStatus, WorkflowRunOutput

RunId = Annotated[str, typer.Argument(help="The run's id.", show_default=False)]
Query = Annotated[
    str | None, typer.Option("--query", "-q", help="More, in Temporal's filter language.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="How many at most.")]


async def run(
    at: Session,
    pipeline: Annotated[str, typer.Argument(help="The pipeline's name.", show_default=False)],
    input: Annotated[
        str | None, typer.Argument(help="JSON, text, @FILE or -.", show_default=False)
    ] = None,
    run_id: Annotated[
        str | None, typer.Option("--run-id", help="An id of yours: never two runs of one id.")
    ] = None,
    task_queue: TaskQueue = TASK_QUEUE,
    session_id: Annotated[str | None, typer.Option("--session-id")] = None,
    user_id: Annotated[str | None, typer.Option("--user-id", help="For whom it runs.")] = None,
    session_state: Annotated[
        str | None, typer.Option("--session-state", help="A JSON object, @FILE or -.")
    ] = None,
    additional_data: Annotated[
        str | None, typer.Option("--additional-data", help="A JSON object, @FILE or -.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until it has ended or needs a person.")
    ] = False,
) -> Exit | None:
    """Start a run."""
    options = RunOptions(
        session_id=session_id,
        user_id=user_id,
        session_state=_object(session_state, "--session-state"),
        additional_data=_object(additional_data, "--additional-data"),
    )
    given = None if input is None else json_or_text(input)
    hitl = await at.client(task_queue)
    # A run written by hand takes no second input.
    chosen = options if options != RunOptions() else None
    started = await hitl.start(pipeline, given, run_id=run_id, options=chosen)
    if wait:
        return _tell(at, await hitl.wait(started))
    told = {"run_id": started, "workflow_name": pipeline, "task_queue": task_queue}
    at.terminal.tell(told, started)
    at.terminal.aside(f"started; look: {at.command('show', shlex.quote(started))}")
    return None


def _object(given: str | None, option: str) -> dict[str, Any]:
    return {} if given is None else json_object(given, option)


def _tell(at: Session, output: WorkflowRunOutput) -> Exit:
    at.terminal.tell(output, *run_lines(output, at.command))
    ended_badly = output.status in (RunStatus.error, RunStatus.cancelled)
    return Exit.not_well if ended_badly else Exit.done


async def show(
    at: Session,
    run: RunId,
    requirement: Annotated[
        str | None, typer.Argument(help="One of its open requirements.", show_default=False)
    ] = None,
    messages: Annotated[
        int, typer.Option("--messages", min=0, help="How many of an agent's last messages.")
    ] = 6,
    all: Annotated[bool, typer.Option("--all", help="Its instructions and thinking, too.")] = False,
) -> None:
    """Show a run, or one open requirement of it in full, with what an agent has said before."""

    def again(*ids: str) -> str:
        return at.command("show", *map(shlex.quote, ids))

    hitl, run_id = await at.client(), pasted(run)
    try:
        if requirement is None:
            output = await hitl.get(run_id)
            at.terminal.tell(output, *run_lines(output, at.command))
            return
        asked = await one(hitl, run_id, pasted(requirement), again)
    except RunNotFound:
        raise await no_run(
            hitl, run_id, lambda each: at.command("show", shlex.quote(each))
        ) from None
    said = await _said(hitl, run_id, asked, all) if messages and not at.terminal.json else []
    shown = conversation_lines(said, messages)
    at.terminal.tell(asked, *requirement_lines(asked, run_id, at.command, shown))


async def _said(hitl: HitlClient, run_id: str, asked: AnyRequirement, all: bool) -> list[Said]:
    if getattr(asked, "agent_name", None) is None:
        return []
    try:
        return (await hitl.conversation(run_id, asked.path, all=all)).messages
    except (NoConversation, NoWorker):
        return []  # Answered meanwhile, or by workers of an earlier version.


class Status(StrEnum):
    """How runs may stand in a list."""

    running = "running"
    paused = "paused"
    blocked = "blocked"
    completed = "completed"
    failed = "failed"
    canceled = "canceled"
    terminated = "terminated"


_ALIVE = {
    Status.running: "ExecutionStatus = 'Running'",
    Status.paused: "HitlStatus = 'pending' AND ExecutionStatus = 'Running'",
    Status.blocked: "HitlStatus = 'blocked' AND ExecutionStatus = 'Running'",
}


async def runs(
    at: Session,
    status: Annotated[Status | None, typer.Option("--status", help="How they stand.")] = None,
    pipeline: Annotated[str | None, typer.Option("--pipeline", help="Of one pipeline.")] = None,
    session_id: Annotated[str | None, typer.Option("--session-id", help="Of one session.")] = None,
    query: Query = None,
    limit: Limit = 50,
) -> None:
    """List runs: those that run, and then those that have ended."""
    parts = [None if status is None else _ALIVE.get(status) or _ended(status)]
    parts += [None if pipeline is None else f"WorkflowType = {text_of(pipeline)}"]
    parts += [None if session_id is None else f"HitlTags = {text_of(f'session:{session_id}')}"]
    narrowed = _all([*parts, query])
    hitl = await at.client()
    rows = [each async for each in hitl.list_runs(narrowed, limit=limit)]
    if at.terminal.json:
        at.terminal.row(rows)
        return
    at.terminal.table(
        ["RUN", "PIPELINE", "STATUS", "OPEN", "STARTED"],
        [
            [each.run_id, each.workflow_name, each.status, _open(each), when(each.started_at)]
            for each in rows
        ],
    )
    _how_many(at, len(rows), limit)


def _open(row: RunRow) -> str:
    return "?" if row.open is None else str(row.open or "")


def _ended(status: Status) -> str:
    return f"ExecutionStatus = {text_of(status.value.capitalize())}"


def _all(parts: list[str | None]) -> str | None:
    given = [each for each in parts if each]
    return " AND ".join(f"({each})" for each in given) if given else None


def _how_many(at: Session, count: int, limit: int) -> None:
    if count == 0:
        at.terminal.aside("none")
    elif count == limit:
        at.terminal.aside(f"the first {limit}; --limit shows more")


class Sort(StrEnum):
    """In which order requirements are listed."""

    deadline = "deadline"
    age = "age"


_FAR = datetime.max.replace(tzinfo=UTC)


async def list_(
    at: Session,
    run: Annotated[str | None, typer.Option("--run", help="Of one run.")] = None,
    root_run: Annotated[
        str | None, typer.Option("--root-run", help="Of one run and all below it.")
    ] = None,
    pipeline: Annotated[str | None, typer.Option("--pipeline", help="Of one pipeline.")] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Of one kind: confirmation ...")
    ] = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="Whose deadline has passed.")] = False,
    sort: Annotated[Sort, typer.Option("--sort", help="Which comes first.")] = Sort.deadline,
    query: Query = None,
    limit: Limit = 100,
) -> None:
    """List what waits for a person, over all runs."""
    parts = [None if run is None else f"WorkflowId = {text_of(pasted(run))}"]
    parts += [None if root_run is None else f"RootWorkflowId = {text_of(pasted(root_run))}"]
    parts += [None if pipeline is None else f"WorkflowType = {text_of(pipeline)}"]
    parts += [None if kind is None else f"HitlTags = {text_of(f'kind:{kind}')}"]
    rows = await _open_rows(await at.client(), _all([*parts, query]))
    now = datetime.now(UTC)
    rows = [
        each
        for each in rows
        if kind in (None, each.kind) and not (overdue and (each.deadline or _FAR) > now)
    ]
    # Visibility sorts by neither, so all of them are read.
    rows.sort(key=_by_deadline if sort is Sort.deadline else _by_age)
    _tell_open(at, rows[:limit], limit)


def _by_deadline(row: OpenRequirement) -> tuple[datetime, datetime]:
    return row.deadline or _FAR, row.created_at


def _by_age(row: OpenRequirement) -> datetime:
    return row.created_at


async def _open_rows(hitl: HitlClient, query: str | None) -> list[OpenRequirement]:
    return [each async for each in hitl.list_requirements(query)]


def _tell_open(at: Session, rows: list[OpenRequirement], limit: int) -> None:
    if at.terminal.json:
        at.terminal.row(rows)
        return
    at.terminal.table(
        ["RUN", "REQUIREMENT", "KIND", "MESSAGE", "AGE", "DEADLINE"],
        [
            [
                each.run_id,
                each.id,
                each.kind,
                each.message,
                ago(each.created_at),
                left(each.deadline),
            ]
            for each in rows
        ],
    )
    _how_many(at, len(rows), limit)


async def cancel(
    at: Session,
    run: RunId,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
) -> None:
    """Ask a run, and all below it, to stop."""
    hitl, run_id = await at.client(), pasted(run)
    try:
        await hitl.cancel(run_id)
    except RunNotFound:
        raise await no_run(
            hitl, run_id, lambda each: at.command("cancel", shlex.quote(each))
        ) from None
    if wait:
        output = await hitl.wait_for_end(run_id)
        at.terminal.tell(output, *run_lines(output, at.command))
    else:
        at.terminal.tell({"run_id": run_id, "asked": "cancel"}, f"asked {run_id} to stop")
