"""Walks a plan: one short method per node kind, deterministic, and nothing of the author's inside.

Owns the semantics of the primitives: what runs next, what it is given, and what its result means.
Every function of the author's runs as an activity; every question to a person goes through the
gate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from temporalio import workflow

from temporal_hitl._agents import Agents
from temporal_hitl._budget import Budget
from temporal_hitl._caller import Caller, StepFailed
from temporal_hitl._calls import Role
from temporal_hitl._child_end import changes
from temporal_hitl._children import Children
from temporal_hitl._choices import choose
from temporal_hitl._filing import Filing
from temporal_hitl._functions import Failing, Functions
from temporal_hitl._given import Given
from temporal_hitl._journal import Journal
from temporal_hitl._progress import REVIEW, LoopProgress, Progress, said_of
from temporal_hitl._reviews import Dropped, Kept, Reviews, Start, Verdict
from temporal_hitl._scope import Scope, State, container_output, edited
from temporal_hitl._sizes import size_of
from temporal_hitl._together import together
from temporal_hitl.events import AnyEvent, StateConflict
from temporal_hitl.plan import (
    AgentPlan,
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
from temporal_hitl.run import RunOptions, StepOutput, one_result
from temporal_hitl.workflow import Gate

_STEP_TYPES: dict[type, str] = {Child: "Workflow", AgentPlan: "Agent"}
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
        journal: Journal,
        filing: Filing,
    ) -> None:
        self._gate = gate
        self._children = children
        self._budget = budget
        self._options = options
        self._session_id = options.session_id or workflow.info().workflow_id
        self._progress = progress
        self._events = events
        self._journal = journal
        self._reviews = Reviews(gate, progress, self._happened, journal)
        of_run = options, self._session_id, progress
        self._functions = Functions(caller, budget, *of_run, self._reviews, self._happened, journal)
        self._agents = Agents(self._functions, gate, progress, journal, filing)

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
        return self._functions.given(activity_id)

    # One method per node kind. Each returns the node's output, or None where it was left out.

    async def _walk(self, node: AnyPlan, scope: Scope) -> StepOutput | None:
        scope = scope.below(node.slug)
        if scope.path not in self._progress.done:
            output = await self._node(node, scope)
            is_step = isinstance(node, StepPlan)
            finish = self._progress.finish_step if is_step else self._progress.finish
            finish(scope.path, output)
        return self._progress.done[scope.path]

    async def _node(self, node: AnyPlan, scope: Scope) -> StepOutput | None:
        start = await self._reviews.start(node, scope)
        if start is Start.left_out:
            return None
        match node:
            case StepPlan():
                return await self._step(node, scope)
            case StepsPlan():
                return await self._contained("Steps", node, scope, node.children)
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

    async def _contained(
        self, kind: str, node: AnyPlan, scope: Scope, children: Sequence[AnyPlan], **told: Any
    ) -> StepOutput | None:
        self._journal.started(node, scope, **told)
        outputs = await self._walk_all(children, scope)
        self._journal.completed(node, scope, outputs, **told)
        return container_output(node, scope, kind, outputs)

    async def _step(self, node: StepPlan, scope: Scope) -> StepOutput | None:
        if node.review.requires_user_input:
            values = await self._reviews.form(node, scope)
            if values is None:
                return None
            scope = scope.told(user_input=values)
        return await self._reviewed(node, scope, lambda scope: self._executed(node, scope))

    async def _executed(self, node: StepPlan, scope: Scope) -> StepOutput:
        kind = _STEP_TYPES.get(type(node.call), "Step")
        try:
            output = await self._functions.tried(node, scope, lambda: self._execution(node, scope))
        except StepFailed as failed:
            return self._functions.go_on(node, scope, kind, failed)
        self._journal.step_done(node, scope, output)
        return output

    async def _execution(self, node: StepPlan, scope: Scope) -> StepOutput:
        self._journal.step_started(node, scope)
        if isinstance(node.call, Child):
            return await self._child(node.call, node, scope)
        if isinstance(node.call, AgentPlan):
            return await self._agents.run(node.call, node, scope)
        output = (await self._functions.call("executor", node.call, node, scope)).output
        assert output is not None, "an executor's result has one"
        if not output.success:
            error = output.error or "the executor returned success=False"
            raise StepFailed(scope.path, RETURNED, error, output=output)
        return output

    async def _child(self, child: Child, node: StepPlan, scope: Scope) -> StepOutput:
        given = scope.input if scope.previous is None else scope.previous
        told = {
            "session_state": scope.state.values,
            "session_id": self._session_id,
            "additional_data": {**self._options.additional_data, **scope.said},
        }
        self._budget.allow(scope.path)
        options = self._options.model_copy(update=told)
        ended = await self._children.run(scope.path, child, given, options)
        changed, removed = changes(scope.state.values, ended.session_state)
        self._budget.allow(scope.path, size_of(ended.content) + size_of(changed))
        scope.state.apply(changed, removed)
        return StepOutput(
            step_name=node.name, path=scope.path, step_type="Workflow", content=ended.content
        )

    async def _parallel(self, node: ParallelPlan, scope: Scope) -> StepOutput | None:
        self._journal.started(node, scope)
        names = [child.name for child in node.children]
        branches = self._progress.branches_at(scope.path, names, scope.state)
        walks = [
            self._walk(child, replace(scope, state=branches[child.name])) for child in node.children
        ]
        outputs = await together([asyncio.create_task(walk) for walk in walks])
        for key, kept in scope.state.merge(branches):
            conflict = StateConflict(at=workflow.now(), path=scope.path, key=key, kept=kept)
            self._happened(conflict)
        there = [output for output in outputs if output is not None]
        self._journal.completed(node, scope, there)
        content = {output.step_name or "": output.content for output in there if output.produced}
        return container_output(node, scope, "Parallel", there, content=content)

    async def _condition(
        self, node: ConditionPlan, scope: Scope, start: Start
    ) -> StepOutput | None:
        evaluator = False if start is Start.otherwise else node.evaluator
        try:
            yes = (
                evaluator
                if isinstance(evaluator, bool)
                else await self._said(node, scope, "evaluator", evaluator)
            )
        except StepFailed as failed:
            return self._functions.go_on(node, scope, "Condition", failed)
        branch = node.children if yes else node.else_children
        told = {"condition_result": bool(yes)}
        return await self._contained("Condition", node, scope, branch, **told)

    async def _loop(self, node: LoopPlan, scope: Scope) -> StepOutput | None:
        self._journal.started(node, scope)
        stand = self._progress.loops.setdefault(scope.path, LoopProgress())
        while True:
            inside = _iteration(node, scope, stand)
            self._journal.iteration_started(node, inside)
            latest = await self._walk_all(node.children, inside)
            # Only the last iteration that gave something is kept.
            outputs = latest or stand.outputs
            try:
                verdict = await self._after_iteration(node, inside, latest, one_result(outputs))
            except StepFailed as failed:
                failure = self._functions.go_on(node, scope, "Loop", failed)
                return failure.model_copy(update={"content": one_result(outputs), "steps": outputs})
            if isinstance(verdict, Kept | Dropped):
                self._journal.completed(node, scope, outputs, total_iterations=stand.iteration)
                output = container_output(node, scope, "Loop", outputs)
                blank = StepOutput(step_name=node.name, path=scope.path, step_type="Loop")
                return _decided(verdict, output, blank)
            self._progress.fold(scope.path)
            stand.iteration, stand.outputs = stand.iteration + 1, outputs
            stand.rejected = verdict is not None
            stand.feedback = verdict.feedback if verdict else None

    async def _after_iteration(
        self, node: LoopPlan, scope: Scope, outputs: list[StepOutput], kept: Any
    ) -> Verdict | None:
        """Return whether the loop ends, or None where it goes on and nobody was asked.

        `kept` is the content that it would end with.
        """
        reviewed = node.review.requires_iteration_review
        last = scope.iteration == node.max_iterations
        ends = any(each.stop for each in outputs) or (last and not reviewed)
        ends = ends or await self._loop_ends(node, scope, outputs)
        self._journal.iteration_completed(node, scope, outputs, ends=ends or last)
        if ends:
            return Kept()
        if reviewed:
            return await self._reviews.iteration(node, scope, kept)
        return None

    async def _loop_ends(self, node: LoopPlan, scope: Scope, outputs: list[StepOutput]) -> bool:
        for output in outputs:
            scope = scope.after(output)
        if node.end_condition is not None:
            return await self._said(node, scope, "end_condition", node.end_condition, outputs)
        if node.should_continue is not None:
            return not await self._said(node, scope, "should_continue", node.should_continue)
        return False

    async def _router(self, node: RouterPlan, scope: Scope) -> StepOutput | None:
        return await self._reviewed(node, scope, lambda scope: self._routed(node, scope))

    async def _routed(self, node: RouterPlan, scope: Scope) -> StepOutput | None:
        try:
            names = await self._route(node, scope)
        except StepFailed as failed:
            return self._functions.go_on(node, scope, "Router", failed)
        if names is None:
            return None
        chosen = choose(node, scope, names)
        return await self._contained("Router", node, scope, chosen, selected_steps=names)

    async def _route(self, node: RouterPlan, scope: Scope) -> list[str] | None:
        chosen = self._progress.chosen
        is_known, selector = scope.path in chosen, node.selector
        if not is_known and (selector is None or self._progress.tried(scope.path).rejected):
            names = await self._reviews.route(node, scope)
            if names is None:
                return None
            if names or selector is None:
                chosen[scope.path] = names
        if selector is None:
            return chosen[scope.path]
        return await self._said(node, scope, "selector", selector)

    # What is chosen, and what is reviewed

    async def _said(
        self,
        node: Failing,
        scope: Scope,
        role: Role,
        by: Call,
        outputs: Sequence[StepOutput] = (),
    ) -> Any:
        """Return what a function says of this node; asked once."""
        chosen = self._progress.chosen

        async def ask() -> Any:
            value = (await self._functions.call(role, by, node, scope, outputs)).value
            if isinstance(node, RouterPlan):
                choose(node, scope, value)
            return value

        if scope.path not in chosen:
            chosen[scope.path] = await self._functions.tried(node, scope, ask)
        return chosen[scope.path]

    async def _reviewed(
        self,
        node: StepPlan | RouterPlan,
        scope: Scope,
        make: Callable[[Scope], Awaitable[StepOutput | None]],
    ) -> StepOutput | None:
        """Return what `make` produces once it counts, or None where a person drops it."""
        while True:
            tried = self._progress.tried(scope.path)
            output = tried.output or await make(scope.told(**tried.said()))
            if output is None or not await self._is_reviewed(node, scope, output):
                return output
            verdict = await self._reviews.output(node, scope, output)
            if isinstance(verdict, Kept | Dropped):
                return _decided(verdict, output, output)
            self._progress.reject(scope.path, verdict.feedback)

    async def _is_reviewed(
        self, node: StepPlan | RouterPlan, scope: Scope, output: StepOutput
    ) -> bool:
        wanted = node.review.output_review
        if wanted is False or self._progress.tried(scope.path).given_up:
            return False
        # Before anything else: it is not made twice, even where the predicate is blocked for days.
        self._progress.keep(scope.path, output=output)
        if wanted is True or f"{scope.path}.{REVIEW}" in self._progress.asked:
            return True
        try:
            told = await self._functions.call("output_review", wanted, node, scope, [output])
        except StepFailed as failed:
            # An output that nobody could judge is not one that everybody approves.
            self._functions.note(failed)
            return True
        return bool(told.value)

    def _happened(self, event: AnyEvent) -> None:
        self._events.append(event)
        del self._events[:-EVENTS_KEPT]
        self._gate.board.note(event.told())


def _iteration(node: LoopPlan, scope: Scope, stand: LoopProgress) -> Scope:
    path = f"{scope.path}.{stand.iteration}"
    inside = replace(scope, path=path, iteration=stand.iteration)
    before = one_result(stand.outputs)
    if node.forward_iteration_output and stand.iteration > 1:
        inside = replace(inside, input=before, previous=before)
    return inside.told(**said_of(stand.feedback, before)) if stand.rejected else inside


def _decided(
    verdict: Kept | Dropped, output: StepOutput | None, blank: StepOutput
) -> StepOutput | None:
    if isinstance(verdict, Dropped):
        return None
    # What a person writes counts, even where there was nothing before.
    return edited(output or blank, verdict.content) if verdict.edited else output
