"""Brings answers to the doors of runs, and their verdicts and errors back.

Decides nothing: what a resolution means is the run's business.
"""

# temporalio's own signatures hold bare Callables and TypeVars.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

from temporalio.client import (
    Client,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from temporal_hitl._reach import AT_ONCE, PATIENCE, Reach
from temporal_hitl._wire import read
from temporal_hitl.errors import (
    AlreadyResolved,
    DecisionConflict,
    NoWorker,
    ResolutionError,
    RunError,
    UnknownRequirement,
    from_wire,
)
from temporal_hitl.requirements import (
    AnyResolution,
    ResolutionRecord,
    digest_of,
    parse_resolution,
)

_NO_VERDICT = {
    RPCStatusCode.FAILED_PRECONDITION,  # "unexpected workflow task failure", "in failed state"
    RPCStatusCode.RESOURCE_EXHAUSTED,  # "limit on number of concurrent in-flight updates"
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.UNKNOWN,  # "transport error"
}

_OF_ONE = (ResolutionError, RunError, NoWorker, RPCError, WorkflowUpdateFailedError)
"""What goes wrong with one answer, and says nothing of others."""


class Answering:
    """Answers the requirements of the runs of one namespace; see `HitlClient`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._reach = Reach(client)

    async def resolve(
        self, run_id: str, resolution: AnyResolution | dict[str, Any]
    ) -> ResolutionRecord:
        """Answer one requirement, and return the record of the decision."""
        parsed = parse_resolution(resolution)
        if parsed.decision_id is None:
            parsed = parsed.model_copy(update={"decision_id": uuid.uuid4().hex})
        try:
            return await self._send(run_id, parsed, _update_id(parsed))
        except UnknownRequirement:
            # Perhaps an old outcome: a reset delivered the same update before its question was
            # open, and Temporal answers a known update id with the first outcome.
            return await self._send(run_id, parsed, uuid.uuid4().hex)

    async def _send(
        self, run_id: str, parsed: AnyResolution, update_id: str | None
    ) -> ResolutionRecord:
        # A server that restarts, or a run that moves on in the same moment, gives no verdict; the
        # decision id makes it safe to ask again.
        give_up = asyncio.get_running_loop().time() + PATIENCE.total_seconds()
        pause = 0.05
        while True:
            try:
                return await self._send_once(run_id, parsed, update_id)
            except WorkflowUpdateRPCTimeoutOrCancelledError as error:
                raise await self._unheard(run_id, parsed) from error
            except RPCError as error:
                if error.status not in _NO_VERDICT:
                    return await self._after_the_end(run_id, parsed, error)
                if asyncio.get_running_loop().time() > give_up:
                    raise await self._unheard(run_id, parsed) from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def _send_once(
        self, run_id: str, parsed: AnyResolution, update_id: str | None
    ) -> ResolutionRecord:
        try:
            told = await self._client.get_workflow_handle(run_id).execute_update(
                "resolve",
                parsed.to_wire(),
                id=update_id,
                rpc_timeout=PATIENCE,
                result_type=dict[str, Any],
            )
        except WorkflowUpdateFailedError as error:
            return await self._refused(run_id, parsed, error)
        return _same_decision(parsed, read(ResolutionRecord, told))

    async def _unheard(self, run_id: str, sent: AnyResolution) -> NoWorker:
        try:
            nobody = str(await self._reach.nobody_answers(run_id))
        except RPCError as error:
            nobody = f"the server does not answer for run {run_id!r} ({error})"
        again = f"send it again with decision_id={sent.decision_id!r}: it counts once"
        return NoWorker(f"{nobody}. The decision is not known to be recorded; {again}")

    async def _refused(
        self, run_id: str, sent: AnyResolution, error: WorkflowUpdateFailedError
    ) -> ResolutionRecord:
        cause = error.cause
        if isinstance(cause, ApplicationError):
            refusal = from_wire(cause.type, cause.message, cause.details or ())
            if refusal is not None:
                raise refusal from None
            if cause.type == "AcceptedUpdateCompletedWorkflow":
                return await self._after_the_end(run_id, sent, error)
        raise error

    async def _after_the_end(
        self, run_id: str, sent: AnyResolution, error: Exception
    ) -> ResolutionRecord:
        if isinstance(error, RPCError) and error.status is not RPCStatusCode.NOT_FOUND:
            raise error
        records = await self._records(run_id)
        record = next(
            (each for each in records if each.requirement_id == sent.requirement_id), None
        )
        if record is None:
            raise UnknownRequirement(
                f"run {run_id!r} has ended, and it never had a requirement {sent.requirement_id!r}"
            ) from None
        return _same_decision(sent, record)

    async def _records(self, run_id: str) -> list[ResolutionRecord]:
        # The result of a pipeline holds its records, and needs no worker to be read.
        ended = (await self._reach.whole(await self._reach.family(run_id))).resolutions
        if ended:
            return ended
        try:
            return (await self._reach.requirements(run_id, resolved=True)).resolved
        except WorkflowQueryFailedError:
            return []

    async def resolve_many(
        self, decisions: Sequence[tuple[str, AnyResolution | dict[str, Any]]]
    ) -> list[ResolutionRecord | Exception]:
        """Answer many requirements of many runs; return each one's record or error, in order."""
        room = asyncio.Semaphore(AT_ONCE)

        async def one(
            run_id: str, resolution: AnyResolution | dict[str, Any]
        ) -> ResolutionRecord | Exception:
            async with room:
                try:
                    return await self.resolve(run_id, resolution)
                except _OF_ONE as error:
                    return error

        return list(await asyncio.gather(*(one(*decision) for decision in decisions)))


def _update_id(parsed: AnyResolution) -> str | None:
    # Temporal answers a known update id with the first outcome, and a signature that did not hold
    # is one. Signed anew it is another call; that it is the same decision the run finds itself.
    return parsed.decision_id if parsed.signature is None else digest_of(parsed.to_wire())


def _same_decision(sent: AnyResolution, record: ResolutionRecord) -> ResolutionRecord:
    # The server answers a known update id with the first outcome, whatever the body says.
    ours = getattr(record.resolution, "decision_id", None) == sent.decision_id
    if ours and record.resolution.model_dump() == sent.model_dump():
        return record
    refusal = DecisionConflict if ours else AlreadyResolved
    raise refusal(
        f"{record.requirement_id!r} is resolved already: {record.told()}",
        record=record.model_dump(mode="json"),
    )
