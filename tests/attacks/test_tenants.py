"""Tenants beside each other, drawn at random: nobody gets a byte of what its upstream would not give it.

Accounts with rights of their own at two upstreams, one of them with a mirror; images that are kept or not; rights that
are granted and withdrawn, that age, and a node that restarts, also while the upstream is away. After each such change
everybody asks for everything: manifests, blobs, ranges, lists, by tag and by digest, also by digests of others.

HUBFERRY_SEED repeats a run, and HUBFERRY_MATRIX=whole (make matrix) asks 100,000 times and more. What may be
answered is said by `Rights`, which knows nothing of how the gateway finds out.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import faults
from tests.support.gateway import Gateway, upstream
from tests.support.hub import Hub
from tests.support.images import Image, build_image
from tests.support.registry_client import ACCEPT_MANIFESTS, basic, parse_bearer
from tests.support.users import UserBook

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.faults import Script

SEED = int(os.environ.get("HUBFERRY_SEED") or random.SystemRandom().randrange(10**6))
QUESTIONS, PER_ROUND = (55_000, 500) if os.environ.get("HUBFERRY_MATRIX") == "whole" else (1_200, 100)
AWAY = faults.answer(429, headers=(("Retry-After", "60"),))  # as much a failure as a 5xx, and not tried again
AGED_S = 4_000  # older than the right of a login (5 min) and than that of everybody (cache.public_ttl)
EVERYBODY = ""
CONTENT = "content"
SKIPPED_BYTES = 1  # of a blob, by the ranges that are asked for
ACCOUNTS = ("alice", "bob", "mallory")
NAMES = ("pub/one", "pub/two", "alice/one", "alice/two", "bob/one", "both/one")
MAIN, OTHER = "docker.io", "other.example"
CHANGING = ((MAIN, "alice/two"), (MAIN, "pub/one"), (OTHER, "alice/one"))


MIRRORED = {name: build_image(f"the mirror's {name}") for name in ("pub/one", "alice/one")}
BASE = build_image("what everybody begins from", layer_sizes=(800,))


def own_tag(place: str, repository: str) -> str:
    """The tag that no other repository has, so that its list cannot be taken for another one."""
    return f"{place}-{repository.replace('/', '-')}"


@dataclass(frozen=True)
class Caller:
    """Somebody who asks: `account` is its account at both upstreams, EVERYBODY for none.

    `login` is what it shows at the token endpoint, `prefix` comes before its paths. `is_denied`: no rule lets it pull
    what is in `both/`.
    """

    name: str
    account: str
    login: tuple[str, str] | None = None
    prefix: str = ""
    is_denied: bool = False


@dataclass
class Rights:
    """Who may have what at this moment, and what was shown to whom: the most that a gateway may go by.

    A key of `shown` is an account (EVERYBODY: without a login), an upstream, a repository, and what of it: content, or
    one of its lists. Some registries list nothing for anybody, so being refused a list says nothing of content.
    """

    hubs: dict[str, Hub]
    is_away: bool = False
    shown: dict[tuple[str, str, str, str], bool] = field(default_factory=dict)  # whether it has aged since

    def holds(self, place: str, repository: str, reference: str) -> bool:
        """Return whether a repository has a manifest, blob or tag."""
        known = self.hubs[place].state.repositories[repository]
        return reference in known.manifests or reference in known.blobs or reference in known.tags

    def grants(self, account: str, place: str, repository: str) -> bool:
        return self.hubs[place].state.may_read(account, repository)

    def may_have(self, caller: Caller, question: Question) -> bool:
        """Return whether the caller may be given what the repository holds."""
        place, repository = question.place, question.repository
        if caller.is_denied and repository.startswith("both/"):
            return False
        if not self._is_away_from(place) and self.grants(caller.account, place, repository):
            return True
        # whoever may pull may also see the list that was kept when the upstream is away
        about = {question.about, CONTENT}
        mine, everybodys = (
            [self.shown.get((who, place, repository, one)) for one in about] for who in (caller.account, EVERYBODY)
        )
        is_mine_proven = False in mine and caller.account != EVERYBODY
        # what is everybody's is asked for again when it is old, and stays everybody's while nobody answers
        is_everybodys_proven = False in everybodys or (True in everybodys and self._is_away_from(place))
        return is_mine_proven or is_everybodys_proven

    def note(self, caller: Caller, question: Question, *, was_given: bool) -> None:
        """Note that the upstream has shown something to a caller, or that it was refused."""
        place, repository = question.place, question.repository
        if self._is_away_from(place) or (caller.is_denied and repository.startswith("both/")):
            return
        if not was_given and not self.grants(caller.account, place, repository):
            self.shown.pop((caller.account, place, repository, question.about), None)
        # a login is shown to one upstream only, and the other one is asked for everybody
        for account in {caller.account, EVERYBODY if place == OTHER else caller.account}:
            if was_given and self.grants(account, place, repository):
                self.shown[account, place, repository, question.about] = False

    def age(self) -> None:
        self.shown = dict.fromkeys(self.shown, True)

    def _is_away_from(self, place: str) -> bool:
        return self.is_away and place == MAIN


@dataclass(frozen=True)
class Question:
    """One request. `kind` is manifests, blobs, tags or referrers; `reference` a tag or a digest."""

    place: str
    repository: str
    kind: str
    reference: str
    method: str = "GET"
    extent: str = ""

    @property
    def about(self) -> str:
        return CONTENT if self.kind in ("manifests", "blobs") else self.kind

    @property
    def path(self) -> str:
        tail = "list" if self.kind == "tags" else self.reference
        return f"/v2/{self.place}/{self.repository}/{self.kind}/{tail}"


class Connection:
    """A client's connection that stays open, and its tokens."""

    def __init__(self, gateway: Gateway, caller: Caller) -> None:
        self.caller = caller
        self._http = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
        self._tokens: dict[str, str] = {}

    def close(self) -> None:
        self._http.close()

    def ask(self, question: Question) -> tuple[int, dict[str, str], bytes]:
        """The status, headers and body of the answer, after a login where one is asked for."""
        headers = {ACCEPT_MANIFESTS[0]: ACCEPT_MANIFESTS[1]}
        if question.extent:
            headers["Range"] = question.extent
        key = f"{question.place}/{question.repository}"
        for turn in range(2):
            if key in self._tokens:
                headers["Authorization"] = f"Bearer {self._tokens[key]}"
            status, said, body = self._send(question.method, self.caller.prefix + question.path, headers)
            if status != 401 or turn or not said.get("www-authenticate", "").startswith("Bearer"):
                break
            challenge = parse_bearer(said["www-authenticate"])
            path = "/" + challenge["realm"].split("/", 3)[3]
            login = [basic(*self.caller.login)] if self.caller.login else []
            query = f"?service={challenge['service']}&scope={challenge['scope']}"
            token_status, _, answered = self._send("GET", path + query, dict(login))
            if token_status != 200:
                break
            self._tokens[key] = json.loads(answered)["token"]
        return status, said, body

    def _send(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        self._http.request(method, path, headers=headers)
        answer = self._http.getresponse()
        body = answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


class World:
    """Two upstreams, a mirror, a gateway, everybody who asks, and what they were given."""

    def __init__(self, state: Path, settings: dict[str, Any], hubs: dict[str, Hub], callers: list[Caller]) -> None:
        self.rights = Rights(hubs)
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._state = state
        self._settings = settings
        self._callers = callers
        self._images: dict[tuple[str, str], list[Image]] = {}
        self._away: list[Script] = []
        self._gateway: Gateway | None = None
        self._connections: list[Connection] = []

    def start(self) -> None:
        self._gateway = Gateway.start(self._state / "gateway", self._settings)
        self._connections = [Connection(self._gateway, caller) for caller in self._callers]

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        gateway, self._gateway = self._gateway, None
        if gateway is not None:
            gateway.stop()

    def push(self, place: str, repository: str, number: int) -> None:
        """A new image under the tag, on a layer that everybody has."""
        image = build_image(f"{place} {repository} {number}", layer_sizes=(900, 700), base=BASE)
        self._images.setdefault((place, repository), []).append(image)
        for tag in ("latest", own_tag(place, repository)):
            self.rights.hubs[place].add(repository, tag, image)

    def grant(self, draw: random.Random) -> None:
        """Let somebody, or everybody, read a repository, or nobody any more."""
        place, repository = draw.choice([*self._images])
        readers = draw.choice([None, *({*draw.sample(ACCOUNTS, size)} for size in (0, 1, 1, 2))])
        with self.rights.hubs[place].state.lock:
            known = self.rights.hubs[place].state.repositories[repository]
            known.readers = None if readers is None else frozenset(readers)
            self.rights.hubs[place].state.grants.clear()  # or its tokens would be good for five minutes more

    def restart(self, *, is_long_away: bool = False) -> None:
        """Start the node anew; with `is_long_away` after a time in which rights become old."""
        self.close()
        if is_long_away:
            with contextlib.closing(sqlite3.connect(self._state / "data" / "index.sqlite3")) as index, index:
                index.execute("UPDATE rights SET proven_at = proven_at - ?", (AGED_S,))
            self.rights.age()
        self.start()

    def wait_long(self, draw: random.Random) -> None:
        """Let rights become old, and then what they were for is changed, or cannot be asked for any more."""
        self.restart(is_long_away=True)
        if draw.random() < 0.5:
            for _ in range(4):
                self.grant(draw)
        if not self.rights.is_away:
            self.go_away()

    def go_away(self) -> None:
        """Take the main upstream away, or give it back; then the node forgets that it has to wait for it."""
        hub = self.rights.hubs[MAIN]
        self.rights.is_away = not self.rights.is_away
        if self.rights.is_away:
            self._away = [hub.script(AWAY, role=role, times=None) for role in ("hub", "auth")]
        else:
            for script in self._away:
                script.times = 0
            self.restart()

    def ask_everything(self, draw: random.Random) -> None:
        """Some questions of everybody about everything, in any order."""
        for _ in range(PER_ROUND):
            place, repository = draw.choice([*self._images])
            # often of the repository itself, sometimes what another one has
            owner = (place, repository) if draw.random() < 0.8 else draw.choice([*self._images])
            image = draw.choice(self._images[owner])
            kind = draw.choice(["manifests", "manifests", "blobs", "blobs", "blobs", "tags", "referrers"])
            reference = draw.choice(["latest", image.digest]) if kind == "manifests" else image.digest
            if kind == "blobs":
                reference = draw.choice([*image.blobs])
            method = draw.choice(["GET", "GET", "HEAD"])
            extent = f"bytes={SKIPPED_BYTES}-" if kind == "blobs" and method == "GET" and draw.random() < 0.2 else ""
            self._ask(draw.choice(self._connections), Question(place, repository, kind, reference, method, extent))

    def _ask(self, connection: Connection, question: Question) -> None:
        caller, rights = connection.caller, self.rights
        status, headers, body = connection.ask(question)
        place, repository = question.place, question.repository
        may_have = rights.may_have(caller, question)
        is_theirs = question.kind in ("tags", "referrers") or rights.holds(place, repository, question.reference)
        self.counts["asked"] += 1
        if status in (200, 206):
            self.counts["given"] += 1
            self.counts["given while it was away"] += rights.is_away and place == MAIN
            if not self._is_right(question, headers, body, is_theirs=may_have and is_theirs):
                self.wrong.append(f"{caller.name} was given {question}: {status} {headers} {body[:200]!r}")
        elif status in (401, 403, 404):
            self.counts["refused"] += 1
            # a login is shown to one upstream only, usually to the first, which is the host's own
            account = caller.account if place == MAIN else EVERYBODY
            is_granted = rights.grants(account, place, repository) and may_have and is_theirs
            if is_granted and not (rights.is_away and place == MAIN):
                self.wrong.append(f"{caller.name} was refused {question}: {status} {body[:200]!r}")
        else:
            self.counts[f"status {status}"] += 1
            if status not in (429, 503) or not rights.is_away or place != MAIN:
                self.wrong.append(f"{status} {body[:300]!r} for {question}")
        if status in (200, 206):
            rights.note(caller, question, was_given=True)
        elif question.kind != "referrers" and (status in (401, 403) or (status == 404 and is_theirs)):
            rights.note(caller, question, was_given=False)

    def _is_right(self, question: Question, headers: dict[str, str], body: bytes, *, is_theirs: bool) -> bool:
        """Return whether an answer is what was asked for: the upstream's if `is_theirs`, or else the mirror's own.

        While the upstream is away its mirror is asked, and shows what it has to everybody.
        """
        sources = [(self.rights.hubs[question.place], self._images[question.place, question.repository])] * is_theirs
        if question.place == MAIN and self.rights.is_away and question.repository in MIRRORED:
            sources.append((self.rights.hubs["mirror"], [MIRRORED[question.repository]]))
        return any(self._is_of(hub, images, question, headers, body) for hub, images in sources)

    @staticmethod
    def _is_of(hub: Hub, images: list[Image], question: Question, headers: dict[str, str], body: bytes) -> bool:
        """Return whether an answer is what this registry has, or had, of these images of the repository."""
        if question.kind in ("tags", "referrers"):
            known = {"tags": sorted(hub.state.repositories[question.repository].tags), "referrers": []}[question.kind]
            listed = "tags" if question.kind == "tags" else "manifests"
            return question.method == "HEAD" or json.loads(body)[listed] == known
        if question.kind == "blobs":
            blobs = {digest: blob for image in images for digest, blob in image.blobs.items()}
            if question.reference not in blobs:
                return False
            if question.method == "HEAD":
                return headers["docker-content-digest"] == question.reference
            return body == blobs[question.reference].data[SKIPPED_BYTES if question.extent else 0 :]
        manifests = {image.digest: image.manifest for image in images}
        digest = headers["docker-content-digest"]
        is_asked = question.reference in (digest, "latest")
        return is_asked and digest in manifests and (question.method == "HEAD" or body == manifests[digest])


def settings(state: Path, hubs: dict[str, Hub]) -> dict[str, Any]:
    times = {"read_timeout": "2s", "response_timeout": "2s"}
    return {
        "upstreams": {
            "only": True,
            MAIN: upstream(hubs[MAIN].url, default=True, library=True, mirrors=[hubs["mirror"].url], **times),
            OTHER: upstream(hubs[OTHER].url, **times),
        },
        "cache": {"dir": str(state / "data"), "tag_ttl": "0s"},
    }


def tenants_of_upstreams(_: Path) -> tuple[dict[str, Any], list[Caller]]:
    """Everybody shows its account of the upstream."""
    named = [Caller(name, name, (name, f"{name}'s password")) for name in ACCOUNTS]
    return {"login": "upstream"}, [Caller("anonymous", EVERYBODY), *named]


def tenants_of_the_gateway(state: Path) -> tuple[dict[str, Any], list[Caller]]:
    """Users of the gateway: with an account of the upstream behind their token, without one, and a client's secret."""
    book = UserBook(state)
    callers = []
    for name in (*ACCOUNTS, "guest"):
        book.add(name, f"{name}'s own")
        token = book.token(name)
        account = name if name in ACCOUNTS else EVERYBODY
        secret = f"{token}:{name}'s password" if account else token
        callers.append(Caller(name, account, (name, secret), is_denied=name in ("mallory", "guest")))
    callers.append(Caller("a user by password", EVERYBODY, ("alice", "alice's own")))
    callers.append(Caller("a client", EVERYBODY, prefix="/" + book.mirror("node")))
    rule = {"who": ["user:mallory", "user:guest"], "what": ["*/both/**"], "allow": False}
    return {**book.access, "rules": [rule]}, callers


@pytest.mark.parametrize("tenants", [tenants_of_upstreams, tenants_of_the_gateway])
def test_nobody_is_given_what_is_not_theirs(tmp_path: Path, tenants: Any) -> None:
    draw = random.Random(SEED)
    print(f"HUBFERRY_SEED={SEED}")
    access, callers = tenants(tmp_path)
    with Hub() as main, Hub() as other, Hub() as mirror:
        hubs = {MAIN: main, OTHER: other, "mirror": mirror}
        for hub in hubs.values():
            hub.state.pull_limit = None
            hub.state.users.update({name: f"{name}'s password" for name in ACCOUNTS})
        for name, image in MIRRORED.items():
            mirror.add(name, "the-mirrors", image)
            mirror.add(name, "latest", image)
        world = World(tmp_path, {**settings(tmp_path, hubs), "access": access}, hubs, callers)
        for place, repository in [*((MAIN, name) for name in NAMES), (OTHER, "alice/one"), (OTHER, "pub/one")]:
            world.push(place, repository, 0)
            owner = repository.partition("/")[0]
            readers = {"pub": None, "both": frozenset({"alice", "bob"})}.get(owner, frozenset({owner}))
            hubs[place].state.repositories[repository].readers = readers
        changes = [
            lambda: world.grant(draw),
            lambda: world.push(*draw.choice(CHANGING), draw.randrange(10**9)),
            world.go_away,
            world.restart,
            lambda: world.wait_long(draw),
        ]
        drawn: list[Callable[[], None]] = []
        with contextlib.closing(world):
            world.start()
            while world.counts["asked"] < QUESTIONS or world.counts["given while it was away"] < QUESTIONS // 100:
                assert world.counts["asked"] < 10 * QUESTIONS, world.counts
                world.ask_everything(draw)
                if not drawn:  # each of them comes in a short run, too
                    drawn = draw.sample([*changes, *changes[:1] * 3, world.go_away], len(changes) + 4)
                drawn.pop()()
        for hub in hubs.values():
            hub.clear()
    print(dict(world.counts))
    assert not world.wrong, (f"HUBFERRY_SEED={SEED}", len(world.wrong), world.wrong[:3])
    assert min(world.counts["given"], world.counts["refused"]) > QUESTIONS // 100
