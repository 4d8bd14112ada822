"""The tables of pull/rights.py: who may have what, by which row, and what each answer writes down or takes away."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hubferry.core.rights import RIGHT_S, Right
from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.pull.rights import DEFERRED_S, RENEWED_S, Rights, repository_of
from hubferry.remote.target import AnsweredBy, Target
from tests.gateway.fakes import FakeClock
from tests.pull.fakes import (
    ACCOUNT,
    EVERYBODY,
    MIRROR,
    NGINX,
    OF_ALICE,
    OF_BOB,
    PUBLIC_TTL_S,
    KeptIndex,
    refusal,
    rights_over,
    upstream_of,
)

MIRRORED_HUB = upstream_of(mirrors=(MIRROR,), accounts=(ACCOUNT,))
MIRRORED = Target(MIRRORED_HUB, "library/nginx")
OF_THE_GATEWAY = Target(MIRRORED_HUB, "library/nginx", ACCOUNT)
MIRRORED_ALICE = Target(MIRRORED_HUB, "library/nginx", OF_ALICE.credential)
REDIS = Target(EVERYBODY.upstream, "library/redis")
DIGEST = "sha256:" + "a" * 64
PROVEN, DUE, NONE = Right.PROVEN, Right.DUE, Right.NONE


class Stage:
    """Rights over an index in memory; rows are put and read as `pull everybody`."""

    def __init__(self, *, believes_mirrors: bool = True) -> None:
        self.clock, self.index = FakeClock(), KeptIndex()
        self.rights: Rights = rights_over(self.index, self.clock, believes_mirrors=believes_mirrors)

    def put(self, about: str, who: Target = EVERYBODY, age_s: float = 0.0) -> None:
        self.index.rights[NGINX, about, self.rights.who(who)] = self.clock.time() - age_s

    def rows(self, who: Target = EVERYBODY) -> set[str]:
        """What is written down about a caller, or of the repository as a whole."""
        return {about for (where, about, name) in self.index.rights if (where, name) == (NGINX, self.rights.who(who))}


# --- what a row is worth ---------------------------------------------------------------------------------

AGES: dict[str, tuple[Target, float, Right]] = {
    "just proven": (EVERYBODY, 0.0, PROVEN),
    "within its time": (EVERYBODY, PUBLIC_TTL_S - 0.1, PROVEN),
    "after its time": (EVERYBODY, PUBLIC_TTL_S, DUE),
    "long ago": (EVERYBODY, 1e9, DUE),
    "in the future": (EVERYBODY, -0.1, DUE),
    "a login's, just proven": (OF_ALICE, 0.0, PROVEN),
    "a login's, within its time": (OF_ALICE, RIGHT_S - 0.1, PROVEN),
    "a login's, after its time": (OF_ALICE, RIGHT_S, NONE),
    "a login's, in the future": (OF_ALICE, -0.1, NONE),
    "the gateway's own account's, after its time": (OF_THE_GATEWAY, PUBLIC_TTL_S, DUE),
}


@pytest.mark.parametrize("about", ["pull", "list"])
@pytest.mark.parametrize(("who", "age_s", "right"), AGES.values(), ids=AGES.keys())
def test_a_right_lasts_by_whose_it_is(who: Target, age_s: float, right: Right, about: str) -> None:
    async def scene() -> None:
        stage = Stage()
        stage.put(about, who, age_s)
        assert await stage.rights.to_list(who) is right
        assert await stage.rights.of(who) is (right if about == "pull" else NONE), "to list opens nothing else"

    asyncio.run(scene())


OTHERS = [
    (EVERYBODY, OF_ALICE, NONE),
    (OF_ALICE, EVERYBODY, NONE),
    (OF_ALICE, OF_BOB, NONE),
    (EVERYBODY, REDIS, NONE),
    (EVERYBODY, OF_THE_GATEWAY, PROVEN),
    (OF_THE_GATEWAY, MIRRORED, PROVEN),
    (OF_THE_GATEWAY, MIRRORED_ALICE, NONE),
]


@pytest.mark.parametrize(("proven", "asks", "right"), OTHERS)
def test_what_one_was_shown_opens_nothing_to_another_but_the_gateways_account_is_everybody(
    proven: Target, asks: Target, right: Right
) -> None:
    async def scene() -> None:
        stage = Stage()
        await stage.rights.prove(proven, stage.clock.time())
        assert await stage.rights.of(asks) is right

    asyncio.run(scene())


TO_LIST = [
    (PROVEN, NONE, PROVEN),
    (PROVEN, DUE, PROVEN),
    (DUE, NONE, DUE),
    (DUE, DUE, DUE),
    (DUE, PROVEN, PROVEN),
    (NONE, NONE, NONE),
    (NONE, DUE, DUE),
    (NONE, PROVEN, PROVEN),
]


@pytest.mark.parametrize(("pull", "listed", "right"), TO_LIST)
def test_who_may_pull_may_list_and_so_may_who_was_shown_the_list(pull: Right, listed: Right, right: Right) -> None:
    async def scene() -> None:
        stage = Stage()
        for about, one in (("pull", pull), ("list", listed)):
            if one is not NONE:
                stage.put(about, age_s=0.0 if one is PROVEN else PUBLIC_TTL_S)
        assert await stage.rights.to_list(EVERYBODY) is right

    asyncio.run(scene())


@pytest.mark.parametrize("may", [True, False])
@pytest.mark.parametrize("who", [EVERYBODY, OF_ALICE], ids=["everybody", "a login"])
def test_what_a_list_shows_is_of_the_list_alone(who: Target, may: bool) -> None:
    async def scene() -> None:
        stage = Stage()
        stage.put("pull", who)
        stage.put("list", who, 20.0)
        before = stage.rights.revision.number
        await stage.rights.note_list(who, stage.clock.time(), may=may)
        assert stage.rows(who) == ({"pull", "list"} if may else {"pull"})
        assert (stage.rights.revision.number == before) is may, "what was given again may be given no longer"

    asyncio.run(scene())


DEFERRED = [(0.0, PROVEN), (DEFERRED_S - 0.1, PROVEN), (DEFERRED_S, DUE)]


@pytest.mark.parametrize(("later_s", "right"), DEFERRED)
def test_what_is_due_is_left_alone_for_a_while_when_the_upstream_failed(later_s: float, right: Right) -> None:
    async def scene() -> None:
        stage = Stage()
        stage.put("pull", age_s=PUBLIC_TTL_S)
        stage.rights.defer(EVERYBODY)
        stage.clock.pass_s(later_s)
        assert await stage.rights.of(EVERYBODY) is right

    asyncio.run(scene())


def test_a_failure_proves_nothing_to_whom_nothing_was_proven() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.index.rights[repository_of(REDIS), "pull", ""] = stage.clock.time() - PUBLIC_TTL_S
        stage.put("pull", OF_ALICE, RIGHT_S)
        for who in (EVERYBODY, OF_ALICE):
            stage.rights.defer(who)
            assert await stage.rights.of(who) is NONE
        assert await stage.rights.of(REDIS) is DUE, "of another repository"

    asyncio.run(scene())


# --- mirrors ---------------------------------------------------------------------------------------------

BY_MIRROR: dict[str, tuple[Target, float, set[str], Right]] = {
    # name: who asks, age of a mirror's word, what else is known of the repository -> the right
    "a mirror's word": (MIRRORED, 0.0, set(), PROVEN),
    "a mirror's word, after its time": (MIRRORED, PUBLIC_TTL_S, set(), DUE),
    "to the gateway's own account": (OF_THE_GATEWAY, 0.0, set(), PROVEN),
    "opens nothing to a login": (MIRRORED_ALICE, 0.0, set(), NONE),
    "nor what was fetched for a login": (MIRRORED, 0.0, {"login"}, NONE),
    "does not go before the upstream's": (MIRRORED, 0.0, {"pull"}, DUE),
    "counts no longer when there are no mirrors": (EVERYBODY, 0.0, set(), NONE),
}


@pytest.mark.parametrize(("who", "age_s", "more", "right"), BY_MIRROR.values(), ids=BY_MIRROR.keys())
def test_a_mirrors_word_opens_a_repository_to_anonymous_clients_alone(
    who: Target, age_s: float, more: set[str], right: Right
) -> None:
    async def scene() -> None:
        stage = Stage()
        stage.put("mirror", age_s=age_s)
        for about in more:
            stage.put(about, age_s=PUBLIC_TTL_S)
        assert await stage.rights.of(who) is right

    asyncio.run(scene())


def test_what_the_upstream_refused_stays_closed_to_mirrors_until_it_says_otherwise() -> None:
    async def scene() -> None:
        for is_known in (False, True):
            stage = Stage()
            if is_known:
                stage.put("pull")
            await stage.rights.refuse(MIRRORED)
            await stage.rights.prove(MIRRORED, stage.clock.time(), "mirror")
            assert await stage.rights.of(MIRRORED) is NONE
            assert not await stage.rights.may_ask_mirrors(MIRRORED)
            await stage.rights.prove(MIRRORED, stage.clock.time())
            assert await stage.rights.of(MIRRORED) is PROVEN
            assert await stage.rights.may_ask_mirrors(MIRRORED)
            assert "login" not in stage.rows()
            stage.index.rights.clear()
            assert await stage.rights.may_ask_mirrors(MIRRORED), "nothing is known against it"

    asyncio.run(scene())


MAY_ASK: dict[str, tuple[Target, set[str], bool]] = {
    # name: who asks, what is known of the repository -> whether mirrors are asked
    "anybody, of what is not known": (MIRRORED, set(), True),
    "the gateway's own account": (OF_THE_GATEWAY, set(), True),
    "a login, of what is not known": (MIRRORED_ALICE, set(), False),
    "anybody, of what was fetched for a login": (MIRRORED, {"login"}, False),
    "a login, of what was fetched for one": (MIRRORED_ALICE, {"login"}, False),
    "anybody, of what the upstream showed everybody": (MIRRORED, {"pull"}, True),
    "a login, of what the upstream showed everybody": (MIRRORED_ALICE, {"pull"}, True),
    "of what it showed everybody, and was fetched for a login": (MIRRORED, {"pull", "login"}, True),
    "a login, of what only a mirror showed": (MIRRORED_ALICE, {"mirror"}, False),
    "where there are none": (EVERYBODY, {"pull"}, False),
}


@pytest.mark.parametrize(("who", "known", "may"), MAY_ASK.values(), ids=MAY_ASK.keys())
def test_nobodys_private_repository_is_asked_of_a_mirror(who: Target, known: set[str], may: bool) -> None:
    async def scene() -> None:
        stage = Stage()
        for about in known:
            stage.put(about, age_s=1e9)
        assert await stage.rights.may_ask_mirrors(who) is may

    asyncio.run(scene())


# --- what is written down --------------------------------------------------------------------------------

WRITTEN: dict[str, tuple[Target, AnsweredBy, bool, set[str], set[str]]] = {
    # name: who asked, who answered, are mirrors believed -> rows of the caller, rows of the repository
    "the upstream, to anybody": (MIRRORED, "upstream", True, {"pull"}, {"pull"}),
    "the upstream, to a login": (MIRRORED_ALICE, "upstream", True, {"pull"}, {"login"}),
    "a mirror, to anybody": (MIRRORED, "mirror", True, {"mirror"}, {"mirror"}),
    "a mirror, where none is believed": (MIRRORED, "mirror", False, set(), set()),
}


@pytest.mark.parametrize("way", ["prove", "settle"])
@pytest.mark.parametrize("case", WRITTEN)
def test_an_answer_is_written_down_for_who_asked(case: str, way: str) -> None:
    who, by, believes, own, common = WRITTEN[case]

    async def scene() -> None:
        stage = Stage(believes_mirrors=believes)
        write = stage.rights.prove if way == "prove" else stage.rights.write_down
        await write(who, stage.clock.time() - 1, by)
        assert (stage.rows(who), stage.rows()) == (own, common)
        assert all(at == stage.clock.time() - 1 for (_, about, _), at in stage.index.rights.items() if about != "login")

    asyncio.run(scene())


@pytest.mark.parametrize(("way", "rows"), [("prove", set()), ("settle", {"login"})])
def test_a_mirror_tells_a_login_nothing(way: str, rows: set[str]) -> None:
    async def scene() -> None:
        stage = Stage()
        write = stage.rights.prove if way == "prove" else stage.rights.write_down
        await write(MIRRORED_ALICE, stage.clock.time(), "mirror")
        assert (stage.rows(MIRRORED_ALICE), stage.rows()) == (set(), rows)

    asyncio.run(scene())


def test_what_is_shown_to_everybody_is_behind_no_login() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.put("login")
        await stage.rights.prove(OF_ALICE, stage.clock.time())
        assert "login" in stage.rows()
        await stage.rights.prove(EVERYBODY, stage.clock.time())
        assert stage.rows() == {"pull"}

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("later_s", "is_renewed"), [(0.0, False), (RENEWED_S - 0.1, False), (RENEWED_S, True), (-1.0, True)]
)
@pytest.mark.parametrize("who", [EVERYBODY, OF_ALICE], ids=["everybody", "a login"])
def test_a_right_is_not_written_down_again_so_soon(who: Target, later_s: float, is_renewed: bool) -> None:
    async def scene() -> None:
        stage = Stage()
        first = stage.clock.time()
        await stage.rights.prove(who, first)
        await stage.rights.prove(who, first + later_s)
        expected = first + later_s if is_renewed else first
        assert stage.index.rights[NGINX, "pull", stage.rights.who(who)] == expected

    asyncio.run(scene())


# --- what a refusal takes away ---------------------------------------------------------------------------

LOST: dict[str, tuple[Target, dict[str, Target], set[str], set[str], bool]] = {
    # name: who is refused, what was known of whom -> rows of everybody, rows of the login, whether anything changed
    "everybody": (MIRRORED, {"pull": MIRRORED}, {"login"}, set(), True),
    "everybody, who had a mirror's word": (MIRRORED, {"mirror": MIRRORED}, {"login"}, set(), True),
    "everybody, of whom nothing was known": (MIRRORED, {}, set(), set(), False),
    "the gateway's own account": (OF_THE_GATEWAY, {"pull": MIRRORED}, {"login"}, set(), True),
    "everybody, and a login keeps its own": (MIRRORED, {"pull": MIRRORED_ALICE}, set(), {"pull"}, False),
    "a login": (MIRRORED_ALICE, {"pull": MIRRORED_ALICE}, set(), set(), True),
    "a login, of which nothing was known": (MIRRORED_ALICE, {"pull": MIRRORED}, {"pull"}, set(), False),
    "nobody loses the list": (MIRRORED, {"list": MIRRORED}, {"list"}, set(), False),
}


@pytest.mark.parametrize("case", LOST)
def test_a_refusal_withdraws_the_right_of_who_was_refused(case: str) -> None:
    who, known, of_everybody, of_login, is_changed = LOST[case]

    async def scene() -> None:
        stage = Stage()
        for about, whose in known.items():
            stage.put(about, whose)
        before = stage.rights.revision.number
        await stage.rights.refuse(who)
        assert await stage.rights.of(who) is NONE
        assert (stage.rows(), stage.rows(MIRRORED_ALICE)) == (of_everybody, of_login)
        assert (stage.rights.revision.number != before) is is_changed

    asyncio.run(scene())


def test_what_other_processes_withdraw_changes_the_revision_too() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.put("pull")
        numbers = [stage.rights.revision.number]
        await stage.index.withdraw_right(NGINX, "pull", "")
        numbers.append(stage.rights.revision.number)
        stage.rights.revision.advance()
        numbers.append(stage.rights.revision.number)
        assert len(set(numbers)) == 3

    asyncio.run(scene())


# --- what is absent, and what was begun ------------------------------------------------------------------


@pytest.mark.parametrize(("confirmed_s", "is_absent"), [(-1.0, True), (0.0, False), (1.0, False)])
def test_a_tag_is_absent_for_whom_that_was_told_until_it_is_confirmed(confirmed_s: float, is_absent: bool) -> None:
    async def scene() -> None:
        stage = Stage()
        await stage.rights.note_absent(OF_ALICE, "1")
        confirmed_at = stage.clock.time() + confirmed_s
        assert await stage.rights.is_absent(OF_ALICE, "1", confirmed_at) is is_absent
        for who, tag in ((OF_ALICE, "2"), (OF_BOB, "1"), (EVERYBODY, "1")):
            assert not await stage.rights.is_absent(who, tag, stage.clock.time() - 1)
        assert await stage.rights.of(OF_ALICE) is NONE

    asyncio.run(scene())


def test_a_blob_has_begun_for_every_caller_until_all_of_it_came() -> None:
    async def scene() -> None:
        stage = Stage()
        assert not await stage.rights.has_begun(OF_ALICE, DIGEST)
        await stage.rights.note_begun(OF_ALICE, DIGEST)
        for who, has_begun in ((OF_ALICE, True), (OF_BOB, True), (EVERYBODY, True), (REDIS, False)):
            assert await stage.rights.has_begun(who, DIGEST) is has_begun
            assert not await stage.rights.has_begun(who, DIGEST[:-1] + "b")
        assert {await stage.rights.of(who) for who in (EVERYBODY, OF_ALICE)} == {NONE}, "which is no right"
        await stage.rights.note_ended(EVERYBODY, DIGEST)
        assert not await stage.rights.has_begun(OF_ALICE, DIGEST)

    asyncio.run(scene())


# --- the mark of what was fetched for a login ------------------------------------------------------------

FAILED = UpstreamFailure(Cause.TCP, "registry-1.docker.io")
MARKED: dict[str, tuple[Target, BaseException | None, bool, bool]] = {
    # name: for whom, how it ends, whether anything of the repository is kept -> whether the mark stays
    "for everybody": (EVERYBODY, None, False, False),
    "for the gateway's own account": (OF_THE_GATEWAY, None, False, False),
    "for a login": (OF_ALICE, None, False, True),
    "for a login that is refused": (OF_ALICE, refusal(404), False, False),
    "for a login, and the upstream fails": (OF_ALICE, FAILED, False, False),
    "for a login that is refused, and something is kept": (OF_ALICE, refusal(404), True, True),
    "for a login that leaves": (OF_ALICE, asyncio.CancelledError(), False, True),
}


@pytest.mark.parametrize(("who", "ending", "is_kept", "stays"), MARKED.values(), ids=MARKED.keys())
def test_what_is_fetched_for_a_login_is_marked_before_and_after(
    who: Target, ending: BaseException | None, is_kept: bool, stays: bool
) -> None:
    async def scene() -> None:
        stage = Stage()
        if is_kept:
            stage.index.blobs[NGINX, DIGEST] = 1

        async def fetch() -> None:
            async with stage.rights.marked(who):
                assert ("login" in stage.rows()) is not who.is_everybodys
                if ending is not None:
                    raise ending

        if ending is None:
            await fetch()
        else:
            with pytest.raises(type(ending)):
                await fetch()
        assert ("login" in stage.rows()) is stays

    asyncio.run(scene())


def test_the_mark_stays_while_something_is_fetched_for_another_login() -> None:
    async def scene() -> None:
        stage, gates = Stage(), {who.credential: asyncio.Event() for who in (OF_ALICE, OF_BOB)}

        async def fetch(who: Target) -> None:
            async with stage.rights.marked(who):
                await gates[who.credential].wait()
                raise refusal(404)

        tasks = {who.credential: asyncio.create_task(fetch(who)) for who in (OF_ALICE, OF_BOB)}
        await asyncio.sleep(0)
        for who, stays in ((OF_ALICE, True), (OF_BOB, False)):
            gates[who.credential].set()
            await asyncio.wait([tasks[who.credential]])
            assert ("login" in stage.rows()) is stays
        await asyncio.gather(*tasks.values(), return_exceptions=True)

    asyncio.run(scene())


# --- who is who ------------------------------------------------------------------------------------------


def test_in_the_index_everybody_has_no_name_and_a_login_one_that_tells_nothing() -> None:
    rights = Stage().rights
    assert [rights.who(who) for who in (EVERYBODY, MIRRORED, OF_THE_GATEWAY)] == ["", "", ""]
    names = [rights.who(who) for who in (OF_ALICE, OF_BOB)]
    assert len({*names, ""}) == 3
    assert rights.who(MIRRORED_ALICE) == names[0]
    assert not any(word in name for name in names for word in ("alice", "bob", "s3cret"))


WRITES: list[Callable[[Rights], Awaitable[None]]] = [
    lambda rights: rights.prove(OF_ALICE, 1.0),
    lambda rights: rights.write_down(OF_ALICE, 1.0, "upstream"),
    lambda rights: rights.note_absent(OF_ALICE, "1"),
    lambda rights: rights.note_list(OF_ALICE, 1.0, may=True),
]


@pytest.mark.parametrize("write", WRITES)
def test_no_name_and_no_secret_is_written_down(write: Callable[[Rights], Awaitable[None]]) -> None:
    stage = Stage()

    async def scene() -> None:
        await write(stage.rights)

    asyncio.run(scene())
    assert stage.index.rights
    assert not any(word in str(stage.index.rights) for word in ("alice", "s3cret"))
