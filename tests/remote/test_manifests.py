"""Manifests of an upstream: what a HEAD tells, what a GET has to give to be delivered, what is asked a second time."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable

import pytest

from hubferry.core.errors import Code, OciError
from hubferry.core.http import Headers
from hubferry.core.manifest import MAX_BYTES, SCHEMA1_SIGNED, ManifestProblem, WrongDigest
from hubferry.ports.index import ManifestInfo
from hubferry.remote.manifests import RemoteManifests, check_manifest
from tests.gateway.fakes import HUB, MIRROR, MIRROR2, FakeResponse, ok
from tests.remote.fakes import CUT, DOWN, NAME, REPOSITORY, Remote, cancelled_at, never, refusal

ACCEPT = "application/vnd.oci.image.index.v1+json, */*"
PATH = f"/v2/{REPOSITORY}/manifests/"
TAG_URL = f"{HUB}{PATH}1.27"
OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"


def document(**fields: object) -> bytes:
    return json.dumps({"schemaVersion": 2, **fields}).encode()


IMAGE = document(mediaType=OCI_IMAGE, layers=[])
INDEX = document(manifests=[])
DIGEST = "sha256:" + hashlib.sha256(IMAGE).hexdigest()
DIGEST512 = "sha512:" + hashlib.sha512(IMAGE).hexdigest()
OTHER = "sha256:" + "b" * 64


def signed(payload: bytes) -> bytes:
    """A schema 1 manifest with a signature, as docker/libtrust writes it: `payload` is what its digest is over."""
    said = json.dumps({"formatLength": len(payload) - 2, "formatTail": base64.urlsafe_b64encode(payload[-2:]).decode()})
    protected = base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")
    return payload[:-2] + b',"signatures":' + json.dumps([{"protected": protected}]).encode() + payload[-2:]


PAYLOAD = b'{\n   "schemaVersion": 1\n}'
PAYLOAD_DIGEST = "sha256:" + hashlib.sha256(PAYLOAD).hexdigest()
SIGNED = signed(PAYLOAD)


def described(size: str = "512", digest: str = DIGEST, content_type: str = OCI_IMAGE) -> Headers:
    lines = (("content-length", size), ("docker-content-digest", digest), ("content-type", content_type))
    return tuple((name, value) for name, value in lines if value)


def gave(content: bytes, content_type: str = OCI_IMAGE, digest: str = "") -> FakeResponse:
    lines = (("content-type", content_type), ("docker-content-digest", digest))
    return ok(content, *((name, value) for name, value in lines if value))


def manifests(remote: Remote) -> RemoteManifests:
    return RemoteManifests(remote.fetcher, remote.script, remote.metrics)


def describe(headers: Headers, *, reference: str = "1.27", status: int = 200) -> ManifestInfo | OciError | None:
    """What is told of an upstream's answer to a HEAD."""
    remote = Remote()
    found: list[ManifestInfo | OciError | None] = []

    async def scene() -> None:
        remote.script.on("HEAD", HUB + PATH + reference, FakeResponse(status, headers))
        try:
            found.append(await manifests(remote).describe(remote.target(), reference, ACCEPT))
        except OciError as error:
            found.append(error)

    remote.play(scene)
    assert remote.sent_headers() == (("accept", ACCEPT), ("accept-encoding", "identity"))
    return found[0]


DESCRIBED: dict[str, tuple[Headers, ManifestInfo]] = {
    "an image": (described(), ManifestInfo(DIGEST, OCI_IMAGE, 512)),
    "sha512": (described(digest=DIGEST512), ManifestInfo(DIGEST512, OCI_IMAGE, 512)),
    "a type with a parameter": (described(content_type=f"{OCI_INDEX}; q=1"), ManifestInfo(DIGEST, OCI_INDEX, 512)),
    "a type that is none of a manifest's": (
        described(content_type="text/html"),
        ManifestInfo(DIGEST, "text/html", 512),
    ),
    "no type": (described(content_type=""), ManifestInfo(DIGEST, "", 512)),
    "as large as one may be": (described(str(MAX_BYTES)), ManifestInfo(DIGEST, OCI_IMAGE, MAX_BYTES)),
}


