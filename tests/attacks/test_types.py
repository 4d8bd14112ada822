"""What an upstream's head says of content: its type and length are believed only of what is not here, and a type only
if it is one of a manifest's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.conftest import Stage, open_stage
from tests.support import faults
from tests.support.http import Answer, fetch, send_raw
from tests.support.hub import Hub

PAGE = b'{"layers": [], "config": {}, "x": "<script>alert(document.domain)</script>"}'


@contextmanager
def serving(tmp_path: Path, hub: Hub, ttl: str = "0s") -> Iterator[Stage]:
    with open_stage(tmp_path, hub, {"tag_ttl": ttl, "prefetch": False}) as stage:
        yield stage


def ask(stage: Stage, url: str, method: str = "GET") -> Answer:
    return fetch(url, method, headers=[("Accept", stage.image.media_type)])


def check_right(stage: Stage, answer: Answer, method: str) -> None:
    """The manifest, whole, as what it is."""
    said = (answer.status, answer.header("Content-Type"), answer.header("Content-Length"), answer.ended)
    assert said == (200, stage.image.media_type, str(len(stage.image.manifest)), "complete")
    assert answer.body == (stage.image.manifest if method == "GET" else b"")


def check_all_right(stage: Stage) -> None:
    by_digest = stage.manifest_url.replace("latest", stage.image.digest)
    for url in (stage.manifest_url, by_digest):
        for method in ("HEAD", "GET", "HEAD", "GET"):
            check_right(stage, ask(stage, url, method), method)


LENGTHS = (1, 100_000, 10**17, 10**4000)
TYPES = ("text/html", "application/vnd.docker.distribution.manifest.list.v2+json")


def test_row_14_a_head_does_not_decide_type_and_length_of_what_is_kept(tmp_path: Path, hub: Hub) -> None:
    with serving(tmp_path, hub) as stage:
        check_right(stage, ask(stage, stage.manifest_url), "GET")
        for said, length in [*((said, 100_000) for said in TYPES), *((TYPES[0], length) for length in LENGTHS)]:
            lies = (faults.header("Content-Type", said), faults.declare_length(length))
            hub.script(*lies, role="hub", method="HEAD", path="/manifests/", times=None)
            check_all_right(stage)
            hub.check()  # they were told
            hub.clear()
    with serving(tmp_path, hub, ttl="1h") as stage:  # what was written down is right as well
        hub.clear()
        check_all_right(stage)


def test_row_14_a_head_is_no_proof_of_a_type_that_no_manifest_has(tmp_path: Path, hub: Hub) -> None:
    with serving(tmp_path, hub, ttl="1h") as stage:
        hub.script(
            faults.header("Content-Type", "text/html"), role="hub", method="HEAD", path="/manifests/", times=None
        )
        for _ in range(2):
            check_right(stage, ask(stage, stage.manifest_url, "HEAD"), "HEAD")
            assert fetch(stage.manifest_url, "HEAD").header("Content-Type") == stage.image.media_type


def test_row_14_a_generic_type_does_not_make_every_get_bypass_the_cache(tmp_path: Path, hub: Hub) -> None:
    with serving(tmp_path, hub) as stage:
        hub.script(
            faults.header("Content-Type", "text/plain; charset=utf-8"), role="hub", path="/manifests/", times=None
        )
        for method in ("GET", "HEAD", "GET", "GET", "GET"):
            check_right(stage, ask(stage, stage.manifest_url, method), method)
    gets = sum(exchange.status == 200 for exchange in hub.find("hub", "GET", "/manifests/"))
    assert gets == 1, f"{gets} manifests were fetched for 4 GETs of one tag that did not move"


def test_row_14_a_page_is_not_served_as_a_manifest(tmp_path: Path, hub: Hub) -> None:
    with serving(tmp_path, hub) as stage:
        for said in ("text/html", "application/xhtml+xml", "image/svg+xml"):
            page = faults.answer(200, PAGE, (("Content-Type", said),))
            hub.script(page, role="hub", method="GET", path="/manifests/")
            answer = fetch(stage.manifest_url)
            assert (answer.status, answer.header("Content-Type")) == (502, "application/json")
            assert b"<script>" not in answer.body


@pytest.mark.parametrize("enabled", [True, False], ids=["kept", "streamed"])
def test_row_14_a_blob_is_never_shown_as_a_page(tmp_path: Path, hub: Hub, enabled: bool) -> None:
    with open_stage(tmp_path, hub, {"enabled": enabled}) as stage:
        hub.script(faults.header("Content-Type", "image/svg+xml"), path="blobs|sha256", times=None)
        for method in ("HEAD", "GET", "GET"):
            answer = fetch(stage.big_url, method)
            assert (answer.status, answer.ended) == (200, "complete")
            assert answer.header("Content-Type") == "application/octet-stream"
            assert answer.header("X-Content-Type-Options") == "nosniff"


def test_row_14_no_answer_is_sniffed(tmp_path: Path, hub: Hub) -> None:
    with serving(tmp_path, hub) as stage:
        root = stage.gateway.url
        asked = {
            "/": 200,
            "/healthz": 200,
            "/robots.txt": 200,
            "/<script>": 404,
            "/v2/": 200,
            "/v2/app/manifests/latest": 200,
            "/v2/app/manifests/none": 404,
            "/v2/app/tags/list": 200,
            "/token": 200,
            "/v2/UPPER/manifests/latest": 400,
        }
        for path, status in asked.items():
            answer = fetch(root, target=path)
            assert (answer.status, answer.header("X-Content-Type-Options")) == (status, "nosniff"), path
        form = fetch(f"{root}/token", "POST", body=b"x" * 20_000)
        assert (form.status, form.header("X-Content-Type-Options")) == (413, "nosniff")
        received, _ = send_raw(root, b"no HTTP\r\n\r\n")
        assert b" 400 " in received
        assert b"x-content-type-options: nosniff\r\n" in received
