"""Lists of what refers to a digest, and the tags in their place: which way leads to which, as case tables."""

import asyncio
from functools import partial
from typing import Any, cast

import pytest

from hubferry.core.descriptors import parse_contents
from hubferry.core.errors import Code, OciError
from hubferry.core.freshness import NEGATIVE_TTL_S, Timing
from hubferry.core.manifest import OCI_IMAGE, OCI_INDEX
from hubferry.core.tags import Page
from hubferry.ports.index import ListEntry, ManifestInfo, TagEntry
from hubferry.ports.shell import UNCOUNTED
from hubferry.pull.lists import KeptLists
from hubferry.pull.proofs import Proofs
from hubferry.pull.referrers import NO_REFERRERS, ReferrersLists, ReferrersTags
from hubferry.pull.results import Absent, ListResult, ManifestQuery, ManifestResult, Outcome
from hubferry.pull.services import Instruments
from hubferry.remote.lists import ListContent, ListQuery, RemoteLists, referrers_query, tags_query
from hubferry.remote.single_flight import SharedTasks
from hubferry.remote.target import Target
from tests.gateway.fakes import FakeClock, FakeLog, ScriptedUpstream, build_fetcher
from tests.pull.fakes import (
    EVERYBODY,
    NGINX,
    OF_ALICE,
    KeptIndex,
    MemoryStore,
    ScriptedManifests,
    refusal,
    rights_over,
)

SUBJECT = "sha256:" + "a" * 64
TAG = "sha256-" + "a" * 64
REFERRERS = referrers_query(SUBJECT)
OF_A_TYPE = referrers_query(SUBJECT, "a/b")
A_PAGE = referrers_query(SUBJECT, "", Page(1, ""))
TAGS = tags_query(Page(None, ""))
LISTED = ListContent(b'{"manifests":[{}]}', OCI_INDEX, "artifactType", "x")
MISSING = refusal(404, Code.MANIFEST_UNKNOWN, "there is no list")
NO_TAG = refusal(404, Code.MANIFEST_UNKNOWN, "there is no tag")
AWAY = refusal(503, Code.UNAVAILABLE, "it is away")
INDEX = b'{"manifests":[]}'
TTL_S, STALE_S = 60.0, 86400.0


def tag_of(media_type: str = OCI_INDEX, content: bytes | None = INDEX, **more: Any) -> ManifestResult:
    outcome = more.pop("outcome", Outcome("miss"))
    return ManifestResult(ManifestInfo("sha256:" + "b" * 64, media_type, len(INDEX)), content, outcome, **more)


# --- a list, with the tag in its place -------------------------------------------------------------------


class ScriptedLists:
    """KeptLists that finds what the test says."""

    def __init__(self, reply: ListResult | OciError, *, is_held: bool = True) -> None:
        self._reply = reply
        self._is_held = is_held

    async def find(self, target: Target, query: ListQuery) -> ListResult:  # noqa: ARG002
        if isinstance(self._reply, OciError):
            raise self._reply
        return self._reply

    async def is_held(self, target: Target, query: ListQuery) -> bool:  # noqa: ARG002
        return self._is_held


def absent(outcome: Outcome | None = None, **more: Any) -> ListResult:
    return ListResult(ListContent(absence=MISSING), outcome or Outcome("miss"), **more)


def find(
    reply: ListResult | OciError,
    *tags: ManifestResult | Absent | OciError,
    query: ListQuery = REFERRERS,
    is_held: bool = True,
) -> ListResult:
    """What is found, where `tags` is what is said of the tag in the place of the list (none: it is not asked for)."""
    manifests = ScriptedManifests(*tags)
    lists = ReferrersLists(cast("KeptLists", ScriptedLists(reply, is_held=is_held)), manifests)
    try:
        return asyncio.run(lists.find(EVERYBODY, query))
    finally:
        assert manifests.replies == []
        assert manifests.asked == [ManifestQuery(TAG, accept=OCI_INDEX)] * len(tags)


