"""What has changed between two rounds of an output: by line, and within a line by word.

Owns the limits within which two values are compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import count
from typing import Any, Literal, TypeAlias

SIZE = 100_000
"""Characters that each of two values may have, to be compared."""
LINES = 4_000
"""Lines that each may have."""
AROUND = 3
"""Lines shown before and after a change."""
WORDS = 300
"""Words that a line may have, to be compared word by word."""
PAIRS = 60
"""Changed lines that are compared word by word."""
ALIKE = 0.4
"""How alike two lines are, at least, for one to be the other with changes."""

Mark: TypeAlias = Literal["same", "gone", "new", "skipped"]
Part: TypeAlias = tuple[bool, str]


@dataclass(frozen=True)
class Line:
    """One line of a comparison."""

    mark: Mark
    parts: list[Part] = field(default_factory=list[Part])
    """Its text, piece by piece, and whether each is what differs."""
    count: int = 0
    """How many lines were left out here, as nothing has changed in them."""


@dataclass(frozen=True)
class Compared:
    """Two values, compared."""

    lines: list[Line]
    added: int
    removed: int

    @property
    def is_same(self) -> bool:
        """Whether nothing has changed."""
        return not (self.added or self.removed)


def compared(before: Any, after: Any) -> Compared | None:
    """Return what has changed from one value to the other; None where they are too large."""
    are_texts = isinstance(before, str) and isinstance(after, str)
    texts = [before, after] if are_texts else [_text(before), _text(after)]
    old, new = (text.split("\n") for text in texts)
    if max(map(len, texts)) > SIZE or max(len(old), len(new)) > LINES:
        return None
    lines = list(_lines(old, new))
    added, removed = (sum(each.mark == mark for each in lines) for mark in ("new", "gone"))
    return Compared(lines, added, removed)


def _text(value: Any) -> str:
    # The order of an object's keys says nothing.
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)


def _lines(old: Sequence[str], new: Sequence[str]) -> Iterator[Line]:
    at, pairs = 0, count()
    for group in SequenceMatcher(None, old, new).get_grouped_opcodes(AROUND):
        if group[0][1] > at:
            yield Line("skipped", count=group[0][1] - at)
        for what, i, j, m, n in group:
            if what == "equal":
                yield from (Line("same", [(False, text)]) for text in old[i:j])
            else:
                yield from _changed(old[i:j], new[m:n], pairs)
        at = group[-1][2]
    if at and len(old) > at:
        yield Line("skipped", count=len(old) - at)


def _changed(old: Sequence[str], new: Sequence[str], pairs: Iterator[int]) -> Iterator[Line]:
    if len(old) != len(new):
        yield from (Line("gone", [(True, text)]) for text in old)
        yield from (Line("new", [(True, text)]) for text in new)
        return
    for before, after in zip(old, new, strict=True):
        whole = ([(True, before)], [(True, after)])
        gone, come = _by_word(before, after) if next(pairs) < PAIRS else whole
        yield Line("gone", gone)
        yield Line("new", come)


def _by_word(before: str, after: str) -> tuple[list[Part], list[Part]]:
    old, new = re.findall(r"\w+|\W", before), re.findall(r"\w+|\W", after)
    match = SequenceMatcher(None, old, new, autojunk=False)
    is_long = max(len(old), len(new)) > WORDS
    if is_long or match.quick_ratio() < ALIKE or match.ratio() < ALIKE:
        return [(True, before)], [(True, after)]
    gone, come = list[Part](), list[Part]()
    for what, i, j, m, n in match.get_opcodes():
        gone.append((what != "equal", "".join(old[i:j])))
        come.append((what != "equal", "".join(new[m:n])))
    return [each for each in gone if each[1]], [each for each in come if each[1]]
