"""The reference deployment's HTTP service: `uvicorn api.main:app`, or `python -m api`.

Serves the plugin's router and inbox for the deployment's pipelines. All that it does can be done in
an application of one's own with
`app.include_router(hitl_router(client, workflows, inbox=Inbox()))`.
"""

from __future__ import annotations

from fastapi import FastAPI

from api.settings import Settings
from temporal_hitl import HitlClient
from temporal_hitl.http import hitl_application
from workflows.article_refinement import article_refinement
from workflows.data_release import data_release
from workflows.support_desk import support_desk

__all__ = ["app", "application"]

PIPELINES = [data_release, article_refinement, support_desk.workflow]


def application(settings: Settings | None = None) -> FastAPI:
    """Return the service; it connects to Temporal when it is first called, and waits for no one."""
    chosen = settings or Settings()

    async def connect() -> HitlClient:
        return await HitlClient.connect(
            task_queue=chosen.task_queue, lazy=True, data_converter=chosen.data_converter
        )

    return hitl_application(
        connect,
        PIPELINES,
        authenticator=chosen.authenticator(),
        inbox=chosen.inbox(),
        signing_keys=chosen.keys(),
        approvals=chosen.approvals(),
    )


app = application()
