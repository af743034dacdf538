"""Milliseconds from a question that a run opens to its row in an open event stream; the median."""

from __future__ import annotations

import statistics

from tests.benchmarks.figure import Figure, percentile, quartiles
from tests.benchmarks.http_answers import ROUNDS, hold

__all__ = ["ROUNDS", "measure"]


async def measure(rounds: int) -> Figure:
    """Return it, of `rounds` runs answered over HTTP and as many answered otherwise."""
    lags = (await hold(rounds)).to_browser
    detail = {
        "aim": 1200,
        "rounds": len(lags),
        "ms_quartiles": quartiles(lags),
        "p99": percentile(lags, 99),
    }
    value = round(statistics.median(lags), 1)
    return Figure("pause_to_browser_ms", value, "milliseconds", detail)
