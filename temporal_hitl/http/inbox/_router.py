"""All pages, as one router."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from temporal_hitl.http._service import Service
from temporal_hitl.http.inbox import _approvals, _assets, _decisions, _list, _run, _sign_in, _start
from temporal_hitl.http.inbox._pages import Inbox, PageRoute, Pages, opened

__all__ = ["inbox_router"]


def inbox_router(service: Service, inbox: Inbox) -> APIRouter:
    """Return the pages over what `service` serves."""
    begin = Depends(opened(Pages(service, inbox)))
    router = APIRouter(route_class=PageRoute, dependencies=[begin], include_in_schema=False)
    # What matches any path below a run comes last.
    for each in (_assets, _sign_in, _list, _approvals, _start, _decisions):
        router.include_router(each.router)
    router.include_router(_run.last)
    return router
