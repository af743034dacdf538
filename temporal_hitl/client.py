"""From outside a run: start it, see it, wait for it, answer it, cancel it.

Owns the path from a caller to a run's doors, and the errors on it. Decides nothing: what a
resolution means is the run's business. Async; the sync calls of `Workflow` are these, on a loop of
their own.
"""

# temporalio's own signatures hold bare Callables and TypeVars.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import contextlib
import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError, RPCStatusCode

from temporal_hitl._answering import Answering
from temporal_hitl._attributes import HITL_STATUS, HITL_TAGS, PENDING, missing, session_tag
from temporal_hitl._following import Following
from temporal_hitl._listing import (
    PAGE,
    RunPage,
    RunRow,
    list_runs,
    page_of_runs,
    row_of,
)
from temporal_hitl._reach import Reach, RunRequirements, not_found
from temporal_hitl._watching import Watching
from temporal_hitl._wire import read
from temporal_hitl.conversation import Conversation, said_of
from temporal_hitl.errors import (
    NoWorker,
    RunNotFound,
)
from temporal_hitl.primitives import Definition
from temporal_hitl.requirements import (
    AnyRequirement,
    AnyResolution,
    Requirement,
    ResolutionRecord,
)
from temporal_hitl.review import ApprovalType
from temporal_hitl.run import RunOptions, WorkflowRunOutput
from temporal_hitl.stream_events import AnyStreamEvent
from temporal_hitl.workflow import MEMO_KEY

__all__ = ["TASK_QUEUE", "HitlClient", "OpenRequirement", "RunPage", "RunRequirements", "RunRow"]

TASK_QUEUE = "hitl"
PENDING_RUNS = f"{HITL_STATUS.name} = '{PENDING}' AND ExecutionStatus = 'Running'"
"""Lists the runs that wait for a person; closed runs keep stale attributes, hence both halves."""
SETTLE = 0.2
"""Seconds that `wait` gives other branches to open their requirements too, once one is there."""


