"""The inbox in a real browser: headless Chromium, as Debian packages it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import Confirm, HitlClient, Parallel, Reject, Step, StepInput, Workflow
from temporal_hitl.approvals import FILE, ApprovalsFile
from temporal_hitl.http import BearerTokens, Inbox
from temporal_hitl.signing import KEYS as VARIABLE
from temporal_hitl.signing import SigningKeys
from tests.browser import chromium, filled, opened
from tests.signatures import KEYS
from tests.stage import ended, paused, replays, serving, until
from tests.test_approvals_at_the_edges import FOR_ANA, MAIL, WIPE, asking
from tests.test_http_outage import brisk, connected, impatient, server
from tests.test_inbox import ANSWERS, HOSTILE, all_open, kinds, path
from tests.test_inbox_tools import ASKS, AgentDesk
from tests.test_inbox_values import FIRST, SECOND, is_open, rounds
from tests.web import application, free_port, listening, tokens

pytestmark = pytest.mark.browser
__all__ = ["brisk"]  # A fixture.


def work(step_input: StepInput) -> Any:
    return step_input.input


ask = Workflow(
    "ask", [Step("ask", work, requires_confirmation=True, confirmation_message="Go, {input}?")]
)


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests here."""
    async with chromium() as started:
        yield started


@asynccontextmanager
async def served(client: HitlClient, *definitions: Workflow, **options: Any) -> AsyncIterator[Any]:
    """Serve the inbox at a free port, and yield its address."""
    app = application(client, *definitions, inbox=Inbox(), **options)
    async with listening(app) as http:
        yield http.base_url


async def signs_in(page: Page, token: str) -> None:
    """Sign in where the page asks for a token."""
    await page.fill("#token", token)
    await page.click("main button")


async def shows(page: Page, text: str) -> None:
    """Wait until a page shows a text."""
    await page.get_by_text(text).first.wait_for()


async def test_each_kind_without_javascript(env: WorkflowEnvironment, browser: Browser) -> None:
    """With JavaScript off, somebody signs in, finds each kind of requirement in the list and
    answers it.
    """
    secret, kept = tokens(rosa=["reviewer"])
    async with (
        serving(env, kinds) as client,
        served(client, kinds, authenticator=BearerTokens(kept)) as base,
    ):
        run = await client.start(kinds, "Ada")
        await until(lambda: all_open(client, run, len(ANSWERS)))
        page = await opened(browser, base, java_script_enabled=False)
        await page.goto(f"/inbox?run_id={run}")
        await signs_in(page, "nonsense")
        await shows(page, "This token is not known.")
        await signs_in(page, secret["rosa"])
        for asked, action, written, _ in ANSWERS:
            await page.goto(f"/inbox?run_id={run}")
            await page.click(f"a[href$='/{asked}']")
            said = {
                name.replace("__", "."): text
                for name, text in written.items()
                if text and name != "name"
            }
            if action == "edit":
                await page.click("summary:has-text('Edit')")
            await filled(page, f"{action}-form", said)
            await shows(page, "This is decided")
        output = await ended(client, run)
        await replays(client.handle(run), kinds)
        await page.context.close()

    assert {"rosa"} == {each.resolved_by for each in output.resolutions}
    expected = {asked: action for asked, action, *_ in ANSWERS}
    assert expected == {each.requirement_id: each.action for each in output.resolutions}


async def test_two_race(env: WorkflowEnvironment, browser: Browser) -> None:
    """Of two who answer at once one decides, and the other is told who did, and what."""
    secret, kept = tokens(ana=["reviewer"], bo=["reviewer"])
    async with (
        serving(env, ask) as client,
        served(client, ask, authenticator=BearerTokens(kept)) as base,
    ):
        run = await client.start(ask, "you")
        await paused(client, run)
        pages = [await opened(browser, base) for _ in secret]
        for page, token in zip(pages, secret.values(), strict=True):
            await page.goto(path(run, "ask"))
            await signs_in(page, token)
            await shows(page, "Go, you?")
        await asyncio.gather(pages[0].click("#confirm"), pages[1].click("#reject"))
        await asyncio.gather(*(shows(page, "This is decided") for page in pages))
        texts = [await page.inner_text("main") for page in pages]
        output = await ended(client, run)
        await replays(client.handle(run), ask)
        for page in pages:
            await page.context.close()

    (record,) = output.resolutions
    told = {"ana": texts[0], "bo": texts[1]}
    did = {"confirm": "confirmed it", "reject": "rejected it"}[record.action]
    winner = str(record.resolved_by)
    (loser,) = {"ana", "bo"} - {winner}
    assert all(f"{winner} {did}" in text for text in texts)
    assert "Somebody else was first. Your answer changed nothing." in told[loser]
    assert "Somebody else was first" not in told[winner]


