"""Has an agent work as a step: its turns, what it needs from people, and the tools that it may use
once nothing stands against them.

Every turn and every such tool is an activity, and every question goes through the gate. What a call
needs stands in the result of the turn that made it, so no caller can change what was asked for.
Knows no agent framework.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from temporal_hitl._caller import StepFailed
from temporal_hitl._calls import ToolGiven, TurnGiven
from temporal_hitl._filing import Filing
from temporal_hitl._forms import completed
from temporal_hitl._functions import Functions
from temporal_hitl._journal import Journal
from temporal_hitl._messages import fill_in
from temporal_hitl._progress import AgentProgress, NeedProgress, Progress
from temporal_hitl._reviews import RunCancelled
from temporal_hitl._scope import Scope
from temporal_hitl._sizes import TOO_LARGE
from temporal_hitl._together import together
from temporal_hitl.plan import AgentPlan, Call, Retry, StepPlan
from temporal_hitl.requirements import (
    EditArguments,
    Question,
    Report,
    Requirement,
    ResolutionRecord,
    ToolConfirmation,
    ToolExecution,
    ToolInput,
    ToolOutcome,
    slug,
)
from temporal_hitl.review import OnTimeout
from temporal_hitl.run import StepOutput
from temporal_hitl.turns import (
    AnyFed,
    AnyTaken,
    Asks,
    Denied,
    Exhausted,
    Failed,
    Finished,
    Need,
    Needs,
    Value,
)
from temporal_hitl.workflow import Asking, Gate

EXHAUSTED = "temporal_hitl.UsageLimitExceeded"
"""The error type of an agent that has used what it may use."""
INVALID_ARGUMENTS = "temporal_hitl.InvalidArguments"
"""The error type of a tool's activity that was given what the tool does not take."""
UNKNOWN = "temporalio.exceptions.TimeoutError"
"""The error type of an execution of which nobody knows how far it came."""
NO_REQUESTER = "temporal_hitl.NoRequester"
"""The error type of a call that nobody can approve, as nobody is known not to have started it."""
NOBODY_KNOWN = (
    "it was not called: somebody else than who started the run must approve it, and the run does"
    " not say who that is (user_id)"
)
EDITED = "A person changed the arguments; the tool was called with: "

