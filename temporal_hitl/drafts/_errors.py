"""The draft of what becomes of a step that failed."""

from __future__ import annotations

from temporal_hitl.drafts._draft import Draft
from temporal_hitl.requirements import ErrorDecision, Retry, Skip


class ErrorRequirement(Draft[ErrorDecision]):
    """A draft of what becomes of a step that failed: fill it in, and `continue_run` sends it."""

    __slots__ = ()

    def retry(self) -> None:
        """Decide to try again, with all attempts that the step has; refused once `max_retries` are
        used.
        """
        self._decide("retry")

    def skip(self) -> None:
        """Decide to go on without what the step would have produced."""
        self._decide("skip")

    @property
    def decision(self) -> str | None:
        """`retry`, `skip`, or None while undecided. May be assigned."""
        return self._decision and self._decision.action

    @decision.setter
    def decision(self, value: str | None) -> None:
        if value is None:
            self._decision = None
        else:
            self._decide(value)

    @property
    def needs_decision(self) -> bool:
        """Whether the draft is undecided."""
        return not self.is_resolved

    @property
    def should_retry(self) -> bool:
        """Whether the draft says to try again."""
        return isinstance(self._decision, Retry)

    @property
    def should_skip(self) -> bool:
        """Whether the draft says to go on without."""
        return isinstance(self._decision, Skip)

    @property
    def error_message(self) -> str:
        """What the step's exception said."""
        return self.requirement.error_message

    @property
    def error_type(self) -> str:
        """The qualified name of the step's exception."""
        return self.requirement.error_type

    @property
    def attempts(self) -> int:
        """How many executions have failed so far."""
        return self.requirement.attempts
