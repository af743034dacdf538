"""Requirements over HTTP: list, count, see in full, answer one and many."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import pytest
from httpx2 import AsyncClient
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Confirm,
    HitlClient,
    HumanReview,
    Parallel,
    Router,
    Step,
    StepInput,
    UserInputField,
    Workflow,
    _answering,
)
from temporal_hitl.http import BearerTokens, _snapshot
from tests.stage import ended, paused, replays, serving, until
from tests.web import bearer, tokens, web

DAY = timedelta(days=1)


def work(step_input: StepInput) -> Any:
    return step_input.additional_data.get("user_input") or "worked"


FIELDS = [
    UserInputField("amount", "int", description="Euro"),
    UserInputField("mode", allowed_values=("fast", "slow")),
]
kinds = Workflow(
    "kinds",
    [
        Parallel(
            Step("go", work, requires_confirmation=True, confirmation_message="Go on, {input}?"),
            Step("fill", work, requires_user_input=True, user_input_schema=FIELDS),
            Router([Step("left", work), Step("right", work)], name="way", requires_user_input=True),
            Step("look", work, requires_output_review=True),
            name="all",
        )
    ],
)
gates = [Step(name, work, requires_confirmation=True) for name in ("a", "b")]
two = Workflow("two", [Parallel(*gates, name="p")])
ask = Workflow("ask", [Step("ask", work, requires_confirmation=True)])
late = Workflow(
    "late", [Step("ask", work, human_review=HumanReview(requires_confirmation=True, timeout=DAY))]
)
below = Workflow("below", [Step("deep", workflow=ask)])


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the list renewed so often that a test need not wait for it."""
    monkeypatch.setattr(_snapshot, "EVERY", 0.1)
    monkeypatch.setattr(_snapshot, "CALL", 0.0)


async def rows(http: AsyncClient, count: int, **filters: Any) -> list[dict[str, Any]]:
    """Return what is listed once it is so many."""

    async def listed() -> list[dict[str, Any]]:
        items = (await http.get("/requirements", params=filters)).json()["items"]
        return items if len(items) == count else []

    return await until(listed, every=0.1)


async def test_list_and_count(env: WorkflowEnvironment) -> None:
    """The list has what is open in all runs, filtered by kind, pipeline, run and the run at the
    top, and the count agrees.
    """
    async with (
        serving(env, kinds, below) as client,
        web(client, kinds, below) as http,
    ):
        run, top = await client.start(kinds, "Ada"), await client.start(below)
        await asyncio.gather(paused(client, run), paused(client, top))
        four = await rows(http, 4, run_id=run)
        child = await rows(http, 1, root_run_id=top)
        one = await rows(http, 1, run_id=run, kind="route")
        counted = (await http.get("/requirements/count", params={"run_id": run})).json()
        late = (await http.get("/requirements/count", params={"overdue": True})).json()
        none = (await http.get("/requirements", params={"run_id": run, "pipeline": "ask"})).json()
        await asyncio.gather(client.cancel(run), client.cancel(top))
        await asyncio.gather(ended(client, run), ended(client, top))
        await replays(client.handle(run), kinds)

    assert {"all.go", "all.fill", "all.way", "all.look"} == {each["id"] for each in four}
    assert ["Go on, {input}?"] == [each["message"] for each in four if each["id"] == "all.go"]
    assert [(f"{top}.deep", "ask", "ask")] == [
        (each["run_id"], each["workflow_name"], each["id"]) for each in child
    ]
    assert ["all.way"] == [each["id"] for each in one]
    assert (4, 0) == (counted["count"], counted["overdue"])
    assert (0, 0) == (late["count"], late["overdue"])
    assert [] == none["items"]


