"""Four ways to take people out of a column, and what each of them promises.

`remove`  the column is gone
`mask`    every word becomes its initial and three dots, `Sherrod Brown` -> `S••• B•••`; digits and
          words of one or two characters become dots alone; the length is not told
`hash`    every value becomes the first 32 digits of its HMAC-SHA256 under the caller's salt.
          The same value in a column of the same name gets the same pseudonym in every release
          with that salt. This is pseudonymisation, not anonymisation: whoever knows the salt
          can try out names, so keep it secret and apart from the data, or throw it away
`year`    a date becomes its year

Empty values stay empty.
"""

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeGuard, get_args

from activities.data_release.profiling import ColumnProfile
from activities.data_release.shapes import year_of
from activities.data_release.tables import Row, Table

Method = Literal["remove", "mask", "hash", "year"]

METHODS: tuple[Method, ...] = get_args(Method)
SHORTEST_SALT = 16
WORD = re.compile(r"[^\s.,;'\u2019@/()+-]+")


def default_methods(table: Table, profile: Mapping[str, ColumnProfile]) -> dict[str, Method]:
    """Return the method for each personal column: `year` for dates, `remove` for all others."""
    personal = [name for name, column in profile.items() if column["personal"]]
    return {name: _default_method(table.column(name), profile[name]) for name in personal}


def checked_methods(
    methods: Mapping[str, str], columns: Sequence[str], salt: str | None
) -> dict[str, Method]:
    """Return `methods` in the order of the columns, or say which of them cannot be carried out."""
    for name, method in methods.items():
        if name not in columns:
            raise ValueError(
                f"no column {name!r} to {method!r}: the columns are {', '.join(columns)}"
            )
        if not _is_method(method):
            raise ValueError(
                f"unknown method {method!r} for column {name!r}: choose one of {', '.join(METHODS)}"
            )
    if "hash" in methods.values():
        _check_salt(salt)
    if set(columns) == {name for name, method in methods.items() if method == "remove"}:
        raise ValueError("every column would be removed: keep, mask, hash or shorten one of them")
    return {name: method for name in columns if _is_method(method := methods.get(name, ""))}


def redact_table(
    table: Table, methods: Mapping[str, Method], salt: str | None = None
) -> tuple[Row, list[Row]]:
    """Return columns and rows of the table with every method applied, and as many rows.

    Raises `ValueError` when a masked or hashed value would be a value that the column held
    before, as it would then seem to tell whose row it is.
    """
    kept = tuple(name for name in table.columns if methods.get(name) != "remove")
    values = [_redacted(table.column(name), name, methods.get(name), salt) for name in kept]
    return kept, list(zip(*values, strict=True))


def mask(value: str) -> str:
    """Return initials and separators of `value`, and neither its digits nor its length."""
    masked, words = WORD.subn(_masked_word, value)
    return masked if words else "•••"


def pseudonym(value: str, column: str, salt: str) -> str:
    """Return the same 32 hexadecimal digits for the same value, column name and salt."""
    return hmac.digest(salt.encode(), f"{column}\0{value}".encode(), "sha256").hex()[:32]


def _redacted(
    values: Sequence[str], name: str, method: Method | None, salt: str | None
) -> list[str]:
    if method is None:
        return list(values)
    apply = _applier(name, method, salt)
    redacted = [apply(value, row) if value else "" for row, value in enumerate(values, start=1)]
    if method != "year" and set(redacted) & set(values) - {""}:
        raise ValueError(
            f"to {method!r} column {name!r} would give values that it already holds, as if "
            "nothing had been hidden: choose 'remove' for it"
        )
    return redacted


def _applier(name: str, method: Method, salt: str | None) -> Callable[[str, int], str]:
    if method == "hash":
        return lambda value, _: pseudonym(value, name, salt or "")
    if method == "year":
        return lambda value, row: _year(value, name, row)
    return lambda value, _: mask(value)


def _year(value: str, name: str, row: int) -> str:
    year = year_of(value)
    if year is None:
        # The value itself stays out of the sentence: it is personal, and errors are kept.
        raise ValueError(
            f"row {row} has no date in column {name!r}, so 'year' cannot be applied: "
            "choose 'remove', 'mask' or 'hash' for it"
        )
    return year


def _masked_word(word: re.Match[str]) -> str:
    text = word[0]
    return f"{text[0]}•••" if len(text) > 2 and text[0].isalpha() else "•••"


def _default_method(values: Sequence[str], profile: ColumnProfile) -> Method:
    every_value_has_a_year = all(year_of(value) for value in values if value)
    return "year" if profile["kind"] == "date" and every_value_has_a_year else "remove"


def _check_salt(salt: str | None) -> None:
    if salt is None:
        raise ValueError(
            "the method 'hash' needs a salt: pass one that is kept secret, or choose 'mask'"
        )
    if len(salt) < SHORTEST_SALT:
        raise ValueError(
            f"the salt has {len(salt)} characters, too few to keep its hashes from being guessed: "
            f"use {SHORTEST_SALT} or more random ones"
        )


def _is_method(method: str) -> TypeGuard[Method]:
    return method in METHODS
