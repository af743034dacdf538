"""How an agent is run, and gone on with: the seeds' calls, over the pipeline that its runs are."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, TypedDict, Unpack, cast, overload

from temporal_hitl._twins import AsyncEventStream, EventStream, aside, wait_for
from temporal_hitl.agents._output import RunOutput
from temporal_hitl.agents._requirement import drafts_of
from temporal_hitl.agents._streaming import AgentEvent, agent_events
from temporal_hitl.pipeline import ContinueOptions, StreamOptions, WaitOptions, Workflow
from temporal_hitl.run import WorkflowRunOutput
from temporal_hitl.stream_events import AnyStreamEvent


class AgentContinueOptions(TypedDict, total=False):
    """What `continue_run` takes beside, or instead of, a run's output."""

    run_id: str
    """Which run, where no output is given; works from any process."""
    requirements: Sequence[Any]
    """The decisions: requirements of any output of the run; resolved ones are left out."""
    roles: Sequence[str] | None
    """Signs them, each for its `resolved_by`, as somebody who has these roles; as a Workflow's."""


class AgentRuns(Workflow):
    """The pipeline that an agent's own runs are: the agent is its one step."""

    is_agent = True

    async def started(self, input: Any, **options: Any) -> AsyncGenerator[AnyStreamEvent]:
        """Start a run, and return what happens until it has ended or needs a person."""
        return await self._stream(input, True, **options)

    async def continued(
        self, output: WorkflowRunOutput | None, **options: Unpack[ContinueOptions]
    ) -> AsyncGenerator[AnyStreamEvent]:
        """Send what was decided, and return what happens until then."""
        events, _ = await self._go_on(output, **options)
        return events

    async def watched(self, run_id: str) -> AsyncGenerator[AnyStreamEvent]:
        """Return what happens until a run has ended or needs a person."""
        return (await self._client()).watch(run_id, until_paused=True)


class Runnable:
    """What has runs of its own."""

    workflow: AgentRuns
    """The pipeline that its own runs are."""

    @overload
    def run(self, input: Any = None, **options: Unpack[WaitOptions]) -> RunOutput: ...
    @overload
    def run(
        self, input: Any = None, **options: Unpack[StreamOptions]
    ) -> EventStream[AgentEvent]: ...
    def run(
        self,
        input: Any = None,
        *,
        stream: bool = False,
        stream_events: bool = False,
        **options: Any,
    ) -> RunOutput | EventStream[AgentEvent]:
        """Start a run, and return when it has ended or needs a person; options as a Workflow's.

        With `stream=True` an iterator of what happens until then: the start, pauses and the end,
        with `stream_events=True` tools too. An event that `is_paused` has `active_requirements`.
        """
        if not stream:
            return wait_for("await agent.arun(...)", lambda: self._run(input, **options))
        twin = "async for event in agent.arun(..., stream=True)"
        return EventStream(wait_for(twin, lambda: self._stream(input, stream_events, **options)))

    @overload
    def arun(
        self, input: Any = None, **options: Unpack[WaitOptions]
    ) -> Coroutine[Any, Any, RunOutput]: ...
    @overload
    def arun(
        self, input: Any = None, **options: Unpack[StreamOptions]
    ) -> AsyncEventStream[AgentEvent]: ...
    def arun(
        self,
        input: Any = None,
        *,
        stream: bool = False,
        stream_events: bool = False,
        **options: Any,
    ) -> Coroutine[Any, Any, RunOutput] | AsyncEventStream[AgentEvent]:
        """Start a run, and return when it has ended or needs a person, as `run` does."""
        if not stream:
            return aside(self._run(input, **options))
        return AsyncEventStream(self._stream(input, stream_events, **options))

    async def _run(self, input: Any, **options: Any) -> RunOutput:
        return RunOutput(cast(WorkflowRunOutput, await self.workflow.arun(input, **options)))

    async def _stream(self, input: Any, whole: bool, **options: Any) -> AsyncGenerator[AgentEvent]:
        return self._events(await self.workflow.started(input, **options), whole)

    def _events(
        self, events: AsyncGenerator[AnyStreamEvent], whole: bool
    ) -> AsyncGenerator[AgentEvent]:
        made = agent_events(events, self.aget_run_output)
        return made if whole else _few(made)

    def continue_run(
        self,
        run_response: RunOutput | None = None,
        *,
        stream: bool = False,
        stream_events: bool = False,
        **options: Unpack[AgentContinueOptions],
    ) -> Any:
        """Send what was decided, and return when the run has ended or needs a person again.

        Takes the output of a run, or `run_id=` and `requirements=`; with `stream=True` it returns
        an iterator, as `run` does. An empty list of requirements then sends nothing.
        """
        twin = "await agent.acontinue_run(...)"
        if not stream:
            return wait_for(twin, lambda: self._continue(run_response, **options))
        going_on = wait_for(twin, lambda: self._go_on(run_response, stream_events, **options))
        return EventStream(going_on)

    def acontinue_run(
        self,
        run_response: RunOutput | None = None,
        *,
        stream: bool = False,
        stream_events: bool = False,
        **options: Unpack[AgentContinueOptions],
    ) -> Any:
        """Send what was decided, and return when the run has ended or needs a person again; to be
        awaited, or with `stream=True` iterated.
        """
        if not stream:
            return aside(self._continue(run_response, **options))
        return AsyncEventStream(self._go_on(run_response, stream_events, **options))

    async def _continue(
        self, output: RunOutput | None, **options: Unpack[AgentContinueOptions]
    ) -> RunOutput:
        going_on = cast(Any, self.workflow.acontinue_run)
        return RunOutput(await going_on(output and output.run, **_decided(output, options)))

    async def _go_on(
        self, output: RunOutput | None, whole: bool, **options: Unpack[AgentContinueOptions]
    ) -> AsyncGenerator[AgentEvent]:
        run = None if output is None else output.run
        if run is None and "run_id" in options and options.get("requirements") == []:
            # Seed 003's loop goes on at every event, and most have nothing that could be decided.
            return self._events(await self.workflow.watched(options["run_id"]), whole)
        return self._events(await self.workflow.continued(run, **_decided(output, options)), whole)

    # Look, and stop

    def get_run_output(self, run_id: str) -> RunOutput:
        """Return a run as it stands or as it ended, failed ones too; raises `RunNotFound`."""
        return RunOutput(self.workflow.get_run_output(run_id))

    async def aget_run_output(self, run_id: str) -> RunOutput:
        """Return a run as it stands or as it ended, failed ones too; raises `RunNotFound`."""
        return RunOutput(await self.workflow.aget_run_output(run_id))

    def cancel_run(self, run_id: str) -> RunOutput:
        """Stop a run at once, paused or not, and return how it ended."""
        return RunOutput(self.workflow.cancel_run(run_id))

    async def acancel_run(self, run_id: str) -> RunOutput:
        """Stop a run at once, paused or not, and return how it ended."""
        return RunOutput(await self.workflow.acancel_run(run_id))


def _decided(output: RunOutput | None, options: AgentContinueOptions) -> ContinueOptions:
    decided = ContinueOptions()
    if "run_id" in options:
        decided["run_id"] = options["run_id"]
    if "roles" in options:
        decided["roles"] = options["roles"]
    if "requirements" in options:
        asks = options.get("run_id") if output is None else output.run_id
        decided["step_requirements"] = drafts_of(options["requirements"], asks)
    return decided


async def _few(events: AsyncGenerator[AgentEvent]) -> AsyncGenerator[AgentEvent]:
    async with aclosing(events):
        async for event in events:
            if not event.event.startswith("Tool"):
                yield event
