"""`/download`: what it asks for, who gets it, and its answers: the lasting address, whole, part, condition, refusal."""

from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import pytest

from hubferry.core.errors import OciError
from hubferry.core.http import Headers, Request, get
from hubferry.core.routing import Endpoint, EndpointKind, HostMeaning, RoutedUpstream, RoutingTable
from hubferry.core.rules import Requester
from hubferry.gateway.answer import AccessRecord
from hubferry.gateway.download import DownloadOrder, parse_order
from hubferry.gateway.request import RegistryRequest
from hubferry.ports.upstream import Readable
from tests.gateway.fakes import GATEWAY, HUB, FakeResponse, Stage, basic, challenged, ok, play, token
from tests.gateway.test_users import MIRROR, TOKEN, FakePasswords, FakeSource
from tests.pull.fakes import Pieces, given
from tests.support.images import OCI_INDEX, OCI_MANIFEST, build_index

INDEX = build_index("nginx", layer_sizes=(700,))
IMAGE = INDEX.image("amd64")
NGINX = f"docker.io/library/nginx:1@{INDEX.digest}"
MANIFESTS = f"{HUB}/v2/library/nginx/manifests"
BLOBS = f"{HUB}/v2/library/nginx/blobs"
TABLE = RoutingTable((RoutedUpstream("docker.io", library=True), RoutedUpstream("ghcr.io")), "docker.io")
OPEN: dict[str, Any] = {"access": {"login": "open"}}


@dataclass
class Given:
    """An answer, read to its end."""

    status: int
    headers: Headers
    data: bytes
    record: AccessRecord

    def header(self, name: str) -> str:
        return get(self.headers, name) or ""


@dataclass
class Counted:
    """A `Visit` that notes who is admitted."""

    admitted: list[tuple[str, bool]] = field(default_factory=list)

    def admit(self, requester: Requester, *, is_download: bool = False) -> None:
        name = requester.address if requester.user is None else requester.user.name
        self.admitted.append((name, is_download))


async def ask(stage: Stage, query: str, *lines: tuple[str, str], method: str = "GET", visit: Any = None) -> Given:
    request = Request(method, "/download", query, lines, "https", GATEWAY, "127.0.0.1")
    answer = await stage.gateway.handle(request, visit or Counted())
    assert answer is not None
    data = answer.body or b""
    if not isinstance(data, bytes):
        body, data = cast("Readable", data), b""
        while (piece := await body.read()) is not None:
            data += piece
        await body.close()
    return Given(answer.status, answer.headers, data, answer.record)


def stage_of(tables: dict[str, Any] = OPEN, **parts: Any) -> Stage:
    return Stage(tables, reads_bodies=True, **parts)


def expect_manifests(stage: Stage, times: int = 1) -> None:
    for _ in range(times):
        stage.upstream.on("GET", f"{MANIFESTS}/{INDEX.digest}", given(INDEX.manifest, OCI_INDEX))
        stage.upstream.on("GET", f"{MANIFESTS}/{IMAGE.digest}", given(IMAGE.manifest, OCI_MANIFEST))


def expect_blobs(stage: Stage) -> None:
    for digest, blob in IMAGE.blobs.items():
        reply = ok(blob.data)
        reply.body = Pieces(blob.data)
        stage.upstream.on("GET", f"{BLOBS}/{digest}", reply)


def order(query: str) -> DownloadOrder:
    received = Request("GET", "/download", query, (), "https", GATEWAY, "192.0.2.1")
    endpoint = Endpoint(EndpointKind.DOWNLOAD, query=tuple(parse_qsl(query, keep_blank_values=True)))
    request = RegistryRequest(received, endpoint, HostMeaning(), f"https://{GATEWAY}", "docker.io", "docker.io", None)
    return parse_order(request, TABLE)


ORDERS = {
    "the shortest": ("image=nginx", "docker.io/library/nginx latest ", "linux/amd64"),
    "a tag": ("image=team/app:2", "docker.io/team/app 2 ", "linux/amd64"),
    "another registry": ("image=ghcr.io/o/app:2&platform=linux/arm64", "ghcr.io/o/app 2 ", "linux/arm64"),
    "a digest": (f"image=nginx@{INDEX.digest}", f"docker.io/library/nginx  {INDEX.digest}", "linux/amd64"),
    "both": (f"image={NGINX}&platform=", f"docker.io/library/nginx 1 {INDEX.digest}", "linux/amd64"),
    "all platforms": ("image=nginx:1&platform=all", "docker.io/library/nginx 1 ", "all"),
    "the same twice": ("image=nginx:1&image=nginx:1", "docker.io/library/nginx 1 ", "linux/amd64"),
}


