"""Bytes of history of 200 steps over those of 100: 2 where history grows with the work.

The value is the largest of all rounds; see `growth` for the runs.
"""

from __future__ import annotations

from tests.benchmarks.figure import Figure
from tests.benchmarks.growth import OUTPUT, ROUNDS, SIZE, hold

__all__ = ["ROUNDS", "SIZE", "measure"]


async def measure(rounds: int, size: int = SIZE) -> Figure:
    """Return how much more twice as many steps take, of `rounds` pairs of runs."""
    short, long = max(await hold(rounds, size), key=lambda pair: pair[1].bytes / pair[0].bytes)
    detail = {
        "aim": 2.1,
        "pairs": rounds,
        "output_bytes": OUTPUT,
        "runs": [short.told(), long.told()],
    }
    return Figure("growth_linearity", round(long.bytes / short.bytes, 3), "ratio", detail)
