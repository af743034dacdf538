"""From an answer to the next step: milliseconds on an embedded server that keeps nothing on disk.

Measured from before the resolve call until the first line of the next step's executor, which runs
in the same process. The value is the pipeline's p50; the detail has the p99 as well, and both of
every rival in `contest`.
"""

from __future__ import annotations

from tests.benchmarks.contest import PIPELINE, hold, spans_of
from tests.benchmarks.figure import Figure, percentile

ROUNDS = 400
"""So many that the p99 is not one lap."""


async def measure(rounds: int) -> Figure:
    """Return the time after `rounds` rounds."""
    spans = spans_of(await hold(rounds), "resolve_to_next_step")
    percents = {
        f"p{percent}": {name: percentile([e.ms for e in of], percent) for name, of in spans.items()}
        for percent in (50, 99)
    }
    detail = {"rounds": rounds, **percents}
    return Figure("resolve_to_next_step_ms", percents["p50"][PIPELINE], "milliseconds", detail)
