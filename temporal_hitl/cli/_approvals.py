"""`temporal-hitl approvals`: what was approved, and what waits for an approval."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Annotated

import typer

from temporal_hitl._approvals import listed, on_file
from temporal_hitl.approvals import Approval, ApprovalFilter, ApprovalStatus, ApprovalType
from temporal_hitl.cli._command import Session
from temporal_hitl.cli._ids import pasted
from temporal_hitl.cli._terminal import when
from temporal_hitl.cli._values import moment
from temporal_hitl.client import OpenRequirement


class What(StrEnum):
    """What is to be done with approvals."""

    all = "list"
    number = "count"
    export = "export"


def _option(name: str, help: str) -> typer.models.OptionInfo:
    return typer.Option(name, help=help, show_default=False)


async def approvals(
    at: Session,
    what: Annotated[
        What, typer.Argument(help="List them, count them, or export what has closed.")
    ] = What.all,
    status: Annotated[ApprovalStatus | None, _option("--status", "How they stand.")] = None,
    type: Annotated[ApprovalType | None, _option("--type", "required or audit.")] = None,
    pipeline: Annotated[str | None, _option("--pipeline", "Of one pipeline or agent.")] = None,
    run: Annotated[str | None, _option("--run", "Of one run.")] = None,
    tool: Annotated[str | None, _option("--tool", "Of one tool.")] = None,
    by: Annotated[str | None, _option("--by", "Who decided.")] = None,
    since: Annotated[str | None, _option("--since", "Opened then or later: 2026-11-21.")] = None,
    until: Annotated[str | None, _option("--until", "Opened before then.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 100,
) -> None:
    """List what was approved, rejected or expired, and what waits for it; export writes JSON
    Lines.

    What has closed is read from the file that HITL_APPROVALS_FILE names, or from that of the
    embedded server in this folder.
    """
    wanted = ApprovalFilter(
        status=status,
        type=type,
        pipeline=pipeline,
        run_id=None if run is None else pasted(run),
        tool=tool,
        resolved_by=by,
        since=moment(since, "--since"),
        until=moment(until, "--until"),
    )
    if what is What.export:
        for each in await asyncio.to_thread(on_file, at.approvals(), wanted):
            typer.echo(each.model_dump_json())
        return
    found = await asyncio.to_thread(listed, await _open(at, wanted), at.approvals(), wanted)
    if what is What.number:
        _tell_count(at, found)
    else:
        _tell(at, found, limit)


async def _open(at: Session, wanted: ApprovalFilter) -> list[OpenRequirement]:
    if wanted.status not in (None, ApprovalStatus.pending):
        return []  # Who looks at the file alone needs no server.
    return [each async for each in (await at.client()).list_requirements()]


def _tell_count(at: Session, found: list[Approval]) -> None:
    by_status = {each.value: sum(one.status is each for one in found) for each in ApprovalStatus}
    told = (f"{name:10}{count}" for name, count in by_status.items() if count)
    at.terminal.tell({"count": len(found), "by_status": by_status}, str(len(found)), *told)


def _tell(at: Session, found: list[Approval], limit: int) -> None:
    if at.terminal.json:
        at.terminal.row(found[:limit])
        return
    at.terminal.table(
        ["STATUS", "TYPE", "TOOL", "RUN", "REQUIREMENT", "OPENED", "DECIDED", "BY"],
        [
            [
                each.status.value,
                each.type.value,
                each.tool_name or "",
                each.run_id,
                each.requirement_id,
                when(each.created_at),
                when(each.resolved_at),
                _by(each),
            ]
            for each in found[:limit]
        ],
    )
    if not found:
        at.terminal.aside("none")
    elif len(found) > limit:
        at.terminal.aside(f"the first {limit} of {len(found)}; --limit shows more")


def _by(each: Approval) -> str:
    if each.resolved_at is None:
        return f"waits for {' or '.join(each.asks)}" if each.asks else ""
    who = each.resolved_by or (each.decided_by.value if each.decided_by else "")
    return who + (f" ({each.identity.value})" if each.resolved_by else "")
