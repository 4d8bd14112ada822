"""Manifests, blobs, tag lists and referrers: what is delivered, and what is not."""

import hashlib
import json
import re
from urllib.parse import parse_qs, unquote

import pytest

from hubferry.core.http import get
from hubferry.ports.upstream import Cause, UpstreamFailure
from tests.gateway.fakes import HUB, FakeResponse, Stage, ok, play

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
BYTES = json.dumps({"schemaVersion": 2, "mediaType": IMAGE, "layers": []}).encode()
DIGEST = "sha256:" + hashlib.sha256(BYTES).hexdigest()
DIGEST512 = "sha512:" + hashlib.sha512(BYTES).hexdigest()
OTHER = "sha256:" + "0" * 64
TAG, TAG_URL = "/v2/nginx/manifests/1.27", f"{HUB}/v2/library/nginx/manifests/1.27"
BY_DIGEST, DIGEST_URL = f"/v2/nginx/manifests/{DIGEST}", f"{HUB}/v2/library/nginx/manifests/{DIGEST}"
BLOB, BLOB_URL = f"/v2/nginx/blobs/{DIGEST}", f"{HUB}/v2/library/nginx/blobs/{DIGEST}"
TYPE = ("content-type", IMAGE)
SAYS = ("docker-content-digest", DIGEST)


# --- manifests -------------------------------------------------------------------------------------------


def test_a_manifest_is_delivered_byte_for_byte_with_its_identity() -> None:
    stage = Stage()

    async def scene() -> None:
        headers = (
            ("content-type", IMAGE + "; charset=utf-8"),
            SAYS,
            ("set-cookie", "a=b"),
        )
        stage.upstream.on("GET", TAG_URL, ok(BYTES, *headers))
        heard = await stage.ask(TAG)
        assert (heard.status, heard.data) == (200, BYTES)
        assert heard.header("content-type") == IMAGE
        assert heard.header("content-length") == str(len(BYTES))
        assert heard.header("docker-content-digest") == DIGEST
        assert heard.header("etag") == f'"{DIGEST}"'
        assert heard.header("set-cookie") is None
        assert heard.header("docker-distribution-api-version") == "registry/2.0"

    play(stage, scene())


@pytest.mark.parametrize("reference", [DIGEST, DIGEST512])
def test_a_manifest_by_digest_needs_no_word_of_the_upstream(reference: str) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/library/nginx/manifests/{reference}", ok(BYTES, TYPE))
        heard = await stage.ask(f"/v2/nginx/manifests/{reference}")
        assert heard.header("docker-content-digest") == reference

    play(stage, scene())


def test_the_clients_accept_lines_reach_the_upstream_as_one() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", TAG_URL, ok(BYTES, TYPE))
        await stage.ask(TAG, ("accept", INDEX), ("accept", IMAGE), ("cookie", "a=b"), ("range", "bytes=0-1"))

    play(stage, scene())
    sent = stage.upstream.sent[0].headers
    assert get(sent, "accept") == f"{INDEX}, {IMAGE}"
    assert {name for name, _ in sent} == {"accept", "accept-encoding", "user-agent"}


LIES: dict[str, tuple[str, FakeResponse]] = {
    "other bytes than the digest asked for": ("digest", ok(b"{}", TYPE)),
    "other bytes than the digest it says": ("tag", ok(b"{}", TYPE, SAYS)),
    "a digest of an unknown kind": ("tag", ok(BYTES, TYPE, ("docker-content-digest", "md5:" + "0" * 32))),
    "a digest that is none": ("tag", ok(BYTES, TYPE, ("docker-content-digest", "x"))),
    "an image that came as an index": ("tag", ok(BYTES, ("content-type", INDEX))),
    "an error page with status 200": ("tag", ok(b"<html>blocked</html>", ("content-type", "text/html"))),
    "nothing": ("tag", ok(b"", TYPE)),
    "5 MiB": ("tag", ok(b" " * (5 * 2**20), TYPE)),
    "an encoded body": ("tag", ok(BYTES, TYPE, ("content-encoding", "gzip"))),
}


@pytest.mark.parametrize(("by", "response"), LIES.values(), ids=LIES.keys())
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_manifest_that_lies_is_502(method: str, by: str, response: FakeResponse) -> None:
    stage = Stage()

    async def scene() -> None:
        url = DIGEST_URL if by == "digest" else TAG_URL
        if method == "HEAD":
            stage.upstream.on("HEAD", url, FakeResponse(405))
        stage.upstream.on("GET", url, FakeResponse(response.status, response.headers, response.data))
        heard = await stage.ask(BY_DIGEST if by == "digest" else TAG, method=method)
        assert (heard.status, heard.code) == (502, "UNKNOWN")

    play(stage, scene())