@pytest.mark.parametrize(("query", "image", "platforms"), ORDERS.values(), ids=ORDERS.keys())
def test_what_is_asked_for(query: str, image: str, platforms: str) -> None:
    found = order(query)
    (one,) = found.images
    assert f"{one.route.upstream}/{one.route.repository} {one.tag} {one.digest}" == image
    assert ",".join(map(str, found.platforms or ("all",))) == platforms
    assert found.is_fixed == ("sha256" in query)


MANY = "&".join(f"image=app:{number}" for number in range(17))
PLATFORMS = "image=a&" + "&".join(f"platform=linux/a{number}" for number in range(17))
BAD_ORDERS = {
    "nothing": ("", 400, "name 1 to 16 images"),
    "too many images": (MANY, 400, "name 1 to 16 images"),
    "too many platforms": (
        "image=a&" + "&".join(f"platform=linux/a{n}" for n in range(17)),
        400,
        "at most 16 platforms",
    ),
    "no platform": ("image=a&platform=amd64", 400, "write linux/amd64"),
    "all and one": ("image=a&platform=all&platform=linux/amd64", 400, "at once"),
    "an unknown registry": ("image=evil.example/a", 404, "not configured"),
    "an invalid name": ("image=UPPER", 400, "invalid repository name"),
    "an empty name": ("image=", 400, "invalid repository name"),
    "an invalid tag": ("image=a:b%20c", 400, "invalid tag"),
    "an invalid digest": ("image=a@sha256:x", 400, "invalid digest"),
    "a tag as a digest": ("image=a@latest", 400, "has to be a digest"),
    "a secret": (f"image={TOKEN}/a", 400, "secret"),
}


@pytest.mark.parametrize(("query", "status", "words"), BAD_ORDERS.values(), ids=BAD_ORDERS.keys())
def test_what_cannot_be_asked_for(query: str, status: int, words: str) -> None:
    with pytest.raises(OciError, match=words) as refused:
        order(query)
    assert refused.value.status == status


def test_a_tag_leads_to_an_address_with_digests() -> None:
    stage = stage_of()
    stage.upstream.on("HEAD", f"{MANIFESTS}/1", given(INDEX.manifest, OCI_INDEX))
    visit = Counted()

    async def scene() -> None:
        found = await ask(stage, "image=nginx:1", visit=visit)
        assert (found.status, found.data, found.header("cache-control")) == (302, b"", "no-store")
        assert found.header("location") == f"/download?image={NGINX}&platform=linux/amd64"

    play(stage, scene())
    assert visit.admitted == [("127.0.0.1", False)]


def test_the_file_has_a_length_an_etag_and_a_name() -> None:
    stage = stage_of()
    expect_manifests(stage, 2)
    expect_blobs(stage)
    visit = Counted()

    async def scene() -> None:
        head = await ask(stage, f"image={NGINX}", method="HEAD", visit=visit)
        found = await ask(stage, f"image={NGINX}", visit=visit)
        assert head.headers == found.headers
        assert (head.data, head.record.digest) == (b"", "")
        assert found.status == 200
        assert found.header("content-length") == str(len(found.data))
        assert found.header("content-type") == "application/x-tar"
        assert found.header("content-disposition") == 'attachment; filename="nginx_1_linux-amd64.tar"'
        assert found.header("accept-ranges") == "bytes"
        assert found.record.digest == INDEX.digest
        assert found.record.outcome_name == "bypass"

    play(stage, scene())
    assert visit.admitted == [("127.0.0.1", False), ("127.0.0.1", True)]


def test_parts_and_conditions() -> None:
    stage = stage_of()
    expect_manifests(stage, 9)
    expect_blobs(stage)
    address = f"image={NGINX}"

    async def scene() -> None:
        whole = await ask(stage, address)
        etag, size = whole.header("etag"), len(whole.data)
        part = await ask(stage, address, ("range", "bytes=100-199"), ("if-range", etag))
        assert (part.status, part.data) == (206, whole.data[100:200])
        assert part.header("content-range") == f"bytes 100-199/{size}"
        last = await ask(stage, address, ("range", "bytes=-10"))
        assert (last.status, last.data) == (206, whole.data[-10:])
        outside = await ask(stage, address, ("range", f"bytes={size}-"))
        assert (outside.status, outside.header("content-range")) == (416, f"bytes */{size}")
        unchanged = await ask(stage, address, ("if-none-match", etag))
        assert (unchanged.status, unchanged.data, unchanged.header("etag")) == (304, b"", etag)
        head = await ask(stage, address, ("range", "bytes=100-199"), method="HEAD")
        assert (head.status, head.header("content-length")) == (200, str(size))
        another = await ask(stage, address, ("range", "bytes=100-199"), ("if-match", '"another"'))
        assert (another.status, b"begin the download anew" in another.data) == (412, True)
        same = await ask(stage, address, ("range", "bytes=100-199"), ("if-match", etag))
        assert (same.status, same.data) == (206, whole.data[100:200])
        expect_blobs(stage)
        moved = await ask(stage, address, ("range", "bytes=100-199"), ("if-range", '"another"'))
        assert (moved.status, moved.data) == (200, whole.data)

    play(stage, scene())


