"""Has an agent work as a step: its turns, what it needs from people, and the tools that it may use
once nothing stands against them.

Every turn and every such tool is an activity, and every question goes through the gate. What a call
needs stands in the result of the turn that made it, so no caller can change what was asked for.
Knows no agent framework.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter
from temporalio import workflow

from temporal_hitl._agent_progress import AgentProgress, NeedProgress
from temporal_hitl._caller import StepFailed
from temporal_hitl._calls import INVALID_ARGUMENTS, ToolGiven, TurnGiven
from temporal_hitl._filing import Filing
from temporal_hitl._forms import completed
from temporal_hitl._functions import Functions
from temporal_hitl._journal import Journal
from temporal_hitl._needs import (
    KINDS,
    call_of,
    fills,
    guarded_still,
    is_unknown,
    known_to_the_agent,
    placed,
    problems_of,
    question_of,
    refused,
    reported,
)
from temporal_hitl._progress import Progress
from temporal_hitl._reviews import RunCancelled
from temporal_hitl._scope import Scope
from temporal_hitl._sizes import TOO_LARGE
from temporal_hitl._together import together
from temporal_hitl.events import ToolNotCalled
from temporal_hitl.plan import AgentPlan, StepPlan
from temporal_hitl.requirements import (
    EditArguments,
    Requirement,
    ResolutionRecord,
    ToolOutcome,
)
from temporal_hitl.review import OnTimeout
from temporal_hitl.run import StepOutput
from temporal_hitl.turns import (
    AnyFed,
    AnyTaken,
    Asks,
    Exhausted,
    Failed,
    Finished,
    Need,
    Needs,
    Value,
)
from temporal_hitl.workflow import Gate

EXHAUSTED = "temporal_hitl.UsageLimitExceeded"
"""The error type of an agent that has used what it may use."""
NO_REQUESTER = "temporal_hitl.NoRequester"
"""The error type of a call that nobody can approve, as nobody is known not to have started it."""
NOBODY_KNOWN = (
    "it was not called: somebody else than who started the run must approve it, and the run does"
    " not say who that is (user_id)"
)
EDITED = "A person changed the arguments; the tool was called with: "

_TAKEN: TypeAdapter[AnyTaken] = TypeAdapter(AnyTaken)
_FED: TypeAdapter[AnyFed] = TypeAdapter(AnyFed)


class Agents:
    """Runs the agents of a plan, each turn by turn, and keeps in `progress` how far they are."""

    def __init__(
        self,
        functions: Functions,
        gate: Gate,
        progress: Progress,
        journal: Journal,
        filing: Filing,
    ) -> None:
        self._functions = functions
        self._gate = gate
        self._progress = progress
        self._journal = journal
        self._filing = filing
        self._alone: dict[str, asyncio.Lock] = {}

    async def run(self, agent: AgentPlan, node: StepPlan, scope: Scope) -> StepOutput:
        """Return what the agent gives as a step, however many turns and questions it takes.

        Raises:
            StepFailed: a turn failed for good, or the agent has used what it may use.
            RunCancelled: a deadline said so.
        """
        # Where it fails it stays: a person may have it tried again, which does no tool twice.
        self._alone[scope.path] = asyncio.Lock()
        content = await self._work(agent, node, scope, None)
        told = self._progress.agent_at(scope.path)
        usage, messages = told.used, told.messages if agent.keeps_messages else []
        self._progress.end_agent(scope.path)
        del self._alone[scope.path]
        return StepOutput(
            step_name=node.name,
            path=scope.path,
            step_type="Agent",
            content=content,
            usage=usage,
            messages=messages,
        )

    async def _work(self, agent: AgentPlan, node: StepPlan, scope: Scope, task: str | None) -> Any:
        stand = self._progress.agent_at(scope.path)
        while True:
            if not stand.needs:
                taken = await self._turn(agent, node, scope, stand, task)
                stand.take(taken)
                for each in taken.called:
                    told = each.tool, each.call_id, each.outcome
                    self._journal.tool_done(node, scope, agent.agent, *told)
                match taken:
                    case Finished(output=output, not_called=tools):
                        for tool in tools:
                            at = workflow.now()
                            self._functions.happened(
                                ToolNotCalled(at=at, path=scope.path, tool=tool)
                            )
                        return output
                    case Exhausted(error=error):
                        # Where it is tried again, with more to use, it goes on.
                        stand.move_on()
                        raise StepFailed(scope.path, EXHAUSTED, error)
                    case Needs(needs=needs):
                        still = [guarded_still(each, agent) for each in needs]
                        stand.needs = placed(still, f"{scope.path}.{stand.turn}")
                    case _:
                        pass
            await together(
                [
                    asyncio.create_task(self._met(each, agent, node, scope))
                    for each in stand.needs
                    if each.fed is None
                ]
            )
            stand.move_on()

    async def _turn(
        self, agent: AgentPlan, node: StepPlan, scope: Scope, stand: AgentProgress, task: str | None
    ) -> AnyTaken:
        given = TurnGiven(
            number=stand.turn,
            task=task,
            usage=stand.usage,
            counted=stand.counted,
            made_by=stand.made_by,
            guarded=sorted(name for name, each in agent.guarded.items() if not each.conditional),
            conditional=sorted(name for name, each in agent.guarded.items() if each.conditional),
        )
        at = replace(scope, path=f"{scope.path}.{stand.turn}")
        done = await self._functions.call(
            "turn", agent.turn, node, at, conversation=stand, turn=given
        )
        return _TAKEN.validate_python(done.value)

    # What one call needs

    async def _met(
        self, needed: NeedProgress, agent: AgentPlan, node: StepPlan, scope: Scope
    ) -> None:
        """See to one call until something has come of it."""
        scope = replace(scope, path=needed.path)
        while needed.fed is None:
            if needed.arguments is None:
                needed.fed = await self._asked(needed, agent, node, scope)
            if needed.fed is None:
                needed.fed = await self._ran(needed, agent, node, scope)
        need, outcome = needed.need, needed.fed.kind
        if need.asks is not Asks.member:
            self._journal.tool_done(node, scope, agent.agent, need.tool, need.call_id, outcome)

    async def _asked(
        self, needed: NeedProgress, agent: AgentPlan, node: StepPlan, scope: Scope
    ) -> AnyFed | None:
        """Return what came of a call without its tool, or None once its tool is to run."""
        need = needed.need
        if need.asks is Asks.member:
            return await self._member(need, agent, node, scope)
        if need.asks is Asks.nobody:
            needed.arguments = dict(need.arguments)
            return None
        if self._filing.is_for_nobody(need):
            self._functions.note(StepFailed(scope.path, NO_REQUESTER, NOBODY_KNOWN))
            return Failed(call_id=need.call_id, message=NOBODY_KNOWN)
        record = await self._decided(needed, KINDS[need.asks], agent, node, scope)
        if not record.approved:
            return refused(need, record)
        if need.asks is Asks.execution:
            return reported(need.call_id, record)
        if need.asks is Asks.question:
            return Value(call_id=need.call_id, value=completed(need.form, record.values))
        edits = record.resolution
        edited = edits.arguments if isinstance(edits, EditArguments) else need.arguments
        needed.arguments = (
            {**edited, **completed(need.form, record.values)} if fills(need) else dict(edited)
        )
        return None

    async def _ran(
        self, needed: NeedProgress, agent: AgentPlan, node: StepPlan, scope: Scope
    ) -> AnyFed | None:
        """Return what came of the tool, or None where a person is asked once more."""
        if needed.unknown is not None:
            return await self._cleared_up(needed, agent, node, scope)
        need = needed.need
        arguments = needed.arguments or {}
        given = ToolGiven(tool=need.tool, call_id=need.call_id, arguments=arguments)
        self._journal.tool_started(node, scope, agent.agent, given)
        call = call_of(agent, need)
        try:
            async with self._turn_of(needed):
                done = await self._functions.call("tool", call, node, scope, tool=given)
        except StepFailed as failed:
            return self._failed(needed, failed)
        fed = _FED.validate_python(done.value)
        told = known_to_the_agent(need, arguments)
        if not isinstance(fed, Value) or told == need.arguments:
            return fed
        said = EDITED + json.dumps(told, ensure_ascii=False)
        return fed.model_copy(update={"note": said})

    def _turn_of(self, needed: NeedProgress) -> AbstractAsyncContextManager[None]:
        locks = [lock for path, lock in self._alone.items() if needed.path.startswith(f"{path}.")]
        return locks[0] if needed.need.alone else nullcontext()

    def _failed(self, needed: NeedProgress, failed: StepFailed) -> AnyFed | None:
        need = needed.need
        if failed.kind == INVALID_ARGUMENTS and need.asks in (Asks.confirmation, Asks.input):
            needed.problems, needed.asked, needed.arguments = problems_of(failed), None, None
            return None
        if is_unknown(failed.kind):
            needed.unknown, needed.asked = failed.message, None
            return None
        if failed.kind == TOO_LARGE:
            never = failed.attempts == 0
            how = "it was not called" if never else "the tool was called, and its result is lost"
            return Failed(call_id=need.call_id, message=f"{how}: {failed.message}")
        return Failed(call_id=need.call_id, message=failed.message)

    async def _cleared_up(
        self, needed: NeedProgress, agent: AgentPlan, node: StepPlan, scope: Scope
    ) -> AnyFed | None:
        """Have a person say what became of an execution that nobody knows the end of."""
        record = await self._decided(needed, ToolOutcome, agent, node, scope)
        call_id = needed.need.call_id
        if record.action == "report":
            return reported(call_id, record)
        if record.action == "retry":
            needed.unknown = needed.asked = None
            return None
        told = "it is not known whether it happened, and nobody could tell; do not call it again"
        return Failed(call_id=call_id, message=told)

    async def _member(
        self, need: Need, agent: AgentPlan, node: StepPlan, scope: Scope
    ) -> AnyFed | None:
        name, task = str(need.arguments.get("member")), str(need.arguments.get("task"))
        member = agent.member(name)
        if member is None:
            known = ", ".join(each.agent for each in agent.members)
            return Failed(call_id=need.call_id, message=f"no member {name!r}; there are: {known}")
        self._progress.begin_member(scope.path, name)
        try:
            content = await self._work(member, node, scope, task)
        except StepFailed as failed:
            # The leader is told, as of a tool: the other members go on.
            self._functions.note(failed)
            self._progress.end_member(scope.path, name)
            return Failed(call_id=need.call_id, message=failed.message)
        self._progress.end_member(scope.path, name)
        return Value(call_id=need.call_id, value=content)

    # Questions

    async def _decided(
        self,
        needed: NeedProgress,
        kind: type[Requirement],
        agent: AgentPlan,
        node: StepPlan,
        scope: Scope,
    ) -> ResolutionRecord:
        if needed.asked is None:
            message, options = question_of(needed, kind, agent, node.review.notify)
            options["excludes"] = self._filing.excluded(needed.need)
            needed.asked = self._gate.put(kind, name=node.name, message=message, **options)
            self._journal.paused(node, scope, self._gate.open[-1])
        record = await self._gate.closed(needed.asked)
        # What nobody has on file is not executed.
        await self._filing.filed(needed.asked)
        if record.timed_out and needed.need.on_timeout is OnTimeout.cancel:
            raise RunCancelled(f"{record.requirement_id}: {record.told()}")
        self._journal.continued(node, scope, record)
        return record
