"""What is open in a run, what was decided, and what was refused: the state of a gate, without
Temporal.

Every door ends here. Deterministic and synchronous: the caller brings the time. Nothing here waits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, cast

from pydantic import BaseModel, ConfigDict

from temporal_hitl._permission import permit, where_to_sign
from temporal_hitl.errors import (
    AlreadyResolved,
    DecisionConflict,
    MalformedResolution,
    NotPermitted,
    ResolutionError,
    TooLate,
    UnknownRequirement,
)
from temporal_hitl.requirements import (
    AnyRequirement,
    AnyResolution,
    Channel,
    DecidedBy,
    Door,
    Identity,
    Refusal,
    Reject,
    ResolutionRecord,
    TimedOut,
    Withdrawn,
    parse_resolution,
    validate,
)
from temporal_hitl.review import form_of
from temporal_hitl.signing import Signed

REFUSALS_KEPT = 50
"""How many refused signals a run remembers; the oldest go first."""
RECORDS_KEPT = 1000
"""How many decisions a run takes along when it continues as a new execution."""
PAYLOAD_KEPT, REASON_KEPT = 500, 1000
"""Characters kept of a refused payload, and of the reason."""

Form = type[BaseModel] | None
SignedBy = Mapping[str, Signed]
"""Whose signature was verified, by the id of the requirement that is answered."""
_NOBODY: SignedBy = MappingProxyType({})


class GateState(BaseModel):
    """A gate as data, for the next execution of its run."""

    model_config = ConfigDict(extra="ignore")

    open: list[AnyRequirement] = []
    records: list[ResolutionRecord] = []
    """The latest, and those of nodes that have been answered and have not ended."""
    refusals: list[Refusal] = []
    rounds: dict[str, int] = {}
    decisions: dict[str, str] = {}
    notes: list[str] = []
    base_tags: list[str] = []
    """The tags that the run was started with; those of open requirements stand beside them."""
    status: str | None = None
    """`HitlStatus` as written last."""
    tags: list[str] = []
    """The tags of open requirements as written last."""
    blocked: list[str] = []
    """The memo field of what is blocked as written last."""


class Ledger:
    """Keeps each requirement until exactly one decision closes it, and each decision for ever."""

    def __init__(self) -> None:
        self.open: dict[str, AnyRequirement] = {}
        self.records: dict[str, ResolutionRecord] = {}
        self.refusals: list[Refusal] = []
        self.children: dict[str, str] = {}
        """The child runs in flight, by path: whom to ask for what this run does not have."""
        self.beside: Callable[[AnyRequirement], AnyRequirement] | None = None
        """Adds what is told beside a question to those who ask for it."""
        self.has_closed: list[Callable[[AnyRequirement, ResolutionRecord], None]] = []
        """Are told of each requirement that is closed, and how."""
        self._forms: dict[str, Form] = {}
        self._rounds: dict[str, int] = {}
        self._decisions: dict[str, str] = {}
        self._sizes: dict[str, int] = {}

    @property
    def told(self) -> list[AnyRequirement]:
        """What is open, with what is told beside it."""
        return [self.beside(each) if self.beside else each for each in self.open.values()]

    @property
    def size(self) -> int:
        """How many bytes the open requirements have as JSON."""
        return sum(self._sizes.values())

    def load(self, state: GateState) -> None:
        """Go on where an earlier execution stopped."""
        self.open |= {each.id: each for each in state.open}
        self._sizes |= {each.id: _size_of(each) for each in state.open}
        self.records |= {each.requirement_id: each for each in state.records}
        self.refusals += state.refusals
        self._forms |= {each.id: form_for(each) for each in state.open}
        self._rounds |= state.rounds
        self._decisions |= state.decisions

    def state(
        self,
        needed: Collection[str] = (),
        latest: int = RECORDS_KEPT,
        asking: Collection[str] = (),
    ) -> GateState:
        """Return all that is open, the records `needed`, and the `latest` of the others.

        The nodes at the paths `asking`, and what is in them, may ask again, and go on counting.
        """
        wanted = set(list(self.records)[-latest:] if latest else []) | set(needed)
        records = [record for key, record in self.records.items() if key in wanted]
        kept = {each.requirement_id for each in records}
        here = {each.path for each in [*records, *self.open.values()]}
        return GateState(
            open=list(self.open.values()),
            records=records,
            refusals=self.refusals,
            rounds={
                path: count
                for path, count in self._rounds.items()
                if path in here or any(each in asking for each in _upwards(path))
            },
            decisions={key: where for key, where in self._decisions.items() if where in kept},
        )

    def next_round(self, path: str) -> tuple[str, int]:
        """Return the next unused id at `path` and its round: `a`, then `a~2`, `a~3`."""
        while True:
            count = self._rounds[path] = self._rounds.get(path, 0) + 1
            key = path if count == 1 else f"{path}~{count}"
            if not self._is_taken(path, key):
                return key, count

    def _is_taken(self, path: str, key: str) -> bool:
        # What a Router runs twice has a path that is spelled as a second question at the first.
        other, _, turn = key.rpartition("~")
        if key == path:
            return turn.isdigit() and self._rounds.get(other, 0) >= int(turn)
        return key in self._rounds

    def ask(self, requirement: AnyRequirement, form: Form = None) -> None:
        """Open `requirement`; `form` checks the values of its answers, where it has one."""
        self.open[requirement.id] = requirement
        self._sizes[requirement.id] = _size_of(requirement)
        self._forms[requirement.id] = form or form_for(requirement)

    def decide(
        self, data: Sequence[Any], door: Door, now: datetime, signed: SignedBy = _NOBODY
    ) -> list[ResolutionRecord]:
        """Apply one or several resolutions, all or none, and return their records.

        Of those that carry a signature, `signed` says whose it is.

        Raises:
            ResolutionError: the first reason why they cannot all be applied; nothing has changed.
        """
        resolutions = self.check(data, now)
        for each in self.to_verify(resolutions):
            permit(self.open[each.requirement_id], signed.get(each.requirement_id))
        return [
            self._apply(each, door, now, signed.get(each.requirement_id)) for each in resolutions
        ]

    def check(self, data: Sequence[Any], now: datetime) -> list[AnyResolution]:
        """Return `data` as resolutions that can all be applied now, or raise why not."""
        resolutions = [parse_resolution(each) for each in data]
        if not resolutions:
            raise MalformedResolution(f"no resolution was sent; {self._open_ids()}")
        _refuse_doubles(resolutions)
        for resolution in resolutions:
            if not self._is_repeat(resolution):
                self._check_one(resolution, now)
        return resolutions

    def to_verify(self, resolutions: Sequence[AnyResolution]) -> list[AnyResolution]:
        """Return those that count only if their signature holds: a repeated one changes nothing."""
        signed = (each for each in resolutions if each.signature is not None)
        return [each for each in signed if not self._is_repeat(each)]

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

    def _check_one(self, resolution: AnyResolution, now: datetime) -> None:
        key = resolution.requirement_id
        record = self.records.get(key)
        if record is not None:
            raise AlreadyResolved(
                f"{key!r} is resolved already: {record.told()}",
                record=record.model_dump(mode="json"),
            )
        if key not in self.open:
            raise UnknownRequirement(
                f"this run has no requirement {key!r}{self._elsewhere(key)}; {self._open_ids()}"
            )
        asked = self.open[key]
        if asked.roles and resolution.signature is None:
            raise NotPermitted(where_to_sign(asked))
        validate(asked, resolution, self._forms[key])
        if asked.strict_deadline and _is_late(asked, resolution, now):
            raise TooLate(
                f"{key!r} had to be answered before {asked.deadline}, strictly; it is {now}"
            )

    def _apply(
        self, resolution: AnyResolution, door: Door, now: datetime, who: Signed | None
    ) -> ResolutionRecord:
        if self._is_repeat(resolution):
            return self.records[resolution.requirement_id]
        if resolution.decision_id is not None:
            self._decisions[resolution.decision_id] = resolution.requirement_id
        asked = self.open[resolution.requirement_id]
        return self._close(
            asked,
            resolution=resolution.model_copy(update={"signature": None}),
            decided_by=DecidedBy.human,
            door=door,
            resolved_at=now,
            late=_is_late(asked, resolution, now),
            **_identity(resolution, who),
        )

    def time_out(self, requirement_id: str, now: datetime) -> ResolutionRecord:
        """Let the deadline decide."""
        asked = self.open[requirement_id]
        assert asked.on_timeout is not None, "where there is a deadline, it is said what it does"
        return self._close(
            asked,
            resolution=TimedOut(on_timeout=asked.on_timeout),
            decided_by=DecidedBy.timeout,
            channel=Channel.timer,
            resolved_at=now,
        )

    def withdraw(self, requirement_id: str, reason: str, now: datetime) -> ResolutionRecord:
        """Stop asking, undecided."""
        return self._close(
            self.open[requirement_id],
            resolution=Withdrawn(reason=reason),
            decided_by=DecidedBy.policy,
            channel=Channel.run,
            resolved_at=now,
        )

    def _close(self, asked: AnyRequirement, **decided: Any) -> ResolutionRecord:
        place = {"requirement_id": asked.id, "kind": asked.kind, "path": asked.path}
        record = ResolutionRecord(**place, **decided)
        del self.open[asked.id], self._forms[asked.id], self._sizes[asked.id]
        self.records[asked.id] = record
        for tell in self.has_closed:
            tell(asked, record)
        return record

    def refuse(
        self, door: str, payload: Sequence[Any], reason: ResolutionError, now: datetime
    ) -> None:
        """Remember an answer that could not be applied, for whoever looks for it."""
        seen = json.dumps([_unsigned(each) for each in payload], default=repr, ensure_ascii=False)
        kept = {"payload": seen[:PAYLOAD_KEPT], "reason": str(reason)[:REASON_KEPT]}
        self.refusals.append(Refusal(at=now, door=door, **kept))
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
            # Commands stand alone on their lines, the last one not last: doors append to a message.
            examples = "".join(f"\n  {each}" for each in paste)
            raise MalformedResolution(
                f"{action!r} takes the id of a requirement, and at most a text beside it;"
                f" it got {shown}. {'Write:' if paste else ''}{examples}\n{self._open_ids()}"
            )
        text = {"confirm": "comment", "reject": "feedback"}[action]
        return {"action": action, "requirement_id": args[0]} | (
            {text: args[1]} if len(args) == 2 else {}
        )

    def _elsewhere(self, key: str) -> str:
        for path, run_id in self.children.items():
            if key.startswith(f"{path}."):
                theirs = key.removeprefix(f"{path}.")
                return f": it is asked by the child run {run_id!r} as {theirs!r}"
        runs = [repr(run_id) for run_id in self.children.values()]
        more = f" and {len(runs) - 20} more" if len(runs) > 20 else ""
        return f"; child runs answer for theirs: {', '.join(runs[:20])}{more}" if runs else ""

    def _open_ids(self) -> str:
        ids = list(self.open)
        more = f" and {len(ids) - 20} more" if len(ids) > 20 else ""
        return f"open: {', '.join(ids[:20])}{more}" if ids else "nothing is open in this run"


def _upwards(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition(".")[0]


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


def _identity(resolution: AnyResolution, who: Signed | None) -> dict[str, Any]:
    if who is not None:
        return {"channel": who.channel, "identity": Identity.signed, "roles": who.roles}
    identity = Identity.claimed if resolution.resolved_by else Identity.none
    return {"channel": Channel.temporal, "identity": identity}


def _unsigned(sent: Any) -> Any:
    # Whoever reads what was refused could send it again as long as its signature holds.
    if isinstance(sent, list):
        return [_unsigned(each) for each in cast(list[Any], sent)]
    if isinstance(sent, dict) and "signature" in sent:
        return {**cast(dict[str, Any], sent), "signature": "..."}
    return cast(Any, sent)


def _size_of(requirement: AnyRequirement) -> int:
    return len(requirement.model_dump_json(exclude=set(requirement.beside)).encode())


def _is_late(asked: AnyRequirement, resolution: AnyResolution, now: datetime) -> bool:
    # A rejection is never late: it counts until the deadline has acted.
    overdue = asked.deadline is not None and now >= asked.deadline
    return overdue and not isinstance(resolution, Reject)


def form_for(requirement: AnyRequirement) -> Form:
    """Return the model that checks the values of a requirement whose fields say what they are."""
    fields = getattr(requirement, "fields", ())
    return form_of(fields, requirement.name) if fields else None