async def test_decided_meanwhile(env: WorkflowEnvironment, browser: Browser) -> None:
    """If somebody else decides while a question is looked at, its page says who and what; what was
    written stays, and cannot be sent any more.
    """
    async with serving(env, ask) as client, served(client, ask) as base:
        run, other = await client.start(ask, "you"), await client.start(ask, "them")
        await asyncio.gather(paused(client, run), paused(client, other))
        page = await opened(browser, base)
        async with page.expect_response("**/inbox/events*"):
            await page.goto(path(run, "ask"))
        await page.fill("#reject-feedback", "rather not")
        await client.resolve(other, Reject(requirement_id="ask", resolved_by="Al"))
        no = Reject(requirement_id="ask", resolved_by="Bo", feedback="too late")
        await client.resolve(run, no)
        await shows(page, "Bo rejected it")
        left = await page.locator("#answers button:enabled").count()
        written = await page.input_value("#reject-feedback")
        await asyncio.gather(ended(client, run), ended(client, other))
        await replays(client.handle(run), ask)
        await page.context.close()

    assert (0, "rather not") == (left, written)


both = Workflow(
    "both", [Parallel(*(Step(each, work, requires_confirmation=True) for each in "ab"), name="p")]
)


async def test_live(env: WorkflowEnvironment, browser: Browser) -> None:
    """A list that is open shows what opens and closes without being loaded again, and keeps what is
    selected and where the focus is.
    """
    async with serving(env, both) as client, served(client, both) as base:
        page = await opened(browser, base)
        await page.goto("/inbox?pipeline=both")
        await shows(page, "Nothing that waits is like that.")
        await page.evaluate("window.here = true")
        run = await client.start(both)
        await page.focus("a[href$='/p.b']")
        await page.keyboard.press("x")
        await client.resolve(run, Confirm(requirement_id="p.a"))
        await page.locator("a[href$='/p.a']").wait_for(state="detached")
        kept = await page.evaluate(
            "[window.here, document.activeElement.getAttribute('href'),"
            " document.querySelectorAll('input[name=row]:checked').length]"
        )
        await client.resolve(run, Confirm(requirement_id="p.b"))
        await shows(page, "Nothing that waits is like that.")
        await ended(client, run)
        await replays(client.handle(run), both)
        await page.context.close()

    assert [True, path(run, "p.b"), 1] == kept


async def test_keyboard(env: WorkflowEnvironment, browser: Browser) -> None:
    """A question is found, opened and answered without a mouse, and what is typed into a field is
    no command.
    """
    async with serving(env, both) as client, served(client, both) as base:
        run = await client.start(both)
        await until(lambda: all_open(client, run, 2))
        page = await opened(browser, base)
        await page.goto(f"/inbox?run_id={run}")
        await page.locator("a[href$='/p.b']").wait_for()
        for key in ("?", "Escape", "j", "j", "k", "j", "Enter"):
            await page.keyboard.press(key)
        await page.wait_for_url("**/requirements/*")
        await page.keyboard.press("r")
        await page.keyboard.type("just c, j and ?")
        written = await page.input_value("#reject-feedback")
        await page.locator("#reject-feedback").blur()
        for key in ("c", "Enter"):
            await page.keyboard.press(key)
        await shows(page, "This is decided")
        record = (await client.requirements(run, resolved=True)).resolved[0]
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), both)
        await page.context.close()

    assert "just c, j and ?" == written
    assert "confirm" == record.action


async def test_all_of_a_page(env: WorkflowEnvironment, browser: Browser) -> None:
    """All that a page lists is selected at once, and confirmed; each has its result, and `u` leads
    back to the list.
    """
    async with serving(env, both) as client, served(client, both) as base:
        run = await client.start(both)
        await until(lambda: all_open(client, run, 2))
        page = await opened(browser, base)
        await page.goto(f"/inbox?run_id={run}")
        await page.locator("a[href$='/p.b']").wait_for()
        await page.check("#all")
        await shows(page, "(2)")
        await page.uncheck("input[name=row] >> nth=0")
        partly = await page.evaluate("document.getElementById('all').indeterminate")
        await page.check("#all")
        await page.click("#confirm")
        await shows(page, "What became of your answers")
        became = await page.inner_text(".became")
        await page.keyboard.press("u")
        await page.wait_for_url("**/inbox")
        await ended(client, run)
        await replays(client.handle(run), both)
        await page.context.close()

    assert (True, 2) == (partly, became.count(": counts"))


