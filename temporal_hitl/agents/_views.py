"""What a program of the seeds reads of a call that waits, and of a question that is answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from temporal_hitl.requirements import ResolutionRecord


@dataclass(frozen=True)
class ToolCallView:
    """A tool's call, as a requirement shows it."""

    tool_name: str | None
    tool_args: dict[str, Any] = field(default_factory=dict[str, Any])
    requires_confirmation: bool = False
    confirmed: bool | None = None
    """What is decided here, and not sent yet."""
    confirmation_note: str | None = None
    requires_user_input: bool = False
    external_execution_required: bool = False

    @property
    def is_paused(self) -> bool:
        """Whether it waits for anybody."""
        return (
            self.requires_confirmation
            or self.requires_user_input
            or self.external_execution_required
        )


@dataclass(frozen=True)
class ResolvedRequirement:
    """One thing that an agent's run has waited for."""

    record: ResolutionRecord

    @property
    def id(self) -> str:
        """The requirement's id."""
        return self.record.requirement_id

    @property
    def confirmation(self) -> bool:
        """Whether it was approved."""
        return self.record.approved

    @property
    def confirmation_note(self) -> str | None:
        """What was said with a rejection."""
        return self.record.feedback

    def is_resolved(self) -> bool:
        """Return True."""
        return True

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON data."""
        return self.record.model_dump(mode="json")
