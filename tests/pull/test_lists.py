"""Case tables of kept lists: which answers without asking, what covers a failure, and what is written down at all."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

import pytest

from hubferry.core.errors import Code, OciError
from hubferry.core.freshness import NEGATIVE_TTL_S, Timing, ttl_rules
from hubferry.core.manifest import OCI_IMAGE, OCI_INDEX
from hubferry.core.rights import Right
from hubferry.core.tags import Page
from hubferry.core.values import Duration, TagTtls
from hubferry.ports.index import ListEntry, ManifestInfo, TagEntry
from hubferry.ports.shell import UNCOUNTED
from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.pull.lists import KeptLists
from hubferry.pull.proofs import Proofs
from hubferry.pull.results import ListResult, Outcome
from hubferry.pull.services import Instruments
from hubferry.remote.lists import ListContent, ListQuery, RemoteLists, referrers_query, tags_query
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
    asked_of,
    assert_all_closed_once,
    digest_of,
    refusal,
    rights_over,
    upstream_of,
)
from tests.support.scenes import run_scene

TTL_S, STALE_S = 60.0, 86400.0
SUBJECT = "sha256:" + "a" * 64
OLD, NEW = (json.dumps({"name": "library/nginx", "tags": tags}).encode() for tags in (["1"], ["1", "2"]))
SIGNED, SIGNED_TWICE = (json.dumps({"manifests": [{"size": size}]}).encode() for size in (1, 2))
TAGS = tags_query(Page(None, ""))
REFERRERS = referrers_query(SUBJECT)
OF_A_TYPE = referrers_query(SUBJECT, "a/b")
A_PAGE = referrers_query(SUBJECT, "", Page(1, ""))
UNREACHABLE = UpstreamFailure(Cause.TCP, "registry-1.docker.io")


class Stage:
    """KeptLists over memory, in front of a scripted Docker Hub that asks nobody for a token."""

    def __init__(
        self,
        *,
        unknown_are_absent: bool = True,
        believes_mirrors: bool = True,
        rules: tuple[tuple[str, float], ...] = (),
    ) -> None:
        self.upstream = ScriptedUpstream()
        self.clock, self.log = FakeClock(), FakeLog()
        self.index, self.store = KeptIndex(), MemoryStore()
        flight = SharedTasks()
        fetcher = build_fetcher(self.upstream, self.clock, flight)
        self.rights = rights_over(self.index, self.clock, believes_mirrors=believes_mirrors)
        self.lists = KeptLists(
            RemoteLists(fetcher, self.upstream),
            self.index,
            self.store,
            Proofs(self.rights, flight, self.clock),
            Instruments(self.clock, self.log, UNCOUNTED),
            timing=Timing(TTL_S, STALE_S, ttl_rules(TagTtls(tuple((name, Duration(at_s)) for name, at_s in rules)))),
            unknown_referrers_are_absent=unknown_are_absent,
        )

    def keep(
        self,
        query: ListQuery,
        body: bytes | None = OLD,
        age_s: float = 0.0,
        *,
        is_here: bool = True,
        following: str = "",
    ) -> None:
        """A list, or that there is none (`body` None), is known since `age_s`."""
        digest = "" if body is None else digest_of(body)
        media_type = OCI_INDEX if query.subject else "application/json"
        entry = ListEntry(digest, self.clock.time() - age_s, media_type, "artifactType", following)
        self.index.lists[NGINX, query.name] = entry
        if body is not None and is_here:
            self.store.content[digest] = body

    def prove(self, *, pull_s: float | None = 0.0, list_s: float | None = None) -> None:
        """Everybody's rights were proven so long ago (None: they were not)."""
        for about, age_s in (("pull", pull_s), ("list", list_s)):
            if age_s is not None:
                self.index.rights[NGINX, about, ""] = self.clock.time() - age_s

    def hold_subject(self) -> None:
        self.index.manifests[NGINX, SUBJECT] = ManifestInfo(SUBJECT, OCI_IMAGE, 1, is_held=True)

    def on(self, query: ListQuery, *replies: FakeResponse | Exception) -> None:
        self.upstream.on("GET", f"{HUB}/v2/library/nginx/{query.name}", *replies)

    @property
    def asked(self) -> list[str]:
        return asked_of(self.upstream)

    async def find(self, query: ListQuery = TAGS, target: Target = EVERYBODY) -> ListResult:
        return await self.lists.find(target, query)

    async def refused(self, query: ListQuery = TAGS, target: Target = EVERYBODY) -> OciError:
        with pytest.raises(OciError) as caught:
            await self.lists.find(target, query)
        return caught.value


