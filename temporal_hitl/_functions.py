"""Runs the author's functions of a node, and decides with `on_error` what their failures mean.

Knows nothing of what a node does with what they return.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from temporalio import workflow

from temporal_hitl._agent_progress import AgentProgress
from temporal_hitl._budget import Budget
from temporal_hitl._caller import Caller, StepFailed
from temporal_hitl._calls import ActivityResult, Role, activity_id_of
from temporal_hitl._given import Given
from temporal_hitl._journal import Journal
from temporal_hitl._progress import Failure, Progress
from temporal_hitl._reviews import Reviews
from temporal_hitl._scope import Scope
from temporal_hitl._sizes import Sizes, size_of
from temporal_hitl.events import AnyEvent, NodeFailed, SourceChanged, StateConflict
from temporal_hitl.plan import AnyPlan, Call, ConditionPlan, LoopPlan, RouterPlan, StepPlan
from temporal_hitl.review import OnError
from temporal_hitl.run import RunOptions, StepOutput

T = TypeVar("T")
Failing = StepPlan | ConditionPlan | LoopPlan | RouterPlan
"""The nodes that have functions, and with them an `on_error`."""


class Functions:
    """Calls the functions that a plan names, within the run's `budget`."""

    def __init__(
        self,
        caller: Caller,
        budget: Budget,
        options: RunOptions,
        session_id: str,
        progress: Progress,
        reviews: Reviews,
        happened: Callable[[AnyEvent], None],
        journal: Journal,
    ) -> None:
        self._caller = caller
        self._budget = budget
        self._options = options
        self._session_id = session_id
        self._progress = progress
        self._reviews = reviews
        self.happened = happened
        """Tells the run's reader of an event."""
        self._journal = journal
        self._given: dict[str, Given] = {}
        self._sizes = Sizes()

    def given(self, activity_id: str) -> Given:
        """Return what a call on its way may see."""
        return self._given[activity_id]

    async def call(
        self,
        role: Role,
        call: Call,
        node: AnyPlan,
        scope: Scope,
        outputs: Sequence[StepOutput] = (),
        *,
        conversation: AgentProgress | None = None,
        **more: Any,
    ) -> ActivityResult:
        """Return what a function gave back, once its changes of the state are applied.

        `more` are the fields of the role's own; `conversation` is what an agent's turn goes on.

        Raises:
            StepFailed: it failed for good, or the run would hold too much.
        """
        self._budget.allow(scope.path, attempts=0)
        before = scope.state.values
        given = Given(scope, self._options, outputs, self._sizes, conversation)
        asked = given.call(role, node, self._session_id, self._options.user_id, **more)
        key = activity_id_of(asked)
        self._given[key] = given
        try:
            result = await self._caller.call(call, asked)
        finally:
            del self._given[key]
        self._check_source(call, result, scope)
        # What a turn was told of its calls stands in the messages that it gives.
        replaced = 0 if conversation is None else conversation.answers_size
        self._budget.allow(scope.path, max(_size_of(result) - replaced, 0))
        self._check_state(before, result, scope)
        scope.state.apply(result.state_changes, result.state_removed)
        return result

    def _check_state(self, before: Mapping[str, Any], result: ActivityResult, scope: Scope) -> None:
        # Members of a team, and approved tools, work at once and on one state.
        now, above = scope.state.values, scope.path.rpartition(".")[0]
        for key in (*result.state_changes, *result.state_removed):
            theirs, own = now.get(key), result.state_changes.get(key)
            if theirs not in (before.get(key), own):
                at = workflow.now()
                self.happened(StateConflict(at=at, path=above, key=key, kept=scope.path))

    def _check_source(self, call: Call, result: ActivityResult, scope: Scope) -> None:
        if result.digest == call.digest:
            return
        changed = SourceChanged(
            at=workflow.now(),
            path=scope.path,
            executor=result.function,
            planned=call.digest,
            executed=result.digest,
        )
        self.happened(changed)

    # Failures

    async def tried(self, node: Failing, scope: Scope, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work` returns; where it fails for good, as often as a person has it tried.

        Raises:
            StepFailed: it failed, and nobody is asked, or a person has left it so.
        """
        if node.on_error is not OnError.pause:
            try:
                return await work()
            except StepFailed as failed:
                self._journal.failed(node, scope, failed)
                raise
        while True:
            failure = self._progress.tried(scope.path).failure
            if failure is None:
                try:
                    return await work()
                except StepFailed as failed:
                    failure = _as_failure(failed)
                    self._progress.fail(scope.path, failure)
            if not await self._reviews.failure(node, scope, failure):
                self._progress.keep(scope.path, failure=None, given_up=True)
                raise _as_error(failure, self._progress.tried(scope.path).attempts)
            self._progress.retry(scope.path)

    def go_on(self, node: Failing, scope: Scope, kind: str, failed: StepFailed) -> StepOutput:
        """Return the output of a node that failed; raises `failed` where the run fails with it."""
        if node.on_error is OnError.fail:
            raise failed
        self.note(failed)
        if failed.output is not None:
            return failed.output
        return StepOutput(
            step_name=node.name,
            path=scope.path,
            step_type=kind,
            success=False,
            error=f"{failed.kind}: {failed.message}",
        )

    def note(self, failed: StepFailed) -> None:
        """Tell the run's reader of a failure that the run goes on from."""
        happened = NodeFailed(
            at=workflow.now(),
            path=failed.path,
            error_type=failed.kind,
            error_message=failed.message,
            attempts=failed.attempts,
        )
        self.happened(happened)


def _as_failure(failed: StepFailed) -> Failure:
    return Failure(
        path=failed.path,
        kind=failed.kind,
        message=failed.message,
        attempts=failed.attempts,
        output=failed.output,
    )


def _as_error(failure: Failure, attempts: int) -> StepFailed:
    return StepFailed(failure.path, failure.kind, failure.message, attempts, failure.output)


def _size_of(result: ActivityResult) -> int:
    output = 0 if result.output is None else result.output.encoded_size
    value = size_of(result.value)
    return output + value + size_of(result.state_changes)
