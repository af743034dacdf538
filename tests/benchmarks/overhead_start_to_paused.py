"""From starting a run to its first question: the pipeline against a workflow written by hand.

Measured from before the start call until the timer of the deadline stands in the history, by long
poll. The value is the ratio of the medians; see `contest` for the rest.
"""

from __future__ import annotations

from tests.benchmarks.contest import ROUNDS, overhead
from tests.benchmarks.figure import Figure

__all__ = ["ROUNDS", "measure"]


async def measure(rounds: int) -> Figure:
    """Return the overhead after `rounds` rounds."""
    return await overhead("start_to_paused", rounds)