_KINDS: dict[Asks, type[Requirement]] = {
    Asks.confirmation: ToolConfirmation,
    Asks.input: ToolInput,
    Asks.execution: ToolExecution,
    Asks.question: Question,
}
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

    async def run(self, agent: AgentPlan, node: StepPlan, scope: Scope) -> StepOutput:
        """Return what the agent gives as a step, however many turns and questions it takes.

        Raises:
            StepFailed: a turn failed for good, or the agent has used what it may use.
            RunCancelled: a deadline said so.
        """
        # Where it fails it stays: a person may have it tried again, which does no tool twice.
        content = await self._work(agent, node, scope, None)
        told = self._progress.agent_at(scope.path)
        usage, messages = told.usage, told.messages if agent.keeps_messages else []
        self._progress.end_agent(scope.path)
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
                    case Finished(output=output):
                        return output
                    case Exhausted(error=error):
                        raise StepFailed(scope.path, EXHAUSTED, error)
                    case Needs(needs=needs):
                        bound = [agent.as_recorded(each) for each in needs]
                        stand.needs = _placed(bound, f"{scope.path}.{stand.turn}")
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
            guarded=sorted(agent.guarded),
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
        record = await self._decided(needed, _KINDS[need.asks], agent, node, scope)
        if not record.approved:
            return _refused(need, record)
        if need.asks is Asks.execution:
            return _reported(need.call_id, record)
        if need.asks is Asks.question:
            return Value(call_id=need.call_id, value=completed(need.form, record.values))
        edits = record.resolution
        edited = edits.arguments if isinstance(edits, EditArguments) else need.arguments
        needed.arguments = (
            {**edited, **completed(need.form, record.values)} if _fills(need) else dict(edited)
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
        try:
            done = await self._functions.call(
                "tool", _call_of(agent, need), node, scope, tool=given
            )
        except StepFailed as failed:
            return self._failed(needed, failed)
        fed = _FED.validate_python(done.value)
        told = _known_to_the_agent(need, arguments)
        if not isinstance(fed, Value) or told == need.arguments:
            return fed
        said = EDITED + json.dumps(told, ensure_ascii=False)
        return fed.model_copy(update={"note": said})

    def _failed(self, needed: NeedProgress, failed: StepFailed) -> AnyFed | None:
        need = needed.need
        if failed.kind == INVALID_ARGUMENTS and need.asks in (Asks.confirmation, Asks.input):
            needed.problems, needed.asked, needed.arguments = [failed.message], None, None
            return None
        if failed.kind == UNKNOWN:
            needed.unknown, needed.asked = failed.message, None
            return None
        if failed.kind == TOO_LARGE:
            lost = f"the tool was called, and its result is lost: {failed.message}"
            return Failed(call_id=need.call_id, message=lost)
        return Failed(call_id=need.call_id, message=failed.message)

    async def _cleared_up(
        self, needed: NeedProgress, agent: AgentPlan, node: StepPlan, scope: Scope
    ) -> AnyFed | None:
        """Have a person say what became of an execution that nobody knows the end of."""
        record = await self._decided(needed, ToolOutcome, agent, node, scope)
        call_id = needed.need.call_id
        if record.action == "report":
            return _reported(call_id, record)
        if record.action == "retry" or (record.timed_out and record.approved):
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
        try:
            content = await self._work(member, node, scope, task)
        except StepFailed as failed:
            # The leader is told, as of a tool: the other members go on.
            self._functions.note(failed)
            self._progress.end_agent(scope.path)
            return Failed(call_id=need.call_id, message=failed.message)
        self._progress.end_agent(scope.path)
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
            needed.asked = self._put(needed, kind, agent, node)
            self._journal.paused(node, scope, self._gate.open[-1])
        record = await self._gate.closed(needed.asked)
        # What nobody has on file is not executed.
        await self._filing.filed(needed.asked)
        if record.timed_out and needed.need.on_timeout is OnTimeout.cancel:
            raise RunCancelled(f"{record.requirement_id}: {record.told()}")
        self._journal.continued(node, scope, record)
        return record

    def _put(
        self, needed: NeedProgress, kind: type[Requirement], agent: AgentPlan, node: StepPlan
    ) -> str:
        need = needed.need
        shown: dict[str, Any] = {"agent_name": agent.agent}
        if kind is not Question:
            shown |= {"tool_name": need.tool, "tool_args": needed.arguments or need.arguments}
        for name in ("form", "fields"):
            if name in kind.model_fields:
                shown[name] = getattr(need, name)
        if needed.problems:
            shown["problems"] = tuple(needed.problems)
        if kind is ToolOutcome:
            shown["error_message"] = needed.unknown
        message = _message(agent, need, kind)
        options = Asking(
            path=needed.path,
            template=message,
            on_timeout=need.on_timeout,
            strict_deadline=need.strict_deadline,
            shown=shown,
            roles=need.roles,
            excludes=self._filing.excluded(need),
            approval=need.approval,
        )
        if need.timeout is not None:
            options["timeout"] = need.timeout
        told = fill_in(message, need.arguments)
        return self._gate.put(kind, name=node.name, message=told, **options)


def _placed(needs: list[Need], below: str) -> list[NeedProgress]:
    placed: dict[str, NeedProgress] = {}
    for need in needs:
        is_task = need.asks is Asks.member
        wanted = slug(str(need.arguments.get("member")) if is_task else need.tool)
        segment, count = wanted, 1
        while segment in placed:
            segment, count = f"{wanted}-{count + 1}", count + 1
        placed[segment] = NeedProgress(need=need, path=f"{below}.{segment}")
    return list(placed.values())


def _message(agent: AgentPlan, need: Need, kind: type[Requirement]) -> str:
    if kind is ToolOutcome:
        return (
            f"{agent.agent} was calling {need.tool} when its worker was lost. Has it happened?"
            " (report: it has, with this result; retry: it has not, run it; skip: give up)"
        )
    if need.message:
        return need.message
    match need.asks:
        case Asks.input:
            return f"{agent.agent} calls {need.tool}: fill in what it leaves to you"
        case Asks.execution:
            return f"{agent.agent} calls {need.tool}, which runs outside: report its result"
        case Asks.question:
            return f"{agent.agent} asks"
        case _:
            return f"May {agent.agent} call {need.tool}?"


def _call_of(agent: AgentPlan, need: Need) -> Call:
    attempts = agent.tool.retry.maximum_attempts if need.idempotent else 1
    retry: Retry = agent.tool.retry.model_copy(update={"maximum_attempts": attempts})
    activity = agent.tools.get(need.tool, agent.tool.activity)
    return agent.tool.model_copy(
        update={"activity": activity, "retry": retry, "summary": f"{agent.agent}: {need.tool}"}
    )


def _known_to_the_agent(need: Need, arguments: dict[str, Any]) -> dict[str, Any]:
    # What only a person fills in is none of the agent's business.
    if not _fills(need):
        return arguments
    return {name: each for name, each in arguments.items() if name in need.arguments}


def _fills(need: Need) -> bool:
    return need.asks is Asks.input


def _refused(need: Need, record: ResolutionRecord) -> AnyFed:
    if record.timed_out:
        # Not a person's no: nobody has decided anything.
        reason = "nobody decided before the deadline, so it was not called"
    else:
        who = record.resolved_by or "a person"
        why = record.feedback or record.comment
        reason = f"rejected by {who}" + (f": {why}" if why else "")
    return Denied(call_id=need.call_id, reason=reason)


def _reported(call_id: str, record: ResolutionRecord) -> AnyFed:
    said = record.resolution
    if isinstance(said, Report) and said.error is not None:
        return Failed(call_id=call_id, message=said.error)
    return Value(call_id=call_id, value=said.result if isinstance(said, Report) else None)
