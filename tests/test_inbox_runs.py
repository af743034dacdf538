"""The inbox's pages of runs: their timeline, several answers at once, a start; and its outputs."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Confirm,
    DefinitionError,
    HitlClient,
    Parallel,
    Reject,
    Step,
    StepInput,
    Workflow,
    _reach,
)
from temporal_hitl.http import BearerTokens, Inbox
from tests.desk import Desk
from tests.pages import Element, fields, post, read, send
from tests.stage import ended, paused, replays, serving, until
from tests.test_inbox import all_open, inbox, listed, path
from tests.web import application, calling, tokens


def work(step_input: StepInput) -> Any:
    return step_input.input


def fails() -> None:
    raise ValueError("out of paper")


async def test_a_run(env: WorkflowEnvironment) -> None:
    """A run's page tells what went wrong, who decided what, what is open and what comes next, and
    links to the run in the Temporal Web UI.
    """
    steps = [
        Step("print", fails, max_retries=0),
        Step("sign", work, requires_confirmation=True),
        Step("send", work, requires_confirmation=True, confirmation_message="Send it?"),
        Step("file", work),
    ]
    letter = Workflow("letter", steps)
    async with serving(env, letter) as client, inbox(client, letter) as http:
        run = await client.start(letter, {"to": "Ada"}, run_id="letters/1 of 2")
        await paused(client, run)
        yes = Confirm(requirement_id="sign", resolved_by="Bo", comment="gladly")
        await client.resolve(run, yes)
        await paused(client, run)
        page = read(await http.get("/inbox/runs/letters%2F1%20of%202"))
        beside = read(await http.get(path("letters%2F1%20of%202", "send")))
        missing = await http.get("/inbox/runs/nothing")
        await client.resolve(run, Reject(requirement_id="send"))
        await ended(client, run)
        over = read(await http.get("/inbox/runs/letters%2F1%20of%202"))
        await replays(client.handle(run), letter)

    timeline = page.one("ol", class_="timeline").text
    steps_told = page.one("ul", class_="steps").text
    assert "print failed after 1 attempts: builtins.ValueError: out of paper" in timeline
    assert "sign: Bo confirmed it gladly" in timeline
    assert timeline == beside.one("ol", class_="timeline").text
    assert "print failed: builtins.ValueError: out of paper" in steps_told
    assert "sign done send waits for a person file comes next" in steps_told
    links = {each.attributes["href"]: each.text for each in page.all("a")}
    assert "Send it?" == links[path("letters%2F1%20of%202", "send")]
    namespace = f"http://127.0.0.1:8233/namespaces/{env.client.namespace}"
    assert "Web UI" in links[f"{namespace}/workflows/letters%2F1%20of%202"]
    assert (404, "COMPLETED") == (missing.status_code, over.all("dd")[0].text)
    assert "file comes next" not in over.text


async def test_what_a_child_run_asks(env: WorkflowEnvironment) -> None:
    """The page of a run has what its child runs ask, too, and leads to them."""
    inner = Workflow("inner", [Step("ask", work, requires_confirmation=True)])
    outer = Workflow("outer", [Step("below", workflow=inner)])
    async with serving(env, outer) as client, inbox(client, outer) as http:
        run = await client.start(outer)
        child = (await paused(client, run)).child_runs[0].run_id
        page = read(await http.get(f"/inbox/runs/{run}"))
        asked = await http.get(path(child, "ask"))
        await client.resolve(child, Confirm(requirement_id="ask"))
        await ended(client, run)
        await replays(client.handle(run), outer)

    links = [each.attributes["href"] for each in page.one("article").all("a")]
    assert path(child, "ask") in links
    assert f"/inbox/runs/{child}" in links
    assert 200 == asked.status_code


async def test_a_run_written_by_hand(env: WorkflowEnvironment) -> None:
    """What a workflow of the user's own asks is listed, shown and answered like any other."""
    async with serving(env, workflows=[Desk]) as client, inbox(client) as http:
        asks = [{"kind": "confirm", "name": "pay"}, {"kind": "confirm", "name": "ship"}]
        handle = await env.client.start_workflow(
            Desk.run, args=[asks, False], id="by-hand", task_queue=client.task_queue
        )
        await until(lambda: all_open(client, handle.id, 1))
        page = read(await http.get(path(handle.id, "pay")))
        answered = await send(http, page, "reject-form", feedback="too dear", name="Ana")
        await until(lambda: all_open(client, handle.id, 1))
        shown = read(await http.get(f"/inbox/runs/{handle.id}"))
        await client.resolve(handle.id, Confirm(requirement_id="ship"))
        result = await asyncio.wait_for(handle.result(), 20)
        await replays(handle, workflows=[Desk])

    assert 303 == answered.status_code
    assert "pay: Ana rejected it too dear" in shown.one("ol", class_="timeline").text
    assert "too dear" == result[0]["feedback"]


