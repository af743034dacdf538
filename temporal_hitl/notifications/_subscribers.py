"""Who a subscriber is: what the worker's environment says of a name.

What it says holds secrets: no error, log line or repr of this repeats any of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from temporal_hitl._subscribers import DEFAULTS, secret_of, variable_of
from temporal_hitl.errors import OperatorError

WEBHOOK = "webhook+"
"""Before `https://` or `http://`; apprise has schemes of its own that look like these."""


class CannotTell(OperatorError):
    """A subscriber cannot be told; says why, and nothing of its URLs."""


@dataclass(frozen=True)
class Subscriber:
    """Where to tell somebody."""

    name: str
    urls: tuple[str, ...] = field(repr=False)
    secret: str | None = field(repr=False)


def subscriber(name: str, environ: Mapping[str, str] = os.environ) -> Subscriber:
    """Return who `name` is; raises `CannotTell`, with what to set."""
    urls = tuple(environ.get(variable_of(name), "").split())
    if not urls:
        raise CannotTell(
            f"this worker does not know the subscriber {name!r}: set {variable_of(name)} to its"
            " apprise URLs, or to webhook+https://..., in the worker's environment, and start the"
            " worker again"
        )
    return Subscriber(name, urls, environ.get(secret_of(name), "").strip() or None)


def configured(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether this environment says anything of subscribers."""
    return any(each == DEFAULTS or each.startswith(f"{DEFAULTS}_") for each in environ)
