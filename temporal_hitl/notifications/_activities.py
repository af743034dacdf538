"""The activities of `temporal_hitl.Notification`: tell one subscriber, and ask a run whether a
requirement is still open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from temporalio import activity
from temporalio.client import WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from temporal_hitl._line import Line
from temporal_hitl._notices import Event, Notice
from temporal_hitl._notifying import IS_OPEN, TELL, TOLD
from temporal_hitl._reach import Reach
from temporal_hitl._subscribers import default_subscribers
from temporal_hitl._threads import DaemonThreads
from temporal_hitl._wire import read
from temporal_hitl.errors import HitlError, NoWorker, RunNotFound
from temporal_hitl.notifications._sending import send
from temporal_hitl.notifications._subscribers import CannotTell, Subscriber, subscriber
from temporal_hitl.plan import AnyPlan, Plan

AT_ONCE = 20
"""Sinks that one process waits for at once."""
MOOT = "not told: it is not open any more"
_log = logging.getLogger("temporal_hitl.notifications")


def telling_activities(line: Line) -> list[Callable[..., Any]]:
    """Return the activities that a worker needs to tell subscribers."""

    async def tell(data: dict[str, Any], name: str) -> str:
        """Tell one subscriber; what it returns and raises names it, and none of its URLs."""
        notice, info = read(Notice, data), activity.info()
        is_moot = info.attempt > 1 and notice.event is not Event.closed
        if is_moot and not await _is_open(line.reach(info), notice):
            return MOOT
        try:
            await _tell(notice, subscriber(name))
        except CannotTell as error:
            why = f"subscriber {name!r}: {error}"
        else:
            return TOLD
        # Outside of the handler, so that nothing hangs on it that a log would show.
        raise ApplicationError(why, type="temporal_hitl.NotTold")

    async def is_open(data: dict[str, Any]) -> bool:
        """Return whether the requirement of a notice is open; where nobody can say, it is."""
        return await _is_open(line.reach(activity.info()), read(Notice, data))

    return [activity.defn(name=TELL)(tell), activity.defn(name=IS_OPEN)(is_open)]


async def _tell(notice: Notice, to: Subscriber) -> None:
    done, problems = _done_before(len(to.urls)), list[str]()
    async with asyncio.TaskGroup() as all_at_once:
        tried = {
            index: all_at_once.create_task(_send(notice, to, url))
            for index, url in enumerate(to.urls)
            if index not in done
        }
    for index, task in tried.items():
        if (why := task.result()) is None:
            done.append(index)
        else:
            problems.append(why if len(to.urls) == 1 else f"URL {index + 1}: {why}")
    if problems:
        # The next attempt leaves out who has heard.
        activity.heartbeat(len(to.urls), done)
        raise CannotTell("; ".join(problems))


def _done_before(count: int) -> list[int]:
    before = activity.info().heartbeat_details
    return list(before[1]) if len(before) == 2 and before[0] == count else []


async def _send(notice: Notice, to: Subscriber, url: str) -> str | None:
    try:
        await asyncio.get_running_loop().run_in_executor(_threads(), send, notice, to, url)
    except CannotTell as error:
        return str(error)
    return None


@cache
def _threads() -> DaemonThreads:
    return DaemonThreads(AT_ONCE)


async def _is_open(reach: Reach, notice: Notice) -> bool:
    try:
        run = await reach.describe(notice.run_id)
        first = run.raw_description.workflow_execution_info.first_run_id
        if run.status is not WorkflowExecutionStatus.RUNNING or first != notice.chain:
            return False
        asked = (await reach.requirements(notice.run_id, resolved=False)).open
    except RunNotFound:
        return False
    except (NoWorker, RPCError) as error:
        # Better told once too often.
        _log.info("run %r does not say what is open: %s", notice.run_id, error)
        return True
    return any(each.id == notice.requirement_id for each in asked)


def warn_of_unknown(plans: Iterable[Plan]) -> None:
    """Log the subscribers of these plans that the environment does not know.

    Raises:
        DefinitionError: `HITL_NOTIFY` holds what is no name.
    """
    names = [*default_subscribers(), *(name for plan in plans for name in _named(plan))]
    for name in dict.fromkeys(names):
        try:
            subscriber(name)
        except HitlError as error:
            _log.warning("%s; what it is told waits for that, for three days", error)


def _named(plan: Plan) -> Iterator[str]:
    yield from plan.notify or ()
    nodes: list[AnyPlan] = list(plan.children)
    while nodes:
        node = nodes.pop(0)
        yield from node.review.notify or ()
        for below in ("children", "else_children", "choices"):
            nodes += getattr(node, below, ())
