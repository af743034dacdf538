"""What a run tells while it goes on, kept in memory by each of its executions.

The interpreter says here what happens, at points that a replay comes by as well: every worker has
the same journal of an execution, and nothing of it is a command or stands in history. A query hands
it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from temporalio import workflow

from temporal_hitl import stream_events as told
from temporal_hitl._caller import StepFailed
from temporal_hitl._calls import ToolGiven
from temporal_hitl._children import child_run_id
from temporal_hitl._progress import Told
from temporal_hitl._scope import Scope
from temporal_hitl._sizes import first
from temporal_hitl.plan import (
    AnyPlan,
    Child,
    ConditionPlan,
    LoopPlan,
    ParallelPlan,
    Plan,
    RouterPlan,
    StepPlan,
    StepsPlan,
)
from temporal_hitl.requirements import (
    AnyRequirement,
    ErrorDecision,
    IterationReview,
    OutputReview,
    ResolutionRecord,
    Route,
)
from temporal_hitl.run import StepOutput

_CONTAINERS: dict[type, tuple[type[told.NodeEvent], type[told.NodeEvent]]] = {
    StepsPlan: (told.StepsExecutionStartedEvent, told.StepsExecutionCompletedEvent),
    ParallelPlan: (told.ParallelExecutionStartedEvent, told.ParallelExecutionCompletedEvent),
    ConditionPlan: (told.ConditionExecutionStartedEvent, told.ConditionExecutionCompletedEvent),
    RouterPlan: (told.RouterExecutionStartedEvent, told.RouterExecutionCompletedEvent),
    LoopPlan: (told.LoopExecutionStartedEvent, told.LoopExecutionCompletedEvent),
}


class Journal:
    """The stream events of one execution, in order.

    `kept` says what earlier executions have told of nodes that have not ended.
    """

    def __init__(self, kept: dict[str, Told], session_id: str | None) -> None:
        self._kept = kept
        self._session_id = session_id or workflow.info().workflow_id
        self._events: list[told.StreamEvent] = []
        self._places: dict[str, int] = {}

    def since(self, after: int) -> dict[str, Any]:
        """Return the events from index `after` on as JSON data, as many as one answer holds; a
        negative one counts from the end.
        """
        total = len(self._events)
        start = max(0, total + after) if after < 0 else min(after, total)
        events = first(each.model_dump(mode="json") for each in self._events[start:])
        execution = workflow.info().run_id
        return {"execution_id": execution, "after": start, "events": events, "total": total}

    # The run

    def run_started(self, plan: Plan) -> None:
        """Tell that the run walks `plan`, unless an earlier execution has."""
        self._places = {child.name: at for at, child in enumerate(plan.children)}
        info = workflow.info()
        if not info.continued_run_id:
            self._tell(told.WorkflowStartedEvent, at=info.workflow_start_time)

    def run_completed(self) -> None:
        """Tell that the run came to its end; clients fill in with what."""
        self._tell(told.WorkflowCompletedEvent)

    def run_cancelled(self, reason: str) -> None:
        """Tell that the run ended early."""
        self._tell(told.WorkflowCancelledEvent, reason=reason)

    def run_failed(self, failed: StepFailed) -> None:
        """Tell that the run failed."""
        self._tell(told.WorkflowErrorEvent, error=str(failed), error_type=failed.kind)

    # Its nodes

    def step_started(self, node: StepPlan, scope: Scope) -> None:
        """Tell that a step is executed."""
        child: str | None = None
        if isinstance(node.call, Child):
            child = child_run_id(workflow.info().workflow_id, scope.path)
        self._begin(told.StepStartedEvent, node, scope, child_run_id=child)

    def step_done(self, node: StepPlan, scope: Scope, output: StepOutput) -> None:
        """Tell what a step gave."""
        self._tell_of(told.StepOutputEvent, node, scope, step_output=output)
        self._end(told.StepCompletedEvent, node, scope, content=output.content)

    def failed(self, node: AnyPlan, scope: Scope, failed: StepFailed) -> None:
        """Tell that a node failed, which nobody is asked about."""
        self._tell_of(
            told.StepErrorEvent, node, scope, error=failed.message, error_type=failed.kind
        )

    def started(self, node: AnyPlan, scope: Scope, **fields: Any) -> None:
        """Tell that a container begins."""
        self._places |= {child.name: at for at, child in _children(node)}
        event, _ = _CONTAINERS[type(node)]
        self._begin(event, node, scope, **_counts(node), **fields)

    def completed(
        self, node: AnyPlan, scope: Scope, outputs: Sequence[StepOutput], **fields: Any
    ) -> None:
        """Tell that a container is through."""
        _, event = _CONTAINERS[type(node)]
        if "executed_steps" in event.model_fields:
            fields["executed_steps"] = len(outputs)
        if isinstance(node, ConditionPlan):
            fields["branch"] = "if" if fields["condition_result"] else "else"
        self._end(event, node, scope, step_results=outputs, **_counts(node), **fields)

    def iteration_started(self, node: LoopPlan, scope: Scope) -> None:
        """Tell that an iteration begins, whose `scope` is given."""
        self._begin(told.LoopIterationStartedEvent, node, scope, max_iterations=node.max_iterations)

    def iteration_completed(
        self, node: LoopPlan, scope: Scope, outputs: Sequence[StepOutput], *, ends: bool
    ) -> None:
        """Tell that an iteration is through."""
        self._end(
            told.LoopIterationCompletedEvent,
            node,
            scope,
            max_iterations=node.max_iterations,
            iteration_results=outputs,
            should_continue=not ends,
        )

    # Its questions

    def paused(self, node: AnyPlan, scope: Scope, requirement: AnyRequirement) -> None:
        """Tell that a node waits for a person."""
        mark = self._mark(scope)
        mark.paused = requirement.id
        asked = {"requirement": requirement}
        match requirement:
            case ErrorDecision(error_type=kind, error_message=message):
                # What is tried again is told again; an iteration whose end is in question is not.
                mark.begun = mark.begun and not isinstance(node, StepPlan)
                self._tell_of(
                    told.StepErrorEvent, node, scope, error=message, error_type=kind, **asked
                )
            case Route():
                self._tell_of(told.RouterPausedEvent, node, scope, **asked)
            case OutputReview() | IterationReview():
                self._tell_of(told.StepOutputReviewEvent, node, scope, **asked)
            case _:
                self._tell_of(told.StepPausedEvent, node, scope, **asked)

    def continued(self, node: AnyPlan, scope: Scope, record: ResolutionRecord) -> None:
        """Tell that a node goes on, as that was granted, or is done again."""
        mark, key = self._mark(scope), record.requirement_id
        if mark.paused != key:
            return
        mark.paused = None
        # A Router whose output was rejected asks for its route again, which is told itself.
        if not (isinstance(node, RouterPlan) and mark.ended):
            self._tell_of(told.StepContinuedEvent, node, scope, requirement_id=key)

    # Its agents' tools

    def tool_started(self, node: AnyPlan, scope: Scope, agent: str, given: ToolGiven) -> None:
        """Tell that a tool is executed, at a path of its own."""
        more = {"agent_name": agent, "tool_name": given.tool, "call_id": given.call_id}
        self._begin(told.ToolCallStartedEvent, node, scope, tool_args=given.arguments, **more)

    def tool_done(
        self, node: AnyPlan, scope: Scope, agent: str, tool: str, call_id: str, outcome: str
    ) -> None:
        """Tell what came of a tool's call."""
        more = {"agent_name": agent, "tool_name": tool, "call_id": call_id, "outcome": outcome}
        self._tell_of(told.ToolCallCompletedEvent, node, scope, **more)

    # Nothing is told twice, whatever execution comes by

    def _begin(self, event: type[told.NodeEvent], node: AnyPlan, scope: Scope, **more: Any) -> None:
        mark = self._mark(scope)
        if not mark.begun:
            mark.begun, mark.ended = True, False
            self._tell_of(event, node, scope, **more)

    def _end(self, event: type[told.NodeEvent], node: AnyPlan, scope: Scope, **more: Any) -> None:
        mark = self._mark(scope)
        if not mark.ended:
            mark.ended = True
            self._tell_of(event, node, scope, **more)

    def _mark(self, scope: Scope) -> Told:
        return self._kept.setdefault(scope.path, Told())

    def _tell_of(
        self, event: type[told.NodeEvent], node: AnyPlan, scope: Scope, **more: Any
    ) -> None:
        at = self._places.get(node.name, 0)
        place = {"path": scope.path, "step_name": node.name, "step_index": at}
        self._tell(event, **place, iteration=scope.iteration, **more)

    def _tell(
        self, event: type[told.StreamEvent], *, at: datetime | None = None, **more: Any
    ) -> None:
        info = workflow.info()
        self._events.append(
            event(
                run_id=info.workflow_id,
                workflow_name=info.workflow_type,
                session_id=self._session_id,
                created_at=at or workflow.now(),
                **more,
            )
        )


def _children(node: AnyPlan) -> list[tuple[int, AnyPlan]]:
    match node:
        case StepPlan():
            return []
        case ConditionPlan():
            return [*enumerate(node.children), *enumerate(node.else_children)]
        case RouterPlan():
            return list(enumerate(node.choices))
        case _:
            return list(enumerate(node.children))


def _counts(node: AnyPlan) -> dict[str, int]:
    match node:
        case StepsPlan():
            return {"steps_count": len(node.children)}
        case ParallelPlan():
            return {"parallel_step_count": len(node.children)}
        case LoopPlan():
            return {"max_iterations": node.max_iterations}
        case _:
            return {}
