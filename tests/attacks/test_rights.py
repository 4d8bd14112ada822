"""Who may have what is kept, against the real process: what no upstream, mirror or stranger gets out of it.

The numbers are the rows of the list of attacks that these tests answer. Every test prints what it measured as the
message of its assertion. Not here: rights without anybody hostile (tests/faults/test_kept_manifests.py).
"""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.faults.kept import check_folder, wait_kept
from tests.support import faults
from tests.support.content import Blob
from tests.support.exchange import Reply
from tests.support.gateway import Gateway, upstream
from tests.support.http import Answer, fetch
from tests.support.hub import Hub
from tests.support.images import OCI_MANIFEST, Image, build_image
from tests.support.processes import free_port
from tests.support.registry_client import RegistryClient, basic
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.support.exchange import Received
    from tests.support.faults import Action

ALICE = ("alice", "alice's password")
SECRET = "me/secret"
AWAY = faults.answer(429, headers=(("Retry-After", "60"),))  # as much a failure as a 5xx, and not tried again


@dataclass
class World:
    """docker.io and other.example, each a hub of its own, and the settings of a gateway that knows both."""

    hub: Hub
    other: Hub
    settings: dict[str, Any]
    state: Path
    secret: Image

    @property
    def folder(self) -> Path:
        return self.state / "data"

    @contextlib.contextmanager
    def serving(self, port: int | None = None) -> Iterator[Gateway]:
        with Gateway.start(self.state / "gateway", self.settings, port=port) as gateway:
            yield gateway


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """alice's private image is on docker.io, and nobody has pulled anything."""
    with Hub() as hub, Hub() as other:
        timeouts = {"read_timeout": "2s", "response_timeout": "2s"}
        settings = {
            "upstreams": {
                "only": True,
                "docker.io": upstream(hub.url, default=True, library=True, **timeouts),
                "other.example": upstream(other.url, **timeouts),
            },
            "cache": {"dir": str(tmp_path / "data"), "complete": False, "prefetch": False},
        }
        secret = build_image("alice's")
        hub.state.users.update([ALICE])
        hub.add(SECRET, "latest", secret, readers={"alice"})
        yield World(hub, other, settings, tmp_path, secret)


def client(gateway: Gateway, *credentials: tuple[str, str]) -> RegistryClient:
    return RegistryClient(gateway.url, credentials=credentials[0] if credentials else None)


def keep_secret(world: World, gateway: Gateway) -> None:
    """alice pulls her image; all of it is kept."""
    client(gateway, ALICE).pull(SECRET, "latest")
    for blob in world.secret.blobs.values():
        wait_kept(world.folder, blob)


def says_yes_to_head(image: Image) -> Action:
    """HEAD is answered with 200, whatever is asked: length and digest are those of the image's content."""

    def answer(request: Received, _normal: Any) -> Reply:
        digest = request.path.rpartition("/")[2]
        digest = digest if digest.startswith("sha256:") else image.digest
        blob = image.blobs.get(digest)
        size = len(image.manifest) if blob is None else blob.size
        content_type = OCI_MANIFEST if "/manifests/" in request.path else "application/octet-stream"
        return Reply(200, (("Content-Type", content_type), ("Docker-Content-Digest", digest)), declared_length=size)

    return answer


def leaks(image: Image, answers: list[Answer]) -> int:
    """How many of these answers hold content of an image."""
    secret = {image.manifest, *(blob.data for blob in image.blobs.values())}
    return sum(answer.body in secret for answer in answers)


def ask_for(stranger: RegistryClient, name: str, image: Image) -> list[Answer]:
    """Everything of an image by digest, under another name; twice, because the first answer may be remembered."""
    return [
        answer
        for _ in range(2)
        for answer in (
            stranger.manifest(name, image.digest),
            *(stranger.blob(name, digest) for digest in image.blobs),
            stranger.manifest(name, "made-up"),
        )
    ]


def test_row_8_a_second_upstream_that_answers_head_200_opens_nothing(world: World) -> None:
    world.other.add("pub/x", "latest", build_image("public"))
    with world.serving() as gateway:
        keep_secret(world, gateway)
        script = world.other.script(
            says_yes_to_head(world.secret), role="hub", method="HEAD", path="/pub/x/", times=None
        )
        answers = ask_for(client(gateway), "other.example/pub/x", world.secret)
    script.times = 0
    world.other.clear()
    assert leaks(world.secret, answers) == 0, f"{leaks(world.secret, answers)} of {len(answers)} answers were alice's"
    check_folder(world.folder)


