"""Which column is treated how, as people say it: a form, feedback in words, an edited draft."""

import re
from collections.abc import Mapping, Sequence
from typing import cast

from activities.data_release.records import Treatment
from activities.data_release.redaction import METHODS

TREATMENTS: tuple[Treatment, ...] = ("keep", *METHODS)

WORDS: dict[Treatment, re.Pattern[str]] = {
    "keep": re.compile(r"keep\w*|kept|show\w*"),
    "remove": re.compile(r"remov\w+|drop\w*|delet\w+|hide|hiding|hidden"),
    "mask": re.compile(r"mask\w*"),
    "hash": re.compile(r"hash\w*|pseudonym\w*"),
    "year": re.compile(r"years?|shorten\w*"),
}
CLAUSES = re.compile(r"[.;!\n]+|\bbut\b|\binstead\b")


def by_form(
    suggested: Mapping[str, Treatment], columns: Sequence[str], form: Mapping[str, object]
) -> dict[str, Treatment]:
    """Return how each column is treated: as the form says, and otherwise as suggested.

    The form has a list of columns per treatment, any of them left out or null.
    """
    named: dict[str, Treatment] = {}
    for treatment in TREATMENTS:
        for name in _names(form.get(treatment), treatment):
            if name not in columns:
                raise ValueError(
                    f"no column {name!r} to {treatment!r}: the columns are {', '.join(columns)}"
                )
            if name in named:
                raise ValueError(
                    f"column {name!r} is to be treated as {named[name]!r} and as {treatment!r}: "
                    "name it once"
                )
            named[name] = treatment
    return _complete({**suggested, **named}, columns)


def by_feedback(feedback: str, columns: Sequence[str]) -> dict[str, Treatment]:
    """Return the columns that `feedback` names, and how it asks to treat each.

    Understood is plain speech in clauses: `mask party and state. district: remove`. A column
    without such a word in its clause is removed.
    """
    asked: dict[str, Treatment] = {}
    for clause in CLAUSES.split(feedback):
        words = re.findall(r"\w+", clause)
        named: list[tuple[str | None, Treatment | None]] = [
            (_column(word, columns), _treatment(word)) for word in words
        ]
        # A column's name is a name, even where it is one of our words as well.
        treatment = _first(named)
        for name, word in named:
            if name is None:
                treatment = word or treatment
            else:
                asked[name] = treatment
    return asked


def by_edit(edited: object, columns: Sequence[str]) -> dict[str, Treatment]:
    """Return the columns of a draft as a reviewer edited it; every one of them must be there."""
    given: Mapping[str, object] = (
        cast("Mapping[str, object]", edited) if isinstance(edited, Mapping) else {}
    )
    wrong = [name for name in given if name not in columns]
    wrong += [name for name in columns if given.get(name) not in TREATMENTS]
    if wrong:
        raise ValueError(
            f"the draft's columns were edited to {edited!r}: give each of {', '.join(columns)} "
            f"one of {', '.join(TREATMENTS)}"
        )
    return _complete(cast("Mapping[str, Treatment]", given), columns)


def _names(value: object, treatment: str) -> list[str]:
    if value is None:
        return []
    names = cast("list[object]", value) if isinstance(value, list) else [value]
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"the columns to {treatment!r} are {value!r}: give their names as text")
    return [name.strip() for name in names if isinstance(name, str)]


def _complete(some: Mapping[str, Treatment], columns: Sequence[str]) -> dict[str, Treatment]:
    return {name: some.get(name, "keep") for name in columns}


def _column(word: str, columns: Sequence[str]) -> str | None:
    return next((name for name in columns if name.casefold() == word.casefold()), None)


def _first(named: Sequence[tuple[str | None, Treatment | None]]) -> Treatment:
    for name, treatment in named:
        if name is None and treatment is not None:
            return treatment
    return "remove"


def _treatment(word: str) -> Treatment | None:
    meant: list[Treatment] = [e for e, like in WORDS.items() if like.fullmatch(word.casefold())]
    return meant[0] if meant else None