def test_schema_1_is_no_way_around_the_digest() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", DIGEST_URL, ok(b"anything at all", ("content-type", SCHEMA1)))
        assert (await stage.ask(BY_DIGEST)).status == 502

    play(stage, scene())


def test_a_lie_that_cannot_be_encoded_is_502_as_well() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", TAG_URL, ok(b'{"mediaType": "\\ud800"}', TYPE))
        assert (await stage.ask(TAG)).status == 502

    play(stage, scene())


def test_a_manifest_that_breaks_off_is_asked_for_again_and_then_503() -> None:
    stage = Stage()

    async def scene() -> None:
        cut = UpstreamFailure(Cause.CUT, "registry-1.docker.io")
        stage.upstream.on("GET", TAG_URL, FakeResponse(200, (TYPE,), BYTES, cut=cut), ok(BYTES, TYPE))
        assert (await stage.ask(TAG)).status == 200
        for _ in range(2):
            stage.upstream.on("GET", TAG_URL, FakeResponse(200, (TYPE,), BYTES, cut=cut))
        assert (await stage.ask(TAG)).status == 503

    play(stage, scene())


def test_a_head_that_tells_all_is_answered_without_the_body() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("HEAD", TAG_URL, FakeResponse(200, (TYPE, SAYS, ("content-length", "77"))))
        heard = await stage.ask(TAG, method="HEAD")
        assert (heard.status, heard.data) == (200, None)
        assert heard.header("docker-content-digest") == DIGEST
        assert heard.header("content-length") == "77"
        assert heard.header("content-type") == IMAGE

    play(stage, scene())


@pytest.mark.parametrize(
    "first",
    [
        FakeResponse(200, (TYPE, ("content-length", "77"))),
        FakeResponse(200, (TYPE, SAYS)),
        FakeResponse(200, (SAYS, ("content-length", "77"))),
        FakeResponse(405),
    ],
    ids=["no digest", "no length", "no type", "HEAD is not supported"],
)
def test_a_head_that_does_not_tell_all_becomes_a_get(first: FakeResponse) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("HEAD", TAG_URL, FakeResponse(first.status, first.headers))
        stage.upstream.on("GET", TAG_URL, ok(BYTES, TYPE))
        heard = await stage.ask(TAG, method="HEAD")
        assert (heard.status, heard.data) == (200, None)
        assert heard.header("docker-content-digest") == DIGEST
        assert heard.header("content-length") == str(len(BYTES))

    play(stage, scene())


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_a_head_that_is_refused_is_not_followed_by_a_get(status: int) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("HEAD", TAG_URL, FakeResponse(status))
        assert (await stage.ask(TAG, method="HEAD")).status in (status, 502)

    play(stage, scene())


@pytest.mark.parametrize(("path", "digest"), [(BY_DIGEST, OTHER)])
def test_a_head_that_lies_is_502(path: str, digest: str) -> None:
    stage = Stage()

    async def scene() -> None:
        url = HUB + path.replace("/v2/nginx", "/v2/library/nginx")
        lines = (TYPE, ("docker-content-digest", digest), ("content-length", "77"))
        stage.upstream.on("HEAD", url, FakeResponse(200, lines))
        assert (await stage.ask(path, method="HEAD")).status == 502

    play(stage, scene())


@pytest.mark.parametrize("value", [DIGEST, f'"{DIGEST}"', f'W/"{DIGEST}"', f'"x", "{DIGEST}"'])
def test_if_none_match_quoted_or_bare_is_304(value: str) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", TAG_URL, ok(BYTES, TYPE))
        heard = await stage.ask(TAG, ("if-none-match", value))
        assert (heard.status, heard.data) == (304, None)
        assert heard.header("docker-content-digest") == DIGEST
        assert heard.header("etag") == f'"{DIGEST}"'

    play(stage, scene())


RELAYED = [(401, "UNAUTHORIZED"), (403, "DENIED"), (404, "MANIFEST_UNKNOWN"), (429, "TOOMANYREQUESTS")]


