"""Makes the pictures in `docs/images`: `python -m tests.screenshots`. Those of the inbox, and for
each page of the guide what the reviewer sees of the page's own run.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Sequence
from datetime import timedelta
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Confirm,
    HitlClient,
    Parallel,
    Reject,
    Router,
    Step,
    StepInput,
    UserInputField,
    Workflow,
)
from temporal_hitl.cli._modules import Contents
from temporal_hitl.http import BearerTokens, Inbox
from temporal_hitl.primitives import Definition
from tests.browser import chromium, opened
from tests.documents import PAGES, as_module, blocks, commands_of, started_by
from tests.stage import paused, server_options, serving, until
from tests.test_inbox import all_open, path
from tests.web import application, listening, tokens

IMAGES = Path(__file__).parent.parent / "docs" / "images"
DRAFT = """## Parental leave, in short

* You may stay at home for **up to 14 months**.
* Tell us eight weeks before.

| who | how long |
|---|---|
| one parent | 12 months |
| both | 14 months |
"""
FIELDS = [
    UserInputField("recipient", description="Who gets the table"),
    UserInputField("purpose", allowed_values=("research", "audit")),
    UserInputField("rows", "int", value=500),
    UserInputField("note", required=False),
]


def work(step_input: StepInput) -> Any:
    return step_input.input


def draft(step_input: StepInput) -> str:
    again = "rejection_feedback" in step_input.additional_data
    return DRAFT if again else DRAFT.replace("You may", "Parents are entitled to").split("|")[0]


release = Workflow(
    "data_release",
    [
        Step("profile", work),
        Step(
            "begin",
            work,
            requires_confirmation=True,
            confirmation_message="Begin with the release of {input}?",
        ),
        Parallel(
            Step(
                "terms",
                work,
                requires_user_input=True,
                user_input_message="On which terms?",
                user_input_schema=FIELDS,
                hitl_timeout=timedelta(hours=5),
            ),
            Step(
                "erase",
                work,
                requires_confirmation=True,
                confirmation_message="Erase the copies?",
                hitl_timeout=timedelta(days=2),
            ),
            Router(
                [Step("redact", work), Step("aggregate", work)],
                name="way",
                requires_user_input=True,
                user_input_message="Redact, or aggregate?",
            ),
            name="together",
        ),
        Step("publish", work),
    ],
)
article = Workflow(
    "article",
    [
        Step(
            "draft",
            draft,
            requires_output_review=True,
            output_review_message="Is this easy to read?",
            on_reject="retry",
        )
    ],
)
HIGHEST = 760
"""Pixels of a page that a picture shows."""
Shot: TypeAlias = tuple[str, str, int, str]
"""The name of a picture, what it is of, how wide, and in which scheme."""
SHOTS: list[Shot] = [
    ("inbox", "/inbox", 1100, "light"),
    ("inbox-phone", "/inbox", 390, "dark"),
    ("form", path("release-1", "together.terms"), 1100, "light"),
    ("review", path("article-1", "draft~2"), 1100, "dark"),
    ("run", "/inbox/runs/release-1", 1100, "light"),
]


async def main() -> None:
    """Take all pictures."""
    IMAGES.mkdir(exist_ok=True)
    started = await WorkflowEnvironment.start_time_skipping_v2(
        data_converter=pydantic_data_converter, **server_options()
    )
    async with started as env:
        await of_the_inbox(env)
        with TemporaryDirectory() as folder:
            await of_the_guide(env, Path(folder))


async def of_the_inbox(env: WorkflowEnvironment) -> None:
    """Serve two pipelines, and take the pictures."""
    async with serving(env, release, article) as client:
        await client.start(release, "people.csv", run_id="release-1")
        await paused(client, "release-1")
        yes = Confirm(requirement_id="begin", resolved_by="bo", comment="the board agrees")
        await client.resolve("release-1", yes)
        await client.start(article, run_id="article-1")
        await paused(client, "article-1")
        told = "Shorter words, and say how long each of us may stay."
        no = Reject(requirement_id="draft", resolved_by="bo", feedback=told)
        await client.resolve("article-1", no)
        await paused(client, "article-1")
        await until(lambda: all_open(client, "release-1", 3))
        await take(client, SHOTS, release, article)


async def of_the_guide(env: WorkflowEnvironment, folder: Path) -> None:
    """Serve what the pages' authors write, start each page's run, and take its picture."""
    sys.path.insert(0, str(folder))
    found, shots = Contents(), list[Shot]()
    for page in PAGES:
        found.add(as_module(folder, page))
    async with serving(env, *found.pipelines, workflows=found.workflows) as client:
        for page in PAGES:
            for name in re.findall(r"images/(guide-[\w-]+)\.png", page.read_text()):
                shots.append((name, await waiting(client, page), 1000, "light"))
        await take(client, shots, *found.pipelines)


async def waiting(client: HitlClient, page: Path) -> str:
    """Start the run of a page, and return the path where it is answered."""
    start, *_ = filter(None, map(started_by, chain(*map(commands_of, blocks(page)))))
    await client.start(start.pipeline, start.input, run_id=start.run)
    asked = (await paused(client, start.run)).requirements
    return path(start.run, asked[0].id) if len(asked) == 1 else f"/inbox/runs/{start.run}"


async def take(client: HitlClient, shots: Sequence[Shot], *definitions: Definition) -> None:
    """Take pictures of what ana sees."""
    secret, kept = tokens(ana=["reviewer", "operator"])
    inbox = Inbox(web_ui="http://127.0.0.1:8233")
    app = application(client, *definitions, authenticator=BearerTokens(kept), inbox=inbox)
    async with listening(app) as http, chromium() as browser:
        for name, at, width, scheme in shots:
            viewport = {"width": width, "height": 700}
            page = await opened(browser, http.base_url, viewport=viewport, color_scheme=scheme)
            await page.goto(at)
            await page.fill("#token", secret["ana"])
            await page.click("main button")
            await page.locator("main h1").wait_for()
            await page.wait_for_timeout(1500)
            height = await page.evaluate("document.documentElement.scrollHeight")
            if width > 600:
                await page.set_viewport_size({"width": width, "height": min(height, HIGHEST)})
            await page.screenshot(path=IMAGES / f"{name}.png")
            await page.context.close()


if __name__ == "__main__":
    asyncio.run(main())
