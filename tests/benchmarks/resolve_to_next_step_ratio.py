"""From an answer to the next step: the pipeline against a workflow written by hand.

Both wait for an update named `resolve` with a validator, and call an activity then. Measured from
before the update call until the first line of that activity. The value is the ratio of the medians;
see `contest` for the rest.
"""

from __future__ import annotations

from tests.benchmarks.contest import ratio
from tests.benchmarks.figure import Figure
from tests.benchmarks.resolve_to_next_step_ms import ROUNDS

__all__ = ["ROUNDS", "measure"]


async def measure(rounds: int) -> Figure:
    """Return the ratio after `rounds` rounds."""
    return await ratio("resolve_to_next_step_ratio", "resolve_to_next_step", rounds)
