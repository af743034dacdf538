"""What is open in a run, what was decided, and what was refused: the state of a gate, without
Temporal.

Every door ends here. Deterministic and synchronous: the caller brings the time. Nothing here waits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from temporal_hitl.errors import (
    AlreadyResolved,
    DecisionConflict,
    MalformedResolution,
    ResolutionError,
    UnknownRequirement,
)
from temporal_hitl.requirements import (
    AnyRequirement,
    AnyResolution,
    Channel,
    DecidedBy,
    Identity,
    Refusal,
    Reject,
    ResolutionRecord,
    TimedOut,
    Withdrawn,
    parse_resolution,
    validate,
)

REFUSALS_KEPT = 50
"""How many refused signals a run remembers; the oldest go first."""

TEXT_KEPT = 1000
"""Characters kept of a refused payload, and of the reason."""

Form = type[BaseModel] | None


class Ledger:
    """Keeps each requirement until exactly one decision closes it, and each decision for ever."""

    def __init__(self) -> None:
        self.open: dict[str, AnyRequirement] = {}
        self.records: dict[str, ResolutionRecord] = {}
        self.refusals: list[Refusal] = []
        self._forms: dict[str, Form] = {}
        self._rounds: dict[str, int] = {}
        self._decisions: dict[str, str] = {}

    def next_round(self, path: str) -> tuple[str, int]:
        """Return the next unused id at `path` and its round: `a`, then `a~2`, `a~3`."""
        count = self._rounds[path] = self._rounds.get(path, 0) + 1
        return (path if count == 1 else f"{path}~{count}"), count

    def ask(self, requirement: AnyRequirement, form: Form = None) -> None:
        """Open `requirement`; `form` checks the values of its answers."""
        self.open[requirement.id] = requirement
        self._forms[requirement.id] = form

    def decide(
        self, data: Sequence[Any], channel: Channel, now: datetime
    ) -> list[ResolutionRecord]:
        """Apply one or several resolutions, all or none, and return their records.

        Raises:
            ResolutionError: the first reason why they cannot all be applied; nothing has changed.
        """
        resolutions = self.check(data)
        return [self._apply(resolution, channel, now) for resolution in resolutions]

    def check(self, data: Sequence[Any]) -> list[AnyResolution]:
        """Return `data` as resolutions that can all be applied now, or raise why not."""
        resolutions = [parse_resolution(each) for each in data]
        if not resolutions:
            raise MalformedResolution(f"no resolution was sent; {self._open_ids()}")
        _refuse_doubles(resolutions)
        for resolution in resolutions:
            if not self._is_repeat(resolution):
                self._check_one(resolution)
        return resolutions

    def _is_repeat(self, resolution: AnyResolution) -> bool:
        key = resolution.decision_id
        known = None if key is None else self._decisions.get(key)
        if known is None:
            return False
        record = self.records[known]
        if isinstance(record.resolution, (TimedOut, Withdrawn)):
            return False
        if record.resolution.body_digest() == resolution.body_digest():
            return True
        raise DecisionConflict(
            f"decision id {key!r} was used for another decision, on {known!r}: {record.told()}",
            record=record.model_dump(mode="json"),
        )

    def _check_one(self, resolution: AnyResolution) -> None:
        key = resolution.requirement_id
        record = self.records.get(key)
        if record is not None:
            raise AlreadyResolved(
                f"{key!r} is resolved already: {record.told()}",
                record=record.model_dump(mode="json"),
            )
        if key not in self.open:
            raise UnknownRequirement(f"this run has no requirement {key!r}; {self._open_ids()}")
        validate(self.open[key], resolution, self._forms[key])

    def _apply(
        self, resolution: AnyResolution, channel: Channel, now: datetime
    ) -> ResolutionRecord:
        if self._is_repeat(resolution):
            return self.records[resolution.requirement_id]
        if resolution.decision_id is not None:
            self._decisions[resolution.decision_id] = resolution.requirement_id
        deadline = self.open[resolution.requirement_id].deadline
        late = deadline is not None and now >= deadline and not isinstance(resolution, Reject)
        return self._close(
            resolution.requirement_id, resolution, DecidedBy.human, channel, now, late
        )

    def time_out(self, requirement_id: str, now: datetime) -> ResolutionRecord:
        """Let the deadline decide."""
        policy = self.open[requirement_id].on_timeout
        assert policy is not None, "a requirement with a deadline says what the deadline does"
        outcome = TimedOut(on_timeout=policy)
        return self._close(requirement_id, outcome, DecidedBy.timeout, Channel.timer, now)

    def withdraw(self, requirement_id: str, reason: str, now: datetime) -> ResolutionRecord:
        """Stop asking, undecided."""
        outcome = Withdrawn(reason=reason)
        return self._close(requirement_id, outcome, DecidedBy.policy, Channel.run, now)

    def _close(
        self,
        requirement_id: str,
        outcome: AnyResolution | TimedOut | Withdrawn,
        decided_by: DecidedBy,
        channel: Channel,
        now: datetime,
        late: bool = False,
    ) -> ResolutionRecord:
        asked = self.open.pop(requirement_id)
        del self._forms[requirement_id]
        record = ResolutionRecord(
            requirement_id=requirement_id,
            kind=asked.kind,
            path=asked.path,
            resolution=outcome,
            decided_by=decided_by,
            channel=channel,
            resolved_at=now,
            late=late,
            identity=Identity.claimed if getattr(outcome, "resolved_by", None) else Identity.none,
        )
        self.records[requirement_id] = record
        return record

    def refuse(
        self, door: str, payload: Sequence[Any], reason: ResolutionError, now: datetime
    ) -> None:
        """Remember an answer that could not be applied, for whoever looks for it."""
        text = json.dumps(list(payload), default=repr, ensure_ascii=False)[:TEXT_KEPT]
        told = str(reason)[:TEXT_KEPT]
        self.refusals.append(Refusal(at=now, door=door, payload=text, reason=told))
        del self.refusals[:-REFUSALS_KEPT]

    def shorthand(self, action: str, args: Sequence[Any], paste: Sequence[str]) -> dict[str, Any]:
        """Return `confirm ID [comment]` or `reject ID [feedback]` as a resolution.

        `paste` are commands that would do.

        Raises:
            MalformedResolution: no id, or too much, or no text; with what is open and a command to
            paste.
        """
        if not 1 <= len(args) <= 2 or not all(isinstance(arg, str) for arg in args) or not args[0]:
            shown = ", ".join(repr(arg)[:80] for arg in args) or "nothing"
            examples = "".join(f"\n  {each}" for each in paste)
            raise MalformedResolution(
                f"{action!r} takes the id of a requirement, and at most a text beside it;"
                f" it got {shown}."
                f" {self._open_ids()}{examples}"
            )
        text = {"confirm": "comment", "reject": "feedback"}[action]
        return {"action": action, "requirement_id": args[0]} | (
            {text: args[1]} if len(args) == 2 else {}
        )

    def _open_ids(self) -> str:
        ids = list(self.open)
        more = f" and {len(ids) - 20} more" if len(ids) > 20 else ""
        return f"open: {', '.join(ids[:20])}{more}" if ids else "nothing is open in this run"


def _refuse_doubles(resolutions: Sequence[AnyResolution]) -> None:
    # Two of one call must not depend on which of them is applied first.
    asked = [each.requirement_id for each in resolutions]
    keys = [each.decision_id for each in resolutions if each.decision_id is not None]
    for key in asked:
        if asked.count(key) > 1:
            raise MalformedResolution(f"{key!r} is answered twice in one call")
    for key in keys:
        if keys.count(key) > 1:
            raise DecisionConflict(f"decision id {key!r} stands for two decisions in one call")
