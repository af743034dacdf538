"""Walks a plan: one short method per node kind, deterministic, and nothing of the author's inside.

Owns the semantics of the primitives: what runs next, what it is given, and what its result means.
Every function of the author's runs as an activity; every question to a person goes through the
gate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from temporalio import workflow

from temporal_hitl._budget import Budget
from temporal_hitl._caller import Caller, StepFailed
from temporal_hitl._calls import ActivityResult, Role, activity_id_of
from temporal_hitl._child_end import changes
from temporal_hitl._children import Children
from temporal_hitl._given import Given
from temporal_hitl._progress import LoopProgress, Progress
from temporal_hitl._reviews import Reviews, Start
from temporal_hitl._scope import Scope, State, container_output
from temporal_hitl._sizes import Sizes, size_of
from temporal_hitl.events import AnyEvent, NodeFailed, SourceChanged, StateConflict
from temporal_hitl.plan import (
    AnyPlan,
    Call,
    Child,
    ConditionPlan,
    LoopPlan,
    ParallelPlan,
    Plan,
    RouterPlan,
    StepPlan,
    StepsPlan,
)
from temporal_hitl.review import OnError
from temporal_hitl.run import RunOptions, StepOutput, one_result
from temporal_hitl.workflow import Gate

EVENTS_KEPT = 200
RETURNED = "temporal_hitl.ReturnedFailure"
"""The error type of a failure that an executor returned and did not raise."""


class Interpreter:
    """Walks a plan from wherever `progress` says, and keeps `progress` as it goes."""

    def __init__(
        self,
        gate: Gate,
        caller: Caller,
        children: Children,
        budget: Budget,
        options: RunOptions,
        progress: Progress,
        events: list[AnyEvent],
    ) -> None:
        self._gate = gate
        self._caller = caller
        self._children = children
        self._budget = budget
        self._options = options
        self._session_id = options.session_id or workflow.info().workflow_id
        self._progress = progress
        self._events = events
        self._given: dict[str, Given] = {}
        self._sizes = Sizes()
        self._reviews = Reviews(gate, progress, self._happened)

    async def walk(
        self, plan: Plan, run_input: Any, state: State, results: list[StepOutput]
    ) -> None:
        """Walk to the end, adding to `results` what the top-level nodes produce.

        Raises:
            RunCancelled: a person, a deadline or the author's policy ended the run.
            StepFailed: a step failed, and its author said that the run fails with it.
        """
        await self._walk_all(plan.children, Scope("", run_input, state), results)

    def given(self, activity_id: str) -> Given:
        """Return what a call on its way may see."""
        return self._given[activity_id]

    # One method per node kind. Each returns the node's output, or None where it was left out.

    async def _walk(self, node: AnyPlan, scope: Scope) -> StepOutput | None:
        scope = scope.below(node.slug)
        if scope.path not in self._progress.done:
            self._progress.finish(scope.path, await self._node(node, scope))
        return self._progress.done[scope.path]

    async def _node(self, node: AnyPlan, scope: Scope) -> StepOutput | None:
        start = await self._reviews.start(node, scope)
        if start is Start.left_out:
            return None
        match node:
            case StepPlan():
                return await self._step(node, scope)
            case StepsPlan():
                outputs = await self._walk_all(node.children, scope)
                return container_output(node, scope, "Steps", outputs)
            case ParallelPlan():
                return await self._parallel(node, scope)
            case ConditionPlan():
                return await self._condition(node, scope, start)
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
        if isinstance(node.call, Child):
            return await self._child(node.call, node, scope)
        try:
            result = await self._call("executor", node.call, node, scope)
        except StepFailed as failed:
            return self._go_on(node, scope, "Step", failed)
        output = result.output
        if output is not None and not output.success:
            error = output.error or "the executor returned success=False"
            self._go_on(node, scope, "Step", StepFailed(scope.path, RETURNED, error))
        return output

    async def _child(self, child: Child, node: StepPlan, scope: Scope) -> StepOutput:
        given = scope.input if scope.previous is None else scope.previous
        options = self._options.model_copy(
            update={"session_state": scope.state.values, "session_id": self._session_id}
        )
        try:
            self._budget.allow(scope.path)
            ended = await self._children.run(scope.path, child, given, options)
            changed, removed = changes(scope.state.values, ended.session_state)
            self._budget.allow(scope.path, size_of(ended.content) + size_of(changed))
        except StepFailed as failed:
            return self._go_on(node, scope, "Workflow", failed)
        scope.state.apply(changed, removed)
        return StepOutput(
            step_name=node.name, path=scope.path, step_type="Workflow", content=ended.content
        )

    async def _parallel(self, node: ParallelPlan, scope: Scope) -> StepOutput | None:
        names = [child.name for child in node.children]
        branches = self._progress.branches_at(scope.path, names, scope.state)
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

    async def _condition(
        self, node: ConditionPlan, scope: Scope, start: Start
    ) -> StepOutput | None:
        evaluator = False if start is Start.otherwise else node.evaluator
        try:
            yes = await self._chosen("evaluator", evaluator, node, scope)
        except StepFailed as failed:
            return self._go_on(node, scope, "Condition", failed)
        branch = node.children if yes else node.else_children
        return container_output(node, scope, "Condition", await self._walk_all(branch, scope))

    async def _loop(self, node: LoopPlan, scope: Scope) -> StepOutput | None:
        stand = self._progress.loops.setdefault(scope.path, LoopProgress())
        while True:
            inside = replace(
                scope, path=f"{scope.path}.{stand.iteration}", iteration=stand.iteration
            )
            if node.forward_iteration_output and stand.iteration > 1:
                forwarded = one_result(stand.outputs)
                inside = replace(inside, input=forwarded, previous=forwarded)
            latest = await self._walk_all(node.children, inside)
            # Only the last iteration that gave something is kept.
            outputs = latest or stand.outputs
            try:
                if await self._loop_ends(node, inside, latest):
                    return container_output(node, scope, "Loop", outputs)
            except StepFailed as failed:
                failure = self._go_on(node, scope, "Loop", failed)
                return failure.model_copy(update={"content": one_result(outputs), "steps": outputs})
            self._progress.fold(scope.path)
            stand.iteration, stand.outputs = stand.iteration + 1, outputs

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
            names = await self._chosen("selector", node.selector, node, scope)
            chosen = _choose(node, scope, names)
        except StepFailed as failed:
            return self._go_on(node, scope, "Router", failed)
        return container_output(node, scope, "Router", await self._walk_all(chosen, scope))

    # Activities and their failures

    async def _chosen(self, role: Role, by: bool | Call, node: AnyPlan, scope: Scope) -> Any:
        if isinstance(by, bool):
            return by
        chosen = self._progress.chosen
        if scope.path not in chosen:
            chosen[scope.path] = (await self._call(role, by, node, scope)).value
        return chosen[scope.path]

    async def _call(
        self,
        role: Role,
        call: Call,
        node: AnyPlan,
        scope: Scope,
        outputs: Sequence[StepOutput] = (),
    ) -> ActivityResult:
        self._budget.allow(scope.path)
        given = Given(scope, self._options, outputs, self._sizes)
        asked = given.call(role, node, self._session_id, self._options.user_id)
        key = activity_id_of(asked)
        self._given[key] = given
        try:
            result = await self._caller.call(call, asked)
        finally:
            del self._given[key]
        self._check_source(call, result, scope)
        self._budget.allow(scope.path, _size_of(result))
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
        self._gate.board.note(event.told())


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


def _size_of(result: ActivityResult) -> int:
    output = 0 if result.output is None else result.output.encoded_size
    return output + size_of(result.state_changes)


def _choose(node: RouterPlan, scope: Scope, names: Any) -> list[AnyPlan]:
    choices = {choice.name: choice for choice in node.choices}
    unknown = [name for name in names if name not in choices]
    if unknown:
        raise StepFailed(
            f"{scope.path}.selector",
            "temporal_hitl.UnknownChoice",
            f"the selector returned {unknown[0]!r}, which is not one of {', '.join(choices)}",
        )
    chosen: list[AnyPlan] = []
    for turn, name in enumerate(names):
        again = names[:turn].count(name)
        # A choice that is named twice runs twice, at a path of its own.
        slug = choices[name].slug + (f"~{again + 1}" if again else "")
        chosen.append(choices[name].model_copy(update={"slug": slug}))
    return chosen
