"""How an agent's run stands, in the words of seeds 003 and 004: a view of the run's own output."""

from __future__ import annotations

from typing import Any

from temporal_hitl.agents._requirement import RunRequirement
from temporal_hitl.agents._views import ResolvedRequirement, ToolCallView
from temporal_hitl.approvals import Approval
from temporal_hitl.run import RunStatus, StepOutput, WorkflowRunOutput


class RunOutput:
    """How a run of an agent stands, or how it ended."""

    def __init__(self, run: WorkflowRunOutput) -> None:
        self.run = run
        """The same as every run is told."""
        self._made: dict[str, RunRequirement] = {}

    @property
    def run_id(self) -> str:
        """The run's address everywhere."""
        return self.run.run_id

    @property
    def session_id(self) -> str:
        """The session of the run."""
        return self.run.session_id

    @property
    def user_id(self) -> str | None:
        """For whom it runs."""
        return self.run.user_id

    @property
    def agent_name(self) -> str:
        """The agent's name."""
        return self.run.workflow_name

    @property
    def status(self) -> RunStatus:
        """How the run stands."""
        return self.run.status

    @property
    def is_paused(self) -> bool:
        """Whether anything waits for a person."""
        return self.run.is_paused

    @property
    def is_cancelled(self) -> bool:
        """Whether it ended early."""
        return self.run.is_cancelled

    @property
    def content(self) -> Any:
        """What the agent gave."""
        return self.run.content

    @property
    def active_requirements(self) -> list[RunRequirement]:
        """What it waits for, and nothing is decided about here: the same objects each time."""
        return [each for each in self._open() if not each.is_resolved()]

    @property
    def requirements(self) -> list[RunRequirement | ResolvedRequirement]:
        """All that it has waited for, in order, and what it waits for."""
        resolved = [ResolvedRequirement(each) for each in self.run.resolutions]
        return [*resolved, *self._open()]

    @property
    def approvals(self) -> list[Approval]:
        """The run's approvals: those that have closed, and those that are open."""
        return self.run.approvals

    def _open(self) -> list[RunRequirement]:
        for draft in self.run.step_requirements:
            known = self._made.get(draft.id)
            if known is None or known.draft is not draft:
                name = draft.agent_name
                member = None if name in (None, self.agent_name) else name
                self._made[draft.id] = RunRequirement(draft, member)
        return [self._made[each.id] for each in self.run.step_requirements]

    def _calls(self, pause_type: str) -> list[ToolCallView]:
        there = [each for each in self._open() if each.pause_type == pause_type]
        return [each.tool_execution for each in there]

    @property
    def tools_requiring_confirmation(self) -> list[ToolCallView]:
        """The calls that somebody must approve."""
        return self._calls("confirmation")

    @property
    def tools_requiring_user_input(self) -> list[ToolCallView]:
        """The calls of which somebody fills in values."""
        return self._calls("user_input")

    @property
    def tools_awaiting_external_execution(self) -> list[ToolCallView]:
        """The calls that run outside."""
        return self._calls("external_execution")

    @property
    def _result(self) -> StepOutput | None:
        return next(iter(self.run.step_results), None)

    @property
    def messages(self) -> list[Any]:
        """The conversation, once the run has ended."""
        return [] if self._result is None else self._result.messages

    @property
    def usage(self) -> dict[str, Any]:
        """Requests, tokens and tool calls, once the run has ended."""
        return {} if self._result is None else self._result.usage

    def __repr__(self) -> str:
        return f"<RunOutput {self.run_id} {self.status.value}: {self.content!r}>"
