"""The use cases as gateway, warming and command line call them: whom each asks, and what goes on beside."""

import asyncio
from typing import Any, cast

import pytest

from hubferry.core.access import Credential
from hubferry.core.errors import OciError
from hubferry.core.manifest import OCI_IMAGE
from hubferry.core.rights import RIGHT_S
from hubferry.ports.index import ManifestInfo
from hubferry.pull.inspect import Inspector
from hubferry.pull.pull import Pull, Sources, decide_target
from hubferry.pull.results import (
    BlobQuery,
    BlobResult,
    BlobSource,
    ListResult,
    ListSource,
    ManifestQuery,
    ManifestResult,
    Outcome,
)
from hubferry.pull.rights import Revision, Rights
from hubferry.pull.warm import Warmer
from hubferry.remote.lists import ListContent, ListQuery, referrers_query
from hubferry.remote.target import Target, Upstream
from tests.gateway.fakes import FakeClock
from tests.pull.fakes import (
    ACCOUNT,
    ALICE,
    EVERYBODY,
    MIRROR,
    NGINX,
    PUBLIC_TTL_S,
    KeptIndex,
    ScriptedManifests,
    refusal,
    rights_over,
    upstream_of,
)

DIGEST = "sha256:" + "a" * 64
MANIFEST = ManifestResult(ManifestInfo(DIGEST, OCI_IMAGE, 2), b"{}", Outcome("hit"))
BLOB = BlobResult(9, Outcome("hit"))
LIST = ListResult(ListContent(b"{}"), Outcome("hit"))
CLIENT = "192.0.2.1"


