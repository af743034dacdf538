"""The work that both sides of the comparison do: three plain functions, as activities."""

from __future__ import annotations

import time
from typing import Any

from temporalio import activity

Rows = list[dict[str, Any]]

redacting: list[tuple[float, float]] = []
"""The instant and the process's CPU time at which each `redact` of this process began."""


def now() -> tuple[float, float]:
    """Return the instant, and the CPU time that this process has spent, in seconds."""
    return time.perf_counter(), time.process_time()


@activity.defn
def load(source: str) -> Rows:
    """Return a few rows."""
    return [{"id": n, "name": f"{source} {n}", "born": 1900 + n} for n in range(10)]


@activity.defn
def redact(rows: Rows) -> Rows:
    """Return the rows without names."""
    redacting.append(now())
    return [{**row, "name": None} for row in rows]


@activity.defn
def save(rows: Rows) -> str:
    """Return where the rows are."""
    return f"saved {len(rows)} rows"
