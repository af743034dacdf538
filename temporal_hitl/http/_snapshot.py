"""What waits for a person over all runs, as one process sees it: one snapshot for all who look.

Owns when Temporal's visibility is asked: at most once a second, by one task, while somebody looks.
Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Literal, TypeAlias

from temporal_hitl.client import HitlClient, OpenRequirement
from temporal_hitl.http._rows import Rows
from temporal_hitl.requirements import ResolutionRecord

EVERY = 1.0
"""Seconds from one look at visibility to the next, at least."""
CALL = 0.2
"""Seconds that one call to visibility costs beside: five a second at most, however many pages."""
LINGER = 5.0
"""Seconds for which somebody who has looked counts as looking."""
OLDEST = 10.0
"""Seconds after which a snapshot that could not be renewed is not shown any more."""
HIDDEN = 60.0
"""Seconds for which what was answered here is left out, though visibility may still list it."""
CHANGES = 5_000
"""How many changes are kept for streams that come back."""

_log = logging.getLogger(__name__)

Key: TypeAlias = tuple[str, str, datetime]
SortKey: TypeAlias = tuple[str | bool, ...]


def key_of(row: OpenRequirement) -> Key:
    """Return what tells a question from every other, one asked again after a reset included."""
    return (row.run_id, row.id, row.created_at)


def by_age(row: OpenRequirement) -> SortKey:
    """Sort by age: what waits longest first."""
    return (_sortable(row.created_at), row.run_id, row.id)


def by_deadline(row: OpenRequirement) -> SortKey:
    """Sort by deadline: what is overdue first, what has none last, and of these the oldest."""
    late = row.deadline
    return (late is None, "" if late is None else _sortable(late), *by_age(row))


def _sortable(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True)
class Order:
    """Rows in one order, and where each stands."""

    rows: Sequence[OpenRequirement]
    keys: Sequence[SortKey]
    key: Callable[[OpenRequirement], SortKey]

    def after(self, key: SortKey | None) -> int:
        """Return where the rows after `key` begin."""
        return 0 if key is None else bisect_right(self.keys, key)


@dataclass
class View:
    """What was open at one moment; its rows never change, it is replaced."""

    rows: dict[Key, OpenRequirement]
    version: str
    taken_at: datetime

    @cached_property
    def deadline(self) -> Order:
        """All rows, by deadline."""
        return self._in_order(by_deadline)

    @cached_property
    def age(self) -> Order:
        """All rows, by age."""
        return self._in_order(by_age)

    def _in_order(self, order: Callable[[OpenRequirement], SortKey]) -> Order:
        pairs = sorted(((order(row), row) for row in self.rows.values()), key=lambda pair: pair[0])
        return Order([row for _, row in pairs], [key for key, _ in pairs], order)


@dataclass(frozen=True)
class Change:
    """A requirement that opened or closed."""

    number: int
    change: Literal["opened", "closed"]
    requirement: OpenRequirement
    json: str = field(compare=False)


@dataclass(frozen=True)
class Outage:
    """Temporal cannot be reached, or can be again."""

    since: datetime | None
    """Since when it cannot; None where it can."""


class Lost(Exception):
    """What a stream saw last is too long ago, or another process's: look at the list again."""


