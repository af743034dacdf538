"""Checks of what authors write, each telling where it is wrong and what would be right."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from enum import Enum
from typing import Any, TypeAlias, TypeVar, cast

from temporal_hitl.errors import DefinitionError

Seconds: TypeAlias = float | timedelta

E = TypeVar("E", bound=Enum)


def parse_enum(kind: type[E], value: E | str, where: str) -> E:
    """Return `value` as a member of `kind`, or raise a `DefinitionError` that lists them."""
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(repr(member.value) for member in kind)
        raise DefinitionError(f"{where}: {value!r} is not one of {known}") from None


def as_seconds(value: float | timedelta | None, where: str) -> float | None:
    """Return a positive, finite duration in seconds, or None for none."""
    if value is None:
        return None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DefinitionError(f"{where}: {value!r} is not a duration; write seconds or a timedelta")
    if not math.isfinite(value) or value <= 0:
        raise DefinitionError(
            f"{where}: {value!r} is not a positive duration; leave it out for none"
        )
    return float(value)


def whole(value: Any, least: int, where: str) -> int:
    """Return `value`, a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise DefinitionError(f"{where}: {value!r} is not a whole number of at least {least}")
    return value


def text(value: Any, where: str) -> str:
    """Return `value`, a text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise DefinitionError(f"{where}: {value!r} is no name; write text")
    return value


_ROLE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")


def is_role(value: Any) -> bool:
    """Return whether `value` is a word that a role may be called."""
    return isinstance(value, str) and _ROLE.fullmatch(value) is not None


def role_names(value: Any, where: str) -> tuple[str, ...]:
    """Return names of roles, none where `value` is None; raises a `DefinitionError` for others."""
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise DefinitionError(f"{where}: {value!r} is no list of roles; write ['finance']")
    names = tuple(cast(list[Any], value))
    for each in names:
        if not is_role(each):
            raise DefinitionError(f"{where}: {each!r} is no role; write a word in lower case")
    return names
