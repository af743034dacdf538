"""Kilobytes of memory of a worker for each run that waits for a person.

The worker's resident memory with 5,000 runs waiting, less that of the same process before, by the
number of runs; a garbage collection goes before each look. The worker keeps its default of 1,000
runs in its cache, and reads the others from their histories when they are answered:
`kb_per_cached_run` in the detail is the same memory by the runs that are in the cache.
"""

from __future__ import annotations

from tests.benchmarks.figure import Figure
from tests.benchmarks.paused import CACHED, ROUNDS, SIZE, hold

__all__ = ["ROUNDS", "SIZE", "measure"]


async def measure(rounds: int, size: int = SIZE) -> Figure:
    """Return the kilobytes of each of `size` runs."""
    waiting = await hold(rounds, size)
    grown = (waiting.bytes_after - waiting.bytes_before) / 1000
    detail = {
        "aim": None,
        "runs": size,
        "max_cached_workflows": CACHED,
        "kb_per_cached_run": round(grown / min(size, CACHED), 1),
        "worker_mb_before": round(waiting.bytes_before / 1e6, 1),
        "worker_mb_after": round(waiting.bytes_after / 1e6, 1),
        "start_seconds": waiting.seconds,
        "started_per_second": round(size / waiting.seconds, 1),
    }
    return Figure("paused_run_kb", round(grown / size, 1), "kilobytes", detail)