def play(stage: Stage, scene: Coroutine[Any, Any, None]) -> None:
    run_scene(scene)
    assert_all_closed_once(stage.upstream)


def listed(body: bytes, *lines: tuple[str, str]) -> FakeResponse:
    return FakeResponse(200, (("content-type", "application/json"), *lines), body)


def answer_of(status: int | UpstreamFailure) -> FakeResponse | UpstreamFailure:
    return FakeResponse(status) if isinstance(status, int) else status


# --- tags, while the upstream answers --------------------------------------------------------------------

FRESH: dict[str, tuple[dict[str, Any] | None, dict[str, Any], bytes, str]] = {
    # name: what is kept, what is proven, what the upstream says -> outcome (a hit is not asked about)
    "within its TTL": ({"age_s": 59.9}, {}, OLD, "hit"),
    "at its TTL": ({"age_s": 60.0}, {}, OLD, "revalidated"),
    "at its TTL, and another one now": ({"age_s": 60.0}, {}, NEW, "miss"),
    "confirmed in the future": ({"age_s": -1.0}, {}, OLD, "revalidated"),
    "of what is open to everybody, as far as is known": ({}, {"pull_s": PUBLIC_TTL_S}, OLD, "revalidated"),
    "of what is open as far as is known, and was listed lately": (
        {}, {"pull_s": PUBLIC_TTL_S, "list_s": 0.0}, OLD, "hit",
    ),
    "of what may be listed, if not pulled": ({}, {"pull_s": None, "list_s": 0.0}, OLD, "hit"),
    "of what could be listed, as far as is known": ({}, {"pull_s": None, "list_s": PUBLIC_TTL_S}, OLD, "revalidated"),
    "of what nobody was ever shown": ({}, {"pull_s": None}, OLD, "miss"),
    "its body is gone": ({"is_here": False}, {}, OLD, "miss"),
    "nothing is kept": (None, {}, OLD, "miss"),
}  # fmt: skip


@pytest.mark.parametrize(("kept", "proven", "said", "outcome"), FRESH.values(), ids=FRESH.keys())
def test_a_list_of_tags_is_asked_for_by_what_is_kept_of_it(
    kept: dict[str, Any] | None, proven: dict[str, Any], said: bytes, outcome: str
) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.prove(**proven)
        if kept is not None:
            stage.keep(TAGS, **kept)
        if outcome != "hit":
            stage.on(TAGS, listed(said))
        found = await stage.find()
        assert (found.content.body, found.outcome.name, found.outcome.problem) == (said, outcome, "")
        assert (found.outcome.age_s, found.outcome.failure, found.outcome.guess) == (None, None, "")
        again = await stage.find()
        assert (again.content.body, again.outcome.name) == (said, "hit"), "it is known now, and to whom it may be shown"

    play(stage, scene())


def test_what_comes_with_a_list_is_kept_with_it() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.on(TAGS, listed(OLD, ("link", '</v2/x?last=1&n=1>; rel="next"'), ("oci-filters-applied", "x")))
        first, again = await stage.find(), await stage.find()
        assert first.content == again.content == ListContent(OLD, "application/json", "x", "1")

    play(stage, scene())


@pytest.mark.parametrize(
    ("rule", "age_s", "is_fresh"),
    [
        ("docker.io/library/nginx", 9.0, True),
        ("docker.io/library/nginx", 10.0, False),
        ("docker.io/library/nginx:1", 10.0, True),
        ("docker.io/library/redis", 10.0, True),
    ],
)
def test_the_ttl_of_a_list_is_that_of_its_repository(rule: str, age_s: float, is_fresh: bool) -> None:
    stage = Stage(rules=((rule, 10.0),))

    async def scene() -> None:
        stage.prove()
        stage.keep(TAGS, age_s=age_s)
        if not is_fresh:
            stage.on(TAGS, listed(OLD))
        assert (await stage.find()).outcome.name == ("hit" if is_fresh else "revalidated")

    play(stage, scene())


