"""Bytes of history per byte of output, of a run of a hundred steps that give 10 KB each.

The value is the largest of all rounds; see `growth` for the run. Twice is the least where each step
is given the output before: every output stands there as a result and as an input.
"""

from __future__ import annotations

from tests.benchmarks.figure import Figure
from tests.benchmarks.growth import OUTPUT, ROUNDS, SIZE, hold

__all__ = ["ROUNDS", "SIZE", "measure"]


async def measure(rounds: int, size: int = SIZE) -> Figure:
    """Return the ratio of `rounds` runs of `size` steps."""
    runs = [short for short, _ in await hold(rounds, size)]
    worst = max(runs, key=lambda each: each.ratio)
    detail = {"aim": 2.5, "runs": rounds, "output_bytes": OUTPUT, "run": worst.told()}
    return Figure("growth_bytes_ratio", worst.ratio, "ratio", detail)