WITHOUT_TAG: dict[str, tuple[ListResult, ListQuery, bool]] = {
    # name: what is found, asked, whether the subject is held
    "a list": (ListResult(LISTED, Outcome("hit", "", 1.0, AWAY)), REFERRERS, True),
    "an empty list": (ListResult(ListContent(b'{"manifests":[]}', OCI_INDEX), Outcome("hit")), REFERRERS, True),
    "the absence of what is not kept": (absent(), REFERRERS, False),
    "the absence of a page": (absent(), A_PAGE, True),
    "the absence of tags": (absent(), TAGS, True),
}


@pytest.mark.parametrize(("found", "query", "is_held"), WITHOUT_TAG.values(), ids=WITHOUT_TAG.keys())
def test_only_for_a_whole_list_of_what_is_kept_its_tag_is_asked_for(
    found: ListResult, query: ListQuery, is_held: bool
) -> None:
    assert find(found, query=query, is_held=is_held) is found


@pytest.mark.parametrize("query", [REFERRERS, OF_A_TYPE], ids=["every type", "one type"])
def test_the_tag_in_the_place_of_a_list_answers_for_it(query: ListQuery) -> None:
    found = find(absent(), tag_of(), query=query)
    assert found == ListResult(ListContent(INDEX, OCI_INDEX), Outcome("miss"))


NOTHING: dict[str, ManifestResult | Absent] = {
    "there is no tag": Absent(NO_TAG, Outcome("hit")),
    "it is no index": tag_of(OCI_IMAGE),
    "it is another kind of index": tag_of("application/vnd.docker.distribution.manifest.list.v2+json"),
    "its content is not here": tag_of(content=None),
}


@pytest.mark.parametrize("tag", NOTHING.values(), ids=NOTHING.keys())
def test_where_the_tag_is_no_list_either_nothing_refers_to_it(tag: ManifestResult | Absent) -> None:
    found = find(absent(), tag)
    assert found == ListResult(ListContent(NO_REFERRERS, OCI_INDEX), Outcome("miss"))


def test_an_empty_list_is_an_index_that_clients_can_read() -> None:
    assert parse_contents(NO_REFERRERS).manifests == ()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_a_registry_that_refuses_its_lists_may_have_the_tag_and_is_believed_without(status: int) -> None:
    refused = refusal(status)
    assert find(refused, tag_of()).content.body == INDEX
    cases: list[tuple[tuple[ManifestResult | Absent, ...], ListQuery, bool]] = [
        ((Absent(NO_TAG, Outcome("hit")),), REFERRERS, True),
        ((tag_of(OCI_IMAGE),), REFERRERS, True),
        ((), REFERRERS, False),
        ((), A_PAGE, True),
    ]
    for tags, query, is_held in cases:
        with pytest.raises(OciError) as caught:
            find(refused, *tags, query=query, is_held=is_held)
        assert caught.value is refused


@pytest.mark.parametrize("status", [429, 451, 502, 503, 504])
def test_a_registry_that_fails_is_not_asked_for_the_tag(status: int) -> None:
    failed = refusal(status)
    with pytest.raises(OciError) as caught:
        find(failed)
    assert caught.value is failed


def test_a_tag_that_cannot_be_asked_for_fails_the_list() -> None:
    with pytest.raises(OciError) as caught:
        find(absent(), AWAY)
    assert caught.value is AWAY


