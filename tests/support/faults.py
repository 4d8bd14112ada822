"""What can be scripted to go wrong on the stand-in: each function makes an action.

An action sees the request and can ask for the normal reply: `action(request, normal) -> Reply`. Those that do
not call `normal()` replace it, with none of its side effects (no pull counted, no unexpected request).
Not here: how a reply is cut or stalled on the wire (wire.py).
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from tests.support.content import Blob
from tests.support.exchange import Header, Received, Reply

if TYPE_CHECKING:
    from tests.support.exchange import Ending

__all__ = [
    "Action",
    "Script",
    "answer",
    "challenge",
    "chunked",
    "cut",
    "declare_length",
    "flip_byte",
    "gzip_encoded",
    "hang_up",
    "header",
    "lying_digest",
    "no_ranges",
    "other_bytes",
    "oversize_manifest",
    "redirect",
    "redirect_loop",
    "slow_first_byte",
    "stall",
    "throttle",
]

_INDEX = "application/vnd.oci.image.index.v1+json"

Action = Callable[[Received, Callable[[], Reply]], Reply]


@dataclass
class Script:
    """Which requests get which actions: the first `skip` matching ones pass, the next `times` do not."""

    actions: tuple[Action, ...]
    role: str | None = None
    method: str | None = None
    path: str | None = None
    times: int | None = 1
    skip: int = 0
    seen: int = field(default=0, init=False)

    @property
    def used(self) -> int:
        return max(0, self.seen - self.skip)

    def takes(self, request: Received) -> bool:
        """Whether this request is to be treated; counts it. `path` is a regular expression, searched for."""
        if self.role not in (None, request.role) or self.method not in (None, request.method):
            return False
        if self.path is not None and not re.search(self.path, request.path):
            return False
        self.seen += 1
        return self.seen > self.skip and (self.times is None or self.seen <= self.skip + self.times)

    def apply(self, request: Received, normal: Callable[[], Reply]) -> Reply:
        for action in self.actions:
            normal = _bind(action, request, normal)
        return normal()


def answer(status: int, body: bytes = b"", headers: tuple[Header, ...] = ()) -> Action:
    return lambda _request, _normal: Reply(status, headers, Blob(body))


def hang_up(ending: Ending = "fin") -> Action:
    """Close the connection instead of answering."""
    return lambda _request, _normal: Reply(hang_up=True, ending=ending)


def cut(after: int, ending: Ending = "fin") -> Action:
    """End the connection after so many bytes of the body."""
    return lambda _request, normal: replace(normal(), cut_after=after, ending=ending)


def flip_byte(at: int) -> Action:
    """Change the byte at that offset of the body that is sent (a range's own first byte is 0)."""
    return lambda _request, normal: replace(normal(), flip_at=at)


def stall(after: int | None = None) -> Action:
    """Send nothing more after so many bytes of the body, None: not even the head, until released."""
    if after is None:
        return lambda _request, normal: replace(normal(), stall_before_head=True)
    return lambda _request, normal: replace(normal(), stall_after=after)


def slow_first_byte(seconds: float) -> Action:
    return lambda _request, normal: replace(normal(), delay_s=seconds)


def throttle(bytes_per_second: int) -> Action:
    return lambda _request, normal: replace(normal(), bytes_per_s=bytes_per_second)


def declare_length(length: int | Literal["none"]) -> Action:
    """A wrong Content-Length, or none at all (the body then ends with the connection)."""
    return lambda _request, normal: replace(normal(), declared_length=length, close=True)


def chunked() -> Action:
    return lambda _request, normal: replace(normal(), chunked=True)


def header(name: str, value: str | None) -> Action:
    """Set a header of the reply; None removes it."""
    return lambda _request, normal: normal().with_header(name, value)


def lying_digest(digest: str) -> Action:
    return header("Docker-Content-Digest", digest)


def other_bytes(body: bytes) -> Action:
    """The normal head, with this body."""
    return lambda _request, normal: replace(normal(), body=Blob(body), start=0, stop=None)


def no_ranges() -> Action:
    """The whole body with 200, whatever range was asked for."""

    def ignore(_request: Received, normal: Callable[[], Reply]) -> Reply:
        reply = replace(normal(), status=200, start=0, stop=None).with_header("Content-Range", None)
        return reply.with_header("Accept-Ranges", None)

    return ignore


def redirect(location: str, status: int = 307) -> Action:
    """To an absolute URL, or a relative one."""
    return answer(status, headers=(("Location", location),))


def redirect_loop(status: int = 307) -> Action:
    """To the same URL again."""
    return lambda request, _normal: Reply(status, (("Location", request.local_url + request.target),))


def challenge(value: str, status: int = 401) -> Action:
    """Answer 401 with exactly this WWW-Authenticate, e.g. one with a hostile realm."""
    return answer(
        status,
        b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}',
        (("Content-Type", "application/json"), ("WWW-Authenticate", value)),
    )


def gzip_encoded() -> Action:
    """The normal body compressed, with Content-Encoding, asked for or not."""

    def encode(_request: Received, normal: Callable[[], Reply]) -> Reply:
        reply = normal()
        packed = gzip.compress(b"".join(reply.body.chunks(reply.start, reply.stop)), mtime=0)
        reply = replace(reply, body=Blob(packed), start=0, stop=None)
        return reply.with_header("Content-Encoding", "gzip")

    return encode


def oversize_manifest(size: int = 5 * 1024 * 1024) -> Action:
    """A well-formed manifest of that many bytes: more than the 4 MiB any client takes."""
    document: dict[str, object] = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": []}
    bare = len(json.dumps(document | {"annotations": {"padding": ""}}))
    padded = json.dumps(document | {"annotations": {"padding": "x" * (size - bare)}})
    return answer(200, padded.encode(), (("Content-Type", _INDEX),))


def _bind(action: Action, request: Received, normal: Callable[[], Reply]) -> Callable[[], Reply]:
    return lambda: action(request, normal)
