"""`python -m tests.benchmarks [figure ...]`: one line of JSON per figure, on standard output."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from importlib import import_module

from tests.benchmarks.figure import Figure

FIGURES = (
    "overhead_start_to_paused",
    "overhead_resolve_to_done",
    "resolve_to_next_step_ms",
    "resolve_to_next_step_ratio",
    "events_per_pause",
    "growth_bytes_ratio",
    "growth_linearity",
    "loop_iteration_ms_last_over_first",
    "paused_run_kb",
    "list_100_ms",
    "stream_lag_ms",
    "inbox_p99_ms_1000",
    "inbox_p99_ms_10000",
    "http_resolve_extra_ms",
    "signed_resolve_extra_ms",
    "pause_to_browser_ms",
    "throughput_ratio",
    "agent_turn_overhead_ms",
    "agent_history_ratio",
    "import_seconds",
)


def main() -> None:
    """Measure what the command line names, or everything."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("figures", nargs="*", metavar="figure", help=", ".join(FIGURES))
    parser.add_argument("--rounds", type=int, help="how often, instead of each figure's own number")
    parser.add_argument("--size", type=int, help="how large, instead of each figure's own number")
    asked = parser.parse_args()
    unknown = [name for name in asked.figures if name not in FIGURES]
    if unknown:
        parser.error(f"no figure {unknown[0]!r}; there are {', '.join(FIGURES)}")
    asyncio.run(_measure(asked.figures or FIGURES, asked.rounds, asked.size))


async def _measure(names: Sequence[str], rounds: int | None, size: int | None) -> None:
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        module = import_module(f"tests.benchmarks.{name}")
        sized = {"size": size} if size and hasattr(module, "SIZE") else {}
        figure: Figure = await module.measure(rounds or module.ROUNDS, **sized)
        print(figure.line(), flush=True)


if __name__ == "__main__":
    main()