def test_each_page_of_tags_is_a_list_of_its_own() -> None:
    stage = Stage()
    page = tags_query(Page(1, ""))

    async def scene() -> None:
        stage.prove()
        stage.keep(TAGS)
        stage.on(page, listed(NEW))
        assert (await stage.find(page)).content.body == NEW
        assert (await stage.find()).content.body == OLD

    play(stage, scene())


def test_to_have_listed_opens_the_list_and_nothing_else_and_a_refusal_closes_nothing_else() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.on(TAGS, listed(OLD))
        await stage.find()
        assert await stage.rights.of(EVERYBODY) is Right.NONE
        assert await stage.rights.to_list(OF_ALICE) is Right.NONE
        stage.prove()
        stage.clock.pass_s(TTL_S)
        stage.on(TAGS, answer_of(403))
        assert (await stage.refused()).status == 403
        assert await stage.rights.of(EVERYBODY) is Right.PROVEN
        assert not any(about == "list" for _, about, _ in stage.index.rights)

    play(stage, scene())


# --- tags, while the upstream fails or refuses -----------------------------------------------------------

FAILURES: dict[str, tuple[int | UpstreamFailure, int, bool]] = {
    # name: what it does -> status for the client, whether a kept list covers it
    "429": (429, 429, True),
    "500": (500, 502, True),
    "503": (503, 503, True),
    "504": (504, 504, True),
    "not reached": (UNREACHABLE, 503, True),
    "400": (400, 400, False),
    "401": (401, 401, False),
    "403": (403, 403, False),
    "405": (405, 405, False),
}


@pytest.mark.parametrize(("failure", "status", "is_covered"), FAILURES.values(), ids=FAILURES.keys())
@pytest.mark.parametrize("query", [TAGS, REFERRERS], ids=["tags", "referrers"])
def test_a_kept_list_covers_failures_and_no_refusals(
    query: ListQuery, failure: int | UpstreamFailure, status: int, is_covered: bool
) -> None:
    stage = Stage()
    body = SIGNED if query.subject else OLD

    async def scene() -> None:
        stage.prove()
        stage.hold_subject()
        stage.keep(query, body, 100.0)
        stage.on(query, answer_of(failure))
        if not is_covered:
            assert (await stage.refused(query)).status == status
            assert "stale" not in dict(stage.log.events)
            return
        found = await stage.find(query)
        assert (found.content.body, found.outcome.name, found.outcome.age_s, found.outcome.guess) == (
            body,
            "stale",
            100.0,
            "",
        )
        assert found.outcome.failure is not None
        assert (found.outcome.failure.status, found.outcome.problem) == (status, found.outcome.failure.message)
        assert dict(stage.log.events)["stale"] == {"upstream": "docker.io", "problem": found.outcome.failure.message}

    play(stage, scene())


COVERING: dict[str, tuple[dict[str, Any] | None, dict[str, Any], bool]] = {
    # name: what is kept, what is proven -> whether that covers a failure
    "as old as may be": ({"age_s": STALE_S}, {}, True),
    "older than may be": ({"age_s": STALE_S + 1}, {}, False),
    "confirmed in the future": ({"age_s": -1.0}, {}, True),
    "of what was open to everybody": ({}, {"pull_s": PUBLIC_TTL_S}, True),
    "of what could be listed": ({}, {"pull_s": None, "list_s": PUBLIC_TTL_S}, True),
    "of what nobody was ever shown": ({}, {"pull_s": None}, False),
    "its body is gone": ({"age_s": TTL_S, "is_here": False}, {}, False),
    "not at all": (None, {}, False),
}


@pytest.mark.parametrize(("kept", "proven", "is_covered"), COVERING.values(), ids=COVERING.keys())
def test_what_is_kept_of_a_list_says_whether_it_covers_a_failure(
    kept: dict[str, Any] | None, proven: dict[str, Any], is_covered: bool
) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.prove(**proven)
        if kept is not None:
            stage.keep(TAGS, **kept)
        stage.on(TAGS, answer_of(503))
        if is_covered:
            found = await stage.find()
            assert (found.outcome.name, found.outcome.age_s) == ("stale", (kept or {}).get("age_s", 0.0))
        else:
            assert (await stage.refused()).status == 503

    play(stage, scene())


