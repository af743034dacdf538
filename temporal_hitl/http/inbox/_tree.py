"""Any JSON as a tree that folds, within limits: what a value holds beyond them is counted.

Owns the limits. What is deep is closed, what is wide is cut, and a page never has more than so many
lines of it; the exact JSON stands elsewhere.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

NODES = 1_000
"""Lines that a tree has at most."""
WIDE = 100
"""Items of one list or object that are shown."""
DEEP = 16
"""Levels that are shown; what is below them is counted."""
OPEN = 2
"""Levels that are unfolded at first."""
LONG = 1_000
"""Characters of one text that are shown."""

Kind: TypeAlias = Literal["object", "list", "text", "number", "word"]


@dataclass
class Node:
    """One value, under its key or its number."""

    label: str
    kind: Kind
    text: str = ""
    """What it is, where it holds nothing."""
    count: int = 0
    """How many items it holds."""
    items: list[Node] = field(default_factory=list["Node"])
    """Those that are shown."""
    is_open: bool = False
    cut: int = 0
    """How many characters of its text are not shown."""

    @property
    def left(self) -> int:
        """How many items are not shown."""
        return self.count - len(self.items)


def tree(value: Any) -> Node:
    """Return a value as a tree; what stands above is shown before what is below it."""
    root = _node("", value)
    todo, room = deque([(root, value, 0)]), NODES
    while todo:
        node, holds, level = todo.popleft()
        node.is_open = level < OPEN
        for label, item in _items(holds)[:WIDE] if level < DEEP else ():
            if room == 0:
                break
            room -= 1
            below = _node(label, item)
            node.items.append(below)
            if below.count:
                todo.append((below, item, level + 1))
    return root


def _items(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return list(cast(dict[str, Any], value).items())
    return [(str(number), each) for number, each in enumerate(cast(list[Any], value), 1)]


def _node(label: str, value: Any) -> Node:
    label, _ = _cut(label)
    match value:
        case dict():
            count = len(cast(dict[str, Any], value))
            return Node(label, "object", "{}", count)
        case list():
            count = len(cast(list[Any], value))
            return Node(label, "list", "[]", count)
        case str():
            text, cut = _cut(value)
            return Node(label, "text", text, cut=cut)
        case bool() | None:
            return Node(label, "word", json.dumps(value))
        case _:
            return Node(label, "number", json.dumps(value))


def _cut(text: str) -> tuple[str, int]:
    return text[:LONG], max(len(text) - LONG, 0)
