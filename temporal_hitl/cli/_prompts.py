"""Asks whoever sits at the terminal: a form field by field, a route, an output in an editor.

Every value is checked as it comes; what does not do is asked again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import typer

from temporal_hitl._forms import problems
from temporal_hitl.cli._exits import Usage
from temporal_hitl.cli._terminal import as_text, plain
from temporal_hitl.cli._values import choices, field_of, kind, typed
from temporal_hitl.drafts import StepRequirement


@contextlib.contextmanager
def _interruptible() -> Generator[None]:
    """Let Ctrl-C end the question: an event loop takes the first one for itself."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@_interruptible()
def fill_in(draft: StepRequirement) -> None:
    """Ask for the fields of a form, one after another, and whether to send them."""
    form: dict[str, Any] = dict(draft.form or {})
    names = list(form.get("properties") or {})
    if not names:
        raise Usage("this form names no fields; give them with --values '{\"name\": ...}'")
    for name in names:
        _ask(
            name,
            form,
            draft.get_user_input(name),
            lambda value, name=name: draft.set_user_input(**{name: value}),
        )
    if draft.missing_values:
        raise Usage(f"not sent: {', '.join(draft.missing_values)} must be filled in")
    _agreed("Send this?")


@_interruptible()
def change(arguments: dict[str, Any], form: dict[str, Any], tool: str) -> dict[str, Any]:
    """Return a tool's arguments as somebody wants them: asked for one after another."""
    names = list(form.get("properties") or {})
    if not names:
        raise Usage("this tool names no arguments; give them with --arguments '{\"name\": ...}'")
    changed = dict(arguments)

    def put(name: str, value: Any) -> None:
        alone = {"$defs": form.get("$defs") or {}, "properties": {name: form["properties"][name]}}
        if found := problems({"type": "object", **alone}, {name: value}):
            raise ValueError("; ".join(found))
        changed[name] = value

    for name in names:
        _ask(name, form, changed.get(name), lambda value, name=name: put(name, value))
    if changed == arguments:
        raise Usage("nothing was changed; `temporal-hitl confirm` approves the call as it is")
    _agreed(f"Call {tool} so?")
    return changed


def _agreed(question: str) -> None:
    if not typer.confirm(plain(question, lines=False), default=True, err=True):
        raise Usage("not sent; nothing has changed")


@_interruptible()
def say(question: str) -> str:
    """Return what somebody types."""
    return typer.prompt(question, err=True)


def _ask(name: str, form: dict[str, Any], there: Any, put: Callable[[Any], None]) -> None:
    field = field_of(form, name)
    required = name in (form.get("required") or [])
    there = field.get("default") if there is None else there
    hint = _hint(field, form, there, required=required)
    question = f"  {plain(name, lines=False)}{plain(hint, lines=False)}"
    while True:
        answer = typer.prompt(question, default="", show_default=False, err=True).strip()
        if not answer and (there is not None or not required):
            return
        try:
            put(typed(answer, field, form))
            return
        except ValueError as refused:
            typer.echo(f"  {plain(refused)}", err=True)


def _hint(field: dict[str, Any], form: dict[str, Any], there: Any, *, required: bool) -> str:
    offered = ", ".join(map(str, choices(field, form)))
    said = [field.get("description"), offered or kind(field, form)]
    said += ["several with commas" if kind(field, form) == "array" else None]
    if there is not None:
        shown = there if isinstance(there, str) else json.dumps(there, ensure_ascii=False)
        said.append(f"Enter for {shown}")
    elif not required:
        said.append("Enter for none")
    return f" ({'; '.join(each for each in said if each)})"


@_interruptible()
def choose(draft: StepRequirement) -> None:
    """Ask which way to go on."""
    offered = list(draft.available_choices or ())
    for number, each in enumerate(offered, start=1):
        typer.echo(f"  {number}  {plain(each)}", err=True)
    several = " (several with commas)" if draft.allow_multiple_selections else ""
    while True:
        answer: str = typer.prompt(f"Which{several}", err=True)
        named = [_named(each.strip(), offered) for each in answer.split(",")]
        try:
            draft.select(*named)
            return
        except ValueError as refused:
            typer.echo(f"  {plain(refused)}", err=True)


def _named(answer: str, offered: list[str]) -> str:
    if answer in offered or not answer.isdecimal() or not 1 <= int(answer) <= len(offered):
        return answer
    return offered[int(answer) - 1]


@_interruptible()
def in_an_editor(output: Any) -> Any:
    """Return the output as it is after the user's editor, `$VISUAL` or `$EDITOR`, has closed it.

    Raises:
        Usage: there is no editor, or nothing was changed.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise Usage("give the new output with --output (text, JSON, @FILE or -), or set EDITOR")
    before = as_text(output)
    suffix = ".txt" if isinstance(output, str) else ".json"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"output{suffix}")
        file.write_text(before, encoding="utf-8")
        if subprocess.run([*shlex.split(editor), str(file)], check=False).returncode:
            raise Usage(f"{editor!r} did not end well; nothing has changed")
        after = file.read_text(encoding="utf-8")
    if not before.endswith("\n"):
        after = after.removesuffix("\n")  # Editors end a file with one.
    if after == before:
        raise Usage("nothing was edited; `temporal-hitl confirm` keeps an output as it is")
    try:
        return after if isinstance(output, str) else json.loads(after)
    except ValueError as error:
        raise Usage(f"what was edited is no JSON any more: {error}; nothing was sent") from error