async def test_sorted_and_paged(env: WorkflowEnvironment) -> None:
    """By deadline what is due first comes first and what has none last, by age what waits longest;
    pages follow one another through a cursor, which is refused for another order.
    """
    steps = [
        Step(f"s{number}", work, requires_confirmation=True, hitl_timeout=timeout)
        for number, timeout in enumerate([None, 3 * DAY, DAY, None, 2 * DAY])
    ]
    several = Workflow("several", [Parallel(*steps, name="p")])
    async with serving(env, several) as client, web(client, several) as http:
        run = await client.start(several)
        await paused(client, run)
        await rows(http, 5, run_id=run)
        orders = {sort: await pages(http, run, sort) for sort in ("deadline", "age")}
        first = (await http.get("/requirements", params={"limit": 1})).json()["cursor"]
        wrong = [
            await http.get("/requirements", params={"sort": "age", "cursor": each})
            for each in (first, "x", "e30=", "W10=", "bnVsbA==", "ü", "WyJhZ2UiLDEsMiwzXQ==")
        ]
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), several)

    assert ["p.s2", "p.s4", "p.s1", "p.s0", "p.s3"] == orders["deadline"]
    assert ["p.s0", "p.s1", "p.s2", "p.s3", "p.s4"] == orders["age"]
    assert [(422, "query.cursor")] * len(wrong) == [
        (each.status_code, each.json()["errors"][0]["field"]) for each in wrong
    ]


async def pages(http: AsyncClient, run: str, sort: str) -> list[str]:
    """Return the ids of a run's requirements from pages of two."""
    found, wanted = list[str](), {"run_id": run, "sort": sort, "limit": 2}
    for _ in range(3):
        page = (await http.get("/requirements", params=wanted)).json()
        found += [each["id"] for each in page["items"]]
        wanted["cursor"] = page["cursor"]
    assert wanted["cursor"] is None
    return found


async def test_one_in_full(env: WorkflowEnvironment) -> None:
    """A requirement is told with its content, its form as JSON schema and the digest of both, and
    the digest of something else is refused.
    """
    async with serving(env, kinds) as client, web(client, kinds) as http:
        run = await client.start(kinds, "Ada")
        output = await paused(client, run)
        path = f"/runs/{run}/requirements"
        told = {
            each.id: (await http.get(f"{path}/{each.id}")).json() for each in output.requirements
        }
        none = await http.get(f"{path}/nothing")
        stale = await http.post(
            f"{path}/all.go/resolution",
            json={"action": "confirm", "digest": told["all.look"]["digest"]},
        )
        right = await http.post(
            f"{path}/all.go/resolution",
            json={"action": "confirm", "digest": told["all.go"]["digest"]},
        )
        gone = await http.get(f"{path}/all.go")
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), kinds)

    assert {each.id: each.model_dump(mode="json") for each in output.requirements} == told
    assert "Go on, Ada?" == told["all.go"]["message"]
    assert "worked" == told["all.look"]["output"]
    assert ["fast", "slow"] == told["all.fill"]["form"]["properties"]["mode"]["enum"]
    assert (404, 422, 200, 410) == tuple(each.status_code for each in (none, stale, right, gone))
    assert right.json() == gone.json()["record"]


MISFITS: list[tuple[str, Any, set[str | None]]] = [
    (
        "all.go",
        {"action": "confirm", "comment": 1, "more": 2},
        {"body.confirm.comment", "body.confirm.more"},
    ),
    ("all.go", {"action": "fly"}, {"body"}),
    ("all.go", {}, {"body"}),
    ("all.go", [], {"body"}),
    ("all.go", None, {"body"}),
    ("all.go", {"action": "confirm", "requirement_id": "b"}, {"body.confirm.requirement_id"}),
    ("all.go", {"action": "confirm", "decision_id": "b"}, {"body.confirm.decision_id"}),
    ("all.go", {"action": "retry"}, set()),
    ("all.fill", {"action": "answer"}, {"body.answer.values"}),
    (
        "all.fill",
        {"action": "answer", "values": {"amount": "5", "mode": "no"}},
        {"body.values.amount", "body.values.mode"},
    ),
    (
        "all.fill",
        {"action": "answer", "values": {"mode": "fast", "x": 1}},
        {"body.values.amount", "body.values.x"},
    ),
    ("all.way", {"action": "select", "choices": ["up", "up"]}, {None}),
]  # fmt: skip


async def test_every_problem_by_field(env: WorkflowEnvironment) -> None:
    """What does not fit is refused with every problem by field, whether the body, the form or the
    run says so, and changes nothing.
    """
    async with serving(env, kinds) as client, web(client, kinds) as http:
        run = await client.start(kinds, "Ada")
        before = await paused(client, run)
        answers = [
            await http.post(f"/runs/{run}/requirements/{key}/resolution", json=body)
            for key, body, _ in MISFITS
        ]
        after = await client.get(run)
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), kinds)

    assert [(422, "application/problem+json")] * len(MISFITS) == [
        (each.status_code, each.headers["content-type"]) for each in answers
    ]
    assert [fields for *_, fields in MISFITS] == [
        {one["field"] for one in each.json().get("errors", [])} for each in answers
    ]
    assert (before.requirements, []) == (after.requirements, after.resolutions)


