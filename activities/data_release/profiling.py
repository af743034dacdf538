"""What each column of a table holds, and whether it points to a person.

"Personal" here means that a value leads to one person: a name, a date of birth, an address, a
code of one's own. What merely describes people (gender, party, state) is not called personal,
although several such columns together may still tell people apart; `verification.singled_out`
counts that. The guess is a proposal for the person who confirms, not a verdict.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

from activities.data_release.shapes import (
    IDENTIFIER,
    NAME,
    PLURALS,
    SHAPES,
    Kind,
    kind_in_header,
    matches,
    year_of,
)
from activities.data_release.tables import Table


class ColumnProfile(TypedDict):
    """What one column holds; `why` gives the reasons for `personal`, empty when it is not."""

    filled: int
    distinct: int
    kind: Kind
    personal: bool
    why: list[str]


MOST = 0.9
BIRTHS_SPREAD_OVER_YEARS = 20
WIDEST_CATEGORY = 40
FEWEST_TO_SINGLE_OUT = 10  # among fewer rows every value is the only one


def profile_table(table: Table) -> dict[str, ColumnProfile]:
    """Return a profile per column, the same for the same table, with no value of any row."""
    return {name: profile_column(name, table.column(name)) for name in table.columns}


def profile_column(name: str, values: Sequence[str]) -> ColumnProfile:
    """Count the values of one column, guess their kind and say whether and why it is personal."""
    filled = [value.strip() for value in values if value.strip()]
    kind = _kind(name, filled)
    why = [*_reasons_in_header(name), *_reasons_in_values(kind, filled)]
    return ColumnProfile(
        filled=len(filled),
        distinct=len(set(filled)),
        kind=kind,
        personal=bool(why and filled),
        why=why if filled else [],
    )


def _kind(name: str, filled: Sequence[str]) -> Kind:
    if not filled:
        return "empty"
    shape: Kind | None = next((k for k, shape in SHAPES.items() if _most(filled, shape)), None)
    if shape and shape != "number":
        return shape
    named = kind_in_header(name)
    if named in ("name", "phone", "e-mail", "address"):
        return named
    if named == "identifier" and _singles_out(filled):
        return named
    return shape or _kind_of_words(filled)


def _kind_of_words(filled: Sequence[str]) -> Kind:
    distinct = len(set(filled))
    if _most(filled, IDENTIFIER) and _singles_out(filled):
        return "identifier"
    if _most(filled, NAME) and distinct * 2 > len(filled):
        return "name"
    short = max(map(len, filled)) <= WIDEST_CATEGORY
    return "category" if short and distinct * 5 <= len(filled) else "free text"


def _reasons_in_header(name: str) -> list[str]:
    kind = kind_in_header(name)
    if kind is None or kind == "identifier":
        return []
    return [f"the header {name!r} speaks of {PLURALS[kind]}"]


def _reasons_in_values(kind: Kind, filled: Sequence[str]) -> list[str]:
    if kind in ("name", "phone", "e-mail", "address"):
        shape = NAME if kind == "name" else SHAPES[kind]
        found = f"{matches(filled, shape)} of {len(filled)} values look like {PLURALS[kind]}"
        return [found] if _most(filled, shape) else []
    if kind == "date":
        return _reasons_in_dates(filled)
    if kind in ("identifier", "url", "free text") and _singles_out(filled):
        return [f"{_singles(filled)} of {len(filled)} values belong to one row each"]
    return []


def _reasons_in_dates(filled: Sequence[str]) -> list[str]:
    years = [int(year) for year in map(year_of, filled) if year]
    spread = max(years) - min(years)
    if spread < BIRTHS_SPREAD_OVER_YEARS or len(set(filled)) * 2 <= len(filled):
        return []
    return [f"its dates spread over {spread} years, as dates of birth do"]


def _most(filled: Sequence[str], shape: re.Pattern[str]) -> bool:
    return matches(filled, shape) >= MOST * len(filled)


def _singles(filled: Sequence[str]) -> int:
    return sum(1 for count in Counter(filled).values() if count == 1)


def _singles_out(filled: Sequence[str]) -> bool:
    return len(filled) >= FEWEST_TO_SINGLE_OUT and _singles(filled) >= MOST * len(filled)
