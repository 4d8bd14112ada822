"""A real upstream with the referrers API that goes away on command, and counts what it is asked.

go-containerregistry's registry, in memory (scripts/clients builds it), behind a switch that answers instead of it, and
a relay that refuses or swallows connections. Not here: single faults on the wire (faults.py, hub.py).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from tests.support.built_clients import find_built
from tests.support.content import Blob
from tests.support.exchange import Recorder, Reply
from tests.support.http import fetch
from tests.support.processes import Process, free_port, url_answers
from tests.support.registry import push
from tests.support.relay import Relay
from tests.support.wire import WireServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.exchange import Exchange, Received
    from tests.support.images import Image, Index

__all__ = ["UPSTREAM_STATES", "SwitchedUpstream", "UpstreamState"]

UpstreamState = Literal["up", "down", "silent", "429", "503", "no referrers API"]
UPSTREAM_STATES: tuple[UpstreamState, ...] = get_args(UpstreamState)

_HANDED_ON = ("accept", "content-type", "content-range", "range", "if-none-match", "if-range")
_NOT_HANDED_BACK = ("connection", "content-length", "date", "transfer-encoding")
_REFUSALS = {
    429: (b'{"errors":[{"code":"TOOMANYREQUESTS","message":"too many requests"}]}', (("Retry-After", "1"),)),
    503: (b'{"errors":[{"code":"UNAVAILABLE","message":"try again later"}]}', ()),
    404: (b'{"errors":[{"code":"UNSUPPORTED","message":"no such endpoint"}]}', ()),
}


class SwitchedUpstream:
    """`url` is what a gateway is given, and `host` what a client that pushes is told; `push` goes past the switch.

    It begins "up". "down" refuses connections and resets those that are open, "silent" accepts and says nothing, "429"
    and "503" are the answer to everything, "no referrers API" is a 404 to /referrers/ only.
    """

    def __init__(self, state: Path) -> None:
        port = free_port()
        self._registry_url = f"http://127.0.0.1:{port}"
        self._process = Process(
            [find_built("referrers-registry"), "-address", f"127.0.0.1:{port}"], log=state / "referrers-registry.log"
        )
        self._process.wait_ready(lambda: url_answers(self._registry_url + "/v2/"), what=self._registry_url)
        self._recorder = Recorder()
        self._state: UpstreamState = "up"
        self._switch = WireServer("switch", self._answer, self._recorder)
        self._relay = Relay(self._switch.port, rtt_s=0, bytes_per_s=None)
        self.url = f"http://127.0.0.1:{self._relay.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._relay.close()
        self._switch.close()
        self._process.stop()

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    @property
    def state(self) -> UpstreamState:
        return self._state

    @property
    def asked(self) -> list[Exchange]:
        """The requests that reached it since the last `forget()`, whatever was answered."""
        return self._recorder.exchanges

    @property
    def connections(self) -> int:
        """How often it was dialled, answered or not; what is refused does not count."""
        return self._relay.connections

    def forget(self) -> None:
        self._recorder.clear()

    def push(self, repository: str, tag: str | None, image: Image | Index) -> str:
        """Push and return the digest; without a tag it can be had by digest only."""
        return push(self._registry_url, repository, tag, image)

    def switch(self, state: UpstreamState) -> None:
        """From now on it is in that state; connections from before are ended."""
        self._state = state
        self._relay.refuse(state == "down")
        if state == "silent":
            self._relay.blackhole()
        self._relay.drop()  # before it speaks again: what it swallowed is not to arrive
        if state != "silent":
            self._relay.blackhole(False)

    def _answer(self, request: Received) -> Reply:
        referrers = re.fullmatch(r"/v2/.+/referrers/[^/]+", request.path)
        if self._state in ("429", "503") or (self._state == "no referrers API" and referrers):
            status = 404 if referrers and self._state == "no referrers API" else int(self._state)
            body, headers = _REFUSALS[status]
            return Reply(status, (("Content-Type", "application/json"), *headers), Blob(body))
        headers = tuple((name, value) for name, value in request.headers if name.lower() in _HANDED_ON)
        answer = fetch(self._registry_url, request.method, headers, body=request.body, target=request.target)
        assert answer.ended == "complete", answer  # part of a body must not be handed on as a whole one
        if referrers and answer.status == 200:
            return self._with_artifact_types(answer.json(), request.path.rpartition("/referrers/")[0])
        kept = tuple((name, value) for name, value in answer.headers if name.lower() not in _NOT_HANDED_BACK)
        if request.method == "HEAD":
            return Reply(answer.status, kept, declared_length=int(answer.header("Content-Length") or 0))
        return Reply(answer.status, kept, Blob(answer.body))

    def _with_artifact_types(self, index: dict[str, Any], repository_path: str) -> Reply:
        """The list with the types that the manifests say.

        go-containerregistry names the config's media type instead, by which no client finds a Sigstore bundle.
        """
        for entry in index["manifests"]:
            manifest = fetch(f"{self._registry_url}{repository_path}/manifests/{entry['digest']}").json()
            entry["artifactType"] = manifest.get("artifactType") or manifest["config"]["mediaType"]
        body = Blob(json.dumps(index).encode())
        return Reply(200, (("Content-Type", str(index["mediaType"])),), body)
