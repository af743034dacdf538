"""The inbox's pages over HTTP, as a browser without JavaScript uses them."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from httpx2 import AsyncClient, Response
from pydantic import BaseModel, Field
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Confirm,
    HitlClient,
    Loop,
    OnError,
    OnReject,
    Parallel,
    Reject,
    Router,
    Step,
    StepInput,
    UserInputField,
    Workflow,
)
from temporal_hitl.http import BearerTokens, Inbox
from temporal_hitl.http.inbox import _sessions
from tests.pages import Element, read, send
from tests.stage import ended, paused, replays, serving, until
from tests.web import application, calling, tokens

DAY = timedelta(days=1)
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> [go](javascript:alert(3)) **bold**"


def work(step_input: StepInput) -> Any:
    return step_input.additional_data.get("user_input") or "worked"


def fails() -> None:
    raise ValueError("no <b>paper</b>")


class Address(BaseModel):
    city: str = Field(min_length=2, description="Where it goes")
    floors: list[int] = []


FIELDS = [
    UserInputField("amount", "int", description="Euro"),
    UserInputField("mode", allowed_values=("fast", "slow")),
    UserInputField("urgent", "bool"),
    UserInputField("note", required=False),
    UserInputField("rate", "float", value=1.5),
    UserInputField("tags", "list", required=False),
]
kinds = Workflow(
    "kinds",
    [
        Parallel(
            Step("go", work, requires_confirmation=True, confirmation_message="Go on, {input}?"),
            Step("fill", work, requires_user_input=True, user_input_schema=FIELDS),
            Step("where", work, requires_user_input=True, user_input_schema=Address),
            Router([Step("left", work), Step("right", work)], name="way", requires_user_input=True),
            Router(
                [Step("a", work), Step("b", work), Step("c", work)],
                name="ways",
                requires_user_input=True,
                allow_multiple_selections=True,
            ),
            Step("look", work, requires_output_review=True, on_reject=OnReject.retry),
            Step("check", work, requires_output_review=True),
            Loop(
                [Step("turn", work)],
                name="turns",
                max_iterations=3,
                requires_iteration_review=True,
            ),
            Step("broken", fails, on_error=OnError.pause, max_retries=0),
            name="all",
        )
    ],
)
ask = Workflow("ask", [Step("ask", work, requires_confirmation=True)])


def inbox(client: HitlClient, *definitions: Workflow, **options: Any) -> Any:
    """Return a client of a user's application with the inbox in it."""
    shown = Inbox(web_ui="http://127.0.0.1:8233/")
    return calling(application(client, *definitions, inbox=shown, **options))


async def listed(http: AsyncClient, count: int, query: str = "") -> Element:
    """Return the list once it has so many rows."""

    async def there() -> Element | None:
        page = read(await http.get(f"/inbox?{query}"))
        return page if len(page.all("td", class_="message")) == count else None

    return await until(there, every=0.1)


def messages(page: Element) -> list[str]:
    """Return the messages in a list, in order."""
    return [each.one("a").text for each in page.all("td", class_="message")]


def path(run: str, requirement: str) -> str:
    """Return the path of a requirement's page."""
    return f"/inbox/runs/{run}/requirements/{requirement}"


DUE = {"Ship it?": None, "Bill it?": 3 * DAY, "Burn it?": DAY}
due = [
    Step(said[:4], work, requires_confirmation=True, confirmation_message=said, hitl_timeout=late)
    for said, late in DUE.items()
]
several = Workflow("several", [Parallel(*due, name="p")])


