"""Whether the service lives, and whether it can serve: what an orchestrator asks.

Neither needs a token, and neither tells anything but that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from temporalio.service import RPCError

from temporal_hitl.client import PENDING_RUNS, HitlClient

PATIENCE = timedelta(seconds=3)
"""How long Temporal has to answer."""


def health_router(client: HitlClient) -> APIRouter:
    """Return the two questions, `/health/live` and `/health/ready`, asked of `client`."""
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live")
    async def live() -> dict[Literal["status"], str]:
        """Return that the process answers."""
        return {"status": "live"}

    async def ready() -> JSONResponse:
        """Return whether Temporal answers, and has what the inbox filters by."""
        why = await _why_not(client)
        return JSONResponse({"status": why or "ready"}, 503 if why else 200)

    _add(router, ready)
    return router


def _add(router: APIRouter, ready: Callable[[], Awaitable[JSONResponse]]) -> None:
    unready = {503: {"description": "Temporal does not answer"}}
    router.add_api_route("/ready", ready, responses={**unready})


async def _why_not(client: HitlClient) -> str | None:
    try:
        # The SDK's own limit is one attempt's, and it makes ten.
        async with asyncio.timeout(PATIENCE.total_seconds()):
            await client.client.count_workflows(PENDING_RUNS, rpc_timeout=PATIENCE)
    except (RPCError, RuntimeError, TimeoutError) as error:
        # The SDK raises a RuntimeError where a client that connects on first use cannot.
        return f"Temporal does not answer: {type(error).__name__}"
    return None