class OpenRequirement(BaseModel):
    """One row of the list over all runs: what addresses a requirement, not its content."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    run_id: str
    workflow_name: str
    root_run_id: str
    """The run at the top, where this one is a child."""
    id: str
    kind: str
    path: str
    name: str
    message: str
    created_at: datetime
    deadline: datetime | None = None
    roles: tuple[str, ...] = ()
    """Who may answer, where that is told here: of approvals alone."""
    approval: ApprovalType | None = None
    """Which approval it is, where it is one."""
    tool_name: str | None = None
    """What is to be approved."""
    agent_name: str | None = None

    @classmethod
    def of(
        cls, run: WorkflowExecution, asked: AnyRequirement | Mapping[str, Any]
    ) -> OpenRequirement:
        """Return what `run` asks as a row: a requirement, or what its memo holds of one."""
        if isinstance(asked, Requirement):
            # As its author wrote it, as in the memo: more people read this list than the run.
            asked = {**dict(asked), "message": asked.template or asked.message}
        of_run = {
            "run_id": run.id,
            "workflow_name": run.workflow_type,
            "root_run_id": run.root_id or run.id,
        }
        return read(cls, {**asked, **of_run})


class HitlClient:
    """Starts runs and answers them, over any Temporal `Client`."""

    def __init__(self, client: Client, *, task_queue: str = TASK_QUEUE) -> None:
        self.client = client
        self.task_queue = task_queue
        self._reach = Reach(client)
        self._answering = Answering(client)

    @classmethod
    async def connect(cls, *, task_queue: str = TASK_QUEUE, **options: Any) -> HitlClient:
        """Connect as every Temporal tool does: environment, profile file, then `options`."""
        config: dict[str, Any] = {
            "target_host": "localhost:7233",
            **ClientConfig.load_client_connect_config(),
        }
        config |= options
        config.setdefault("data_converter", pydantic_data_converter)
        return cls(await Client.connect(**config), task_queue=task_queue)

    async def start(
        self,
        workflow: str | Definition,
        input: Any = None,
        *,
        run_id: str | None = None,
        options: RunOptions | None = None,
        task_queue: str | None = None,
        **start: Any,
    ) -> str:
        """Start a run and return its id; a `run_id` that runs already is Temporal's error, never a
        second run.

        `start` goes to Temporal's `start_workflow` as it is (`memo`, `start_delay`,
        `static_summary`, ...).
        """
        name = workflow if isinstance(workflow, str) else workflow.name
        if isinstance(workflow, Definition) and workflow.description:
            start.setdefault("static_summary", workflow.description)
        data = None if options is None else options.model_dump(mode="json", exclude_defaults=True)
        if options is not None and options.session_id is not None:
            tags = SearchAttributePair(HITL_TAGS, [session_tag(options.session_id)])
            start.setdefault("search_attributes", TypedSearchAttributes([tags]))
        try:
            handle = await self.client.start_workflow(
                name,
                args=[input, data] if data else [input],
                id=run_id or f"{re.sub(r'[^A-Za-z0-9_-]+', '-', name)}-{uuid.uuid4().hex[:12]}",
                task_queue=task_queue or self.task_queue,
                **start,
            )
        except RPCError as error:
            if error.status is RPCStatusCode.INVALID_ARGUMENT and HITL_TAGS.name in error.message:
                raise missing(self.client.namespace, error) from error
            raise
        return handle.id

    def handle(self, run_id: str) -> WorkflowHandle[Any, Any]:
        """Return Temporal's own handle of the run."""
        return self.client.get_workflow_handle(run_id)

    # See and wait

    async def get(self, run_id: str) -> WorkflowRunOutput:
        """Return the run as it stands now, or as it ended, and its child runs in `child_runs`.

        A child run that cannot be reached is left out there, and stays named in `children`.

        Raises:
            RunNotFound: there is none of that id.
            NoWorker: it runs, and no worker answers for it.
        """
        return await self._reach.whole(await self._reach.family(run_id))

    async def wait(
        self,
        run_id: str,
        *,
        seen: Collection[str | tuple[str, str]] = (),
        timeout: float | None = None,
    ) -> WorkflowRunOutput:
        """Wait until the run has ended or needs a person, and return it.

        It needs a person when something is open, in a child run too, and nothing else is at work;
        or when a requirement opens that is not in `seen`: ids of this run's, or pairs of a run's id
        and a requirement's. Waits on through deploys and outages of the workers.

        Raises:
            TimeoutError: after `timeout` seconds; None waits for ever.
            NoWorker: no worker answers when it begins to wait.
        """
        known = {(run_id, each) if isinstance(each, str) else each for each in seen}
        run_ids, closely, heard = [run_id], False, False
        async with asyncio.timeout(timeout), Following(self.client) as following:
            while True:
                await following.news(run_ids, closely=closely)
                output = await self._told(run_id, patient=heard)
                runs, heard = list(output.runs()), True
                if output.has_ended or (output.is_paused and not _is_at_work(output)):
                    return await self._reach.whole(output)
                if {(run.run_id, each.id) for run in runs for each in run.requirements} - known:
                    await asyncio.sleep(SETTLE)
                    return await self.get(run_id)
                run_ids = [run.run_id for run in runs if not run.has_ended]
                closely = output.is_paused

    async def _told(self, run_id: str, *, patient: bool) -> WorkflowRunOutput:
        while True:
            try:
                return await self._reach.family(run_id)
            except NoWorker:
                if not patient:
                    raise
            await asyncio.sleep(SETTLE)

    async def wait_for_end(self, run_id: str) -> WorkflowRunOutput:
        """Wait until the run has ended, however, and return how it ended."""
        status: WorkflowExecutionStatus | None = WorkflowExecutionStatus.RUNNING
        while status is WorkflowExecutionStatus.RUNNING:
            with contextlib.suppress(WorkflowFailureError):
                await self.handle(run_id).result()
            # A reset ends an execution, and the run goes on in another.
            status = (await self._reach.describe(run_id)).status
        return await self.get(run_id)

    async def watch(
        self,
        run_id: str,
        *,
        from_now: bool = False,
        until_paused: bool = False,
        seen: Collection[str | tuple[str, str]] = (),
    ) -> AsyncGenerator[AnyStreamEvent]:
        """Yield what happens in the run and in its child runs, until it has ended.

        It begins with the run's beginning, as far back as the server remembers: where that has been
        deleted, with a `RunSnapshotEvent`. With `from_now` it leaves out what has happened until it
        is iterated, and with `until_paused` it ends where `wait(run_id, seen=seen)` returns too.
        Works from any process, and after the end. Waits on through deploys and outages of the
        workers.

        Raises:
            RunNotFound: there is no such run.
            NoWorker: no worker answers when it begins.
        """
        until = (lambda: self.wait(run_id, seen=seen)) if until_paused else None
        watching = Watching(self.client, run_id, until=until)
        if from_now:
            await watching.join()
        async with contextlib.aclosing(watching.events()) as events:
            async for event in events:
                yield event

    async def requirements(self, run_id: str, *, resolved: bool = False) -> RunRequirements:
        """Return what the run asks, in full; works for hand-written workflows with a gate too."""
        return await self._reach.requirements(run_id, resolved=resolved)

    async def conversation(self, run_id: str, path: str = "", *, all: bool = False) -> Conversation:
        """Return what an agent, its user and its tools have said, up to its last turn.

        `path` is the agent's, or that of anything that it asks; without one it is the run's only
        agent. With `all`, instructions and thinking too. An agent's own run that has ended needs no
        worker for it; what an agent has said as a step is gone when the step ends.

        Raises:
            NoConversation: no agent is there, or several are and `path` says not which.
            RunNotFound: there is no such run.
            NoWorker: nobody is there to tell.
        """
        at, messages = await self._reach.messages(run_id, path)
        return Conversation(run_id=run_id, path=at, messages=said_of(messages, all=all))

    async def list_requirements(self, query: str | None = None) -> AsyncIterator[OpenRequirement]:
        """Yield every open requirement of every run: one List call per hundred runs, no call per
        run.

        `query` narrows the runs in Temporal's filter language. Visibility lags a little behind the
        runs. A run whose memo cannot be read hides no other: what its data converter raised is
        raised at the end.
        """
        narrowed = PENDING_RUNS if query is None else f"{PENDING_RUNS} AND ({query})"
        unreadable: Exception | None = None
        async for run in self.client.list_workflows(narrowed, page_size=100):
            try:
                memo = await run.memo()
            except Exception as error:  # A converter of the user's may raise anything.
                unreadable = unreadable or error
                continue
            for row in await self._rows(run, memo):
                yield row
        if unreadable is not None:
            raise unreadable

    async def _rows(self, run: WorkflowExecution, told: Mapping[str, Any]) -> list[OpenRequirement]:
        memo: dict[str, Any] = told.get(MEMO_KEY) or {"count": 0, "rows": []}
        asked: list[Any] = memo["rows"]
        if memo["count"] > len(asked):  # A memo holds so many rows and no more.
            # One run without a worker must not hide all the others.
            with contextlib.suppress(NoWorker, RunNotFound, WorkflowQueryFailedError):
                asked = (await self.requirements(run.id)).open
        return [OpenRequirement.of(run, each) for each in asked]

    def list_runs(
        self, query: str | None = None, *, limit: int | None = None
    ) -> AsyncIterator[RunRow]:
        """Yield those that run, and then those that have ended; one List call per hundred.

        `query` narrows them in Temporal's filter language. Visibility lags a little behind.
        """
        return list_runs(self.client, query, limit)

    async def page_of_runs(
        self, query: str | None = None, *, limit: int = PAGE, cursor: str | None = None
    ) -> RunPage:
        """Return one page of what `list_runs` yields, from where the `cursor` of the page before
        says; one List call. Raises `BadCursor`.
        """
        return await page_of_runs(self.client, query, limit, cursor)

    async def describe(self, run_id: str) -> RunRow:
        """Return a run as a row, which needs no worker; raises `RunNotFound`."""
        return await row_of(await self._reach.describe(run_id))

    # Answer

    async def resolve(
        self, run_id: str, resolution: AnyResolution | dict[str, Any]
    ) -> ResolutionRecord:
        """Answer one requirement, and return the record of the decision.

        Safe to call again: a decision without a `decision_id` gets one, which is the update's id
        too.

        Raises:
            ResolutionError: it was refused, with the reason; where somebody was first, with the
                `record`.
            RunNotFound: there is no such run.
            NoWorker: nobody was there to check it for ten seconds; with the decision id.
        """
        return await self._answering.resolve(run_id, resolution)

    async def resolve_many(
        self, decisions: Sequence[tuple[str, AnyResolution | dict[str, Any]]]
    ) -> list[ResolutionRecord | Exception]:
        """Answer many requirements of many runs; return each one's record or error, in order."""
        return await self._answering.resolve_many(decisions)

    async def cancel(self, run_id: str) -> None:
        """Ask the run to stop: what is open closes as withdrawn, running steps are told to stop."""
        try:
            await self.handle(run_id).cancel()
        except RPCError as error:
            raise not_found(run_id, error) from error


def _is_at_work(run: WorkflowRunOutput) -> bool:
    # A child run that has ended is about to be taken over; one that does nothing has just begun.
    if run.has_ended or run.running or any(_is_at_work(child) for child in run.child_runs):
        return True
    return not (run.requirements or run.child_runs or run.blocked)