@pytest.mark.parametrize(("status", "code"), RELAYED)
@pytest.mark.parametrize("path", [TAG, BY_DIGEST, BLOB, "/v2/nginx/tags/list", f"/v2/nginx/referrers/{DIGEST}"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_401_403_404_429_stay_what_they_are_with_retry_after(method: str, path: str, status: int, code: str) -> None:
    stage = Stage()
    listed = "list" in path or "referrers" in path

    async def scene() -> None:
        url = HUB + path.replace("/v2/nginx", "/v2/library/nginx")
        stage.upstream.on(
            "GET" if listed else method,
            url,
            FakeResponse(status, (("retry-after", "21600"), ("set-cookie", "a=b")), b"<html>"),
        )
        heard = await stage.ask(path, method=method)
        unknown = {"blobs": "BLOB_UNKNOWN", "tags": "NAME_UNKNOWN"}.get(path.split("/")[3], "MANIFEST_UNKNOWN")
        assert (heard.status, heard.code) == (status, unknown if status == 404 else code)
        assert heard.header("retry-after") == "21600"
        assert heard.header("set-cookie") is None
        assert heard.header("content-type") == "application/json"
        challenge = heard.header("www-authenticate")
        assert (challenge is not None) is (status == 401)
        assert "docker.io/token" not in (challenge or "")

    play(stage, scene())


# --- blobs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_blob_is_streamed_and_a_head_does_not_download_it(method: str) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on(method, BLOB_URL, ok(b"abc", ("etag", '"cdn"'), ("x-amz", "1"), ("content-type", "binary/x")))
        heard = await stage.ask(BLOB, method=method)
        assert (heard.status, heard.data) == (200, b"abc" if method == "GET" else None)
        assert heard.header("content-length") == "3"
        assert heard.header("docker-content-digest") == DIGEST
        assert heard.header("etag") == f'"{DIGEST}"'
        assert heard.header("accept-ranges") == "bytes"
        assert heard.header("x-amz") is None

    play(stage, scene())
    assert get(stage.upstream.sent[0].headers, "accept-encoding") == "identity"


@pytest.mark.parametrize(
    ("asked", "content_range", "length"),
    [
        ("bytes=1-", "bytes 1-2/3", 2),
        ("bytes=0-1", "bytes 0-1/3", 2),
        ("bytes=-1", "bytes 2-2/3", 1),
        ("bytes=0-99", "bytes 0-2/3", 3),
    ],
)
def test_one_range_is_passed_on_and_its_answer_checked(asked: str, content_range: str, length: int) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", BLOB_URL, ok(b"x" * length, ("content-range", content_range), status=206))
        heard = await stage.ask(BLOB, ("range", asked))
        assert (heard.status, heard.header("content-range")) == (206, content_range)

    play(stage, scene())
    assert get(stage.upstream.sent[0].headers, "range") == asked


WRONG: dict[str, tuple[str | None, tuple[tuple[str, str], ...]]] = {
    "another start": ("bytes=1-", (("content-range", "bytes 0-2/3"),)),
    "beyond the end": ("bytes=0-1", (("content-range", "bytes 0-2/3"),)),
    "no Content-Range": ("bytes=0-1", ()),
    "several parts": ("bytes=0-1", (("content-type", "multipart/byteranges; boundary=x"),)),
    "nonsense": ("bytes=0-1", (("content-range", "bytes 2-1/3"),)),
    "another length": ("bytes=0-1", (("content-range", "bytes 0-1/3"), ("content-length", "3"))),
    "not asked for": (None, (("content-range", "bytes 0-1/3"),)),
}


@pytest.mark.parametrize(("asked", "lines"), WRONG.values(), ids=WRONG.keys())
def test_a_206_with_another_range_is_502(asked: str | None, lines: tuple[tuple[str, str], ...]) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", BLOB_URL, FakeResponse(206, lines, b"xx"))
        heard = await stage.ask(BLOB, *([("range", asked)] if asked else []))
        assert heard.status == 502

    play(stage, scene())


def test_a_206_for_a_head_is_502() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("HEAD", BLOB_URL, FakeResponse(206, (("content-range", "bytes 0-1/3"),)))
        assert (await stage.ask(BLOB, ("range", "bytes=0-1"), method="HEAD")).status == 502

    play(stage, scene())
    assert get(stage.upstream.sent[0].headers, "range") is None


def test_an_upstream_that_ignores_the_range_sends_everything() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", BLOB_URL, ok(b"abc"))
        assert (await stage.ask(BLOB, ("range", "bytes=1-"))).status == 200

    play(stage, scene())


def test_several_ranges_are_400_and_nobody_is_asked() -> None:
    stage = Stage()

    async def scene() -> None:
        assert (await stage.ask(BLOB, ("range", "bytes=0-1,5-6"))).status == 400

    play(stage, scene())


@pytest.mark.parametrize(("if_range", "ranged"), [(f'"{DIGEST}"', True), (DIGEST, True), ('"other"', False)])
def test_if_range_that_names_another_blob_asks_for_everything(if_range: str, ranged: bool) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", BLOB_URL, ok(b"abc"))
        await stage.ask(BLOB, ("range", "bytes=1-"), ("if-range", if_range))

    play(stage, scene())
    assert (get(stage.upstream.sent[0].headers, "range") is not None) is ranged


def test_a_web_page_is_no_blob() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", BLOB_URL, ok(b"<html>", ("content-type", "text/html; charset=utf-8")))
        assert (await stage.ask(BLOB)).status == 502

    play(stage, scene())


def test_416_is_relayed_with_its_content_range() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", BLOB_URL, FakeResponse(416, (("content-range", "bytes */3"),)))
        heard = await stage.ask(BLOB, ("range", "bytes=5-"))
        assert (heard.status, heard.header("content-range")) == (416, "bytes */3")

    play(stage, scene())


# --- tag lists and referrers -----------------------------------------------------------------------------

TAGS_URL = f"{HUB}/v2/library/nginx/tags/list"


def test_tags_are_in_order_under_the_name_the_client_used_with_a_relative_link() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on(
            "GET",
            f"{TAGS_URL}?n=2",
            ok(b'{"name":"library/nginx","tags":["b","a"]}', ("link", f'<{TAGS_URL}?last=b&n=2>; rel="next"')),
        )
        heard = await stage.ask("/v2/docker.io/nginx/tags/list", query="n=2&ns=docker.io")
        assert heard.json == {"name": "docker.io/nginx", "tags": ["a", "b"]}
        assert heard.header("link") == '</v2/docker.io/nginx/tags/list?last=b&n=2&ns=docker.io>; rel="next"'
        assert heard.header("oci-namespace") == "docker.io"

    play(stage, scene())


def test_n_is_clamped_before_the_upstream_sees_it() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", f"{TAGS_URL}?n=1000", ok(b'{"name":"x","tags":null}'))
        assert (await stage.ask("/v2/nginx/tags/list", query="n=1000000000")).json["tags"] == []

    play(stage, scene())


BAD_LISTS = [b"<html>", b"[" * 100_000, b'{"tags":[1]}', b"x" * (8 * 2**20 + 1)]


@pytest.mark.parametrize("body", BAD_LISTS, ids=["no JSON", "nested without end", "no texts", "too large"])
def test_a_tag_list_that_is_none_is_502(body: bytes) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", TAGS_URL, ok(body))
        assert (await stage.ask("/v2/nginx/tags/list")).status == 502

    play(stage, scene())


def test_a_tag_that_cannot_be_encoded_is_502() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", f"{TAGS_URL}?n=1", ok(b'{"name":"x","tags":["\\ud800","\\ud801"]}'))
        assert (await stage.ask("/v2/nginx/tags/list", query="n=1")).status == 502

    play(stage, scene())


def test_a_list_that_breaks_off_is_503() -> None:
    stage = Stage()

    async def scene() -> None:
        cut = UpstreamFailure(Cause.CUT, "registry-1.docker.io")
        stage.upstream.on("GET", TAGS_URL, FakeResponse(200, (), b"", cut=cut))
        assert (await stage.ask("/v2/nginx/tags/list")).status == 503

    play(stage, scene())


REFERRERS, REFERRERS_URL = f"/v2/nginx/referrers/{DIGEST}", f"{HUB}/v2/library/nginx/referrers/{DIGEST}"


def test_referrers_are_relayed_with_what_was_filtered() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on(
            "GET",
            f"{REFERRERS_URL}?artifactType=a%2Fb",
            ok(b'{"manifests":[]}', ("content-type", INDEX), ("oci-filters-applied", "artifactType"), ("x-y", "z")),
        )
        heard = await stage.ask(REFERRERS, query="artifactType=a/b&evil=1")
        assert (heard.status, heard.data, heard.header("content-type")) == (200, b'{"manifests":[]}', INDEX)
        assert heard.header("oci-filters-applied") == "artifactType"
        assert heard.header("x-y") is None

    play(stage, scene())


def test_the_next_page_of_referrers_asks_for_the_same() -> None:
    stage = Stage()

    async def scene() -> None:
        link = ("link", f'<{REFERRERS_URL}?artifactType=a%2Fb&n=1&last=x>; rel="next"')
        stage.upstream.on("GET", f"{REFERRERS_URL}?artifactType=a%2Fb&n=1", ok(b'{"manifests":[]}', link))
        heard = await stage.ask(REFERRERS, query="artifactType=a/b&n=1&ns=docker.io")
        said = heard.header("link") or ""
        assert "last=x" in said
        assert "artifactType=a%2Fb" in said
        assert "n=1" in said
        assert "ns=docker.io" in said

    play(stage, scene())


@pytest.mark.parametrize("last", ["a%0d%0aset-cookie:%20x=y", "a%3E;%20rel=%22next%22", "a%26n=1", "%C4%80"])
def test_the_link_of_referrers_holds_nothing_unquoted(last: str) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", REFERRERS_URL, ok(b'{"manifests":[]}', ("link", f'</x?last={last}>; rel="next"')))
        heard = await stage.ask(REFERRERS)
        link = re.fullmatch(r'</v2/nginx/[^<>"\s]*\?([^<>"\s]*)>; rel="next"', heard.header("link") or "")
        assert link
        assert parse_qs(link[1]) == {"last": [unquote(last)]}

    play(stage, scene())