# --- that there is no list -------------------------------------------------------------------------------


def test_that_there_is_no_list_is_not_asked_again_within_moments_by_whom_that_was_told() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.on(TAGS, *(answer_of(404) for _ in range(3)))
        first = await stage.find()
        assert first.content.absence is not None
        assert (first.content.absence.code, first.outcome.name) == (Code.NAME_UNKNOWN, "miss")
        stage.clock.pass_s(NEGATIVE_TTL_S - 0.1)
        again = await stage.find()
        assert again.content.absence is not None
        assert (again.content.absence.message, again.outcome.name) == (first.content.absence.message, "hit")
        await stage.find(target=OF_ALICE)
        assert len(stage.asked) == 2, "another caller is told by the upstream"
        stage.clock.pass_s(0.1)
        await stage.find()
        assert len(stage.asked) == 3
        assert stage.index.lists == {}, "what was never there leaves nothing behind"

    play(stage, scene())


@pytest.mark.parametrize("is_open", [True, False])
def test_a_list_that_is_gone_is_gone_for_everybody_if_who_was_told_might_have_it(is_open: bool) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.prove(pull_s=0.0 if is_open else None)
        stage.keep(TAGS, age_s=TTL_S)
        stage.on(TAGS, answer_of(404))
        assert (await stage.find()).content.absence is not None
        assert stage.index.lists[NGINX, TAGS.name].digest == ("" if is_open else digest_of(OLD))
        stage.prove()
        stage.clock.pass_s(NEGATIVE_TTL_S)
        if not is_open:
            stage.on(TAGS, listed(OLD))
        again = await stage.find()
        assert ((again.content.absence is not None), again.outcome.name) == (
            is_open,
            "hit" if is_open else "revalidated",
        )

    play(stage, scene())


@pytest.mark.parametrize("is_held", [True, False])
def test_that_nothing_refers_to_what_is_kept_answers_within_the_ttl_and_covers_a_failure(is_held: bool) -> None:
    stage = Stage(unknown_are_absent=False)

    async def scene() -> None:
        stage.prove()
        if is_held:
            stage.hold_subject()
        stage.on(REFERRERS, answer_of(404))
        await stage.find(REFERRERS)
        stage.clock.pass_s(TTL_S - 1)
        if is_held:
            found = await stage.find(REFERRERS)
            assert (found.content.absence is not None, found.outcome.name, found.outcome.guess) == (True, "hit", "")
        stage.clock.pass_s(1)
        stage.on(REFERRERS, answer_of(503))
        if is_held:
            found = await stage.find(REFERRERS)
            assert (found.content.absence is not None, found.outcome.name, found.outcome.age_s) == (
                True,
                "stale",
                TTL_S,
            )
        else:
            assert (await stage.refused(REFERRERS)).status == 503

    play(stage, scene())


# --- what refers to a digest -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_referrers_takes_nothing_away(status: int) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.prove(list_s=0.0)
        before = dict(stage.index.rights)
        stage.on(REFERRERS, answer_of(status))
        assert (await stage.refused(REFERRERS)).status == status
        assert stage.index.rights == before

    play(stage, scene())


ANSWERING: dict[str, tuple[ListQuery, dict[str, dict[str, Any]], bytes | None]] = {
    # name: asked, what is kept of which list -> what answers without asking (None: nothing)
    "the list of every type answers for one": (OF_A_TYPE, {REFERRERS.name: {}}, SIGNED),
    "unless there is more of it": (OF_A_TYPE, {REFERRERS.name: {"following": "x"}}, None),
    "more of it does not matter to whom asks for that": (REFERRERS, {REFERRERS.name: {"following": "x"}}, SIGNED),
    "the list of a type answers for itself": (OF_A_TYPE, {OF_A_TYPE.name: {}}, SIGNED),
    "and not for every type": (REFERRERS, {OF_A_TYPE.name: {}}, None),
    "of both the one that was confirmed later": (
        OF_A_TYPE, {REFERRERS.name: {"age_s": 1.0, "body": SIGNED_TWICE}, OF_A_TYPE.name: {"age_s": 2.0}}, SIGNED_TWICE,
    ),
    "or the other": (
        OF_A_TYPE, {REFERRERS.name: {"age_s": 2.0}, OF_A_TYPE.name: {"age_s": 1.0, "body": SIGNED_TWICE}}, SIGNED_TWICE,
    ),
    "a page is not cut from the list of all": (A_PAGE, {REFERRERS.name: {}}, None),
}  # fmt: skip


