"""Headless Chromium, as the machine has it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from tests.stage import WAIT


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Yield a browser, which ends with the block."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    assert found is not None, "no Chromium on PATH; install one: apt-get install chromium"
    # As root, as in most containers, Chromium starts without its sandbox alone.
    options = ["--no-sandbox", "--disable-dev-shm-usage"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=options)
        try:
            yield browser
        finally:
            await browser.close()


async def opened(browser: Browser, base: Any, **options: Any) -> Page:
    """Return a page of somebody's own browser, which fails a test for whatever goes wrong in it."""
    context = await browser.new_context(base_url=str(base), **options)
    context.set_default_timeout(WAIT * 1000)
    page = await context.new_page()
    page.on("pageerror", _fail)
    page.on("dialog", _fail)
    return page


def _fail(what: Any) -> None:
    raise AssertionError(f"in the browser: {what}")


async def filled(page: Page, form: str, written: dict[str, Any]) -> None:
    """Fill in a form, as a person does, and send it."""
    for name, text in written.items():
        found = page.locator(f'#{form} [name="{name}"]')
        kind = await found.first.evaluate("each => each.type")
        if kind in ("radio", "checkbox"):
            await page.check(f"#{form} [name='{name}'][value='{text}']")
        elif kind == "select-one":
            await found.select_option(text)
        else:
            await found.fill(text)
    await page.click(f"#{form} button")
