"""Every exception of the library, grouped by who must act.

```
HitlError
├── DefinitionError        the author: a definition or a gate is written wrongly (also a ValueError)
├── ResolutionError        the reviewer: a resolution was refused and changed nothing (also a
ValueError) │   ├── MalformedResolution    it is not a resolution, or not one for this kind of
requirement │   ├── UnknownRequirement     no requirement of that id was ever open in the run
│   ├── TooLate                the deadline has passed, and its author wrote that it is strict
│   ├── NotPermitted           only certain roles may answer, and whoever answers shows none of them
│   ├── BadSignature           the signature does not hold, or nobody could check it
│   ├── AlreadyResolved        somebody, or the deadline, was first; `.record` says who and when
│   └── DecisionConflict       the decision id was used before, with another body
├── BadCursor              the caller: a list was asked to go on from nowhere (also a ValueError)
├── RunError               the run did not end well, or is not there
│   ├── RunFailed              it failed; `.run_output` holds what it had
│   ├── RunNotFound            no run of that id
│   └── NoConversation         it is there, and no agent talks at that place of it
└── OperatorError          the operator: something around the run is missing
    ├── ServerError            no Temporal server where one was expected
    ├── NoWorker               no worker answers for the run's task queue
    └── SearchAttributesMissing  the namespace lacks the attributes that the inbox filters by
```

Owns the wire names too: `wire_type` is the `ApplicationError.type` under which a refusal crosses
Temporal, and `from_wire` turns it back, so that the raising and the catching side cannot diverge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = [
    "AlreadyResolved",
    "BadCursor",
    "BadSignature",
    "DecisionConflict",
    "DefinitionError",
    "HitlError",
    "MalformedResolution",
    "NoConversation",
    "NoWorker",
    "NotPermitted",
    "OperatorError",
    "ResolutionError",
    "RunError",
    "RunFailed",
    "RunNotFound",
    "SearchAttributesMissing",
    "ServerError",
    "TooLate",
    "UnknownRequirement",
    "from_wire",
    "to_wire",
    "wire_type",
]


class HitlError(Exception):
    """The root of every error that this library raises on purpose."""


class DefinitionError(HitlError, ValueError):
    """A definition or a gate is written wrongly; raised where it is built, naming the place."""


class ResolutionError(HitlError, ValueError):
    """A resolution was refused in the call, and changed nothing."""

    def __init__(
        self, message: str, *, record: dict[str, Any] | None = None, problems: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.record = record
        """The record of the decision that stands, as JSON data, where one does."""
        self.problems = tuple(problems)
        """Each problem of what was sent, as `where: what`, where there may be several."""


class MalformedResolution(ResolutionError):
    """What arrived is not a resolution, or not one that fits the requirement."""


class UnknownRequirement(ResolutionError):
    """No requirement of that id was ever open in this run."""


class AlreadyResolved(ResolutionError):
    """The requirement is closed: the message and `record` say by whom or what, and when."""


class TooLate(ResolutionError):
    """The deadline has passed, and the author wrote `strict_deadline=True`."""


class NotPermitted(ResolutionError):
    """Only certain roles may answer, and whoever answers is not signed as one of them."""


class BadSignature(ResolutionError):
    """The signature does not hold, or was made for something else, or could not be checked."""


class DecisionConflict(ResolutionError):
    """The decision id was used before for another decision."""


class BadCursor(HitlError, ValueError):
    """A cursor is none that the list gave."""


class RunError(HitlError):
    """A run did not end well, or is not there."""


class RunFailed(RunError):
    """The run failed; `run_output` holds what it had done until then."""

    def __init__(self, message: str, *, run_output: Any = None) -> None:
        super().__init__(message)
        self.run_output = run_output


class RunNotFound(RunError):
    """The namespace holds no run of that id (never started, or deleted by retention)."""


class NoConversation(RunError):
    """No agent is at work at that place of the run, and none has left its conversation there."""


class OperatorError(HitlError):
    """Something around the run is missing that an operator must provide."""


class ServerError(OperatorError):
    """No Temporal server could be reached or started."""


class NoWorker(OperatorError):
    """No worker answers on the run's task queue; the run is safe and goes on when one does."""


class SearchAttributesMissing(OperatorError):
    """The namespace lacks search attributes of ours; the message says how to create them."""


_REFUSALS: dict[str, type[ResolutionError]] = {
    refusal.__name__: refusal
    for refusal in (
        MalformedResolution,
        UnknownRequirement,
        AlreadyResolved,
        DecisionConflict,
        TooLate,
        NotPermitted,
        BadSignature,
        ResolutionError,
    )
}


def wire_type(error: HitlError) -> str:
    """Return the `ApplicationError.type` under which `error` crosses Temporal."""
    return type(error).__name__


def from_wire(
    type_name: str | None, message: str, details: Sequence[Any] = ()
) -> ResolutionError | None:
    """Return the refusal that crossed Temporal under `type_name`, or None if it is not ours."""
    refusal = _REFUSALS.get(type_name or "")
    if refusal is None:
        return None
    # A worker of an older version sends the record alone, or nothing.
    record, problems, *_ = (*details, None, None)
    return refusal(message, record=record, problems=problems or ())


def to_wire(error: ResolutionError) -> tuple[Any, ...]:
    """Return what of `error` crosses Temporal beside its message; `from_wire` reads it."""
    if error.problems:
        return (error.record, list(error.problems))
    return () if error.record is None else (error.record,)
