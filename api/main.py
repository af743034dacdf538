"""The reference deployment's HTTP service: `uvicorn api.main:app`, or `python -m api`.

Mounts the plugin's router for the deployment's pipelines. All that it does can be done in an
application of one's own with `app.include_router(hitl_router(client, workflows, inbox=Inbox()))`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Response
from fastapi.responses import RedirectResponse

from api.health import health_router
from api.settings import Settings
from temporal_hitl import HitlClient
from temporal_hitl.http import hitl_router, tell_problems
from workflows.article_refinement import article_refinement
from workflows.data_release import data_release
from workflows.support_desk import support_desk

__all__ = ["app", "application"]

PIPELINES = [data_release, article_refinement, support_desk.workflow]


def application(settings: Settings | None = None) -> FastAPI:
    """Return the service; it connects to Temporal when it is first called, and waits for no one."""
    chosen = settings or Settings()
    authenticator = chosen.authenticator()
    clients = list[HitlClient]()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        client = await HitlClient.connect(
            task_queue=chosen.task_queue, lazy=True, data_converter=chosen.data_converter
        )
        clients.append(client)
        app.include_router(
            hitl_router(client, PIPELINES, authenticator=authenticator, inbox=chosen.inbox())
        )
        yield

    app = FastAPI(title="temporal_hitl", lifespan=lifespan)
    app.add_api_route("/", _to_inbox, include_in_schema=False)
    app.include_router(health_router(lambda: clients[-1] if clients else None))
    tell_problems(app)
    return app


def _to_inbox() -> Response:
    return RedirectResponse("/inbox", 303)


app = application()
