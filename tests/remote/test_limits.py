"""429s, accounts and failover: who is asked, who is left alone, and what a client is told."""

import asyncio
from typing import Any

import pytest

from hubferry.core.access import Credential
from hubferry.core.http import Headers
from hubferry.core.quota import Standing
from hubferry.ports.shell import Uncounted
from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.remote.fetch import WaitLimits
from hubferry.remote.limits import RateLimits
from tests.gateway.fakes import (
    BEARER,
    HUB,
    MIRROR,
    REALM,
    FakeClock,
    FakeLog,
    FakeResponse,
    Reply,
    Stage,
    challenged,
    ok,
    play,
    token,
)

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
BLOB = f"/v2/nginx/blobs/{DIGEST}"
PATH = f"/v2/library/nginx/blobs/{DIGEST}"
URL = HUB + PATH
TAG = "/v2/nginx/manifests/1"
TAG_URL = f"{HUB}/v2/library/nginx/manifests/1"
OPEN: dict[str, Any] = {"access": {"login": "open"}}
MIRRORED: dict[str, Any] = {**OPEN, "upstreams": {"docker.io": {"mirrors": [MIRROR]}}}
ALICE, BOB = Credential("alice", "a"), Credential("bob", "b")
DOWN = UpstreamFailure(Cause.TIMEOUT, "registry-1.docker.io", "no response header")


def limited(*lines: tuple[str, str]) -> FakeResponse:
    return FakeResponse(429, lines)


def quota(remaining: int) -> Headers:
    return (("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", f"{remaining};w=21600"))


def test_a_429_is_obeyed_for_everybody_and_says_whose_limit_until_when() -> None:
    stage = Stage(OPEN)

    async def scene() -> None:
        stage.upstream.on("GET", URL, limited(("retry-after", "90"), ("docker-ratelimit-source", "192.0.2.7")))
        first = await stage.ask(BLOB)
        stage.clock.pass_s(30)
        second = await stage.ask(f"/v2/nginx/blobs/{OTHER}")
        for heard, left_s in ((first, "90"), (second, "60")):
            assert (heard.status, heard.code) == (429, "TOOMANYREQUESTS")
            assert heard.header("retry-after") == left_s
            assert heard.header("docker-ratelimit-source") == "192.0.2.7"
            assert "limits the pulls of this gateway's address (its limit, not hubferry's" in heard.message
            assert "has to wait until 2023-11-14T22:14:50Z" in heard.message
        assert OTHER in second.message
        stage.clock.pass_s(61)
        stage.upstream.on("GET", URL, ok(b"x"))
        assert (await stage.ask(BLOB)).data == b"x"

    play(stage, scene())
    assert [event for event, _ in stage.log.events].count("rate_limited") == 1


def test_a_limit_of_manifests_does_not_end_a_pull_whose_manifest_is_here() -> None:
    stage = Stage(OPEN)

    async def scene() -> None:
        stage.upstream.on("GET", TAG_URL, limited())
        assert (await stage.ask(TAG)).status == 429
        assert (await stage.ask(TAG)).status == 429
        stage.upstream.on("GET", URL, ok(b"x"))
        assert (await stage.ask(BLOB)).data == b"x"

    play(stage, scene())


def test_without_retry_after_the_pause_grows() -> None:
    stage = Stage(OPEN)

    async def scene() -> None:
        for expected in ("60", "120", "240", "480", "900", "900"):
            stage.upstream.on("GET", URL, limited())
            assert (await stage.ask(BLOB)).header("retry-after") == expected
            stage.clock.pass_s(float(expected) + 1)
        stage.upstream.on("GET", URL, ok(b"x"), limited())
        assert (await stage.ask(BLOB)).status == 200
        assert (await stage.ask(BLOB)).header("retry-after") == "60"

    play(stage, scene())


def test_the_token_service_has_a_limit_of_its_own() -> None:
    stage = Stage(OPEN)

    async def scene() -> None:
        stage.upstream.on("GET", URL, challenged(BEARER), challenged(BEARER))
        stage.upstream.on("GET", REALM, limited(("retry-after", "40")))
        for _ in range(2):
            heard = await stage.ask(BLOB)
            assert (heard.status, heard.header("retry-after")) == (429, "40")

    play(stage, scene())


def test_a_limit_of_the_upstream_is_none_of_its_mirrors() -> None:
    stage = Stage(MIRRORED)

    async def scene() -> None:
        stage.upstream.on("GET", URL, limited())
        stage.upstream.on("GET", MIRROR + PATH, ok(b"x"), ok(b"y"), limited(("retry-after", "9")))
        assert (await stage.ask(BLOB)).data == b"x"
        assert (await stage.ask(BLOB)).data == b"y"
        heard = await stage.ask(BLOB)
        assert (heard.status, heard.header("retry-after")) == (429, "60"), "the upstream's own, which counts"

    play(stage, scene())


