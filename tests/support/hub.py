"""A stand-in for Docker Hub on loopback: registry, token service and CDN, each on its port, with faults.

It does what a plain registry does not: tokens with a lifetime, private repositories, signed CDN URLs, rate
limits. Every request of all three is recorded; one that Docker Hub would not know, and a script that never
matched, fail the test in `check()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.content import Blob
from tests.support.exchange import Received, Recorder, Reply
from tests.support.faults import Action, Script
from tests.support.hub_cdn import answer_cdn
from tests.support.hub_registry import RegistryAnswers
from tests.support.hub_state import HubState, Repository, add_image
from tests.support.hub_tokens import answer_token
from tests.support.wire import WireServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.exchange import Exchange
    from tests.support.images import Image, Index
    from tests.support.tls import Certificate

__all__ = ["Hub"]


class Hub:
    """Roles: "hub" (registry), "auth" (token service), "cdn". Set it up through `state` and `add()`.

    Use it as a context manager: leaving it closes the servers and, if the test passed so far, checks.
    """

    def __init__(self, *, certificate: Certificate | None = None, strict: bool = True) -> None:
        """`strict=False` for real clients that talk to it directly and may ask for anything."""
        self.state = HubState()
        self.recorder = Recorder()
        self.unexpected: list[Received] = []
        self.strict = strict
        self._scripts: list[Script] = []
        self._auth = WireServer("auth", self._respond_auth, self.recorder, certificate=certificate)
        self._cdn = WireServer("cdn", self._respond_cdn, self.recorder, certificate=certificate)
        self._registry = RegistryAnswers(self.state, self.realm, self._cdn.url)
        self._hub = WireServer("hub", self._respond_hub, self.recorder, certificate=certificate)

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        if kind is None:
            self.check()

    @property
    def url(self) -> str:
        return self._hub.url

    @property
    def host(self) -> str:
        """host:port, as clients that pull from it directly write it."""
        return f"127.0.0.1:{self._hub.port}"

    @property
    def realm(self) -> str:
        return self._auth.url + "/token"

    @property
    def cdn_url(self) -> str:
        return self._cdn.url

    @property
    def servers(self) -> tuple[WireServer, WireServer, WireServer]:
        return self._hub, self._auth, self._cdn

    def add(
        self,
        repository: str,
        tag: str | None,
        image: Image | Index,
        *,
        readers: set[str] | None = None,
    ) -> str:
        """Hold an image; `readers` makes the repository private to these accounts. Returns the digest."""
        with self.state.lock:
            known = self.state.repositories.setdefault(repository, Repository())
            if readers is not None:
                known.readers = frozenset(readers)
            return add_image(known, tag, image)

    def add_blob(self, repository: str, blob: Blob) -> str:
        with self.state.lock:
            self.state.repositories.setdefault(repository, Repository()).blobs[blob.digest] = blob
            return blob.digest

    def script(
        self,
        *actions: Action,
        role: str | None = None,
        method: str | None = None,
        path: str | None = None,
        times: int | None = 1,
        skip: int = 0,
    ) -> Script:
        """Treat matching requests with these actions (faults.py); `path` is a regular expression.

        The first script that takes a request wins. `times=None`: for ever.
        """
        script = Script(actions, role, method, path, times, skip)
        with self.state.lock:
            self._scripts.append(script)
        return script

    def advance(self, seconds: float) -> None:
        """Let time pass for tokens and signed URLs, without waiting."""
        with self.state.lock:
            self.state.skew_s += seconds

    def find(self, role: str | None = None, method: str | None = None, path: str | None = None) -> list[Exchange]:
        return self.recorder.find(role, method, path)

    def count(self, role: str | None = None, method: str | None = None, path: str | None = None) -> int:
        return self.recorder.count(role, method, path)

    def clear(self) -> None:
        """Forget the exchanges seen so far and the scripts; what was unexpected stays."""
        with self.state.lock:
            self._scripts.clear()
        self.recorder.clear()

    def release_stalls(self) -> None:
        for server in self.servers:
            server.release_stalls()

    def wait_left(self) -> None:
        """Wait until everything is recorded, and over, that clients which have ended still asked for."""
        for server in self.servers:
            server.wait_left()

    def check(self) -> None:
        """Fail on unexpected requests, bytes that were no HTTP, and scripts that never took a request."""
        unused = [script for script in self._scripts if not script.used]
        malformed = [head for server in self.servers for head in server.malformed]
        wrong = [f"unexpected: {r.role} {r.method} {r.target}" for r in self.unexpected if self.strict]
        wrong += [f"not HTTP: {head[:200]!r}" for head in malformed]
        wrong += [f"script never used: {script.role} {script.method} {script.path}" for script in unused]
        if wrong:
            raise AssertionError("\n".join([*wrong, "seen:", self.recorder.transcript()]))

    def close(self) -> None:
        for server in self.servers:
            server.close()

    def _respond_hub(self, request: Received) -> Reply:
        return self._respond(request, self._registry.answer)

    def _respond_auth(self, request: Received) -> Reply:
        return self._respond(request, lambda asked: answer_token(self.state, asked))

    def _respond_cdn(self, request: Received) -> Reply:
        return self._respond(request, lambda asked: answer_cdn(self.state, asked))

    def _respond(self, request: Received, respond: Callable[[Received], Reply | None]) -> Reply:
        def normal() -> Reply:
            reply = respond(request)
            if reply is None:
                self.unexpected.append(request)
                return Reply(404, body=Blob(b"the stand-in does not know this request"))
            return reply

        with self.state.lock:
            for script in self._scripts:
                if script.takes(request):
                    return script.apply(request, normal)
            return normal()
