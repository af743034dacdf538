"""Approvals over all runs: those that are on file, and those that somebody is asked for now.

Makes one list of both, for whoever shows it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from pydantic import TypeAdapter

from temporal_hitl.approvals import FILE, Approval, ApprovalFilter, ApprovalsFile, ApprovalStatus
from temporal_hitl.client import OpenRequirement
from temporal_hitl.errors import BadCursor, OperatorError

Key: TypeAlias = tuple[str, str, str]
_KEY: TypeAdapter[Key] = TypeAdapter(Key)


def on_file(file: ApprovalsFile | None, wanted: ApprovalFilter) -> list[Approval]:
    """Return what has closed and is wanted, in the order in which it was filed.

    Raises:
        OperatorError: there is no file to be read here.
    """
    if wanted.status is ApprovalStatus.pending:
        return []
    if file is None:
        raise OperatorError(
            f"no approvals that have closed can be read here: set {FILE} to the file that the"
            " workers write; what is pending is listed with status=pending"
        )
    return [each for each in file.records() if wanted.holds(each)]


def listed(
    rows: Iterable[OpenRequirement], file: ApprovalsFile | None, wanted: ApprovalFilter
) -> list[Approval]:
    """Return what is open, of these rows, or has closed, and is wanted: what was opened last first.

    Raises:
        OperatorError: there is no file to be read here.
    """
    closed = on_file(file, wanted)
    # The list of what is open may be behind.
    known = {each.key[:2] for each in (file.records() if file else ())}
    pending = [each for row in rows if (each := _pending(row)) and each.key[:2] not in known]
    both = [*closed, *(each for each in pending if wanted.holds(each))]
    return sorted(both, key=lambda each: each.key, reverse=True)


def _pending(row: OpenRequirement) -> Approval | None:
    if row.approval is None:
        return None
    return Approval(
        id=f"{row.run_id}/{row.id}",
        status=ApprovalStatus.pending,
        type=row.approval,
        run_id=row.run_id,
        requirement_id=row.id,
        kind=row.kind,
        pipeline=row.workflow_name,
        agent_name=row.agent_name,
        path=row.path,
        tool_name=row.tool_name,
        created_at=row.created_at,
        deadline=row.deadline,
        asks=row.roles,
    )


def page_of(
    approvals: Sequence[Approval], limit: int, cursor: str | None
) -> tuple[list[Approval], str | None]:
    """Return a page of a list, and where the next one begins; raises `BadCursor`."""
    before = None if cursor is None else _key(cursor)
    left = [each for each in approvals if before is None or each.key < before]
    shown = left[:limit]
    return shown, _cursor(shown[-1].key) if len(left) > limit else None


def _cursor(key: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _key(cursor: str) -> Key:
    try:
        return _KEY.validate_json(base64.b64decode(cursor, altchars=b"-_", validate=True))
    except ValueError:
        told = "this is no cursor of a list of approvals; leave it out to begin"
        raise BadCursor(told) from None
