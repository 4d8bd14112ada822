"""One request to an upstream: which base is asked, which other one as well, and when all are asked again.

A base is the upstream's own URL or a mirror's. They are asked in their order (core/health.py: those that are down
last). When one does not answer within `failover_s`, the next is asked as well, and the first answer counts:

    the upstream itself    429 and 5xx are no answers; everything else is
    a mirror               speaks for the upstream only when it has what is asked for (2xx, 416)

When no base has an answer and that may pass (5xx, not reached), all are asked again after a pause. A mirror gets no
credential: it is another origin than the one that the credential was given for. A base that answered 429 is not
asked until its wait is over.
Not here: as whom one base is asked (base.py), the meaning of the final status for what was asked.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from hubferry.core.errors import OciError, relay_error
from hubferry.core.headers import media_type
from hubferry.core.health import Health, claim_order
from hubferry.core.http import Headers, get
from hubferry.core.reference import is_digest
from hubferry.ports.shell import Clock, EventLog
from hubferry.ports.upstream import Cause, UpstreamFailure, UpstreamResponse
from hubferry.remote.base import BaseClient, LoginCheck
from hubferry.remote.exchanges import Exchanges, Obtained
from hubferry.remote.limits import RateLimits
from hubferry.remote.refusals import unreachable
from hubferry.remote.target import Question, Target, Upstream
from hubferry.remote.tokens import limited_as

RETRY_WITHIN_S = 3.0  # a failure that took longer than that is not tried again while a client waits
PASSING = frozenset({Cause.DNS, Cause.TCP, Cause.TLS, Cause.TIMEOUT, Cause.CUT})  # no wrong password at a proxy
PASSING_STATUSES = frozenset({500, 502, 503, 504})
COSTLY = frozenset({Cause.DNS, Cause.TCP, Cause.TLS, Cause.TIMEOUT, Cause.PROXY, Cause.CUT})


@dataclass(frozen=True, slots=True)
class WaitLimits:
    """How long upstreams are waited for, in seconds.

    After `failover_s` the next base is asked as well; for tags after `tag_failover_s`, because the upstream itself is
    to say what they mean. Between two rounds of asking all bases come `pauses_s`. A request for which something is kept
    waits `covered_s` for an upstream, or `probe_s` for one that is down. None: as long as it takes.
    """

    failover_s: float = 1.0
    tag_failover_s: float = 2.0
    pauses_s: tuple[float, ...] = (0.25, 1.0)
    covered_s: float | None = 1.5
    probe_s: float | None = 0.4


@dataclass(frozen=True, slots=True)
class _Tried:
    """What came of one base: an answer, or why there is none. `may_pass`: it may be different in a moment."""

    number: int
    obtained: Obtained | None = None
    error: OciError | None = None
    is_final: bool = False
    may_pass: bool = False

    def final(self) -> Obtained:
        """Return the answer. Raises OciError when there is none."""
        if self.obtained is not None:
            return self.obtained
        raise self.error or AssertionError("no answer and no error")


class Fetcher:
    """Asks upstreams and their mirrors, and returns final responses: authorised, redirects followed."""

    def __init__(
        self,
        exchanges: Exchanges,
        limits: RateLimits,
        *,
        clock: Clock,
        log: EventLog,
        wait_limits: WaitLimits,
    ) -> None:
        self._base = BaseClient(exchanges, limits)
        self._limits = limits
        self._clock = clock
        self._log = log
        self._wait_limits = wait_limits
        self._healths: dict[str, Health] = {}

    async def fetch(self, question: Question) -> UpstreamResponse:
        """The final response, of a status below 500 other than 429; its body is open and the caller closes it.

        Raises OciError: 503 when neither the upstream nor a mirror can be reached, 502 when it leads somewhere we do
        not go, 429 while it limits this, what its 5xx mean.
        """
        return (await self.obtain(question)).response

    async def obtain(self, question: Question) -> Obtained:
        """Return what `fetch` returns, with the base that answered."""
        deadline = self._clock.monotonic() + RETRY_WITHIN_S
        tried = await self._ask_bases(question)
        for pause_s in self._wait_limits.pauses_s:
            if tried.obtained is not None or not tried.may_pass or self._clock.monotonic() > deadline:
                break
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret
            tried = await self._ask_bases(question)
        return tried.final()

    async def repeat(self, upstream: Upstream, url: str, headers: Headers) -> UpstreamResponse | None:
        """Ask a URL again that a redirect led to before. Return None when it does not give the same any more."""
        return await self._base.repeat(upstream, url, headers)

    def quota_left(self, target: Target) -> float:
        """What is left of the upstream's limit for this caller, from 0 to 1; 1 when nothing is known."""
        return self._limits.quota_left(target.upstream.name, target.credential)

    def is_down(self, upstream: Upstream) -> bool:
        """Return whether neither an upstream nor one of its mirrors answered when it was last asked."""
        return all(self._health(base).failures for base in upstream.bases)

    @contextlib.asynccontextmanager
    async def limit_wait(self, target: Target, *, is_covered: bool, slow_s: float | None = None) -> AsyncIterator[None]:
        """Limit how long the block may wait for an upstream.

        Only for a caller whom something kept can answer (`is_covered`). `slow_s` raises the limit. Work that is shared
        goes on after the limit. Raises OciError 503 at the limit; while the upstream is down at once, but for one
        caller in a while, which finds out whether it still is.
        """
        if not is_covered:
            yield
            return
        name = target.upstream.name
        now = self._clock.monotonic()
        healths = [self._health(base) for base in _bases(target)]
        if not any(health.is_free(now) for health in healths):
            raise unreachable(name, UpstreamFailure(Cause.TIMEOUT, name, "a moment ago; it is asked again soon"))
        is_down = all(health.failures for health in healths)
        wait_s = self._wait_limits.probe_s if is_down else self._wait_limits.covered_s
        wait_s = wait_s if slow_s is None or wait_s is None else max(wait_s, slow_s)
        try:
            async with asyncio.timeout(wait_s):
                yield
        except TimeoutError:
            healths[0].failed(self._clock.monotonic())
            detail = f"within {wait_s} s"
            raise unreachable(name, UpstreamFailure(Cause.TIMEOUT, name, detail)) from None

    def distrust(self, upstream: Upstream, base: str) -> bool:
        """A base gave other bytes than a digest promises; whether it is a mirror, which is left out for a while."""
        if base == upstream.bases[0]:
            return False
        self._health(base).distrust(self._clock.monotonic())
        self._log.warning("mirror_distrusted", {"upstream": upstream.name, "mirror": base})
        return True

    async def check_login(self, target: Target) -> LoginCheck:
        """Show a credential to an upstream, and count the upstream as failed if it cannot be reached.

        Raises OciError: 503 then, otherwise what the upstream's status means.
        """
        try:
            return await self._base.check_login(target)
        except UpstreamFailure as error:
            self._failed(target.upstream.bases[0], error)
            raise unreachable(target.upstream.name, error) from error

    async def _ask_bases(self, question: Question) -> _Tried:
        """Return the first answer; without one the upstream's own failure, which says most."""
        bases = _bases(question.target)
        failover_s = self._failover_s(question)
        waiting = claim_order([self._health(base) for base in bases], self._clock.monotonic())
        waiting.sort(key=lambda number: bases[number] == question.ask_last)
        if len(waiting) == 1:
            return await self._try(question, waiting[0])
        now_s = asyncio.get_running_loop().time
        running: dict[asyncio.Task[_Tried], tuple[int, float]] = {}
        failed: list[_Tried] = []
        winner: _Tried | None = None
        try:
            while winner is None and (waiting or running):
                if waiting:
                    number = waiting.pop(0)
                    running[asyncio.create_task(self._try(question, number))] = number, now_s()
                timeout_s = failover_s if waiting else None
                done, _ = await asyncio.wait(running, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
                for task in sorted(done, key=lambda task: running[task]):
                    if winner is None:
                        del running[task]
                        tried = task.result()
                        winner = tried if tried.is_final else None
                        failed.append(tried)
            late_s = now_s() - failover_s
            slow = [number for task, (number, since_s) in running.items() if since_s <= late_s and not task.done()]
            if winner is not None:
                self._lost(question, slow)
        finally:
            await _end(list(running), winner)
        if winner is not None:
            return winner
        own = min(failed, key=lambda tried: tried.number)
        return replace(own, may_pass=any(tried.may_pass for tried in failed))

    async def _try(self, question: Question, number: int) -> _Tried:
        upstream, base = question.target.upstream, question.target.upstream.bases[number]
        name = upstream.name if not number else limited_as(upstream, base)
        try:
            obtained = await self._base.ask(question, number)
        except UpstreamFailure as error:
            self._failed(base, error)
            self._log.warning("upstream_failed", {"upstream": upstream.name, "problem": str(error)})
            return _Tried(number, error=unreachable(upstream.name, error), may_pass=error.cause in PASSING)
        except OciError as error:
            is_final = not number and error.status < 500 and error.status != 429
            if not is_final:
                self._log.warning("upstream_failed", {"upstream": name, "problem": error.message})
            # the token service's answer; what is refused here (a redirect, a realm) has none
            said = error.detail.get("status") if isinstance(error.detail, dict) else None
            return _Tried(number, error=error, is_final=is_final, may_pass=said in PASSING_STATUSES)
        self._health(base).answered()
        status, headers = obtained.response.status, obtained.response.headers
        is_final = _speaks_for(question, obtained) if number else status < 500 and status != 429
        if is_final:
            return _Tried(number, obtained, is_final=True)
        await obtained.response.body.close()
        self._log.warning("upstream_failed", {"upstream": name, "status": status})
        # a 503 that says when to come back is taken at its word
        may_pass = status in PASSING_STATUSES and not (status == 503 and get(headers, "retry-after"))
        return _Tried(number, error=relay_error(status, headers, question.asked), may_pass=may_pass)

    def _health(self, base: str) -> Health:
        return self._healths.setdefault(base, Health())

    def _failed(self, base: str, error: UpstreamFailure) -> None:
        # a token service or CDN that cannot be reached says nothing about the registry
        if error.cause in COSTLY and error.host == urlsplit(base).hostname:
            self._health(base).failed(self._clock.monotonic())

    def _failover_s(self, question: Question) -> float:
        is_fixed = question.kind == "blobs" or is_digest(question.asked.reference)
        return self._wait_limits.failover_s if is_fixed else self._wait_limits.tag_failover_s

    def _lost(self, question: Question, slow: Sequence[int]) -> None:
        """Count bases that did not answer in time, while another did, as failed."""
        for number in slow:
            base = question.target.upstream.bases[number]
            self._health(base).failed(self._clock.monotonic())
            problem = f"it did not answer within {self._failover_s(question)} s, and another did"
            upstream = question.target.upstream
            fields = {"upstream": limited_as(upstream, base) if number else upstream.name, "problem": problem}
            self._log.warning("upstream_failed", fields)


def _bases(target: Target) -> tuple[str, ...]:
    return target.upstream.bases if target.may_use_mirrors else target.upstream.bases[:1]


def _speaks_for(question: Question, obtained: Obtained) -> bool:
    """Whether a mirror's answer may stand for the upstream's: it has what is asked for, as far as its head tells."""
    status, headers = obtained.response.status, obtained.response.headers
    if media_type(get(headers, "content-type")) == "text/html" and status < 300:
        return False  # the page of an accelerator that has gone, a captive portal's
    digest, reference = get(headers, "docker-content-digest"), question.asked.reference
    if digest is not None and is_digest(reference) and digest != reference:
        return False
    return status < 300 or status == 416


async def _end(running: Sequence[asyncio.Task[_Tried]], winner: _Tried | None) -> None:
    """Cancel what is still being asked, and close what was answered meanwhile; the winner's, if this is cancelled."""
    for task in running:
        task.cancel()
    try:
        for result in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(result, _Tried) and result.obtained is not None:
                await result.obtained.response.body.close()
    except asyncio.CancelledError:
        if winner is not None and winner.obtained is not None:
            await winner.obtained.response.body.close()
        raise
