"""What an agent's run tells while it goes on, in the words of seed 003: made of the events of the
pipeline that it is.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from temporal_hitl.agents._output import RunOutput
from temporal_hitl.agents._requirement import ResolvedRequirement, RunRequirement
from temporal_hitl.stream_events import (
    AnyStreamEvent,
    StepContinuedEvent,
    ToolCallCompletedEvent,
    ToolCallStartedEvent,
    WorkflowCancelledEvent,
    WorkflowCompletedEvent,
    WorkflowErrorEvent,
    WorkflowStartedEvent,
)

ENDS = ("RunCompleted", "RunCancelled", "RunError")


@dataclass(frozen=True)
class AgentEvent:
    """Something that happened in an agent's run; `event` says what."""

    event: str
    """`RunStarted`, `RunPaused`, `RunContinued`, `ToolCallStarted`, `ToolCallCompleted`,
    `RunContent`, `RunCompleted`, `RunCancelled` or `RunError`."""
    run_id: str
    agent_name: str
    """The agent that it happened to: a member, in a team's run."""
    session_id: str
    created_at: datetime
    tool_name: str | None = None
    tool_args: dict[str, Any] | None = None
    content: Any = None
    """What the agent gave, with `RunContent` and `RunCompleted`; why, with `RunError` and
    `RunCancelled`; what came of a tool's call, with `ToolCallCompleted`."""
    run_output: RunOutput | None = None
    """The run as it stands, with `RunPaused` and `RunCompleted`."""

    @property
    def is_paused(self) -> bool:
        """Whether the run waits for a person."""
        return self.event == "RunPaused"

    @property
    def requirements(self) -> list[RunRequirement | ResolvedRequirement]:
        """What the run has waited for, and waits for."""
        return [] if self.run_output is None else self.run_output.requirements

    @property
    def active_requirements(self) -> list[RunRequirement]:
        """What the run waits for."""
        return [] if self.run_output is None else self.run_output.active_requirements


async def agent_events(
    events: AsyncGenerator[AnyStreamEvent], look: Callable[[str], Awaitable[RunOutput]]
) -> AsyncGenerator[AgentEvent]:
    """Yield what `events` are in an agent's words, `RunPaused` last where they end at a pause."""
    last: AnyStreamEvent | None = None
    ended = False
    async with aclosing(events):
        async for event in events:
            last = event
            for made in _told(event):
                ended = made.event in ENDS
                yield made
    if last is not None and not ended:
        output = await look(last.run_id)
        if output.is_paused:
            yield _event(last, "RunPaused", run_output=output)


def _told(event: AnyStreamEvent) -> list[AgentEvent]:
    match event:
        case WorkflowStartedEvent():
            return [_event(event, "RunStarted")]
        case StepContinuedEvent():
            return [_event(event, "RunContinued")]
        case ToolCallStartedEvent():
            return [_event(event, "ToolCallStarted", tool_args=event.tool_args)]
        case ToolCallCompletedEvent():
            return [_event(event, "ToolCallCompleted", content=event.outcome)]
        case WorkflowCompletedEvent():
            output = None if event.run_output is None else RunOutput(event.run_output)
            said = _event(event, "RunContent", content=event.content)
            return [said, _event(event, "RunCompleted", content=event.content, run_output=output)]
        case WorkflowCancelledEvent():
            return [_event(event, "RunCancelled", content=event.reason)]
        case WorkflowErrorEvent():
            return [_event(event, "RunError", content=event.error)]
        case _:
            return []


def _event(of: AnyStreamEvent, event: str, **more: Any) -> AgentEvent:
    if isinstance(of, ToolCallStartedEvent | ToolCallCompletedEvent) and event.startswith("Tool"):
        more["tool_name"] = of.tool_name
    name = getattr(of, "agent_name", of.workflow_name)
    return AgentEvent(event, of.run_id, name, of.session_id, of.created_at, **more)
