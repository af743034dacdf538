"""Milliseconds of the inbox's first page: a hundred open requirements, of 5,000 runs that wait.

One List call, and each row read from the memo of its run, as `HitlClient.list_requirements` does;
the value is the median of many.
"""

from __future__ import annotations

import statistics

from tests.benchmarks.figure import Figure, quartiles
from tests.benchmarks.paused import ROUNDS, SIZE, hold

__all__ = ["ROUNDS", "SIZE", "measure"]


async def measure(rounds: int, size: int = SIZE) -> Figure:
    """Return the milliseconds of a page, of `rounds` pages with `size` runs waiting."""
    waiting = await hold(rounds, size)
    detail = {
        "aim": None,
        "rounds": rounds,
        "runs": size,
        "rows": waiting.rows,
        "ms_quartiles": quartiles(waiting.list_ms),
    }
    value = round(statistics.median(waiting.list_ms), 1)
    return Figure("list_100_ms", value, "milliseconds", detail)
