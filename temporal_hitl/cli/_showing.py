"""A run and a requirement as people read them, in lines."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

from temporal_hitl.cli._terminal import as_text, left, when
from temporal_hitl.cli._values import choices, field_of, kind
from temporal_hitl.conversation import Said
from temporal_hitl.requirements import AnyRequirement, ToolConfirmation
from temporal_hitl.run import StepOutput, WorkflowRunOutput

_OF_ACTION = {
    "confirm": "confirm {}",
    "answer": "answer {}",
    "select": "select {}",
    "edit": "edit {} --output '...'",
    "edit_arguments": "edit {} --arguments {}",
    "report": "report {} --result '...'",
    "retry": "retry {}",
    "skip": "skip {}",
    "reject": "reject {} --feedback '...'",
}
"""What is typed for each action."""
_SAID = {"kind", "name", "message", "form", "fields"}
"""What the lines of a requirement tell in words of their own."""
LONGEST = 2000
"""Characters of one content in the view of a run."""
Typed = Callable[..., str]
"""Makes a command that can be pasted, of its words."""


def commands(asked: AnyRequirement, run_id: str) -> list[str]:
    """Return the words of each command that answers `asked`."""
    place = f"{shlex.quote(run_id)} {shlex.quote(asked.id)}"
    if len(asked.roles) == 1:
        place += f" --role {asked.roles[0]}"  # Of several, who types knows which is theirs.
    arguments = json.dumps(asked.tool_args) if isinstance(asked, ToolConfirmation) else ""
    return [
        words.format(place, shlex.quote(arguments))
        for action, words in _OF_ACTION.items()
        if action in asked.actions
    ]


def run_lines(output: WorkflowRunOutput, typed: Typed) -> Iterator[str]:
    """Yield how a run stands: what it waits for first, and how that is answered."""
    yield f"{output.run_id}  {output.workflow_name}  {output.status.value}"
    yield f"  started {when(output.started_at)}"
    for asked in output.requirements:
        yield from _open(asked, output.run_id, typed)
    for path, activity in output.blocked.items():
        yield f"  blocked   {path}: no worker has {activity}; deploy one that does"
    for path, run_id in output.children.items():
        yield f"  child     {path}: {typed('show', shlex.quote(run_id))}"
    for step in _steps(output):
        yield f"  step      {_step(step)}"
    for record in output.resolutions:
        yield f"  decided   {record.requirement_id}: {record.told()}"
    for event in output.events:
        yield f"  event     {event.told()}"
    for refusal in output.refused:
        yield f"  refused   {refusal.payload} ({refusal.reason})"
    if output.error is not None:
        yield f"  error     {output.error}"
    if output.has_ended and output.content is not None:
        yield from _cut(output.content)
    for part in output.omitted:
        yield f"  left out  {part}: too large to be shown"


def _open(asked: AnyRequirement, run_id: str, typed: Typed) -> Iterator[str]:
    yield f"  waits     {asked.id} ({asked.kind}): {asked.message}"
    if asked.roles:
        yield f"            {_only(asked)}"
    if asked.deadline is not None:
        yield f"            {_deadline(asked)}"
    for words in commands(asked, run_id):
        yield f"            {typed(words)}"


def _only(asked: AnyRequirement) -> str:
    but = f", not {', '.join(asked.excludes)}" if asked.excludes else ""
    kind = f"; approval: {asked.approval.value}" if asked.approval else ""
    return f"only: {', '.join(asked.roles)} (signed){but}{kind}"


def _deadline(asked: AnyRequirement) -> str:
    acts = "" if asked.on_timeout is None else f": {asked.on_timeout.value}"
    return f"until {when(asked.deadline)} ({left(asked.deadline)}){acts}"


def _steps(output: WorkflowRunOutput) -> list[StepOutput]:
    return [each for each in output.walk() if each.path is not None]


def _step(step: StepOutput) -> str:
    how = "failed" if not step.success else "edited" if step.edited else "done"
    return f"{step.path} {how}" + (f": {step.error}" if step.error else "")


def requirement_lines(
    asked: AnyRequirement, run_id: str, typed: Typed, said: Iterable[str] = ()
) -> Iterator[str]:
    """Yield one requirement in full: what was said before, the question, what is decided about,
    and how to answer.
    """
    yield f"{asked.id}  {asked.kind}  of run {run_id}"
    yield f"  {asked.message}"
    yield f"  asked {when(asked.created_at)}"
    if asked.roles:
        yield f"  {_only(asked)}"
    if asked.deadline is not None:
        yield f"  {_deadline(asked)}"
    if asked.notify:
        yield f"  told to {', '.join(asked.notify)}"
    shown = asked.shown()
    for name in [each for each in shown if each not in _SAID]:
        if shown[name] not in (None, [], {}):
            yield from _part(name.replace("_", " "), shown[name])
    yield from _form(shown.get("form"))
    yield from said
    yield f"  digest {asked.digest}"
    for words in commands(asked, run_id):
        yield f"  {typed(words)}"


def conversation_lines(said: Sequence[Said], last: int) -> Iterator[str]:
    """Yield the last messages of a conversation, each below who said it."""
    if last and said:
        left_out = len(said) - last
        before = f" (of {len(said)} messages, the last {last})" if left_out > 0 else ""
        yield f"  said so far{before}:"
        for each in said[-last:]:
            yield from _said(each)


def _said(said: Said) -> Iterator[str]:
    if said.text:
        yield from _told(said.role, said.text)
    for call in said.calls:
        yield from _told(f"{said.role} calls {call.tool}", call.arguments)
    for result in said.results:
        how = "" if result.outcome == "success" else f" ({result.outcome})"
        yield from _told(f"{said.role} {result.tool or ''}{how}", result.result)
    if said.raw is not None:
        yield from _told(said.role, said.raw)


def _told(who: str, what: Any) -> Iterator[str]:
    # Every line is set in, so that none of it looks like a line of ours.
    yield f"    {' '.join(who.split())}:"
    text = what if isinstance(what, str) else json.dumps(what, ensure_ascii=False)
    for line in text[:LONGEST].splitlines():
        yield f"      {line}"
    if len(text) > LONGEST:
        yield f"      ... {len(text) - LONGEST} characters more"


def _part(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, str | int | float) and "\n" not in str(value):
        yield f"  {name}: {value}"
    else:
        yield f"  {name}:"
        yield from (f"    {line}" for line in as_text(value).splitlines())


def _form(form: Any) -> Iterator[str]:
    if isinstance(form, dict):
        for line in fields(cast(dict[str, Any], form)):
            yield f"  field {line}"


def fields(form: dict[str, Any]) -> list[str]:
    """Return each field of a form as `name (what it takes)`."""
    required: list[str] = form.get("required", [])
    return [
        f"{name} ({', '.join(each for each in _hints(form, name, required) if each)})"
        for name in form.get("properties", {})
    ]


def _hints(form: dict[str, Any], name: str, required: list[str]) -> list[str | None]:
    field = field_of(form, name)
    offered = " or ".join(map(str, choices(field, form)))
    return [
        offered or kind(field, form),
        field.get("description"),
        None if name in required else "optional",
    ]


def _cut(content: Any) -> Iterator[str]:
    text = as_text(content)
    for line in text[:LONGEST].splitlines():
        yield f"    {line}"
    if len(text) > LONGEST:
        yield f"    ... {len(text) - LONGEST} characters more; --json has them"
