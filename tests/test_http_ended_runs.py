"""What was decided in runs that have ended is told without a worker: by the HTTP API, and in the
inbox.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, HitlClient, Step, StepInput, Workflow, _reach
from tests.pages import read, send
from tests.stage import ended, paused, replays, serving
from tests.test_inbox import inbox, path
from tests.test_inbox_runs import forms


def work(step_input: StepInput) -> str:
    return f"worked on {step_input.input}"


def fails() -> None:
    raise ValueError("out of paper")


asks = Step("ask", work, requires_confirmation=True)
good = Workflow("good", [asks])
bad = Workflow("bad", [asks, Step("fail", fails, max_retries=0, on_error="fail")])
ENDED = (good, bad)
ANSWER = Confirm(requirement_id="ask", resolved_by="Ana", comment="read twice")


async def over(client: HitlClient, definition: Workflow) -> str:
    """Return a run that was answered, and has ended."""
    run = await client.start(definition, "it")
    await paused(client, run)
    await client.resolve(run, ANSWER)
    await ended(client, run)
    await replays(client.handle(run), definition)
    return run


async def test_over_http(env: WorkflowEnvironment) -> None:
    """With no worker there, a run that has completed or failed is told in full, with its decisions;
    what it asked is a 410 with the record, and another answer a 409.
    """
    async with serving(env, *ENDED) as client:
        runs = [await over(client, each) for each in ENDED]
    async with inbox(client, *ENDED) as http:
        for run in runs:
            one = await http.get(f"/runs/{run}/requirements/ask")
            all_ = await http.get(f"/runs/{run}/requirements", params={"resolved": True})
            open_ = (await http.get(f"/runs/{run}/requirements")).json()
            missing = await http.get(f"/runs/{run}/requirements/other")
            output = (await http.get(f"/runs/{run}")).json()
            again = f"/runs/{run}/requirements/ask/resolution"
            late = await http.post(again, json={"action": "reject"})

            assert (410, 404, 409) == (one.status_code, missing.status_code, late.status_code)
            record = one.json()["record"]
            assert ("Ana", "read twice") == (
                record["resolution"]["resolved_by"],
                record["resolution"]["comment"],
            )
            assert [record] == all_.json()["resolved"] == output["resolutions"]
            assert ([], []) == (open_["open"], open_["resolved"])
            assert record == late.json()["record"]
    assert ["COMPLETED", "ERROR"] == [(await client.get(run)).status.value for run in runs]


async def test_in_the_inbox(env: WorkflowEnvironment) -> None:
    """With no worker there, the page of what a run asked says who decided what, and so does the
    page of the run; an answer that comes now is refused politely.
    """
    async with serving(env, good) as client, inbox(client, good) as http:
        run = await client.start(good, "it")
        await paused(client, run)
        page = read(await http.get(path(run, "ask")))
        await client.resolve(run, ANSWER)
        await ended(client, run)
        await replays(client.handle(run), good)
    async with inbox(client, good) as http:
        decided = read(await http.get(path(run, "ask")))
        shown = read(await http.get(f"/inbox/runs/{run}"))
        late = await send(http, await forms(http, page), "reject-form")

    assert "Ana confirmed it" in decided.one("p", class_="verdict").text
    assert "ask: Ana confirmed it read twice" in shown.one("ol", class_="timeline").text
    assert "worked on it" in shown.text
    assert (409, True) == (late.status_code, "Somebody else was first" in read(late).text)


async def test_without_a_result(env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was cancelled leaves no result: what it asked needs a worker, and is never said
    not to have been there.
    """
    monkeypatch.setattr(_reach, "PATIENCE", timedelta(seconds=0.3))
    async with serving(env, good) as client:
        run = await client.start(good, "it")
        await paused(client, run)
        await client.cancel(run)
        await ended(client, run)
    async with inbox(client, good) as http:
        alone = await http.get(f"/runs/{run}/requirements/ask")
        async with serving(env, good, queue=client.task_queue):
            helped = await http.get(f"/runs/{run}/requirements/ask")
            await replays(client.handle(run), good)

    assert (503, 410) == (alone.status_code, helped.status_code)
    assert "withdraw" == helped.json()["record"]["resolution"]["action"]
