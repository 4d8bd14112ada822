"""Nothing that gets a domain flagged: no page looks like somebody else's, and robots are kept out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.faults.conftest import open_stage
from tests.support.http import fetch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.hub import Hub

# what asks for a password, shows somebody's logo, or runs and loads what is elsewhere
SUSPICIOUS = re.compile(r"<(?:form|input|img|script|iframe|object|embed|link)\b|\bsrc=|@import|url\(", re.IGNORECASE)


def test_the_page_has_no_form_and_no_logo_and_robots_are_kept_out(tmp_path: Path, hub: Hub) -> None:
    with open_stage(tmp_path, hub, {}) as stage:
        root = stage.gateway.url
        page = fetch(root + "/")
        home = page.body.decode()
        assert page.header("X-Robots-Tag") == "noindex, nofollow"
        assert '<meta name="robots" content="noindex' in home
        assert not SUSPICIOUS.search(home)
        assert "hubferry" in home
        robots = fetch(f"{root}/robots.txt")
        assert robots.body.split() == b"User-agent: * Disallow: /".split()
