"""In-memory parts behind every port of the orchestrator, and a stage that puts them together.

The upstream is scripted: an unexpected request fails the test, and so does a script that was not used up. Every
body counts how often it is closed; `Stage.finish` wants exactly once, on every path.
"""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hubferry.core.access import Credential, Grant
from hubferry.core.exchange import Send
from hubferry.core.http import Headers, Request, get, get_all
from hubferry.core.redirect import Trust
from hubferry.core.routing import Endpoint, EndpointKind, HostMeaning, RoutedUpstream, RoutingTable
from hubferry.core.settings_sources import SettingsSource, resolve
from hubferry.gateway.answer import Answer
from hubferry.gateway.build import ShellParts, build_gateway
from hubferry.gateway.request import RegistryRequest
from hubferry.ports.shell import Uncounted
from hubferry.ports.upstream import TooLarge, UpstreamFailure, UpstreamResponse
from hubferry.remote.exchanges import Exchanges
from hubferry.remote.fetch import Fetcher, WaitLimits
from hubferry.remote.limits import RateLimits
from hubferry.remote.single_flight import SingleFlight
from hubferry.remote.target import Upstream
from hubferry.remote.tokens import UpstreamTokens
from tests.support.scenes import run_scene

HUB = "https://registry-1.docker.io"
GHCR = "https://ghcr.io"
MIRROR = "https://mirror.example"
MIRROR2 = "https://mirror2.example"
REALM = "https://auth.docker.io/token"
BEARER = f'Bearer realm="{REALM}",service="registry.docker.io",scope="repository:library/nginx:pull"'
GATEWAY = "gw.example:5000"


