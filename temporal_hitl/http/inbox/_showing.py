"""Shows values as what they are: text, Markdown, rows, or a tree of JSON.

Owns how a kind of value is recognised. What was produced is not trusted: no HTML of its own, and no
images, come onto a page.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from markdown_it import MarkdownIt
from markupsafe import Markup

from temporal_hitl.http.inbox._tree import Node, tree
from temporal_hitl.http.inbox._words import Words

ROWS = 200
"""Rows of a table that are shown."""
COLUMNS = 20
"""Columns that a table has at most; what has more is shown as JSON."""
LONG = 100_000
"""Characters up to which text is looked at for Markdown."""
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
_SIGNS = re.compile(
    r"^#{1,6} \S|^\s*[-*+] \S|^\s*\d+\. \S|^```|^> |\*\*\S.*?\S\*\*|\[[^\]]+\]\([^)]+\)|^\|.*\|$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Shown:
    """A value, ready to be shown."""

    kind: Literal["nothing", "text", "markdown", "rows", "tree", "json"]
    source: str
    """Exactly what it is: the text itself, else JSON."""
    html: Markup | None = None
    """The Markdown as HTML, which is safe."""
    columns: list[str] = field(default_factory=list[str])
    rows: list[list[str]] = field(default_factory=list[list[str]])
    left: int = 0
    """How many rows are not among them."""
    tree: Node | None = None
    """What it holds, where it is neither text nor rows."""


def shown(value: Any) -> Shown:
    """Return a value as it is shown."""
    match value:
        case None:
            return Shown("nothing", "null")
        case str() if len(value) <= LONG and _SIGNS.search(value):
            return Shown("markdown", value, html=Markup(_MARKDOWN.render(value)))
        case str():
            return Shown("text", value)
        case list() if (columns := _columns(cast(list[Any], value))) is not None:
            return _table(columns, cast(list[dict[str, Any]], value))
        case dict() | list():
            return Shown("tree", as_json(value), tree=tree(value))
        case _:
            return Shown("json", as_json(value))


def as_json(value: Any) -> str:
    """Return a value as JSON that can be read."""
    try:
        return json.dumps(value, indent=2, ensure_ascii=False)
    except RecursionError:
        return Words.too_deep


def _columns(rows: list[Any]) -> list[str] | None:
    """Return the columns of what is rows of plain values; None where it is not."""
    if not rows or not all(isinstance(row, dict) for row in rows):
        return None
    objects = cast(list[dict[str, Any]], rows)
    names = list(dict.fromkeys(name for row in objects for name in row))
    flat = not any(isinstance(cell, dict | list) for row in objects for cell in row.values())
    return names if names and flat and len(names) <= COLUMNS else None


def _table(columns: list[str], rows: list[dict[str, Any]]) -> Shown:
    cells = [[_cell(row.get(name, "")) for name in columns] for row in rows[:ROWS]]
    left = max(len(rows) - ROWS, 0)
    return Shown("rows", as_json(rows), columns=columns, rows=cells, left=left)


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
