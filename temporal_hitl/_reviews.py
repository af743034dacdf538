"""Asks people about nodes, as their `ReviewPlan` says, and tells what an answer means for the walk.

Every question goes through the gate; what was asked for a node is progress, so that nothing is
asked twice.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from temporalio import workflow

from temporal_hitl._messages import fill_in, values_of
from temporal_hitl._progress import Progress
from temporal_hitl._scope import Scope
from temporal_hitl.events import AnyEvent, NodeSkipped
from temporal_hitl.plan import AnyPlan, ConditionPlan, ReviewPlan
from temporal_hitl.requirements import Confirmation, ResolutionRecord
from temporal_hitl.review import OnReject, OnTimeout
from temporal_hitl.workflow import Deadline, Gate


class RunCancelled(Exception):
    """A person, a deadline or the author's policy ended the run early."""


class Start(Enum):
    """What becomes of a node before it has begun."""

    as_planned = auto()
    otherwise = auto()
    """A Condition takes its else-branch, whatever its evaluator would say."""
    left_out = auto()


class Reviews:
    """Asks through `gate`; `happened` is told what the run's reader should know."""

    def __init__(
        self, gate: Gate, progress: Progress, happened: Callable[[AnyEvent], None]
    ) -> None:
        self._gate = gate
        self._progress = progress
        self._happened = happened

    async def start(self, node: AnyPlan, scope: Scope) -> Start:
        """Ask whether to begin, where the author wants it; raises `RunCancelled`."""
        if not node.review.requires_confirmation:
            return Start.as_planned
        record = await self._confirmation(node, scope)
        if record.approved:
            return Start.as_planned
        wants_else = not record.timed_out and node.review.on_reject is OnReject.else_branch
        if wants_else and isinstance(node, ConditionPlan) and node.else_children:
            return Start.otherwise
        self._leave_out(node.review, record, scope)
        return Start.left_out

    async def _confirmation(self, node: AnyPlan, scope: Scope) -> ResolutionRecord:
        asked, review = self._progress.asked, node.review
        if scope.path not in asked:
            template = review.confirmation_message
            asked[scope.path] = self._gate.put(
                Confirmation,
                name=node.name,
                path=scope.path,
                message=_filled_in(template, scope) if template else _question(node),
                template=template,
                on_reject=review.on_reject,
                **_deadline(review),
            )
        return await self._gate.closed(asked[scope.path])

    def _leave_out(self, review: ReviewPlan, record: ResolutionRecord, scope: Scope) -> None:
        cancels = (
            review.on_timeout is OnTimeout.cancel
            if record.timed_out
            else review.on_reject is OnReject.cancel
        )
        if cancels:
            raise RunCancelled(f"{record.requirement_id}: {record.told()}")
        now = workflow.now()
        self._happened(NodeSkipped(at=now, path=scope.path, requirement_id=record.requirement_id))


def _deadline(review: ReviewPlan) -> Deadline:
    deadline: Deadline = {
        "on_timeout": review.on_timeout,
        "strict_deadline": review.strict_deadline,
    }
    return deadline if review.timeout is None else {**deadline, "timeout": review.timeout}


def _filled_in(template: str, scope: Scope) -> str:
    return fill_in(template, values_of(scope.input, scope.previous, scope.iteration))


def _question(node: AnyPlan) -> str:
    if not isinstance(node, ConditionPlan):
        return f"Execute {node.kind} {node.name!r}?"
    by = "the if-branch" if node.evaluator is True else "what its evaluator says"
    no = "the else-branch" if node.review.on_reject is OnReject.else_branch else "neither branch"
    return f"Execute condition {node.name!r}? (yes: {by}; no: {no})"