async def test_several_at_once(env: WorkflowEnvironment) -> None:
    """Several are confirmed at once, and each has a result of its own; they leave the list."""
    gates = [Step(name, work, requires_confirmation=True) for name in ("a", "b", "c")]
    form = Step("form", work, requires_user_input=True)
    many = Workflow("many", [Parallel(*gates, form, name="p")])
    async with serving(env, many) as client, inbox(client, many) as http:
        run = await client.start(many, run_id="many-1")
        await until(lambda: all_open(client, run, 4))
        page = await listed(http, 4, f"run_id={run}")
        await client.resolve(run, Reject(requirement_id="p.b", resolved_by="Bo"))
        said = [each for each in fields(page.one("form", method="post")) if each[0] != "row"]
        rows = [
            ("row", each.attributes["value"])
            for each in page.all("input", name="row")
            if "p.c" not in each.attributes["value"]
        ]
        said += [*rows, ("action", "confirm")]
        became = await post(http, "/inbox", said)
        again = await post(http, "/inbox", said)
        left = read(await http.get(f"/inbox?run_id={run}"))
        none = await post(http, "/inbox", [each for each in said if each[0] != "row"])
        wrong = [
            await post(http, "/inbox", [*(e for e in said if e[0] != name), (name, text)])
            for name, text in (("row", "[1]"), ("row", "x"), ("action", "fly"))
        ]
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), many)

    items = read(became).one("ul", class_="became").all("li")
    told = {each.one("a").text: each.text for each in items}
    assert {"p.a", "p.b", "p.form"} == set(told)
    assert told["p.a"].endswith(": counts")
    assert "does not count: Bo rejected it" in told["p.b"]
    assert "does not count: 'p.form' is a user_input" in told["p.form"]
    assert read(became).text == read(again).text
    names = [each.one("small").text for each in left.all("td", class_="message")]
    assert ["c", "form"] == sorted(names)
    assert "Nothing was selected." in read(none).text
    assert [422] * 3 == [each.status_code for each in wrong]


async def test_a_run_is_started(env: WorkflowEnvironment) -> None:
    """An operator starts a run from a form, once however often it is sent; others do not."""
    secret, kept = tokens(otto=["operator"], rosa=["reviewer"])
    plain = Workflow("plain", [Step("work", work)], description="Does nothing much")
    may = BearerTokens(kept)
    async with serving(env, plain) as client, inbox(client, plain, authenticator=may) as http:
        form = await signed_in(http, secret["otto"], "/inbox/start/plain")
        started = await send(http, form, input='{"n": [1, 2]}')
        twice = await send(http, form, input='{"n": [1, 2]}')
        other = await send(http, form, input="else")
        again = read(await http.get("/inbox/start/plain"))
        text = await send(http, again, input="just\ntext", session_id="s")
        pages = [each.headers["location"] for each in (started, text)]
        runs = [each.rpartition("/")[2] for each in pages]
        outputs = [await ended(client, each) for each in runs]
        listed_there = read(await http.get("/inbox/start"))
        missing = await http.get("/inbox/start/nothing")
        shown = await signed_in(http, secret["rosa"], "/inbox/start/plain")
        csrf = shown.all("input", name="csrf")[0].attributes["value"]
        refused = await send(http, form, csrf=csrf)
        await replays(client.handle(runs[0]), plain)

    assert [{"n": [1, 2]}, "just\ntext"] == [each.content for each in outputs]
    assert ("otto", "s", []) == (
        outputs[1].user_id,
        outputs[1].session_id,
        form.all("input", name="user_id"),
    )
    assert started.headers["location"] == twice.headers["location"]
    assert (409, 404, 403) == (other.status_code, missing.status_code, refused.status_code)
    assert "else" == read(other).one("textarea", name="input").raw
    assert "plain Does nothing much" in listed_there.text
    assert "role of an operator" in shown.text


async def signed_in(http: AsyncClient, token: str, to: str) -> Element:
    """Sign in, and return the page at `to`."""
    http.cookies.clear()
    await send(http, read(await http.get("/inbox/login")), token=token)
    return read(await http.get(to))