@pytest.mark.parametrize(("headers", "info"), DESCRIBED.values(), ids=DESCRIBED.keys())
def test_a_head_tells_digest_type_and_size_as_they_were_said(headers: Headers, info: ManifestInfo) -> None:
    assert describe(headers) == info


NOT_DESCRIBED: dict[str, Headers] = {
    "no length": described(size=""),
    "a length that is no number": described(size="12a"),
    "a length below nothing": described(size="-1"),
    "a length of more digits than any has": described(size="0" * 13 + "512"),
    "larger than any manifest may be": described(str(MAX_BYTES + 1)),
    "no digest": described(digest=""),
    "a digest that is none": described(digest="sha256:abc"),
    "a digest of an unknown kind": described(digest="md5:" + "a" * 32),
}


@pytest.mark.parametrize("headers", NOT_DESCRIBED.values(), ids=NOT_DESCRIBED.keys())
def test_a_head_that_clients_cannot_use_is_none(headers: Headers) -> None:
    assert describe(headers) is None


def test_an_upstream_that_knows_no_head_is_no_failure() -> None:
    assert describe((), status=405) is None


@pytest.mark.parametrize(("said", "is_good"), [(DIGEST, True), (OTHER, False)])
def test_a_head_for_a_digest_has_to_name_that_digest(said: str, *, is_good: bool) -> None:
    found = describe(described(digest=said), reference=DIGEST)
    if is_good:
        assert found == ManifestInfo(DIGEST, OCI_IMAGE, 512)
    else:
        assert isinstance(found, OciError)
        assert (found.status, found.code) == (502, Code.UNKNOWN)
        assert f"{NAME}/{REPOSITORY}@{DIGEST} that cannot be delivered: it names {OTHER} for it" in found.message


REFUSED = {401: 401, 403: 403, 404: 404, 410: 404, 451: 451, 500: 502, 503: 503}


@pytest.mark.parametrize(("status", "ours"), REFUSED.items())
def test_what_an_upstream_refuses_by_head_is_refused(status: int, ours: int) -> None:
    found = describe(described(), status=status)
    assert isinstance(found, OciError)
    assert found.status == ours
    assert (found.code is Code.MANIFEST_UNKNOWN) == (ours == 404)
    assert f"{NAME}/{REPOSITORY}:1.27" in found.message


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_what_only_a_mirror_said_is_marked(method: str) -> None:
    remote = Remote(MIRROR)

    async def scene() -> None:
        remote.script.on(method, TAG_URL, DOWN)
        remote.script.on(method, f"{MIRROR}{PATH}1.27", gave(IMAGE, digest=DIGEST))
        asked = manifests(remote)
        if method == "HEAD":
            info = await asked.describe(remote.target(), "1.27", ACCEPT)
        else:
            info, _ = await asked.get(remote.target(), "1.27", ACCEPT)
        assert info is not None
        assert info.by_mirror

    remote.play(scene)


