"""Adds up what agents have used, which only an agent's framework can tell by name."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast


def together(*used: dict[str, Any]) -> dict[str, Any]:
    """Return what all of these make: numbers are added, at any depth, and amounts in words too."""
    total: dict[str, Any] = {}
    for each in used:
        total = {name: _sum(total.get(name), each.get(name)) for name in {**total, **each}}
    return total


def _sum(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, dict) and isinstance(other, dict):
        return together(cast(dict[str, Any], one), cast(dict[str, Any], other))
    if isinstance(one, str) and isinstance(other, str):
        return str(Decimal(one) + Decimal(other))  # Money, as JSON has no decimals.
    return one + other
