"""A whole application, for who has none to include the router in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from temporal_hitl.approvals import ApprovalsFile
from temporal_hitl.client import HitlClient
from temporal_hitl.http._access import Authenticator
from temporal_hitl.http._health import health_router
from temporal_hitl.http._problems import tell_problems
from temporal_hitl.http._router import hitl_router
from temporal_hitl.http.inbox import Inbox
from temporal_hitl.primitives import Definition
from temporal_hitl.signing import SigningKeys

__all__ = ["hitl_application"]


def hitl_application(
    connect: Callable[[], Awaitable[HitlClient]],
    workflows: Iterable[Definition] = (),
    *,
    authenticator: Authenticator | None = None,
    inbox: Inbox | None = None,
    signing_keys: SigningKeys | None = None,
    approvals: ApprovalsFile | None = None,
) -> FastAPI:
    """Return an application with what `hitl_router` has, and `/health`; `/` leads to the inbox, or
    else to the document of the API.

    `connect` is called once, when the application starts.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        client = await connect()
        app.include_router(health_router(client))
        app.include_router(
            hitl_router(
                client,
                workflows,
                authenticator=authenticator,
                inbox=inbox,
                signing_keys=signing_keys,
                approvals=approvals,
            )
        )
        yield

    async def begin() -> RedirectResponse:
        return RedirectResponse("/openapi.json" if inbox is None else "/inbox", 303)

    # FastAPI's own pages of the document load their script from another site.
    app = FastAPI(title="temporal_hitl", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_api_route("/", begin, include_in_schema=False)
    tell_problems(app)
    return app
