"""What a campaign's people decide: drawn from the seed, so a client that died knows it again."""

from __future__ import annotations

import random
from dataclasses import dataclass

from temporal_hitl import Confirm, Reject

PATIENCE = 1.0
"""Seconds after which the latest answer is sent."""
LATE = {"both.beside": 4.0}
"""What is answered so many seconds later, when its run has continued as new beside it."""

WAYS = (
    ("first by update",),
    ("first by signal",),
    ("first by update", "first by update"),
    ("first by update", "first by signal"),
    ("first by update", "rival by update"),
    ("first by signal", "rival by update"),
    ("rival by update", "first by update", "rival by signal"),
)
"""Who answers one requirement at once, and by which door."""


@dataclass(frozen=True)
class Sending:
    """One answer that is sent by one door, until it is told what became of it."""

    key: str
    """Unique among all sendings; two of one decision have different ones."""
    decision: Confirm | Reject
    door: str


def after(seed: int, run: str, requirement: str) -> float:
    """Return how many seconds after it is seen a requirement is answered."""
    chance = random.Random(f"{seed} {run} {requirement} when")
    return LATE.get(requirement, 0.0) + chance.uniform(0, PATIENCE)


def sendings(seed: int, run: str, requirement: str, *, deadline: bool) -> list[Sending]:
    """Return what is sent for a requirement; with a deadline, it may be nothing."""
    chance = random.Random(f"{seed} {run} {requirement} what")
    if deadline and chance.random() < 0.4:
        return []
    yes = chance.random() < 0.7
    ways = chance.choice(WAYS)
    return [
        _sending(f"{run}/{requirement}", number, *way.split(" by "), yes=yes)
        for number, way in enumerate(ways)
    ]


def _sending(place: str, number: int, who: str, door: str, *, yes: bool) -> Sending:
    kind = Confirm if yes == (who == "first") else Reject
    decision = kind(
        requirement_id=place.partition("/")[2], decision_id=f"{place}/{who}", resolved_by=who
    )
    return Sending(f"{place}/{number}", decision, door)