def test_several_ranges_are_refused() -> None:
    stage = stage_of()
    expect_manifests(stage)

    async def scene() -> None:
        assert (await ask(stage, f"image={NGINX}", ("range", "bytes=0-1,3-4"))).status == 400

    play(stage, scene())


def test_a_shell_that_cannot_read_blobs_says_so() -> None:
    stage = Stage(OPEN)

    async def scene() -> None:
        found = await ask(stage, "image=nginx:1")
        assert found.status == 501
        assert b"Cloudflare Workers" in found.data

    play(stage, scene())


def test_what_everybody_may_pull_is_given_without_a_token() -> None:
    stage = stage_of({"access": {"login": "upstream"}})
    stage.upstream.on("HEAD", f"{MANIFESTS}/1", challenged(), given(INDEX.manifest, OCI_INDEX))
    stage.upstream.on("GET", "https://auth.docker.io/token", token())

    async def scene() -> None:
        assert (await ask(stage, "image=nginx:1")).status == 302

    play(stage, scene())


def test_a_private_image_is_not_given_to_strangers() -> None:
    stage = stage_of({"access": {"login": "upstream"}})
    stage.upstream.on("GET", f"{MANIFESTS}/{INDEX.digest}", challenged(), FakeResponse(401))
    stage.upstream.on("GET", "https://auth.docker.io/token", token())

    async def scene() -> None:
        found = await ask(stage, f"image={NGINX}")
        assert found.status == 401
        assert found.header("www-authenticate").startswith("Bearer ")

    play(stage, scene())


def test_an_image_that_a_rule_denies_is_denied_and_named_in_the_log() -> None:
    stage = stage_of({"access": {"login": "open", "deny": ["docker.io/evil/*"]}})

    async def scene() -> None:
        found = await ask(stage, "image=nginx:1&image=evil/app:1")
        assert (found.status, found.record.is_denied, found.record.repository) == (403, True, "evil/app")
        assert b"evil/app:1 may not be pulled" in found.data

    play(stage, scene())


USERS: dict[str, Any] = {"access": {"login": "users", "users_file": "/none"}}
LOGINS: dict[str, tuple[Headers, int, str]] = {
    "nobody": ((), 401, "127.0.0.1"),
    "a wrong password": ((("authorization", basic("alice", "wrong")),), 401, "127.0.0.1"),
    "the right password": ((("authorization", basic("alice", "right")),), 302, "127.0.0.1"),
    "an access token": ((("authorization", basic("alice", TOKEN)),), 302, "alice"),
}


@pytest.mark.parametrize(("lines", "status", "admitted"), LOGINS.values(), ids=LOGINS.keys())
def test_where_there_are_users_a_browser_is_asked_for_a_password(lines: Headers, status: int, admitted: str) -> None:
    stage = stage_of(USERS, users=FakeSource(), passwords=FakePasswords())
    if status == 302:
        stage.upstream.on("HEAD", f"{MANIFESTS}/1", given(INDEX.manifest, OCI_INDEX))
    visit = Counted()

    async def scene() -> None:
        found = await ask(stage, "image=nginx:1", *lines, visit=visit)
        assert found.status == status
        if status == 401:
            assert found.header("www-authenticate") == f'Basic realm="hubferry at {GATEWAY}", charset="UTF-8"'
        else:
            assert found.record.user == "alice"

    play(stage, scene())
    assert visit.admitted == [(admitted, False)]


def test_who_has_a_secret_in_the_path_is_led_on_with_it() -> None:
    stage = stage_of(USERS, users=FakeSource(), passwords=FakePasswords())
    stage.upstream.on("HEAD", f"{MANIFESTS}/1", given(INDEX.manifest, OCI_INDEX))
    request = Request("GET", "/download", "image=nginx:1", (), "https", GATEWAY, "127.0.0.1", secret=MIRROR)

    async def scene() -> None:
        answer = await stage.gateway.handle(request)
        assert answer is not None
        assert (get(answer.headers, "location") or "").startswith(
            f"/{MIRROR}/download?image=docker.io/library/nginx:1@"
        )

    play(stage, scene())


def test_several_images_are_each_in_the_audit_log() -> None:
    stage = stage_of()
    expect_manifests(stage, 2)
    expect_blobs(stage)

    async def scene() -> None:
        found = await ask(stage, f"image={NGINX}&image=docker.io/library/nginx:2@{INDEX.digest}")
        assert found.status == 200
        assert [one.digest for one in (found.record, *found.record.others)] == [INDEX.digest] * 2

    play(stage, scene())


def test_the_lasting_address_is_one_that_is_read_again() -> None:
    address = urlsplit(f"/download?image={NGINX}&platform=linux/arm/v7")
    found = order(address.query)
    assert found.is_fixed
    assert found.images[0].tag == "1"
