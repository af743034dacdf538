"""`Workflow`: a definition that runs itself, sync or async, on the server that is configured or
embedded.

Owns the seeds' calls (`run`, `continue_run`, ... and their async twins), each of them one line to
the coroutine that both twins are.
"""

from __future__ import annotations

import uuid
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Required, TypedDict, Unpack, overload

from temporal_hitl._arguments import role_names
from temporal_hitl._attributes import HITL_TAGS, session_tag
from temporal_hitl._compile import compile_definition
from temporal_hitl._going_on import Events, GoingOn, Signs, few, or_raise
from temporal_hitl._site import InMemoryDb, PostgresDb, Site, SqliteDb, site_of
from temporal_hitl._twins import AsyncEventStream, EventStream, aside, wait_for
from temporal_hitl.client import TASK_QUEUE, HitlClient
from temporal_hitl.drafts import AnyDraft
from temporal_hitl.errors import DefinitionError, RunNotFound
from temporal_hitl.local import ui_url
from temporal_hitl.plan import Plan
from temporal_hitl.primitives import Definition, NodeLike, Steps
from temporal_hitl.requirements import Refusal
from temporal_hitl.run import RunOptions, WorkflowRunOutput
from temporal_hitl.stream_events import AnyStreamEvent

__all__ = ["InMemoryDb", "PostgresDb", "SqliteDb", "Workflow", "WorkflowSession"]


class StartOptions(TypedDict, total=False):
    """What `run` takes beside the input."""

    run_id: str
    """The run's id; one that the library makes unless given. Never two runs of one id at a time."""
    session_id: str
    """Runs of one session are listed together; an id that the library makes sticks."""
    user_id: str
    """For whom it runs; recorded, never trusted."""
    session_state: Mapping[str, Any]
    """The state that steps read and change, over what the Workflow was made with."""
    additional_data: Mapping[str, Any]
    """Reaches every step as `step_input.additional_data`."""


class ContinueOptions(TypedDict, total=False):
    """What `continue_run` takes beside, or instead of, a run's output."""

    run_id: str
    """Which run, where no output is given; works from any process."""
    step_requirements: Sequence[AnyDraft]
    """The decisions, those about errors too, taken from any output of the run; sent in place of
    those in `run_response`."""
    roles: Sequence[str] | None
    """Signs the decisions, each for its `resolved_by`, as somebody who has these roles; with
    `HITL_SIGNING_KEYS`, or the keys of the embedded server. Who has those can sign as anybody."""


class WaitOptions(StartOptions, total=False):
    """Those of a call that returns the run's output."""

    stream: Literal[False]


class StreamOptions(StartOptions, total=False):
    """Those of a call that returns an iterator of events."""

    stream: Required[Literal[True]]
    stream_events: bool
    """All events, and not only outputs, questions, errors and the end."""


class ContinueWaitOptions(ContinueOptions, total=False):
    """Those of a call that returns the run's output."""

    stream: Literal[False]


class ContinueStreamOptions(ContinueOptions, total=False):
    """Those of a call that returns an iterator of events."""

    stream: Required[Literal[True]]
    stream_events: bool
    """All events, and not only outputs, questions, errors and the end."""


@dataclass
class WorkflowSession:
    """The runs of one session, oldest first (seed 000: `session.runs[-1]`)."""

    session_id: str
    runs: list[WorkflowRunOutput] = field(default_factory=list[WorkflowRunOutput])