async def test_the_list(env: WorkflowEnvironment) -> None:
    """The list has what waits, what is due first comes first, with its message, pipeline, kind and
    deadline; filters and search narrow it, and a link leads to the rest.
    """
    async with serving(env, several, kinds) as client, inbox(client, several) as http:
        run, other = await client.start(several), await client.start(kinds, "Ada")
        await asyncio.gather(paused(client, run), paused(client, other))
        page = await listed(http, 3, f"run_id={run}")
        sought = await listed(http, 1, f"q=burn+several&run_id={run}&kind=&pipeline=&sort=")
        routes = await listed(http, 2, f"kind=route&run_id={other}")
        none = await listed(http, 0, "q=nothing+like+this")
        late = await listed(http, 0, f"overdue=true&run_id={run}")
        first = read(await http.get("/inbox?limit=1"))
        second = read(await http.get(first.one("a", rel="next").attributes["href"]))
        wrong = await http.get("/inbox?sort=luck")
        await asyncio.gather(client.cancel(run), client.cancel(other))
        await asyncio.gather(ended(client, run), ended(client, other))
        await replays(client.handle(run), several)

    assert ["Burn it?", "Bill it?", "Ship it?"] == messages(page)
    assert ["in 23 h 59 min", "in 2 d 23 h"] == [
        each.text for each in page.all("time") if "data-due" in each.attributes
    ]
    assert ("Confirmation", "several") == tuple(
        page.all("tr")[1].all("td")[at].text.split()[0] for at in (2, 3)
    )
    assert path(run, "p.burn") == page.all("td", class_="message")[0].one("a").attributes["href"]
    assert ["Burn it?"] == messages(sought)
    assert 2 == len(messages(routes))
    assert "Nothing that waits is like that." in none.text
    assert "0 waiting" in late.text
    assert messages(first) != messages(second)
    assert 422 == wrong.status_code


async def test_what_is_overdue(env: WorkflowEnvironment) -> None:
    """What is overdue, as no worker was there to let the deadline act, comes first and is marked,
    and can be asked for alone.
    """
    steps = [
        Step(name, work, requires_confirmation=True, hitl_timeout=due, on_timeout="skip")
        for name, due in (("later", DAY), ("soon", timedelta(seconds=1)))
    ]
    timely = Workflow("timely", [Parallel(*steps, name="p")])
    async with serving(env, timely) as client:
        run = await client.start(timely)
        await until(lambda: all_open(client, run, 2))
    with env.with_time_skipping_disabled():
        async with inbox(client) as http:
            alone = await listed(http, 1, f"overdue=true&run_id={run}")
            page = await listed(http, 2, f"run_id={run}")
    async with serving(env, timely, queue=client.task_queue):
        await client.resolve(run, Confirm(requirement_id="p.later"))
        await ended(client, run)
        await replays(client.handle(run), timely)

    names = [each.one("small").text for each in page.all("td", class_="message")]
    assert ["soon", "later"] == names
    assert "soon" == alone.one("td", class_="message").one("small").text
    assert "overdue by" in page.one("tr", class_="late").text
    assert "2 waiting, 1 overdue" == page.one("p", class_="counts").text.replace(" ,", ",")


ANSWERS: list[tuple[str, str, dict[str, Any], Any]] = [
    ("all.go", "confirm", {"comment": "fine", "name": "Ana"}, "worked"),
    (
        "all.fill",
        "answer",
        {
            "value__amount": "5",
            "value__mode": '"fast"',
            "value__urgent": "true",
            "value__note": "",
            "value__tags": '[1, "x"]',
        },
        {
            "amount": 5,
            "mode": "fast",
            "urgent": True,
            "note": None,
            "rate": 1.5,
            "tags": [1, "x"],
        },
    ),
    (
        "all.where",
        "answer",
        {"value__city": "Graz", "value__floors": "[1, 2]"},
        {"city": "Graz", "floors": [1, 2]},
    ),
    ("all.way", "select", {"choice": "right"}, "worked"),
    ("all.ways", "select", {"position__0": "2", "position__2": "1"}, "worked"),
    ("all.look", "edit", {"value__output": "new\nlines"}, "new\nlines"),
    ("all.check", "reject", {"feedback": "never"}, None),
    ("all.turns.1", "confirm", {}, "worked"),
    ("all.broken", "skip", {}, None),
]


