"""From an answer to the end of the run: the pipeline against a workflow written by hand.

Measured from before the update call until `handle.result()` has returned. The value is the ratio of
the medians; see `contest` for the rest.
"""

from __future__ import annotations

from tests.benchmarks.contest import ROUNDS, overhead
from tests.benchmarks.figure import Figure

__all__ = ["ROUNDS", "measure"]


async def measure(rounds: int) -> Figure:
    """Return the overhead after `rounds` rounds."""
    return await overhead("resolve_to_done", rounds)