async def test_arguments_are_edited(env: WorkflowEnvironment, browser: Browser) -> None:
    """What an agent wants to call a tool with is unfolded, edited and accepted; the page then shows
    the arguments that count.
    """
    async with serving(env, workflows=[AgentDesk]) as client, served(client) as base:
        run = await client.start("agent_desk")
        await until(lambda: all_open(client, run, len(ASKS)))
        page = await opened(browser, base)
        await page.goto(path(run, "change"))
        hidden = await page.is_visible("#edit_arguments")
        await page.click("summary:has-text('Edit the arguments')")
        await filled(page, "edit_arguments-form", {"value.": '{"to": "Ada"}', "name": "Al"})
        await shows(page, "Al edited the arguments")
        shown = await page.inner_text("section[aria-labelledby=the-answer] .tree")
        await page.keyboard.press("n")
        await page.wait_for_url("**/requirements/*")
        record = (await client.requirements(run, resolved=True)).resolved[0]
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), workflows=[AgentDesk])
        await page.context.close()

    assert (False, {"to": "Ada"}) == (hidden, record.resolution.model_dump()["arguments"])
    assert ["to Ada"] == [" ".join(shown.split()[1:])]


async def findings(page: Page) -> list[str]:
    """Return what axe finds on a page, of whatever weight, and whether it is wider than the
    screen.
    """
    told = (await Axe().run(page)).response
    found = [
        f"{each['id']}: {node['html']:.200} {node['failureSummary']}"
        for each in told["violations"]
        for node in each["nodes"]
    ]
    is_wide = await page.evaluate("document.documentElement.scrollWidth > innerWidth")
    return [*found, *(["wider than the screen"] if is_wide else [])]


SCREENS = [(390, "dark"), (1440, "light"), (390, "light"), (1440, "dark")]


async def test_for_everybody(env: WorkflowEnvironment, browser: Browser) -> None:
    """On a phone and on a wide screen, light and dark, axe finds nothing on any page, each
    fits, and nothing of a hostile message runs or is refused by the policy.
    """
    hostile = f"{HOSTILE} {'x' * 300}"
    async with serving(env, kinds) as client, served(client, kinds) as base:
        run = await client.start(kinds, hostile)
        await until(lambda: all_open(client, run, len(ANSWERS)))
        paths = [path(run, asked) for asked, *_ in ANSWERS]
        await client.resolve(run, Confirm(requirement_id="all.go", comment=hostile))
        paths += ["/inbox", "/inbox?q=nothing", "/inbox/login", "/inbox/start"]
        paths += ["/inbox/start/kinds", f"/inbox/runs/{run}", "/inbox/runs/none"]
        faults, said = dict[str, Any](), list[str]()
        for width, scheme in SCREENS:
            viewport = {"width": width, "height": 800}
            page = await opened(browser, base, viewport=viewport, color_scheme=scheme)
            page.on("console", lambda each: said.append(each.text))
            for each in paths:
                await page.goto(each)
                faults[f"{each} {width} {scheme}"] = await findings(page)
            await page.goto(path(run, "all.fill"))
            await filled(page, "answer-form", {"value.amount": "1"})
            await shows(page, "is needed")
            faults[f"a refused form {width} {scheme}"] = await findings(page)
            await page.context.close()
        await client.cancel(run)
        await ended(client, run)
        await replays(client.handle(run), kinds)

    assert {} == {each: found for each, found in faults.items() if found}
    assert {"404", "422"} == {each for told in said for each in re.findall(r"\b4\d\d\b", told)}
    assert [] == [told for told in said if "Failed to load resource" not in told]


