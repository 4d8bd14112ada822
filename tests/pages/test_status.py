"""The status page of a real gateway: who sees it, what it shows after real pulls, and what may be changed there."""

from __future__ import annotations

import re
import time
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from hubferry.server.live import MOST_LISTENERS
from hubferry.server.passwords import make_hash
from tests.browser.stage import Stage, open_stage, pull
from tests.support import faults
from tests.support.content import MIB
from tests.support.gateway import Gateway
from tests.support.http import Answer, Stream, fetch, open_stream
from tests.support.images import build_image
from tests.support.registry_client import basic
from tests.support.shell import settled_log
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGES = ("/status", "/status/events", "/status/images")
HERE = {"pages": {"operators": ["127.0.0.1/32"]}}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("status")
    audit = {"audit": {"file": str(folder / "audit.json")}}
    with open_stage(folder, HERE | audit) as running:
        yield running


def words(markup: bytes) -> str:
    """What people read of a page, or of an event."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", markup.decode().replace("data: ", ""))))


def order(stage: Stage, site: str | None = "same-origin", origin: str | None = None, **form: str) -> Answer:
    headers = [("Sec-Fetch-Site", site)] if site else []
    headers += [("Origin", origin)] if origin else []
    return fetch(f"{stage.url}/status/images", "POST", headers, body=urlencode(form).encode())


def next_event(stream: Stream) -> str:
    received = b""
    while not received.endswith(b"\n\n"):
        piece = stream.read()
        assert piece, "the stream ended"
        received += piece
    return words(received)


# who


@pytest.mark.parametrize("operators", [[], ["192.0.2.0/24"]], ids=["nobody is one", "somebody else is one"])
def test_for_strangers_there_is_no_such_page(tmp_path: Path, operators: list[str]) -> None:
    with open_stage(tmp_path, {"pages": {"operators": operators}}, is_pulled=False) as stage:
        for path in PAGES:
            answer = fetch(stage.url + path)
            assert (answer.status, answer.body.decode()) == (404, f"nothing is at {path}: see /\n")
        assert order(stage, action="remove", image="nginx:latest").status == 404
        assert "/status" not in fetch(stage.url).body.decode()


def test_a_network_counts_only_for_requests_that_come_from_it(stage: Stage) -> None:
    assert fetch(f"{stage.url}/status").status == 200
    assert fetch(f"{stage.url}/status", headers=[("X-Forwarded-For", "127.0.0.1")]).status == 404
    assert '<a href="/status"' in fetch(stage.url).body.decode()
    assert '<a href="/status"' not in fetch(stage.url, headers=[("Via", "1.1 proxy")]).body.decode()


def test_under_a_name_of_somebody_else_nothing_is_shown(stage: Stage) -> None:
    """DNS rebinding: the page of a stranger, in the browser of an operator, leads its own name to the gateway."""
    for path in PAGES:
        answer = fetch(stage.url + path, host="rebound.example")
        assert answer.status == 403
        assert "nginx" not in answer.body.decode()
    assert fetch(f"{stage.url}/status", host=f"localhost:{stage.gateway.port}").status == 200


def test_users_and_groups_log_in(tmp_path: Path) -> None:
    people = ("alice", "bob", "carol")
    (tmp_path / "users").write_text("".join(f"{name}:{make_hash(name, 4)}\n" for name in people))
    access = {"login": "users", "users_file": str(tmp_path / "users"), "groups": {"admins": ["bob"]}}
    tables = {"access": access, "pages": {"operators": ["user:alice", "group:admins"]}}
    with open_stage(tmp_path, tables, is_pulled=False) as stage:

        def seen(path: str, *who: str) -> Answer:
            return fetch(stage.url + path, headers=[basic(name, name) for name in who])

        assert seen("/status").status == 401
        assert (seen("/status").header("WWW-Authenticate") or "").startswith("Basic realm=")
        assert [seen("/status", name).status for name in people] == [200, 200, 404]
        assert fetch(f"{stage.url}/status", headers=[basic("alice", "wrong")]).status == 401
        assert '<a href="/status"' in seen("/", "alice").body.decode()
        assert '<a href="/status"' not in seen("/", "carol").body.decode() + seen("/").body.decode()
        assert "alice" not in seen("/status", "alice").body.decode()  # neither passwords nor hashes nor names


# what


def test_operators_see_what_happened(stage: Stage) -> None:
    pull(stage.gateway, "library/nginx", "1.29.3")  # all of it from the cache
    fetch(f"{stage.url}/v2/quay.io/owner/app/manifests/1")
    shown = words(fetch(f"{stage.url}/status").body)
    assert re.search(r"Hit ratio (5|6|7)\d%", shown)
    assert re.search(r"Sent 7\.\dMiB", shown)
    assert re.search(r"Saved 3\.\dMiB", shown)
    assert "docker.io up this address: " in shown
    assert re.search(r"\d+ of 100, again in \dh", shown)
    assert "quay.io down" in shown
    assert "docker.io/library/nginx" in shown
    assert "quay.io cannot be reached from this gateway" in shown
    assert "Check the gateway's name server" in shown
    chinese = words(fetch(f"{stage.url}/status?lang=zh").body)
    assert "命中率" in chinese
    assert "请检查网关的 DNS" in chinese


def test_what_strangers_ask_for_in_vain_is_no_problem_and_no_image(stage: Stage) -> None:
    fetch(f"{stage.url}/v2/made/up/manifests/1")
    assert "made/up" not in words(fetch(f"{stage.url}/status").body)


def test_events_show_a_running_fill_with_its_progress(stage: Stage) -> None:
    image = build_image("slow", layer_sizes=(8 * MIB,))
    stage.hub.add("library/slow", "1", image)
    stage.hub.script(faults.throttle(MIB), role="cdn", path=image.layers[0].digest.partition(":")[2], times=None)
    try:
        manifest = fetch(f"{stage.url}/v2/library/slow/manifests/1").json()
        layer = f"{stage.url}/v2/library/slow/blobs/{manifest['layers'][0]['digest']}"
        with open_stream(layer) as blob, open_stream(f"{stage.url}/status/events") as events:
            blob.read()
            assert events.header("Content-Type") == "text/event-stream"
            said = ""
            deadline = time.monotonic() + 30
            while not re.search(r"docker.io/library/slow:1 sha256:\w+ [\d.]+\wiB / 8\.0MiB · [\d.]+\wiB/s · \d", said):
                assert time.monotonic() < deadline, said
                said = next_event(events)
    finally:
        stage.hub.clear()


def test_only_so_many_look_on_and_each_has_its_line_in_the_log(stage: Stage) -> None:
    streams = [open_stream(f"{stage.url}/status/events") for _ in range(MOST_LISTENERS)]
    try:
        assert fetch(f"{stage.url}/status/events").status == 503
        before = sum(line.get("path") == "/status/events" for line in settled_log(stage.gateway))
    finally:
        for stream in streams:
            stream.close()

    def lines() -> list[dict[str, Any]]:
        return [line for line in stage.gateway.log_records() if line.get("path") == "/status/events"]

    wait_until(lambda: len(lines()) == before + MOST_LISTENERS)
    with open_stream(f"{stage.url}/status/events") as again:
        assert "Hit ratio" in next_event(again)


def test_the_server_ends_although_somebody_looks_on(tmp_path: Path) -> None:
    tables = HERE | {"server": {"shutdown_grace": "60s"}}
    with open_stage(tmp_path, tables, is_pulled=False) as stage, open_stream(f"{stage.url}/status/events") as events:
        next_event(events)
        stage.gateway.stop(timeout_s=20)
        while events.read():
            pass
        assert events.ended == "complete"


def test_figures_survive_a_restart(tmp_path: Path) -> None:
    with open_stage(tmp_path, HERE) as stage:
        sent = re.search(r"in all [\d.]+MiB", words(fetch(f"{stage.url}/status").body))
        assert sent
        config = stage.gateway.config_file.read_text()
        stage.gateway.stop()
        with Gateway.start(tmp_path / "gateway", config, port=stage.gateway.port) as again:

            def is_shown() -> bool:
                return sent[0] in words(fetch(f"{again.url}/status").body)

            wait_until(is_shown)
    assert [path.name for path in sorted((tmp_path / "data" / "activity").iterdir())] == ["0.json", "0.lock"]


def test_workers_are_added_up(tmp_path: Path) -> None:
    tables = HERE | {"server": {"workers": 2}}
    with open_stage(tmp_path, tables, is_pulled=False) as stage:
        for _ in range(40):
            fetch(f"{stage.url}/v2/library/nginx/manifests/1.29.3")
        # each request is of one worker, and of the other one the page knows what it has written last
        wait_until(lambda: "Requests 40 in all 40" in words(fetch(f"{stage.url}/status").body), timeout_s=60)


def test_without_a_cache_it_says_whose_figures_they_are(tmp_path: Path) -> None:
    with open_stage(tmp_path, HERE | {"cache": {"enabled": False}}) as stage:
        shown = words(fetch(f"{stage.url}/status").body)
        assert "these figures are of one worker process" in shown
        assert "Hit ratio 0%" in shown
        assert fetch(f"{stage.url}/status/images").status == 404


# changes


def test_kept_images_are_listed_and_searched(stage: Stage) -> None:
    shown = words(fetch(f"{stage.url}/status/images").body)
    assert "docker.io/library/nginx:1.29.3" in shown
    assert "nginx" not in words(fetch(f"{stage.url}/status/images?q=other").body).replace("placeholder", "")
    assert "nginx:1.29.3" in words(fetch(f"{stage.url}/status/images?q=NGINX").body)


REFUSED: dict[str, dict[str, Any]] = {
    "from another site": {"site": "cross-site"},
    "from a neighbour": {"site": "same-site"},
    "from nowhere": {"site": "none"},
    "from another origin": {"site": None, "origin": "https://evil.example"},
    "from who knows": {"site": None},
}


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED.keys())
def test_forms_of_others_change_nothing(stage: Stage, sent: dict[str, Any]) -> None:
    answer = order(stage, action="remove", image="docker.io/library/nginx:1.29.3", **sent)
    assert answer.status == 403
    assert "nginx:1.29.3" in words(fetch(f"{stage.url}/status/images").body)


@pytest.mark.parametrize("form", [{}, {"action": "burn"}, {"action": "remove", "image": "nginx"}, {"action": "warm"}])
def test_orders_that_mean_nothing_are_refused(stage: Stage, form: dict[str, str]) -> None:
    assert order(stage, **form).status == 400


def test_an_image_is_warmed_pinned_and_removed_and_the_log_says_by_whom(stage: Stage, tmp_path: Path) -> None:
    done = order(stage, None, stage.url, action="warm", image="redis", platforms="linux/amd64")
    assert (done.status, (done.header("Location") or "").partition("?")[0]) == (303, "/status/images")

    def listed() -> str:
        return words(fetch(f"{stage.url}/status/images?q=redis").body)

    wait_until(lambda: "docker.io/library/redis:latest done" in listed())
    assert "1 found docker.io/library/redis:latest" in listed()
    name = "docker.io/library/redis:latest"
    assert order(stage, action="pin", image=name).status == 303
    assert "docker.io/library/redis:latest pinned" in listed()
    assert order(stage, action="unpin", image=name).status == 303
    assert "pinned" not in listed()
    back = order(stage, action="remove", image=name, q="red")
    assert "q=red" in (back.header("Location") or "")
    assert "0 found" in listed()
    assert order(stage, action="remove", image=name).status == 404
    said = [line for line in stage.gateway.log_records() if line["event"] == "operated"]
    assert [line["action"] for line in said] == ["warm", "pin", "unpin", "remove"]
    assert {line["who"] for line in said} == {"127.0.0.1"}
    audited = (stage.gateway.state.parent / "audit.json").read_text()
    assert audited.count('"action"') == len(said)


def test_what_does_not_exist_is_not_warmed_and_says_why(stage: Stage) -> None:
    assert order(stage, action="warm", image="library/absent:1").status == 303
    wait_until(lambda: "absent:1 failed" in words(fetch(f"{stage.url}/status").body))


# cost


def test_fifty_browsers_cost_little(stage: Stage) -> None:
    """Under 2 % of a core: all who look on in one language get one rendering."""
    streams = [open_stream(f"{stage.url}/status/events") for _ in range(50)]
    try:
        for stream in streams:
            next_event(stream)
        before, begun = stage.gateway.process.cpu_s(), time.monotonic()
        for _ in range(3):
            for stream in streams:
                next_event(stream)
        used, passed = stage.gateway.process.cpu_s() - before, time.monotonic() - begun
    finally:
        for stream in streams:
            stream.close()
    assert passed > 3
    assert used / passed < 0.03, f"{used:.3f} CPU s in {passed:.1f} s"  # 0.009 measured; a busy machine needs more
