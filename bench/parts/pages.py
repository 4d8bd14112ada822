"""What pages cost: how long the home page and the tags of a large repository take, and how large the home page is.

Goals: home under 60 kB with its style and script, and 5 ms of CPU time; 10,000 tags under 300 ms, once they are kept.
The CPU time is that of the gateway, which other work on the machine changes little.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from bench.table import Goal, Table
from tests.support.gateway import Gateway, upstream
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import build_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.run import Run

__all__ = ["measure"]

TAGS = 10_000
MOST_BYTES = 60_000
MOST_HOME_S = 0.005
MOST_TAGS_S = 0.3
PASTED = "text=" + "%0A".join(f"++image%3A+nginx%3A{number}" for number in range(100))


def measure(run: Run) -> Sequence[Table]:
    times = 20 if run.quick else 200
    with Hub(strict=False) as hub:
        image = build_image("busy")
        hub.add("library/busy", "latest", image)
        busy = hub.state.repositories["library/busy"]
        busy.tags |= {f"1.{number // 100}.{number % 100}": image.digest for number in range(TAGS - 1)}
        settings = {
            "upstreams": {"docker.io": upstream(hub.url)},
            "cache": {"dir": str(run.state("hubferry") / "data"), "tag_ttl": "1h"},
            "access": {"login": "open"},
        }
        with Gateway.start(run.state("hubferry"), settings) as gateway:
            home = fetch(f"{gateway.url}/").body.decode()
            parts = [fetch(gateway.url + path).body for path in re.findall(r'(?:href|src)="(/assets/[^"]+)"', home)]
            size = len(home.encode()) + sum(map(len, parts))
            figures = {
                "home": _cpu_s(gateway, times, "/"),
                "home, 100 names rewritten": _cpu_s(gateway, times, "/", PASTED.encode()),
                f"{TAGS} tags, kept": _cpu_s(gateway, 20, "/image?name=busy"),
            }
    home_s, _, tags_s = figures.values()
    return [
        Table(
            title=f"pages: CPU ms of the gateway for each, mean of {times} (tags: 20)",
            columns=("page", "CPU ms"),
            rows=[(name, f"{seconds * 1000:.2f}") for name, seconds in figures.items()],
            goals=[
                Goal("home with style and script under 60 kB", f"{size / 1000:.1f} kB", reached=size < MOST_BYTES),
                Goal("home under 5 ms", f"{home_s * 1000:.2f} ms", reached=home_s < MOST_HOME_S),
                Goal("10,000 tags under 300 ms", f"{tags_s * 1000:.0f} ms", reached=tags_s < MOST_TAGS_S),
            ],
        )
    ]


def _cpu_s(gateway: Gateway, times: int, target: str, form: bytes | None = None) -> float:
    """The gateway's CPU seconds for one answer. A page that asks upstreams is limited to 60 a minute."""
    method = "GET" if form is None else "POST"
    for _ in range(3):  # templates are compiled, and lists kept
        assert fetch(gateway.url + target, method, body=form or b"").status == 200
    before_s = _threads_s(gateway)
    for _ in range(times):
        assert fetch(gateway.url + target, method, body=form or b"").status == 200
    return (_threads_s(gateway) - before_s) / times


def _threads_s(gateway: Gateway) -> float:
    """CPU seconds of the threads of the gateway, to the nanosecond."""
    return sum(int(file.read_text().split()[0]) for file in Path(f"/proc/{gateway.pid}/task").glob("*/schedstat")) / 1e9
