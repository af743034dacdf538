"""Milliseconds that an answer over HTTP takes beyond a bare Temporal update, from request to
response; the value is the difference of the medians.
"""

from __future__ import annotations

import statistics

from tests.benchmarks.figure import Figure, percentile
from tests.benchmarks.http_answers import ROUNDS, hold

__all__ = ["ROUNDS", "measure"]


async def measure(rounds: int) -> Figure:
    """Return it, of `rounds` answers each way."""
    laps = await hold(rounds)
    over_http, by_update = statistics.median(laps.over_http), statistics.median(laps.by_update)
    detail = {
        "aim": 5,
        "rounds": rounds,
        "over_http": {"p50": round(over_http, 2), "p99": percentile(laps.over_http, 99)},
        "by_update": {"p50": round(by_update, 2), "p99": percentile(laps.by_update, 99)},
    }
    value = round(over_http - by_update, 2)
    return Figure("http_resolve_extra_ms", value, "milliseconds", detail)