class Workflow(Definition):
    """A pipeline: a Temporal workflow type of its own, with one activity per step (seed 002).

    Give it to `HitlPlugin(workflows=[...])` to serve it from a worker of yours. Or call `run`: it
    connects as every Temporal tool does, and with nothing configured it starts an embedded server
    whose state is kept in `.temporal-hitl/dev.db`, or in the file that `db=SqliteDb(db_file=...)`
    names, and a worker in this process.

    Each sync call has an async twin of the same name with an `a` before it; inside a running event
    loop the sync one raises and names it (a plain notebook cell may use either).

    `notify` are the names of subscribers that are told of what its nodes ask, where these do not
    say it themselves; those of the worker's `HITL_NOTIFY` unless given.

    Raises:
        DefinitionError: the definition is wrong; the message names the node by its path.
    """

    def __init__(
        self,
        name: str,
        steps: Sequence[NodeLike] | Steps,
        *,
        db: SqliteDb | InMemoryDb | PostgresDb | None = None,
        description: str | None = None,
        session_id: str | None = None,
        session_state: Mapping[str, Any] | None = None,
        task_queue: str = TASK_QUEUE,
        notify: Sequence[str] | None = None,
    ) -> None:
        super().__init__(name, steps, description, notify)
        self.plan: Plan = compile_definition(self).plan
        """The definition as data: what a run that starts now will walk."""
        self.db = db
        self.session_id = session_id
        self.session_state = dict(session_state or {})
        self.task_queue = task_queue
        self._runs: list[str] = []

    # Start

    @overload
    def run(self, input: Any = None, **options: Unpack[WaitOptions]) -> WorkflowRunOutput: ...
    @overload
    def run(
        self, input: Any = None, **options: Unpack[StreamOptions]
    ) -> EventStream[AnyStreamEvent]: ...
    def run(
        self,
        input: Any = None,
        *,
        stream: bool = False,
        stream_events: bool = False,
        **options: Any,
    ) -> WorkflowRunOutput | EventStream[AnyStreamEvent]:
        """Start a run, and return when it has ended or needs a person; options as `arun`."""
        if not stream:
            return wait_for("await workflow.arun(...)", lambda: self._run(input, **options))
        twin = "async for event in workflow.arun(..., stream=True)"
        return EventStream(wait_for(twin, lambda: self._stream(input, stream_events, **options)))

    @overload
    def arun(
        self, input: Any = None, **options: Unpack[WaitOptions]
    ) -> Coroutine[Any, Any, WorkflowRunOutput]: ...
    @overload
    def arun(
        self, input: Any = None, **options: Unpack[StreamOptions]
    ) -> AsyncEventStream[AnyStreamEvent]: ...
    def arun(
        self,
        input: Any = None,
        *,
        stream: bool = False,
        stream_events: bool = False,
        **options: Any,
    ) -> Coroutine[Any, Any, WorkflowRunOutput] | AsyncEventStream[AnyStreamEvent]:
        """Start a run, and return when it has ended or needs a person.

        A run that needs a person is safe with the server; `continue_run` goes on from any process.
        Raises what made the run fail: the executor's own exception type where it is a builtin one,
        else `RunFailed`.

        With `stream=True` it is not awaited, and returns an iterator of what happens until then:
        outputs, questions, errors and the end, with `stream_events=True` all the rest too. A run
        that fails ends its stream with a `WorkflowErrorEvent`, and raises nothing.
        """
        if not stream:
            return aside(self._run(input, **options))
        return AsyncEventStream(self._stream(input, stream_events, **options))

    async def _run(self, input: Any, **options: Unpack[StartOptions]) -> WorkflowRunOutput:
        client, run = await self._started(input, **options)
        return or_raise(await client.wait(run))

    async def _stream(self, input: Any, whole: bool, **options: Unpack[StartOptions]) -> Events:
        client, run = await self._started(input, **options)
        events = client.watch(run, until_paused=True)
        return events if whole else few(events)

    async def _started(
        self,
        input: Any,
        *,
        run_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        session_state: Mapping[str, Any] | None = None,
        additional_data: Mapping[str, Any] | None = None,
    ) -> tuple[HitlClient, str]:
        # What the library made sticks: a second run lands in the same session (seed 000).
        self.session_id = session_id or self.session_id or uuid.uuid4().hex
        options = RunOptions(
            session_id=self.session_id,
            user_id=user_id,
            session_state={**self.session_state, **(session_state or {})},
            additional_data=dict(additional_data or {}),
        )
        client = await self._client()
        started = await client.start(
            self, input, run_id=run_id, options=options, task_queue=self.task_queue
        )
        self._runs.append(started)
        return client, started

    async def _client(self) -> HitlClient:
        return await (await self._site()).serve(self)

    async def _site(self) -> Site:
        return await site_of(self.db, self.task_queue)

    # Go on

    @overload
    def continue_run(
        self, run_response: WorkflowRunOutput | None = None, **options: Unpack[ContinueWaitOptions]
    ) -> WorkflowRunOutput: ...
    @overload
    def continue_run(
        self,
        run_response: WorkflowRunOutput | None = None,
        **options: Unpack[ContinueStreamOptions],
    ) -> EventStream[AnyStreamEvent]: ...
    def continue_run(
        self,
        run_response: WorkflowRunOutput | None = None,
        *,
        stream: bool = False,
        stream_events: bool = False,
        **options: Any,
    ) -> WorkflowRunOutput | EventStream[AnyStreamEvent]:
        """Send the decisions filled in, and go on as `acontinue_run` does."""
        twin = "await workflow.acontinue_run(...)"
        if not stream:
            return wait_for(twin, lambda: self._continue(run_response, **options))
        events, refused = wait_for(twin, lambda: self._go_on(run_response, **options))
        return EventStream(events if stream_events else few(events), refused)

    @overload
    async def acontinue_run(
        self, run_response: WorkflowRunOutput | None = None, **options: Unpack[ContinueWaitOptions]
    ) -> WorkflowRunOutput: ...
    @overload
    async def acontinue_run(
        self,
        run_response: WorkflowRunOutput | None = None,
        **options: Unpack[ContinueStreamOptions],
    ) -> AsyncEventStream[AnyStreamEvent]: ...
    async def acontinue_run(
        self,
        run_response: WorkflowRunOutput | None = None,
        *,
        stream: bool = False,
        stream_events: bool = False,
        **options: Any,
    ) -> WorkflowRunOutput | AsyncEventStream[AnyStreamEvent]:
        """Send the decisions filled in, and return when the run has ended or needs a person.

        Give the output that `run` returned, with its requirements decided; or `run_id=`, from any
        process and weeks later, with `step_requirements=` taken from `get_run_output(run_id)`. Only
        the decisions are sent, and of forms those that lack no required value. Refused ones are in
        the output's `refused`.

        With `stream=True` it is awaited too, which sends the decisions, and returns an iterator of
        what happens from then on; see `arun`.

        Raises:
            ValueError: nothing was decided although something is open; the message names it, and
                what a form lacks that was begun. Or a decision is to be signed, and does not say
                whose it is.
            ResolutionError: every decision was refused; this is the first refusal.
            OperatorError: `roles` are given, and there are no keys to sign with.
        """
        if not stream:
            return await aside(self._continue(run_response, **options))
        events, refused = await aside(self._go_on(run_response, **options))
        return AsyncEventStream(events if stream_events else few(events), refused)

    async def _continue(
        self, output: WorkflowRunOutput | None, **options: Unpack[ContinueOptions]
    ) -> WorkflowRunOutput:
        return await (await self._decided(output, **options)).wait()

    async def _go_on(
        self, output: WorkflowRunOutput | None, **options: Unpack[ContinueOptions]
    ) -> tuple[Events, list[Refusal]]:
        return await (await self._decided(output, **options)).watch()

    async def _decided(
        self,
        output: WorkflowRunOutput | None,
        *,
        run_id: str | None = None,
        step_requirements: Sequence[AnyDraft] | None = None,
        roles: Sequence[str] | None = None,
    ) -> GoingOn:
        target = run_id or (output.run_id if output is not None else None)
        if target is None:
            raise DefinitionError("continue_run needs the output of a run, or run_id=")
        site = await self._site()
        signs = None
        if roles is not None:
            signs = Signs(site.signer(), role_names(roles, "continue_run: roles"))
        return GoingOn(await site.serve(self), target, output, step_requirements, signs)

    # Look, and stop

    def get_run_output(self, run_id: str) -> WorkflowRunOutput:
        """Return a run as it stands or as it ended, failed ones too; raises `RunNotFound`."""
        return wait_for("await workflow.aget_run_output(...)", lambda: self._get(run_id))

    async def aget_run_output(self, run_id: str) -> WorkflowRunOutput:
        """Return a run as it stands or as it ended, failed ones too; raises `RunNotFound`."""
        return await aside(self._get(run_id))

    async def _get(self, run_id: str) -> WorkflowRunOutput:
        return await (await self._client()).get(run_id)

    def web_url(self, run_id: str) -> str | None:
        """Return the run's page in the Temporal Web UI; None unless the server is embedded."""
        return wait_for("await workflow.aweb_url(...)", lambda: self._web_url(run_id))

    async def aweb_url(self, run_id: str) -> str | None:
        """Return the run's page in the Temporal Web UI; None unless the server is embedded."""
        return await aside(self._web_url(run_id))

    async def _web_url(self, run_id: str) -> str | None:
        server = (await self._site()).server
        return None if server is None else ui_url(server.address, run_id)

    def get_session(self, session_id: str | None = None) -> WorkflowSession:
        """Return the runs of a session, oldest first; of this object's own where none is named."""
        return wait_for("await workflow.aget_session(...)", lambda: self._session(session_id))

    async def aget_session(self, session_id: str | None = None) -> WorkflowSession:
        """Return the runs of a session, oldest first; of this object's own where none is named."""
        return await aside(self._session(session_id))

    async def _session(self, session_id: str | None) -> WorkflowSession:
        wanted = session_id or self.session_id
        if wanted is None:
            raise RunNotFound(f"{self.name} has no session yet; run it, or give session_id=")
        client = await self._client()
        query = f"{HITL_TAGS.name} = '{session_tag(wanted)}'"
        found = client.client.list_workflows(query)
        listed = [each.id async for each in found if each.root_id in (None, each.id)]
        # Visibility lags a little: runs of this object are known without it.
        runs = [await client.get(each) for each in dict.fromkeys([*listed, *self._runs])]
        runs = [each for each in runs if each.session_id == wanted]
        return WorkflowSession(
            wanted, sorted(runs, key=lambda each: (each.started_at is None, each.started_at))
        )

    def cancel_run(self, run_id: str) -> WorkflowRunOutput:
        """Stop a run at once, paused or not, and return how it ended."""
        return wait_for("await workflow.acancel_run(...)", lambda: self._cancel(run_id))

    async def acancel_run(self, run_id: str) -> WorkflowRunOutput:
        """Stop a run at once, paused or not, and return how it ended."""
        return await aside(self._cancel(run_id))

    async def _cancel(self, run_id: str) -> WorkflowRunOutput:
        client = await self._client()
        await client.cancel(run_id)
        return await client.wait_for_end(run_id)
