"""Milliseconds of a warm first page of the inbox, the slowest of a hundred, with 1,000 open."""

from __future__ import annotations

from tests.benchmarks.figure import Figure
from tests.benchmarks.inbox import ROUNDS, inbox

__all__ = ["ROUNDS", "SIZE", "measure"]

SIZE = 1_000


async def measure(rounds: int, size: int = SIZE) -> Figure:
    """Return it, of `rounds` pages with `size` requirements open."""
    return await inbox("inbox_p99_ms_1000", rounds, size)
