"""Rights by the clock, what a 404 takes away, and that nothing of an answer is left open."""

import asyncio
from typing import Any

import pytest

from hubferry.core.access import Credential, Identities
from hubferry.core.errors import Code, OciError
from hubferry.core.redirect import Trust
from hubferry.core.rights import RIGHT_S, Right
from hubferry.core.settings_sources import SettingsSource, resolve
from hubferry.gateway.answer import Answer
from hubferry.ports.index import Repository
from hubferry.pull.proofs import Proofs
from hubferry.pull.rights import DEFERRED_S
from hubferry.remote.single_flight import NoSharing
from hubferry.remote.target import Target, Upstream
from tests.gateway.fakes import FakeBody, FakeClock
from tests.pull.test_blobs import MemoryIndex, build_rights

SETTINGS = resolve([SettingsSource("test", {"upstreams": {"only": True, "docker.io": {}}})])
ORIGIN = Upstream("docker.io", SETTINGS.upstreams["docker.io"], Trust())
EVERYBODY = Target(ORIGIN, "team/app")
ALICE = Target(ORIGIN, "team/app", Credential("alice", "secret"))
MISSING = OciError(404, Code.MANIFEST_UNKNOWN, "there is none")


def test_what_is_public_is_due_after_its_time_and_covers_until_it_is_refused() -> None:
    async def scene() -> None:
        clock = FakeClock()
        rights = build_rights(MemoryIndex(), clock)
        assert await rights.of(EVERYBODY) is Right.NONE
        await rights.prove(EVERYBODY, clock.time())
        assert await rights.of(EVERYBODY) is Right.PROVEN
        clock.pass_s(3600)
        assert await rights.of(EVERYBODY) is Right.DUE
        rights.defer(EVERYBODY)  # its upstream failed
        assert await rights.of(EVERYBODY) is Right.PROVEN
        clock.pass_s(DEFERRED_S)
        assert await rights.of(EVERYBODY) is Right.DUE
        before = rights.revision.number
        await rights.refuse(EVERYBODY)
        assert await rights.of(EVERYBODY) is Right.NONE
        assert rights.revision.number != before

    asyncio.run(scene())


def test_the_right_of_a_login_is_its_own_and_ends() -> None:
    async def scene() -> None:
        clock, index = FakeClock(), MemoryIndex()
        rights = build_rights(index, clock)
        await rights.prove(ALICE, clock.time())
        assert [await rights.of(who) for who in (ALICE, EVERYBODY)] == [Right.PROVEN, Right.NONE]
        assert "secret" not in str(index.rights)
        assert "alice" not in str(index.rights)
        clock.pass_s(RIGHT_S)
        assert await rights.of(ALICE) is Right.NONE

    asyncio.run(scene())


def test_a_clock_that_was_set_back_proves_nothing() -> None:
    async def scene() -> None:
        clock = FakeClock()
        rights = build_rights(MemoryIndex(), clock)
        for who in (EVERYBODY, ALICE):
            await rights.prove(who, clock.time())
        clock.now_wall -= 10
        assert [await rights.of(who) for who in (ALICE, EVERYBODY)] == [Right.NONE, Right.DUE]

    asyncio.run(scene())


@pytest.mark.parametrize(("is_held", "after"), [(True, Right.NONE), (False, Right.PROVEN)])
def test_a_404_counts_only_for_what_is_held(is_held: bool, after: Right) -> None:
    async def scene() -> None:
        clock = FakeClock()
        rights = build_rights(MemoryIndex(), clock)
        await rights.prove(EVERYBODY, clock.time())
        before = rights.revision.number

        async def ask() -> None:
            raise MISSING.anew()

        with pytest.raises(OciError):
            await Proofs(rights, NoSharing(), clock).ask_now(EVERYBODY, ask, is_held=is_held)
        assert await rights.of(EVERYBODY) is after
        assert (rights.revision.number == before) is not is_held

    asyncio.run(scene())


def test_a_login_that_finds_nothing_leaves_no_mark() -> None:
    async def scene() -> None:
        clock, index = FakeClock(), MemoryIndex()
        proofs = Proofs(build_rights(index, clock), NoSharing(), clock)
        kept: list[bool] = []

        async def ask(found: bool) -> None:
            kept.append(any(about == "login" for _, about, _ in index.rights))
            if not found:
                raise MISSING.anew()

        with pytest.raises(OciError):
            await proofs.ask_now(ALICE, lambda: ask(False))
        assert index.rights == {}
        await proofs.ask_now(ALICE, lambda: ask(True))
        assert (Repository("docker.io", "team/app"), "login", "") in index.rights
        assert kept == [True, True], "marked before anything is fetched"

    asyncio.run(scene())


def test_a_client_that_leaves_while_its_right_is_noted_leaves_no_body_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        clock, body, noting = FakeClock(), FakeBody(b"a blob"), asyncio.Event()
        rights = build_rights(MemoryIndex(), clock)

        async def prove(*_: Any) -> None:
            noting.set()
            await asyncio.Event().wait()

        async def ask() -> Answer:
            return Answer(200, (), body)

        monkeypatch.setattr(rights, "prove", prove)
        asking = asyncio.create_task(Proofs(rights, NoSharing(), clock).ask_now(EVERYBODY, ask))
        await noting.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert body.closed == 1

    asyncio.run(scene())


def test_the_names_of_logins_differ_by_user_secret_and_key() -> None:
    one = Identities(b"key").name
    names = {one(Credential(*pair)) for pair in (("a", "bc"), ("ab", "c"), ("a", "b"), ("b", "a"))}
    names.add(Identities(b"another").name(Credential("a", "bc")))
    assert len(names) == 5
    assert one(Credential("a", "bc")) == one(Credential("a", "bc"))
