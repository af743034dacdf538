"""Which error is which status: one mapping, for all that a caller may be told."""

from __future__ import annotations

import pytest
from temporalio import workflow
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from temporal_hitl.errors import (
    AlreadyResolved,
    DecisionConflict,
    DefinitionError,
    HitlError,
    MalformedResolution,
    NoWorker,
    ResolutionError,
    RunFailed,
    RunNotFound,
    SearchAttributesMissing,
    ServerError,
    TooLate,
    UnknownRequirement,
)
from temporal_hitl.http._problems import told
from tests.stage import ended, replays, serving
from tests.web import web

STATUSES: list[tuple[Exception, int, bool]] = [
    (RunNotFound("x"), 404, False),
    (UnknownRequirement("x"), 404, False),
    (AlreadyResolved("x"), 409, False),
    (DecisionConflict("x"), 409, False),
    (TooLate("x"), 410, False),
    (MalformedResolution("x"), 422, False),
    (ResolutionError("x"), 422, False),
    (DefinitionError("x"), 422, False),
    (NoWorker("x"), 503, True),
    (ServerError("x"), 503, True),
    (SearchAttributesMissing("x"), 503, True),
    (TimeoutError("x"), 503, True),
    (RPCError("x", RPCStatusCode.NOT_FOUND, b""), 404, False),
    (RPCError("x", RPCStatusCode.INVALID_ARGUMENT, b""), 422, False),
    (RPCError("x", RPCStatusCode.RESOURCE_EXHAUSTED, b""), 429, True),
    (RPCError("x", RPCStatusCode.UNAVAILABLE, b""), 503, True),
    (RPCError("x", RPCStatusCode.DEADLINE_EXCEEDED, b""), 503, True),
    (RPCError("x", RPCStatusCode.PERMISSION_DENIED, b""), 503, True),
]


@pytest.mark.parametrize(("error", "status", "later"), STATUSES, ids=lambda each: repr(each)[:40])
def test_every_error_is_told(error: Exception, status: int, later: bool) -> None:
    """Each error has its status, and those that pass by themselves say when to try again."""
    refused = told(error)

    assert refused is not None
    assert status == refused.problem.status
    assert refused.problem.detail
    assert later == ("Retry-After" in (refused.headers or {}))


@pytest.mark.parametrize(
    "error", [ValueError("x"), RuntimeError("x"), HitlError("x"), RunFailed("")]
)
def test_a_bug_is_no_problem(error: Exception) -> None:
    """What nobody said is a caller's or an operator's stays a bug of ours."""
    assert told(error) is None


@workflow.defn(sandboxed=False)
class NoGate:
    """A workflow of a user's that has nothing to do with people."""

    @workflow.init
    def __init__(self) -> None:
        self.done = False

    @workflow.run
    async def run(self) -> None:
        """Wait for the signal."""
        await workflow.wait_condition(lambda: self.done)

    @workflow.signal
    def finish(self) -> None:
        """End."""
        self.done = True


async def test_a_run_without_a_gate(env: WorkflowEnvironment) -> None:
    """A run of a workflow that has no gate asks nobody: 404, and it goes on; among many answers the
    others count.
    """
    async with serving(env, workflows=[NoGate]) as client, web(client) as http:
        run = await client.start("NoGate")
        path, yes = f"/runs/{run}/requirements/a", {"action": "confirm"}
        answers = [
            await http.get(f"/runs/{run}"),
            await http.get(f"/runs/{run}/requirements"),
            await http.get(path),
            await http.post(f"{path}/resolution", json=yes),
        ]
        each = {"requirement_id": "a", "resolution": yes}
        many = [{"run_id": which, **each} for which in (run, "nowhere")]
        told = await http.post("/resolutions", json={"resolutions": many})
        await client.handle(run).signal("finish")
        output = await ended(client, run)
        await replays(client.handle(run), workflows=[NoGate])

    assert [404] * 4 == [each.status_code for each in answers]
    assert (200, [404, 404]) == (told.status_code, [each["status"] for each in told.json()])
    assert "COMPLETED" == output.status.value
