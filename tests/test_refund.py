"""A refund: a workflow written by hand that has a gate, and activities of Temporal's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment, WorkflowEnvironment
from temporalio.worker import Worker

from activities.refund import ACTIVITIES, Order, record_refund
from activities.refund import Refund as Agreed
from activities.refund.records import RefundRequest
from temporal_hitl import Answer, Confirm, HitlClient, HitlPlugin, Reject
from temporal_hitl.requirements import AnyResolution
from tests.stage import WAIT, new_queue, paused, replays
from workflows.refund import PATIENCE, Refund

ORDERS = Path(__file__).parent.parent / "activities" / "data" / "orders.csv"
WHY = Answer(requirement_id="reason", values={"reason": "damaged"}, resolved_by="bo")
AGREED = Confirm(requirement_id="agree", resolved_by="ana")


@asynccontextmanager
async def shop(env: WorkflowEnvironment) -> AsyncIterator[HitlClient]:
    """Run a worker for the workflow, as a user's own program would."""
    queue = new_queue()
    with env.with_time_skipping_disabled(), ThreadPoolExecutor(2) as threads:
        async with Worker(
            env.client,
            task_queue=queue,
            workflows=[Refund],
            activities=ACTIVITIES,
            activity_executor=threads,
            plugins=[HitlPlugin()],
        ):
            yield HitlClient(env.client, task_queue=queue)


async def started(client: HitlClient, order: str, ledger: Path) -> str:
    request = RefundRequest(order=order, orders=str(ORDERS), ledger=str(ledger))
    return await client.start("refund", request)


async def outcome(client: HitlClient, run: str) -> dict[str, Any]:
    return await asyncio.wait_for(client.handle(run).result(), WAIT)


async def test_much_money_needs_somebody_who_agrees(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    """Above the limit two people decide, and the ledger says who; a second run pays nothing."""
    async with shop(env) as client:
        told: list[dict[str, Any]] = []
        for _ in range(2):
            run = await started(client, "1007", tmp_path)
            for answer in (WHY, AGREED):
                waiting = await paused(client, run)
                assert [answer.requirement_id] == [each.id for each in waiting.requirements]
                await client.resolve(run, answer)
            told.append(await outcome(client, run))
            await replays(client.handle(run), workflows=[Refund])

    (entry,) = tmp_path.iterdir()
    written = json.loads(entry.read_text())
    assert ["refunded", "refunded before"] == [each["status"] for each in told]
    assert ("1007", 41900, "damaged", "ana") == tuple(
        written[name] for name in ("order", "cents", "reason", "agreed_by")
    )
    assert [str(entry)] * 2 == [each["path"] for each in told]


@pytest.mark.parametrize(
    ("order", "answers", "status", "why"),
    [
        ("1003", [WHY], "refunded", "damaged, agreed by bo"),
        ("1003", [Reject(requirement_id="reason", feedback="no receipt")], "kept", "no receipt"),
        ("1002", [WHY, Reject(requirement_id="agree", feedback="too late")], "kept", "too late"),
        ("1002", [WHY], "kept", "its deadline acted"),
        ("9999", [], "kept", "0 orders have the number '9999'"),
    ],
    ids=["little", "no reason", "rejected", "nobody", "unknown"],
)
async def test_how_else_it_ends(
    env: WorkflowEnvironment,
    tmp_path: Path,
    order: str,
    answers: list[AnyResolution],
    status: str,
    why: str,
) -> None:
    """Money is paid where the answers say so, and in no other case; the outcome says why."""
    async with shop(env) as client:
        run = await started(client, order, tmp_path)
        for answer in answers:
            await paused(client, run)
            await client.resolve(run, answer)
        if why == "its deadline acted":
            await paused(client, run)
            await env.fast_forward(client.handle(run), PATIENCE + timedelta(seconds=1))
        told = await outcome(client, run)
        await replays(client.handle(run), workflows=[Refund])

    assert status == told["status"]
    assert why in told["why"]
    assert (status == "refunded") == (tmp_path / f"{order}.json").exists()


def test_one_entry_per_order_whoever_writes(tmp_path: Path) -> None:
    """Of many writers at one moment one makes the entry, and all return the one that stands."""
    order = Order("1007", "C-204", "2026-10-23", "Lawn mower", 41900, "EUR")

    def write(run: int) -> Any:
        activities = ActivityEnvironment()
        activities.info = replace(ActivityEnvironment.default_info(), workflow_id=f"run-{run}")
        return activities.run(record_refund, str(tmp_path), Agreed(order, "late", "", f"bo {run}"))

    with ThreadPoolExecutor(8) as threads:
        paid = list(threads.map(write, range(8)))

    assert 1 == len({each.entry.agreed_by for each in paid})
    assert 1 == sum(each.is_new for each in paid)
    assert 1 == len(list(tmp_path.iterdir()))
