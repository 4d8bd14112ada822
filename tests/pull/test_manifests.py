"""Case tables of kept manifests: who is given what without asking, what is asked, and what covers a failure."""

import asyncio
import base64
import json
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest

from hubferry.core.errors import Code, OciError
from hubferry.core.freshness import NEGATIVE_TTL_S, Timing, ttl_rules
from hubferry.core.http import get
from hubferry.core.manifest import OCI_IMAGE, OCI_INDEX
from hubferry.core.rights import Right
from hubferry.core.values import Duration, TagTtls
from hubferry.ports.index import ManifestInfo, TagEntry
from hubferry.ports.shell import Uncounted
from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.pull.manifests import REUSABLE_S, SAVING, KeptManifests
from hubferry.pull.proofs import Proofs
from hubferry.pull.results import ManifestQuery, ManifestResult
from hubferry.pull.rights import DEFERRED_S
from hubferry.pull.services import Instruments
from hubferry.remote.manifests import RemoteManifests
from hubferry.remote.single_flight import SharedTasks
from hubferry.remote.target import Target
from tests.gateway.fakes import HUB, FakeClock, FakeLog, FakeResponse, ScriptedUpstream, build_fetcher
from tests.pull.fakes import (
    EVERYBODY,
    MIRROR,
    NGINX,
    OF_ALICE,
    PUBLIC_TTL_S,
    KeptIndex,
    MemoryStore,
    accepts_sent,
    asked_of,
    assert_all_closed_once,
    digest_of,
    given,
    image_manifest,
    rights_over,
    upstream_of,
)
from tests.support.scenes import run_scene

SCHEMA2 = "application/vnd.docker.distribution.manifest.v2+json"
OLD, NEW = (image_manifest(OCI_IMAGE, number=number) for number in (1, 2))
CONVERTED = image_manifest(SCHEMA2)
DIGEST = digest_of(OLD)
TTL_S, STALE_S = 60.0, 86400.0
HEAD, GET, GET_DIGEST = "HEAD manifests/1", "GET manifests/1", f"GET manifests/{DIGEST}"
HEAD_DIGEST = f"HEAD manifests/{DIGEST}"
UNREACHABLE = UpstreamFailure(Cause.TCP, "registry-1.docker.io")
TAG, TAG_HEAD = ManifestQuery("1"), ManifestQuery("1", wants_content=False)
BY_DIGEST, BY_DIGEST_HEAD = ManifestQuery(DIGEST), ManifestQuery(DIGEST, wants_content=False)


class Limited(RemoteManifests):
    """Of the upstream's limit this much is `left`."""

    left = 1.0

    def quota_left(self, target: Target) -> float:  # noqa: ARG002
        return self.left


class Counted(Uncounted):
    failed = 0

    def store_failed(self) -> None:
        self.failed += 1


class Stage:
    """KeptManifests over memory, in front of a scripted Docker Hub that asks nobody for a token."""

    def __init__(
        self, *, ttl_s: float = TTL_S, rules: tuple[tuple[str, float], ...] = (), believes_mirrors: bool = True
    ) -> None:
        self.upstream = ScriptedUpstream()
        self.clock, self.log, self.metrics = FakeClock(), FakeLog(), Counted()
        self.index, self.store = KeptIndex(), MemoryStore()
        flight = SharedTasks()
        self.remote = Limited(build_fetcher(self.upstream, self.clock, flight), self.upstream)
        self.rights = rights_over(self.index, self.clock, believes_mirrors=believes_mirrors)
        self.manifests = KeptManifests(
            self.remote,
            self.index,
            self.store,
            Proofs(self.rights, flight, self.clock),
            Instruments(self.clock, self.log, self.metrics),
            timing=Timing(
                ttl_s, STALE_S, ttl_rules(TagTtls(tuple((name, Duration(rule_s)) for name, rule_s in rules)))
            ),
        )

    def keep(
        self,
        age_s: float = 0.0,
        *,
        proven_s: float | None = 0.0,
        is_held: bool = True,
        is_here: bool = True,
        tag: str = "1",
        data: bytes = OLD,
    ) -> None:
        """A tag is known since `age_s`, and that everybody may have it since `proven_s` (None: it is not)."""
        info = ManifestInfo(digest_of(data), OCI_IMAGE, len(data))
        if tag:
            self.index.tags[NGINX, tag] = TagEntry(info, self.clock.time() - age_s)
        if is_held:
            self.index.manifests[NGINX, info.digest] = replace(info, is_held=True)
        if is_here:
            self.store.content[info.digest] = data
        if proven_s is not None:
            self.index.rights[NGINX, "pull", ""] = self.clock.time() - proven_s

    def on(self, asked: str, *replies: FakeResponse | Exception) -> None:
        method, _, path = asked.partition(" ")
        self.upstream.on(method, f"{HUB}/v2/library/nginx/{path}", *replies)

    @property
    def asked(self) -> list[str]:
        return asked_of(self.upstream)

    async def find(self, query: ManifestQuery = TAG, target: Target = EVERYBODY) -> ManifestResult:
        return await self.manifests.find(target, query)

    async def refused(self, query: ManifestQuery = TAG, target: Target = EVERYBODY) -> OciError:
        with pytest.raises(OciError) as caught:
            await self.manifests.find(target, query)
        return caught.value


