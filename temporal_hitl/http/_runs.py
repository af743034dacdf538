"""Runs: start, list, see, cancel."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from temporal_hitl.client import TASK_QUEUE, RunPage, RunRow
from temporal_hitl.conversation import Conversation
from temporal_hitl.http._access import Caller
from temporal_hitl.http._filters import Name, RunFilter
from temporal_hitl.http._problems import FieldProblem, ProblemRoute, documented, refused
from temporal_hitl.http._service import Here, IdempotencyKey, Operator, Service, Viewer, key_of
from temporal_hitl.pipeline import Workflow
from temporal_hitl.primitives import Definition
from temporal_hitl.requirements import slug
from temporal_hitl.run import RunOptions, WorkflowRunOutput

router = APIRouter(route_class=ProblemRoute, tags=["runs"])

REQUEST_KEY = "hitl_request"
"""The memo field with the digest of the request that started a run under an Idempotency-Key."""

RunId = Annotated[Name, Path(min_length=1, description="The run: its Temporal workflow id.")]


class Start(RunOptions):
    """What a run is started with."""

    pipeline: Name
    """The name of the pipeline."""
    session_id: Name | None = None
    """Runs of one session are listed together."""
    input: JsonValue = None
    """What the first step is given."""


class Started(BaseModel):
    """A run that was started."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    run_id: str
    """What addresses it everywhere."""


class Runs(RunFilter):
    """Which runs to list, and how many."""

    limit: int = Field(default=100, ge=1, le=1000)
    """How many at most."""
    cursor: str | None = Field(default=None, max_length=10_000)
    """What the page before returned."""


@router.post("/runs", status_code=201, responses={200: {"model": Started}, **documented(409)})
async def start_run(
    start: Start,
    here: Here,
    caller: Operator,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Started:
    """Start a run. With an `Idempotency-Key`, the same request sent again returns the same run."""
    run_id, is_new = await begin(here, caller, start, idempotency_key)
    if not is_new:
        response.status_code = 200
    response.headers["Location"] = f"{request.url.path}/{quote(run_id, safe='')}"
    return Started(run_id=run_id)


async def begin(here: Service, caller: Caller, start: Start, key: str | None) -> tuple[str, bool]:
    """Start a run, or find the one that the same request has started under `key`; return its id,
    and whether it is new.
    """
    definition = _definition(here, start.pipeline)
    start = _for(caller, start)
    options = RunOptions(**start.model_dump(include=set(RunOptions.model_fields)))
    how: dict[str, Any] = {}
    if key is not None:
        how = {
            "run_id": f"{slug(definition.name)}-{key_of(caller, definition.name, key)}",
            "memo": {REQUEST_KEY: key_of(caller, key, start.model_dump_json())},
            "id_reuse_policy": WorkflowIDReusePolicy.REJECT_DUPLICATE,
        }
    try:
        run_id = await here.client.start(
            definition, start.input, options=_over(definition, options), **how, **_queue(definition)
        )
    except WorkflowAlreadyStartedError:
        await _check_same(here, how["run_id"], how["memo"])
        return how["run_id"], False
    return run_id, True


def _for(caller: Caller, start: Start) -> Start:
    # Who may not approve it is who started it, and that is who calls.
    if caller.user is None:
        return start
    if start.user_id not in (None, caller.user):
        told = f"who starts a run is who calls, {caller.user!r}; leave it out"
        problem = FieldProblem(field="body.user_id", detail=told)
        raise refused(422, f"user_id: {told}", errors=[problem])
    return start.model_copy(update={"user_id": caller.user})


def _definition(here: Service, name: str) -> Definition:
    if name not in here.pipelines:
        there = ", ".join(here.pipelines) or "none"
        problem = FieldProblem(field="body.pipeline", detail=f"no pipeline {name!r}")
        raise refused(422, f"no pipeline {name!r} here; there are: {there}", errors=[problem])
    return here.pipelines[name].definition


def _over(definition: Definition, options: RunOptions) -> RunOptions:
    # As `Workflow.run` does.
    made = definition.session_state if isinstance(definition, Workflow) else {}
    return options.model_copy(update={"session_state": {**made, **options.session_state}})


def _queue(definition: Definition) -> dict[str, str]:
    queue = definition.task_queue if isinstance(definition, Workflow) else TASK_QUEUE
    return {} if queue == TASK_QUEUE else {"task_queue": queue}


async def _check_same(here: Service, run_id: str, memo: dict[str, str]) -> None:
    there = await here.client.handle(run_id).describe()
    if await there.memo_value(REQUEST_KEY, None) != memo[REQUEST_KEY]:
        raise refused(
            409,
            f"this Idempotency-Key has started run {run_id!r} with another request; use a new key",
            kind="IdempotencyConflict",
        )


@router.get("/runs", responses=documented())
async def list_runs(runs: Annotated[Runs, Query()], here: Here, _: Viewer) -> RunPage:
    """List the runs of the namespace: those that run, then those that have ended, latest first."""
    return await here.client.page_of_runs(runs.query(), limit=runs.limit, cursor=runs.cursor)


@router.post("/runs/{run_id:path}/cancel", status_code=202, responses=documented(404))
async def cancel_run(run_id: RunId, here: Here, _: Operator) -> RunRow:
    """Ask a run to stop, and return how it stands; nothing happens to one that has ended."""
    stands = await here.client.describe(run_id)
    if stands.ended_at is None:
        await here.client.cancel(run_id)
    return stands


AgentPath = Annotated[
    Name, Query(description="The agent's path, or that of anything it asks; else the only one's.")
]
Whole = Annotated[bool, Query(description="Whether to tell instructions and thinking, too.")]


@router.get("/runs/{run_id:path}/conversation", responses=documented(404))
async def get_conversation(
    run_id: RunId, here: Here, _: Viewer, path: AgentPath = "", all: Whole = False
) -> Conversation:
    """Return what an agent, its user and its tools have said, up to the agent's last turn."""
    return await here.client.conversation(run_id, path, all=all)


last = APIRouter(route_class=ProblemRoute, tags=["runs"])
"""What matches any path below a run: after all else, as the id of a run may hold slashes."""


@last.get("/runs/{run_id:path}", responses=documented(404))
async def get_run(run_id: RunId, here: Here, _: Viewer) -> WorkflowRunOutput:
    """Return a run as it stands or as it ended: outputs, what is open, what was decided."""
    return await here.client.get(run_id)
