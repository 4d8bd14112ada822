"""Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

WIDTHS = (1280, 360)
LANGUAGES = ("en", "zh-CN")
SCHEMES = ("light", "dark")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window. Skips the test where there is none, which CI installs."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed: run scripts/install-debian")
    with sync_playwright() as playwright:
        # everything runs as root in CI, where Chromium has no sandbox; it opens nothing but the pages of the test
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened_page(browser: Browser, problems: list[str], origin: str, **context: Any) -> Iterator[Page]:
    """A page in a window of its own. `problems` gets errors of the console, and requests that leave `origin`."""
    window = browser.new_context(**{"locale": "en", "viewport": {"width": 1280, "height": 900}, **context})
    page = window.new_page()
    page.on("console", lambda line: problems.append(line.text) if line.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda asked: problems.append(asked.url) if not asked.url.startswith(origin) else None)
    try:
        yield page
    finally:
        window.close()
