"""What a benchmark tells."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One number, with what it takes to understand it."""

    figure: str
    value: float
    unit: str
    detail: dict[str, Any]

    def line(self) -> str:
        """Return the figure as one line of JSON."""
        return json.dumps(asdict(self))


def quartiles(values: Sequence[float]) -> list[float]:
    """Return the first quartile, the median and the third quartile."""
    if len(values) < 2:
        return [round(each, 3) for each in (*values, *values, *values)]
    return [round(each, 3) for each in statistics.quantiles(values, method="inclusive")]


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that so many percent of `values` do not exceed."""
    if len(values) < 2:
        return round(values[0], 3)
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 3)