def test_row_8_nor_does_one_that_also_begins_to_give_it(world: World) -> None:
    """Right head and length, other bytes: what was noted when it began must not open what is here of that digest."""
    world.other.add("pub/x", "latest", build_image("public"))
    with world.serving() as gateway:
        keep_secret(world, gateway)
        world.other.script(says_yes_to_head(world.secret), role="hub", method="HEAD", path="/pub/x/", times=None)
        for digest, blob in world.secret.blobs.items():
            lie = faults.answer(200, bytes(blob.size), (("Content-Type", "application/octet-stream"),))
            world.other.script(lie, role="hub", method="GET", path=f"/pub/x/blobs/{digest}", times=None)
        answers = ask_for(client(gateway), "other.example/pub/x", world.secret)
    world.other.clear()
    assert leaks(world.secret, answers) == 0, f"{leaks(world.secret, answers)} of {len(answers)} answers were alice's"
    check_folder(world.folder)


def test_row_8_nor_one_whose_manifest_names_it(world: World) -> None:
    """Registries accept manifests that name what they do not have."""
    named = world.secret
    naming = build_image("naming")
    naming = replace(naming, manifest=naming.manifest)
    world.other.add("pub/x", "latest", naming)
    # the very manifest of alice's image, if she let it be seen: it names her layers
    world.other.state.repositories["pub/x"].manifests[named.digest] = (OCI_MANIFEST, named.manifest)
    with world.serving() as gateway:
        keep_secret(world, gateway)
        world.other.script(says_yes_to_head(named), role="hub", method="HEAD", path="/pub/x/blobs/", times=None)
        stranger = client(gateway)
        assert stranger.manifest("other.example/pub/x", named.digest).body == named.manifest
        answers = [stranger.blob("other.example/pub/x", digest) for digest in named.blobs for _ in range(2)]
    world.other.clear()
    assert leaks(named, answers) == 0, f"{leaks(named, answers)} of {len(answers)} answers were alice's"


def test_row_8_nor_a_manifest_of_the_same_upstream_without_its_word(world: World) -> None:
    """mallory pushed a manifest that names alice's layers; the upstream took it and does not have them there."""
    world.hub.add("mallory/x", "latest", build_image("mallory's"))
    repository = world.hub.state.repositories["mallory/x"]
    repository.manifests[world.secret.digest] = (OCI_MANIFEST, world.secret.manifest)
    with world.serving() as gateway:
        keep_secret(world, gateway)
        stranger = client(gateway)
        assert stranger.manifest("mallory/x", world.secret.digest).body == world.secret.manifest
        answers = [stranger.blob("mallory/x", digest) for digest in world.secret.blobs for _ in range(2)]
    assert leaks(world.secret, answers) == 0, f"{leaks(world.secret, answers)} of {len(answers)} answers were alice's"


def test_row_8_a_mirror_in_an_outage_that_answers_head_200_opens_nothing(world: World) -> None:
    with Hub() as mirror:
        world.settings["upstreams"]["docker.io"]["mirrors"] = [mirror.url]
        for each in (world.hub, mirror):
            each.add("pub/x", "latest", build_image("public"))
        with world.serving() as gateway:
            keep_secret(world, gateway)
            world.hub.script(AWAY, role="hub", times=None)
            mirror.script(says_yes_to_head(world.secret), role="hub", method="HEAD", path="/pub/x/", times=None)
            answers = ask_for(client(gateway), "pub/x", world.secret)
        mirror.clear()
    assert leaks(world.secret, answers) == 0, f"{leaks(world.secret, answers)} of {len(answers)} answers were alice's"


def test_row_8_nor_does_a_mirror_that_also_gives_a_manifest_which_names_it(world: World) -> None:
    with Hub() as mirror:
        world.settings["upstreams"]["docker.io"]["mirrors"] = [mirror.url]
        for each in (world.hub, mirror):
            each.add("pub/x", "latest", build_image("public"))
        mirror.state.repositories["pub/x"].manifests[world.secret.digest] = (OCI_MANIFEST, world.secret.manifest)
        with world.serving() as gateway:
            keep_secret(world, gateway)
            world.hub.script(AWAY, role="hub", times=None)
            mirror.script(says_yes_to_head(world.secret), role="hub", method="HEAD", path="/pub/x/blobs/", times=None)
            stranger = client(gateway)
            assert stranger.manifest("pub/x", world.secret.digest).body == world.secret.manifest
            answers = [stranger.blob("pub/x", digest) for digest in world.secret.blobs for _ in range(2)]
        mirror.clear()
    assert leaks(world.secret, answers) == 0, f"{leaks(world.secret, answers)} of {len(answers)} answers were alice's"


