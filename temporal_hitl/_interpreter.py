"""Walks a plan: one short method per node kind, deterministic, and nothing of the author's inside.

Owns the semantics of the primitives: what runs next, what it is given, and what its result means.
Every function of the author's runs as an activity; every question to a person goes through the
gate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from temporal_hitl._caller import Caller, StepFailed
from temporal_hitl._calls import ActivityCall, ActivityResult, Role, activity_id_of
from temporal_hitl._scope import Scope, State, container_output
from temporal_hitl._sizes import fitting, page, recent
from temporal_hitl.events import AnyEvent, NodeFailed, NodeSkipped, SourceChanged, StateConflict
from temporal_hitl.plan import (
    AnyPlan,
    Call,
    ConditionPlan,
    LoopPlan,
    ParallelPlan,
    Plan,
    RouterPlan,
    StepPlan,
    StepsPlan,
    plan_activity,
)
from temporal_hitl.requirements import Confirmation, ResolutionRecord
from temporal_hitl.review import OnError, OnReject, OnTimeout
from temporal_hitl.run import (
    RunOptions,
    RunStatus,
    StepInput,
    StepOutput,
    WorkflowRunOutput,
    one_result,
)
from temporal_hitl.workflow import Deadline, Gate

EVENTS_KEPT = 200
RETURNED = "temporal_hitl.ReturnedFailure"
"""The error type of a failure that an executor returned and did not raise."""


class RunCancelled(Exception):
    """A person, a deadline or the author's policy ended the run early."""


