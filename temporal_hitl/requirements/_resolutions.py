"""The answers to a requirement, told apart by `action`, and the record of each decision."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, JsonValue

from temporal_hitl.requirements._questions import Wire, digest_of
from temporal_hitl.review import OnTimeout


class Resolution(Wire):
    """An answer to one requirement; the classes below say which."""

    requirement_id: str = Field(max_length=1000)
    """The id of the requirement that it answers."""
    resolved_by: str | None = None
    """Who says so: a claim, unless the record's `identity` is `signed`."""
    comment: str | None = None
    """Why, for whoever reads the record."""
    decision_id: str | None = Field(default=None, max_length=1000)
    """The caller's key: the same decision sent twice is one decision, and a success both times."""
    digest: str | None = None
    """The digest of what the person saw; refused where the requirement's differs."""
    signature: str | None = Field(default=None, max_length=10_000, exclude=True, repr=False)
    """Who says so, signed; `temporal_hitl.signing` makes it. It travels beside the answer and is
    kept nowhere: what it said is on record."""

    def to_wire(self) -> dict[str, Any]:
        """Return it as JSON data, to be sent: with its signature, where it has one."""
        signed = {} if self.signature is None else {"signature": self.signature}
        return self.model_dump(mode="json") | signed

    def body_digest(self) -> str:
        """Return the digest that tells a repeated decision from another one under the same key."""
        return digest_of(self.model_dump(mode="json", exclude={"decision_id"}))


class Confirm(Resolution):
    """Yes."""

    action: Literal["confirm"] = "confirm"


class Reject(Resolution):
    """No; what follows is the requirement's `on_reject`."""

    action: Literal["reject"] = "reject"
    feedback: str | None = None
    """What to do better, for whoever does it again."""


class Edit(Resolution):
    """Yes, with this output instead."""

    action: Literal["edit"] = "edit"
    output: JsonValue
    """What to go on with."""


class EditArguments(Resolution):
    """Yes, with these arguments instead."""

    action: Literal["edit_arguments"] = "edit_arguments"
    arguments: dict[str, JsonValue]
    """What to call the tool with."""


class Answer(Resolution):
    """The values of the form."""

    action: Literal["answer"] = "answer"
    values: dict[str, JsonValue]
    """By field name."""


class Select(Resolution):
    """The names chosen, in the order in which they are to run."""

    action: Literal["select"] = "select"
    choices: tuple[str, ...]
    """Among the names offered."""


class Retry(Resolution):
    """Execute the failed step again."""

    action: Literal["retry"] = "retry"


class Skip(Resolution):
    """Leave the failed step out."""

    action: Literal["skip"] = "skip"


class Report(Resolution):
    """The result of a tool that ran outside, or of one of which nobody knew whether it ran."""

    action: Literal["report"] = "report"
    result: JsonValue = None
    """What the tool returned."""
    error: str | None = None
    """What went wrong, where it failed; the agent is told."""


AnyResolution: TypeAlias = Annotated[
    Confirm | Reject | Edit | EditArguments | Answer | Select | Retry | Skip | Report,
    Field(discriminator="action"),
]


class TimedOut(Wire):
    """Nobody answered in time; on record only, no door accepts it."""

    action: Literal["time_out"] = "time_out"
    on_timeout: OnTimeout


class Withdrawn(Wire):
    """The run stopped asking; on record only, no door accepts it."""

    action: Literal["withdraw"] = "withdraw"
    reason: str


class DecidedBy(StrEnum):
    """Who or what closed a requirement."""

    human = "human"
    timeout = "timeout"
    policy = "policy"


class Channel(StrEnum):
    """Through what a decision came."""

    temporal = "temporal"
    """Temporal's own doors, which carry no identity."""
    timer = "timer"
    """The deadline."""
    run = "run"
    """The run itself, when it ends or is cancelled."""
    http = "http"
    """Our HTTP service or its inbox, which signed who decided."""
    cli = "cli"
    """Our command line, which signed who decided."""


class Door(StrEnum):
    """Which of a run's doors an answer came by."""

    update = "update"
    signal = "signal"


class Identity(StrEnum):
    """How far `resolved_by` can be believed."""

    none = "none"
    claimed = "claimed"
    signed = "signed"


class ResolutionRecord(Wire):
    """How a requirement was closed: what was decided, by whom or what, by which door, and when."""

    requirement_id: str
    kind: str
    path: str
    resolution: Annotated[AnyResolution | TimedOut | Withdrawn, Field(discriminator="action")]
    decided_by: DecidedBy
    channel: Channel
    door: Door | None = None
    """By which door, where somebody answered."""
    resolved_at: datetime
    late: bool = False
    """Whether an affirmative answer was handled after the deadline, which had not acted yet."""
    identity: Identity = Identity.none
    roles: tuple[str, ...] = ()
    """What whoever decided is, where `identity` is `signed`."""

    @property
    def action(self) -> str:
        """The action on record: one of a resolution's, `time_out` or `withdraw`."""
        return self.resolution.action

    @property
    def timed_out(self) -> bool:
        """Whether the deadline decided."""
        return isinstance(self.resolution, TimedOut)

    @property
    def withdrawn(self) -> bool:
        """Whether the run stopped asking before anybody decided."""
        return isinstance(self.resolution, Withdrawn)

    @property
    def approved(self) -> bool:
        """Whether the run may go on: an affirmative action, or a deadline made to approve."""
        if isinstance(self.resolution, TimedOut):
            return self.resolution.on_timeout is OnTimeout.approve
        return not isinstance(self.resolution, (Reject, Skip, Withdrawn))

    @property
    def feedback(self) -> str | None:
        """What a rejection asks for."""
        return self.resolution.feedback if isinstance(self.resolution, Reject) else None

    @property
    def comment(self) -> str | None:
        """Why, in the reviewer's words."""
        return self.resolution.comment if isinstance(self.resolution, Resolution) else None

    @property
    def resolved_by(self) -> str | None:
        """Who decided: a claim, unless `identity` is `signed`."""
        return self.resolution.resolved_by if isinstance(self.resolution, Resolution) else None

    @property
    def values(self) -> dict[str, JsonValue]:
        """The values of a form that was filled in; empty where it was not."""
        return self.resolution.values if isinstance(self.resolution, Answer) else {}

    @property
    def choices(self) -> tuple[str, ...]:
        """The names that were chosen; empty where none were."""
        return self.resolution.choices if isinstance(self.resolution, Select) else ()

    @property
    def output(self) -> JsonValue:
        """The output as a reviewer edited it; None where it was not edited."""
        return self.resolution.output if isinstance(self.resolution, Edit) else None

    def told(self) -> str:
        """Return one sentence saying what was decided, by whom or what, how and when."""
        when = self.resolved_at.isoformat(timespec="seconds")
        if isinstance(self.resolution, TimedOut):
            return f"its deadline acted ({self.resolution.on_timeout.value}) at {when}"
        if isinstance(self.resolution, Withdrawn):
            return f"the run stopped asking at {when}: {self.resolution.reason}"
        who = self.resolved_by or "somebody who gave no name"
        who += f" (signed, {self.channel.value})" if self.identity is Identity.signed else ""
        how = "" if self.door is None else f" by {self.door.value}"
        why = self.feedback or self.comment
        return f"{who} decided {self.action!r}{how} at {when}" + (f": {why}" if why else "")


class Refusal(Wire):
    """An answer that was refused with nobody to tell: by signal, or delivered again by a reset; or
    one whose signature does not hold.
    """

    at: datetime
    door: str
    """The name of the signal or update."""
    payload: str
    """What arrived, as text, cut at 500 characters."""
    reason: str
