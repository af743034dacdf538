"""The first page of the inbox over HTTP, with so many requirements open.

What waits are runs that no worker has, with the memo and the attributes that a run which waits has:
the list is made of these alone, and ten thousand are there in seconds. The service is a process of
its own. Cold is the first page after its start; warm are pages one after another for some seconds,
so that the list is renewed again and again meanwhile.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from datetime import UTC, datetime, timedelta

from httpx2 import AsyncClient
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from temporal_hitl._attributes import HITL_STATUS, PENDING
from temporal_hitl.client import PENDING_RUNS
from temporal_hitl.workflow import MEMO_KEY
from tests.benchmarks.contest import QUEUE
from tests.benchmarks.figure import Figure, percentile
from tests.benchmarks.http_service import service
from tests.benchmarks.paused import in_turn
from tests.benchmarks.server import embedded, new_id

ROUNDS = 2_000
PAGE = 100
AIM = 50
LISTED_LIMIT = 600.0


async def inbox(figure: str, rounds: int, size: int) -> Figure:
    """Return the p99 of a warm page, with what is beside it."""
    async with embedded() as client:
        await _fill(client, size)
        async with service(client.service_client.config.target_host) as http:
            cold = await _page(http, size)
            warm = [await _page(http, size) for _ in range(rounds)]
    detail = {
        "aim": AIM,
        "rounds": rounds,
        "open": size,
        "cold_ms": round(cold, 1),
        "warm_p50_ms": round(statistics.median(warm), 2),
        "warm_p99_ms": percentile(warm, 99),
        "warm_max_ms": round(max(warm), 1),
    }
    return Figure(figure, percentile(warm, 99), "milliseconds", detail)


async def _page(http: AsyncClient, size: int) -> float:
    began = time.perf_counter()
    told = await http.get("/requirements", params={"limit": PAGE})
    took = (time.perf_counter() - began) * 1000
    items = told.raise_for_status().json()["items"]
    assert min(PAGE, size) == len(items), f"a page of {len(items)}"
    return took


async def _fill(client: Client, size: int) -> None:
    now = datetime.now(UTC)
    attributes = TypedSearchAttributes([SearchAttributePair(HITL_STATUS, PENDING)])

    async def start(number: int) -> None:
        row = {
            "id": "redact",
            "kind": "confirmation",
            "path": "redact",
            "name": "redact",
            "message": "Redact the names?",
            "created_at": now.isoformat(),
            "deadline": (now + timedelta(days=number % 30)).isoformat(),
        }
        await client.start_workflow(
            "release",
            id=new_id("waits"),
            task_queue=f"{QUEUE}-nobody",
            memo={MEMO_KEY: {"count": 1, "rows": [row]}},
            search_attributes=attributes,
        )

    await in_turn(size, start)
    await asyncio.wait_for(_listed(client, size), LISTED_LIMIT)


async def _listed(client: Client, size: int) -> None:
    while (await client.count_workflows(PENDING_RUNS)).count < size:
        await asyncio.sleep(0.2)
