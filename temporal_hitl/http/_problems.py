"""What a caller is told when something is not as they wished: RFC 9457, one mapping for all.

Owns which of our errors, and Temporal's, is which status. A bug of ours is none of these: it stays
a 500.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from pydantic_core import from_json
from starlette.exceptions import HTTPException
from temporalio.client import WorkflowQueryFailedError, WorkflowUpdateFailedError
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from temporal_hitl._wire import read
from temporal_hitl.errors import (
    AlreadyResolved,
    BadCursor,
    BadSignature,
    DecisionConflict,
    DefinitionError,
    HitlError,
    NoConversation,
    NotPermitted,
    OperatorError,
    ResolutionError,
    RunNotFound,
    TooLate,
    UnknownRequirement,
)
from temporal_hitl.http._access import NotAllowed, NotAuthenticated
from temporal_hitl.requirements import ResolutionRecord

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:temporal-hitl:problem:"
"""What the `type` of a problem begins with; the rest is the error's name."""
LATER = 5
"""Seconds after which a caller may try again, where Temporal or a worker is not there."""
BUSY = 1
"""The same, where Temporal says that it is called too often."""
BODY = 2_000_000
"""Bytes that a request may have: what Temporal takes as one value."""

_NO_SERVER = "Failed client connect"
"""How the SDK begins to say that a client which connects on first use could not."""
_UNREADABLE = "payload encoding"
"""What the SDK says of a payload that no converter here can read."""
_CANNOT_READ = (
    "what this run says cannot be read here, though an answer may have counted: this service needs"
    " the data converter that the workers have"
)
_BUSY = {RPCStatusCode.RESOURCE_EXHAUSTED}
_FAULT = {RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.OUT_OF_RANGE}
_NAMED = re.compile(r"([\w.\[\]~-]+): (.+)", re.DOTALL)


class FieldProblem(BaseModel):
    """One thing that is wrong with what was sent."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    field: str | None
    """Where: `body.values.amount`, `query.limit`; null where it is not one field's."""
    detail: str
    """What is wrong."""


