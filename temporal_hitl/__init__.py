"""The human layer for Temporal: pipelines that wait for people, durably.

Authors compose `Step`, `Steps`, `Parallel`, `Condition`, `Loop` and `Router` into a `Workflow` and
say where a person decides. `temporal_hitl.workflow.Gate` is the same gate for workflows written by
hand.
"""

from temporal_hitl._options import ActivityOptions
from temporal_hitl.client import HitlClient, OpenRequirement
from temporal_hitl.errors import (
    DefinitionError,
    HitlError,
    OperatorError,
    ResolutionError,
    RunError,
    RunFailed,
)
from temporal_hitl.pipeline import InMemoryDb, PostgresDb, SqliteDb, Workflow, WorkflowSession
from temporal_hitl.plugin import HitlPlugin
from temporal_hitl.primitives import Condition, Loop, Parallel, Router, Step, Steps
from temporal_hitl.requirements import (
    Answer,
    Confirm,
    Edit,
    EditArguments,
    Reject,
    Report,
    ResolutionRecord,
    Retry,
    Select,
    Skip,
)
from temporal_hitl.review import (
    HumanReview,
    OnError,
    OnReject,
    OnTimeout,
    UserInputField,
    pause,
)
from temporal_hitl.run import (
    ErrorRequirement,
    RunOptions,
    RunStatus,
    StepInput,
    StepOutput,
    StepRequirement,
    WorkflowRunOutput,
)

__all__ = [
    "ActivityOptions",
    "Answer",
    "Condition",
    "Confirm",
    "DefinitionError",
    "Edit",
    "EditArguments",
    "ErrorRequirement",
    "HitlClient",
    "HitlError",
    "HitlPlugin",
    "HumanReview",
    "InMemoryDb",
    "Loop",
    "OnError",
    "OnReject",
    "OnTimeout",
    "OpenRequirement",
    "OperatorError",
    "Parallel",
    "PostgresDb",
    "Reject",
    "Report",
    "ResolutionError",
    "ResolutionRecord",
    "Retry",
    "Router",
    "RunError",
    "RunFailed",
    "RunOptions",
    "RunStatus",
    "Select",
    "Skip",
    "SqliteDb",
    "Step",
    "StepInput",
    "StepOutput",
    "StepRequirement",
    "Steps",
    "UserInputField",
    "Workflow",
    "WorkflowRunOutput",
    "WorkflowSession",
    "pause",
]