async def test_each_kind_is_answered(env: WorkflowEnvironment) -> None:
    """A requirement of each kind is answered with the form on its page, and the run goes on with
    exactly that answer.
    """
    async with serving(env, kinds) as client, inbox(client, kinds) as http:
        run = await client.start(kinds, "Ada")
        ids = await until(lambda: all_open(client, run, len(ANSWERS)))
        pages = {each: read(await http.get(path(run, each))) for each in ids}
        told = {}
        for asked, form, written, _ in ANSWERS:
            response = await send(http, pages[asked], f"{form}-form", **written)
            told[asked] = (response.status_code, response.headers.get("location"))
        closed = read(await http.get(path(run, "all.go")))
        output = await ended(client, run)
        await replays(client.handle(run), kinds)

    assert {asked for asked, *_ in ANSWERS} == set(ids)
    assert {each: (303, path(run, each)) for each in ids} == told
    made = {each.path: each.content for each in output.walk()}
    expected = {asked.removesuffix(".1"): content for asked, *_, content in ANSWERS}
    assert expected == {each: made.get(each) for each in expected}
    records = {each.requirement_id: each for each in output.resolutions}
    assert ("Ana", "fine") == (records["all.go"].resolved_by, records["all.go"].comment)
    assert ("c", "a") == records["all.ways"].choices
    assert "never" == records["all.check"].feedback
    assert "Ana confirmed it" in closed.text
    assert "Go on, Ada?" in pages["all.go"].one("h1").text
    assert "no <b>paper</b>" in pages["all.broken"].text


async def all_open(client: HitlClient, run: str, count: int) -> list[str]:
    """Return the ids of what is open in a run, once it is so many."""
    found = [each.id for each in (await client.requirements(run)).open]
    return found if len(found) == count else []


MISFITS: list[tuple[str, str, dict[str, Any], list[str]]] = [
    (
        "all.fill",
        "answer",
        {"value__amount": "five", "value__rate": "x", "value__tags": "[1,"},
        ["is no whole number", "is no number", "is not JSON", "is needed"],
    ),
    (
        "all.where",
        "answer",
        {"value__city": "G", "value__floors": '["up"]'},
        ["'G' is too short", "'up' is not of type 'integer'"],
    ),
    ("all.way", "select", {}, ["choose one of left, right"]),
    ("all.way", "select", {"choice": "back"}, ["'back' is not one of left, right"]),
    ("all.go", "confirm", {"digest": "0" * 64}, ["what you saw is not what is asked now"]),
]


async def test_what_is_wrong_stands_beside(env: WorkflowEnvironment) -> None:
    """An answer that does not fit decides nothing: the form comes back with what was written, and
    what is wrong beside it.
    """
    async with serving(env, kinds) as client, inbox(client, kinds) as http:
        run = await client.start(kinds, "Ada")
        await until(lambda: all_open(client, run, len(ANSWERS)))
        told = list[Response]()
        for asked, form, written, _ in MISFITS:
            page = read(await http.get(path(run, asked)))
            told.append(await send(http, page, f"{form}-form", **written))
        still = await client.requirements(run, resolved=True)
        again = await send(
            http, read(told[1]), "answer-form", value__city="Graz", value__floors="[]"
        )
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), kinds)

    assert [422] * len(MISFITS) == [each.status_code for each in told]
    for response, (*_, problems) in zip(told, MISFITS, strict=True):
        text = read(response).text
        assert [] == [each for each in problems if each not in text], text
    field = read(told[1]).one("input", name="value.city")
    assert ("G", "true") == (field.attributes["value"], field.attributes["aria-invalid"])
    beside = field.attributes["aria-describedby"]
    assert "'G' is too short" == read(told[1]).one("span", id=beside).text
    assert (len(ANSWERS), 0) == (len(still.open), len(still.resolved))
    assert 303 == again.status_code


async def test_somebody_was_first(env: WorkflowEnvironment) -> None:
    """Who comes second is told politely who was first, with what and when; who sends the same form
    twice is not.
    """
    async with serving(env, ask) as client, inbox(client, ask) as http:
        run, other = await client.start(ask), await client.start(ask)
        await asyncio.gather(paused(client, run), paused(client, other))
        page, mine = [read(await http.get(path(each, "ask"))) for each in (run, other)]
        await client.resolve(
            run, Reject(requirement_id="ask", resolved_by="Bo", feedback="not today")
        )
        second = await send(http, page, "confirm-form")
        twice = [await send(http, mine, "confirm-form") for _ in range(2)]
        different = await send(http, mine, "reject-form")
        for each in (run, other):
            await ended(client, each)
            await replays(client.handle(each), ask)

    text = read(second).one("main").text
    assert (409, 409) == (second.status_code, different.status_code)
    assert "Somebody else was first. Your answer changed nothing. Bo rejected it" in text
    assert "not today" in text
    assert [303, 303] == [each.status_code for each in twice]
    assert "You have answered this already, and that answer stands." in read(different).text


