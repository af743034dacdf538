"""Pipelines and runs over HTTP: what there is, start, list, see, cancel."""

from __future__ import annotations

import uuid
from typing import Any

from httpx2 import AsyncClient
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Condition, RunOptions, Step, StepInput, Steps, UserInputField, Workflow
from tests.stage import ended, paused, replays, serving, until
from tests.web import web


def tell(step_input: StepInput) -> dict[str, Any]:
    return {"input": step_input.input, **step_input.additional_data}


def no_step(step_input: StepInput) -> bool:
    return False


inner = Workflow("inner", [Step("check", tell, requires_confirmation=True)], description="Inside")
amount = UserInputField("amount", "int", description="Euro")
form = Step("form", tell, requires_user_input=True, user_input_schema=[amount])
outer = Workflow(
    "outer",
    [
        Steps("first", steps=[form]),
        Condition(name="maybe", evaluator=no_step, steps=[Step("never", tell)]),
        Step("below", workflow=inner),
    ],
)
plain = Workflow("plain", [Step("tell", tell)])
asking = Workflow("asking", [Step("ask", tell, requires_confirmation=True)])


async def test_pipelines(env: WorkflowEnvironment) -> None:
    """The list has every pipeline given, nested ones too; each is told with its plan as data."""
    async with serving(env, outer) as client, web(client, outer) as http:
        listed = (await http.get("/pipelines")).json()
        told = (await http.get("/pipelines/outer")).json()
        unknown = await http.get("/pipelines/nothing")
    form, maybe, below = told["plan"]["children"]

    assert [
        {"name": "outer", "description": None},
        {"name": "inner", "description": "Inside"},
    ] == listed
    assert outer.plan.digest == told["digest"]
    assert "Euro" == form["children"][0]["review"]["form"]["properties"]["amount"]["description"]
    assert ("outer.maybe.evaluator", "inner") == (
        maybe["evaluator"]["activity"],
        below["call"]["pipeline"],
    )
    assert (404, "application/problem+json") == (
        unknown.status_code,
        unknown.headers["content-type"],
    )
    assert "'nothing'" in unknown.json()["detail"]


async def test_start_and_see(env: WorkflowEnvironment) -> None:
    """A run starts with its input and options, tells where it is found, and is seen there to its
    end.
    """
    body = {"pipeline": "plain", "input": {"a": [1, None]}, "additional_data": {"b": "ü"}}
    async with serving(env, plain) as client, web(client, plain) as http:
        started = await http.post("/runs", json=body)
        run = started.json()["run_id"]
        await ended(client, run)
        seen = (await http.get(started.headers["location"])).json()
        await replays(client.handle(run), plain)

    assert 201 == started.status_code
    assert ("COMPLETED", {"input": {"a": [1, None]}, "b": "ü"}) == (seen["status"], seen["content"])
    assert (run, "plain", ["tell"]) == (seen["run_id"], seen["workflow_name"], seen["step_names"])


async def test_start_once(env: WorkflowEnvironment) -> None:
    """A start sent again with its Idempotency-Key is the same run, also once that has ended; with
    another body it is refused, and another key is another run.
    """
    body = {"pipeline": "plain", "input": 1}
    key = {"Idempotency-Key": uuid.uuid4().hex}
    async with serving(env, plain) as client, web(client, plain) as http:
        first = await http.post("/runs", json=body, headers=key)
        await ended(client, first.json()["run_id"])
        again = await http.post("/runs", json=body, headers=key)
        other = await http.post("/runs", json={**body, "input": 2}, headers=key)
        third = await http.post("/runs", json=body, headers={"Idempotency-Key": uuid.uuid4().hex})

    assert (201, 200, 409, 201) == tuple(each.status_code for each in (first, again, other, third))
    assert first.json() == again.json() != third.json()
    assert first.headers["location"] == again.headers["location"]
    assert first.json()["run_id"] in other.json()["detail"]


async def test_list(env: WorkflowEnvironment) -> None:
    """The list of runs is filtered by pipeline, status, session and root run, and paged by a
    cursor.
    """
    session = uuid.uuid4().hex
    async with serving(env, plain, asking) as client, web(client, plain, asking) as http:
        started = [
            await client.start(each, options=RunOptions(session_id=session))
            for each in (plain, asking, plain, asking)
        ]
        for run in started[1::2]:
            await paused(client, run)

        async def having(count: int, **filters: Any) -> list[dict[str, Any]]:
            found = await http.get("/runs", params={"session_id": session, **filters})
            items = found.json()["items"]
            return items if len(items) == count else []

        both = await until(lambda: having(2, status="PAUSED"))
        done = await until(lambda: having(2, pipeline="plain", status="COMPLETED"))
        one = await until(lambda: having(1, root_run_id=started[0]))
        pages = await paged(http, session_id=session, limit=3)
        cancelled = await http.post(f"/runs/{started[1]}/cancel")
        output = await ended(client, started[1])
        again = await http.post(f"/runs/{started[1]}/cancel")

    assert {started[1], started[3]} == {each["run_id"] for each in both}
    assert [(1, "asking")] * 2 == [(each["open"], each["workflow_name"]) for each in both]
    assert {started[0], started[2]} == {each["run_id"] for each in done}
    assert [started[0]] == [each["run_id"] for each in one]
    assert [3, 1] == [len(each) for each in pages]
    assert set(started) == {each["run_id"] for page in pages for each in page}
    assert (202, "PAUSED", "CANCELLED") == (
        cancelled.status_code,
        cancelled.json()["status"],
        output.status.value,
    )
    assert (202, "CANCELED") == (again.status_code, again.json()["status"])


