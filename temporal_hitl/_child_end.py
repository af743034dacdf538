"""How a child run ended, as data, and what its parent takes over of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from temporalio.exceptions import (
    ApplicationError,
    CancelledError,
    TerminatedError,
    TimeoutError,
)

from temporal_hitl._caller import TOLD, StepFailed
from temporal_hitl._sizes import TOO_LARGE
from temporal_hitl._wire import read
from temporal_hitl.run import Omitted, RunStatus


class ChildEnd(BaseModel):
    """How a child run ended, as data: what it returned, or the error that it ended with."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    returned: Any = None
    error_type: str | None = None
    message: str = ""

    @classmethod
    def badly(cls, run_id: str, cause: BaseException | None) -> ChildEnd:
        """Return the end of a run that Temporal says has not completed, and why."""
        match cause:
            case ApplicationError():
                return cls(error_type=cause.type or "unknown", message=cause.message[:TOLD])
            case CancelledError():
                kind, what = "ChildCancelled", "was cancelled"
            case TerminatedError():
                kind, what = "ChildTerminated", "was terminated"
            case TimeoutError():
                kind, what = "ChildTimedOut", "has timed out"
            case _:
                kind, what = "ChildLost", f"is not there to tell its end: {cause}"
        return cls(error_type=f"temporal_hitl.{kind}", message=f"child run {run_id!r} {what}")


class ChildOutput(BaseModel):
    """What a parent takes over of the run output of a child that has completed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    status: RunStatus
    content: Any = None
    session_state: dict[str, Any] = {}
    error: str | None = None
    omitted: list[Omitted] = []


def completed(path: str, run_id: str, ended: ChildEnd) -> ChildOutput:
    """Return what a child that has completed came to, or raise `StepFailed` with what it did."""
    if ended.error_type is not None:
        raise StepFailed(path, ended.error_type, ended.message)
    try:
        output = read(ChildOutput, ended.returned)
    except ValueError:
        told = f"child run {run_id!r} returned what no pipeline returns"
        raise StepFailed(path, "temporal_hitl.ChildUnreadable", told) from None
    if output.status is not RunStatus.completed:
        told = f"child run {run_id!r} was cancelled: {output.error}"
        raise StepFailed(path, "temporal_hitl.ChildCancelled", told)
    lost = [str(each) for each in output.omitted if each.part in ("content", "session_state")]
    if lost:
        told = f"child run {run_id!r} produced too much to hand over: {', '.join(lost)}"
        raise StepFailed(path, TOO_LARGE, told)
    return output


def changes(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return what of a session state a child changed, and what it removed."""
    changed = {
        key: value
        for key, value in after.items()
        if key not in before or _told(before[key]) != _told(value)
    }
    return changed, [key for key in before if key not in after]


def _told(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