async def test_signing_in(env: WorkflowEnvironment) -> None:
    """With tokens, who has not signed in is sent to do so and then back; who has is `resolved_by`,
    whatever a form says; a wrong token is nobody's.
    """
    secret, kept = tokens(rosa=["reviewer"])
    may = BearerTokens(kept)
    async with serving(env, ask) as client, inbox(client, ask, authenticator=may) as http:
        run = await client.start(ask)
        await paused(client, run)
        sent = await http.get(path(run, "ask"))
        login = read(await http.get(sent.headers["location"]))
        wrong = [await send(http, login, token=each) for each in ("x", kept[0].sha256, "ü", "")]
        nobody = await http.get("/inbox")
        unsaid = await http.post(path(run, "ask"))
        back = await send(http, login, token=secret["rosa"])
        cookie = back.headers["set-cookie"]
        page = read(await http.get(back.headers["location"]))
        answered = await send(http, page, "confirm-form", name="Bo")
        await send(http, page, "confirm-form")
        output = await ended(client, run)
        await replays(client.handle(run), ask)

    assert 303 == sent.status_code
    assert [401] * 4 == [each.status_code for each in wrong]
    assert all("This token is not known." in read(each).text for each in wrong)
    assert (303, 303, 303, path(run, "ask")) == (
        nobody.status_code,
        unsaid.status_code,
        back.status_code,
        back.headers["location"],
    )
    assert {"HttpOnly", "SameSite=lax", "Path=/inbox"} <= set(cookie.split("; "))
    assert secret["rosa"] not in cookie + str(page)
    assert 422 == answered.status_code
    assert "rosa" == output.resolutions[0].resolved_by


async def test_nowhere_else(env: WorkflowEnvironment) -> None:
    """Signing in leads to no other site, and a cookie that was changed is nobody's."""
    secret, kept = tokens(rosa=["reviewer"])
    elsewhere = ("//evil.example/inbox", "https://evil.example", "/inboxes", "/inbox\\..", "/docs")
    async with inbox(HitlClient(env.client), authenticator=BearerTokens(kept)) as http:
        led = list[str]()
        for each in (*elsewhere, "/inbox?sort=age"):
            login = read(await http.get("/inbox/login"))
            entered = await send(http, login, token=secret["rosa"], next=each)
            led.append(entered.headers["location"])
        signed = str(http.cookies["hitl_session"])
        http.cookies.clear()
        changed = [
            await http.get("/inbox/start", headers={"Cookie": f"hitl_session={each}"})
            for each in (signed, signed[:-2] + "xx", "", "a.b.c", signed.partition(".")[2])
        ]

    assert [*["/inbox"] * len(elsewhere), "/inbox?sort=age"] == led
    assert [200, 303, 303, 303, 303] == [each.status_code for each in changed]


class LongAgo(datetime):
    """A clock that is a day behind."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime.now(tz) - DAY


async def test_sessions_elsewhere(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session holds in every process with the same key, and not where the key is another, after
    its time, or where the token has been withdrawn.
    """
    secret, kept = tokens(rosa=["reviewer"])
    client, key = HitlClient(env.client), "k" * 32

    async def looks(shown: Inbox, known: list[Any], cookie: str | None = None) -> tuple[int, str]:
        app = application(client, ask, inbox=shown, authenticator=BearerTokens(known))
        async with calling(app) as http:
            if cookie is None:
                await send(http, read(await http.get("/inbox/login")), token=secret["rosa"])
                cookie = str(http.cookies.get("hitl_session"))
            http.cookies.clear()
            headers = {"Cookie": f"hitl_session={cookie}"}
            return (await http.get("/inbox/start", headers=headers)).status_code, cookie

    here, cookie = await looks(Inbox(key=key), kept)
    there = {
        "same": await looks(Inbox(key=key), kept, cookie),
        "other": await looks(Inbox(key="o" * 32), kept, cookie),
        "none": await looks(Inbox(), kept, cookie),
        "withdrawn": await looks(Inbox(key=key), tokens(rosa=["reviewer"])[1], cookie),
    }
    monkeypatch.setattr(_sessions, "datetime", LongAgo)
    _, old = await looks(Inbox(key=key), kept)
    there["over"] = await looks(Inbox(key=key), kept, old)

    assert 200 == here
    assert {"same": 200, "other": 303, "none": 303, "withdrawn": 303, "over": 303} == {
        name: code for name, (code, _) in there.items()
    }


