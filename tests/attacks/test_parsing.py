"""Documents and headers that are made to be parsed slowly: whoever sends them keeps nobody else waiting.

The bound is what an honest answer of the same size costs, on the same machine at the same time: the best of several
attempts each, since others use the machine as well. Growth by length is in tests/properties/test_growth.py.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.attacks.others import slowest_s
from tests.faults.conftest import REPOSITORY, Stage, config, open_stage
from tests.support import faults
from tests.support.content import Blob, digest_of
from tests.support.gateway import Gateway, upstream
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import build_image
from tests.support.raw_server import RawServer

if TYPE_CHECKING:
    from tests.conftest import StartGateway

IMAGE = "application/vnd.oci.image.manifest.v1+json"
KIB, MIB = 2**10, 2**20
ATTEMPTS = 3
SPARE_S = 0.25  # what a busy machine alone may add to the best of several attempts; before, it was a second and more


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    place = tmp_path_factory.mktemp("parsing")
    with Hub(strict=False) as hub, open_stage(place, hub, {"prefetch": True, "complete": True}) as opened:
        yield opened


@pytest.fixture
def stage(shared: Stage) -> Iterator[Stage]:
    yield shared
    shared.hub.check()
    shared.hub.clear()


@dataclass
class Costs:
    """What one attempt cost: the slowest answer to others, and CPU time of the gateway, in seconds."""

    slowest_s: float
    cpu_s: float


def best(stage: Stage, attempt: Callable[[int], object], attempts: int = ATTEMPTS) -> Costs:
    """The least that an attempt cost; it is told its number."""
    found = []
    for number in range(attempts):
        before_s = stage.gateway.process.cpu_s()
        slowest = slowest_s(stage.gateway.url, lambda number=number: attempt(number))  # type: ignore[misc]
        found.append(Costs(slowest, stage.gateway.process.cpu_s() - before_s))
    return Costs(min(one.slowest_s for one in found), min(one.cpu_s for one in found))


def sized(size_bytes: int, beginning: bytes, unit: bytes, end: bytes) -> bytes:
    """`beginning`, as many units as there is room for, and `end`."""
    return beginning + unit * ((size_bytes - len(beginning) - len(end)) // len(unit)) + end


def good_manifest(size_bytes: int, seed: int) -> bytes:
    blob = {"mediaType": "x/y", "digest": digest_of(b"config"), "size": 6}
    document = {"schemaVersion": 2, "mediaType": IMAGE, "config": blob, "layers": [blob], "annotations": {"a": ""}}
    beginning, end = json.dumps(document, separators=(",", ":")).encode().rsplit(b'""', 1)
    return sized(size_bytes, beginning + b'"%d' % seed, b"x", b'"' + end)


def unterminated(size_bytes: int, seed: int) -> bytes:
    """More brackets than are believed unseen, and a string of escaped quotes that never ends."""
    return sized(
        size_bytes, b'{"mediaType":"%s","n":%d,"a":%s,"b":"' % (IMAGE.encode(), seed, b"[[]," * 200), b'\\"', b""
    )


@pytest.mark.parametrize("size_bytes", [48 * KIB, 4 * MIB - KIB])
def test_a_manifest_with_an_unterminated_string_costs_no_more_than_a_good_one(stage: Stage, size_bytes: int) -> None:
    def pull(body: bytes, expected: int) -> None:
        digest = digest_of(body)
        head = (("Content-Type", IMAGE), ("Docker-Content-Digest", digest))
        stage.hub.script(faults.answer(200, body, head), role="hub", path=f"/manifests/{digest}")
        answer = fetch(f"{stage.gateway.url}/v2/app/manifests/{digest}", timeout_s=60)
        assert answer.status == expected

    good = best(stage, lambda seed: pull(good_manifest(size_bytes, seed), 200))
    bad = best(stage, lambda seed: pull(unterminated(size_bytes, seed), 502))
    assert bad.slowest_s < 3 * good.slowest_s + SPARE_S, f"others waited {bad.slowest_s:.3f} s, {good.slowest_s:.3f} s"
    assert bad.cpu_s < 3 * good.cpu_s + SPARE_S, f"it took {bad.cpu_s:.3f} CPU s, a good one {good.cpu_s:.3f}"


def test_bytes_that_are_not_what_their_digest_says_are_not_parsed(stage: Stage) -> None:
    size_bytes = 4 * MIB - KIB
    other = digest_of(b"something else")

    def pull(body: bytes) -> None:
        stage.hub.script(faults.answer(200, body, (("Content-Type", IMAGE),)), role="hub", path=f"/manifests/{other}")
        answer = fetch(f"{stage.gateway.url}/v2/app/manifests/{other}", timeout_s=60)
        assert answer.status == 502
        assert "have the digest" in answer.json()["errors"][0]["message"]

    plain = best(stage, lambda seed: pull(good_manifest(size_bytes, seed)))
    # a million numbers: as much as is parsed at all
    many = best(stage, lambda seed: pull(sized(size_bytes, b'{"n":%d,"a":[1' % seed, b",1234", b"]}")))
    assert many.cpu_s < 2 * plain.cpu_s + SPARE_S, f"it took {many.cpu_s:.3f} CPU s, another one {plain.cpu_s:.3f}"


def test_a_token_answer_with_an_unterminated_string_costs_no_more_than_a_good_one(stage: Stage) -> None:
    stage.hub.script(
        faults.challenge(f'Bearer realm="{stage.hub.realm}",service="s"'), role="hub", path="/tags/list", times=None
    )

    def ask(body: bytes) -> None:
        stage.hub.script(faults.answer(200, body), role="auth")
        assert fetch(f"{stage.gateway.url}/v2/app/tags/list", timeout_s=60).status in (401, 502)

    size_bytes = 60 * KIB
    good = best(stage, lambda seed: ask(sized(size_bytes, b'{"n":%d,"x":"' % seed, b"x", b'"}')))
    bad = best(stage, lambda seed: ask(unterminated(size_bytes, seed)))
    assert bad.slowest_s < 3 * good.slowest_s + SPARE_S, f"others waited {bad.slowest_s:.3f} s, {good.slowest_s:.3f} s"


def test_a_layer_that_looks_like_a_manifest_delays_no_start_after_the_index_is_lost(tmp_path: Path) -> None:
    layer = Blob(unterminated(4 * MIB - KIB, 0))
    with Hub(strict=False) as hub:
        with open_stage(tmp_path, hub, {}) as stage:
            hub.add_blob(REPOSITORY, layer)
            assert fetch(stage.blob_url(layer)).ended == "complete"
            ordinary_s = stage.gateway.process.cpu_s()
        for file in stage.folder.glob("index.sqlite3*"):
            file.unlink()
        shutil.rmtree(tmp_path / "gateway")
        with open_stage(tmp_path, hub, {}) as stage:  # what is kept is counted and looked into while this starts
            slowest = slowest_s(stage.gateway.url, lambda: fetch(stage.big_url))
            started_s = stage.gateway.process.cpu_s()
    assert started_s < 2 * ordinary_s + SPARE_S, f"it took {started_s:.3f} CPU s, an ordinary start {ordinary_s:.3f}"
    assert slowest < ordinary_s + SPARE_S, f"others waited {slowest:.3f} s"


def many_layers(count: int, size_bytes: int) -> bytes:
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 1}
    layers = [{**layer, "digest": digest_of(b"%d" % number)} for number in range(count)]
    config = {"mediaType": "x/y", "digest": digest_of(b"config"), "size": 1}
    document = {"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers, "annotations": {"a": ""}}
    bare = json.dumps(document).encode()
    return bare.replace(b'""', b'"%s"' % (b"x" * max(0, size_bytes - len(bare))))


@pytest.mark.parametrize(("count", "size_bytes"), [(1_500, 250 * KIB), (24_000, 4 * MIB)])
def test_an_image_of_thousands_of_layers_costs_no_more_than_one_of_few_each_time(
    stage: Stage, count: int, size_bytes: int
) -> None:
    """Each is pulled as somebody else, so that no answer is given again without being looked at."""
    few, many = many_layers(1, size_bytes), many_layers(count, size_bytes)
    for number, body in enumerate((few, many)):
        digest, tag = digest_of(body), f"t{number}-{count}"
        head = (("Content-Type", IMAGE), ("Docker-Content-Digest", digest))
        stage.hub.script(faults.answer(200, body, head), role="hub", path=f"/manifests/({tag}|{digest})", times=None)
    pulls = 10

    def pull(tag: str, attempt: int) -> None:
        for number in range(pulls):
            headers = (("X-Number", f"{attempt}.{number}"),)
            answer = fetch(f"{stage.gateway.url}/v2/app/manifests/{tag}", headers=headers)
            assert answer.status == 200

    tags = (f"t0-{count}", f"t1-{count}")
    for tag in tags:
        pull(tag, -1)
    costs = [best(stage, lambda attempt, tag=tag: pull(tag, attempt), 5) for tag in tags]  # type: ignore[misc]
    one, other = costs
    assert other.cpu_s < one.cpu_s + pulls * 0.02, f"{pulls} of many layers: {other.cpu_s:.3f} CPU s, {one.cpu_s:.3f}"
    assert other.slowest_s < 3 * one.slowest_s + SPARE_S, f"others waited {other.slowest_s:.3f} s, {one.slowest_s:.3f}"


def test_a_page_of_a_tag_list_of_8_mib_holds_nobody_up(stage: Stage) -> None:
    tags = [f"v{number * 7919 % 590_000:010d}" for number in range(590_000)]  # in no order
    body = json.dumps({"name": REPOSITORY, "tags": tags}, separators=(",", ":")).encode()
    assert 7 * MIB < len(body) < 8 * MIB
    stage.hub.script(faults.answer(200, body), role="hub", path="/tags/list", times=None)

    def ask(last: str) -> None:
        answer = fetch(f"{stage.gateway.url}/v2/app/tags/list?n=1&last={last}", timeout_s=60)
        assert answer.json()["tags"] == ["v0000000001" if last else "v0000000000"]

    quiet = best(stage, lambda _: [fetch(stage.big_url) for _ in range(20)])
    busy = best(stage, lambda _: ask("v0000000000"))
    assert busy.slowest_s < 5 * quiet.slowest_s + SPARE_S, (
        f"others waited {busy.slowest_s:.3f} s, {quiet.slowest_s:.3f}"
    )


@pytest.mark.shells
def test_a_large_list_is_read_by_every_shell(tmp_path: Path, hub: Hub, start_gateway: StartGateway) -> None:
    """Also where there are no threads."""
    hub.add(REPOSITORY, "latest", build_image("large"))
    tags = [f"v{number:010d}" for number in range(30_000)]
    body = json.dumps({"name": REPOSITORY, "tags": tags[::-1]}).encode()
    hub.script(faults.answer(200, body), role="hub", path="/tags/list", times=None)
    gateway = start_gateway(config(tmp_path, hub))
    assert fetch(f"{gateway.url}/v2/app/tags/list?n=2", timeout_s=60).json()["tags"] == tags[:2]
    assert fetch(f"{gateway.url}/v2/app/tags/list", timeout_s=60).json() == {"name": "app", "tags": tags}


def test_a_link_of_60_000_brackets_holds_nobody_up(stage: Stage) -> None:
    def ask(size: int, link: str) -> None:  # each page is another one, for they are kept
        head = (("Link", link),)
        stage.hub.script(faults.answer(200, b'{"name":"a","tags":["b"]}', head), role="hub", path="/tags/list")
        assert fetch(f"{stage.gateway.url}/v2/app/tags/list?n={size}").json()["tags"] == ["b"]

    good = best(stage, lambda number: ask(10 + number, '</v2/library/app/tags/list?last=b&n=1>; rel="next"'))
    bad = best(stage, lambda number: ask(20 + number, "<" * 60_000))
    assert bad.slowest_s < 3 * good.slowest_s + SPARE_S, f"others waited {bad.slowest_s:.3f} s, {good.slowest_s:.3f} s"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
RAW = {
    "announcements": b"HTTP/1.1 103 \r\n\r\n" * 60_000,
    "headers": b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * 15_000 + b"Content-Length: 2\r\n\r\n{}",
    "long-head": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\na: " + b"x" * 900_000 + b"\r\n\r\n{}",
    "small-chunks": CHUNKED + b'1\r\n{\r\n1\r\n"\r\n' + b"1\r\na\r\n" * 1_300_000 + b"0\r\n\r\n",
    "trailers": CHUNKED + b"0\r\n" + b"a: b\r\n" * 500_000 + b"\r\n",
    "extension": CHUNKED + b"2;" + b"a" * 4_000_000 + b"\r\n{}\r\n0\r\n\r\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with an upstream for each of RAW."""
    place = tmp_path_factory.mktemp("endless")
    with contextlib.ExitStack() as stack:
        urls = {what: stack.enter_context(RawServer([raw], close=True)).url for what, raw in RAW.items()}
        upstreams = {f"{what}.test": upstream(url, default=what == "headers") for what, url in urls.items()}
        settings = {
            "upstreams": {"only": True, **upstreams},
            "cache": {"dir": str(place / "data")},
            "access": {"login": "open"},
        }
        yield stack.enter_context(Gateway.start(place / "gateway", settings))


@pytest.mark.parametrize("what", RAW)
def test_an_answer_of_endless_framing_holds_nobody_up(endless: Gateway, what: str) -> None:
    def ask() -> None:
        url = f"{endless.url}/v2/{what}.test/library/app/tags/list"
        assert fetch(url).status in (502, 503)  # what is no HTTP, or no list

    ask()
    healthz = f"{endless.url}/healthz"
    quiet_s = min(slowest_s(endless.url, lambda: [fetch(healthz) for _ in range(20)]) for _ in range(ATTEMPTS))
    busy_s = min(slowest_s(endless.url, ask) for _ in range(ATTEMPTS))
    assert busy_s < 5 * quiet_s + SPARE_S, f"others waited {busy_s:.3f} s, {quiet_s:.3f} s when it was quiet"