stale = partial(Outcome, "stale", "it is away")
AGES: dict[str, tuple[ListResult, ManifestResult | Absent, Outcome]] = {
    # name: what is found of the list, of the tag -> outcome, age, what is covered, guess
    "both are known": (absent(), tag_of(), Outcome("miss")),
    "the tag is stale": (
        absent(), tag_of(outcome=stale(age_s=9.0, failure=AWAY)), stale(9.0, AWAY),
    ),
    "the tag is stale, to spare the limit": (
        absent(), tag_of(outcome=stale(age_s=9.0)), stale(9.0),
    ),
    "the list is stale": (absent(stale(age_s=7.0, failure=AWAY)), tag_of(), stale(7.0, AWAY)),
    "both are stale": (
        absent(stale(age_s=7.0, failure=AWAY)), tag_of(outcome=stale(age_s=9.0, failure=MISSING)),
        stale(7.0, MISSING),
    ),
    "the list is stale, and the tag is to spare the limit": (
        absent(stale(age_s=7.0, failure=AWAY)), tag_of(outcome=stale(age_s=9.0)), stale(7.0, AWAY),
    ),
    "the tag is a guess": (
        absent(), Absent(NO_TAG, stale(failure=AWAY, guess="who knows")),
        stale(None, AWAY, "who knows"),
    ),
    "the list is a guess": (
        absent(stale(failure=AWAY, guess="who knows")), tag_of(), stale(None, AWAY, "who knows"),
    ),
    "the list is a guess, and the tag is stale": (
        absent(stale(failure=AWAY, guess="who knows")), tag_of(outcome=stale(age_s=9.0, failure=AWAY)),
        stale(None, AWAY, "who knows"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("of_list", "of_tag", "expected"), AGES.values(), ids=AGES.keys())
def test_what_is_stale_or_only_assumed_of_either_is_so_of_the_answer(
    of_list: ListResult, of_tag: ManifestResult | Absent, expected: Outcome
) -> None:
    assert find(of_list, of_tag).outcome == expected


# --- a tag in the place of a list ------------------------------------------------------------------------


class Stage:
    """ReferrersTags over real lists that are kept in memory; the lists of the upstream itself are never asked for."""

    def __init__(
        self, *replies: ManifestResult | Absent | OciError, is_held: bool = True, unknown_are_absent: bool = True
    ) -> None:
        self.clock, self.index, self.log = FakeClock(), KeptIndex(), FakeLog()
        flight, upstream = SharedTasks(), ScriptedUpstream()
        fetcher = build_fetcher(upstream, self.clock, flight)
        self.rights = rights_over(self.index, self.clock)
        self.lists = KeptLists(
            RemoteLists(fetcher, upstream),
            self.index,
            MemoryStore(),
            Proofs(self.rights, flight, self.clock),
            Instruments(self.clock, self.log, UNCOUNTED),
            timing=Timing(TTL_S, STALE_S),
            unknown_referrers_are_absent=unknown_are_absent,
        )
        self.manifests = ScriptedManifests(*replies)
        self.tags = ReferrersTags(self.manifests, self.lists, self.index, self.rights)
        self.index.rights[NGINX, "pull", ""] = self.clock.time()
        if is_held:
            self.index.manifests[NGINX, SUBJECT] = ManifestInfo(SUBJECT, OCI_IMAGE, 1, is_held=True)

    def keep_tag(self) -> None:
        info = ManifestInfo("sha256:" + "b" * 64, OCI_INDEX, 1)
        self.index.tags[NGINX, TAG] = TagEntry(info, self.clock.time())

    async def find(self, reference: str = TAG, target: Target = EVERYBODY) -> ManifestResult | Absent:
        return await self.tags.find(target, ManifestQuery(reference))

    async def absent(self, target: Target = EVERYBODY) -> Absent:
        found = await self.find(target=target)
        assert isinstance(found, Absent)
        assert found.refusal.status == 404
        return found

    async def refused(self, reference: str = TAG) -> OciError:
        with pytest.raises(OciError) as caught:
            await self.find(reference)
        return caught.value


@pytest.mark.parametrize("reference", ["1", SUBJECT, "sha256-short", TAG + ".pub", "sha512-" + "a" * 64])
def test_other_tags_and_digests_are_looked_up_as_ever(reference: str) -> None:
    async def scene() -> None:
        found = tag_of()
        stage = Stage(found, NO_TAG)
        assert await stage.find(reference) is found
        assert await stage.refused(reference) is NO_TAG
        assert stage.index.lists == {}

    asyncio.run(scene())


@pytest.mark.parametrize("suffix", ["", ".sig", ".att", ".sbom"])
def test_that_there_is_no_such_tag_is_kept_like_a_list_and_answers_within_its_ttl(suffix: str) -> None:
    async def scene() -> None:
        stage = Stage(NO_TAG, NO_TAG)
        first = await stage.find(TAG + suffix)
        assert isinstance(first, Absent)
        assert (first.refusal.message, first.outcome.name) == (NO_TAG.message, "miss")
        stage.clock.pass_s(TTL_S - 1)
        again = await stage.find(TAG + suffix)
        assert isinstance(again, Absent)
        assert (again.refusal.status, again.refusal.code) == (404, Code.MANIFEST_UNKNOWN)
        assert (again.outcome.name, again.outcome.age_s, again.outcome.guess) == ("hit", None, "")
        assert len(stage.manifests.asked) == 1
        stage.clock.pass_s(1)
        assert isinstance(await stage.find(TAG + suffix), Absent)
        assert len(stage.manifests.asked) == 2

    asyncio.run(scene())


def test_of_what_is_not_kept_it_is_remembered_for_moments_and_for_that_caller() -> None:
    async def scene() -> None:
        stage = Stage(NO_TAG, NO_TAG, NO_TAG, is_held=False)
        await stage.absent()
        assert (await stage.absent()).outcome.name == "hit"
        assert (await stage.absent(OF_ALICE)).outcome.name == "miss"
        stage.clock.pass_s(NEGATIVE_TTL_S)
        assert (await stage.absent()).outcome.name == "miss"
        assert stage.index.lists == {}

    asyncio.run(scene())


def test_a_tag_that_is_there_is_absent_no_longer() -> None:
    async def scene() -> None:
        found = tag_of()
        stage = Stage(NO_TAG, found)
        await stage.absent()
        assert (NGINX, f"manifests/{TAG}") in stage.index.lists
        stage.clock.pass_s(TTL_S)
        assert await stage.find() is found
        assert stage.index.lists == {}

    asyncio.run(scene())


def test_a_tag_that_is_kept_is_looked_up_as_ever() -> None:
    async def scene() -> None:
        stage = Stage(NO_TAG)
        stage.keep_tag()
        stage.index.lists[NGINX, f"manifests/{TAG}"] = ListEntry("", stage.clock.time())
        assert await stage.refused() is NO_TAG
        stage.clock.pass_s(1)
        await stage.rights.note_absent(EVERYBODY, TAG)
        assert (await stage.absent()).outcome.name == "hit", "to whom it was said to be gone, its absence is kept"

    asyncio.run(scene())


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_any_other_error_is_raised_and_not_kept(status: int) -> None:
    async def scene() -> None:
        stage = Stage(refusal(status), refusal(status), is_held=False)
        for _ in range(2):
            assert (await stage.refused()).status == status
        assert stage.index.lists == {}

    asyncio.run(scene())


COVERED: dict[str, tuple[float | None, int, str]] = {
    # name: when its absence was confirmed, what the upstream does -> "stale", "guess" or "error"
    "its absence is known": (STALE_S, 503, "stale"),
    "its absence was known long ago": (STALE_S + 1, 503, "error"),
    "nothing is known": (None, 503, "guess"),
    "nothing is known, and it is limited": (None, 429, "guess"),
    "its absence is known, and it refuses": (STALE_S, 403, "error"),
    "nothing is known, and it refuses": (None, 401, "error"),
}


@pytest.mark.parametrize(("age_s", "status", "outcome"), COVERED.values(), ids=COVERED.keys())
def test_that_there_is_no_such_tag_covers_a_failure_like_a_list(age_s: float | None, status: int, outcome: str) -> None:
    async def scene() -> None:
        stage = Stage(refusal(status))
        if age_s is not None:
            stage.index.lists[NGINX, f"manifests/{TAG}"] = ListEntry("", stage.clock.time() - age_s)
        if outcome == "error":
            assert (await stage.refused()).status == status
            return
        found = await stage.absent()
        assert (found.outcome.name, bool(found.outcome.guess), found.outcome.age_s) == (
            "stale",
            outcome == "guess",
            age_s,
        )
        assert found.outcome.failure is not None
        assert found.outcome.failure.status == status

    asyncio.run(scene())


def test_who_would_rather_have_an_error_than_a_guess_gets_it() -> None:
    assert asyncio.run(Stage(AWAY, unknown_are_absent=False).refused()) is AWAY
