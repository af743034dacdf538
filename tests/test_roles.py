"""Authors say who may answer: on every primitive and every question of a gate."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from temporal_hitl import (
    Condition,
    HitlPlugin,
    HumanReview,
    Loop,
    Parallel,
    Router,
    Step,
    StepInput,
    Steps,
    Workflow,
    pause,
)
from temporal_hitl.errors import DefinitionError
from temporal_hitl.plan import ReviewPlan
from tests.desk import Desk
from tests.stage import WAIT, ended, new_queue, paused, replays, serving, until

ROLES = ("finance", "chief-of.2")


def work() -> str:
    return "done"


def breaks() -> None:
    raise OSError("no such table")


@pause(requires_confirmation=True)
def marked() -> str:
    return "done"


def yes(step_input: StepInput) -> bool:
    return True


@activity.defn
async def beside() -> str:
    return "beside"


@workflow.defn
class Calls:
    @workflow.run
    async def run(self) -> list[str]:
        limits: dict[str, Any] = {"start_to_close_timeout": timedelta(seconds=9)}
        once = RetryPolicy(maximum_attempts=1)
        calls = [
            workflow.execute_activity("beside", retry_policy=once, result_type=str, **limits)
            for _ in range(10)
        ]
        return list(await asyncio.gather(*calls))


async def test_every_question_has_them(env: WorkflowEnvironment) -> None:
    """Whatever a node asks, before, after, or about a failure, is for the roles that its author
    named, in either spelling; what is beside it is for everybody.
    """
    review = HumanReview(requires_confirmation=True, roles=list(ROLES))
    flat: dict[str, Any] = {"requires_confirmation": True, "roles": ROLES}
    nodes = [
        Step("free", work, requires_confirmation=True),
        Step("a", work, human_review=review),
        Step("b", work, requires_user_input=True, roles=ROLES),
        Step("c", work, requires_output_review=True, roles=ROLES),
        Step("d", breaks, on_error="pause", max_retries=0, roles=ROLES),
        Step("e", marked, roles=ROLES),
        Steps(steps=[Step("f1", work)], name="f", **flat),
        Condition(evaluator=yes, steps=[Step("g1", work)], name="g", **flat),
        Router([Step("h1", work)], name="h", requires_user_input=True, roles=ROLES),
        Loop([Step("i1", work)], name="i", requires_iteration_review=True, roles=ROLES),
        Parallel(Step("j1", work), name="j", **flat),
    ]
    definition = Workflow("for_roles", [Parallel(*nodes, name="p")])
    async with serving(env, definition) as client:
        run = await client.start(definition)

        async def all_ask() -> Any:
            found = (await client.requirements(run)).open
            return found if len(found) == len(nodes) else None

        asked = await until(all_ask)
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), definition)

    assert {"p.free": ()} == {each.id: each.roles for each in asked if each.roles != ROLES}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"roles": "finance"}, r"roles=...: 'finance' is no list of roles; write \['finance'\]"),
        ({"roles": ["Finance"]}, "'Finance' is no role; write a word in lower case"),
        ({"roles": [1]}, "1 is no role"),
        ({"roles": [""]}, "'' is no role"),
        ({"roles": ["finance"], "requires_confirmation": None}, "nobody is asked anything"),
        ({"roles": ["x"], "human_review": HumanReview(roles=["y"])}, "say the same thing twice"),
    ],
)
async def test_roles_that_are_none(said: dict[str, Any], told: str) -> None:
    """What is no role, and roles of a node that asks nobody, are refused where they are written."""
    options: dict[str, Any] = {"requires_confirmation": True, **said}
    if "human_review" in said:
        del options["requires_confirmation"]
    with pytest.raises(DefinitionError, match=told):
        Step("pay", work, **options)


def test_plans_of_before() -> None:
    """A plan that was recorded before there were roles is for everybody, and one without stays
    as it was recorded.
    """
    before = {"requires_confirmation": True}

    assert before == ReviewPlan.model_validate(before).model_dump(exclude_defaults=True)
    assert () == ReviewPlan.model_validate(before).roles


async def test_a_gate_says_them_too(env: WorkflowEnvironment) -> None:
    """A question of a gate is for the roles that its author named, and a wrong one ends the run."""
    asks = [{"kind": "confirm", "name": "pay", "roles": list(ROLES)}]
    async with serving(env, workflows=[Desk]) as client:
        handles = [
            await env.client.start_workflow(
                "Desk", args=[each], id=new_queue(), task_queue=client.task_queue
            )
            for each in (asks, [{**asks[0], "roles": ["A"]}])
        ]
        (asked,) = (await paused(client, handles[0].id)).requirements
        with pytest.raises(WorkflowFailureError) as failed:
            await asyncio.wait_for(handles[1].result(), WAIT)
        await client.cancel(handles[0].id)
        await client.wait_for_end(handles[0].id)
        await replays(handles[0], workflows=[Desk])

    assert ROLES == asked.roles
    assert isinstance(failed.value.cause, ApplicationError)
    assert "pay: roles: 'A' is no role; write a word in lower case" == failed.value.cause.message


async def test_a_worker_of_workflows_alone(env: WorkflowEnvironment) -> None:
    """That a worker of workflows verifies signatures does not have it take the activities of the
    other workers on its queue.
    """
    queue, client = (
        new_queue(),
        await Client.connect(str(env.client.service_client.config.target_host)),
    )
    async with (
        Worker(env.client, task_queue=queue, workflows=[Calls], plugins=[HitlPlugin()]),
        Worker(client, task_queue=queue, activities=[beside]),
    ):
        told = await env.client.execute_workflow(Calls.run, id=queue, task_queue=queue)

    assert ["beside"] * 10 == told