def test_what_another_upstream_really_holds_is_fetched_from_it_once_and_kept_once(world: World) -> None:
    shared = build_image("shared")
    world.hub.add("team/app", "1", shared)
    world.other.add("team/app", "1", shared)
    with world.serving() as gateway:
        for name in ("team/app", "other.example/team/app"):
            for _ in range(2):
                assert client(gateway).pull(name, "1") == shared.digest
            for blob in shared.blobs.values():
                wait_kept(world.folder, blob)
        world.other.recorder.clear()
        wait_until(lambda: _pulls_without_asking(world.other, gateway, "other.example/team/app"), "kept for both")
    check_folder(world.folder)


def _pulls_without_asking(hub: Hub, gateway: Gateway, name: str) -> bool:
    before = hub.count("cdn")
    client(gateway).pull(name, "1")
    return hub.count("cdn") == before


@pytest.mark.parametrize("status", [401, 404])
def test_row_9_what_was_public_and_is_not_is_gone_after_its_time(world: World, status: int) -> None:
    public = build_image("public for a while")
    world.hub.add("team/app", "1", public)
    world.settings["cache"]["public_ttl"] = "300ms"
    paths = [f"manifests/{public.digest}", *(f"blobs/{digest}" for digest in public.blobs)]
    port = free_port()

    def ask(gateway: Gateway) -> list[Answer]:
        stranger = client(gateway)
        return [stranger.get(f"/v2/team/app/{path}") for path in paths]

    with world.serving(port) as gateway:
        client(gateway).pull("team/app", "1")
        for blob in public.blobs.values():
            wait_kept(world.folder, blob)
        time.sleep(0.4)  # the TTLs pass
        world.hub.script(AWAY, role="hub", times=None)
        away = ask(gateway)
        assert leaks(public, away) == len(away), "while the upstream is away, what is kept is given"
        world.hub.clear()
        if status == 404:
            world.hub.script(faults.answer(404), role="hub", path="/v2/team/app/", times=None)
        else:
            world.hub.state.repositories["team/app"].readers = frozenset({"alice"})
            world.hub.state.grants.clear()
    with world.serving(port) as gateway:
        refused = ask(gateway)
        world.hub.clear()
        world.hub.script(AWAY, role="hub", times=None)
        later = ask(gateway)
    world.hub.clear()
    given = leaks(public, refused), leaks(public, later)
    assert given == (0, 0), f"after it was made private {given} of {len(paths)} were given: asked, and in an outage"
    assert {answer.status for answer in refused} == {status}


@contextlib.contextmanager
def halted(worker: psutil.Process) -> Iterator[None]:
    """Meanwhile it takes no connection, so that the other worker takes them all."""
    time.sleep(0.2)  # what it is writing to the index: the other one would wait for that
    worker.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        worker.send_signal(signal.SIGCONT)


def two_workers(gateway: Gateway) -> list[psutil.Process]:
    supervisor = psutil.Process(gateway.pid)
    wait_until(lambda: len(supervisor.children()) == 2, "two workers")
    return supervisor.children()


def test_row_10_a_login_that_loses_its_right_loses_it_in_every_worker(world: World) -> None:
    world.settings["server"] = {"workers": 2}
    world.settings["cache"]["tag_ttl"] = "0s"
    paths = [f"manifests/{world.secret.digest}", *(f"blobs/{digest}" for digest in world.secret.blobs)]
    with world.serving() as gateway:
        one, other = two_workers(gateway)
        alice = client(gateway, ALICE)
        with halted(other):
            keep_secret(world, gateway)
        with halted(one):
            assert {alice.get(f"/v2/{SECRET}/{path}").status for path in paths} == {200}
            world.hub.recorder.clear()
            assert {alice.get(f"/v2/{SECRET}/{path}").status for path in paths} == {200}
            assert world.hub.count("hub") == 0, "the other worker knows her right"
        world.hub.script(faults.answer(403), role="hub", path=f"/v2/{SECRET}/", times=None)
        with halted(other):
            assert alice.manifest(SECRET, "latest").status == 403
        with halted(one):
            answers = [alice.get(f"/v2/{SECRET}/{path}") for path in paths]
    world.hub.clear()
    given = leaks(world.secret, answers)
    assert given == 0, f"the other worker went on to give {given} of {len(paths)}"


