"""What a run shows of its gate to those who look from outside: memo, search attributes, details.

Owns when each is written. Everything that changes in one activation is written together, and before
the run goes on. Decides nothing.
"""

# temporalio's own signatures hold bare Callables and TypeVars.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from temporalio import workflow

from temporal_hitl import _details
from temporal_hitl._attributes import BLOCKED, HITL_STATUS, HITL_TAGS, PENDING
from temporal_hitl._ledger import GateState, Ledger

MEMO_KEY = "hitl_requirements"
"""The memo field with the open requirements in short form."""
BLOCKED_KEY = "hitl_blocked"
"""The memo field with the activity types that no worker has; absent where there are none."""
MEMO_ROWS = 20
NOTES_KEPT = 200


class Board:
    """Shows what is open in `ledger`, what is blocked, which child runs there are, and notes."""

    def __init__(self, ledger: Ledger, *, search_attributes: bool) -> None:
        self._ledger = ledger
        self._search_attributes = search_attributes
        self.base_tags = list(workflow.info().typed_search_attributes.get(HITL_TAGS) or ())
        """The tags that the run was started with; those of what is open stand beside them."""
        self._written: tuple[str | None, list[str]] = (None, [])
        self._stale = False
        self._notes: list[str] = []
        self._blocked: dict[str, str] = {}
        self._blocked_memo: list[str] = []

    @property
    def all_blocked(self) -> dict[str, str]:
        """What waits for a worker that has its code: by path, the activity type."""
        return dict(self._blocked)

    def blocked(self, path: str, activity: str) -> None:
        """Show that no worker has what runs at `path`."""
        if self._blocked.get(path) != activity:
            self._blocked[path] = activity
            self.changed()

    def unblocked(self, path: str) -> None:
        """Show that `path` waits for no worker, if it did."""
        if self._blocked.pop(path, None) is not None:
            self.changed()
            self.publish()  # The run may end with this.

    def show_children(self, children: Mapping[str, str]) -> None:
        """Show the child runs in flight, by path, and name them to who looks here for theirs."""
        self._ledger.children = dict(children)
        self.show_details()

    def note(self, line: str) -> None:
        """Show one more line in the run's current details."""
        self._notes.append(line)
        self.show_details()

    def state(self) -> dict[str, Any]:
        """Return what a `GateState` holds of this."""
        status, tags = self._written
        kept = {"base_tags": self.base_tags, "status": status, "tags": tags}
        return kept | {"notes": self._notes[-NOTES_KEPT:], "blocked": self._blocked_memo}

    def load(self, state: GateState) -> None:
        """Go on with what an earlier execution showed."""
        self.base_tags, self._notes = list(state.base_tags), list(state.notes)
        self._written = state.status, list(state.tags)
        self._blocked_memo = list(state.blocked)
        self.show_details()
        if state.blocked:
            # What was blocked is tried again at once, and may not be any more.
            self.changed()

    def changed(self) -> None:
        """See to it that what is there now is written."""
        if not self._stale:
            self._stale = True
            # Requirements that open or close in one activation are written together.
            asyncio.get_running_loop().call_soon(self.publish)

    def publish(self) -> None:
        """Write at once what has changed, if anything has."""
        if not self._stale:
            return
        self._stale = False
        if self._search_attributes:
            self._write_attributes()
        self._write_memo()
        self.show_details()

    def _write_memo(self) -> None:
        asked = list(self._ledger.open.values())
        rows: dict[str, Any] = {MEMO_KEY: _details.memo(asked, MEMO_ROWS)} if asked else {}
        blocked = sorted(set(self._blocked.values()))[:MEMO_ROWS]
        if blocked != self._blocked_memo:
            self._blocked_memo = blocked
            rows[BLOCKED_KEY] = blocked or None
        # When the last requirement closes its row stays: only with `HitlStatus` does a row count.
        if rows:
            workflow.upsert_memo(rows)

    def _write_attributes(self) -> None:
        status = PENDING if self._ledger.open else BLOCKED if self._blocked else None
        tags = sorted({f"kind:{each.kind}" for each in self._ledger.open.values()})
        tags += [BLOCKED] if self._blocked else []
        if (status, tags) == self._written:
            return
        self._written = status, tags
        tags = [*self.base_tags, *tags]
        workflow.upsert_search_attributes(
            [
                HITL_STATUS.value_set(status) if status else HITL_STATUS.value_unset(),
                HITL_TAGS.value_set(tags) if tags else HITL_TAGS.value_unset(),
            ]
        )

    def show_details(self) -> None:
        """Show the run's current details, which cost no event."""
        ledger = self._ledger
        kept = len(ledger.refusals)
        refused = [f"{kept} answers were refused: query `requirements` says why"]
        notes = self._notes + (refused if kept else [])
        asked = list(ledger.open.values())
        shown = _details.markdown(asked, self._blocked, ledger.children, notes, workflow.info())
        workflow.set_current_details(shown)
