"""What one call of an agent's needs, in a run's words: the question, the tool's execution, and what
the agent is told of what came of it.

Pure. Knows nothing of when any of it is asked or done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from temporalio.exceptions import ActivityError, ApplicationError

from temporal_hitl._agent_progress import NeedProgress
from temporal_hitl._caller import StepFailed
from temporal_hitl._calls import OUTCOME_UNKNOWN
from temporal_hitl._messages import fill_in
from temporal_hitl.plan import AgentPlan, Call, Retry
from temporal_hitl.requirements import (
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
from temporal_hitl.review import ApprovalType, OnTimeout
from temporal_hitl.turns import AnyFed, Asks, Denied, Failed, Need, Value
from temporal_hitl.workflow import Asking

PROBLEMS = 50
"""How many of them a question shows at most."""
LONGEST = 500
"""Characters of what an agent asks that stand in the question."""
NOT_DECIDED = "nobody decided before the deadline, so it was not called"
NOT_ANSWERED = "nobody answered before the deadline"
KINDS: dict[Asks, type[Requirement]] = {
    Asks.confirmation: ToolConfirmation,
    Asks.input: ToolInput,
    Asks.execution: ToolExecution,
    Asks.question: Question,
}
"""What is asked, where somebody is."""


def question_of(
    needed: NeedProgress, kind: type[Requirement], agent: AgentPlan, notify: Sequence[str] | None
) -> tuple[str, Asking]:
    """Return what is asked of a call, and how."""
    need = needed.need
    message = _message(agent, need, kind)
    # Silence may approve a call, and not make one again that may have happened.
    unsaid = kind is ToolOutcome and need.on_timeout is OnTimeout.approve
    options = Asking(
        path=needed.path,
        template=message,
        on_timeout=OnTimeout.skip if unsaid else need.on_timeout,
        strict_deadline=need.strict_deadline,
        shown=_shown(needed, kind, agent),
        roles=need.roles,
        approval=need.approval,
    )
    if need.timeout is not None:
        options["timeout"] = need.timeout
    if notify is not None:
        options["notify"] = notify
    told = fill_in(message, need.arguments)
    if kind is Question and need.message is None:
        # For who may read the run; lists of all runs have the template.
        asked: Any = need.form.get("properties") or {}
        told = f"{told}: {'; '.join(asked)[:LONGEST]}" if asked else told
    if need.told:
        told = f"{told} ({_said(need)[:LONGEST]})"
    return told, options


def _said(need: Need) -> str:
    texts = {
        name: each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)
        for name, each in need.told.items()
    }
    return "; ".join(f"{name}: {each}" for name, each in texts.items())


def _shown(needed: NeedProgress, kind: type[Requirement], agent: AgentPlan) -> dict[str, Any]:
    need = needed.need
    shown: dict[str, Any] = {"agent_name": agent.agent}
    if kind is not Question:
        given = need.arguments if needed.arguments is None else needed.arguments
        shown |= {"tool_name": need.tool, "tool_args": given}
    for name in ("form", "fields"):
        if name in kind.model_fields:
            shown[name] = getattr(need, name)
    if needed.problems:
        shown["problems"] = tuple(needed.problems)
    if kind is ToolOutcome:
        shown["error_message"] = needed.unknown
    return shown


def guarded_still(need: Need, agent: AgentPlan) -> Need:
    """Return the need, with the guard that the plan knows where the code has meanwhile taken it
    away, or asks for something else.
    """
    planned = agent.guarded.get(need.tool)
    if planned is None:
        return need
    # What needed an approval when the run began needs no other now.
    required = planned.approval is ApprovalType.required
    if planned.asks is need.asks:
        message = need.message or planned.message
        now = {"form": need.form, "fields": need.fields, "message": message}
        if required:
            return need.model_copy(update={**dict(planned), **now})
        kept = {"approval": need.approval or planned.approval}
        return need.model_copy(update=kept)
    return need.model_copy(update=dict(planned))


def placed(needs: list[Need], below: str) -> list[NeedProgress]:
    """Return each need with a path of its own below `below`."""
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
            f"{agent.agent} was calling {need.tool} when its worker, or its server, was lost."
            " Has it happened?"
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


def call_of(agent: AgentPlan, need: Need) -> Call:
    """Return how the tool is executed: once, unless to execute it again does no harm."""
    attempts = agent.tool.retry.maximum_attempts if need.idempotent else 1
    retry: Retry = agent.tool.retry.model_copy(update={"maximum_attempts": attempts})
    activity = agent.tools.get(need.tool, agent.tool.activity)
    return agent.tool.model_copy(
        update={"activity": activity, "retry": retry, "summary": f"{agent.agent}: {need.tool}"}
    )


def problems_of(failed: StepFailed) -> list[str]:
    """Return why a tool refused its arguments, each by itself."""
    cause = failed.__cause__.cause if isinstance(failed.__cause__, ActivityError) else None
    told = cause.details if isinstance(cause, ApplicationError) else ()
    return [str(each) for each in told[:PROBLEMS]] or [failed.message]


def known_to_the_agent(need: Need, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that the agent may know of."""
    # What only a person fills in is none of the agent's business.
    if not fills(need):
        return arguments
    return {name: each for name, each in arguments.items() if name in need.arguments}


def is_unknown(kind: str) -> bool:
    """Return whether nobody knows how far an execution came that ended with this error type.

    What our activities say of theirs is always qualified, and a bare type is the SDK's: the worker
    was shut down, or could not send the result.
    """
    is_of_temporal = kind.startswith("temporalio.exceptions.")
    return (
        kind == OUTCOME_UNKNOWN
        or "." not in kind
        or (is_of_temporal and not kind.endswith(".ApplicationError"))
    )


def fills(need: Need) -> bool:
    """Return whether a person fills in arguments."""
    return need.asks is Asks.input


def refused(need: Need, record: ResolutionRecord) -> AnyFed:
    """Return what the agent is told of a call that was not made."""
    if record.timed_out:
        # Not a person's no: nobody has decided anything.
        reason = NOT_ANSWERED if need.asks is Asks.question else NOT_DECIDED
    else:
        who = record.resolved_by or "a person"
        why = record.feedback or record.comment
        reason = f"rejected by {who}" + (f": {why}" if why else "")
    return Denied(call_id=need.call_id, reason=reason)


def reported(call_id: str, record: ResolutionRecord) -> AnyFed:
    """Return what the agent is told of what somebody has reported."""
    said = record.resolution
    if isinstance(said, Report) and said.error is not None:
        return Failed(call_id=call_id, message=said.error)
    return Value(call_id=call_id, value=said.result if isinstance(said, Report) else None)