@pytest.mark.parametrize(("query", "kept", "body"), ANSWERING.values(), ids=ANSWERING.keys())
def test_which_kept_list_answers(query: ListQuery, kept: dict[str, dict[str, Any]], body: bytes | None) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.prove()
        stage.hold_subject()
        for one in (REFERRERS, OF_A_TYPE):
            if one.name in kept:
                stage.keep(one, **{"body": SIGNED, **kept[one.name]})
        if body is None:
            stage.on(query, listed(SIGNED_TWICE))
        found = await stage.find(query)
        assert (found.content.body, found.outcome.name) == ((body, "hit") if body else (SIGNED_TWICE, "miss"))
        assert found.content.media_type == OCI_INDEX

    play(stage, scene())


HELD: dict[str, tuple[str, dict[str, Any], bool]] = {
    # name: how the subject is known, what is proven -> whether it is held for everybody
    "kept": ("kept", {}, True),
    "tagged": ("tagged", {}, True),
    "named by an index": ("named", {}, True),
    "listed": ("listed", {}, True),
    "made up": ("", {}, False),
    "kept, and open as far as is known": ("kept", {"pull_s": PUBLIC_TTL_S}, True),
    "kept, and shown to nobody": ("kept", {"pull_s": None}, False),
    "kept, and only listed": ("kept", {"pull_s": None, "list_s": 0.0}, False),
}


def know_subject(stage: Stage, how: str) -> None:
    if how == "kept":
        stage.hold_subject()
    elif how == "tagged":
        stage.index.tags[NGINX, "1"] = TagEntry(ManifestInfo(SUBJECT, OCI_IMAGE, 1), 0.0)
    elif how == "named":
        stage.index.named.add((NGINX, SUBJECT))
    elif how == "listed":
        stage.index.listed.add((NGINX, SUBJECT))


@pytest.mark.parametrize(("how", "proven", "is_held"), HELD.values(), ids=HELD.keys())
def test_what_refers_to_a_digest_is_written_down_only_where_that_is_known_and_may_be_had(
    how: str, proven: dict[str, Any], is_held: bool
) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.prove(**proven)
        know_subject(stage, how)
        assert await stage.lists.is_held(EVERYBODY, REFERRERS) is is_held
        assert not await stage.lists.is_held(EVERYBODY, TAGS)
        stage.on(REFERRERS, listed(SIGNED))
        assert (await stage.find(REFERRERS)).content.body == SIGNED
        assert ((NGINX, REFERRERS.name) in stage.index.lists) is is_held
        assert (digest_of(SIGNED) in stage.store.content) is is_held

    play(stage, scene())


@pytest.mark.parametrize(("how", "proven", "is_held"), HELD.values(), ids=HELD.keys())
def test_that_nothing_refers_to_it_is_written_down_by_the_same_rule(
    how: str, proven: dict[str, Any], is_held: bool
) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.prove(**proven)
        know_subject(stage, how)
        content = await stage.lists.note_absence(EVERYBODY, REFERRERS, refusal(404))
        assert content.absence is not None
        assert ((NGINX, REFERRERS.name) in stage.index.lists) is is_held

    play(stage, scene())


UNKNOWN: dict[str, tuple[ListQuery, str, dict[str, Any], int | UpstreamFailure, bool]] = {
    # name: asked, how the subject is known, what is proven, what the upstream does -> taken for absent
    "its subject is kept": (REFERRERS, "kept", {}, 503, True),
    "it is not reached": (REFERRERS, "kept", {}, UNREACHABLE, True),
    "it is limited": (REFERRERS, "kept", {}, 429, True),
    "of one type": (OF_A_TYPE, "kept", {}, 503, True),
    "its subject was listed": (REFERRERS, "listed", {}, 503, True),
    "its subject is made up": (REFERRERS, "", {}, 503, False),
    "its subject was shown to nobody": (REFERRERS, "kept", {"pull_s": None}, 503, False),
    "a page of it": (A_PAGE, "kept", {}, 503, False),
    "it refuses": (REFERRERS, "kept", {}, 403, False),
    "a list of tags": (TAGS, "kept", {}, 503, False),
}


