"""What a run waits for, and the resolutions that satisfy it: two discriminated unions and one pure
check.

Owns the wire shapes: a `Requirement` is told apart by `kind`, a `Resolution` by `action`, and what
a kind or an action does not have, its class does not have. Knows nothing of clocks, of Temporal, or
of who asks.
"""

from __future__ import annotations

from temporal_hitl.requirements._checks import (
    parse_resolution,
    problems_of,
    used_up,
    validate,
)
from temporal_hitl.requirements._questions import (
    AnyRequirement,
    Confirmation,
    ErrorDecision,
    IterationReview,
    OutputReview,
    PreviousOutput,
    Question,
    Requirement,
    Route,
    ToolConfirmation,
    ToolExecution,
    ToolInput,
    ToolOutcome,
    UserInput,
    Wire,
    digest_of,
    slug,
)
from temporal_hitl.requirements._resolutions import (
    Answer,
    AnyResolution,
    Channel,
    Confirm,
    DecidedBy,
    Door,
    Edit,
    EditArguments,
    Identity,
    Refusal,
    Reject,
    Report,
    Resolution,
    ResolutionRecord,
    Retry,
    Select,
    Skip,
    TimedOut,
    Withdrawn,
)

__all__ = [
    "Answer",
    "AnyRequirement",
    "AnyResolution",
    "Channel",
    "Confirm",
    "Confirmation",
    "DecidedBy",
    "Door",
    "Edit",
    "EditArguments",
    "ErrorDecision",
    "Identity",
    "IterationReview",
    "OutputReview",
    "PreviousOutput",
    "Question",
    "Refusal",
    "Reject",
    "Report",
    "Requirement",
    "Resolution",
    "ResolutionRecord",
    "Retry",
    "Route",
    "Select",
    "Skip",
    "TimedOut",
    "ToolConfirmation",
    "ToolExecution",
    "ToolInput",
    "ToolOutcome",
    "UserInput",
    "Wire",
    "Withdrawn",
    "digest_of",
    "parse_resolution",
    "problems_of",
    "slug",
    "used_up",
    "validate",
]
