"""How a run goes on with what its people decided, and what a caller is told of it.

Owns what of drafts is sent, and which refusals raise.
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from temporal_hitl._watching import Watching
from temporal_hitl.client import HitlClient
from temporal_hitl.drafts import AnyDraft
from temporal_hitl.errors import ResolutionError, RunFailed
from temporal_hitl.requirements import AnyRequirement, AnyResolution, Refusal
from temporal_hitl.run import RunStatus, WorkflowRunOutput
from temporal_hitl.signing import Signer
from temporal_hitl.stream_events import (
    AnyStreamEvent,
    RouterPausedEvent,
    RunSnapshotEvent,
    StepContinuedEvent,
    StepErrorEvent,
    StepOutputEvent,
    StepOutputReviewEvent,
    StepPausedEvent,
    WorkflowCancelledEvent,
    WorkflowCompletedEvent,
    WorkflowErrorEvent,
    WorkflowStartedEvent,
)

Events = AsyncGenerator[AnyStreamEvent]

FEW = (
    RunSnapshotEvent,
    WorkflowStartedEvent,
    StepOutputEvent,
    StepErrorEvent,
    StepPausedEvent,
    StepContinuedEvent,
    RouterPausedEvent,
    StepOutputReviewEvent,
    WorkflowCompletedEvent,
    WorkflowCancelledEvent,
    WorkflowErrorEvent,
)
"""What is told without `stream_events=True`."""


@dataclass(frozen=True)
class Signs:
    """Signs decisions, each for who it says decides, as somebody who has these roles."""

    signer: Signer
    roles: tuple[str, ...]

    def signed(self, decision: AnyResolution, namespace: str, run_id: str) -> AnyResolution:
        """Return a decision as it is sent; raises `ValueError` where nobody says whose it is."""
        who = decision.resolved_by
        if not who:
            raise ValueError(
                f"{decision.requirement_id!r}: roles=... signs for who decides; set resolved_by"
            )
        return self.signer.sign(
            decision, namespace=namespace, run_id=run_id, subject=who, roles=self.roles
        )


class GoingOn:
    """Sends the decisions of `drafts`, or of the drafts in `output`, to the run `run_id`; signed,
    where `signs` says how.
    """

    def __init__(
        self,
        client: HitlClient,
        run_id: str,
        output: WorkflowRunOutput | None,
        drafts: Sequence[AnyDraft] | None,
        signs: Signs | None,
    ) -> None:
        self._client = client
        self._run_id = run_id
        self._seen = {} if output is None else _open(output)
        self._drafts = _drafts(output) if drafts is None else drafts
        self._signs = signs

    async def wait(self) -> WorkflowRunOutput:
        """Return the run once it has ended or needs a person again."""
        refused = await self._send()
        output = or_raise(await self._client.wait(self._run_id, seen=self._seen))
        return (
            output.model_copy(update={"refused": [*output.refused, *refused]})
            if refused
            else output
        )

    async def watch(self) -> tuple[Events, list[Refusal]]:
        """Return what happens until then, and the decisions that were refused."""
        watching = Watching(
            self._client.client,
            self._run_id,
            until=lambda: self._client.wait(self._run_id, seen=self._seen),
        )
        await watching.join()
        refused = await self._send()
        return watching.events(), refused

    async def _send(self) -> list[Refusal]:
        decisions = [(each.run_id, made) for each in self._drafts if (made := each.resolution())]
        if not decisions:
            await _check_nothing_open(self._client, self._run_id, self._drafts)
        if self._signs is not None:
            signed, namespace = self._signs.signed, self._client.client.namespace
            decisions = [(run, signed(made, namespace, run)) for run, made in decisions]
        return await _send(self._client, decisions)


async def few(events: Events) -> Events:
    """Yield what is told without `stream_events=True`."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, FEW):
                yield event


def _drafts(output: WorkflowRunOutput | None) -> Sequence[AnyDraft]:
    return [] if output is None else output.drafts()


def _open(output: WorkflowRunOutput) -> dict[tuple[str, str], AnyRequirement]:
    return {(run.run_id, each.id): each for run in output.runs() for each in run.requirements}


async def _check_nothing_open(client: HitlClient, run_id: str, drafts: Sequence[AnyDraft]) -> None:
    missing = {(each.run_id, each.id): ", ".join(each.missing_values) for each in drafts}
    waiting: list[str] = []
    for (asks, key), each in _open(await client.get(run_id)).items():
        of = "" if asks == run_id else f" of run {asks!r}"
        lacks = f" without {names}" if (names := missing.get((asks, key))) else ""
        waiting.append(f"{key}{of} ({each.kind}{lacks}: {each.message})")
    if waiting:
        raise ValueError(f"nothing was decided; run {run_id!r} waits for {', '.join(waiting)}")


async def _send(
    client: HitlClient, decisions: Sequence[tuple[str, AnyResolution]]
) -> list[Refusal]:
    answers = await client.resolve_many(decisions)
    errors = [answer for answer in answers if isinstance(answer, Exception)]
    if errors and (
        len(errors) == len(decisions)
        or not all(isinstance(each, ResolutionError) for each in errors)
    ):
        raise errors[0]
    return [
        Refusal(
            at=datetime.now(UTC),
            door="update",
            payload=decision.model_dump_json()[:500],
            reason=str(answer),
        )
        for (_, decision), answer in zip(decisions, answers, strict=True)
        if isinstance(answer, Exception)
    ]


def or_raise(output: WorkflowRunOutput) -> WorkflowRunOutput:
    """Return the output, or raise what made the run fail."""
    if output.status is not RunStatus.error:
        return output
    message = output.error or "the run failed"
    failed = RunFailed(message, run_output=output)
    module, _, name = (output.error_type or "").rpartition(".")
    own = getattr(builtins, name, None) if module == "builtins" else None
    if isinstance(own, type) and issubclass(own, Exception):
        raise own(message) from failed
    raise failed
