"""`make bench` says what it measures in lines of JSON; the figures themselves never fail a test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import FIGURES
from tests.benchmarks.figure import quartiles

ROOT = Path(__file__).parent.parent
UNITS = ("ratio", "ratio", "events", "seconds")


def bench(*args: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmarks as `make bench` does."""
    command = [sys.executable, "-m", "tests.benchmarks", *args]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False
    )


def test_every_figure_is_a_line_of_json() -> None:
    """Each figure is one line of JSON, in order, and standard output holds nothing else."""
    ran = bench("--rounds", "1")
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]

    assert list(zip(FIGURES, UNITS, strict=True)) == [
        (each["figure"], each["unit"]) for each in lines
    ]
    assert all({"figure", "value", "unit", "detail"} == set(each) for each in lines)
    assert all(isinstance(each["value"], int | float) for each in lines)
    assert lines[-1]["detail"]["frameworks_imported"] == []


def test_an_unknown_figure_is_refused() -> None:
    """A name that is no figure ends the command, which says what there is."""
    ran = bench("overheads")

    assert (ran.returncode, ran.stdout) == (2, "")
    assert "no figure 'overheads'; there are overhead_start_to_paused" in ran.stderr


@pytest.mark.parametrize(
    ("values", "three"), [([2.0], [2.0, 2.0, 2.0]), ([1, 2, 3, 4, 5], [2, 3, 4])]
)
def test_quartiles(values: list[float], three: list[float]) -> None:
    """Few values have quartiles too, down to one."""
    assert three == quartiles(values)
