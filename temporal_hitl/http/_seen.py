"""How far somebody has seen a run's events: what an event's id says.

A run tells its own events in one order for ever; how those of child runs stand between them may
differ from one look to the next. So what was seen is counted by run.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import Any, TypeGuard

from temporal_hitl.errors import BadCursor
from temporal_hitl.stream_events import AnyStreamEvent, RunSnapshotEvent


class Seen:
    """Counts the events of each run, and leaves out those that were seen before."""

    def __init__(self, before: dict[str, int]) -> None:
        self._left = Counter(before)
        self._told = Counter[str]()

    @classmethod
    def of(cls, event_id: str | None) -> Seen:
        """Return what an event's id says was seen; raises `BadCursor`."""
        if not event_id:
            return cls({})
        try:
            told: Any = json.loads(base64.b64decode(event_id, altchars=b"-_", validate=True))
        except (ValueError, RecursionError):
            told = None
        counts: dict[str, Any] = told if _is_object(told) else {"": None}
        if not all(type(count) is int and count >= 0 for count in counts.values()):
            raise BadCursor(f"{event_id!r:.80} is no id of an event of this stream")
        return cls(counts)

    def passes(self, event: AnyStreamEvent) -> bool:
        """Count `event`, and return whether it is new."""
        if isinstance(event, RunSnapshotEvent):
            # It stands for what is not told any more, however much of that was seen.
            self._left.clear()
            self._told.clear()
        self._told[event.run_id] += 1
        if self._left[event.run_id] > 0:
            self._left[event.run_id] -= 1
            return False
        return True

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(json.dumps(self._told).encode()).decode()


def _is_object(told: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(told, dict)