async def test_first_answer_wins(env: WorkflowEnvironment) -> None:
    """The first answer counts under the caller's name; the same again, with its key, is the same
    success; every other is told who won, and a key that stands for another answer is refused.
    """
    secret, kept = tokens(ana=["reviewer"], bo=["reviewer"])
    key, may = {"Idempotency-Key": "k1"}, BearerTokens(kept)
    async with serving(env, two) as client, web(client, two, authenticator=may) as http:
        run = await client.start(two)
        await paused(client, run)

        async def answer(user: str, which: str, **body: Any) -> Any:
            headers = {**bearer(secret[user]), **body.pop("headers", {})}
            path = f"/runs/{run}/requirements/p.{which}/resolution"
            return await http.post(path, json={"action": "confirm", **body}, headers=headers)

        first = await answer("ana", "a", comment="yes", headers=key)
        again = await answer("ana", "a", comment="yes", headers=key)
        changed = await answer("ana", "a", comment="no", headers=key)
        lost = await answer("bo", "a", headers=key)
        reused = await answer("ana", "b", headers=key)
        claimed = await answer("bo", "b", resolved_by="ana")
        none = await answer("bo", "c")
        second = await answer("bo", "b", resolved_by="bo")
        output = await ended(client, run)
        after = await answer("ana", "a", comment="yes", headers=key)
        await replays(client.handle(run), two)

    decided = first.json()["resolution"]
    assert (200, "ana", "yes") == (first.status_code, decided["resolved_by"], decided["comment"])
    assert first.json() == again.json() == after.json()
    assert [409, 409, 409, 422, 404, 200] == [
        each.status_code for each in (changed, lost, reused, claimed, none, second)
    ]
    assert [first.json()] * 3 == [each.json()["record"] for each in (changed, lost, reused)]
    assert "ana" in lost.json()["detail"]
    assert ["body.resolved_by"] == [each["field"] for each in claimed.json()["errors"]]
    assert ["ana", "bo"] == [each.resolved_by for each in output.resolutions]
    assert [first.json(), second.json()] == [
        each.model_dump(mode="json") for each in output.resolutions
    ]


async def test_an_answer_without_a_key_gets_one(env: WorkflowEnvironment) -> None:
    """The response to an answer names the key under which it may be sent again."""
    async with serving(env, ask) as client, web(client, ask) as http:
        run = await client.start(ask)
        await paused(client, run)
        path, body = f"/runs/{run}/requirements/ask/resolution", {"action": "confirm"}
        first = await http.post(path, json=body)
        key = {"Idempotency-Key": first.headers["idempotency-key"]}
        again = await http.post(path, json=body, headers=key)
        other = await http.post(path, json=body)
        await ended(client, run)
        await replays(client.handle(run), ask)

    assert [200, 200, 409] == [each.status_code for each in (first, again, other)]
    assert first.json() == again.json()


async def test_timed_out(env: WorkflowEnvironment) -> None:
    """An answer after the deadline has acted is told that, and when it did."""
    async with serving(env, late) as client, web(client, late) as http:
        run = await client.start(late)
        await paused(client, run)
        await env.fast_forward(client.handle(run), DAY * 2)
        output = await ended(client, run)
        path = f"/runs/{run}/requirements/ask"
        answered = await http.post(f"{path}/resolution", json={"action": "confirm"})
        seen = await http.get(path)
        await replays(client.handle(run), late)
    acted = output.resolutions[0].model_dump(mode="json")

    assert [(410, acted), (410, acted)] == [
        (each.status_code, each.json()["record"]) for each in (answered, seen)
    ]
    assert acted["resolved_at"] == answered.json()["timed_out_at"]