class Interpreter:
    """Walks one run's plan, and can tell at any time how the run stands."""

    def __init__(self, gate: Gate, run_input: Any, options: RunOptions) -> None:
        self._gate = gate
        self._input = run_input
        self._options = options
        self._state = State(dict(options.session_state))
        self._results: list[StepOutput] = []
        self._inner: dict[str, StepOutput] = {}
        self._caller = Caller(gate.blocked, gate.unblocked)
        self._events: list[AnyEvent] = []
        self._visible: dict[str, dict[str, StepOutput]] = {}

    async def run(self) -> dict[str, Any]:
        """Walk the plan to its end, and return the run's output as JSON data."""
        plan = await self._plan()
        try:
            await self._walk_all(plan.children, Scope("", self._input, self._state), self._results)
        except RunCancelled as cancelled:
            return fitting(self.output(RunStatus.cancelled, str(cancelled)))
        except StepFailed as failed:
            told = fitting(self.output(RunStatus.error, str(failed), failed.kind))
            raise ApplicationError(
                str(failed), told, type=failed.kind, non_retryable=True
            ) from None
        return fitting(self.output(RunStatus.completed))

    async def _plan(self) -> Plan:
        try:
            found = await workflow.execute_local_activity(
                plan_activity(workflow.info().workflow_type),
                start_to_close_timeout=timedelta(seconds=30),
                result_type=dict[str, Any],
            )
        except ActivityError as error:
            if isinstance(error.cause, ApplicationError):
                raise error.cause from None  # A retired pipeline says so.
            raise
        return Plan.model_validate(found)

    def output(
        self,
        status: RunStatus | None = None,
        error: str | None = None,
        error_type: str | None = None,
    ) -> WorkflowRunOutput:
        """Return the run as it stands, or as it ended where `status` says so."""
        info = workflow.info()
        blocked = RunStatus.blocked if self._gate.all_blocked else RunStatus.running
        waiting = RunStatus.paused if self._gate.open else blocked
        return WorkflowRunOutput(
            run_id=info.workflow_id,
            execution_id=info.run_id,
            workflow_name=info.workflow_type,
            session_id=self._session_id,
            user_id=self._options.user_id,
            status=status or waiting,
            input=self._input,
            content=one_result(self._results),
            step_results=self._results,
            inner_results=list(self._inner.values()),
            requirements=self._gate.open,
            resolutions=self._gate.records,
            refused=self._gate.refused,
            running=self._caller.running,
            blocked=self._gate.all_blocked,
            events=self._events,
            session_state=self._state.values,
            error=error,
            error_type=error_type,
            started_at=info.workflow_start_time,
        )

    def step_outputs(self, activity_id: str, start: int) -> dict[str, Any]:
        """Return a page of the outputs that a call on its way may name, from number `start` on."""
        return page(self._visible[activity_id], start)

    @property
    def _session_id(self) -> str:
        return self._options.session_id or workflow.info().workflow_id

    # One method per node kind. Each returns the node's output, or None where it was left out.

    async def _walk(self, node: AnyPlan, scope: Scope) -> StepOutput | None:
        scope = scope.below(node.slug)
        output = await self._node(node, scope)
        self._fold(scope.path)
        if output is not None and "." in scope.path:
            self._inner[scope.path] = output
        return output

    def _fold(self, path: str) -> None:
        # What a container produced is held by its own output, and by nothing else.
        for inner in [each for each in self._inner if each.startswith(f"{path}.")]:
            del self._inner[inner]

    async def _node(self, node: AnyPlan, scope: Scope) -> StepOutput | None:
        match node:
            case StepPlan():
                return await self._step(node, scope)
            case StepsPlan():
                outputs = await self._walk_all(node.children, scope)
                return container_output(node, scope, "Steps", outputs)
            case ParallelPlan():
                return await self._parallel(node, scope)
            case ConditionPlan():
                return await self._condition(node, scope)
            case LoopPlan():
                return await self._loop(node, scope)
            case RouterPlan():
                return await self._router(node, scope)

    async def _walk_all(
        self, nodes: Sequence[AnyPlan], scope: Scope, results: list[StepOutput] | None = None
    ) -> list[StepOutput]:
        results = [] if results is None else results
        for node in nodes:
            output = await self._walk(node, scope)
            if output is None:
                continue
            results.append(output)
            scope = scope.after(output)
            if output.stop:
                break
        return results

    async def _step(self, node: StepPlan, scope: Scope) -> StepOutput | None:
        if node.review.requires_confirmation and not await self._confirmed(node, scope):
            return None
        try:
            result = await self._call("executor", node.call, node, scope)
        except StepFailed as failed:
            return self._go_on(node, scope, "Step", failed)
        output = result.output
        if output is not None and not output.success:
            error = output.error or "the executor returned success=False"
            self._go_on(node, scope, "Step", StepFailed(scope.path, RETURNED, error))
        return output

    async def _confirmed(self, node: StepPlan, scope: Scope) -> bool:
        review = node.review
        deadline: Deadline = {
            "on_timeout": review.on_timeout,
            "strict_deadline": review.strict_deadline,
        }
        if review.timeout is not None:
            deadline["timeout"] = review.timeout
        record = await self._gate.ask(
            Confirmation,
            name=node.name,
            path=scope.path,
            message=review.confirmation_message or f"Execute step {node.name!r}?",
            on_reject=review.on_reject,
            **deadline,
        )
        if not record.approved:
            self._leave_out(record, review.on_reject, review.on_timeout, scope)
        return record.approved

    def _leave_out(
        self, record: ResolutionRecord, on_reject: OnReject, on_timeout: OnTimeout, scope: Scope
    ) -> None:
        cancels = (
            on_timeout is OnTimeout.cancel if record.timed_out else on_reject is OnReject.cancel
        )
        if cancels:
            raise RunCancelled(f"{record.requirement_id}: {record.told()}")
        now = workflow.now()
        self._happened(NodeSkipped(at=now, path=scope.path, requirement_id=record.requirement_id))

    async def _parallel(self, node: ParallelPlan, scope: Scope) -> StepOutput | None:
        branches = {child.name: scope.state.branch() for child in node.children}
        walks = [
            self._walk(child, replace(scope, state=branches[child.name])) for child in node.children
        ]
        outputs = await _together([asyncio.create_task(walk) for walk in walks])
        for key, kept in scope.state.merge(branches):
            conflict = StateConflict(at=workflow.now(), path=scope.path, key=key, kept=kept)
            self._happened(conflict)
        there = [output for output in outputs if output is not None]
        content = {output.step_name or "": output.content for output in there if output.produced}
        return container_output(node, scope, "Parallel", there, content=content)

    async def _condition(self, node: ConditionPlan, scope: Scope) -> StepOutput | None:
        yes = node.evaluator
        if isinstance(yes, Call):
            try:
                yes = (await self._call("evaluator", yes, node, scope)).value
            except StepFailed as failed:
                return self._go_on(node, scope, "Condition", failed)
        branch = node.children if yes else node.else_children
        return container_output(node, scope, "Condition", await self._walk_all(branch, scope))

    async def _loop(self, node: LoopPlan, scope: Scope) -> StepOutput | None:
        outputs: list[StepOutput] = []
        inside = scope
        for iteration in range(1, node.max_iterations + 1):
            inside = replace(inside, path=f"{scope.path}.{iteration}", iteration=iteration)
            # Only the last iteration that gave something is kept: a loop of thousands must not grow
            # the run.
            self._fold(scope.path)
            latest = await self._walk_all(node.children, inside)
            outputs = latest or outputs
            try:
                if await self._loop_ends(node, inside, latest):
                    break
            except StepFailed as failed:
                failure = self._go_on(node, scope, "Loop", failed)
                return failure.model_copy(update={"content": one_result(outputs), "steps": outputs})
            if node.forward_iteration_output:
                content = one_result(outputs)
                inside = replace(inside, input=content, previous=content)
        return container_output(node, scope, "Loop", outputs)

    async def _loop_ends(self, node: LoopPlan, scope: Scope, outputs: list[StepOutput]) -> bool:
        if scope.iteration == node.max_iterations or any(each.stop for each in outputs):
            return True
        for output in outputs:
            scope = scope.after(output)
        if node.end_condition is not None:
            call = self._call("end_condition", node.end_condition, node, scope, outputs)
            return bool((await call).value)
        if node.should_continue is not None:
            return not (
                await self._call("should_continue", node.should_continue, node, scope)
            ).value
        return False

    async def _router(self, node: RouterPlan, scope: Scope) -> StepOutput | None:
        try:
            selected = await self._call("selector", node.selector, node, scope)
            chosen = _choose(node, scope, selected.value)
        except StepFailed as failed:
            return self._go_on(node, scope, "Router", failed)
        return container_output(node, scope, "Router", await self._walk_all(chosen, scope))

    # Activities and their failures

    async def _call(
        self,
        role: Role,
        call: Call,
        node: AnyPlan,
        scope: Scope,
        outputs: Sequence[StepOutput] = (),
    ) -> ActivityResult:
        inline = recent(scope.outputs)
        step_input = StepInput(
            input=scope.input,
            previous_step_content=scope.previous,
            previous_step_outputs=inline,
            additional_data=self._options.additional_data,
            iteration=scope.iteration,
        )
        asked = ActivityCall(
            role=role,
            path=scope.path,
            name=node.name,
            step_input=step_input,
            more_outputs=len(inline) < len(scope.outputs),
            session_state=scope.state.values,
            session_id=self._session_id,
            user_id=self._options.user_id,
            outputs=list(outputs),
        )
        key = activity_id_of(asked)
        self._visible[key] = scope.outputs
        try:
            result = await self._caller.call(call, asked)
        finally:
            del self._visible[key]
        self._check_source(call, result, scope)
        scope.state.apply(result.state_changes, result.state_removed)
        return result

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
        self._happened(changed)

    def _go_on(
        self,
        node: StepPlan | ConditionPlan | LoopPlan | RouterPlan,
        scope: Scope,
        kind: str,
        failed: StepFailed,
    ) -> StepOutput:
        if node.on_error is OnError.fail:
            raise failed
        happened = NodeFailed(
            at=workflow.now(),
            path=failed.path,
            error_type=failed.kind,
            error_message=failed.message,
            attempts=failed.attempts,
        )
        self._happened(happened)
        return StepOutput(
            step_name=node.name,
            path=scope.path,
            step_type=kind,
            success=False,
            error=f"{failed.kind}: {failed.message}",
        )

    def _happened(self, event: AnyEvent) -> None:
        self._events.append(event)
        del self._events[:-EVENTS_KEPT]
        self._gate.note(event.told())


async def _together(tasks: list[asyncio.Task[StepOutput | None]]) -> list[StepOutput | None]:
    """Return what all tasks return; where one raises, end the others first, then raise it."""
    try:
        return await asyncio.gather(*tasks)
    except (Exception, asyncio.CancelledError):
        # In list order: a set of tasks, as in asyncio.TaskGroup, is cancelled in another order on
        # replay. Not in a `finally`, which may not wait when it is run by garbage collection.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _choose(node: RouterPlan, scope: Scope, names: Any) -> list[AnyPlan]:
    choices = {choice.name: choice for choice in node.choices}
    unknown = [name for name in names if name not in choices]
    if unknown:
        raise StepFailed(
            f"{scope.path}.selector",
            "temporal_hitl.UnknownChoice",
            f"the selector returned {unknown[0]!r}, which is not one of {', '.join(choices)}",
        )
    return [choices[name] for name in names]
