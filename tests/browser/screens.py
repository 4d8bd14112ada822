"""Pictures of every page in both languages, wide and narrow, light and dark: `make screens`, then look at them."""

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
}
PASTED = "services:\n  web:\n    image: nginx:1.29  # pinned\n  db:\n    image: quay.io/sclorg/postgresql-16-c9s\n"


def take(folder: Path) -> None:
    """Take them all into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as state, open_stage(Path(state)) as stage, chromium() as browser:
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
    take(Path(sys.argv[1] if len(sys.argv) > 1 else "build/screens"))
