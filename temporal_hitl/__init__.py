"""The human layer for Temporal: pipelines that wait for people, durably.

Authors compose `Step`, `Steps`, `Parallel`, `Condition`, `Loop` and `Router` into a `Workflow` and
say where a person decides. `temporal_hitl.workflow.Gate` is the same gate for workflows written by
hand.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from temporal_hitl._options import ActivityOptions
from temporal_hitl.approvals import Approval, ApprovalStatus, ApprovalType
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
from temporal_hitl.stream_events import (
    ConditionExecutionCompletedEvent,
    ConditionExecutionStartedEvent,
    LoopExecutionCompletedEvent,
    LoopExecutionStartedEvent,
    LoopIterationCompletedEvent,
    LoopIterationStartedEvent,
    ParallelExecutionCompletedEvent,
    ParallelExecutionStartedEvent,
    RouterExecutionCompletedEvent,
    RouterExecutionStartedEvent,
    RouterPausedEvent,
    RunSnapshotEvent,
    StepCompletedEvent,
    StepContinuedEvent,
    StepErrorEvent,
    StepOutputEvent,
    StepOutputReviewEvent,
    StepPausedEvent,
    StepsExecutionCompletedEvent,
    StepsExecutionStartedEvent,
    StepStartedEvent,
    StreamEvent,
    ToolCallCompletedEvent,
    ToolCallStartedEvent,
    WorkflowCancelledEvent,
    WorkflowCompletedEvent,
    WorkflowErrorEvent,
    WorkflowStartedEvent,
)

if TYPE_CHECKING:
    from temporal_hitl.agents import (
        Agent,
        Ask,
        AskingFunction,
        ConfirmBeforeRun,
        ExternalExecution,
        Function,
        OpenAIChat,
        RunOutput,
        RunRequirement,
        Team,
        Toolkit,
        UserControlFlowTools,
        UserFeedbackTools,
        approval,
        tool,
        use_model,
    )

__all__ = [
    "ActivityOptions",
    "Agent",
    "Answer",
    "Approval",
    "ApprovalStatus",
    "ApprovalType",
    "Ask",
    "AskingFunction",
    "Condition",
    "ConditionExecutionCompletedEvent",
    "ConditionExecutionStartedEvent",
    "Confirm",
    "ConfirmBeforeRun",
    "DefinitionError",
    "Edit",
    "EditArguments",
    "ErrorRequirement",
    "ExternalExecution",
    "Function",
    "HitlClient",
    "HitlError",
    "HitlPlugin",
    "HumanReview",
    "InMemoryDb",
    "Loop",
    "LoopExecutionCompletedEvent",
    "LoopExecutionStartedEvent",
    "LoopIterationCompletedEvent",
    "LoopIterationStartedEvent",
    "OnError",
    "OnReject",
    "OnTimeout",
    "OpenAIChat",
    "OpenRequirement",
    "OperatorError",
    "Parallel",
    "ParallelExecutionCompletedEvent",
    "ParallelExecutionStartedEvent",
    "PostgresDb",
    "Reject",
    "Report",
    "ResolutionError",
    "ResolutionRecord",
    "Retry",
    "Router",
    "RouterExecutionCompletedEvent",
    "RouterExecutionStartedEvent",
    "RouterPausedEvent",
    "RunError",
    "RunFailed",
    "RunOptions",
    "RunOutput",
    "RunRequirement",
    "RunSnapshotEvent",
    "RunStatus",
    "Select",
    "Skip",
    "SqliteDb",
    "Step",
    "StepCompletedEvent",
    "StepContinuedEvent",
    "StepErrorEvent",
    "StepInput",
    "StepOutput",
    "StepOutputEvent",
    "StepOutputReviewEvent",
    "StepPausedEvent",
    "StepRequirement",
    "StepStartedEvent",
    "Steps",
    "StepsExecutionCompletedEvent",
    "StepsExecutionStartedEvent",
    "StreamEvent",
    "Team",
    "ToolCallCompletedEvent",
    "ToolCallStartedEvent",
    "Toolkit",
    "UserControlFlowTools",
    "UserFeedbackTools",
    "UserInputField",
    "Workflow",
    "WorkflowCancelledEvent",
    "WorkflowCompletedEvent",
    "WorkflowErrorEvent",
    "WorkflowRunOutput",
    "WorkflowSession",
    "WorkflowStartedEvent",
    "approval",
    "pause",
    "tool",
    "use_model",
]


def __getattr__(name: str) -> Any:
    # Agents load where one is named: all else needs no agent framework.
    if name in __all__:
        return getattr(import_module("temporal_hitl.agents"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
