"""What the drafts of all kinds have."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from temporal_hitl.requirements import (
    AnyRequirement,
    AnyResolution,
    ErrorDecision,
    OutputReview,
    Resolution,
    parse_resolution,
    validate,
)
from temporal_hitl.review import OnTimeout

R = TypeVar("R", bound=AnyRequirement)


class Draft(Generic[R]):
    """What the drafts of all kinds have: the question, who decides and why, and a resolution."""

    # A mistyped attribute would be a decision that is not sent.
    __slots__ = ("_decision", "comment", "requirement", "resolved_by", "run_id")

    def __init__(self, requirement: R, run_id: str) -> None:
        self.requirement = requirement
        """The question as the run asked it."""
        self.run_id = run_id
        """The run that asked: a child run, where a pipeline is a step of another."""
        self.resolved_by: str | None = None
        """Who decides, as a claim. May be assigned."""
        self.comment: str | None = None
        """Why. May be assigned."""
        self._decision: AnyResolution | None = None

    # The question

    @property
    def id(self) -> str:
        """The requirement's id."""
        return self.requirement.id

    @property
    def step_id(self) -> str:
        """The path of the node that asks: `analysis.report`, `refine.3` in a Loop's third round."""
        return self.requirement.path

    @property
    def step_name(self) -> str:
        """The name of the node that asks."""
        return self.requirement.name

    @property
    def message(self) -> str:
        """The question, whatever its kind."""
        return self.requirement.message

    @property
    def timeout_at(self) -> datetime | None:
        """When the deadline acts; None where there is none."""
        return self.requirement.deadline

    @property
    def on_timeout(self) -> OnTimeout | None:
        """What the deadline does; None where there is none."""
        return self.requirement.on_timeout

    @property
    def is_timed_out(self) -> bool:
        """Whether the deadline has passed by this machine's clock; the run's own decides."""
        deadline = self.requirement.deadline
        return deadline is not None and deadline <= datetime.now(UTC)

    @property
    def retry_count(self) -> int:
        """How often a person had this node do it again so far."""
        asked = self.requirement
        return asked.retries if isinstance(asked, OutputReview | ErrorDecision) else 0

    @property
    def max_retries(self) -> int | None:
        """How often a person may; None where nothing limits it."""
        asked = self.requirement
        return asked.retries_limit if isinstance(asked, OutputReview | ErrorDecision) else None

    # The decision

    @property
    def is_resolved(self) -> bool:
        """Whether the draft holds a decision that can be sent."""
        return self._complete() is not None

    @property
    def missing_values(self) -> list[str]:
        """The required values that an answer lacks which was begun; empty in all other cases."""
        return []

    def resolution(self) -> AnyResolution | None:
        """Return the one decision that `continue_run` sends, or None while undecided."""
        decision = self._complete()
        return None if decision is None else self._parsed(**decision.model_dump())

    def _complete(self) -> AnyResolution | None:
        return self._decision

    def _decide(self, action: str, **body: Any) -> None:
        decision = self._parsed(action=action, **body)
        validate(self.requirement, decision)
        self._settle(decision)

    def _settle(self, decision: AnyResolution) -> None:
        self._decision = decision

    def _take_back(self, *kinds: type[Resolution]) -> None:
        if isinstance(self._decision, kinds):
            self._decision = None

    def _parsed(self, **body: Any) -> AnyResolution:
        asked = {"requirement_id": self.id, "digest": self.requirement.digest}
        said = {"resolved_by": self.resolved_by, "comment": self.comment}
        return parse_resolution({**body, **asked, **said})

    def __repr__(self) -> str:
        state = self._decision.action if self._decision and self.is_resolved else "undecided"
        return f"<{type(self).__name__} {self.id} {state}: {self.message!r}>"