async def test_resolve_many(env: WorkflowEnvironment) -> None:
    """Each of many answers counts or is refused by itself; sent again with the key, all of it is
    told again.
    """
    async with serving(env, ask) as client, web(client, ask) as http:
        runs = [await client.start(ask) for _ in range(3)]
        for run in runs:
            await paused(client, run)
        await client.resolve(runs[1], Confirm(requirement_id="ask", resolved_by="eve"))
        yes = {"requirement_id": "ask", "resolution": {"action": "confirm", "resolved_by": "me"}}
        many = [{"run_id": run, **yes} for run in (*runs[:2], "nowhere")]
        no = {"action": "retry"}
        many.append({"run_id": runs[2], "requirement_id": "ask", "resolution": no})
        key = {"Idempotency-Key": uuid.uuid4().hex}
        told = await http.post("/resolutions", json={"resolutions": many}, headers=key)
        again = await http.post("/resolutions", json={"resolutions": many}, headers=key)
        await client.cancel(runs[2])
        outputs = [await ended(client, run) for run in runs]
        await replays(client.handle(runs[0]), ask)

    assert (200, [200, 409, 404, 422]) == (
        told.status_code,
        [each["status"] for each in told.json()],
    )
    assert "eve" == told.json()[1]["problem"]["record"]["resolution"]["resolved_by"]
    assert told.json() == again.json()
    assert ["COMPLETED", "COMPLETED", "CANCELLED"] == [each.status.value for each in outputs]


async def test_own_answers_show_at_once(env: WorkflowEnvironment) -> None:
    """What was answered here is not listed any more from the moment of the response, though
    Temporal's list may still have it.
    """
    async with serving(env, ask) as client, web(client, ask) as http:
        runs = [await client.start(ask) for _ in range(4)]
        for run in runs:
            await paused(client, run)
        wanted = {"pipeline": "ask", "limit": 1000}

        async def all_are_listed() -> bool:
            return set(runs) <= await listed(http, wanted)

        await until(all_are_listed, every=0.1)
        left = list[set[str]]()
        for run in runs:
            path = f"/runs/{run}/requirements/ask/resolution"
            assert 200 == (await http.post(path, json={"action": "confirm"})).status_code
            left.append(await listed(http, wanted) & set(runs))
        for run in runs:
            await ended(client, run)

    assert [set(runs[number:]) for number in range(1, 5)] == left


async def listed(http: AsyncClient, wanted: dict[str, Any]) -> set[str]:
    """Return the runs that ask."""
    return {
        each["run_id"] for each in (await http.get("/requirements", params=wanted)).json()["items"]
    }


@pytest.mark.parametrize("gates", [23])
async def test_more_than_a_memo_holds(env: WorkflowEnvironment, gates: int) -> None:
    """A run that asks more than its memo holds is listed with all of it, as its author wrote it."""
    steps = [
        Step(f"s{n}", work, requires_confirmation=True, confirmation_message="Secret {input}?")
        for n in range(gates)
    ]
    wide = Workflow("wide", [Parallel(*steps, name="p")])
    async with serving(env, wide) as client, web(client, wide) as http:
        run = await client.start(wide, "x")
        await paused(client, run)
        found = await rows(http, gates, run_id=run)
        await client.cancel(run)
        await ended(client, run)

    assert gates == len({each["id"] for each in found})
    assert {"Secret {input}?"} == {each["message"] for each in found}


async def test_nobody_is_there(env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a worker an answer is a 503 that says when to try again and under which key, and the
    list still has what is open.
    """
    monkeypatch.setattr(_answering, "PATIENCE", timedelta(seconds=1))
    async with serving(env, ask) as client:
        run = await client.start(ask)
        await paused(client, run)
    hitl = HitlClient(env.client, task_queue=client.task_queue)
    async with web(hitl, ask) as http:
        row, *_ = await rows(http, 1, run_id=run)
        path, body = f"/runs/{run}/requirements/ask/resolution", {"action": "confirm"}
        nobody = await http.post(path, json=body)
        async with serving(env, ask, queue=client.task_queue):
            key = {"Idempotency-Key": nobody.json()["idempotency_key"]}
            again = await http.post(path, json=body, headers=key)
            await ended(hitl, run)
            await replays(hitl.handle(run), ask)

    assert "ask" == row["id"]
    assert (503, "application/problem+json") == (
        nobody.status_code,
        nobody.headers["content-type"],
    )
    assert int(nobody.headers["retry-after"]) > 0
    assert 200 == again.status_code
