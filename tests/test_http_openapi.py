"""The OpenAPI document is what the service does: schemathesis calls it with what the document
allows, and with what it does not.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Parallel, Step, StepInput, UserInputField, Workflow
from temporal_hitl.approvals import ApprovalsFile
from temporal_hitl.http import BearerTokens, hitl_router, tell_problems
from tests.stage import ended, paused, replays, serving
from tests.web import bearer, listening, tokens

ENDLESS = {"/requirements/events", "/runs/{run_id}/events"}
"""Streams, which never end where they begin; `test_http_events` has them."""
CHECKED = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "missing_required_header",
    "ignored_auth",
]


def work(step_input: StepInput) -> Any:
    return step_input.input


FIELDS = [UserInputField("amount", "int")]
every = Workflow(
    "every",
    [
        Parallel(
            Step("go", work, requires_confirmation=True),
            Step("fill", work, requires_user_input=True, user_input_schema=FIELDS),
            Step("look", work, requires_output_review=True),
            name="all",
        )
    ],
)


@pytest.mark.parametrize("examples", [2, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
async def test_the_document_is_what_is_done(
    env: WorkflowEnvironment, tmp_path: Path, examples: int
) -> None:
    """Every answer, to what the document allows and to what it does not, is one that it names, of
    the shape that it says, and none is a 500.
    """
    secret, kept = tokens(ana=["viewer", "reviewer", "operator"])
    async with serving(env, every) as client:
        app = FastAPI()
        options = {"authenticator": BearerTokens(kept), "approvals": ApprovalsFile(tmp_path / "a")}
        app.include_router(hitl_router(client, [every], **options))
        tell_problems(app)
        run = await client.start(every, "input", run_id="orders/7" if examples < 5 else "orders/8")
        await paused(client, run)
        async with listening(app) as http:
            schema = schemathesis.openapi.from_dict(app.openapi())
            schema.config.update(base_url=str(http.base_url))
            there = {
                "run_id": [run],
                "requirement_id": ["all.go", "all.fill"],
                "pipeline": ["every"],
            }
            await asyncio.to_thread(explore, schema, examples, there, bearer(secret["ana"]))
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), every)


def explore(schema: Any, examples: int, there: dict[str, list[str]], headers: Any) -> None:
    """Call every operation so often in each mode, sometimes of what is there."""
    checks: Any = CHECKS.get_by_names(CHECKED)
    limits = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    operations = [found.ok() for found in schema.get_all_operations()]
    # What is cancelled asks nothing any more.
    for operation in sorted(operations, key=lambda each: "cancel" in each.path):
        if operation.path in ENDLESS:
            continue
        for mode in GenerationMode:

            @limits
            @given(
                case=operation.as_strategy(generation_mode=mode),
                known=st.fixed_dictionaries({k: st.sampled_from(v) for k, v in there.items()}),
                real=st.booleans(),
            )
            def call(case: Case, known: dict[str, str], real: bool) -> None:
                if real:
                    case.path_parameters |= {k: known[k] for k in case.path_parameters}
                case.call_and_validate(headers=headers, checks=checks)

            call()
