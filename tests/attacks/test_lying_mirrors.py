"""Mirrors that lie, while the upstream is limited: their word opens nothing but their own bytes, on the way or kept.

Siblings of row 8 in test_rights.py, which has what such a mirror says of what is kept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.attacks.test_rights import ALICE, AWAY, SECRET
from tests.faults.kept import at_once, is_whole, wait_kept
from tests.support import faults
from tests.support.content import MIB, Blob
from tests.support.exchange import Reply
from tests.support.gateway import Gateway, upstream
from tests.support.http import Answer, fetch, open_stream
from tests.support.hub import Hub
from tests.support.images import build_image
from tests.support.registry_client import basic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.exchange import Received

PUBLIC = "pub/x"
BLOCK = 4096
HIDDEN = Blob.generated(24 * MIB, 99)
WRONG = Blob.generated(24 * MIB, 5)


class Stage:
    """alice's blob at the upstream, a public repository there and at the mirror."""

    def __init__(self, state: Path, hub: Hub, mirror: Hub) -> None:
        self.hub, self.mirror, self.state = hub, mirror, state
        hub.state.users.update([ALICE])
        hub.add(SECRET, "latest", build_image("alice's"), readers={"alice"})
        hub.add_blob(SECRET, HIDDEN)
        for each in (hub, mirror):
            each.add(PUBLIC, "latest", build_image("public"))
        limits = {"read_timeout": "2s", "response_timeout": "2s"}
        settings = upstream(hub.url, default=True, library=True, mirrors=[mirror.url], **limits)
        self.settings = {
            "upstreams": {"only": True, "docker.io": settings},
            "cache": {"dir": str(state / "data"), "complete": False, "prefetch": False, "connections": 1},
        }

    def serve(self, name: str) -> Gateway:
        return Gateway.start(self.state / name, self.settings)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Hub() as hub, Hub() as mirror:
        yield Stage(tmp_path, hub, mirror)
        for each in (hub, mirror):
            each.clear()


def pull_of(
    gateway: Gateway, name: str, blob: Blob, *credentials: tuple[str, str]
) -> tuple[str, list[tuple[str, str]]]:
    """The URL of a blob, and the headers with a token for it."""
    headers = [basic(*one) for one in credentials]
    token = fetch(f"{gateway.url}/token?service={gateway.host}&scope=repository:{name}:pull", headers=headers).json()
    return f"{gateway.url}/v2/{name}/blobs/{blob.digest}", [("Authorization", f"Bearer {token['token']}")]


def leaked_bytes(answer: Answer) -> int:
    """How much of alice's blob is in an answer, in whole blocks."""
    hidden = HIDDEN.data
    return sum(
        BLOCK
        for at in range(0, len(answer.body) - BLOCK + 1, BLOCK)
        if answer.body[at : at + BLOCK] == hidden[at : at + BLOCK]
    )


def gives_what_it_has_not(request: Received, _normal: Any) -> Reply:
    """Bytes of its own, of whatever is asked for and from wherever."""
    asked = re.match(r"bytes=(\d+)-", request.header("range") or "")
    at = int(asked[1]) if asked else 0
    headers = [("Content-Type", "application/octet-stream")]
    if at:
        headers.append(("Content-Range", f"bytes {at}-{WRONG.size - 1}/{WRONG.size}"))
    return Reply(206 if at else 200, tuple(headers), Blob(WRONG.data[at:]))


def test_a_mirror_does_not_continue_what_the_upstream_gave_somebody_else(stage: Stage) -> None:
    stage.hub.script(faults.throttle(8 * MIB), role="cdn", times=None)
    with stage.serve("first") as gateway:
        url, headers = pull_of(gateway, SECRET, HIDDEN, ALICE)
        with open_stream(url, headers=headers) as stream:
            while stream.received < 8 * MIB:
                assert stream.read()
    left = max(path.stat().st_size for path in (stage.state / "data/partial").iterdir())
    assert left > 4 * MIB, "there is nothing to be continued"
    stage.hub.clear()
    stage.hub.script(AWAY, role="hub", times=None)
    stage.mirror.script(gives_what_it_has_not, role="hub", method="GET", path=f"/{PUBLIC}/blobs/", times=None)
    with stage.serve("second") as gateway:
        url, headers = pull_of(gateway, PUBLIC, HIDDEN)
        answer = fetch(url, headers=headers)
        assert leaked_bytes(answer) == 0, f"{leaked_bytes(answer) / MIB:.1f} MiB were alice's"
        assert answer.ended != "complete" or answer.status >= 400


def test_what_a_mirror_began_opens_no_other_fill(stage: Stage) -> None:
    with stage.serve("gateway") as gateway:
        stage.hub.script(AWAY, role="hub", path=f"/{PUBLIC}/", times=None)
        stage.mirror.script(gives_what_it_has_not, role="hub", method="GET", path=f"/{PUBLIC}/blobs/", times=None)
        url, headers = pull_of(gateway, PUBLIC, HIDDEN)
        first = fetch(url, headers=headers)
        assert first.ended != "complete", "it was wrong"
        assert stage.mirror.find("hub", "GET", f"/{PUBLIC}/blobs/")
        stage.hub.script(faults.throttle(6 * MIB), role="cdn", times=None)
        hers, her_headers = pull_of(gateway, SECRET, HIDDEN, ALICE)
        with open_stream(hers, headers=her_headers) as stream:
            while stream.received < 2 * MIB:
                assert stream.read()
            answer = fetch(url, headers=headers)
            assert leaked_bytes(answer) == 0, f"{leaked_bytes(answer) / MIB:.1f} MiB were alice's"
            stream.read_all()
            assert stream.ended == "complete"


def test_an_honest_mirror_fills_for_everybody_who_may_ask_it(stage: Stage) -> None:
    """While the upstream is limited; who comes a moment later as well, and when it is kept."""
    blob = Blob.generated(8 * MIB, 7)
    stage.mirror.add_blob(PUBLIC, blob)
    stage.hub.script(AWAY, role="hub", times=None)
    stage.mirror.script(faults.throttle(4 * MIB), role="cdn", times=None)
    with stage.serve("gateway") as gateway:
        url, headers = pull_of(gateway, PUBLIC, blob)
        with open_stream(url, headers=headers) as stream:
            begun = stream.read()
            answers = at_once([lambda: fetch(url, headers=headers)] * 4)
            assert all(is_whole(answer, blob) for answer in answers)
            assert begun + stream.read_all() == blob.data
        wait_kept(stage.state / "data", blob)
        assert is_whole(fetch(url, headers=headers), blob)
        assert stage.mirror.count("cdn", "GET") == 1


def test_a_mirror_that_limits_questions_fills_for_all_who_came_together(stage: Stage) -> None:
    """Who waits for the beginning of the same fill is not asked about once more."""
    blob = Blob.generated(8 * MIB, 7)
    stage.mirror.add_blob(PUBLIC, blob)
    stage.hub.script(AWAY, role="hub", times=None)
    stage.mirror.script(AWAY, role="hub", method="HEAD", times=None)
    stage.mirror.script(faults.slow_first_byte(0.5), role="cdn", times=None)
    with stage.serve("gateway") as gateway:
        url, headers = pull_of(gateway, PUBLIC, blob)
        answers = at_once([lambda: fetch(url, headers=headers)] * 5)
    assert [is_whole(answer, blob) for answer in answers] == [True] * 5
