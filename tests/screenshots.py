"""Makes the pictures of the inbox in `docs/images`: `python -m tests.screenshots`."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from temporal_hitl import (
    Confirm,
    Parallel,
    Reject,
    Router,
    Step,
    StepInput,
    UserInputField,
    Workflow,
)
from temporal_hitl.http import BearerTokens, Inbox
from tests.browser import chromium, opened
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
HIGHEST = 800
"""Pixels of a page that a picture shows."""
SHOTS: list[tuple[str, str, int, str]] = [
    ("inbox", "/inbox", 1100, "light"),
    ("inbox-phone", "/inbox", 390, "dark"),
    ("form", path("release-1", "together.terms"), 1100, "light"),
    ("review", path("article-1", "draft~2"), 1100, "dark"),
    ("run", "/inbox/runs/release-1", 1100, "light"),
]


async def main() -> None:
    """Serve two pipelines, and take the pictures."""
    secret, kept = tokens(ana=["reviewer", "operator"])
    started = await WorkflowEnvironment.start_time_skipping_v2(
        data_converter=pydantic_data_converter, **server_options()
    )
    async with started as env, serving(env, release, article) as client:
        await client.start(release, "people.csv", run_id="release-1")
        await paused(client, "release-1")
        yes = Confirm(requirement_id="begin", resolved_by="bo", comment="the board agrees")
        await client.resolve("release-1", yes)
        await client.start(article, run_id="article-1")
        await paused(client, "article-1")
        no = "Shorter words, and say how long each of us may stay."
        await client.resolve(
            "article-1", Reject(requirement_id="draft", resolved_by="bo", feedback=no)
        )
        await paused(client, "article-1")
        await until(lambda: all_open(client, "release-1", 3))
        inbox = Inbox(web_ui="http://127.0.0.1:8233")
        app = application(client, release, article, authenticator=BearerTokens(kept), inbox=inbox)
        async with listening(app) as http:
            await take(http.base_url, secret["ana"])


async def take(base: Any, token: str) -> None:
    """Take all pictures."""
    IMAGES.mkdir(exist_ok=True)
    async with chromium() as browser:
        for name, at, width, scheme in SHOTS:
            viewport = {"width": width, "height": 700}
            page = await opened(browser, base, viewport=viewport, color_scheme=scheme)
            await page.goto(at)
            await page.fill("#token", token)
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