GIVEN: dict[str, tuple[str, FakeResponse, str, str]] = {
    "a tag, without a digest": ("1.27", gave(IMAGE), DIGEST, OCI_IMAGE),
    "a tag, with its digest": ("1.27", gave(IMAGE, digest=DIGEST), DIGEST, OCI_IMAGE),
    "a tag, with a sha512 digest": ("1.27", gave(IMAGE, digest=DIGEST512), DIGEST512, OCI_IMAGE),
    "a digest": (DIGEST, gave(IMAGE), DIGEST, OCI_IMAGE),
    "a sha512 digest": (DIGEST512, gave(IMAGE), DIGEST512, OCI_IMAGE),
    "a digest, with another one for the same bytes": (DIGEST512, gave(IMAGE, digest=DIGEST), DIGEST512, OCI_IMAGE),
    "a general type: the document decides": ("1.27", gave(IMAGE, "text/plain"), DIGEST, OCI_IMAGE),
    "schema 1, by the digest of what was signed": (
        PAYLOAD_DIGEST, gave(SIGNED, SCHEMA1_SIGNED), PAYLOAD_DIGEST, SCHEMA1_SIGNED,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("reference", "answer", "digest", "media_type"), GIVEN.values(), ids=GIVEN.keys())
def test_a_manifest_is_given_with_its_own_digest_type_and_size(
    reference: str, answer: FakeResponse, digest: str, media_type: str
) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", HUB + PATH + reference, FakeResponse(200, answer.headers, answer.data))
        info, content = await manifests(remote).get(remote.target(), reference, ACCEPT)
        assert info == ManifestInfo(digest, media_type, len(answer.data))
        assert not info.by_mirror
        assert content == answer.data

    remote.play(scene)
    assert remote.sent_headers() == (("accept", ACCEPT), ("accept-encoding", "identity"))
    assert remote.metrics.wrong == []


NOT_GIVEN: dict[str, tuple[str, FakeResponse, str]] = {
    "too large": ("1.27", gave(b" " * (MAX_BYTES + 1)), f"it is larger than {MAX_BYTES} bytes"),
    "no JSON": ("1.27", gave(b"<html>", "application/json"), "it is not JSON"),
    "a captive portal's page": ("1.27", gave(IMAGE, "text/html"), "its mediaType is"),
    "another type than it says": ("1.27", gave(IMAGE, DOCKER_IMAGE), "its mediaType is"),
    "index and image at once": ("1.27", gave(document(manifests=[], layers=[]), ""), "index and an image at once"),
    "an unknown kind of digest": ("1.27", gave(IMAGE, digest="sha384:" + "a" * 96), "unknown kind 'sha384'"),
    "schema 1 without a signature": ("1.27", gave(PAYLOAD, SCHEMA1_SIGNED), "its signature cannot be read"),
}
WRONG: dict[str, tuple[str, FakeResponse, str]] = {
    "other bytes than the digest asked for": (OTHER, gave(IMAGE), f"have the digest {DIGEST}, not {OTHER}"),
    "other bytes than the upstream says": ("1.27", gave(IMAGE, digest=OTHER), f"have the digest {DIGEST}, not {OTHER}"),
    "other bytes, that are not even JSON": (OTHER, gave(b"{"), f"not {OTHER}"),
    "schema 1, by the digest of all its bytes": (
        "sha256:" + hashlib.sha256(SIGNED).hexdigest(), gave(SIGNED, SCHEMA1_SIGNED), f"the digest {PAYLOAD_DIGEST}",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("reference", "answer", "words"), (NOT_GIVEN | WRONG).values(), ids=(NOT_GIVEN | WRONG).keys())
def test_what_is_not_the_manifest_asked_for_is_not_delivered(reference: str, answer: FakeResponse, words: str) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", HUB + PATH + reference, FakeResponse(200, answer.headers, answer.data))
        error = await refusal(manifests(remote).get(remote.target(), reference, ACCEPT))
        assert (error.status, error.code) == (502, Code.UNKNOWN)
        assert words in error.message
        assert isinstance(error.detail, dict)
        assert error.detail["upstream"] == NAME

    remote.play(scene)
    is_wrong = (reference, answer, words) in WRONG.values()
    assert remote.metrics.wrong == ([NAME] if is_wrong else []), "only another digest counts as wrong content"


@pytest.mark.parametrize(("status", "ours"), REFUSED.items())
def test_what_an_upstream_refuses_is_refused(status: int, ours: int) -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", TAG_URL, FakeResponse(status, data=b"{}"))
        error = await refusal(manifests(remote).get(remote.target(), "1.27", ACCEPT))
        assert error.status == ours

    remote.play(scene)


def test_a_mirror_that_gives_other_bytes_is_left_and_another_base_asked() -> None:
    remote = Remote(MIRROR, MIRROR2)

    async def scene() -> None:
        remote.script.on("GET", HUB + PATH + DIGEST, DOWN)
        remote.script.on("GET", MIRROR + PATH + DIGEST, gave(INDEX))
        remote.script.on("GET", MIRROR2 + PATH + DIGEST, gave(IMAGE), gave(IMAGE))
        for _ in range(2):
            info, content = await manifests(remote).get(remote.target(), DIGEST, ACCEPT)
            assert (info.digest, content) == (DIGEST, IMAGE)

    remote.play(scene)
    assert remote.metrics.wrong == [NAME]
    assert remote.events() == ["upstream_failed", "mirror_distrusted"]


@pytest.mark.parametrize("cuts", [1, 2])
def test_a_manifest_that_breaks_off_is_asked_for_once_more(cuts: int) -> None:
    remote = Remote()

    async def scene() -> None:
        replies = [FakeResponse(200, data=IMAGE, cut=CUT) for _ in range(cuts)]
        remote.script.on("GET", TAG_URL, *replies, *([gave(IMAGE)] if cuts == 1 else []))
        if cuts == 1:
            _, content = await manifests(remote).get(remote.target(), "1.27", ACCEPT)
            assert content == IMAGE
        else:
            error = await refusal(manifests(remote).get(remote.target(), "1.27", ACCEPT))
            assert (error.status, error.detail) == (503, {"upstream": NAME, "cause": "cut"})

    remote.play(scene)
    assert len(remote.script.sent) == 2


def test_an_upstream_that_cannot_be_reached_is_503() -> None:
    remote = Remote()

    async def scene() -> None:
        remote.script.on("GET", TAG_URL, DOWN)
        error = await refusal(manifests(remote).get(remote.target(), "1.27", ACCEPT))
        assert (error.status, error.detail) == (503, {"upstream": NAME, "cause": "tcp"})

    remote.play(scene)
    assert len(remote.script.sent) == 1, "what did not break off is asked for once"


@pytest.mark.parametrize("ask", [RemoteManifests.describe, RemoteManifests.get])
def test_who_leaves_while_the_upstream_thinks_leaves_nothing_open(ask: Callable[..., object]) -> None:
    remote = Remote()

    async def scene() -> None:
        begun = asyncio.Event()
        remote.script.on_call("HEAD" if ask is RemoteManifests.describe else "GET", TAG_URL, never(begun))
        asked = manifests(remote)
        asking = asked.describe if ask is RemoteManifests.describe else asked.get
        await cancelled_at(asking(remote.target(), "1.27", ACCEPT), begun)

    remote.play(scene)


def test_what_is_left_of_the_limit_is_what_the_upstream_last_said() -> None:
    remote = Remote()

    async def scene() -> None:
        asked = manifests(remote)
        assert asked.quota_left(remote.target()) == 1.0
        quota = (("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "25;w=21600"))
        remote.script.on("HEAD", TAG_URL, FakeResponse(200, described() + quota))
        await asked.describe(remote.target(), "1.27", ACCEPT)
        assert asked.quota_left(remote.target()) == 0.25

    remote.play(scene)


def test_while_an_upstream_is_down_who_has_something_kept_does_not_wait_for_it() -> None:
    remote = Remote()

    async def scene() -> None:
        asked = manifests(remote)
        remote.script.on("HEAD", TAG_URL, DOWN)
        await refusal(asked.describe(remote.target(), "1.27", ACCEPT))

        async def within(*, is_covered: bool) -> str:
            async with asked.limit_wait(remote.target(), is_covered=is_covered):
                return "asks"

        assert (await refusal(within(is_covered=True))).status == 503
        assert await within(is_covered=False) == "asks"

    remote.play(scene)


@pytest.mark.parametrize("expected", ["", DIGEST, DIGEST512])
def test_the_digest_is_of_the_kind_that_is_expected(expected: str) -> None:
    found = check_manifest(IMAGE, content_type=OCI_IMAGE, expected_digest=expected)
    assert found == (expected or DIGEST, OCI_IMAGE)


CHECKED: dict[str, tuple[bytes, str | None, str, type[ManifestProblem], str]] = {
    "another digest": (IMAGE, OCI_IMAGE, OTHER, WrongDigest, "have the digest sha256:"),
    "another sha512 digest": (IMAGE, OCI_IMAGE, "sha512:" + "b" * 128, WrongDigest, "have the digest sha512:"),
    "no manifest": (b"[]", None, "", ManifestProblem, "not a JSON object"),
    "a digest nobody computes": (IMAGE, None, "x" * 99 + ":1", ManifestProblem, "unknown kind '" + "x" * 32 + "'"),
}


@pytest.mark.parametrize(
    ("content", "content_type", "expected", "error", "words"), CHECKED.values(), ids=CHECKED.keys()
)
def test_bytes_that_are_not_the_manifest_are_a_problem(
    content: bytes, content_type: str | None, expected: str, error: type[ManifestProblem], words: str
) -> None:
    with pytest.raises(ManifestProblem, match=words) as raised:
        check_manifest(content, content_type=content_type, expected_digest=expected)
    assert type(raised.value) is error