class Snapshot:
    """Holds the view, renews it while somebody looks, and tells what changes."""

    def __init__(self, client: HitlClient) -> None:
        self._rows = Rows(client)
        self._epoch = uuid.uuid4().hex[:8]
        self._view: View | None = None
        self._renewed = 0.0
        self._outage = Outage(None)
        self._kept = False
        self._hidden: dict[tuple[str, str], tuple[float, datetime]] = {}
        self._changes: deque[Change] = deque(maxlen=CHANGES)
        self._number = 0
        self._news = asyncio.Event()
        self._outcome: asyncio.Future[View] | None = None
        self._task: asyncio.Task[None] | None = None
        self._streams = 0
        self._looked = 0.0

    # Look

    async def view(self) -> View:
        """Return what is open: at once while the view is being renewed, else when it has been.

        Raises what the look at visibility raised, where that failed.
        """
        self._looked = time.monotonic()
        self._keep_looking()
        is_new = self._kept and self._looked - self._renewed < OLDEST
        if is_new and self._view is not None:
            return self._view
        if self._outcome is None:
            self._outcome = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._outcome)

    async def last(self) -> tuple[View, Outage]:
        """Return what is open, or what was open when Temporal was reached last.

        Raises what `view` raises, where it was never reached.
        """
        if self._view is None or self._outage.since is None:
            try:
                return await self.view(), self._outage
            except Exception:
                # Who looks again is told at once.
                if self._view is None or self._outage.since is None:
                    raise
        self._looked = time.monotonic()
        self._keep_looking()
        return self._view, self._outage

    @property
    def version(self) -> str:
        """What the last change was, for `changes`."""
        return f"{self._epoch}-{self._number}"

    def version_of(self, change: Change) -> str:
        """Return the version that `change` made."""
        return f"{self._epoch}-{change.number}"

    async def changes(self, after: str) -> AsyncGenerator[Change | Outage]:
        """Yield every change after the version `after`, as it comes, and when Temporal cannot be
        reached, and can be again; raises `Lost`.
        """
        number, outage = self._number_of(after), Outage(None)
        self._streams += 1
        try:
            self._keep_looking()
            while True:
                news = self._news
                if outage != self._outage:
                    outage = self._outage
                    yield outage
                for change in self._since(number):
                    number = change.number
                    yield change
                await news.wait()
        finally:
            self._streams -= 1

    def _number_of(self, version: str) -> int:
        epoch, _, number = version.partition("-")
        known = epoch == self._epoch and number.isdecimal() and len(number) < 20
        if not known or int(number) > self._number:
            raise Lost
        return int(number)

    def _since(self, number: int) -> list[Change]:
        missed = self._number - number
        if missed > len(self._changes):
            raise Lost
        return [self._changes[at] for at in range(-missed, 0)]

    def resolved(self, run_id: str, record: ResolutionRecord) -> None:
        """Leave out at once what was decided, whatever visibility still says of it."""
        key = (run_id, record.requirement_id)
        self._hidden.pop(key, None)
        self._hidden[key] = (time.monotonic() + HIDDEN, record.resolved_at)
        self._forget_hidden()
        rows = {} if self._view is None else self._view.rows
        if gone := [each for each in rows if each[:2] == key and self._is_hidden(rows[each])]:
            left = {each: row for each, row in rows.items() if each not in gone}
            self._replace(left, [], [rows[each] for each in gone])

    # Renew

    def _keep_looking(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._look(), name="temporal_hitl.http.snapshot")

    def _is_looked_at(self) -> bool:
        waits = self._outcome is not None
        return waits or self._streams > 0 or time.monotonic() - self._looked < LINGER

    async def _look(self) -> None:
        try:
            # Nobody looked for a while, but who did last may have done so just now.
            await asyncio.sleep(self._renewed + EVERY - time.monotonic())
            while self._is_looked_at():
                began = time.monotonic()
                calls = await self._renew()
                spent = time.monotonic() - began
                await asyncio.sleep(max(EVERY - spent, calls * CALL - spent, spent))
        finally:
            self._task, self._kept = None, False
            self._outage = Outage(None)  # Nobody knows.

    async def _renew(self) -> int:
        began = datetime.now(UTC)
        try:
            rows, calls = await self._rows.read()
        except Exception as error:
            if self._outage.since is None:
                _log.warning("what waits for people cannot be listed: %r", error)
                self._tell_of(Outage(began))
            self._kept = False
            self._settle(error)
            return 1
        self._kept, self._renewed = True, time.monotonic()
        if self._outage.since is not None:
            self._tell_of(Outage(None))
        view = self._show(self._without_hidden({key_of(row): row for row in rows}))
        self._settle(view)
        return calls

    def _settle(self, how: View | Exception) -> None:
        outcome, self._outcome = self._outcome, None
        if outcome is None:
            return
        if isinstance(how, Exception):
            outcome.set_exception(how)
            outcome.exception()  # Who waited may have gone.
        else:
            outcome.set_result(how)

    def _without_hidden(self, rows: dict[Key, OpenRequirement]) -> dict[Key, OpenRequirement]:
        self._forget_hidden()
        if not self._hidden:
            return rows
        return {key: row for key, row in rows.items() if not self._is_hidden(row)}

    def _forget_hidden(self) -> None:
        now = time.monotonic()
        while self._hidden:
            oldest = next(iter(self._hidden))
            if self._hidden[oldest][0] > now:
                return
            del self._hidden[oldest]

    def _is_hidden(self, row: OpenRequirement) -> bool:
        # What is asked again, after a reset, was opened later.
        hidden = self._hidden.get((row.run_id, row.id))
        return hidden is not None and row.created_at <= hidden[1]

    def _show(self, rows: dict[Key, OpenRequirement]) -> View:
        if self._view is None:
            return self._replace(rows, [], [])
        before = self._view.rows
        opened = [row for key, row in rows.items() if key not in before]
        closed = [row for key, row in before.items() if key not in rows]
        if opened or closed:
            return self._replace(rows, opened, closed)
        self._view.taken_at = datetime.now(UTC)
        return self._view

    def _replace(
        self,
        rows: dict[Key, OpenRequirement],
        opened: Sequence[OpenRequirement],
        closed: Sequence[OpenRequirement],
    ) -> View:
        for row in closed:
            self._tell("closed", row)
        for row in opened:
            self._tell("opened", row)
        self._view = View(rows, self.version, datetime.now(UTC))
        return self._view

    def _tell(self, change: Literal["opened", "closed"], row: OpenRequirement) -> None:
        self._number += 1
        self._changes.append(Change(self._number, change, row, row.model_dump_json()))
        self._wake()

    def _tell_of(self, outage: Outage) -> None:
        self._outage = outage
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