@pytest.mark.parametrize("unknown_are_absent", [True, False])
@pytest.mark.parametrize("case", UNKNOWN)
def test_what_is_not_known_of_what_is_kept_is_taken_for_absent_while_the_upstream_fails_if_so_configured(
    case: str, unknown_are_absent: bool
) -> None:
    query, how, proven, failure, is_absent = UNKNOWN[case]
    stage = Stage(unknown_are_absent=unknown_are_absent)

    async def scene() -> None:
        stage.prove(**proven)
        know_subject(stage, how)
        stage.on(query, answer_of(failure))
        if not (is_absent and unknown_are_absent):
            refused = await stage.refused(query)
            assert refused.status == (failure if isinstance(failure, int) else 503)
            return
        found = await stage.find(query)
        assert found.content.absence is not None
        assert (found.content.absence.status, found.outcome.name, found.outcome.age_s) == (404, "stale", None)
        assert found.outcome.failure is not None
        assert SUBJECT in found.outcome.guess
        assert found.outcome.guess in found.outcome.problem
        assert found.outcome.failure.message in found.outcome.problem
        assert found.outcome.failure.message not in found.outcome.guess, "what an upstream said is in no header"
        assert stage.index.lists == {}, "a guess is not remembered"
        assert dict(stage.log.events)["unknown_referrers"]["problem"] == found.outcome.problem

    play(stage, scene())


# --- what is written down, and once for all --------------------------------------------------------------


def test_a_disk_that_is_full_ends_nothing() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.prove()
        stage.store.is_full = True
        stage.on(TAGS, listed(OLD), listed(OLD))
        for _ in range(2):
            found = await stage.find()
            assert (found.content.body, found.outcome.name) == (OLD, "miss")
        assert [event for event, _ in stage.log.events] == ["store_failed"] * 2
        assert stage.index.lists == {}

    play(stage, scene())


@pytest.mark.parametrize("believes_mirrors", [True, False])
def test_a_mirrors_list_is_kept_where_mirrors_are_believed_and_proves_nothing(believes_mirrors: bool) -> None:
    stage = Stage(believes_mirrors=believes_mirrors)
    target = Target(upstream_of(mirrors=(MIRROR,)), "library/nginx", may_use_mirrors=True)

    async def scene() -> None:
        stage.on(TAGS, answer_of(503))
        stage.upstream.on("GET", f"{MIRROR}/v2/library/nginx/{TAGS.name}", listed(OLD))
        found = await stage.find(target=target)
        assert (found.content.body, found.outcome.name) == (OLD, "miss")
        assert ((NGINX, TAGS.name) in stage.index.lists) is believes_mirrors
        assert stage.index.rights == {}

    play(stage, scene())


def test_many_ask_once_for_each_credential_and_each_has_an_error_of_its_own() -> None:
    stage = Stage()

    async def scene() -> None:
        stage.on(REFERRERS, answer_of(401), answer_of(403))
        asking = [stage.find(REFERRERS, target) for target in (EVERYBODY, EVERYBODY, OF_ALICE)]
        errors = await asyncio.gather(*asking, return_exceptions=True)
        assert [one.status for one in errors if isinstance(one, OciError)] == [401, 401, 403]
        assert len({id(one) for one in errors}) == 3

    play(stage, scene())


@pytest.mark.parametrize("is_kept", [True, False])
def test_who_settles_a_list_otherwise_is_told_the_digest_of_what_is_kept(is_kept: bool) -> None:
    stage = Stage()
    told: list[str] = []

    async def ask(kept_digest: str) -> ListResult:
        told.append(kept_digest)
        return ListResult(ListContent(NEW), Outcome("miss"))

    async def scene() -> None:
        stage.prove()
        if is_kept:
            stage.keep(TAGS, age_s=TTL_S)
        found = await stage.lists.find_or_ask(EVERYBODY, TAGS, ask)
        assert found.content.body == NEW
        assert told == [digest_of(OLD) if is_kept else ""]

    play(stage, scene())
