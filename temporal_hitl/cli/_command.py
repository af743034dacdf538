"""What every command has: the options of the connection, `--json`, and one way to fail."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, is_dataclass
from functools import wraps
from importlib import metadata
from typing import Annotated, Any

import typer

from temporal_hitl._beside import Beside
from temporal_hitl._site import beside_of
from temporal_hitl.approvals import ApprovalsFile
from temporal_hitl.cli._connection import Connection
from temporal_hitl.cli._exits import TRACEBACK, Exit, Trouble, trouble, unexpected
from temporal_hitl.cli._terminal import Terminal, plain
from temporal_hitl.client import TASK_QUEUE, HitlClient
from temporal_hitl.local import DEFAULT_DB_FILE, Files


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"temporal-hitl {metadata.version('temporal-hitl')}")
        raise typer.Exit


Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
Version = Annotated[
    bool,
    typer.Option("--version", help="Write the version.", is_eager=True, callback=_tell_version),
]
TaskQueue = Annotated[
    str, typer.Option("--task-queue", "-t", help="The task queue of the workers.")
]


@dataclass(frozen=True)
class Session:
    """One call of one command: where it writes, and how it reaches Temporal."""

    terminal: Terminal
    connection: Connection

    async def client(self, task_queue: str = TASK_QUEUE) -> HitlClient:
        """Return a client; raises what `Connection.connect` does."""
        return HitlClient(await self.connection.connect(), task_queue=task_queue)

    def beside(self) -> Beside | None:
        """Return what stands beside the embedded server of this folder, where that is reached."""
        embedded = self.connection.embedded()
        return None if embedded is None else beside_of(embedded.files)

    def approvals(self) -> ApprovalsFile | None:
        """Return the file of approvals, where one can be read here."""
        named = ApprovalsFile.from_environment()
        if named is not None:
            return named
        # It is there though the server may not run.
        configured = self.connection.configured().keys() - {"namespace"}
        if configured or not DEFAULT_DB_FILE.exists():
            return None
        return beside_of(Files.of(DEFAULT_DB_FILE.resolve())).approvals()

    def command(self, *words: str) -> str:
        """Return a command of ours that can be pasted, with the same connection."""
        return f"temporal-hitl {' '.join(words)}{self.connection.repeated()}"


Command = Callable[..., Awaitable[Exit | None]]


def shared(app: typer.Typer, help: str) -> None:
    """Let the options of the connection stand before the command's name, too."""

    def options(ctx: typer.Context, version: bool, **given: Any) -> None:
        ctx.obj = Session(Terminal(given.pop("json")), Connection(**given))

    _declare(options, [*_fields(Connection), _JSON, _option("version", Version)])
    app.callback(help=help)(options)


def command(app: typer.Typer, function: Command, *, connects: bool = True) -> None:
    """Add an async function to `app` as a command of its name.

    Its first parameter is the `Session`. A parameter whose type is a dataclass stands for the
    options that are its fields; those that all commands have come by themselves.
    """
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    groups = {each.name: each.annotation for each in own if is_dataclass(each.annotation)}
    reach = {"connection": Connection} if connects else {}

    @wraps(function)
    def run(ctx: typer.Context, **given: Any) -> None:
        made = {name: _taken(kind, given) for name, kind in (groups | reach).items()}
        session = _session(ctx, given.pop("json"), made.pop("connection", Connection()))
        raise typer.Exit(_run(session, lambda: function(session, **given, **made)))

    plain_ones = [each for each in own if each.name not in groups]
    grouped = [each for kind in (groups | reach).values() for each in _fields(kind)]
    _declare(run, [*plain_ones, *grouped, _JSON])
    app.command(function.__name__.rstrip("_"))(run)


def _session(ctx: typer.Context, json: bool, said: Connection) -> Session:
    before: Session = ctx.obj
    return Session(Terminal(json or before.terminal.json), said.over(before.connection))


def _run(session: Session, work: Callable[[], Awaitable[Exit | None]]) -> Exit:
    async def worked() -> Exit | None:
        _wake_on_signals()
        return await work()

    try:
        return asyncio.run(worked()) or Exit.done
    except (KeyboardInterrupt, typer.Abort):
        return Exit.interrupted
    except BrokenPipeError:
        raise  # Who read it has gone; typer ends it quietly.
    except Exception as error:
        found = trouble(error) or unexpected(error)
        if found.code is Exit.unexpected and os.environ.get(TRACEBACK):
            raise
        _tell(session.terminal, found)
        return found.code


def _wake_on_signals() -> None:
    # Ctrl-C may come to a thread of the SDK's, and asyncio then sleeps on: only a handler of the
    # loop's own, for whatever signal, has every signal wake it.
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCONT"):
        asyncio.get_running_loop().add_signal_handler(signal.SIGCONT, lambda: None)


def _tell(terminal: Terminal, found: Trouble) -> None:
    if terminal.json:
        told = {"error": found.code.name, "message": found.message, "record": found.record}
        typer.echo(json.dumps(told), err=True)
    else:
        typer.echo(f"error: {plain(found.message)}", err=True)


def _declare(function: Callable[..., Any], parameters: list[inspect.Parameter]) -> None:
    # What typer reads options from.
    ctx = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    declared = [ctx, *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters)]
    function.__signature__ = inspect.Signature(declared)  # type: ignore[attr-defined]
    function.__annotations__ = {each.name: each.annotation for each in declared}


def _fields(group: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(group, eval_str=True).parameters.values())


def _taken(group: Any, given: dict[str, Any]) -> Any:
    return group(**{each.name: given.pop(each.name) for each in _fields(group)})


def _option(name: str, annotation: Any) -> inspect.Parameter:
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=False, annotation=annotation)


_JSON = _option("json", Json)
