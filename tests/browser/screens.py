"""Pictures of every page in both languages, wide and narrow, light and dark: `make screens`, then look at them.

`make screens ARGS=--readme` also takes those that the READMEs show.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.browser.chromium import LANGUAGES, SCHEMES, WIDTHS, chromium, opened_page
from tests.browser.stage import open_stage

PAGES = {
    "home": "/",
    "search": "/search?q=nginx",
    "tags": "/image?name=nginx",
    "image": "/image?name=nginx:1.29.3",
    "problem": "/image?name=nginx:absent",
    "status": "/status",
    "kept": "/status/images",
}
OPERATORS = {"pages": {"operators": ["127.0.0.1/32"]}}
PASTED = "services:\n  web:\n    image: nginx:1.29  # pinned\n  db:\n    image: quay.io/sclorg/postgresql-16-c9s\n"


NAMED = {"server": {"public_url": "https://hub.example.com"}}
FOR_README = Path("docs/pictures")


def take_for_readme(folder: Path) -> None:
    """Take the pictures of the READMEs: what fits a window, in light colours."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as state, open_stage(Path(state), NAMED) as stage, chromium() as browser:
        for language in LANGUAGES:
            size = {"width": 1000, "height": 720}
            with opened_page(browser, [], stage.url, viewport=size, locale=language, color_scheme="light") as page:
                for name in ("home", "image"):
                    page.goto(stage.url + PAGES[name])
                    if name == "home":
                        page.fill("textarea", PASTED)
                        page.wait_for_selector("#result pre")
                    page.screenshot(path=folder / f"{name}.{language}.png")


def take(folder: Path) -> None:
    """Take them all into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = NAMED | OPERATORS
    with tempfile.TemporaryDirectory() as state, open_stage(Path(state), tables) as stage, chromium() as browser:
        for width in WIDTHS:
            for language in LANGUAGES:
                for scheme in SCHEMES:
                    size = {"width": width, "height": 900}
                    kinds = {"viewport": size, "locale": language, "color_scheme": scheme}
                    with opened_page(browser, [], stage.url, **kinds) as page:
                        for name, target in PAGES.items():
                            page.goto(stage.url + target)
                            if name == "home":
                                page.fill("textarea", PASTED)
                                page.wait_for_selector("#result pre")
                            page.screenshot(path=folder / f"{name}-{language}-{width}-{scheme}.png", full_page=True)


if __name__ == "__main__":
    take(Path("build/screens"))
    if "--readme" in sys.argv:
        take_for_readme(FOR_README)