async def paged(http: AsyncClient, **filters: Any) -> list[list[dict[str, Any]]]:
    """Return every page, the last of them without a cursor."""
    pages, cursor = list[Any](), {}
    for _ in range(10):
        page = (await http.get("/runs", params={**filters, **cursor})).json()
        pages += [page["items"]] if page["items"] else []
        if page["cursor"] is None:
            return pages
        cursor = {"cursor": page["cursor"]}
    raise AssertionError("the list has no end")


async def test_what_is_no_cursor(env: WorkflowEnvironment) -> None:
    """A cursor that the list has not given, or has given for another list, is refused at once, and
    the server is not asked.
    """
    async with serving(env, plain) as client, web(client, plain) as http:
        for _ in range(2):
            await ended(client, await client.start(plain))
        first = await until(lambda: a_page(http, pipeline="plain", limit=1))
        cursor = first["cursor"]
        others = [
            cursor[:-4],
            ("B" if cursor[0] == "A" else "A") + cursor[1:],
            "AAAA" + cursor,
            "w7s=",
            "e30=",
            "?",
            "ü",
            "A" * 900,
        ]
        told = [await http.get("/runs", params={"pipeline": "plain", "cursor": e}) for e in others]
        of_another = await http.get("/runs", params={"cursor": cursor})
        second = await http.get("/runs", params={"pipeline": "plain", "limit": 1, "cursor": cursor})

    assert [422] * len(others) == [each.status_code for each in told]
    assert (422, 200) == (of_another.status_code, second.status_code)
    assert first["items"] != second.json()["items"]


async def a_page(http: AsyncClient, **filters: Any) -> dict[str, Any] | None:
    """Return the first page, once there is another one."""
    page: dict[str, Any] = (await http.get("/runs", params=filters)).json()
    return page if page["cursor"] else None


FOUND = ["x' OR 1=1 --", "a' AND WorkflowType != 'b", "%", "ü`", "; DROP"]
HOSTILE = [*FOUND, "'", "''", '"', "' OR ''='", "'a", "a'", "\n", "';"]
REFUSED = ["a\0b", "a\\", "\\' OR ''='", "\\' OR 1=1 --"]


async def test_filters_are_values(env: WorkflowEnvironment) -> None:
    """A filter with quotes and backslashes in it is a value: it finds what has it, or nothing."""
    prefix = uuid.uuid4().hex
    async with serving(env, plain) as client, web(client, plain) as http:
        runs = [await client.start(plain, run_id=f"{prefix}{each}") for each in FOUND]
        for run in runs:
            await ended(client, run)

        async def found(run: str) -> list[str]:
            page = await http.get("/runs", params={"root_run_id": run})
            return [each["run_id"] for each in page.json()["items"]]

        listed = [await until(lambda run=run: found(run)) for run in runs]
        nothing = [
            (await http.get("/runs", params={name: each})).json()
            for name in ("pipeline", "root_run_id")
            for each in HOSTILE
        ]
        asked = [("pipeline", each) for each in REFUSED] + [
            ("session_id", each) for each in "\"'\\"
        ]
        refused = [await http.get("/runs", params=dict([each])) for each in asked]

    assert [[run] for run in runs] == listed
    assert [[]] * len(nothing) == [each["items"] for each in nothing]
    assert [(422, f"query.{name}") for name, _ in asked] == [
        (each.status_code, each.json()["errors"][0]["field"]) for each in refused
    ]


async def test_run_ids_of_any_kind(env: WorkflowEnvironment) -> None:
    """A run whose id has slashes, spaces or signs in it is seen, asked, answered and cancelled."""
    async with serving(env, asking) as client, web(client, asking) as http:
        for mark in ("orders/7/ü", "a b?c#d%2F", "..", "a/cancel/b"):
            run = await client.start(asking, run_id=f"{uuid.uuid4().hex}/{mark}")
            await paused(client, run)
            path = f"/runs/{encoded(run)}"
            seen = await http.get(path)
            asked = await http.get(f"{path}/requirements")
            one = await http.get(f"{path}/requirements/ask")
            cancelled = await http.post(f"{path}/cancel")
            await ended(client, run)
            assert [200, 200, 200, 202] == [
                each.status_code for each in (seen, asked, one, cancelled)
            ], mark
            assert (run, "ask", "ask") == (
                seen.json()["run_id"],
                asked.json()["open"][0]["id"],
                one.json()["id"],
            )


def encoded(text: str) -> str:
    """Return `text` as one segment of a path."""
    return "".join(f"%{byte:02X}" for byte in text.encode())
