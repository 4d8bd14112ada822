"""What every request meets before and after its content: shape, host, CORS, search, and errors as answers."""

import asyncio
import base64

import pytest

from hubferry.core.http import Headers, Request
from hubferry.ports.upstream import Cause, UpstreamFailure
from tests.gateway.fakes import HUB, FakeResponse, Stage, ok, play

DIGEST = "sha256:" + "a" * 64
BAD = "127.0.0.1"
HOSTS = {"access": {"login": "open"}, "upstreams": {"docker.io": {"hosts": ["hub.example"]}}}

REFUSED: dict[str, tuple[str, str, Headers, str, int, str]] = {
    # name: method, path, headers, query, status, code
    "an upload": ("POST", "/v2/a/blobs/uploads/", (), "", 405, "UNSUPPORTED"),
    "a push": ("PUT", "/v2/a/manifests/x", (), "", 405, "UNSUPPORTED"),
    "a deletion": ("DELETE", "/v2/a/manifests/x", (), "", 405, "UNSUPPORTED"),
    "the catalog": ("GET", "/v2/_catalog", (), "", 404, "NAME_UNKNOWN"),
    "an invalid name": ("GET", "/v2/A/manifests/x", (), "", 400, "NAME_INVALID"),
    "a name that leads out": ("GET", "/v2/a/%2e%2e/manifests/x", (), "", 400, "NAME_INVALID"),
    "an encoded slash": ("GET", "/v2/a%2fb/manifests/x", (), "", 400, "NAME_INVALID"),
    "a line break": ("GET", "/v2/a%0d%0ab/manifests/x", (), "", 400, "NAME_INVALID"),
    "an invalid digest": ("GET", "/v2/a/blobs/sha256:x", (), "", 400, "DIGEST_INVALID"),
    "an unknown registry": ("GET", "/v2/evil.example/a/manifests/x", (), "", 404, "NAME_UNKNOWN"),
    "an unknown ns": ("GET", "/v2/a/manifests/x", (), "ns=evil.example", 404, "NAME_UNKNOWN"),
    "an unknown ns of v2": ("GET", "/v2/", (), "ns=evil.example", 404, "NAME_UNKNOWN"),
    "contradicting registries": ("GET", "/v2/ghcr.io/a/manifests/x", (), "ns=docker.io", 400, "NAME_INVALID"),
    "a name over 255": ("GET", f"/v2/{'a' * 256}/manifests/x", (), "", 400, "NAME_INVALID"),
    "headers over 16 KiB": ("GET", "/v2/", (("x", "y" * 20000),), "", 431, "UNSUPPORTED"),
    "a body": ("GET", "/v2/", (("content-length", "5"),), "", 400, "UNSUPPORTED"),
    "a chunked body": ("GET", "/v2/", (("transfer-encoding", "chunked"),), "", 400, "UNSUPPORTED"),
    "a page of no tags": ("GET", "/v2/a/tags/list", (), "n=x", 400, "PAGINATION_NUMBER_INVALID"),
    "unreadable credentials": ("GET", "/v2/", (("authorization", "Basic !"),), "", 401, "UNAUTHORIZED"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_gets_a_clear_error_and_touches_no_upstream(
    case: tuple[str, str, Headers, str, int, str],
) -> None:
    method, path, headers, query, status, code = case
    stage = Stage()

    async def scene() -> None:
        heard = await stage.ask(path, *headers, method=method, query=query)
        assert (heard.status, heard.code) == (status, code)
        assert heard.message
        assert heard.header("content-type") == "application/json"
        assert heard.header("content-length") == str(len(heard.data or b""))

    play(stage, scene())


CRASHES = {
    "a Host that is no address, at the token endpoint": ("/token", "[", (), ""),
    "a Host of brackets without an address": ("/v2/", "[:]", (), ""),
    "Basic credentials beyond ASCII": ("/v2/", BAD, (("authorization", "Basic YTpi\u00e4"),), ""),
}


@pytest.mark.parametrize(("path", "host", "headers", "query"), CRASHES.values(), ids=CRASHES.keys())
def test_no_request_crashes_the_gateway(path: str, host: str, headers: Headers, query: str) -> None:
    stage = Stage({"access": {"login": "upstream"}})

    async def scene() -> None:
        heard = await stage.ask(path, *headers, query=query, host=host)
        assert 400 <= heard.status < 500

    play(stage, scene())


def test_ns_in_letters_beyond_ascii_is_unknown() -> None:
    stage = Stage({"access": {"login": "open"}, "upstreams": {"registry.k8s.io": {}}})

    async def scene() -> None:
        heard = await stage.ask(f"/v2/pause/blobs/{DIGEST}", query="ns=registry.%E2%84%AA8s.io")
        assert (heard.status, heard.code) == (404, "NAME_UNKNOWN")

    play(stage, scene())


def test_another_path_is_not_answered_here_but_its_host_is_checked() -> None:
    stage = Stage(HOSTS)

    async def scene() -> None:
        plain = Request("GET", "/", "", (), "https", "hub.example", "127.0.0.1")
        assert await stage.gateway.handle(plain) is None
        heard = await stage.ask("/", host="other.example")
        assert (heard.status, heard.json["errors"][0]["detail"]) == (404, {"hosts": ["hub.example"]})

    play(stage, scene())


@pytest.mark.parametrize(
    "path", ["/v2/", "/token", "/v1/_ping", "/v1/search", f"/v2/a/blobs/{DIGEST}", "/v2/a/tags/list"]
)
def test_an_unknown_host_name_is_404_on_every_endpoint(path: str) -> None:
    stage = Stage(HOSTS)

    async def scene() -> None:
        heard = await stage.ask(path, host="other.example")
        assert (heard.status, heard.code) == (404, "NAME_UNKNOWN")

    play(stage, scene())


@pytest.mark.parametrize("query", ["", "ns=ghcr.io", "ns=registry.nowhere.example"])
def test_ping_says_true_whatever_registry_is_named(query: str) -> None:
    stage = Stage()

    async def scene() -> None:
        heard = await stage.ask("/v1/_ping", query=query)
        assert (heard.status, heard.data) == (200, b"true")

    play(stage, scene())


CORS = {"access": {"login": "open"}, "server": {"cors_origins": ["https://ui.example"]}}


@pytest.mark.parametrize(("origin", "allowed"), [("https://ui.example", True), ("https://evil.example", False)])
def test_cors_is_for_the_listed_origins(origin: str, allowed: bool) -> None:
    stage = Stage(CORS)

    async def scene() -> None:
        for method, status in (("OPTIONS", 204), ("GET", 200)):
            heard = await stage.ask("/v2/", ("origin", origin), method=method)
            assert heard.status == status
            assert heard.header("access-control-allow-origin") == (origin if allowed else None)

    play(stage, scene())


@pytest.mark.parametrize("method", ["OPTIONS", "GET"])
def test_without_listed_origins_there_is_no_cors(method: str) -> None:
    stage = Stage()

    async def scene() -> None:
        heard = await stage.ask("/v2/", ("origin", "https://ui.example"), method=method)
        assert heard.header("access-control-allow-origin") is None

    play(stage, scene())


SEARCH = "https://index.docker.io/v1/search"


def test_a_search_is_relayed_to_the_upstreams_search() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", f"{SEARCH}?q=a%20b&n=5", ok(b'{"results":[]}'))
        heard = await stage.ask("/v1/search", query="q=a+b&n=5&evil=1")
        assert (heard.status, heard.json) == (200, {"results": []})

    play(stage, scene())


FAILED_SEARCHES = [
    (FakeResponse(429), 429),
    (FakeResponse(404), 404),
    (FakeResponse(200, (), b"x" * (2**20 + 1)), 502),
    (FakeResponse(200, (), b"", cut=UpstreamFailure(Cause.CUT, "index.docker.io")), 503),
]


@pytest.mark.parametrize(("reply", "status"), FAILED_SEARCHES, ids=["429", "404", "too large", "cut"])
def test_a_search_that_fails_says_so(reply: FakeResponse, status: int) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", f"{SEARCH}?q=a", FakeResponse(reply.status, (), reply.data, cut=reply.cut))
        assert (await stage.ask("/v1/search", query="q=a")).status == status

    play(stage, scene())


def test_an_upstream_without_a_search_is_404() -> None:
    stage = Stage()

    async def scene() -> None:
        assert (await stage.ask("/v1/search", query="q=a&ns=ghcr.io")).status == 404

    play(stage, scene())


def test_a_search_may_name_another_registry() -> None:
    found = "https://ghcr.example/v1/search"
    stage = Stage({"access": {"login": "open"}, "upstreams": {"ghcr.io": {"search_url": found}}})

    async def scene() -> None:
        stage.upstream.on("GET", f"{found}?q=app", ok(b'{"results":[{"name":"a/app"}]}'), ok(b"<p>"))
        heard = await stage.ask("/v1/search", query="q=ghcr.io/app")
        assert heard.json == {"results": [{"name": "ghcr.io/a/app"}]}
        assert (await stage.ask("/v1/search", query="q=ghcr.io/app")).status == 502
        stage.upstream.on("GET", f"{found}?q=docker.io%2Fapp", ok(b'{"results":[]}'))
        await stage.ask("/v1/search", query="q=docker.io/app&ns=ghcr.io")

    play(stage, scene())


def test_what_became_known_of_a_request_is_there_for_its_log_line() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/library/nginx/manifests/x", FakeResponse(404))
        request = Request("GET", "/v2/nginx/manifests/x", "", (), "https", "gw", "::1")
        answer = await stage.gateway.handle(request)
        assert answer is not None
        trail = answer.record
        assert (trail.upstream, trail.repository, trail.reference) == ("docker.io", "library/nginx", "x")
        assert "docker.io does not know" in trail.problem

    play(stage, scene())


def test_the_outcome_of_a_failure_is_error() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/library/nginx/manifests/x", UpstreamFailure(Cause.DNS, "h"))
        request = Request("GET", "/v2/nginx/manifests/x", "", (), "https", "gw", "::1")
        answer = await stage.gateway.handle(request)
        assert answer is not None
        assert answer.record.outcome_name == "error"

    play(stage, scene())


def test_many_requests_at_once_do_not_mix() -> None:
    stage = Stage()

    async def scene() -> None:
        names = [f"o/app{i}" for i in range(100)]
        for name in names:
            stage.upstream.on("GET", f"{HUB}/v2/{name}/blobs/{DIGEST}", ok(base64.b64encode(name.encode())))
        heard = await asyncio.gather(*(stage.ask(f"/v2/{name}/blobs/{DIGEST}") for name in names))
        assert [one.data for one in heard] == [base64.b64encode(name.encode()) for name in names]

    play(stage, scene())
