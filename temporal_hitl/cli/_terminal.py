"""What a command writes: for people as text and tables, for programs as JSON.

What comes from a run is written by people and machines that nobody here knows, so nothing of it
reaches a terminal that could steer one.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 10_000
"""Columns where nobody looks: what is piped is never cut or wrapped."""
_STEERING = {"Cc", "Cf", "Co", "Cs"}
"""Categories of Unicode whose characters may move a cursor, or turn a line around."""
_KEPT = "\u200c\u200d"
"""Two of them that some scripts, and emoji, are written with."""


def plain(text: object, *, lines: bool = True) -> str:
    """Return `text` with every character spelt out that could steer a terminal."""
    kept = _KEPT + ("\n\t" if lines else "")
    return "".join(
        each
        if each in kept or unicodedata.category(each) not in _STEERING
        else each.encode("unicode_escape").decode()
        for each in str(text)
    )


def as_data(value: Any) -> Any:
    """Return models, and lists of them, as JSON data."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [as_data(each) for each in value] if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType]


def as_text(content: Any) -> str:
    """Return a content as people read it: text as it is, anything else as JSON."""
    if isinstance(content, str):
        return content
    return json.dumps(content, indent=2, ensure_ascii=False, default=str)


@dataclass(frozen=True)
class Terminal:
    """Where a command writes."""

    json: bool

    @property
    def asks(self) -> bool:
        """Whether somebody is there to be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty() and not self.json

    def tell(self, data: Any, *lines: str) -> None:
        """Write the result: `data` as JSON where that is wanted, else the lines."""
        if self.json:
            self.row(data)
        else:
            for line in lines:
                typer.echo(plain(line))

    def row(self, data: Any) -> None:
        """Write one JSON value, on one line unless a person looks."""
        indent = 2 if sys.stdout.isatty() else None
        typer.echo(json.dumps(as_data(data), indent=indent, default=str))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Write rows under their columns."""
        table = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for column in table.columns:
            column.overflow = "fold"
        for row in rows:
            table.add_row(*(Text(plain(each, lines=False)) for each in row))
        console = Console(width=None if sys.stdout.isatty() else WIDE)
        with console.capture() as captured:
            console.print(table)
        for line in captured.get().splitlines():
            typer.echo(line.rstrip())

    def aside(self, line: str) -> None:
        """Write what is not the result: on stderr, and for people alone."""
        if not self.json:
            typer.echo(plain(line), err=True)


def when(moment: datetime | None) -> str:
    """Return a moment as people read it."""
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def left(deadline: datetime | None) -> str:
    """Return how long there is until a deadline."""
    if deadline is None:
        return ""
    seconds = (deadline - datetime.now(UTC)).total_seconds()
    return f"in {_long(seconds)}" if seconds >= 0 else f"overdue {_long(-seconds)}"


def ago(moment: datetime) -> str:
    """Return how long ago a moment was."""
    return _long(max(0.0, (datetime.now(UTC) - moment).total_seconds()))


_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def _long(seconds: float) -> str:
    left, parts = int(seconds), list[str]()
    for name, length in _UNITS:
        count, left = divmod(left, length)
        if parts or count or length == 1:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])
