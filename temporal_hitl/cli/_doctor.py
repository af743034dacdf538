"""`temporal-hitl doctor`: looks at all that runs need, and says what to do where something is
missing.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue as TaskQueueName
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeTaskQueueRequest,
    GetSystemInfoRequest,
)
from temporalio.client import WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from temporal_hitl._attributes import SEARCH_ATTRIBUTES, check_search_attributes
from temporal_hitl.cli._command import Session
from temporal_hitl.cli._exits import Exit, trouble
from temporal_hitl.client import TASK_QUEUE, HitlClient, RunRow
from temporal_hitl.errors import SearchAttributesMissing

LOOKED_AT = 1000
"""How many running runs are looked at."""
TYPES = 20
"""How many kinds of run are asked whether a worker serves them."""
PATIENCE = timedelta(seconds=3)
"""How long one of them is given."""


class Verdict(StrEnum):
    """How a check went."""

    ok = "ok"
    warning = "warning"
    wrong = "wrong"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    found: str
    todo: str = ""
    """What to do, where there is something."""


async def doctor(
    at: Session,
    task_queue: Annotated[
        list[str] | None,
        typer.Option("--task-queue", "-t", help="More task queues to look at; may be repeated."),
    ] = None,
) -> Exit:
    """Look at the server, the namespace, the workers and what is stuck; say what to do."""
    checks = await _checks(at, task_queue or [TASK_QUEUE])
    wrong = any(each.verdict is Verdict.wrong for each in checks)
    lines = [line for each in checks for line in _lines(each)]
    at.terminal.tell({"ok": not wrong, "checks": [asdict(each) for each in checks]}, *lines)
    return Exit.not_well if wrong else Exit.done


def _lines(check: Check) -> list[str]:
    todo = [f"{'':9}-> {line}" for line in check.todo.splitlines()]
    return [f"{check.verdict.value:8} {check.name}: {check.found}", *todo]


async def _checks(at: Session, queues: list[str]) -> list[Check]:
    try:
        hitl = await at.client()
        checks = [await _server(hitl)]
        namespace, retention = await _namespace(hitl)
    except Exception as error:
        told = trouble(error)
        if told is None:
            raise
        return [Check("connection", Verdict.wrong, told.message)]
    checks.append(namespace)
    if retention is None:
        return checks
    checks.append(await _attributes(hitl))
    if checks[-1].verdict is Verdict.wrong:
        return checks
    running = [row async for row in hitl.list_runs("ExecutionStatus = 'Running'", limit=LOOKED_AT)]
    checks += await _workers(hitl, [*queues, *(row.task_queue for row in running)], running)
    checks += [await _unserved(hitl, running), _blocked(running)]
    return [*checks, await _retention(hitl, retention)]


async def _server(hitl: HitlClient) -> Check:
    info = await hitl.client.workflow_service.get_system_info(GetSystemInfoRequest())
    target = hitl.client.service_client.config.target_host
    return Check("connection", Verdict.ok, f"{target}, Temporal {info.server_version}")


async def _namespace(hitl: HitlClient) -> tuple[Check, timedelta | None]:
    name = hitl.client.namespace
    try:
        told = await hitl.client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=name)
        )
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        todo = f"temporal operator namespace create --namespace {name}"
        return Check("namespace", Verdict.wrong, f"there is no {name!r}", todo), None
    kept = told.config.workflow_execution_retention_ttl.ToTimedelta()
    return Check("namespace", Verdict.ok, f"{name}, keeps ended runs {_days(kept)}"), kept


async def _attributes(hitl: HitlClient) -> Check:
    name = "search attributes"
    try:
        there = await check_search_attributes(hitl.client)
    except SearchAttributesMissing as error:
        found, _, todo = str(error).partition("\n")
        return Check(name, Verdict.wrong, found, "\n".join(map(str.strip, todo.splitlines())))
    if there:
        return Check(name, Verdict.ok, ", ".join(SEARCH_ATTRIBUTES))
    options = " ".join(f"--name {each} --type {kind}" for each, kind in SEARCH_ATTRIBUTES.items())
    create = "temporal operator search-attribute create"
    todo = f"{create} --namespace {hitl.client.namespace} {options}"
    told = f"{', '.join(SEARCH_ATTRIBUTES)} are missing; a worker creates them where it may, or run"
    return Check(name, Verdict.wrong, told, todo)


async def _workers(hitl: HitlClient, queues: Iterable[str], running: list[RunRow]) -> list[Check]:
    checks = (_queue(hitl, each, running) for each in dict.fromkeys(queues))
    return list(await asyncio.gather(*checks))


async def _queue(hitl: HitlClient, queue: str, running: list[RunRow]) -> Check:
    kinds = (
        TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    )
    workflows, activities = [await _pollers(hitl, queue, each) for each in kinds]
    waiting = sum(row.task_queue == queue for row in running)
    name = f"workers of {queue!r}"
    found = f"{workflows} for workflows, {activities} for steps; runs there: {waiting}"
    if workflows and activities:
        return Check(name, Verdict.ok, found)
    todo = f"temporal-hitl worker my_package.pipelines --task-queue {shlex.quote(queue)}"
    return Check(name, Verdict.wrong if waiting else Verdict.warning, found, todo)


async def _pollers(hitl: HitlClient, queue: str, kind: TaskQueueType.ValueType) -> int:
    request = DescribeTaskQueueRequest(
        namespace=hitl.client.namespace,
        task_queue=TaskQueueName(name=queue),
        task_queue_type=kind,
    )
    told = await hitl.client.workflow_service.describe_task_queue(request)
    # Who has polled within the last minutes is told; who lives polls again within one.
    recent = datetime.now(UTC) - timedelta(seconds=70)
    return sum(each.last_access_time.ToDatetime(UTC) > recent for each in told.pollers)


async def _unserved(hitl: HitlClient, running: list[RunRow]) -> Check:
    name = "workflow types"
    oldest = {
        (row.workflow_name, row.task_queue): row for row in running
    }  # The last is the oldest.
    asked = list(oldest.values())[:TYPES]
    served = await asyncio.gather(*(_serves(hitl, row.run_id) for row in asked))
    lacking = [row for row, there in zip(asked, served, strict=True) if not there]
    if not lacking:
        return Check(name, Verdict.ok, f"each of the {len(asked)} that have open runs is served")
    found = "; ".join(f"{row.workflow_name} on {row.task_queue!r} has none" for row in lacking)
    names = " ".join(f"--retired {row.workflow_name}" for row in lacking)
    todo = f"serve them, or only what waits still needs: temporal-hitl worker ... {names}"
    return Check(name, Verdict.wrong, found, todo)


_METADATA = "__temporal_workflow_metadata"


async def _serves(hitl: HitlClient, run_id: str) -> bool:
    # A query that the workers of every SDK answer, if they have the type; old ones say that they
    # do not know it.
    try:
        await hitl.handle(run_id).query(_METADATA, rpc_timeout=PATIENCE)
    except WorkflowQueryFailedError as error:
        return _METADATA in str(error)
    except RPCError:
        return False
    return True


def _blocked(running: list[RunRow]) -> Check:
    stuck = [row for row in running if row.blocked]
    if not stuck:
        return Check("blocked runs", Verdict.ok, "none")
    lacking = ", ".join(sorted({each for row in stuck for each in row.blocked}))
    found = f"{len(stuck)} wait for a worker that has {lacking} (as {stuck[0].run_id})"
    return Check("blocked runs", Verdict.wrong, found, "deploy one; they go on by themselves")


async def _retention(hitl: HitlClient, retention: timedelta) -> Check:
    deadlines = [row.deadline async for row in hitl.list_requirements() if row.deadline]
    name = "retention"
    if not deadlines:
        return Check(name, Verdict.ok, f"{_days(retention)}; no deadline is open")
    longest = max(deadlines) - datetime.now(UTC)
    found = f"{_days(retention)}; the longest open deadline is in {_days(longest)}"
    if longest <= retention:
        return Check(name, Verdict.ok, found)
    days = longest.days + 1
    todo = (
        "runs that wait are safe; ended ones, and earlier executions of those that wait, go sooner."
        f" To keep them: temporal operator namespace update --namespace {hitl.client.namespace}"
        f" --retention {days}d"
    )
    return Check(name, Verdict.warning, found, todo)


def _days(length: timedelta) -> str:
    seconds = length.total_seconds()
    return f"{seconds / 86400:.1f} days" if seconds >= 86400 else f"{seconds / 3600:.1f} hours"
