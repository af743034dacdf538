"""What a worker files approvals with, and the activities by which runs have that done.

A worker that serves an approval starts only where it can file it, and where what must be signed can
be verified.
"""

# temporalio's own signatures hold bare Callables and TypeVars.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from temporal_hitl._registry import Registry
from temporal_hitl._wire import read
from temporal_hitl.approvals import FILE, Approval, ApprovalsFile, ApprovalSink
from temporal_hitl.errors import OperatorError
from temporal_hitl.plan import approvals_activity
from temporal_hitl.review import ApprovalType
from temporal_hitl.signing import KEYS


class Sink:
    """Files approvals; where is found out when the worker starts."""

    def __init__(self) -> None:
        self.sink: ApprovalSink | None = None

    def activities(self, names: Sequence[str]) -> list[Callable[..., Any]]:
        """Return an activity for each of these pipelines."""
        return [activity.defn(name=approvals_activity(name))(self._filer()) for name in names]

    def _filer(self) -> Callable[..., Any]:
        async def file(data: dict[str, Any]) -> None:
            """Keep an approval that has closed."""
            try:
                await self._write(data)
            except Exception as error:
                raise ApplicationError(str(error), type=type(error).__qualname__) from error

        return file

    async def _write(self, data: dict[str, Any]) -> None:
        if self.sink is None:
            raise _no_file("this worker")
        # A disk may take its time, and a sink of the user's may be either.
        written = await asyncio.to_thread(self.sink.write, read(Approval, data))
        if inspect.isawaitable(written):
            await written


def check(registry: Registry, sink: ApprovalSink | None, *, verifies: bool) -> None:
    """Return where a worker may serve what is registered.

    Raises:
        OperatorError: an approval could not be filed, or signed; with what to set.
    """
    approvals = _approvals(registry)
    if approvals and sink is None:
        raise _no_file(f"{next(iter(approvals))!r} is an approval, and this worker")
    if isinstance(sink, ApprovalsFile) and approvals:
        sink.check()
    required = [name for name, each in approvals.items() if each is ApprovalType.required]
    if required and not verifies:
        raise OperatorError(
            f"{required[0]!r} needs an approval, which counts only if it is signed, and this worker"
            f" has nothing to verify that with: set {KEYS} (kid:secret) for the workers, and for"
            " the HTTP API or the command line that sign. An embedded server needs none"
        )


def _approvals(registry: Registry) -> dict[str, ApprovalType]:
    """Return what is approved, by the tool's name behind its agent's."""
    found = dict[str, ApprovalType]()
    for served in registry.served.values():
        if served.agent is None:
            continue
        for tool, guard in served.agent.guarded.items():
            if guard.approval is not None:
                found[f"{served.agent.name}.{tool}"] = guard.approval
    return found


def _no_file(who: str) -> OperatorError:
    return OperatorError(
        f"{who} has nowhere to file approvals: set {FILE} to a file that is kept (JSON Lines, on a"
        " disk of its own or one that is backed up), or give HitlPlugin(approvals=...) a sink"
    )
