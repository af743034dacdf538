"""Asks people about nodes, as their `ReviewPlan` says, and tells what an answer means for the walk.

Every question goes through the gate; what was asked for a node is progress, so that nothing is
asked twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

from temporalio import workflow

from temporal_hitl._forms import completed
from temporal_hitl._journal import Journal
from temporal_hitl._messages import fill_in, values_of
from temporal_hitl._progress import FAILED, FORM, REVIEW, ROUTE, Failure, Progress
from temporal_hitl._scope import Scope
from temporal_hitl.events import AnyEvent, NodeSkipped
from temporal_hitl.plan import AnyPlan, ConditionPlan, LoopPlan, ReviewPlan, RouterPlan, StepPlan
from temporal_hitl.requirements import (
    Confirmation,
    ErrorDecision,
    IterationReview,
    OutputReview,
    Requirement,
    ResolutionRecord,
    Route,
    UserInput,
    used_up,
)
from temporal_hitl.review import OnReject, OnTimeout
from temporal_hitl.run import StepOutput
from temporal_hitl.workflow import Gate, Policy


class RunCancelled(Exception):
    """A person, a deadline or the author's policy ended the run early."""


class Start(Enum):
    """What becomes of a node before it has begun."""

    as_planned = auto()
    otherwise = auto()
    """A Condition takes its else-branch, whatever its evaluator would say."""
    left_out = auto()


@dataclass(frozen=True)
class Kept:
    """An output counts."""

    edited: bool = False
    content: Any = None
    """What a person made of it, where it is `edited`."""


@dataclass(frozen=True)
class Again:
    """It is made again."""

    feedback: str | None


@dataclass(frozen=True)
class Dropped:
    """It does not count, and the run goes on."""


Verdict = Kept | Again | Dropped


@dataclass(frozen=True)
class _Question:
    kind: type[Requirement]
    default: str
    template: str | None = None
    """What the author wrote; else the default is asked."""
    on_reject: OnReject | None = None
    """What a rejection does."""
    shown: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The fields of its kind."""
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What else the template may name."""
    listed: str | None = None
    """What lists of all runs show of the default, where that tells more than they may."""
    added: str = ""
    """What is said after the question, whoever wrote it."""


