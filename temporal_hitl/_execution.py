"""One execution of a run: finds the plan, has it walked, and ends, or continues as a new execution.

Owns when a run continues as new, and what it then takes along. Knows nothing of node kinds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from temporal_hitl._budget import Budget
from temporal_hitl._caller import Caller, Message, StepFailed
from temporal_hitl._calls import PlanFound
from temporal_hitl._children import Children, undisturbed
from temporal_hitl._filing import Filing
from temporal_hitl._given import Given
from temporal_hitl._interpreter import Interpreter
from temporal_hitl._journal import Journal
from temporal_hitl._ledger import RECORDS_KEPT
from temporal_hitl._previous import with_previous
from temporal_hitl._progress import Carried, Progress
from temporal_hitl._reviews import RunCancelled
from temporal_hitl._scope import State
from temporal_hitl._sizes import LIMIT, brief, first, size_of, whole
from temporal_hitl._wire import read
from temporal_hitl.events import AnyEvent
from temporal_hitl.plan import plan_activity
from temporal_hitl.run import (
    Omitted,
    RunOptions,
    RunStatus,
    StepOutput,
    WorkflowRunOutput,
    one_result,
)
from temporal_hitl.workflow import Gate

HOLD = 15_000
"""History events from which on branches start nothing new until the run has continued as new."""

_JSON: TypeAdapter[Any] = TypeAdapter(Any)
PATIENCE = 1_000
"""History events after which a run that held too much to continue as new tries again."""


class Execution:
    """Runs a plan, and can tell at any time how the run stands."""

    def __init__(self, gate: Gate, run_input: Any, options: RunOptions, carried: Any) -> None:
        before = None if carried is None else read(Carried, carried)
        self._gate = gate
        self._input = run_input
        self._options = options
        self._found = None if before is None else before.found
        self._state = State(written=options.session_state) if before is None else before.state
        self._progress = Progress() if before is None else before.progress
        self._events: list[AnyEvent] = [] if before is None else before.events
        self._started_at = workflow.info().workflow_start_time
        if before is not None:
            self._started_at = before.started_at
            gate.load(before.gate)
        gate.tell_beside(lambda asked: with_previous(asked, self._progress))
        self._results: list[StepOutput] = []
        self._next_try = 0
        message = Message()
        self._caller = Caller(gate.board.blocked, gate.board.unblocked, self._hold, message)
        self._children = Children(self._progress.children, gate, self._hold, message)
        self.journal = Journal(self._progress.told, options.session_id)
        """What this execution tells while it goes on."""
        self._filing = Filing(gate, self._progress, options.user_id)
        self._walker: Interpreter | None = None

    async def run(self) -> dict[str, Any]:
        """Walk the plan to its end, and return the run's output as JSON data."""
        self._found = found = self._found or await _find_plan()
        self._gate.notify = found.subscribers
        walk = asyncio.create_task(self._walk(found))
        try:
            await self._until_done_or_quiet(walk, found)
            await walk
            await self._filing.all_filed()
            await self._gate.notices.started()
        except RunCancelled as cancelled:
            await self._close()
            self.journal.run_cancelled(str(cancelled))
            return self._end(RunStatus.cancelled, str(cancelled))
        except StepFailed as failed:
            await self._close()
            self.journal.run_failed(failed)
            told = self._end(RunStatus.error, str(failed), failed.kind)
            raise ApplicationError(
                str(failed), told, type=failed.kind, non_retryable=True
            ) from None
        except asyncio.CancelledError:
            walk.cancel()
            await asyncio.gather(walk, return_exceptions=True)
            await self._close()
            self.journal.run_cancelled("somebody cancelled the run")
            raise
        self.journal.run_completed()
        return self._end(RunStatus.completed)

    async def _close(self) -> None:
        # A new execution may end before its walk has come to what an earlier one left open.
        self._gate.withdraw_all()
        await self._gate.settled()
        await self._children.stop_all()
        await undisturbed(self._gate.notices.started())
        if self._filing.busy:
            await undisturbed(self._filing.all_filed())

    async def _walk(self, found: PlanFound) -> None:
        budget = self._budget(found)
        if not workflow.info().continued_run_id:
            budget.allow(found.plan.name)
        self._walker = Interpreter(
            self._gate,
            self._caller,
            self._children,
            budget,
            self._options,
            self._progress,
            self._events,
            self.journal,
            self._filing,
        )
        self.journal.run_started(found.plan)
        await self._walker.walk(found.plan, self._input, self._state, self._results)

    def _end(self, *how: Any) -> dict[str, Any]:
        output = self.output(*how)
        assert self._found is not None, "a walk has a plan"
        return output.model_dump(mode="json") if self._found.external_storage else whole(output)

    def _budget(self, found: PlanFound) -> Budget:
        # The session state that it was started with is the state's now.
        self._options = self._options.model_copy(update={"session_state": {}})
        started_with = [found.plan, self._options]
        given = size_of(self._input) + sum(size_of(e.model_dump(mode="json")) for e in started_with)
        return Budget(
            self._gate, self._progress, self._state, given, unlimited=found.external_storage
        )

    async def _until_done_or_quiet(self, walk: asyncio.Task[None], found: PlanFound) -> None:
        while not walk.done():
            await workflow.wait_condition(
                lambda: walk.done() or self._filing.waits or self._is_quiet()
            )
            if self._filing.waits:
                self._filing.begin()
            elif not walk.done():
                self._continue_as_new(found)

    # A new execution: only at an instant when nothing but gates, child runs and timers is pending,
    # as it would cancel running activities, and lose handlers that have not finished.

    @property
    def _running(self) -> list[str]:
        return [*self._caller.running, *self._children.busy, *self._filing.busy]

    def _is_due(self) -> bool:
        info = workflow.info()
        tries = info.get_current_history_length() >= self._next_try
        return info.is_continue_as_new_suggested() and tries

    def _is_quiet(self) -> bool:
        working = self._running or self._gate.notices.starting
        return self._is_due() and not working and workflow.all_handlers_finished()

    async def _hold(self) -> None:
        """Wait for ever before a call, where the run is to continue as new instead."""
        events = workflow.info().get_current_history_length()
        if self._is_due() and (not self._running or events >= HOLD):
            await workflow.wait_condition(lambda: not self._is_due())

    def _continue_as_new(self, found: PlanFound) -> None:
        def fits(data: dict[str, Any]) -> bool:
            return found.external_storage or size_of(data) <= LIMIT

        # All that later steps need is within the budget; of the rest, as much as there is room for.
        carried = next(
            (
                data
                for kept in (RECORDS_KEPT, RECORDS_KEPT // 10, 0)
                if fits(data := self._carried(found, kept))
            ),
            None,
        )
        if carried is None:
            self._next_try = workflow.info().get_current_history_length() + PATIENCE
            self._gate.board.note(
                "holds too much to continue as a new execution, and tries again later; the server"
                " ends a run at 51,200 events or 50 MB"
            )
            return
        options = self._options.model_dump(mode="json")
        workflow.continue_as_new(args=[self._input, options, carried])

    def _carried(self, found: PlanFound, records: int) -> dict[str, Any]:
        return Carried(
            found=found,
            progress=self._progress,
            state=self._state,
            events=self._events[-records:] if records else [],
            started_at=self._started_at,
            gate=self._gate.state(self._progress.answered, records, self._progress.tries),
        ).model_dump(mode="json")

    # How the run stands

    def shown(self) -> dict[str, Any]:
        """Return the run as it stands as JSON data, without what is large."""
        return brief(self.output())

    def output(
        self,
        status: RunStatus | None = None,
        error: str | None = None,
        error_type: str | None = None,
    ) -> WorkflowRunOutput:
        """Return the run as it stands, or as it ended where `status` says so."""
        info = workflow.info()
        blocked = RunStatus.blocked if self._gate.board.all_blocked else RunStatus.running
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
            step_names=[] if self._found is None else [e.name for e in self._found.plan.children],
            step_results=self._results,
            inner_results=self._progress.inner(),
            requirements=self._gate.told,
            resolutions=self._gate.records,
            refused=self._gate.refused,
            running=self._running,
            approvals=self._filing.told(),
            blocked=self._gate.board.all_blocked,
            children=self._children.run_ids,
            events=self._events,
            session_state=self._state.values,
            error=error,
            error_type=error_type,
            started_at=self._started_at,
        )

    def given(self, activity_id: str) -> Given:
        """Return what a call on its way may see."""
        assert self._walker is not None, "only a walk makes calls"
        return self._walker.given(activity_id)

    def conversation(self, path: str, start: int) -> dict[str, Any]:
        """Return what an agent at work has said and was told, from message `start` on: one message,
        and what else fits. With several agents, or none, `paths` names them.
        """
        paths = self._progress.agents_above(path)
        if len(paths) != 1:
            return {"paths": paths}
        agent = self._progress.agent_at(paths[0])
        page = first(agent.messages[start:])
        return {
            "paths": paths,
            "turn": agent.turn,
            "total": len(agent.messages),
            "messages": page,
        }

    def parts(self, wanted: Sequence[Omitted]) -> list[Any]:
        """Return the first of the parts `wanted` of how the run stands: one, and what else fits."""
        output = self.output()
        fields = dict(output)
        contents = {each.path: each.content for each in output.walk()}
        # One value for each, in their order; None for what is not there, or not any more.
        values = [
            contents.get(each.path) if each.path else fields.get(each.part) for each in wanted
        ]
        return first(_JSON.dump_python(values, mode="json"))


async def _find_plan() -> PlanFound:
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
    return PlanFound.from_wire(found)
