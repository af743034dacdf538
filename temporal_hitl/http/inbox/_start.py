"""Start a run from a form."""

from __future__ import annotations

import uuid
from typing import Any

from fastapi import APIRouter, Response
from pydantic import ValidationError

from temporal_hitl.http._access import Role
from temporal_hitl.http._problems import Problem, refused, told
from temporal_hitl.http._runs import Start, begin
from temporal_hitl.http.inbox._pages import Form, Page, PageRoute, Posted, Visit
from temporal_hitl.http.inbox._widgets import anything
from temporal_hitl.requirements import problems_of

router = APIRouter(route_class=PageRoute)

_FRESH = {"input": "", "session_id": "", "user_id": ""}


@router.get("/inbox/start")
async def pipelines(page: Visit) -> Response:
    """Show the pipelines that there are."""
    definitions = [each.definition for each in page.here.pipelines.values()]
    return page.render("pipelines.html", definitions=definitions)


@router.get("/inbox/start/{pipeline:path}")
async def start_page(pipeline: str, page: Visit) -> Response:
    """Ask what to start a run with."""
    return _form(page, pipeline, _FRESH, uuid.uuid4().hex)


def _form(
    page: Page,
    pipeline: str,
    written: dict[str, str],
    key: str,
    problem: Problem | None = None,
) -> Response:
    if pipeline not in page.here.pipelines:
        raise refused(404, f"no pipeline {pipeline!r} here")
    definition = page.here.pipelines[pipeline].definition
    status = 200 if problem is None else problem.status
    data: dict[str, Any] = {"written": written, "key": key, "problem": problem}
    return page.render("start.html", status, definition=definition, **data)


@router.post("/inbox/start/{pipeline:path}")
async def start_run(pipeline: str, page: Visit, posted: Form) -> Response:
    """Start a run, and show it."""
    caller = page.who(Role.operator)
    key = posted.said("key") or uuid.uuid4().hex
    try:
        run_id, _ = await begin(page.here, caller, _start(pipeline, posted), key)
    except Exception as error:
        refusal = told(error)
        if refusal is None:
            raise
        written = {name: posted.text(name) for name in _FRESH}
        return _form(page, pipeline, written, key, refusal.problem)
    return page.go(page.run(run_id))


def _start(pipeline: str, posted: Posted) -> Start:
    session_id, user_id = posted.said("session_id"), posted.said("user_id")
    given = anything(posted.text("input"))
    try:
        return Start(pipeline=pipeline, input=given, session_id=session_id, user_id=user_id)
    except ValidationError as invalid:
        raise refused(422, "; ".join(problems_of(invalid))) from None
