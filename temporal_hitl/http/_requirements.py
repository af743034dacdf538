"""Requirements: list over all runs, count, see in full, answer."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from temporal_hitl.client import OpenRequirement, RunRequirements
from temporal_hitl.errors import AlreadyResolved, BadCursor, UnknownRequirement
from temporal_hitl.http._filters import Name
from temporal_hitl.http._problems import ProblemRoute, documented, refused
from temporal_hitl.http._runs import RunId
from temporal_hitl.http._service import Here, Service, Viewer
from temporal_hitl.http._snapshot import Order, SortKey, View
from temporal_hitl.requirements import AnyRequirement, ResolutionRecord

router = APIRouter(route_class=ProblemRoute, tags=["requirements"])

Kind = Literal[
    "confirmation",
    "user_input",
    "route",
    "output_review",
    "iteration_review",
    "error",
    "tool_confirmation",
    "tool_input",
    "tool_execution",
    "tool_outcome",
    "question",
]
RequirementId = Annotated[Name, Path(min_length=1)]


class RequirementPlace(BaseModel):
    """Whose requirements, and of which kind; all that is given must hold."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    kind: Kind | None = None
    """What is asked for."""
    pipeline: Name | None = None
    """The pipeline whose run asks."""
    run_id: Name | None = None
    """The run that asks."""
    root_run_id: Name | None = None
    """The run at the top, whose child runs ask too."""

    def holds(self, row: OpenRequirement, now: datetime) -> bool:
        """Return whether `row` is wanted."""
        wanted = (
            (self.kind, row.kind),
            (self.pipeline, row.workflow_name),
            (self.run_id, row.run_id),
            (self.root_run_id, row.root_run_id),
        )
        return all(value is None or value == actual for value, actual in wanted)


class RequirementFilter(RequirementPlace):
    """Which requirements; all that is given must hold."""

    overdue: bool | None = None
    """Whether the deadline has passed; what has none is not overdue."""

    def holds(self, row: OpenRequirement, now: datetime) -> bool:
        """Return whether `row` is wanted."""
        return super().holds(row, now) and self.overdue in (None, is_overdue(row, now))

    @property
    def is_empty(self) -> bool:
        """Whether it lets everything through."""
        return all(getattr(self, name) is None for name in RequirementFilter.model_fields)


class Requirements(RequirementFilter):
    """Which requirements to list, how many, and in which order."""

    sort: Literal["deadline", "age"] = "deadline"
    """By deadline, those without one last; or by age, the oldest first."""
    limit: int = Field(default=100, ge=1, le=1000)
    """How many at most."""
    cursor: str | None = Field(default=None, max_length=10_000)
    """What the page before returned; of the same order."""


class RequirementPage(BaseModel):
    """One page of what is open over all runs."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    items: list[OpenRequirement]
    cursor: str | None = None
    """Where the next page begins; null where this is the last."""
    version: str
    """What changed last: as `Last-Event-ID`, it has the stream of changes begin here."""
    as_of: datetime
    """When Temporal was asked."""


class Count(BaseModel):
    """How many requirements are open."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    count: int
    overdue: int
    """How many of them have a deadline that has passed."""
    as_of: datetime
    """When Temporal was asked."""


def is_overdue(row: OpenRequirement, now: datetime) -> bool:
    """Return whether the deadline of `row` has passed."""
    return row.deadline is not None and row.deadline < now


@router.get("/requirements", responses=documented())
async def list_requirements(
    wanted: Annotated[Requirements, Query()], here: Here, _: Viewer
) -> RequirementPage:
    """List what waits for a person, over all runs; up to about a second behind them."""
    return page_of(await here.snapshot.view(), wanted)


def page_of(view: View, wanted: Requirements) -> RequirementPage:
    """Return a page of what a view holds."""
    order = view.deadline if wanted.sort == "deadline" else view.age
    items, more = _page(order, wanted)
    return RequirementPage(
        items=items,
        cursor=_cursor(wanted.sort, order.key(items[-1])) if more else None,
        version=view.version,
        as_of=view.taken_at,
    )


def _page(order: Order, wanted: Requirements) -> tuple[list[OpenRequirement], bool]:
    now, begin = datetime.now(UTC), order.after(_key(wanted))
    if wanted.is_empty:
        end = begin + wanted.limit
        return list(order.rows[begin:end]), end < len(order.rows)
    found = list[OpenRequirement]()
    for row in order.rows[begin:]:
        if wanted.holds(row, now):
            if len(found) == wanted.limit:
                return found, True
            found.append(row)
    return found, False


def _cursor(sort: str, key: SortKey) -> str:
    return base64.urlsafe_b64encode(json.dumps([sort, *key]).encode()).decode()


def _key(wanted: Requirements) -> SortKey | None:
    if wanted.cursor is None:
        return None
    try:
        sort, *key = json.loads(base64.b64decode(wanted.cursor, altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError):
        sort, key = None, []
    shape = {"deadline": [bool, str, str, str, str], "age": [str, str, str]}[wanted.sort]
    if sort != wanted.sort or [type(part) for part in key] != shape:
        raise BadCursor(
            f"this is no cursor of a list sorted by {wanted.sort}; leave it out to begin"
        )
    return tuple(key)


@router.get("/requirements/count", responses=documented())
async def count_requirements(
    wanted: Annotated[RequirementFilter, Query()], here: Here, _: Viewer
) -> Count:
    """Count what waits for a person, over all runs."""
    view: View = await here.snapshot.view()
    now = datetime.now(UTC)
    rows = [row for row in view.rows.values() if wanted.holds(row, now)]
    late = sum(is_overdue(row, now) for row in rows)
    return Count(count=len(rows), overdue=late, as_of=view.taken_at)


@router.get("/runs/{run_id:path}/requirements", responses=documented(404))
async def run_requirements(
    run_id: RunId,
    here: Here,
    _: Viewer,
    resolved: Annotated[bool, Query(description="Whether to tell what was decided, too.")] = False,
) -> RunRequirements:
    """Return all that a run asks, in full."""
    return await here.client.requirements(run_id, resolved=resolved)


@router.get(
    "/runs/{run_id:path}/requirements/{requirement_id}",
    response_model=AnyRequirement,
    responses=documented(404, 410),
)
async def get_requirement(
    run_id: RunId, requirement_id: RequirementId, here: Here, _: Viewer
) -> Any:
    """Return one open requirement in full: the content under review, the form, the digest.

    Of one that is closed, the problem has the record of who or what decided.
    """
    asked = await look_up(here, run_id, requirement_id)
    if isinstance(asked, ResolutionRecord):
        told = f"{requirement_id!r} is resolved already: {asked.told()}"
        raise refused(410, told, kind=AlreadyResolved.__name__, record=asked)
    return asked


async def look_up(
    here: Service, run_id: str, requirement_id: str
) -> AnyRequirement | ResolutionRecord:
    """Return what is open, or the record of how it was closed; raises `UnknownRequirement`."""
    asked = await here.client.requirements(run_id, resolved=True)
    for requirement in asked.open:
        if requirement.id == requirement_id:
            return requirement
    for record in asked.resolved:
        if record.requirement_id == requirement_id:
            return record
    raise UnknownRequirement(f"run {run_id!r} has no requirement {requirement_id!r}")
