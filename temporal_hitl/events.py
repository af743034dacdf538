"""What happened in a run that its reader should know: one frozen model per event.

Owns only shapes. Openings and resolutions are not events here: a run's requirements and records say
them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "AnyEvent",
    "NodeFailed",
    "NodeSkipped",
    "SourceChanged",
    "StateConflict",
    "ToolNotCalled",
]


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    at: datetime
    """By the run's own clock."""
    path: str
    """The node's path in the run: `refine.3.draft`."""


class NodeFailed(_Event):
    """A node failed for good, and its `on_error` let the run go on."""

    event: Literal["node_failed"] = "node_failed"
    error_type: str
    error_message: str
    attempts: int | None = None
    """How many executions there were, where the failure tells."""

    def told(self) -> str:
        """Return the event as one line."""
        tries = "" if not self.attempts else f" after {self.attempts} attempts"
        return f"{self.path} failed{tries}: {self.error_type}: {self.error_message}"


class NodeSkipped(_Event):
    """A person or a deadline left a node out."""

    event: Literal["node_skipped"] = "node_skipped"
    requirement_id: str

    def told(self) -> str:
        """Return the event as one line."""
        return f"{self.path} was skipped, as {self.requirement_id} says"


class SourceChanged(_Event):
    """An executor ran with other source than the run's plan recorded."""

    event: Literal["source_changed"] = "source_changed"
    executor: str
    planned: str
    """Source digest in the plan."""
    executed: str
    """Source digest of what ran."""

    def told(self) -> str:
        """Return the event as one line."""
        digests = f"{self.executed[:12]}, not {self.planned[:12]} as planned"
        return f"{self.path} ran {self.executor} with source {digests}"


class StateConflict(_Event):
    """What worked at once wrote one state key differently: branches of a Parallel, of which the
    last declared won, or members and tools of an agent, of which the last to end did.
    """

    event: Literal["state_conflict"] = "state_conflict"
    key: str
    kept: str
    """The branch whose value stayed; of an agent's, the path of the turn or the call."""

    def told(self) -> str:
        """Return the event as one line."""
        return f"what works at once in {self.path} wrote {self.key!r} differently; {self.kept} won"


class ToolNotCalled(_Event):
    """An agent gave its result in the same response as it called a guarded tool: nobody was asked,
    and it was not called.
    """

    event: Literal["tool_not_called"] = "tool_not_called"
    tool: str

    def told(self) -> str:
        """Return the event as one line."""
        return f"{self.path} gave its result beside a call of {self.tool}, which was not called"


AnyEvent: TypeAlias = Annotated[
    NodeFailed | NodeSkipped | SourceChanged | StateConflict | ToolNotCalled,
    Field(discriminator="event"),
]