class Reviews:
    """Asks through `gate`; `happened` is told what the run's reader should know."""

    def __init__(
        self,
        gate: Gate,
        progress: Progress,
        happened: Callable[[AnyEvent], None],
        journal: Journal,
    ) -> None:
        self._gate = gate
        self._progress = progress
        self._happened = happened
        self._journal = journal

    # Before a node runs. Each raises `RunCancelled` where the answer, or the deadline, says so.

    async def start(self, node: AnyPlan, scope: Scope) -> Start:
        """Ask whether to begin, where the author wants it."""
        if not node.review.requires_confirmation:
            return Start.as_planned
        said = node.review.confirmation_message
        question = _Question(Confirmation, _start(node), said, _once(node.review))
        record = await self._decided(node, scope, scope.path, question)
        if record.approved:
            self._journal.continued(node, scope, record)
            return Start.as_planned
        wants_else = not record.timed_out and node.review.on_reject is OnReject.else_branch
        if wants_else and isinstance(node, ConditionPlan) and node.else_children:
            return Start.otherwise
        self._leave_out(node.review, record, scope)
        return Start.left_out

    async def form(self, node: StepPlan, scope: Scope) -> dict[str, Any] | None:
        """Have the form filled in, and return its values; None where the step is left out."""
        review = node.review
        default = f"Fill in what step {node.name!r} needs:"
        shown = {"form": review.form, "fields": review.fields}
        said = review.user_input_message
        question = _Question(UserInput, default, said, _once(review), shown)
        record = await self._decided(node, scope, _below(scope, FORM), question)
        if record.approved:
            self._journal.continued(node, scope, record)
            return completed(review.form, record.values)
        self._leave_out(review, record, scope)
        return None

    async def route(self, node: RouterPlan, scope: Scope) -> list[str] | None:
        """Have the route chosen, and return its names, none where the deadline approves; None where
        the node is left out.
        """
        review, names = node.review, tuple(choice.name for choice in node.choices)
        default = f"Select a route from: {', '.join(names)}"
        shown = {"choices": names, "allow_multiple": review.allow_multiple_selections}
        question = _Question(Route, default, review.user_input_message, _once(review), shown)
        record = await self._decided(node, scope, _below(scope, ROUTE), question)
        if record.approved:
            return list(record.choices)
        self._leave_out(review, record, scope)
        return None

    # After it

    async def output(self, node: AnyPlan, scope: Scope, output: StepOutput) -> Verdict:
        """Ask what to make of an output."""
        review, rejected = node.review, self._progress.tried(scope.path).rejected
        shown = {"retries": rejected, "retries_limit": None}
        if review.on_reject is OnReject.retry:
            shown["retries_limit"] = review.max_retries
        shown |= {"output": output.content, "error": output.error}
        question = _Question(
            OutputReview,
            f"Review output of {node.kind} {node.name!r}?",
            review.output_review_message,
            review.on_reject,
            shown,
            {"output": output.content},
        )
        record = await self._decided(node, scope, _below(scope, REVIEW), question)
        if not self._wants_more(node, record):
            return self._settled(node, record, scope)
        if rejected >= review.max_retries:
            told = f"{record.told()}; {used_up(review.max_retries)}"
            raise RunCancelled(f"{record.requirement_id}: {told}")
        self._journal.continued(node, scope, record)
        return Again(record.feedback)

    async def iteration(self, node: LoopPlan, scope: Scope, content: Any) -> Verdict:
        """Ask whether an iteration was the last one."""
        review, iteration, most = node.review, scope.iteration or 1, node.max_iterations
        is_last = iteration >= most
        shown = {"output": content, "iteration": iteration, "max_iterations": most}
        question = _Question(
            IterationReview,
            f"Loop {node.name!r} completed iteration {iteration} of {most}. Accept it?",
            review.iteration_review_message,
            _once(review) if is_last else review.on_reject,
            shown,
            {"output": content},
            added=_consequence(review, is_last=is_last),
        )
        record = await self._decided(node, scope, _below(scope, REVIEW), question)
        if self._wants_more(node, record) and not is_last:
            self._journal.continued(node, scope, record)
            return Again(record.feedback)
        loop = replace(scope, path=scope.path.rpartition(".")[0])
        return self._settled(node, record, loop)

    async def failure(self, node: AnyPlan, scope: Scope, failure: Failure) -> bool:
        """Ask whether a node that has failed is tried again; False leaves it as failed."""
        tried, told = self._progress.tried(scope.path), f"{failure.kind}: {failure.message}"
        shown = {
            "error_type": failure.kind,
            "error_message": failure.message,
            "attempts": tried.attempts,
            "retries": tried.retried,
            "retries_limit": node.review.max_error_retries,
        }
        what, failed = "Retry or skip?", f"{node.kind.capitalize()} {node.name!r} failed"
        if tried.retried == node.review.max_error_retries:
            what = f"{used_up(tried.retried).capitalize()}: skip it?"
        question = _Question(
            ErrorDecision,
            f"{failed}: {told[:500]}. {what}",
            listed=f"{failed}. {what}",
            shown=shown,
        )
        record = await self._decided(node, scope, _below(scope, FAILED), question)
        if record.timed_out and node.review.on_timeout is OnTimeout.cancel:
            raise RunCancelled(f"{record.requirement_id}: {record.told()}")
        if record.approved:
            self._journal.continued(node, scope, record)
        return record.approved

    async def _decided(
        self, node: AnyPlan, scope: Scope, key: str, question: _Question
    ) -> ResolutionRecord:
        asked = self._progress.asked
        if key not in asked:
            asked[key] = self._put(node, scope, question)
            self._journal.paused(node, scope, self._gate.open[-1])
        return await self._gate.closed(asked[key])

    def _put(self, node: AnyPlan, scope: Scope, question: _Question) -> str:
        template, message = question.template, question.default
        if template:
            values = values_of(scope.input, scope.previous, scope.iteration, **question.about)
            message = fill_in(template, values)
            template += question.added
        return self._gate.put(
            question.kind,
            name=node.name,
            path=scope.path,
            message=message + question.added,
            template=template or question.listed,
            on_reject=question.on_reject,
            shown=question.shown,
            **_options(node.review),
        )

    # What an answer means

    def _wants_more(self, node: AnyPlan, record: ResolutionRecord) -> bool:
        decided = not record.approved and not record.timed_out
        return decided and node.review.on_reject is OnReject.retry

    def _settled(self, node: AnyPlan, record: ResolutionRecord, scope: Scope) -> Verdict:
        if record.approved:
            return Kept(record.action == "edit", record.output)
        self._leave_out(node.review, record, scope)
        return Dropped()

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


def _below(scope: Scope, mode: str) -> str:
    return f"{scope.path}.{mode}"


def _once(review: ReviewPlan) -> OnReject:
    """Return what a rejection does where nothing can be done again."""
    return OnReject.skip if review.on_reject is OnReject.retry else review.on_reject


def _options(review: ReviewPlan) -> Policy:
    options: Policy = {
        "on_timeout": review.on_timeout,
        "strict_deadline": review.strict_deadline,
        "roles": review.roles,
    }
    if review.timeout is not None:
        options["timeout"] = review.timeout
    if review.notify is not None:
        options["notify"] = review.notify
    if review.notify_before is not None:
        options["notify_before"] = review.notify_before
    return options


def _start(node: AnyPlan) -> str:
    if not isinstance(node, ConditionPlan):
        return f"Execute {node.kind} {node.name!r}?"
    by = "the if-branch" if node.evaluator is True else "what its evaluator says"
    no = "the else-branch" if node.review.on_reject is OnReject.else_branch else "neither branch"
    return f"Execute condition {node.name!r}? (yes: {by}; no: {no})"


def _consequence(review: ReviewPlan, *, is_last: bool) -> str:
    match review.on_reject:
        case OnReject.cancel:
            no = "the run is cancelled"
        case OnReject.retry if not is_last:
            no = "it goes round again"
        case _:
            no = "the loop ends and its output is dropped"
    last = "; this is the last iteration" if is_last else ""
    return f" (yes: the loop ends; no: {no}{last})"
