"""Who is told of requirements: names that authors write and runs record.

What a name stands for is the worker's environment, as it holds secrets; this knows nothing of that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from temporal_hitl.errors import DefinitionError

DEFAULTS = "HITL_NOTIFY"
"""The environment variable with the names that are told where no author says who is."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SECRET = "_SECRET"


def variable_of(name: str) -> str:
    """Return the environment variable that says what the subscriber `name` is."""
    return f"{DEFAULTS}_{name.upper().replace('-', '_')}"


def secret_of(name: str) -> str:
    """Return the environment variable with the secret of its webhooks."""
    return variable_of(name) + _SECRET


def subscribers(value: Any, where: str) -> tuple[str, ...]:
    """Return `value`, the names of subscribers, each once, in their order.

    Raises:
        DefinitionError: something in it is no name; a URL is not repeated, as it may hold a secret.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise DefinitionError(f"{where}: write a list of names, as ['managers']")
    return tuple(dict.fromkeys(_name(each, where) for each in value))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _name(value: Any, where: str) -> str:
    if isinstance(value, str) and "://" in value:
        raise DefinitionError(
            f"{where}: that is a URL, and a URL holds secrets that would stand in every run's"
            " history. Write a name here, as notify=['managers'], and set the URL where the worker"
            " runs: HITL_NOTIFY_MANAGERS=..."
        )
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise DefinitionError(
            f"{where}: {value!r} is no name of a subscriber; use small letters, digits, - and _"
        )
    if variable_of(value).endswith(_SECRET):
        raise DefinitionError(
            f"{where}: {value!r} cannot be a subscriber's name, as {variable_of(value)} is the"
            " secret of another one"
        )
    return value


def default_subscribers(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return whom this environment tells where no author says who is told."""
    names = environ.get(DEFAULTS, "").replace(",", " ").split()
    return subscribers(names, DEFAULTS)