class Problem(BaseModel):
    """A problem as RFC 9457 has it, with what we add."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    type: str = "about:blank"
    """Which kind of problem, where the status alone does not say it."""
    title: str
    """The status in words."""
    status: int
    detail: str
    """What happened, and what to do instead."""
    errors: list[FieldProblem] = []
    """Every problem of what was sent, by field."""
    record: ResolutionRecord | None = None
    """The decision that stands, where there is one."""
    timed_out_at: datetime | None = None
    """When the deadline acted, where it did."""
    idempotency_key: str | None = None
    """The `Idempotency-Key` to send the same again with, where nobody knows whether it counted."""

    def response(self, headers: dict[str, str] | None = None) -> Response:
        """Return it as an answer."""
        empty = {name for name, value in self if value in (None, [])}
        body = self.model_dump_json(exclude=empty)
        return Response(body, self.status, headers, MEDIA_TYPE)


class Refused(HitlError):
    """A problem that an endpoint itself found."""

    def __init__(self, problem: Problem, headers: dict[str, str] | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.headers = headers


def refused(status: int, detail: str, **more: Any) -> Refused:
    """Return the error that becomes this problem."""
    return Refused(_problem(status, detail, **more))


def _problem(status: int, detail: str, kind: str | None = None, **more: Any) -> Problem:
    return Problem(
        type=TYPE + kind if kind else "about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        **more,
    )


def told(error: Exception) -> Refused | None:
    """Return `error` as a problem, or None where it is a bug of ours."""
    match error:
        case Refused():
            return error
        case RequestValidationError():
            return Refused(_invalid(error))
        case HTTPException(status_code=status, detail=detail, headers=headers):
            return Refused(_problem(status, str(detail)), dict(headers or {}))
        case NotAuthenticated(challenge=challenge):
            return Refused(_problem(401, str(error)), {"WWW-Authenticate": challenge})
        case NotAllowed():
            return Refused(_problem(403, str(error)))
        case ResolutionError():
            return Refused(_of_resolution(error))
        case RPCError():
            return _of_temporal(error)
        case _:
            return _of_run(error)


def _of_run(error: Exception) -> Refused | None:
    name = type(error).__name__
    match error:
        case RunNotFound() | NoConversation():
            return refused(404, str(error), kind=name)
        case WorkflowQueryFailedError() | WorkflowUpdateFailedError():
            return refused(404, f"this run asks nobody, as it has no gate of ours: {error}")
        case WorkflowAlreadyStartedError():
            return refused(409, str(error), kind=name)
        case BadCursor():
            field = FieldProblem(field="query.cursor", detail=str(error))
            return refused(422, str(error), errors=[field])
        case DefinitionError():
            return refused(422, str(error), kind=name)
        case OperatorError():
            return _later(str(error), kind=name)
        case TimeoutError():
            return _later("Temporal did not answer in time")
        case RuntimeError() if str(error).startswith(_NO_SERVER):
            return _later(str(error))
        case KeyError() if _UNREADABLE in str(error):
            return refused(503, _CANNOT_READ, kind="Unreadable")
        case _:
            return None


def _later(detail: str, status: int = 503, seconds: int = LATER, **more: Any) -> Refused:
    return Refused(_problem(status, detail, **more), {"Retry-After": str(seconds)})


def _of_temporal(error: RPCError) -> Refused:
    if error.status in _BUSY:
        return _later(f"Temporal is called too often: {error}", 429, BUSY)
    if error.status is RPCStatusCode.NOT_FOUND:
        return refused(404, f"Temporal has no such thing: {error}")
    if error.status in _FAULT:
        return refused(422, f"Temporal refuses it: {error}")
    return _later(f"Temporal does not answer ({error.status.name}): {error}")


def _of_resolution(error: ResolutionError) -> Problem:
    name, detail = type(error).__name__, str(error)
    record = None if error.record is None else read(ResolutionRecord, error.record)
    match error:
        case AlreadyResolved() if record is not None and record.timed_out:
            at = record.resolved_at
            return _problem(410, detail, name, record=record, timed_out_at=at)
        case AlreadyResolved() | DecisionConflict():
            return _problem(409, detail, name, record=record)
        case TooLate():
            return _problem(410, detail, name)
        case UnknownRequirement():
            return _problem(404, detail, name)
        case NotPermitted():
            return _problem(403, detail, name)
        case BadSignature():
            # Made here: an operator has to see to the keys.
            return _problem(503, detail, name)
        case _:
            return _problem(422, detail, name, errors=fields(error.problems))


def fields(problems: Sequence[str], within: str = "body") -> list[FieldProblem]:
    """Return problems of the form `where: what` by field."""
    found = [(_NAMED.fullmatch(each), each) for each in problems]
    return [
        FieldProblem(field=f"{within}.{match[1]}", detail=match[2])
        if match
        else FieldProblem(field=None, detail=each)
        for match, each in found
    ]


def _invalid(error: RequestValidationError) -> Problem:
    errors = [
        FieldProblem(field=".".join(map(str, each["loc"])) or None, detail=each["msg"])
        for each in error.errors()
    ]
    detail = "; ".join(f"{each.field}: {each.detail}" for each in errors[:20])
    return _problem(422, detail, errors=errors)


class Limited(Request):
    """A request whose body has its limits, in size and in what counts as JSON."""

    async def body(self) -> bytes:
        """Return the body; raises 413 where it is too large."""
        if not hasattr(self, "_body"):
            parts, size = list[bytes](), 0
            async for part in self.stream():
                parts.append(part)
                size += len(part)
                if size > BODY:
                    raise HTTPException(413, f"the body has more than {BODY:,} bytes")
            self._body = b"".join(parts)
        return self._body

    async def json(self) -> Any:
        """Return the body as JSON; raises 400 where it is none."""
        # Python's own parser takes what no other does, and what cannot be handed on: NaN, halves of
        # characters, nesting without end.
        if not hasattr(self, "_json"):
            try:
                self._json = from_json(await self.body(), allow_inf_nan=False)
            except ValueError as error:
                raise HTTPException(400, f"the body is not JSON: {error}") from None
        return self._json


Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class ProblemRoute(APIRoute):
    """A route that tells what goes wrong as a problem, whatever application it is mounted in."""

    def get_route_handler(self) -> Handler:
        """Return the handler, with the mapping around it."""
        handle = super().get_route_handler()

        async def mapped(request: Request) -> Response:
            try:
                response = await handle(Limited(request.scope, request.receive))
            except Exception as error:
                problem = told(error)
                if problem is None:
                    raise
                response = problem.problem.response(problem.headers)
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return mapped


def tell_problems(app: FastAPI) -> None:
    """Have a whole application tell what no route of ours answers (404, 405) as problems too."""

    async def handle(_: Request, error: Exception) -> Response:
        problem = told(error)
        assert problem is not None, "only what has a problem is registered"
        return problem.problem.response(problem.headers)

    for kind in (HTTPException, RequestValidationError, HitlError, RPCError):
        app.add_exception_handler(kind, handle)


_CONTENT = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI document says of these statuses, beside those of every route."""
    always = (400, 401, 403, 413, 422, 429, 503)
    return {
        status: {"description": HTTPStatus(status).phrase, "content": _CONTENT}
        for status in sorted({*always, *statuses})
    }