async def test_rounds_and_tools_for_everybody(env: WorkflowEnvironment, browser: Browser) -> None:
    """The pages that compare two rounds, and those of what agents ask, are as good for everybody,
    and a tree opens and closes by the keyboard.
    """
    async with (
        serving(env, rounds, workflows=[AgentDesk]) as client,
        served(client, rounds) as base,
    ):
        run, desk = await client.start(rounds), await client.start("agent_desk")
        await until(lambda: all_open(client, run, len(FIRST)))
        for each in FIRST:
            await client.resolve(run, Reject(requirement_id=each, feedback="again"))
        await until(lambda: is_open(client, run, SECOND))
        await until(lambda: all_open(client, desk, len(ASKS)))
        paths = [*(path(run, each) for each in SECOND), *(path(desk, each) for each in ASKS)]
        faults = dict[str, Any]()
        for width, scheme in SCREENS[:2]:
            viewport = {"width": width, "height": 800}
            page = await opened(browser, base, viewport=viewport, color_scheme=scheme)
            for each in paths:
                await page.goto(each)
                faults[f"{each} {width} {scheme}"] = await findings(page)
            await page.goto(path(run, SECOND[0]))
            await page.focus(".tree summary")
            closed = [await page.is_visible(".tree .text >> nth=0")]
            await page.keyboard.press("Enter")
            closed.append(await page.is_visible(".tree .text >> nth=0"))
            assert [True, False] == closed
            await page.context.close()
        for each in (run, desk):
            await client.cancel(each)
            await ended(client, each)
        await replays(client.handle(run), rounds)

    assert {} == {each: found for each, found in faults.items() if found}


async def test_temporal_goes_and_comes(tmp_path: Path, brisk: None, browser: Browser) -> None:
    """A list that is open says by itself that Temporal cannot be reached, and that it can be again
    by saying nothing.
    """
    port, file = await free_port(), tmp_path / "dev.db"
    async with AsyncExitStack() as open_:
        async with server(port, file):
            client = await connected(port)
            base = await open_.enter_async_context(served(client, ask))
            page = await opened(browser, base)
            await page.goto("/inbox")
            await shows(page, "Nothing waits for a person.")
            open_.enter_context(impatient())
        await shows(page, "Temporal cannot be reached since")
        kept = await page.is_visible("text=Nothing waits for a person.")
        async with server(port, file):
            await page.locator(".notice").wait_for(state="detached")
        await page.context.close()

    assert kept


@pytest.fixture
async def approving(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[tuple[HitlClient, Any, str]]:
    """Serve an agent whose tools are approvals; yields a client, where, and an approver's token."""
    filed = tmp_path / "approvals.jsonl"
    monkeypatch.setenv(VARIABLE, KEYS)
    monkeypatch.setenv(FILE, str(filed))
    secret, kept = tokens(bob=["reviewer", "approver"])
    options = {"authenticator": BearerTokens(kept), "signing_keys": SigningKeys.parse(KEYS)}
    agent = asking().workflow
    async with (
        serving(env, agent) as client,
        served(client, agent, approvals=ApprovalsFile(filed), **options) as base,
    ):
        yield client, base, secret["bob"]


async def test_approvals_for_everybody(
    approving: tuple[HitlClient, Any, str], browser: Browser
) -> None:
    """What an agent asks, and the list of approvals, waiting and decided, are good for everybody;
    an approval is given by somebody who signs in, and signed as theirs.
    """
    (client, base, token), agent, faults = approving, asking().workflow, dict[str, Any]()
    run, other = [await client.start(agent, HOSTILE, options=FOR_ANA) for _ in range(2)]
    await asyncio.gather(paused(client, run), paused(client, other))
    for width, scheme in SCREENS[:2]:
        viewport = {"width": width, "height": 800}
        page = await opened(browser, base, viewport=viewport, color_scheme=scheme)
        await page.goto("/inbox/approvals")
        await signs_in(page, token)
        if width == SCREENS[0][0]:
            await shows(page, "waits for approver")
            faults["waiting"] = await findings(page)
            await page.goto(path(run, WIPE))
            await filled(page, "confirm-form", {"comment": "as agreed"})
            await shows(page, "signed as")
        for each in ("/inbox/approvals", path(other, WIPE), path(other, MAIL), path(run, WIPE)):
            await page.goto(each)
            faults[f"{each} {width} {scheme}"] = await findings(page)
        await page.goto(f"/inbox/approvals?run_id={run}&status=approved")
        await shows(page, "as agreed")
        await page.context.close()
    for each in (run, other):
        await client.cancel(each)
        await ended(client, each)
    await replays(client.handle(run), agent)

    assert {} == {each: found for each, found in faults.items() if found}
