"""Milliseconds of a warm first page of the inbox, the slowest of a hundred, with 10,000 open."""

from __future__ import annotations

from tests.benchmarks.figure import Figure
from tests.benchmarks.inbox import ROUNDS, inbox

__all__ = ["ROUNDS", "SIZE", "measure"]

SIZE = 10_000


async def measure(rounds: int, size: int = SIZE) -> Figure:
    """Return it, of `rounds` pages with `size` requirements open."""
    return await inbox("inbox_p99_ms_10000", rounds, size)