async def test_forms_of_other_sites(env: WorkflowEnvironment) -> None:
    """A form that does not carry what this session's forms carry changes nothing, and neither does
    one of somebody who may only look.
    """
    secret, kept = tokens(rosa=["reviewer"], vera=["viewer"])
    may = BearerTokens(kept)
    async with serving(env, ask) as client, inbox(client, ask, authenticator=may) as http:
        run = await client.start(ask)
        await paused(client, run)
        login = read(await http.get("/inbox/login"))
        await send(http, login, token=secret["rosa"])
        page = read(await http.get(path(run, "ask")))
        forged = [
            await send(http, page, "confirm-form", csrf=each)
            for each in ("", "x", login.all("input", name="csrf")[0].attributes["value"])
        ]
        plain = await http.post(path(run, "ask"), json={"action": "confirm"})
        out = page.one("form", class_="out")
        login = read(await http.get("/inbox/login"))
        entered = await send(http, login, token=secret["vera"])
        looks = read(await http.get(path(run, "ask")))
        csrf = looks.all("input", name="csrf")[0].attributes["value"]
        tried = await send(http, page, "confirm-form", csrf=csrf)
        still = await client.requirements(run)
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), ask)

    assert [403] * 3 == [each.status_code for each in forged]
    assert (415, 303, 403) == (plain.status_code, entered.status_code, tried.status_code)
    assert "/inbox/logout" == out.attributes["action"]
    assert [] == looks.all("button", id="confirm")
    assert ["ask"] == [each.id for each in still.open]


def produces() -> Any:
    return HOSTILE


go = Step("go", work, requires_confirmation=True, confirmation_message="{input}")
look = Step("look", produces, requires_output_review=True)
hostile = Workflow("hostile", [Parallel(go, look, name="p")])


async def test_hostile_content(env: WorkflowEnvironment) -> None:
    """What a message, an output or a name holds is shown as text, and the headers let nothing run
    that is not ours.
    """
    async with serving(env, hostile) as client, inbox(client, hostile) as http:
        run = await client.start(hostile, HOSTILE, run_id="x'\"><script>run</script>")
        await until(lambda: all_open(client, run, 2))
        name = "x'%22%3E%3Cscript%3Erun%3C%2Fscript%3E"
        told = [
            await http.get(f"/inbox/runs/{name}{rest}")
            for rest in ("", "/requirements/p.go", "/requirements/p.look")
        ]
        told += [await http.get(f"/inbox?q={name}"), await http.get(f"/inbox?run_id={name}")]
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), hostile)

    assert [200] * len(told) == [each.status_code for each in told]
    for response in told:
        page = read(response)
        assert ["/inbox/static/inbox.js"] == [each.attributes["src"] for each in page.all("script")]
        assert [] == page.all("img") + page.all("style")
        assert not [each for each in page.all("a") if "javascript" in each.attributes["href"]]
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert not [name for each in every(page) for name in each.attributes if name[:2] == "on"]
    assert HOSTILE in read(told[1]).one("h1").text
    assert HOSTILE in read(told[2]).text
    assert "bold" == read(told[2]).one("div", class_="markdown").one("strong").text


def every(element: Element) -> list[Element]:
    """Return all elements below one."""
    below = [each for each in element.children if isinstance(each, Element)]
    return [*below, *(inner for each in below for inner in every(each))]
