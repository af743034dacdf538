"""One execution of a run: finds the plan, has it walked, and ends, or continues as a new execution.

Owns when a run continues as new, and what it then takes along. Knows nothing of node kinds.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from temporal_hitl._caller import Caller, StepFailed
from temporal_hitl._children import Children
from temporal_hitl._interpreter import Interpreter, RunCancelled
from temporal_hitl._progress import Carried, Progress
from temporal_hitl._scope import State
from temporal_hitl._sizes import LIMIT, fitting, size_of
from temporal_hitl.events import AnyEvent
from temporal_hitl.plan import Plan, plan_activity
from temporal_hitl.run import RunOptions, RunStatus, StepOutput, WorkflowRunOutput, one_result
from temporal_hitl.workflow import Gate

HOLD = 15_000
"""History events from which on branches start nothing new until the run has continued as new."""


class Execution:
    """Runs a plan, and can tell at any time how the run stands."""

    def __init__(self, gate: Gate, run_input: Any, options: RunOptions, carried: Any) -> None:
        before = None if carried is None else Carried.model_validate(carried)
        self._gate = gate
        self._input = run_input
        self._options = options
        self._plan = None if before is None else before.plan
        self._state = State(dict(options.session_state)) if before is None else before.state
        self._progress = Progress() if before is None else before.progress
        self._events: list[AnyEvent] = [] if before is None else before.events
        self._started_at = workflow.info().workflow_start_time
        if before is not None:
            self._started_at = before.started_at
            gate.load(before.gate)
        self._results: list[StepOutput] = []
        self._too_large = False
        self._caller = Caller(gate.blocked, gate.unblocked, self._hold)
        self._children = Children(self._progress.children, gate, self._hold)
        self._walker = Interpreter(
            gate, self._caller, self._children, options, self._progress, self._events
        )

    async def run(self) -> dict[str, Any]:
        """Walk the plan to its end, and return the run's output as JSON data."""
        self._plan = plan = self._plan or await _find_plan()
        walk = asyncio.create_task(self._walker.walk(plan, self._input, self._state, self._results))
        try:
            await self._until_done_or_quiet(walk, plan)
            await walk
        except RunCancelled as cancelled:
            await self._close()
            return fitting(self.output(RunStatus.cancelled, str(cancelled)))
        except StepFailed as failed:
            await self._close()
            told = fitting(self.output(RunStatus.error, str(failed), failed.kind))
            raise ApplicationError(
                str(failed), told, type=failed.kind, non_retryable=True
            ) from None
        except asyncio.CancelledError:
            walk.cancel()
            await asyncio.gather(walk, return_exceptions=True)
            await self._close()
            raise
        return fitting(self.output(RunStatus.completed))

    async def _close(self) -> None:
        # A new execution may end before its walk has come to what an earlier one left open.
        self._gate.withdraw_all()
        await self._children.stop_all()

    async def _until_done_or_quiet(self, walk: asyncio.Task[None], plan: Plan) -> None:
        while not walk.done():
            await workflow.wait_condition(lambda: walk.done() or self._is_quiet())
            if not walk.done():
                self._continue_as_new(plan)

    # A new execution: only at an instant when nothing but gates, child runs and timers is pending,
    # as it would cancel running activities, and lose handlers that have not finished.

    @property
    def _running(self) -> list[str]:
        return [*self._caller.running, *self._children.busy]

    def _is_due(self) -> bool:
        return workflow.info().is_continue_as_new_suggested() and not self._too_large

    def _is_quiet(self) -> bool:
        return self._is_due() and not self._running and workflow.all_handlers_finished()

    async def _hold(self) -> None:
        """Wait for ever before a call, where the run is to continue as new instead."""
        events = workflow.info().get_current_history_length()
        if self._is_due() and (not self._running or events >= HOLD):
            await workflow.wait_condition(lambda: not self._is_due())

    def _continue_as_new(self, plan: Plan) -> None:
        carried = Carried(
            plan=plan,
            progress=self._progress,
            state=self._state,
            events=self._events,
            started_at=self._started_at,
            gate=self._gate.state(needed=self._progress.asked.values()),
        ).model_dump(mode="json")
        size = size_of(carried)
        if size > LIMIT:
            self._too_large = True
            self._gate.note(
                f"carries {size:,} bytes, too many to continue as a new execution ({LIMIT:,});"
                " the server ends a run at 51,200 events"
            )
            return
        options = self._options.model_dump(mode="json")
        workflow.continue_as_new(args=[self._input, options, carried])

    # How the run stands

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
            session_id=self._options.session_id or info.workflow_id,
            user_id=self._options.user_id,
            status=status or waiting,
            input=self._input,
            content=one_result(self._results),
            step_results=self._results,
            inner_results=self._progress.inner(),
            requirements=self._gate.open,
            resolutions=self._gate.records,
            refused=self._gate.refused,
            running=self._running,
            blocked=self._gate.all_blocked,
            children=self._children.run_ids,
            events=self._events,
            session_state=self._state.values,
            error=error,
            error_type=error_type,
            started_at=self._started_at,
        )

    def step_outputs(self, activity_id: str, start: int) -> dict[str, Any]:
        """Return a page of the outputs that a call on its way may name, from number `start` on."""
        return self._walker.step_outputs(activity_id, start)

    def step_input(self, activity_id: str, part: str) -> Any:
        """Return what was left out of the input of a call on its way."""
        return self._walker.step_input(activity_id, part)


async def _find_plan() -> Plan:
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