class FakeBody:
    """A body that counts how often it is closed."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1


@dataclass
class FakeResponse:
    """An answer of the script; `cut` makes reading its body fail."""

    status: int
    headers: Headers = ()
    data: bytes = b""
    cut: UpstreamFailure | None = None
    body: FakeBody = field(init=False)

    def __post_init__(self) -> None:
        self.body = FakeBody(self.data)


Reply = FakeResponse | Exception


class ScriptedUpstream:
    """Answers what the test expects, in the order of each URL, and nothing else."""

    def __init__(self) -> None:
        self._script: dict[tuple[str, str], list[Callable[[], Awaitable[Reply]]]] = {}
        self.sent: list[Send] = []
        self.responses: list[FakeResponse] = []

    def on(self, method: str, url: str, *replies: Reply) -> None:
        for reply in replies:
            self.on_call(method, url, _returning(reply))

    def on_call(self, method: str, url: str, reply: Callable[[], Awaitable[Reply]]) -> None:
        self._script.setdefault((method, url), []).append(reply)

    async def send(self, upstream: str, request: Send) -> FakeResponse:
        self.sent.append(request)
        url = request.url
        if url.startswith(REALM + "?") and (request.method, REALM) in self._script:
            url = REALM
        script = self._script.get((request.method, url))
        assert script, f"unexpected request to {upstream}: {request.method} {request.url}"
        await asyncio.sleep(0)
        reply = await script.pop(0)()
        if isinstance(reply, Exception):
            raise reply
        self.responses.append(reply)
        return reply

    async def read(self, response: UpstreamResponse, limit_bytes: int) -> bytes:
        assert isinstance(response, FakeResponse)
        await response.body.close()
        await asyncio.sleep(0)
        if response.cut is not None:
            raise response.cut
        if len(response.data) > limit_bytes:
            raise TooLarge
        return response.data

    def urls(self) -> list[str]:
        return [request.url for request in self.sent]

    def authorizations(self, url: str) -> list[str | None]:
        return [get(request.headers, "authorization") for request in self.sent if request.url.startswith(url)]

    def token_queries(self) -> list[dict[str, list[str]]]:
        return [parse_qs(urlsplit(url).query) for url in self.urls() if url.startswith(REALM)]

    def unused(self) -> list[tuple[str, str]]:
        return [key for key, script in self._script.items() if script]


def _returning(reply: Reply) -> Callable[[], Awaitable[Reply]]:
    async def give() -> Reply:
        return reply

    return give


class FakeClock:
    """Both clocks stand still until a test moves them."""

    def __init__(self) -> None:
        self.now_monotonic = 1000.0
        self.now_wall = 1_700_000_000.0

    def monotonic(self) -> float:
        return self.now_monotonic

    def time(self) -> float:
        return self.now_wall

    def pass_s(self, seconds: float) -> None:
        self.now_monotonic += seconds
        self.now_wall += seconds


class FakeSealer:
    """Tokens are numbers."""

    def __init__(self) -> None:
        self.grants: dict[str, Grant] = {}

    async def seal(self, grant: Grant) -> str:
        token = f"sealed-{len(self.grants)}"
        self.grants[token] = grant
        return token

    async def open(self, token: str) -> Grant | None:
        return self.grants.get(token)


class FakeLog:
    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, object]]] = []

    def warning(self, event: str, fields: Mapping[str, object]) -> None:
        self.events.append((event, dict(fields)))


def registrable_domain(host: str) -> str | None:
    """The last two labels: enough of a public suffix list for these tests."""
    labels = host.split(".")
    return ".".join(labels[-2:]) if len(labels) > 1 else None


DEFAULTS: Mapping[str, Any] = {"access": {"login": "open"}}


ONCE = WaitLimits(pauses_s=())  # nothing is asked again


def build_fetcher(upstream: ScriptedUpstream, clock: FakeClock, single_flight: SingleFlight) -> Fetcher:
    """A Fetcher that asks once."""
    log = FakeLog()
    limits = RateLimits(clock, log, Uncounted(), {})
    tokens = UpstreamTokens(
        upstream, limits, clock, log, registrable_domain=registrable_domain, single_flight=single_flight
    )
    return Fetcher(Exchanges(upstream, tokens, log), limits, clock=clock, log=log, wait_limits=ONCE)


class Stage:
    """A gateway among fakes: docker.io (default, library/) and ghcr.io."""

    def __init__(
        self,
        tables: Mapping[str, Any] = DEFAULTS,
        *,
        account: Credential | None = None,
        accounts: tuple[Credential, ...] = (),
        wait_limits: WaitLimits = ONCE,
        **parts: Any,
    ) -> None:
        accounts = (account,) if account else accounts
        only: dict[str, Any] = {"only": True, "docker.io": {}, "ghcr.io": {}}
        tables = {**tables, "upstreams": {**only, **tables.get("upstreams", {})}}
        settings = resolve([SettingsSource("test", tables)])
        places = tuple(RoutedUpstream(name, up.hosts, up.library) for name, up in settings.upstreams.items())
        self.upstream = ScriptedUpstream()
        self.clock = FakeClock()
        self.sealer = FakeSealer()
        self.log = FakeLog()
        self.gateway = build_gateway(
            settings,
            RoutingTable(places, settings.default_upstream, urlsplit(settings.server.public_url).netloc),
            [
                Upstream(name, up, Trust(realm_hosts=up.realm_hosts), accounts if name == "docker.io" else ())
                for name, up in settings.upstreams.items()
            ],
            ShellParts(
                transport=self.upstream,
                sealer=self.sealer,
                clock=self.clock,
                log=self.log,
                registrable_domain=registrable_domain,
                wait_limits=wait_limits,
                **parts,
            ),
        )

    async def ask(
        self,
        path: str,
        *lines: tuple[str, str],
        method: str = "GET",
        query: str = "",
        host: str = GATEWAY,
        body: bytes = b"",
    ) -> "Heard":
        """One request as the shell would pass it on; the body of the answer is read and closed."""
        request = Request(method, path, query, lines, "https", host, "127.0.0.1", body)
        answer = await self.gateway.handle(request)
        assert answer is not None, "not a path of the registry protocol"
        return await Heard.of(answer)

    def finish(self) -> None:
        """What must hold at the end of every test."""
        assert self.upstream.unused() == [], "expected requests that did not come"
        closed = [(r.status, r.body.closed) for r in self.upstream.responses]
        assert [count for _, count in closed] == [1] * len(closed), f"(status, times closed): {closed}"


@dataclass(frozen=True)
class Heard:
    """An answer, read to its end."""

    status: int
    headers: Headers
    data: bytes | None

    @classmethod
    async def of(cls, answer: Answer) -> "Heard":
        data = answer.body
        if data is not None and not isinstance(data, bytes):
            assert isinstance(data, FakeBody)
            await data.close()
            data = data.data
        for name, value in answer.headers:
            assert name == name.lower()
            assert value.isprintable(), f"{name}: {value!r} is no header"
            value.encode("latin-1")
        return cls(answer.status, answer.headers, data)

    def header(self, name: str) -> str | None:
        values = get_all(self.headers, name)
        assert len(values) < 2, f"{name} is there {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        return json.loads(self.data or b"null")

    @property
    def code(self) -> str:
        code = self.json["errors"][0]["code"]
        assert isinstance(code, str)
        return code

    @property
    def message(self) -> str:
        message = self.json["errors"][0]["message"]
        assert isinstance(message, str)
        return message


def play(stage: Stage, scene: Coroutine[Any, Any, None]) -> None:
    """Run a scene; what it leaves behind, unclosed bodies and unused scripts fail."""
    run_scene(scene)
    stage.finish()


def blob_request(digest: str, *lines: tuple[str, str], method: str = "GET") -> RegistryRequest:
    """A client's request for a blob, settled."""
    received = Request(method, "", "", lines, "https", GATEWAY, "192.0.2.1")
    endpoint = Endpoint(EndpointKind.BLOB, "nginx", digest)
    return RegistryRequest(received, endpoint, HostMeaning(), f"https://{GATEWAY}", "docker.io", "docker.io", None)


def ok(data: bytes = b"", *lines: tuple[str, str], status: int = 200) -> FakeResponse:
    return FakeResponse(status, (("content-length", str(len(data))), *lines), data)


def challenged(line: str = BEARER) -> FakeResponse:
    return FakeResponse(401, (("www-authenticate", line),), b'{"errors":[]}')


def token(value: str = "T1", **fields: object) -> FakeResponse:
    return FakeResponse(200, (), json.dumps({"token": value, "expires_in": 300, **fields}).encode())


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()
