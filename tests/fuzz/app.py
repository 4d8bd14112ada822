"""The target `app`: an input is a request, and what the upstream answers to whatever it is asked then.

The application is the server's own, with a cache folder, in front of a server on loopback that says what the input
says: once open to everybody, and once with users, secrets, rules and limits. Requests are handed to it as uvicorn
would; uvicorn's parser of requests has tests of its own.
"""

import asyncio
import atexit
import base64
import contextlib
import hashlib
import shutil
import tempfile
from collections import deque
from typing import Any

import atheris

from hubferry.core.settings_sources import SettingsSource, resolve
from hubferry.core.users import StoredSecret, digest_of, format_secrets
from hubferry.server import log
from hubferry.server.app import App
from hubferry.server.compose import Keys, build_app
from tests.fuzz.limits import NothingStays, in_time

__all__ = ["run", "seeds"]

DIGEST = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # of `{}`
WHOLE_S = 30.0  # by the clock: a machine may be busy, but an answer comes
METHODS = ("GET", "GET", "GET", "GET", "HEAD", "HEAD", "POST", "PUT", "OPTIONS", "")
PATHS = (
    "/v2/", "/v2/a/manifests/b", f"/v2/a/manifests/{DIGEST}", f"/v2/a/blobs/{DIGEST}", "/v2/a/tags/list",
    f"/v2/a/referrers/{DIGEST}", "/token", "/v2/auth", "/v1/search", "/v2/up.test/a/tags/list", "/", "/healthz",
    "/v2/a/manifests/sha256-" + "0" * 64,
)  # fmt: skip
NAMES = (
    "accept", "authorization", "range", "if-none-match", "if-range", "cookie", "origin", "x-forwarded-for",
    "content-type", "accept-encoding",
)  # fmt: skip
ANSWERED = (
    "content-type", "content-length", "docker-content-digest", "www-authenticate", "location", "link", "content-range",
    "transfer-encoding", "retry-after", "ratelimit-limit", "ratelimit-remaining", "date", "content-encoding",
    "oci-filters-applied", "connection", "etag",
)  # fmt: skip
UNKNOWN = b"HTTP/1.1 404 \r\ncontent-length: 0\r\n\r\n"
STATUSES = (200, 200, 200, 206, 401, 307, 404, 429, 403, 416, 500, 503, 405, 100, 103, 204, 304, 999)
BODIES = (
    b"{}", b'{"tags":["a","b"]}', b'{"token":"a","expires_in":60}', b'{"manifests":[]}',
    b'{"config":{"digest":"%s"},"layers":[{"digest":"%s","size":1}]}' % (DIGEST.encode(), DIGEST.encode()),
    b"2\r\n{}\r\n0\r\n\r\n",
)  # fmt: skip


SECRET = "hubferry_" + "0123456789abcdef" * 2 + "01234567"
USERS = "a:$2b$04$NNWURlINowT.9HW6Zc/jYOJBldDGAQdybsRQK7vIe0Fcpy2yautxO\n"  # of the password b
ROWS = (
    StoredSecret("1", "node", digest_of(SECRET), is_client=True, created_at=0),
    StoredSecret("2", "a", digest_of(SECRET[:-1] + "8"), is_client=False, created_at=0),
)
GUARDED = {
    "access": {
        "login": "users",
        "users": USERS,
        "secrets": format_secrets(ROWS),
        "groups": {"all": ["a", "node"]},
        "rules": [
            {"who": ["group:all"], "what": ["up.test/a/*"], "allow": True},
            {"who": ["anyone"], "what": ["up.test/a"], "allow": True, "message": "take another one"},
        ],
    },
    "limits": {"requests": "1000000/s", "rate": "1GiB/s", "downloads": 1000, "bytes_per_day": "1TiB"},
}


