"""`temporal-hitl watch`: what happens in a run, line by line, and how far it is."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC
from typing import Annotated, Any

import typer

from temporal_hitl.cli._command import Session
from temporal_hitl.cli._exits import Exit
from temporal_hitl.cli._ids import no_run, pasted
from temporal_hitl.cli._showing import Typed, commands
from temporal_hitl.cli._terminal import plain
from temporal_hitl.errors import RunNotFound
from temporal_hitl.stream_events import (
    AnyStreamEvent,
    LoopIterationStartedEvent,
    NodeEvent,
    RouterPausedEvent,
    RunSnapshotEvent,
    StepCompletedEvent,
    StepContinuedEvent,
    StepErrorEvent,
    StepOutputEvent,
    StepOutputReviewEvent,
    StepPausedEvent,
    StepStartedEvent,
    WorkflowCancelledEvent,
    WorkflowErrorEvent,
)

_Paused = StepPausedEvent | RouterPausedEvent | StepOutputReviewEvent


async def watch(
    at: Session,
    run: Annotated[str, typer.Argument(help="The run's id.", show_default=False)],
    from_now: Annotated[
        bool, typer.Option("--from-now", help="Leave out what has happened until now.")
    ] = False,
    until_paused: Annotated[
        bool, typer.Option("--until-paused", help="End where it needs a person, too.")
    ] = False,
) -> Exit:
    """Follow a run and its child runs until it has ended; with --json, one event a line."""
    hitl, run_id = await at.client(), pasted(run)
    progress, badly = Progress(shown=sys.stdout.isatty() and not at.terminal.json), False
    try:
        events = hitl.watch(run_id, from_now=from_now, until_paused=until_paused)
        async for event in events:
            progress.clear()
            if at.terminal.json:
                typer.echo(json.dumps(event.model_dump(mode="json")))
            else:
                for line in lines(event, at.command):
                    typer.echo(plain(line))
            progress.show(event)
            ends_badly = isinstance(event, WorkflowErrorEvent | WorkflowCancelledEvent)
            badly |= ends_badly and event.nested_depth == 0
    except RunNotFound:
        raise await no_run(
            hitl, run_id, lambda each: at.command("watch", shlex.quote(each))
        ) from None
    finally:
        progress.clear()
    return Exit.not_well if badly else Exit.done


def lines(event: AnyStreamEvent, typed: Typed) -> Iterator[str]:
    """Yield an event as people read it; none for what another one says too."""
    told = _told(event)
    if told is None:
        return
    moment = f"{event.created_at.astimezone(UTC):%H:%M:%S}"
    inset = "  " * event.nested_depth
    yield f"{moment}  {inset}{told}"
    asked = _asked(event)
    for words in [] if asked is None else commands(asked, event.run_id):
        yield f"{'':10}{inset}{typed(words)}"


def _told(event: AnyStreamEvent) -> str | None:
    match event:
        case StepOutputEvent():
            return None  # `StepCompleted` says so.
        case RunSnapshotEvent(run_output=output):
            return f"{output.run_id}, {output.status.value}: what was before is deleted"
        case WorkflowErrorEvent(error=error):
            return f"{event.run_id} failed: {error}"
        case WorkflowCancelledEvent(reason=reason):
            return f"{event.run_id} cancelled: {reason}"
        case StepErrorEvent(error=error):
            return f"{event.path} failed: {error}"
        case StepPausedEvent() | RouterPausedEvent() | StepOutputReviewEvent():
            return f"{event.requirement.id} waits for a person: {event.requirement.message}"
        case StepContinuedEvent():
            return f"{event.path} goes on, as {event.requirement_id} says"
        case LoopIterationStartedEvent(iteration=iteration, max_iterations=most):
            return f"{event.path} begins, iteration {iteration} of {most} at most"
        case _:
            return _plainly(event)


def _plainly(event: AnyStreamEvent) -> str:
    where = event.path if isinstance(event, NodeEvent) else f"{event.run_id} {event.workflow_name}"
    return f"{where} {'begins' if event.event.endswith('Started') else 'is done'}"


def _asked(event: AnyStreamEvent) -> Any:
    if isinstance(event, _Paused | StepErrorEvent):
        return event.requirement
    return None


class Progress:
    """One line below the others that says how far a run is; shown at a terminal alone."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._done = 0
        self._working: dict[str, None] = {}
        self._waiting: dict[str, None] = {}

    def show(self, event: AnyStreamEvent) -> None:
        """Take note of an event, and show the line."""
        self._note(event)
        if self._shown:
            width = shutil.get_terminal_size().columns - 1
            sys.stdout.write(plain(str(self), lines=False)[:width])
            sys.stdout.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            sys.stdout.write("\r\x1b[K")
            sys.stdout.flush()

    def __str__(self) -> str:
        parts = [f"{self._done} steps done"]
        parts += [f"at work: {', '.join(self._working)}"] if self._working else []
        parts += [f"waits: {', '.join(self._waiting)}"] if self._waiting else []
        return f"... {'; '.join(parts)}"

    def _note(self, event: AnyStreamEvent) -> None:
        if not isinstance(event, NodeEvent):
            return
        if isinstance(event, _Paused):
            self._waiting[event.path] = None
        else:
            self._waiting.pop(event.path, None)
        if isinstance(event, StepStartedEvent):
            self._working[event.path] = None
        elif isinstance(event, StepCompletedEvent | StepErrorEvent | _Paused):
            self._working.pop(event.path, None)
        self._done += isinstance(event, StepCompletedEvent)