class Told:
    """Whatever is asked or told, in its order: a source of blobs and of lists, and a `Prefetch`."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []
        self.refusal: OciError | None = None

    async def find(self, target: Target, query: BlobQuery | ListQuery) -> BlobResult | ListResult:
        self.events.append(("find", target, query))
        if self.refusal is not None:
            raise self.refusal
        return BLOB if isinstance(query, BlobQuery) else LIST

    async def manifest_given(self, target: Target, peer: str, digest: str, manifest: bytes) -> None:
        self.events.append(("manifest_given", target, peer, digest, manifest))

    def blob_asked(self, target: Target, peer: str, digest: str) -> None:
        self.events.append(("blob_asked", target, peer, digest))

    async def close(self) -> None:
        self.events.append(("close",))


class Stage:
    def __init__(self, upstream: Upstream | None = None, *, keeps: bool = True, prefetches: bool = True) -> None:
        self.clock, self.index, self.told = FakeClock(), KeptIndex(), Told()
        self.upstream = upstream or upstream_of()
        self.rights: Rights | None = rights_over(self.index, self.clock) if keeps else None
        self.revision = Revision()
        self.manifests = ScriptedManifests(MANIFEST)
        self.pull = Pull(
            {"docker.io": self.upstream},
            Sources(
                self.manifests,
                cast("BlobSource", self.told),
                cast("ListSource", self.told),
                self.revision,
                cast("Inspector", None),
                self.rights,
                cast("Any", self.told) if prefetches else None,
            ),
        )


# --- what is asked, and what goes on beside --------------------------------------------------------------


@pytest.mark.parametrize("prefetches", [True, False])
def test_each_question_goes_where_its_content_is_found(prefetches: bool) -> None:
    async def scene() -> None:
        stage = Stage(prefetches=prefetches)
        manifest, listed = ManifestQuery("1", "a/b"), referrers_query(DIGEST)
        assert await stage.pull.manifest(EVERYBODY, manifest) is MANIFEST
        assert stage.manifests.asked == [manifest]
        assert await stage.pull.list(EVERYBODY, listed) is LIST
        assert stage.told.events == [("find", EVERYBODY, listed)], "which is no sign of a pull"

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("prefetches", "wants_body", "is_sign"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_who_asks_for_a_blob_and_not_only_its_size_may_pull_an_image(
    prefetches: bool, wants_body: bool, is_sign: bool
) -> None:
    async def scene() -> None:
        stage = Stage(prefetches=prefetches)
        query = BlobQuery(DIGEST, wants_body=wants_body, client=CLIENT)
        assert await stage.pull.blob(EVERYBODY, query) is BLOB
        found: tuple[object, ...] = ("find", EVERYBODY, query)
        # before it is found: that may take long, and the rest of the image is fetched meanwhile
        assert stage.told.events == ([("blob_asked", EVERYBODY, CLIENT, DIGEST)] if is_sign else []) + [found]

    asyncio.run(scene())


def test_what_is_refused_is_refused() -> None:
    async def scene() -> None:
        stage, error = Stage(), refusal(404)
        stage.told.refusal = error
        stage.manifests.replies = [error]
        for ask in (
            stage.pull.manifest(EVERYBODY, ManifestQuery("1")),
            stage.pull.blob(EVERYBODY, BlobQuery(DIGEST)),
            stage.pull.list(EVERYBODY, referrers_query(DIGEST)),
        ):
            with pytest.raises(OciError) as caught:
                await ask
            assert caught.value is error

    asyncio.run(scene())


@pytest.mark.parametrize("prefetches", [True, False])
def test_prefetching_is_told_what_a_client_is_given_and_ended_at_the_end(prefetches: bool) -> None:
    async def scene() -> None:
        stage = Stage(prefetches=prefetches)
        await stage.pull.manifest_given(EVERYBODY, DIGEST, b"{}", CLIENT)
        await stage.pull.close()
        told = [("manifest_given", EVERYBODY, CLIENT, DIGEST, b"{}"), ("close",)]
        assert stage.told.events == (told if prefetches else [])

    asyncio.run(scene())


def test_the_revision_is_that_of_what_is_kept() -> None:
    stage = Stage()
    before = stage.pull.revision()
    assert stage.pull.revision() == before
    stage.revision.advance()
    assert stage.pull.revision() != before


def test_only_what_is_kept_can_be_kept_warm() -> None:
    stage = Stage()
    with pytest.raises(ValueError, match="kept"):
        _ = stage.pull.warmer
    warmer = cast("Warmer", object())
    lists, blobs = cast("ListSource", stage.told), cast("BlobSource", stage.told)
    inspector = cast("Inspector", object())
    pull = Pull({}, Sources(stage.manifests, blobs, lists, stage.revision, inspector, warmer=warmer))
    assert (pull.warmer, pull.inspector) == (warmer, inspector)


# --- what is open to everybody ---------------------------------------------------------------------------

OPEN: dict[str, tuple[bool, str | None, float, bool]] = {
    # name: is anything kept, whose right was proven (None: nobody's), how long ago -> whether it is open
    "shown to everybody": (True, "", 0.0, True),
    "shown to everybody long ago": (True, "", PUBLIC_TTL_S, True),
    "shown to a login": (True, "alice", 0.0, False),
    "shown to nobody": (True, None, 0.0, False),
    "nothing is kept": (False, None, 0.0, False),
}


@pytest.mark.parametrize("accounts", [(), (ACCOUNT,)], ids=["anonymous", "an account of its own"])
@pytest.mark.parametrize(("keeps", "whose", "age_s", "is_open"), OPEN.values(), ids=OPEN.keys())
def test_a_repository_is_open_to_all_that_the_upstream_showed_everybody(
    keeps: bool, whose: str | None, age_s: float, is_open: bool, accounts: tuple[Credential, ...]
) -> None:
    stage = Stage(upstream_of(accounts=accounts), keeps=keeps)

    async def scene() -> None:
        if stage.rights is not None and whose is not None:
            who = Target(stage.upstream, NGINX.name, ALICE if whose else stage.upstream.account)
            await stage.rights.prove(who, stage.clock.time() - age_s)
        assert await stage.pull.is_open_to_all("docker.io", NGINX.name) is is_open
        assert not await stage.pull.is_open_to_all("docker.io", "library/redis")

    asyncio.run(scene())


# --- for whom, and who may speak for the upstream --------------------------------------------------------

TARGETS: dict[str, tuple[bool, bool, Credential | None, str | None, bool]] = {
    # name: has it mirrors, is anything kept, whose credential, what is known -> whether mirrors may be asked
    "no mirrors": (False, True, None, None, False),
    "no mirrors, and nothing is kept": (False, False, None, None, False),
    "anybody": (True, True, None, None, True),
    "the gateway's own account": (True, True, ACCOUNT, None, True),
    "a login": (True, True, ALICE, None, False),
    "a login, of what is shown to everybody": (True, True, ALICE, "pull", True),
    "anybody, of what was fetched for a login": (True, True, None, "login", False),
    "anybody, and nothing is kept": (True, False, None, None, True),
    "the gateway's own account, and nothing is kept": (True, False, ACCOUNT, None, True),
    "a login, and nothing is kept": (True, False, ALICE, None, False),
}


@pytest.mark.parametrize("case", TARGETS)
def test_a_target_says_whether_mirrors_may_speak_for_the_upstream(case: str) -> None:
    has_mirrors, keeps, credential, known, may = TARGETS[case]
    stage = Stage(upstream_of(mirrors=(MIRROR,) if has_mirrors else (), accounts=(ACCOUNT,)), keeps=keeps)

    async def scene() -> None:
        if known is not None:
            stage.index.rights[NGINX, known, ""] = stage.clock.time() - RIGHT_S
        expected = Target(stage.upstream, NGINX.name, credential, may)
        assert await decide_target(stage.upstream, NGINX.name, credential, stage.rights) == expected
        assert await stage.pull.target("docker.io", NGINX.name, credential) == expected

    asyncio.run(scene())
