"""Which runs to list, and Temporal's own language for it."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, StringConstraints

from temporal_hitl._attributes import BLOCKED, HITL_STATUS, HITL_TAGS, PENDING, session_tag

_RUNNING = "ExecutionStatus = 'Running'"
_IN_TEMPORAL = {
    "RUNNING": _RUNNING,
    "PAUSED": f"{_RUNNING} AND {HITL_STATUS.name} = '{PENDING}'",
    "BLOCKED": f"{_RUNNING} AND {HITL_STATUS.name} = '{BLOCKED}'",
    "COMPLETED": "ExecutionStatus = 'Completed'",
    "FAILED": "ExecutionStatus = 'Failed'",
    "CANCELED": "ExecutionStatus = 'Canceled'",
    "TERMINATED": "ExecutionStatus = 'Terminated'",
    "TIMED_OUT": "ExecutionStatus = 'TimedOut'",
}
_LEFT = "ExecutionStatus != 'ContinuedAsNew'"
"""Leaves out executions whose run goes on in another."""


Name: TypeAlias = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00]*$")]
"""What names something to Temporal; its database stops at a zero."""
Sought = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00\\]*$")]
"""What is looked for in Temporal's list. Its filter language, as SQLite gets it, has no backslash:
one before a quote would end the value there."""
Tag = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00\\\"']*$")]
"""The same in a list of keywords, which SQLite looks through in yet another language."""


class RunFilter(BaseModel):
    """Which runs; all that is given must hold."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    pipeline: Sought | None = None
    """The name of the pipeline."""
    status: (
        Literal[
            "RUNNING",
            "PAUSED",
            "BLOCKED",
            "COMPLETED",
            "FAILED",
            "CANCELED",
            "TERMINATED",
            "TIMED_OUT",
        ]
        | None
    ) = None
    """How it stands; `RUNNING` finds those that are paused or blocked too."""
    session_id: Tag | None = None
    """The session that it was started in."""
    root_run_id: Sought | None = None
    """The run at the top: finds it, and all child runs below it."""

    def query(self) -> str:
        """Return it in Temporal's filter language."""
        said = [_LEFT]
        if self.pipeline is not None:
            said.append(f"WorkflowType = {quoted(self.pipeline)}")
        if self.status is not None:
            said.append(_IN_TEMPORAL[self.status])
        if self.session_id is not None:
            said.append(f"{HITL_TAGS.name} = {quoted(session_tag(self.session_id))}")
        if self.root_run_id is not None:
            said.append(f"RootWorkflowId = {quoted(self.root_run_id)}")
        return " AND ".join(said)


def quoted(text: Sought) -> str:
    """Return `text` as a value in Temporal's filter language.

    Nothing in it is taken for a part of the filter; yet a double quote, or a quote at either end,
    finds nothing, as Temporal does not read these back.
    """
    return "'" + text.replace("'", "''") + "'"