def test_row_10_what_the_public_loses_it_loses_in_every_worker(world: World) -> None:
    public = build_image("public for a while")
    world.hub.add("team/app", "1", public)
    world.settings["server"] = {"workers": 2}
    world.settings["cache"]["tag_ttl"] = "0s"
    with world.serving() as gateway:
        one, other = two_workers(gateway)
        stranger = client(gateway)
        for idle in (other, one):
            with halted(idle):
                assert stranger.manifest("team/app", public.digest).status == 200
        assert stranger.manifest("team/app", "1").status == 200
        world.hub.script(faults.answer(403), role="hub", path="/v2/team/app/", times=None)
        with halted(one):
            answer = stranger.manifest("team/app", public.digest)
            assert answer.body == public.manifest
            with halted(other):
                pass
        with halted(other):
            assert stranger.manifest("team/app", "1").status == 403
        with halted(one):
            answer = stranger.manifest("team/app", public.digest)
    world.hub.clear()
    assert answer.body != public.manifest, "the other worker went on to give it"


def hides(request: Received, normal: Any) -> Reply:
    """What a repository is to those who may not see it, at upstreams that hide it."""
    reply: Reply = normal()
    if reply.status == 401 and (request.header("authorization") or "").startswith("Bearer "):
        return Reply(404, (("Content-Type", "application/json"),), Blob(b'{"errors":[{"code":"NAME_UNKNOWN"}]}'))
    return reply


def test_row_15_a_strangers_404_takes_nothing_from_the_owner(world: World) -> None:
    with world.serving() as gateway:
        world.hub.script(hides, role="hub", times=None)
        keep_secret(world, gateway)
        stranger = client(gateway).manifest(SECRET, "latest")
        assert stranger.status == 404
        world.hub.clear()
        world.hub.script(faults.hang_up(), role="hub", times=None)
        owner = client(gateway, ALICE).manifest(SECRET, "latest")
    world.hub.clear()
    assert owner.status == 200, f"after a stranger's 404 the owner gets {owner.status} within tag_ttl"


def test_row_15_a_tag_that_was_deleted_is_not_given_in_an_outage(world: World) -> None:
    app = build_image("deleted")
    world.hub.add("team/app", "1", app)
    world.hub.add("team/app", "2", build_image("stays"))
    world.settings["cache"]["tag_ttl"] = "0s"
    port = free_port()
    with world.serving(port) as gateway:
        for name in ("1", "2"):
            assert client(gateway).manifest("team/app", name).status == 200
        del world.hub.state.repositories["team/app"].tags["1"]
        assert client(gateway).manifest("team/app", "1").status == 404
        assert client(gateway).manifest("team/app", "2").status == 200, "which proves again that it is public"
    world.hub.script(AWAY, role="hub", times=None)
    with world.serving(port) as gateway:  # another process: a 404 is remembered for seconds by the one that heard it
        status = client(gateway).manifest("team/app", "1").status, client(gateway).manifest("team/app", "2").status
    world.hub.clear()
    assert status == (429, 200), f"the deleted tag and the other in an outage: {status}"


def rows(folder: Path) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(folder / "index.sqlite3")) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: int(db.execute(f"SELECT count(*) FROM {name}").fetchone()[0]) for name in tables}


NAMES = 60


@pytest.mark.parametrize("who", ["anonymous", "alice"])
def test_row_13_made_up_names_leave_no_rows_and_short_lines(world: World, who: str) -> None:
    with world.serving() as gateway:
        keep_secret(world, gateway)
        made = [f"nobody/{number:04}{'x' * 180}" for number in range(NAMES)]
        someone = client(gateway, *([ALICE] if who == "alice" else []))
        before, logged = rows(world.folder), logged_bytes(gateway)
        for name in made:
            assert someone.manifest(name, "latest").status == 401
        wait_until(lambda: made[-1][:40] in str(gateway.log_records()[-1]), "all of it is logged")
        after = rows(world.folder)
        bytes_each = (logged_bytes(gateway) - logged) / NAMES
    assert after == before, f"{NAMES} names left {sum(after.values()) - sum(before.values())} rows: {after}"
    # the token and the refusal; the challenge is not logged
    assert bytes_each < 1000, f"{bytes_each:.0f} bytes are logged for each name"


def logged_bytes(gateway: Gateway) -> int:
    return sum((gateway.state / name).stat().st_size for name in ("stdout.log", "stderr.log"))


def test_a_login_that_is_known_is_shown_to_no_other_upstream(world: World) -> None:
    with world.serving() as gateway:
        assert fetch(f"{gateway.url}/v2/", headers=[basic(*ALICE)]).status == 200
        statuses = [
            fetch(f"{gateway.url}/{path}", headers=[basic(*ALICE)]).status
            for path in ("v2/?ns=other.example", "token?service=x&ns=other.example")
        ]
    shown = world.other.count()
    assert shown == 0, f"other.example was asked {shown} times: {world.other.recorder.transcript()}"
    assert statuses == [200, 200]
