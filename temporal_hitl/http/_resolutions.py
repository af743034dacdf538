"""Answers: one, and many with a result each.

Owns what a caller may say of a resolution: what addresses it stands in the path, who decides is who
calls, and the decision id is made of the caller and the `Idempotency-Key`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, Union, get_args

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, create_model

from temporal_hitl._wire import read
from temporal_hitl.errors import MalformedResolution, NoWorker, ResolutionError
from temporal_hitl.http._access import Caller
from temporal_hitl.http._filters import Name
from temporal_hitl.http._problems import (
    FieldProblem,
    Problem,
    ProblemRoute,
    Refused,
    documented,
    fields,
    refused,
    told,
)
from temporal_hitl.http._requirements import RequirementId
from temporal_hitl.http._runs import RunId
from temporal_hitl.http._service import Here, IdempotencyKey, Reviewer, Service, key_of
from temporal_hitl.requirements import (
    Answer,
    AnyResolution,
    EditArguments,
    ResolutionRecord,
    Wire,
    parse_resolution,
)

router = APIRouter(route_class=ProblemRoute, tags=["requirements"])

MANY = 500
"""How many answers one request may hold."""
_BESIDE = {"requirement_id", "decision_id", "signature"}
"""What a resolution has, and its body has not: the path, the Idempotency-Key, and who calls."""


def _body_of(resolution: type[Any]) -> type[Any]:
    said: dict[str, Any] = {
        name: (field.rebuild_annotation(), field)
        for name, field in resolution.model_fields.items()
        if name not in _BESIDE
    }
    doc = resolution.__doc__
    return create_model(f"{resolution.__name__}Body", __base__=Wire, __doc__=doc, **said)


if TYPE_CHECKING:
    AnyBody: TypeAlias = AnyResolution
else:
    _BODIES = tuple(_body_of(each) for each in get_args(get_args(AnyResolution)[0]))
    AnyBody = Annotated[Union[_BODIES], Field(discriminator="action")]  # noqa: UP007


class Resolve(BaseModel):
    """One answer among many."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    run_id: Name = Field(min_length=1)
    """The run that asks."""
    requirement_id: Name = Field(min_length=1)
    """What it asks."""
    resolution: AnyBody
    """The answer."""


class ResolveMany(BaseModel):
    """Many answers; each counts or is refused by itself."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    resolutions: list[Resolve] = Field(min_length=1, max_length=MANY)


class Resolved(BaseModel):
    """What became of one answer among many."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    run_id: str
    requirement_id: str
    status: int
    """What the answer alone would have been told."""
    record: ResolutionRecord | None = None
    """The decision, where it counts."""
    problem: Problem | None = None
    """Why it does not, where it does not."""


@router.post(
    "/runs/{run_id:path}/requirements/{requirement_id}/resolution",
    responses=documented(404, 409, 410),
)
async def resolve(
    run_id: RunId,
    requirement_id: RequirementId,
    resolution: AnyBody,
    here: Here,
    caller: Reviewer,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> ResolutionRecord:
    """Answer a requirement, and return the record of the decision.

    The first valid answer wins; every other caller is told who won. With an `Idempotency-Key` the
    same answer may be sent again, and counts once; without one the response has one.
    """
    key = idempotency_key or uuid.uuid4().hex
    response.headers["Idempotency-Key"] = key
    return await decide(here, caller, run_id, requirement_id, resolution.model_dump(), key)


async def decide(
    here: Service, caller: Caller, run_id: str, requirement_id: str, said: dict[str, Any], key: str
) -> ResolutionRecord:
    """Answer one requirement with a body that `caller` sent under `key`."""
    whole = _resolution(here, caller, run_id, requirement_id, said, key_of(caller, key))
    try:
        record = await here.client.resolve(run_id, whole)
    except Exception as error:
        raise _problem(here, run_id, whole, error, key) from error
    here.snapshot.resolved(run_id, record)
    return record


@router.post("/resolutions", responses=documented())
async def resolve_many(
    many: ResolveMany, here: Here, caller: Reviewer, idempotency_key: IdempotencyKey = None
) -> list[Resolved]:
    """Answer many requirements of many runs, and return what became of each, in order.

    With an `Idempotency-Key` all of it may be sent again, and each answer counts once.
    """
    sent = [
        (each.run_id, each.requirement_id, each.resolution.model_dump())
        for each in many.resolutions
    ]
    return await decide_many(here, caller, sent, idempotency_key or uuid.uuid4().hex)


async def decide_many(
    here: Service, caller: Caller, sent: Sequence[tuple[str, str, dict[str, Any]]], key: str
) -> list[Resolved]:
    """Answer many: each the run, the requirement, and a body that `caller` sent under `key`."""
    decisions = [
        (run_id, _resolution(here, caller, run_id, asked, said, key_of(caller, key, run_id, asked)))
        for run_id, asked, said in sent
    ]
    answers = await here.client.resolve_many(decisions)
    return [
        _resolved(here, run_id, sent, answer, key)
        for (run_id, sent), answer in zip(decisions, answers, strict=True)
    ]


def _resolution(
    here: Service,
    caller: Caller,
    run_id: str,
    requirement_id: str,
    said: dict[str, Any],
    decision_id: str,
) -> AnyResolution:
    claimed = said.get("resolved_by")
    if caller.user is not None and claimed not in (None, caller.user):
        told = f"who decides is who calls, {caller.user!r}; leave it out"
        problem = FieldProblem(field="body.resolved_by", detail=told)
        raise refused(422, f"resolved_by: {told}", errors=[problem])
    beside = {
        "requirement_id": requirement_id,
        "decision_id": decision_id,
        "resolved_by": caller.user or claimed,
    }
    resolution = parse_resolution({**said, **beside})
    subject = caller.user or (caller.signs_as and (claimed or caller.signs_as))
    if here.signer is None or not subject:
        return resolution
    namespace = here.client.client.namespace
    return here.signer.sign(
        resolution, namespace=namespace, run_id=run_id, subject=subject, roles=caller.roles
    )


def _resolved(
    here: Service, run_id: str, sent: AnyResolution, answer: ResolutionRecord | Exception, key: str
) -> Resolved:
    became = Resolved(run_id=run_id, requirement_id=sent.requirement_id, status=200)
    if isinstance(answer, ResolutionRecord):
        here.snapshot.resolved(run_id, answer)
        return became.model_copy(update={"record": answer})
    error = _problem(here, run_id, sent, answer, key)
    if not isinstance(error, Refused):
        raise error
    problem = error.problem
    return became.model_copy(update={"status": problem.status, "problem": problem})


_WITHIN: dict[type, str] = {Answer: "body.values", EditArguments: "body.arguments"}
"""Where in a body those stand that the problems of an answer name."""


def _problem(
    here: Service, run_id: str, sent: AnyResolution, error: Exception, key: str
) -> Exception:
    """Return `error` as what a caller is told; itself where it is a bug of ours."""
    if isinstance(error, ResolutionError) and error.record is not None:
        record = read(ResolutionRecord, error.record)
        if record.requirement_id == sent.requirement_id:
            here.snapshot.resolved(run_id, record)  # Somebody else was first.
    found = told(error)
    if found is None:
        return error
    more: dict[str, Any] = {}
    if isinstance(error, NoWorker):
        more["idempotency_key"] = key
    if isinstance(error, MalformedResolution):
        within = _WITHIN.get(type(sent), "body")
        more["errors"] = fields(error.problems, within)
    return Refused(found.problem.model_copy(update=more), found.headers)
