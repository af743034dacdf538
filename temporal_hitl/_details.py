"""What a run shows of its open requirements to an operator: Markdown for the Web UI, a memo for the
list.

Owns the texts and the `temporal` commands in them. Pure.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from temporalio.workflow import Info

from temporal_hitl._forms import example
from temporal_hitl.requirements import (
    AnyRequirement,
    Confirmation,
    ErrorDecision,
    IterationReview,
    OutputReview,
    Route,
    ToolConfirmation,
    ToolExecution,
    ToolInput,
    ToolOutcome,
)

MESSAGE = 1000
"""Characters of a message that a memo holds."""
SHOWN = 20
"""How many requirements the details spell out; the query has them all."""


def memo(requirements: Sequence[AnyRequirement], rows: int) -> dict[str, Any]:
    """Return the open requirements in short form: what a list of all runs shows of this one."""
    return {"count": len(requirements), "rows": [_row(each) for each in requirements[:rows]]}


def _row(requirement: AnyRequirement) -> dict[str, Any]:
    kept = {"id", "kind", "path", "name", "created_at", "deadline"}
    if requirement.approval is not None:
        kept |= {"approval", "roles", "tool_name", "agent_name"}
    row = requirement.model_dump(mode="json", include=kept)
    return {**row, "message": (requirement.template or requirement.message)[:MESSAGE]}


def command(info: Info, door: str, *texts: str) -> str:
    """Return the `temporal` command that answers by update with plain texts."""
    return _command(info, door, *texts)


def _command(info: Info, door: str, *inputs: Any) -> str:
    # What differs stands first: the Web UI shows the beginning of a long line.
    parts = ["temporal", "workflow", "update", "execute", "--name", door]
    for each in inputs:
        parts += ["--input", json.dumps(each, ensure_ascii=False)]
    return shlex.join([*parts, *_of_run(info)])


def _seen(info: Info) -> str:
    return shlex.join(["temporal", "workflow", "query", "--type", "requirements", *_of_run(info)])


def _of_run(info: Info) -> list[str]:
    namespace = [] if info.namespace == "default" else ["--namespace", info.namespace]
    return ["--workflow-id", info.workflow_id, *namespace]


def markdown(
    requirements: Sequence[AnyRequirement],
    blocked: Mapping[str, str],
    children: Mapping[str, str],
    notes: Sequence[str],
    info: Info,
) -> str:
    """Return the run's current details: what it waits for, how to answer, what else was."""
    parts = [_one(each, info) for each in requirements[:SHOWN]]
    if len(requirements) > SHOWN:
        parts.append(
            f"and {len(requirements) - SHOWN} more: `temporal workflow query --type requirements`"
        )
    parts += [
        f"**Blocked** at `{path}`: no worker has `{activity}`. Deploy one that does; the run tries"
        " again by itself."
        for path, activity in list(blocked.items())[:SHOWN]
    ]
    parts += [
        f"**Child run** at `{path}`: `{run_id}`. What it asks is answered there."
        for path, run_id in list(children.items())[:SHOWN]
    ]
    if not parts:
        parts.append("Waits for nobody.")
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes[-SHOWN:]))
    return "\n\n".join(parts)


def _one(requirement: AnyRequirement, info: Info) -> str:
    since = requirement.created_at.isoformat(timespec="seconds")
    lines = [
        f"### Waits for a person: {requirement.message}",
        f"`{requirement.id}` ({requirement.kind}), since {since}",
    ]
    if requirement.deadline is not None and requirement.on_timeout is not None:
        until = requirement.deadline.isoformat(timespec="seconds")
        lines[-1] += f"; at {until} the deadline acts: {requirement.on_timeout.value}"
    lines[-1] += _so_far(requirement)
    if requirement.roles:
        return "\n\n".join([*lines, _only(requirement)])
    if isinstance(requirement, OutputReview | IterationReview):
        # By the query alone: not everybody who sees that a run waits may see what it has made.
        lines.append(f"What it has made: `{_seen(info)}`")
    if isinstance(requirement, ToolConfirmation | ToolInput | ToolExecution | ToolOutcome):
        lines.append(f"What it is called with: `{_seen(info)}`")
    return "\n\n".join([*lines, "```sh\n" + "\n".join(_answers(requirement, info)) + "\n```"])


def _only(requirement: AnyRequirement) -> str:
    roles = ", ".join(f"`{each}`" for each in requirement.roles)
    return (
        f"Only: {roles}. Answered signed: in the inbox, over the HTTP API, or with `temporal-hitl`."
    )


def _so_far(requirement: AnyRequirement) -> str:
    match requirement:
        case ErrorDecision(attempts=attempts, retries=retries, retries_limit=limit):
            may = "" if limit is None else f" of {limit}"
            return f"; executions that failed: {attempts}, retries by people: {retries}{may}"
        case OutputReview(retries=retries, retries_limit=int(limit)):
            return f"; made again {retries} of {limit} times"
        case _:
            return ""


def _answers(requirement: AnyRequirement, info: Info) -> list[str]:
    key = requirement.id
    match requirement:
        case Confirmation():
            return [_command(info, "confirm", key), _command(info, "reject", key, "why")]
        case OutputReview() | IterationReview():
            edit = {"requirement_id": key, "action": "edit", "output": "..."}
            answers = [_command(info, "confirm", key), _command(info, "reject", key, "feedback")]
            return [*answers, _command(info, "resolve", edit)]
        case Route(choices=choices):
            first = {"requirement_id": key, "action": "select", "choices": [choices[0]]}
            return [
                f"# one of {', '.join(choices)}",
                _command(info, "resolve", first),
                _command(info, "reject", key),
            ]
        case ToolConfirmation():
            # None that edits: pasted as it stands, it would call the tool with what it shows.
            return [_command(info, "confirm", key), _command(info, "reject", key, "why")]
        case ToolExecution():
            report = {"requirement_id": key, "action": "report", "result": "..."}
            return [_command(info, "resolve", report), _command(info, "reject", key, "why")]
        case ToolOutcome():
            report = {"requirement_id": key, "action": "report", "result": "..."}
            others = [{"requirement_id": key, "action": each} for each in ("retry", "skip")]
            return [_command(info, "resolve", each) for each in (report, *others)]
        case ErrorDecision():
            actions = ("skip",) if requirement.is_spent else ("retry", "skip")
            return [
                _command(info, "resolve", {"requirement_id": key, "action": each})
                for each in actions
            ]
        case _:
            values = example(requirement.form)
            answer = {"requirement_id": key, "action": "answer", "values": values}
            return [_command(info, "resolve", answer), _command(info, "reject", key, "why")]
