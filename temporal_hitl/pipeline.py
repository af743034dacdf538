"""`Workflow`: a definition that runs itself, sync or async, on the server that is configured or
embedded.

Owns the seeds' calls (`run`, `continue_run`, ... and their async twins) and the one background loop
per process on which client and worker live. The twins are one path: the sync call waits for the
same coroutine.
"""

from __future__ import annotations

import asyncio
import builtins
import sys
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypedDict, TypeVar, Unpack

from temporal_hitl._attributes import HITL_TAGS, session_tag
from temporal_hitl._compile import compile_definition
from temporal_hitl._site import InMemoryDb, PostgresDb, Site, SqliteDb, background, site_of
from temporal_hitl.client import TASK_QUEUE, HitlClient
from temporal_hitl.drafts import AnyDraft
from temporal_hitl.errors import DefinitionError, ResolutionError, RunFailed, RunNotFound
from temporal_hitl.local import ui_url
from temporal_hitl.plan import Plan
from temporal_hitl.primitives import Definition, NodeLike, Steps
from temporal_hitl.requirements import AnyRequirement, AnyResolution, Refusal
from temporal_hitl.run import RunOptions, RunStatus, WorkflowRunOutput

__all__ = ["InMemoryDb", "PostgresDb", "SqliteDb", "Workflow", "WorkflowSession"]

T = TypeVar("T")


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
    ) -> None:
        super().__init__(name, steps, description)
        self.plan: Plan = compile_definition(self).plan
        """The definition as data: what a run that starts now will walk."""
        self.db = db
        self.session_id = session_id
        self.session_state = dict(session_state or {})
        self.task_queue = task_queue
        self._runs: list[str] = []

    # Start

    def run(self, input: Any = None, **options: Unpack[StartOptions]) -> WorkflowRunOutput:
        """Start a run, and return when it has ended or needs a person; options as `arun`."""
        return _wait_for("arun", lambda: self._run(input, **options))

    async def arun(self, input: Any = None, **options: Unpack[StartOptions]) -> WorkflowRunOutput:
        """Start a run, and return when it has ended or needs a person.

        A run that needs a person is safe with the server; `continue_run` goes on from any process.
        Raises what made the run fail: the executor's own exception type where it is a builtin one,
        else `RunFailed`.
        """
        return await _aside(self._run(input, **options))

    async def _run(
        self,
        input: Any,
        *,
        run_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        session_state: Mapping[str, Any] | None = None,
        additional_data: Mapping[str, Any] | None = None,
    ) -> WorkflowRunOutput:
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
        return _or_raise(await client.wait(started))

    async def _client(self) -> HitlClient:
        site: Site = await site_of(self.db, self.task_queue)
        return await site.serve(self)

    # Go on

    def continue_run(
        self, run_response: WorkflowRunOutput | None = None, **options: Unpack[ContinueOptions]
    ) -> WorkflowRunOutput:
        """Send the decisions filled in, and go on as `acontinue_run` does."""
        return _wait_for("acontinue_run", lambda: self._continue(run_response, **options))

    async def acontinue_run(
        self, run_response: WorkflowRunOutput | None = None, **options: Unpack[ContinueOptions]
    ) -> WorkflowRunOutput:
        """Send the decisions filled in, and return when the run has ended or needs a person.

        Give the output that `run` returned, with its requirements decided; or `run_id=`, from any
        process and weeks later, with `step_requirements=` taken from `get_run_output(run_id)`. Only
        the decisions are sent, and of forms those that lack no required value. Refused ones are in
        the output's `refused`.

        Raises:
            ValueError: nothing was decided although something is open; the message names it, and
                what a form lacks that was begun.
            ResolutionError: every decision was refused; this is the first refusal.
        """
        return await _aside(self._continue(run_response, **options))

    async def _continue(
        self,
        run_response: WorkflowRunOutput | None = None,
        *,
        run_id: str | None = None,
        step_requirements: Sequence[AnyDraft] | None = None,
    ) -> WorkflowRunOutput:
        target = run_id or (run_response.run_id if run_response is not None else None)
        if target is None:
            raise DefinitionError("continue_run needs the output of a run, or run_id=")
        drafts = _drafts(run_response) if step_requirements is None else step_requirements
        decisions = [(each.run_id, made) for each in drafts if (made := each.resolution())]
        client = await self._client()
        if not decisions:
            await _check_nothing_open(client, target, drafts)
        refused = await _send(client, decisions)
        seen = _open(run_response) if run_response is not None else {}
        output = _or_raise(await client.wait(target, seen=seen))
        return (
            output.model_copy(update={"refused": [*output.refused, *refused]})
            if refused
            else output
        )

    # Look, and stop

    def get_run_output(self, run_id: str) -> WorkflowRunOutput:
        """Return a run as it stands or as it ended, failed ones too; raises `RunNotFound`."""
        return _wait_for("aget_run_output", lambda: self._get(run_id))

    async def aget_run_output(self, run_id: str) -> WorkflowRunOutput:
        """Return a run as it stands or as it ended, failed ones too; raises `RunNotFound`."""
        return await _aside(self._get(run_id))

    async def _get(self, run_id: str) -> WorkflowRunOutput:
        return await (await self._client()).get(run_id)

    def web_url(self, run_id: str) -> str | None:
        """Return the run's page in the Temporal Web UI; None unless the server is embedded."""
        return _wait_for("aweb_url", lambda: self._web_url(run_id))

    async def aweb_url(self, run_id: str) -> str | None:
        """Return the run's page in the Temporal Web UI; None unless the server is embedded."""
        return await _aside(self._web_url(run_id))

    async def _web_url(self, run_id: str) -> str | None:
        server = (await site_of(self.db, self.task_queue)).server
        return None if server is None else ui_url(server.address, run_id)

    def get_session(self, session_id: str | None = None) -> WorkflowSession:
        """Return the runs of a session, oldest first; of this object's own where none is named."""
        return _wait_for("aget_session", lambda: self._session(session_id))

    async def aget_session(self, session_id: str | None = None) -> WorkflowSession:
        """Return the runs of a session, oldest first; of this object's own where none is named."""
        return await _aside(self._session(session_id))

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
        return _wait_for("acancel_run", lambda: self._cancel(run_id))

    async def acancel_run(self, run_id: str) -> WorkflowRunOutput:
        """Stop a run at once, paused or not, and return how it ended."""
        return await _aside(self._cancel(run_id))

    async def _cancel(self, run_id: str) -> WorkflowRunOutput:
        client = await self._client()
        await client.cancel(run_id)
        return await client.wait_for_end(run_id)