SHOWN: list[tuple[Any, str, str]] = [
    ("plain text", "pre", "plain text"),
    ("# Title\n\n* one", "h1", "Title"),
    ([{"a": 1, "b": "<b>"}, {"a": None}], "td", "1<b>null"),
    ([{"a": [1]}], "pre", '[\n  {\n    "a": [\n      1\n    ]\n  }\n]'),
    ({"k": "ö"}, "pre", '{\n  "k": "ö"\n}'),
    (7, "pre", "7"),
]


async def test_outputs_are_shown_as_what_they_are(env: WorkflowEnvironment) -> None:
    """Text is shown as text, Markdown as Markdown beside its source, rows as a table, all else as
    JSON.
    """

    def at(number: int) -> Any:
        return lambda: SHOWN[number][0]

    steps = [
        Step(f"s{number}", at(number), requires_output_review=True) for number in range(len(SHOWN))
    ]
    shows = Workflow("shows", [Parallel(*steps, name="p")])
    async with serving(env, shows) as client, inbox(client, shows) as http:
        run = await client.start(shows)
        await until(lambda: all_open(client, run, len(SHOWN)))
        pages = [read(await http.get(path(run, f"p.s{at}"))) for at in range(len(SHOWN))]
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), shows)

    for page, (_, tag, text) in zip(pages, SHOWN, strict=True):
        section = page.one("section", aria_labelledby="under-review")
        assert text == "".join(each.raw for each in section.all(tag))
    assert "# Title" in pages[1].one("section", aria_labelledby="under-review").one("pre").raw


async def test_nobody_is_there(env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a worker the list has what waits, and its page and an answer are told to try again;
    the same answer counts once somebody is there.
    """
    monkeypatch.setattr(_reach, "PATIENCE", timedelta(seconds=1))
    ask = Workflow("ask", [Step("ask", work, requires_confirmation=True)])
    async with serving(env, ask) as client, inbox(client) as http:
        run = await client.start(ask)
        await paused(client, run)
        page = read(await http.get(path(run, "ask")))
    hitl = HitlClient(env.client, task_queue=client.task_queue)
    async with inbox(hitl) as http:
        await listed(http, 1, f"run_id={run}")
        form = await forms(http, page)
        nobody = await http.get(path(run, "ask"))
        sent = await send(http, form, "confirm-form")
        async with serving(env, ask, queue=client.task_queue):
            again = await send(http, form, "confirm-form")
            output = await ended(hitl, run)
            await replays(hitl.handle(run), ask)

    assert [503, 503, 303] == [each.status_code for each in (nobody, sent, again)]
    assert int(nobody.headers["retry-after"]) > 0
    assert "no worker answers" in read(nobody).text
    assert "it counts once" in read(sent).text
    assert "confirm" == output.resolutions[0].action


async def forms(http: AsyncClient, page: Element) -> Element:
    """Return a page with the forms of this session."""
    csrf = read(await http.get("/inbox/login")).all("input", name="csrf")[0]
    for each in page.all("input", name="csrf"):
        each.attributes["value"] = csrf.attributes["value"]
    return page


async def test_what_is_not_there(env: WorkflowEnvironment) -> None:
    """What is not there is told as a page, and a key that is too short is refused where it is
    given.
    """
    client = HitlClient(env.client)
    async with calling(application(client, inbox=Inbox())) as http:
        missing = await http.get("/inbox/runs/nothing/requirements/x")
        style = await http.get("/inbox/static/inbox.css")
        without = await http.get("/inbox/start")
    with pytest.raises(DefinitionError, match="32 characters") as short:
        application(client, inbox=Inbox(key="secret"))
    assert "secret'" not in f"{short.value!r} {Inbox(key='secret')!r}"

    assert (404, 200, 200) == tuple(each.status_code for each in (missing, style, without))
    assert "nothing" in read(missing).one("p", class_="notice").text
    assert "text/css; charset=utf-8" == style.headers["content-type"]
    assert "This service starts no pipelines." in read(without).text


DOC = (Path(__file__).parent.parent / "docs" / "inbox.md").read_text()


async def test_the_doc(env: WorkflowEnvironment) -> None:
    """The program that docs/inbox.md shows serves the pages that it names, and its pictures are
    there.
    """
    shown: dict[str, Any] = {}
    exec("\n".join(re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)), shown)
    app = FastAPI()
    shown["add_inbox"](app, HitlClient(env.client))
    async with calling(app) as http:
        pages = [await http.get(each) for each in ("/inbox", "/inbox/start/publication")]
    images = Path(__file__).parent.parent / "docs"
    pictures = re.findall(r"\]\((images/.*?)\)", DOC)

    assert [200, 200] == [each.status_code for each in pages]
    assert len(pictures) == 3
    assert [] == [each for each in pictures if not (images / each).exists()]
