"""Does a redacted file still tell who somebody is? Answered by comparing it with its source."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypedDict

from activities.data_release.redaction import Method
from activities.data_release.tables import Table

Phrase = tuple[str, ...]

FIRST_WORDS = 8
FEWEST_LETTERS = 3
FEWEST_DIGITS = 5


class Leak(TypedDict):
    """Values of one redacted column that can still be read in another, and how many."""

    column: str
    found_in: str
    first_row: int
    values: int


class SinglingOut(TypedDict):
    """How many rows differ from all others in the columns `by`, which were released readable."""

    rows: int
    by: list[str]


def leaks(source: Table, released: Table, methods: Mapping[str, Method]) -> list[Leak]:
    """Return where `released` still holds a value that only one row of a redacted column had.

    A value counts as held when its words appear in a cell, in order and in any case: a single
    word in the row that it came from (anybody may be called Lee), several words in any row.
    Looked for are values with three letters or five digits and more, as an initial or an age is
    everywhere; long texts are known by their first eight words.
    """
    sought = telling_values(source, methods)
    lengths = sorted({len(phrase) for phrase in sought})
    found: dict[tuple[str, str], tuple[int, set[Phrase]]] = {}
    for row, cells in enumerate(released.rows, start=1):
        for name, cell in zip(released.columns, cells, strict=True):
            for phrase in _phrases(cell, lengths):
                for column in _columns_told(sought.get(phrase, {}), phrase, row):
                    found.setdefault((column, name), (row, set()))[1].add(phrase)
    return [
        Leak(column=column, found_in=name, first_row=row, values=len(phrases))
        for (column, name), (row, phrases) in sorted(found.items())
    ]


def telling_values(source: Table, methods: Mapping[str, Method]) -> dict[Phrase, dict[str, int]]:
    """Return each value that one row alone has in a redacted column: the column and the row."""
    telling: dict[Phrase, dict[str, int]] = {}
    for column in methods:
        phrases = [phrase_of(value) for value in source.column(column)]
        counts = Counter(phrases)
        for row, phrase in enumerate(phrases, start=1):
            if counts[phrase] == 1 and _tells(phrase):
                telling.setdefault(phrase, {})[column] = row
    return telling


def differences(source: Table, released: Table, methods: Mapping[str, Method]) -> Iterator[str]:
    """Yield a sentence for everything in `released` that redacting `source` does not explain."""
    expected = [name for name in source.columns if methods.get(name) != "remove"]
    if list(released.columns) != expected:
        yield f"its columns are {list(released.columns)}, not {expected}"
        return
    if len(released.rows) != len(source.rows):
        yield f"it has {len(released.rows)} rows, not {len(source.rows)}"
        return
    for name in expected:
        if name not in methods and released.column(name) != source.column(name):
            yield f"its column {name!r} is not that of the source, although it was to be kept"


def singled_out(released: Table, methods: Mapping[str, Method]) -> SinglingOut:
    """Count the rows that the kept and the shortened columns together still tell apart.

    Removing names does not hide a person who is the only one with their district and year of
    birth. This is the number to look at before a release goes out.
    """
    by = [name for name in released.columns if methods.get(name, "year") == "year"]
    groups = Counter(zip(*(released.column(name) for name in by), strict=True))
    return SinglingOut(rows=sum(1 for size in groups.values() if size == 1), by=by)


def phrase_of(value: str) -> Phrase:
    """Return the first words of `value` in the form in which values are compared."""
    return tuple(_words(value)[:FIRST_WORDS])


def _columns_told(origins: Mapping[str, int], phrase: Phrase, row: int) -> list[str]:
    return [column for column, origin in origins.items() if len(phrase) > 1 or origin == row]


def _phrases(cell: str, lengths: Iterable[int]) -> Iterator[Phrase]:
    words = _words(cell)
    for length in lengths:
        for start in range(len(words) - length + 1):
            yield tuple(words[start : start + length])


def _words(text: str) -> Sequence[str]:
    return re.findall(r"\w+", text.casefold())


def _tells(phrase: Phrase) -> bool:
    text = "".join(phrase)
    letters = sum(1 for character in text if character.isalpha())
    return letters >= FEWEST_LETTERS or len(text) - letters >= FEWEST_DIGITS
