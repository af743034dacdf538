"""One router with everything, for any FastAPI application."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, Depends
from temporalio.client import Client

from temporal_hitl.approvals import ApprovalsFile
from temporal_hitl.client import HitlClient
from temporal_hitl.http import _approvals, _events, _pipelines, _requirements, _resolutions, _runs
from temporal_hitl.http._access import Authenticator, LoopbackOnly
from temporal_hitl.http._problems import ProblemRoute
from temporal_hitl.http._service import entrance, service_of
from temporal_hitl.http.inbox import Inbox, inbox_router
from temporal_hitl.primitives import Definition
from temporal_hitl.signing import SigningKeys

__all__ = ["hitl_router"]


def hitl_router(
    client: HitlClient | Client,
    workflows: Iterable[Definition] = (),
    *,
    authenticator: Authenticator | None = None,
    inbox: Inbox | None = None,
    signing_keys: SigningKeys | None = None,
    approvals: ApprovalsFile | None = None,
) -> APIRouter:
    """Return the HTTP API over the runs of the client's namespace.

    `workflows` are the pipelines that it shows and starts; requirements of every run are listed and
    answered. Without an `authenticator` only this machine is served. With an `inbox`, its pages are
    at `/inbox`. With `signing_keys`, which the workers have too, the answers of callers who have a
    name are signed, and may answer what is for certain roles; without, who decides is a claim.
    `approvals` is the file that the workers write, by default the one that `HITL_APPROVALS_FILE`
    names.
    What goes wrong is told as `application/problem+json`, whatever application the router is
    included in.
    """
    hitl = client if isinstance(client, HitlClient) else HitlClient(client)
    filed = approvals or ApprovalsFile.from_environment()
    service = service_of(hitl, workflows, authenticator or LoopbackOnly(), signing_keys, filed)
    scheme = service.authenticator.scheme
    dependencies = [Depends(entrance(service)), *([Depends(scheme)] if scheme else [])]
    router = APIRouter(route_class=ProblemRoute, dependencies=dependencies)
    # What matches any path below a run comes last.
    for each in (_pipelines, _approvals, _runs, _requirements, _resolutions, _events):
        router.include_router(each.router)
    router.include_router(_runs.last)
    if inbox is None:
        return router
    both = APIRouter()
    both.include_router(inbox_router(service, inbox))
    both.include_router(router)
    return both