def _drafts(output: WorkflowRunOutput | None) -> Sequence[AnyDraft]:
    return [] if output is None else output.drafts()


def _open(output: WorkflowRunOutput) -> dict[tuple[str, str], AnyRequirement]:
    return {(run.run_id, each.id): each for run in output.runs() for each in run.requirements}


async def _check_nothing_open(client: HitlClient, run_id: str, drafts: Sequence[AnyDraft]) -> None:
    missing = {(each.run_id, each.id): ", ".join(each.missing_values) for each in drafts}
    waiting: list[str] = []
    for (asks, key), each in _open(await client.get(run_id)).items():
        of = "" if asks == run_id else f" of run {asks!r}"
        lacks = f"; {names} is missing" if (names := missing.get((asks, key))) else ""
        waiting.append(f"{key}{of} ({each.kind}: {each.message}{lacks})")
    if waiting:
        raise ValueError(f"nothing was decided; run {run_id!r} waits for {', '.join(waiting)}")


async def _send(
    client: HitlClient, decisions: Sequence[tuple[str, AnyResolution]]
) -> list[Refusal]:
    answers = await client.resolve_many(decisions)
    errors = [answer for answer in answers if isinstance(answer, Exception)]
    if errors and (
        len(errors) == len(decisions)
        or not all(isinstance(each, ResolutionError) for each in errors)
    ):
        raise errors[0]
    return [
        Refusal(
            at=datetime.now(UTC),
            door="update",
            payload=decision.model_dump_json()[:500],
            reason=str(answer),
        )
        for (_, decision), answer in zip(decisions, answers, strict=True)
        if isinstance(answer, Exception)
    ]


def _or_raise(output: WorkflowRunOutput) -> WorkflowRunOutput:
    if output.status is not RunStatus.error:
        return output
    message = output.error or "the run failed"
    failed = RunFailed(message, run_output=output)
    module, _, name = (output.error_type or "").rpartition(".")
    own = getattr(builtins, name, None) if module == "builtins" else None
    if isinstance(own, type) and issubclass(own, Exception):
        raise own(message) from failed
    raise failed


async def _aside(work: Coroutine[Any, Any, T]) -> T:
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, background()))


def _wait_for(twin: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    if _in_a_loop() and not _in_a_notebook():
        raise RuntimeError(
            f"a sync call would block the running event loop; write `await workflow.{twin}(...)`"
        )
    coroutine = work()
    try:
        future = asyncio.run_coroutine_threadsafe(coroutine, background())
    except BaseException:  # Ctrl-C may come at any line.
        coroutine.close()
        raise
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _in_a_notebook() -> bool:
    # A kernel runs each plain cell inside its own loop, where blocking is what a sync cell does.
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None