class _World:
    """Two applications and their upstream, for all inputs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.answers: deque[bytes] = deque()
        self.stays = NothingStays()
        folder = tempfile.mkdtemp(prefix="hubferry-fuzz-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        log.configure("json", "warning")
        self.apps = self.loop.run_until_complete(self._begin(folder))

    async def _begin(self, folder: str) -> list[App]:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        upstream = {
            "url": f"http://127.0.0.1:{port}",
            "default": True,
            "allow_private_addresses": True,
            "response_timeout": "1s",
            "read_timeout": "1s",
            "search_url": f"http://127.0.0.1:{port}/search",
        }
        apps = []
        for name, guards in (("open", {"access": {"login": "open"}}), ("guarded", GUARDED)):
            settings = {
                "upstreams": {"only": True, "up.test": upstream},
                "cache": {"dir": f"{folder}/{name}", "patience": "10ms", "max_size": "64MiB", "min_free": "0B"},
                "server": {"log_level": "warning"},
                **guards,
            }
            apps.append(build_app(resolve([SettingsSource("fuzz", settings)]), Keys(bytes(32), bytes(32))))
        return apps

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Say to each request what is next; when nothing is, that it is unknown."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                answer = self.answers.popleft() if self.answers else UNKNOWN
                writer.write(answer)
                await writer.drain()
                if b"content-length" not in answer:
                    break
        writer.close()

    async def ask(self, app: App, scope: dict[str, Any], body: bytes) -> int:
        """The status of the answer to a request; 0: there was none."""
        statuses = [0]
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            return await asyncio.Future()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
                for name, value in message["headers"]:
                    assert not set(b"\r\n\0") & set(name + value), f"a header in a header: {value!r}"

        async with asyncio.timeout(WHOLE_S):
            await app(scope, receive, send)
        return statuses[-1]


_CELL: list[_World] = []


def _world() -> _World:
    if not _CELL:
        _CELL.append(_World())
    return _CELL[0]


def _text(data: Any, size: int) -> str:
    return str(data.ConsumeUnicode(data.ConsumeIntInRange(0, size)))


def _bytes(data: Any, size: int) -> bytes:
    return bytes(data.ConsumeBytes(data.ConsumeIntInRange(0, size)))


def _is_one_in(data: Any, count: int) -> bool:
    return bool(data.ConsumeIntInRange(1, count) == count)


def _lines(data: Any, names: tuple[str, ...]) -> list[tuple[bytes, bytes]]:
    count = data.ConsumeIntInRange(0, 4)
    return [(data.PickValueInList(list(names)).encode(), _value(data)) for _ in range(count)]


def _basic(user: str, password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


VALUES = (
    b"", b"application/json", b"2", b"chunked", b'Bearer realm="/token",service="a",scope="b"', b"Basic YTpi", b"/v2/a",
    b'</v2/a/tags/list?last=a>; rel="next"', b"bytes 0-1/2", b"bytes=0-", b"100;w=60", b"1", DIGEST.encode(), b"*/*",
    b"application/vnd.oci.image.index.v1+json", b"a.test", b"identity", b"application/vnd.oci.image.manifest.v1+json",
    b"application/vnd.docker.distribution.manifest.v1+prettyjws", b"text/html", b"gzip", b"Bearer a.b.c",
    _basic("a", SECRET[:-1] + "8"), _basic("a", SECRET[:-1] + "8:c"), _basic("a", "eyJhIjoiYiJ9.e30.YQ"),
)  # fmt: skip


def _value(data: Any) -> bytes:
    if data.ConsumeBool():
        return bytes(data.PickValueInList(list(VALUES)))
    return _bytes(data, 200).replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")


def _answer(data: Any) -> bytes:
    if _is_one_in(data, 16):
        return _bytes(data, 300)  # no HTTP at all, or nearly
    body = bytes(data.PickValueInList(list(BODIES))) if data.ConsumeBool() else _bytes(data, 400)
    head = [(name, value) for name, value in _lines(data, ANSWERED)]
    if data.ConsumeBool():
        head.append((b"content-length", b"%d" % len(body)))
    lines = b"".join(b"%b: %b\r\n" % line for line in head)
    return b"HTTP/1.1 %d \r\n%b\r\n%b" % (data.PickValueInList(list(STATUSES)), lines, body)


def run(raw: bytes) -> None:
    """Ask one request. Raises AssertionError for an answer that must not be, TimeoutError for none."""
    world = _world()
    data = atheris.FuzzedDataProvider(raw)
    path = data.PickValueInList(list(PATHS)) + (_text(data, 40) if _is_one_in(data, 8) else "")
    host = [] if _is_one_in(data, 16) else [(b"host", b"a.test")]
    if _is_one_in(data, 16):
        host.append((b"content-length", _value(data)))
    scope = {
        "type": "http",
        "method": data.PickValueInList(list(METHODS)),
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": _bytes(data, 60) if _is_one_in(data, 3) else b"",
        "headers": host + _lines(data, NAMES),
        "scheme": "http",
        "client": ("127.0.0.1", 1),
    }
    app = world.apps[data.ConsumeBool()]
    if _is_one_in(data, 4):
        scope["path"] = f"/{SECRET}{path}"
        scope["raw_path"] = scope["path"].encode("utf-8", "surrogatepass")
    world.answers.clear()
    world.answers.extend(_answer(data) for _ in range(data.ConsumeIntInRange(0, 4)))
    with in_time():
        status = world.loop.run_until_complete(world.ask(app, scope, _bytes(data, 200)))
    assert status != 500, f"500 for {scope}"
    world.stays.check(len(asyncio.all_tasks(world.loop)))


# what was found once
MISSING_PAGE = (  # with a query that is no UTF-8
    "Mz4rAP//LzP//2xAVVld2AH39O8emLt8vXlloa+0Ila+eN54G7Zj5f////////h6m9AQsjes375UVFRUVFRUVCxUVFRUVFRUVFRUVFRUVFQsVFRUVFRU"
    "VFRUVFRQK+rd///////Da/90c3xf5Q=="
)


def seeds() -> list[bytes]:
    """Inputs to begin with: they are choices, so anything is as good as anything else."""
    made = [b"".join(hashlib.sha512(b"%d.%d" % (seed, part)).digest() for part in range(12)) for seed in range(100)]
    return [*made, base64.b64decode(MISSING_PAGE)]