def play(stage: Stage, scene: Coroutine[Any, Any, None]) -> None:
    run_scene(scene)
    assert_all_closed_once(stage.upstream)


def answer_of(status: int | UpstreamFailure) -> FakeResponse | UpstreamFailure:
    return FakeResponse(status) if isinstance(status, int) else status


# --- a tag, while its upstream answers -------------------------------------------------------------------

FRESH: dict[str, tuple[dict[str, Any], ManifestQuery, list[str], str]] = {
    # name: what is kept, asked -> what the upstream is asked, outcome
    "within its TTL": ({"age_s": 59.9}, TAG, [], "hit"),
    "within its TTL, a HEAD": ({"age_s": 59.9}, TAG_HEAD, [], "hit"),
    "at its TTL": ({"age_s": 60.0}, TAG, [HEAD], "revalidated"),
    "at its TTL, a HEAD": ({"age_s": 60.0}, TAG_HEAD, [HEAD], "revalidated"),
    "older than any failure may be covered": ({"age_s": STALE_S + 1}, TAG, [HEAD], "revalidated"),
    "confirmed in the future": ({"age_s": -1.0}, TAG, [HEAD], "revalidated"),
    "of what is open to everybody, as far as is known": ({"proven_s": PUBLIC_TTL_S}, TAG, [HEAD], "revalidated"),
    "of what nobody was ever shown": ({"proven_s": None}, TAG, [HEAD], "revalidated"),
    "its content is gone": ({"is_here": False}, TAG, [GET_DIGEST], "miss"),
    "its content is gone, a HEAD": ({"is_here": False}, TAG_HEAD, [], "hit"),
    "its content is gone, and it is old": ({"age_s": 60.0, "is_here": False}, TAG, [HEAD, GET_DIGEST], "miss"),
    "its content is here for another repository": ({"is_held": False}, TAG, [GET_DIGEST], "miss"),
    "its content is here for another repository, a HEAD": ({"is_held": False}, TAG_HEAD, [], "hit"),
    "only its content is kept": ({"tag": ""}, TAG, [HEAD], "miss"),
    "nothing but that it is open": ({"tag": "", "is_held": False, "is_here": False}, TAG, [HEAD, GET_DIGEST], "miss"),
    "nothing at all": ({"tag": "", "is_held": False, "is_here": False, "proven_s": None}, TAG, [GET], "miss"),
    "nothing at all, a HEAD": (
        {"tag": "", "is_held": False, "is_here": False, "proven_s": None}, TAG_HEAD, [HEAD], "miss",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kept", "query", "asked", "outcome"), FRESH.values(), ids=FRESH.keys())
def test_a_tag_is_asked_about_by_what_is_kept_of_it(
    kept: dict[str, Any], query: ManifestQuery, asked: list[str], outcome: str
) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(**kept)
        for one in asked:
            stage.on(one, given(OLD, OCI_IMAGE))
        found = await stage.find(query)
        assert (found.info.digest, found.info.media_type, found.info.size_bytes) == (DIGEST, OCI_IMAGE, len(OLD))
        assert found.content == OLD or (not query.wants_content and found.content is None)
        assert (found.outcome.name, found.outcome.problem, stage.asked) == (outcome, "", asked)
        assert (found.outcome.age_s, found.outcome.failure) == (None, None)
        assert stage.index.tags[NGINX, "1"].manifest.digest == DIGEST
        if asked:
            assert await stage.rights.of(EVERYBODY) is Right.PROVEN
        again = await stage.find(TAG_HEAD)
        assert (again.outcome.name, len(stage.asked)) == ("hit", len(asked)), "what was asked is known now"

    play(stage, scene())


@pytest.mark.parametrize(
    ("age_s", "reusable_s"), [(0.0, REUSABLE_S), (58.9, REUSABLE_S), (59.5, 0.5), (60.0, 0.0), (1000.0, 0.0)]
)
def test_only_a_hit_may_be_given_again_and_no_longer_than_its_ttl(age_s: float, reusable_s: float) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(age_s)
        if age_s >= TTL_S:
            stage.on(HEAD, given(OLD, OCI_IMAGE))
        assert (await stage.find()).reusable_s == pytest.approx(reusable_s)

    play(stage, scene())


def test_what_is_given_without_being_read_counts_as_used() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep()
        await stage.find(TAG_HEAD)
        assert stage.store.touched == [DIGEST]

    play(stage, scene())


@pytest.mark.parametrize(
    ("rules", "age_s", "asked"),
    [
        ((), 59.0, []),
        ((("docker.io/library/nginx:1", 10.0),), 9.0, []),
        ((("docker.io/library/nginx:1", 10.0),), 10.0, [HEAD]),
        ((("docker.io/library/nginx:2", 10.0),), 10.0, []),
        ((("docker.io/library/nginx", 7200.0),), 3599.0, []),
        ((("*", 0.0),), 0.0, [HEAD]),
    ],
)
def test_the_ttl_is_that_of_the_first_pattern_for_the_tag(
    rules: tuple[tuple[str, float], ...], age_s: float, asked: list[str]
) -> None:
    stage = Stage(rules=rules)

    async def scene() -> None:
        stage.keep(age_s)
        if asked:
            stage.on(HEAD, given(OLD, OCI_IMAGE))
        await stage.find()
        assert stage.asked == asked

    play(stage, scene())


SAVED: dict[str, tuple[float, float, float, str]] = {
    # name: left of the limit, TTL, age -> outcome
    "half is left": (0.5, TTL_S, 60.0, "revalidated"),
    "less is left": (0.3, TTL_S, 60.0, "stale"),
    "less is left, and it is older than that": (0.3, TTL_S, 331.0, "revalidated"),
    "little is left": (0.05, TTL_S, STALE_S - 1, "stale"),
    "little is left, and it is older than may be": (0.05, TTL_S, STALE_S, "revalidated"),
    "little is left, and it is fresh": (0.05, TTL_S, 59.0, "hit"),
    "little is left, and it is to be asked every time": (0.05, 0.0, 1.0, "revalidated"),
}


@pytest.mark.parametrize(("left", "ttl_s", "age_s", "outcome"), SAVED.values(), ids=SAVED.keys())
def test_as_a_limit_is_used_up_a_tag_answers_longer_and_says_so(
    left: float, ttl_s: float, age_s: float, outcome: str
) -> None:
    stage = Stage(ttl_s=ttl_s)

    async def scene() -> None:
        stage.remote.left = left
        stage.keep(age_s)
        if outcome == "revalidated":
            stage.on(HEAD, given(OLD, OCI_IMAGE))
        found = await stage.find()
        assert (found.outcome.name, found.content) == (outcome, OLD)
        is_stale = outcome == "stale"
        assert (found.outcome.age_s, found.outcome.problem) == ((age_s, SAVING) if is_stale else (None, ""))
        assert (found.outcome.failure, found.reusable_s > 0) == (None, outcome == "hit")

    play(stage, scene())


def test_content_that_is_gone_is_fetched_however_little_is_left_and_what_a_tag_means_is_stale_all_the_same() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.remote.left = 0.05
        stage.keep(100.0, is_here=False)
        stage.on(GET_DIGEST, given(OLD, OCI_IMAGE))
        found = await stage.find()
        assert (found.content, found.outcome.name, found.outcome.problem) == (OLD, "miss", SAVING)
        assert (found.outcome.age_s, found.reusable_s) == (100.0, 0.0)

    play(stage, scene())


def test_what_is_not_proven_is_asked_about_however_little_is_left() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.remote.left = 0.01
        stage.keep(proven_s=PUBLIC_TTL_S)
        stage.on(HEAD, given(OLD, OCI_IMAGE))
        assert (await stage.find()).outcome.name == "revalidated"

    play(stage, scene())


@pytest.mark.parametrize("is_here", [False, True])
def test_a_tag_that_means_something_else_now_is_a_miss_and_ends_what_was_reusable(is_here: bool) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(TTL_S)
        if is_here:
            stage.keep(tag="", data=NEW)
        stage.on(HEAD, given(NEW, OCI_IMAGE))
        if not is_here:
            stage.on(f"GET manifests/{digest_of(NEW)}", given(NEW, OCI_IMAGE))
        before = stage.rights.revision.number
        found = await stage.find()
        assert (found.content, found.outcome.name) == (NEW, "miss")
        assert stage.rights.revision.number != before
        assert stage.index.tags[NGINX, "1"].manifest.digest == digest_of(NEW)

    play(stage, scene())


def test_a_tag_that_still_means_the_same_changes_nothing_that_is_reusable() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(TTL_S)
        stage.on(HEAD, given(OLD, OCI_IMAGE))
        before = stage.rights.revision.number
        await stage.find()
        assert stage.rights.revision.number == before

    play(stage, scene())


UNTOLD: dict[str, FakeResponse] = {
    "there is no HEAD": FakeResponse(405),
    "it tells no digest": FakeResponse(200, (("content-length", "9"), ("content-type", OCI_IMAGE))),
    "it tells no length": FakeResponse(200, (("docker-content-digest", DIGEST), ("content-type", OCI_IMAGE))),
    "it tells no type of a manifest": given(NEW, "text/html"),
}


@pytest.mark.parametrize("case", UNTOLD)
def test_where_a_head_does_not_tell_what_it_should_a_get_does(case: str) -> None:
    stage = Stage()

    async def scene() -> None:
        said = UNTOLD[case]
        stage.on(HEAD, FakeResponse(said.status, said.headers))
        stage.on(GET, given(NEW, OCI_IMAGE))
        found = await stage.find(TAG_HEAD)
        assert (found.info.digest, found.outcome.name) == (digest_of(NEW), "miss")
        assert (await stage.find()).content == NEW
        assert stage.asked == [HEAD, GET]

    play(stage, scene())


@pytest.mark.parametrize("query", [TAG, TAG_HEAD])
def test_of_content_that_is_here_its_bytes_say_what_it_is_and_not_a_head(query: ManifestQuery) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(TTL_S)
        lie = (("content-length", "999"), ("content-type", OCI_INDEX), ("docker-content-digest", DIGEST))
        stage.on(HEAD, FakeResponse(200, lie))
        found = await stage.find(query)
        assert (found.info.media_type, found.info.size_bytes) == (OCI_IMAGE, len(OLD))

    play(stage, scene())


@pytest.mark.parametrize(
    ("query", "asked"), [(TAG_HEAD, HEAD), (BY_DIGEST_HEAD, HEAD_DIGEST)], ids=["by tag", "by digest"]
)
def test_of_content_that_was_here_what_was_learned_of_it_counts_and_not_a_head(
    query: ManifestQuery, asked: str
) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(TTL_S, proven_s=None, is_here=False)
        lie = (("content-length", "999"), ("content-type", OCI_INDEX), ("docker-content-digest", DIGEST))
        stage.on(asked, FakeResponse(200, lie))
        found = await stage.find(query)
        assert (found.info.media_type, found.info.size_bytes) == (OCI_IMAGE, len(OLD))

    play(stage, scene())


# --- a tag, while its upstream fails or refuses ----------------------------------------------------------

FAILURES: dict[str, tuple[int | UpstreamFailure, int, bool]] = {
    # name: what it does -> status for the client, whether a kept tag covers it
    "429": (429, 429, True),
    "500": (500, 502, True),
    "502": (502, 502, True),
    "503": (503, 503, True),
    "504": (504, 504, True),
    "not reached": (UNREACHABLE, 503, True),
    "400": (400, 400, False),
    "401": (401, 401, False),
    "403": (403, 403, False),
    "404": (404, 404, False),
    "410": (410, 404, False),
    "451": (451, 451, False),
}


@pytest.mark.parametrize(("failure", "status", "is_covered"), FAILURES.values(), ids=FAILURES.keys())
def test_a_kept_tag_covers_failures_and_no_refusals(
    failure: int | UpstreamFailure, status: int, is_covered: bool
) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(100.0)
        stage.on(HEAD, answer_of(failure))
        if not is_covered:
            assert (await stage.refused()).status == status
            assert "stale" not in dict(stage.log.events)
            return
        found = await stage.find()
        assert (found.content, found.outcome.name, found.outcome.age_s) == (OLD, "stale", 100.0)
        assert found.outcome.failure is not None
        assert (found.outcome.failure.status, found.outcome.problem) == (status, found.outcome.failure.message)
        assert found.reusable_s == 0.0
        assert dict(stage.log.events)["stale"] == {"upstream": "docker.io", "problem": found.outcome.failure.message}

    play(stage, scene())


COVERING: dict[str, tuple[dict[str, Any], ManifestQuery, bool]] = {
    # name: what is kept, asked -> whether that covers a failure
    "as old as may be": ({"age_s": STALE_S}, TAG, True),
    "older than may be": ({"age_s": STALE_S + 1}, TAG, False),
    "confirmed in the future": ({"age_s": -1.0}, TAG, True),
    "of what was open to everybody": ({"proven_s": PUBLIC_TTL_S}, TAG, True),
    "of what nobody was ever shown": ({"proven_s": None}, TAG, False),
    "of what nobody was ever shown, a HEAD": ({"proven_s": None}, TAG_HEAD, False),
    "without its content": ({"age_s": TTL_S, "is_here": False}, TAG, False),
    "without its content, a HEAD": ({"age_s": TTL_S, "is_here": False}, TAG_HEAD, True),
    "with content that another repository holds": ({"age_s": TTL_S, "is_held": False}, TAG, False),
    "not at all": ({"tag": ""}, TAG, False),
    "under another name": ({"tag": "2"}, TAG, False),
}


@pytest.mark.parametrize(("kept", "query", "is_covered"), COVERING.values(), ids=COVERING.keys())
def test_what_is_kept_of_a_tag_says_whether_it_covers_a_failure(
    kept: dict[str, Any], query: ManifestQuery, is_covered: bool
) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(**kept)
        stage.on(HEAD, answer_of(503))
        if is_covered:
            found = await stage.find(query)
            assert (found.info.digest, found.outcome.name, found.outcome.age_s) == (
                DIGEST,
                "stale",
                kept.get("age_s", 0.0),
            )
            assert found.content == (OLD if query.wants_content else found.content)
        else:
            assert (await stage.refused(query)).status == 503

    play(stage, scene())


def test_content_that_is_lost_is_a_failure_even_of_a_fresh_tag() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(is_here=False)
        stage.on(GET_DIGEST, answer_of(503))
        assert (await stage.refused()).status == 503

    play(stage, scene())


@pytest.mark.parametrize("status", [401, 403])
def test_after_a_refusal_nothing_that_is_kept_is_given_however_the_upstream_fails(status: int) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(TTL_S)
        stage.on(HEAD, answer_of(status), answer_of(503))
        before = stage.rights.revision.number
        assert (await stage.refused()).status == status
        assert await stage.rights.of(EVERYBODY) is Right.NONE
        assert stage.rights.revision.number != before
        assert (await stage.refused()).status == 503

    play(stage, scene())


# --- what an upstream does not have ----------------------------------------------------------------------


@pytest.mark.parametrize(("query", "asked"), [(TAG, GET), (BY_DIGEST, GET_DIGEST), (BY_DIGEST_HEAD, HEAD_DIGEST)])
def test_what_is_unknown_is_not_asked_for_again_within_moments_by_whom_that_was_told(
    query: ManifestQuery, asked: str
) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.on(asked, *(answer_of(404) for _ in range(3)))
        first = await stage.refused(query)
        stage.clock.pass_s(NEGATIVE_TTL_S - 0.1)
        second = await stage.refused(query)
        assert (second.status, second.message, stage.asked) == (404, first.message, [asked])
        assert (await stage.refused(query, OF_ALICE)).status == 404
        assert stage.asked == [asked] * 2, "another caller is told by the upstream"
        stage.clock.pass_s(0.1)
        await stage.refused(query)
        assert stage.asked == [asked] * 3

    play(stage, scene())


@pytest.mark.parametrize("status", [401, 429, 503])
def test_any_other_answer_is_not_remembered(status: int) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.on(GET, answer_of(status), given(OLD, OCI_IMAGE))
        await stage.refused()
        stage.clock.pass_s(100.0)
        assert (await stage.find()).content == OLD

    play(stage, scene())


def test_a_404_hides_a_kept_tag_from_that_caller_alone_until_it_is_confirmed() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(TTL_S)
        await stage.rights.prove(OF_ALICE, stage.clock.time())
        stage.on(HEAD, answer_of(404))
        before = stage.rights.revision.number
        assert (await stage.refused(target=EVERYBODY)).status == 404
        assert stage.rights.revision.number != before
        stage.clock.pass_s(NEGATIVE_TTL_S)
        stage.on(GET, answer_of(503))
        assert (await stage.refused(target=EVERYBODY)).status == 503, "it covers nothing for whom it is absent"
        stage.clock.pass_s(100.0)
        stage.on(HEAD, given(OLD, OCI_IMAGE))
        assert (await stage.find(target=OF_ALICE)).outcome.name == "revalidated"
        await stage.rights.prove(EVERYBODY, stage.clock.time())
        assert (await stage.find(target=EVERYBODY)).outcome.name == "hit", "it was confirmed by another caller"

    play(stage, scene())


def test_that_the_content_of_a_tag_is_gone_is_remembered_for_whom_that_was_told() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(is_here=False)
        await stage.rights.prove(OF_ALICE, stage.clock.time())
        stage.on(GET_DIGEST, answer_of(404), given(OLD, OCI_IMAGE))
        assert (await stage.refused(TAG, OF_ALICE)).status == 404
        assert (await stage.refused(BY_DIGEST, OF_ALICE)).status == 404
        assert stage.asked == [GET_DIGEST]
        assert (await stage.find(TAG, EVERYBODY)).content == OLD

    play(stage, scene())


def test_a_404_for_a_tag_that_is_not_kept_takes_nothing_away() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(tag="2")
        stage.on(HEAD, answer_of(404))
        assert (await stage.refused()).status == 404
        assert await stage.rights.of(EVERYBODY) is Right.PROVEN
        assert not any(about == "absent 1" for _, about, _ in stage.index.rights)
        assert (await stage.find(replace(TAG, reference="2"))).outcome.name == "hit"

    play(stage, scene())


# --- content by its digest -------------------------------------------------------------------------------

HELD: dict[str, tuple[dict[str, Any], ManifestQuery, list[str], str]] = {
    # name: what is kept, asked -> what the upstream is asked, outcome
    "held, and open": ({}, BY_DIGEST, [], "hit"),
    "held, and open, a HEAD": ({}, BY_DIGEST_HEAD, [], "hit"),
    "held, and open as far as is known": ({"proven_s": PUBLIC_TTL_S}, BY_DIGEST, [HEAD_DIGEST], "revalidated"),
    "held, and shown to nobody": ({"proven_s": None}, BY_DIGEST, [HEAD_DIGEST], "revalidated"),
    "held, and shown to nobody, a HEAD": ({"proven_s": None}, BY_DIGEST_HEAD, [HEAD_DIGEST], "revalidated"),
    "held, but gone": ({"is_here": False}, BY_DIGEST, [GET_DIGEST], "miss"),
    "held, but gone, a HEAD": ({"is_here": False}, BY_DIGEST_HEAD, [], "hit"),
    "held, but gone, and shown to nobody": (
        {"is_here": False, "proven_s": None}, BY_DIGEST, [HEAD_DIGEST, GET_DIGEST], "miss",
    ),
    "here for another repository": ({"is_held": False}, BY_DIGEST, [GET_DIGEST], "miss"),
    "here for another repository, a HEAD": ({"is_held": False}, BY_DIGEST_HEAD, [HEAD_DIGEST], "miss"),
    "not here": ({"is_held": False, "is_here": False, "proven_s": None}, BY_DIGEST, [GET_DIGEST], "miss"),
    "not here, a HEAD": (
        {"is_held": False, "is_here": False, "proven_s": None}, BY_DIGEST_HEAD, [HEAD_DIGEST], "miss",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kept", "query", "asked", "outcome"), HELD.values(), ids=HELD.keys())
def test_content_is_asked_for_by_who_holds_it_and_who_may_have_it(
    kept: dict[str, Any], query: ManifestQuery, asked: list[str], outcome: str
) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(tag="", **kept)
        for one in asked:
            stage.on(one, given(OLD, OCI_IMAGE))
        found = await stage.find(query)
        assert (found.info.digest, found.info.media_type, found.info.size_bytes) == (DIGEST, OCI_IMAGE, len(OLD))
        assert found.content == (OLD if query.wants_content else None)
        assert (found.outcome.name, stage.asked) == (outcome, asked)
        assert (found.outcome.age_s, found.outcome.failure) == (None, None)
        assert found.reusable_s == (REUSABLE_S if outcome == "hit" else 0.0)

    play(stage, scene())


def test_a_head_alone_never_lets_a_repository_give_what_is_here_for_another() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(tag="", is_held=False)
        stage.on(HEAD_DIGEST, given(OLD, OCI_IMAGE))
        await stage.find(BY_DIGEST_HEAD)
        stage.on(GET_DIGEST, answer_of(403))
        assert (await stage.refused(BY_DIGEST)).status == 403

    play(stage, scene())


@pytest.mark.parametrize(
    ("proven_s", "status", "is_covered"),
    [
        (PUBLIC_TTL_S, 503, True),
        (PUBLIC_TTL_S, 429, True),
        (PUBLIC_TTL_S, 500, True),
        (PUBLIC_TTL_S, 401, False),
        (PUBLIC_TTL_S, 404, False),
        (None, 503, False),
        (None, 404, False),
    ],
)
def test_content_that_was_open_to_everybody_is_given_while_the_upstream_fails(
    proven_s: float | None, status: int, is_covered: bool
) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(tag="", proven_s=proven_s)
        stage.on(HEAD_DIGEST, answer_of(status))
        if not is_covered:
            assert (await stage.refused(BY_DIGEST)).status == status
            assert await stage.rights.of(EVERYBODY) is Right.NONE
            return
        found = await stage.find(BY_DIGEST)
        assert (found.content, found.outcome.name, found.reusable_s) == (OLD, "stale", 0.0)
        assert found.outcome.failure is not None
        assert found.outcome.problem == found.outcome.failure.message
        stage.clock.pass_s(DEFERRED_S - 1)
        assert (await stage.find(BY_DIGEST)).outcome.name == "hit", "it is not asked again for a while"
        assert stage.asked == [HEAD_DIGEST]
        assert await stage.rights.of(OF_ALICE) is Right.NONE

    play(stage, scene())


def test_content_that_is_fetched_covers_no_failure() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(tag="", proven_s=PUBLIC_TTL_S, is_here=False)
        stage.on(HEAD_DIGEST, answer_of(503))
        stage.on(GET_DIGEST, given(OLD, OCI_IMAGE))
        found = await stage.find(BY_DIGEST)
        assert (found.content, found.outcome.name, found.outcome.failure) == (OLD, "miss", None)
        assert "docker.io" in found.outcome.problem, "which the log tells"

    play(stage, scene())


@pytest.mark.parametrize("query", [BY_DIGEST, BY_DIGEST_HEAD])
def test_kept_bytes_that_are_no_manifest_are_not_given(query: ManifestQuery) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(tag="")
        stage.store.content[DIGEST] = b"<html>"
        assert (await stage.refused(query)).status == 502

    play(stage, scene())


# --- what is fetched -------------------------------------------------------------------------------------


def test_a_disk_that_is_full_ends_no_pull() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.store.is_full = True
        stage.on(GET, given(OLD, OCI_IMAGE))
        assert (await stage.find()).content == OLD
        assert (stage.metrics.failed, [event for event, _ in stage.log.events]) == (1, ["store_failed"])
        stage.on(GET_DIGEST, given(OLD, OCI_IMAGE))
        assert (await stage.find()).content == OLD
        assert stage.asked == [GET, GET_DIGEST]

    play(stage, scene())


@pytest.mark.parametrize(("query", "asked"), [(TAG, GET), (BY_DIGEST, GET_DIGEST)])
def test_whatever_many_ask_at_the_same_moment_is_asked_once_for_each_credential(
    query: ManifestQuery, asked: str
) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.on(asked, given(OLD, OCI_IMAGE), given(OLD, OCI_IMAGE))
        targets = [EVERYBODY] * 5 + [OF_ALICE] * 5
        found = await asyncio.gather(*(stage.find(query, target) for target in targets))
        assert {one.content for one in found} == {OLD}
        assert [get(sent.headers, "authorization") is None for sent in stage.upstream.sent] == [True, True]

    play(stage, scene())
    assert stage.asked == [asked] * 2


def test_who_leaves_ends_nothing_that_is_asked_for_others() -> None:
    stage = Stage()

    async def scene() -> None:
        is_asked, may_answer = asyncio.Event(), asyncio.Event()

        async def answer() -> FakeResponse:
            is_asked.set()
            await may_answer.wait()
            return given(OLD, OCI_IMAGE)

        stage.upstream.on_call("GET", f"{HUB}/v2/library/nginx/manifests/1", answer)
        leaving, staying = asyncio.create_task(stage.find()), asyncio.create_task(stage.find())
        await is_asked.wait()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        may_answer.set()
        assert (await staying).content == OLD

    play(stage, scene())
    assert stage.index.tags[NGINX, "1"].manifest.digest == DIGEST


@pytest.mark.parametrize("believes_mirrors", [True, False])
def test_a_mirrors_word_on_a_tag_is_kept_where_mirrors_are_believed(believes_mirrors: bool) -> None:
    stage = Stage(believes_mirrors=believes_mirrors)
    target = Target(upstream_of(mirrors=(MIRROR,)), "library/nginx", may_use_mirrors=True)

    async def scene() -> None:
        stage.on(GET, answer_of(503))
        stage.upstream.on("GET", f"{MIRROR}/v2/library/nginx/manifests/1", given(OLD, OCI_IMAGE))
        assert (await stage.find(target=target)).content == OLD
        assert ((NGINX, "1") in stage.index.tags) is believes_mirrors
        assert (await stage.rights.of(target) is Right.PROVEN) is believes_mirrors
        assert not any(about == "pull" for _, about, _ in stage.index.rights)

    play(stage, scene())


# --- for clients that cannot read what a tag means -------------------------------------------------------

OLD_DOCKER = ManifestQuery("1", accept=f"application/json, {SCHEMA2}, text/plain")
OLD_DOCKER_HEAD = replace(OLD_DOCKER, wants_content=False)


@pytest.mark.parametrize(
    ("accept", "is_converted"),
    [(OCI_IMAGE, False), ("*/*", False), ("application/*", False), (f"{SCHEMA2}, */*", False), (SCHEMA2, True)],
)
def test_only_who_cannot_read_what_a_tag_means_is_given_something_else(accept: str, is_converted: bool) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep()
        if is_converted:
            stage.on(GET, given(CONVERTED, SCHEMA2))
        found = await stage.find(ManifestQuery("1", accept))
        assert found.content == (CONVERTED if is_converted else OLD)
        assert stage.index.tags[NGINX, "1"].manifest.digest == DIGEST, "a tag means what it means"

    play(stage, scene())


def test_what_is_given_instead_is_asked_for_once_within_the_ttl_by_the_types_of_manifests_alone() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep()
        stage.on(GET, given(CONVERTED, SCHEMA2), given(CONVERTED, SCHEMA2))
        first = await stage.find(OLD_DOCKER)
        assert (first.content, first.info.media_type, first.outcome.name) == (CONVERTED, SCHEMA2, "miss")
        for accept in (OLD_DOCKER.accept, f"{SCHEMA2}, x/y"):
            again = await stage.find(replace(OLD_DOCKER, accept=accept))
            assert (again.content, again.outcome.name, again.reusable_s) == (CONVERTED, "hit", 0.0)
        stage.clock.pass_s(TTL_S)
        stage.keep()
        assert (await stage.find(OLD_DOCKER)).outcome.name == "miss"

    play(stage, scene())
    assert accepts_sent(stage.upstream) == [SCHEMA2, SCHEMA2]


@pytest.mark.parametrize(
    ("said_type", "asked"), [(SCHEMA2, [HEAD]), ("text/html", [HEAD, GET])], ids=["which tells", "which does not tell"]
)
def test_to_a_head_a_head_is_enough_if_it_tells_what_it_is(said_type: str, asked: list[str]) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep()
        stage.on(HEAD, FakeResponse(200, given(CONVERTED, said_type).headers))
        if len(asked) > 1:
            stage.on(GET, given(CONVERTED, SCHEMA2))
        found = await stage.find(OLD_DOCKER_HEAD)
        assert (found.info.digest, found.info.media_type) == (digest_of(CONVERTED), SCHEMA2)
        assert stage.asked == asked
        assert (await stage.find(OLD_DOCKER_HEAD)).outcome.name == "hit"
        assert stage.asked == asked
        if len(asked) == 1:
            stage.on(GET, given(CONVERTED, SCHEMA2))
        assert (await stage.find(OLD_DOCKER)).content == CONVERTED, "its content is fetched when it is wanted"

    play(stage, scene())


def test_that_there_is_nothing_else_is_remembered_for_the_ttl_and_takes_no_right_away() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep()
        stage.on(GET, answer_of(404))
        for _ in range(2):
            refused = await stage.refused(OLD_DOCKER)
            assert (refused.status, refused.code) == (404, Code.MANIFEST_UNKNOWN)
            stage.clock.pass_s(NEGATIVE_TTL_S + 1)
        assert stage.asked == [GET]
        assert (await stage.find()).outcome.name == "hit"

    play(stage, scene())


def test_who_accepts_no_type_of_a_manifest_is_told_and_nobody_is_asked() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep()
        refused = await stage.refused(ManifestQuery("1", "text/html"))
        assert (refused.status, refused.code) == (404, Code.MANIFEST_UNKNOWN)
        assert OCI_IMAGE in refused.message
        assert "docker.io/library/nginx:1" in refused.message

    play(stage, scene())
    assert stage.asked == []


@pytest.mark.parametrize("failure", [503, 429, UNREACHABLE], ids=str)
def test_what_was_given_instead_covers_a_failure(failure: int | UpstreamFailure) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep()
        stage.on(GET, given(CONVERTED, SCHEMA2))
        await stage.find(OLD_DOCKER)
        stage.clock.pass_s(TTL_S)
        stage.keep()
        stage.on(GET, answer_of(failure))
        found = await stage.find(OLD_DOCKER)
        assert (found.content, found.info.media_type, found.outcome.name) == (CONVERTED, SCHEMA2, "stale")
        assert found.outcome.failure is not None
        assert found.outcome.problem == found.outcome.failure.message

    play(stage, scene())


@pytest.mark.parametrize("status", [401, 403])
def test_what_was_given_instead_covers_no_refusal(status: int) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep()
        stage.on(GET, given(CONVERTED, SCHEMA2))
        await stage.find(OLD_DOCKER)
        stage.clock.pass_s(TTL_S)
        stage.keep()
        stage.on(GET, answer_of(status))
        assert (await stage.refused(OLD_DOCKER)).status == status
        assert await stage.rights.of(EVERYBODY) is Right.NONE

    play(stage, scene())


def test_a_tag_whose_new_content_cannot_be_had_is_answered_with_the_old_for_as_long_as_that_lasts() -> None:
    stage = Stage()
    new_digest = digest_of(NEW)

    async def scene() -> None:
        stage.keep(TTL_S + 1)
        for _ in range(2):
            stage.on(HEAD, given(NEW, OCI_IMAGE))
            stage.on(f"GET manifests/{new_digest}", FakeResponse(429))
            found = await stage.find()
            assert (found.outcome.name, found.content) == ("stale", OLD)
            stage.clock.pass_s(120)  # until the limit may be over

    play(stage, scene())


def test_after_a_head_that_says_that_a_tag_moved_the_old_content_still_covers() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(TTL_S + 1)
        stage.on(HEAD, given(NEW, OCI_IMAGE), given(NEW, OCI_IMAGE))
        assert (await stage.find(TAG_HEAD)).info.digest == digest_of(NEW)
        stage.on(f"GET manifests/{digest_of(NEW)}", FakeResponse(429))
        found = await stage.find()
        assert (found.outcome.name, found.content) == ("stale", OLD)

    play(stage, scene())


def test_what_a_head_said_of_a_tag_counts_as_soon_as_its_content_is_here() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(TTL_S + 1)
        stage.on(HEAD, given(NEW, OCI_IMAGE))
        await stage.find(TAG_HEAD)
        stage.on(f"GET manifests/{digest_of(NEW)}", given(NEW, OCI_IMAGE))
        await stage.find(ManifestQuery(digest_of(NEW)))
        found = await stage.find()
        assert (found.outcome.name, found.content) == ("hit", NEW), "docker asks so: HEAD of the tag, GET of the digest"

    play(stage, scene())


def test_what_was_found_of_a_tag_before_does_not_replace_what_was_found_later() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(TTL_S + 1)
        stage.on(HEAD, given(NEW, OCI_IMAGE))
        await stage.find(TAG_HEAD)
        stage.clock.pass_s(1)
        stage.on(HEAD, given(OLD, OCI_IMAGE))  # it moved back
        await stage.find()
        stage.on(f"GET manifests/{digest_of(NEW)}", given(NEW, OCI_IMAGE))
        await stage.find(ManifestQuery(digest_of(NEW)))
        assert (await stage.find()).content == OLD

    play(stage, scene())


def test_what_a_client_cannot_read_covers_no_failure() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep()
        stage.on(GET, FakeResponse(503))
        refusal = await stage.refused(ManifestQuery("1", accept=SCHEMA2))
        assert refusal.status == 503

    play(stage, scene())


def test_what_was_given_instead_says_how_old_it_is_and_is_not_given_for_ever() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep(proven_s=0.0)
        stage.on(GET, given(CONVERTED, SCHEMA2))
        await stage.find(ManifestQuery("1", accept=SCHEMA2))
        stage.clock.pass_s(TTL_S + 1)
        stage.keep()
        stage.on(GET, FakeResponse(503), FakeResponse(503))
        found = await stage.find(ManifestQuery("1", accept=SCHEMA2))
        assert (found.content, found.outcome.age_s) == (CONVERTED, TTL_S + 1)
        stage.clock.pass_s(STALE_S)
        stage.keep()
        assert (await stage.refused(ManifestQuery("1", accept=SCHEMA2))).status == 503

    play(stage, scene())


# --- schema 1 --------------------------------------------------------------------------------------------

SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"


def signed(payload: bytes, **more: object) -> bytes:
    """A document whose signature claims that its payload is this one."""
    tail = base64.urlsafe_b64encode(payload).decode().rstrip("=")
    said = json.dumps({"formatLength": 0, "formatTail": tail}).encode()
    protected = base64.urlsafe_b64encode(said).decode().rstrip("=")
    return json.dumps({"signatures": [{"protected": protected}], **more}).encode()


def test_bytes_that_have_another_digest_are_never_kept_under_one_that_others_use() -> None:
    """The digest of a signed schema 1 manifest is that of a part of it, which may be anybody's manifest."""
    stage = Stage()
    forged = signed(OLD, manifests=[], mediaType="application/vnd.oci.image.index.v1+json")
    assert digest_of(forged) != DIGEST

    async def scene() -> None:
        stage.keep()
        url = f"{HUB}/v2/library/redis/manifests/{DIGEST}"
        stage.upstream.on("GET", url, FakeResponse(200, (("content-type", SIGNED),), forged))
        found = await stage.find(BY_DIGEST, replace(EVERYBODY, repository="library/redis"))
        assert found.content == forged, "who asks for it is given it"
        assert await stage.store.read(DIGEST) == OLD
        assert (await stage.find(BY_DIGEST)).content == OLD

    play(stage, scene())


def test_that_there_is_nothing_else_for_one_caller_says_nothing_of_another() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.keep()
        await stage.rights.prove(OF_ALICE, stage.clock.time())
        stage.on(GET, answer_of(404), given(CONVERTED, SCHEMA2))
        assert (await stage.refused(OLD_DOCKER)).status == 404
        stage.clock.pass_s(NEGATIVE_TTL_S + 1)
        assert (await stage.find(OLD_DOCKER, OF_ALICE)).content == CONVERTED

    play(stage, scene())
