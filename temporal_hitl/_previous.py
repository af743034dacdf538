"""What the round before produced, for whoever reviews this one: to see what has changed.

It is told with the requirement and kept nowhere else: progress has it, for the next execution of
the node. So neither the budget, nor a history, nor a digest knows of it.
"""

from __future__ import annotations

from typing import Any

from temporal_hitl._progress import Progress
from temporal_hitl._sizes import size_of
from temporal_hitl.requirements import (
    AnyRequirement,
    IterationReview,
    OutputReview,
    PreviousOutput,
)
from temporal_hitl.run import one_result

COMPARED = 32_000
"""Bytes of an output that is told to be compared; of a larger one its size is told."""


def with_previous(asked: AnyRequirement, progress: Progress) -> AnyRequirement:
    """Return `asked` with what was rejected before it, where there is any."""
    match asked:
        case OutputReview():
            tried = progress.tried(asked.path)
            is_there, output, feedback = tried.rejected > 0, tried.previous, tried.feedback
        case IterationReview():
            stand = progress.loops.get(asked.path.rpartition(".")[0])
            if stand is None:
                return asked
            is_there, output, feedback = stand.rejected, one_result(stand.outputs), stand.feedback
        case _:
            return asked
    return asked.model_copy(update={"previous": _told(output, feedback)}) if is_there else asked


def _told(output: Any, feedback: str | None) -> PreviousOutput:
    size = size_of(output)
    if feedback is not None and len(feedback) > COMPARED:
        feedback = None  # Its record has it.
    if size > COMPARED:
        return PreviousOutput(feedback=feedback, left_out=size)
    return PreviousOutput(output=output, feedback=feedback)
