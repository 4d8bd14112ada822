"""The parts of `remote` below one use case, over the scripted upstream of the gateway's tests.

`Remote.play` runs a scene, and wants every body closed exactly once, every expected request to have come and no task to
be left.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from hubferry.core.access import Credential
from hubferry.core.errors import OciError
from hubferry.core.http import Headers, get
from hubferry.core.redirect import Trust
from hubferry.core.settings import UpstreamSettings
from hubferry.ports.shell import Uncounted
from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.remote.base import BaseClient
from hubferry.remote.exchanges import Exchanges
from hubferry.remote.fetch import Fetcher, WaitLimits
from hubferry.remote.limits import RateLimits
from hubferry.remote.single_flight import SharedTasks
from hubferry.remote.target import Target, Upstream
from hubferry.remote.tokens import UpstreamTokens
from tests.gateway.fakes import HUB, ONCE, FakeClock, FakeLog, FakeResponse, Reply, ScriptedUpstream, registrable_domain
from tests.support.waiting import turns

NAME = "docker.io"
REPOSITORY = "library/nginx"
ALICE, BOB = Credential("alice", "a"), Credential("bob", "b")
DOWN = UpstreamFailure(Cause.TCP, "registry-1.docker.io", "refused")
CUT = UpstreamFailure(Cause.CUT, "registry-1.docker.io", "12 bytes are missing")


class CountedWrong(Uncounted):
    """Counts content that was not what its digest promises."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def wrong_content(self, upstream: str) -> None:
        self.wrong.append(upstream)


class Remote:
    """docker.io, asked over a script, with everything that asks it."""

    def __init__(
        self,
        *mirrors: str,
        accounts: tuple[Credential, ...] = (),
        wait_limits: WaitLimits = ONCE,
        search_url: str = "",
    ) -> None:
        self.script = ScriptedUpstream()
        self.clock = FakeClock()
        self.log = FakeLog()
        self.metrics = CountedWrong()
        settings = UpstreamSettings(url=HUB, mirrors=mirrors, search_url=search_url)
        self.upstream = Upstream(NAME, settings, Trust(), accounts)
        self.limits = RateLimits(self.clock, self.log, Uncounted(), {NAME: accounts})
        tokens = UpstreamTokens(
            self.script,
            self.limits,
            self.clock,
            self.log,
            registrable_domain=registrable_domain,
            single_flight=SharedTasks(),
        )
        self.exchanges = Exchanges(self.script, tokens, self.log)
        self.base = BaseClient(self.exchanges, self.limits)
        self.fetcher = Fetcher(self.exchanges, self.limits, clock=self.clock, log=self.log, wait_limits=wait_limits)

    def target(self, credential: Credential | None = None, repository: str = REPOSITORY) -> Target:
        """The repository, on behalf of a credential, at the upstream or any mirror of it."""
        return Target(self.upstream, repository, credential, may_use_mirrors=True)

    def sent_headers(self, number: int = -1) -> Headers:
        """What one request said, without what says who we are."""
        headers = self.script.sent[number].headers
        assert get(headers, "user-agent"), "every request says who asks"
        return tuple((name, value) for name, value in headers if name != "user-agent")

    def closed(self) -> list[int]:
        """How often the body of each answer was closed, in the order of the answers."""
        return [response.body.closed for response in self.script.responses]

    def events(self) -> list[str]:
        return [event for event, _ in self.log.events]

    def play(self, scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def run() -> None:
            await scene()
            await turns(3)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks left behind: {left}"

        asyncio.run(run())
        assert self.script.unused() == [], "expected requests that did not come"
        assert self.closed() == [1] * len(self.script.responses), "times closed, one for each answer"


async def refusal(asking: Awaitable[object]) -> OciError:
    """The error that is raised in place of an answer."""
    with pytest.raises(OciError) as raised:
        await asking
    return raised.value


async def cancelled_at(asking: Coroutine[Any, Any, object], gate: asyncio.Event) -> None:
    """Cancel who asks as soon as the script has come to `gate`."""
    task = asyncio.create_task(asking)
    await gate.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def never(begun: asyncio.Event) -> Callable[[], Awaitable[Reply]]:
    """An answer that does not come; `begun` is set when it is waited for."""

    async def wait() -> Reply:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    return wait


def redirected(location: str) -> FakeResponse:
    return FakeResponse(307, (("location", location),))