class Gauges(Uncounted):
    """What was told of quotas and accounts."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def quota(self, upstream: str, account: str, limit: int, remaining: int) -> None:
        self.told.append((upstream, account, limit, remaining))

    def account_refused(self, upstream: str, account: str) -> None:
        self.told.append((upstream, account))


def by_account(stage: Stage, answers: dict[str, Reply]) -> None:
    """A token service that gives each account a token of its name, and a registry that answers by it."""

    async def give() -> Reply:
        query = stage.upstream.token_queries()[-1]
        return token("of-" + query.get("account", ["nobody"])[0])

    async def answer() -> Reply:
        authorization = stage.upstream.authorizations(TAG_URL)[-1]
        return answers.get((authorization or "").removeprefix("Bearer of-"), challenged(BEARER))

    for _ in range(4):
        stage.upstream.on_call("GET", REALM, give)
    for _ in range(9):
        stage.upstream.on_call("GET", TAG_URL, answer)


def play_loosely(stage: Stage, scene: Any) -> None:
    """As `play`, without caring how much of the script was used; every body is closed all the same."""
    asyncio.run(scene)
    assert all(response.body.closed for response in stage.upstream.responses)


def used(stage: Stage) -> list[str]:
    said = stage.upstream.authorizations(TAG_URL)
    return [line.removeprefix("Bearer of-") for line in said if line]


def test_the_account_with_most_left_is_used() -> None:
    gauges = Gauges()
    stage = Stage(OPEN, accounts=(ALICE, BOB), metrics=gauges)

    async def scene() -> None:
        by_account(stage, {"alice": FakeResponse(404, quota(40)), "bob": FakeResponse(404, quota(70))})
        for _ in range(3):
            assert (await stage.ask(TAG)).status == 404

    play_loosely(stage, scene())
    assert used(stage) == ["alice", "bob", "bob"], "nothing is known of bob at first"
    assert gauges.told[:2] == [("docker.io", "alice", 100, 40), ("docker.io", "bob", 100, 70)]


def test_an_account_that_is_told_to_wait_gives_way_to_another() -> None:
    stage = Stage(OPEN, accounts=(ALICE, BOB))

    async def scene() -> None:
        answers: dict[str, Reply] = {"alice": limited(("retry-after", "50")), "bob": FakeResponse(404)}
        by_account(stage, answers)
        assert (await stage.ask(TAG)).status == 404
        assert (await stage.ask(TAG)).status == 404
        answers["bob"] = limited(("retry-after", "30"))
        heard = await stage.ask(TAG)
        assert heard.status == 429
        assert (heard.header("retry-after"), "an account of this gateway's" in heard.message) == ("30", True)
        assert "alice" not in heard.message

    play_loosely(stage, scene())
    assert used(stage) == ["alice", "bob", "bob", "bob"]


def test_a_refused_account_is_set_aside_reported_and_tried_again_later() -> None:
    gauges = Gauges()
    stage = Stage(OPEN, accounts=(ALICE, BOB), metrics=gauges)

    async def scene() -> None:
        by_bob = "Bearer of-bob"
        stage.upstream.on("GET", URL, challenged(BEARER))
        stage.upstream.on("GET", f"{HUB}/v2/", challenged(BEARER))
        stage.upstream.on("GET", REALM, FakeResponse(401), FakeResponse(401), token("of-bob"))
        stage.upstream.on("GET", URL, challenged(BEARER), ok(b"x"), ok(b"y"))
        assert (await stage.ask(BLOB)).data == b"x"
        assert stage.upstream.authorizations(URL)[-1] == by_bob
        assert (await stage.ask(BLOB)).data == b"y"
        assert [query["account"] for query in stage.upstream.token_queries()] == [["alice"], ["alice"], ["bob"]]
        stage.clock.pass_s(901)
        stage.upstream.on("GET", REALM, token("of-alice"))
        stage.upstream.on("GET", URL, ok(b"z"))
        assert (await stage.ask(BLOB)).data == b"z"
        assert stage.upstream.authorizations(URL)[-1] == "Bearer of-alice"

    play(stage, scene())
    refused = [fields for event, fields in stage.log.events if event == "account_refused"]
    assert [(fields["upstream"], fields["account"]) for fields in refused] == [("docker.io", "alice")]
    assert gauges.told == [("docker.io", "alice")]
    assert "'a'" not in str(stage.log.events), "no secret in the log"


def test_one_repository_that_an_account_may_not_see_does_not_take_the_account_away() -> None:
    stage = Stage(OPEN, accounts=(ALICE, BOB))

    async def scene() -> None:
        for _ in range(2):
            stage.upstream.on("GET", URL, challenged('Basic realm="x"'), FakeResponse(401))
            stage.upstream.on("GET", f"{HUB}/v2/", challenged('Basic realm="x"'), ok())
            heard = await stage.ask(BLOB)
            assert heard.status == 401
            assert "alice" not in heard.message

    play(stage, scene())
    assert "account_refused" not in str(stage.log.events)


def test_with_every_account_refused_what_is_public_can_still_be_pulled() -> None:
    stage = Stage(OPEN, accounts=(ALICE,))

    async def scene() -> None:
        stage.upstream.on("GET", URL, challenged('Basic realm="x"'), FakeResponse(401), ok(b"x"))
        stage.upstream.on("GET", f"{HUB}/v2/", challenged('Basic realm="x"'), FakeResponse(401))
        assert (await stage.ask(BLOB)).data == b"x"

    play(stage, scene())
    assert stage.upstream.authorizations(URL)[2] is None


def test_a_limit_of_searches_and_lists_is_none_of_pulls() -> None:
    stage = Stage(OPEN)

    async def scene() -> None:
        stage.upstream.on("GET", f"{HUB}/v2/library/nginx/tags/list", limited(("retry-after", "3600")))
        assert (await stage.ask("/v2/nginx/tags/list")).status == 429
        stage.upstream.on("GET", TAG_URL, FakeResponse(404))
        assert (await stage.ask(TAG)).status == 404

    play(stage, scene())


QUICK = WaitLimits(failover_s=0.02, tag_failover_s=0.02, pauses_s=(), covered_s=0.05)


def test_a_silent_upstream_costs_a_moment_once() -> None:
    stage = Stage(MIRRORED, wait_limits=QUICK)
    asked: list[str] = []

    async def never() -> Reply:
        asked.append("upstream")
        await asyncio.Event().wait()
        raise AssertionError

    async def scene() -> None:
        stage.upstream.on_call("GET", URL, never)
        stage.upstream.on("GET", MIRROR + PATH, ok(b"x"), ok(b"y"), ok(b"z"))
        for data in (b"x", b"y", b"z"):
            assert (await stage.ask(BLOB)).data == data
        assert asked == ["upstream"]
        stage.clock.pass_s(2)
        stage.upstream.on("GET", URL, ok(b"again"))
        assert (await stage.ask(BLOB)).data == b"again"

    play(stage, scene())


def test_a_slow_upstream_that_answers_before_the_mirror_counts() -> None:
    stage = Stage(MIRRORED, wait_limits=QUICK)

    async def late() -> Reply:
        await asyncio.sleep(0.06)  # later than the mirror is asked
        return ok(b"the upstream's")

    async def later() -> Reply:
        await asyncio.sleep(5)  # later than the upstream
        raise AssertionError

    async def scene() -> None:
        stage.upstream.on_call("GET", URL, late)
        stage.upstream.on_call("GET", MIRROR + PATH, later)
        assert (await stage.ask(BLOB)).data == b"the upstream's"

    play(stage, scene())


def test_bursts_of_5xx_and_cuts_are_asked_again() -> None:
    stage = Stage(OPEN, wait_limits=WaitLimits(pauses_s=(0.0, 0.0)))

    async def scene() -> None:
        stage.upstream.on("GET", URL, FakeResponse(502), UpstreamFailure(Cause.CUT, "hub"), ok(b"x"))
        assert (await stage.ask(BLOB)).data == b"x"
        stage.upstream.on("GET", URL, FakeResponse(500), FakeResponse(500), FakeResponse(500))
        assert (await stage.ask(BLOB)).status == 502
        stage.upstream.on("GET", URL, FakeResponse(503, (("retry-after", "7"),)))
        heard = await stage.ask(BLOB)
        assert (heard.status, heard.header("retry-after")) == (503, "7"), "taken at its word"

    play(stage, scene())


@pytest.mark.parametrize("status", [401, 403, 404, 416, 501])
def test_what_will_not_pass_is_not_asked_again(status: int) -> None:
    stage = Stage(OPEN, wait_limits=WaitLimits(pauses_s=(0.0, 0.0)))

    async def scene() -> None:
        stage.upstream.on("GET", URL, FakeResponse(status))
        assert (await stage.ask(BLOB)).status in (status, 502)

    play(stage, scene())


def test_what_is_known_of_limits_is_told_to_operators() -> None:
    clock = FakeClock()
    limits = RateLimits(clock, FakeLog(), Uncounted(), {"docker.io": (ALICE,)})
    assert limits.standings("docker.io") == []
    limits.heard("docker.io", ALICE, "manifests", 200, quota(76))
    limits.heard("docker.io", BOB, "manifests", 200, quota(5))  # a client's own login is nobody else's business
    clock.pass_s(1600)
    limits.heard("docker.io", None, "blobs", 429, (("retry-after", "90"),))
    clock.pass_s(30)
    assert limits.standings("docker.io") == [
        Standing("alice", 100, 76, 21600 - 1630, ()),
        Standing("anonymous", None, None, 0.0, (("blobs", 60.0),)),
    ]
    clock.pass_s(30_000)
    assert limits.standings("docker.io") == []
