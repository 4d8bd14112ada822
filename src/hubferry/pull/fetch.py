"""One request to an upstream: which base and which account, whom to ask as well, when to ask again.

A base is the upstream's own URL or a mirror's. They are asked in their order (core/health.py: those that are down
last); who does not answer within `failover_s` gets company, and who answers first counts:

    the upstream itself    429 and 5xx are no answers while there are mirrors; everything else is
    a mirror               speaks for the upstream only when it has what is asked for (2xx, 416)

When nobody has an answer and that may pass (5xx, not reached), all are asked again after a pause. A mirror gets no
credential: it is another origin than the one that the credential was given for. What is limited is not asked
(limits.py); of several accounts of the gateway's own the one with most left is used.
Not here: the steps of one exchange (exchanges.py), the meaning of the final status for what was asked.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from hubferry.core.access import MIN_LIFETIME_S
from hubferry.core.errors import Asked, Code, OciError, relay_error
from hubferry.core.exchange import Authenticate, Exchange, Fail, Send
from hubferry.core.health import Health, decide_order
from hubferry.core.http import Headers, get
from hubferry.ports import Cause, Clock, EventLog, UpstreamFailure, UpstreamResponse
from hubferry.pull.exchanges import USER_AGENT, AccountRefused, Exchanges, Obtained, refused
from hubferry.pull.limits import Kind, Limits
from hubferry.pull.target import Origin, Target
from hubferry.pull.upstream_tokens import limited_as

RETRY_WITHIN_S = 3.0  # a failure that took longer than that is not tried again while a client waits
PASSING = frozenset({Cause.DNS, Cause.TCP, Cause.TLS, Cause.TIMEOUT, Cause.CUT})  # no wrong password at a proxy
PASSING_STATUSES = frozenset({500, 502, 503, 504})
COSTLY = frozenset({Cause.DNS, Cause.TCP, Cause.TLS, Cause.TIMEOUT, Cause.PROXY, Cause.CUT})


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: when to ask the next base as well, when to ask all again, how long to wait with something kept.

    `probe_s` is the latter for whoever finds out whether an upstream that is down still is.
    """

    failover_s: float = 1.5
    pauses_s: tuple[float, ...] = (0.25, 1.0)
    covered_s: float = 1.5
    probe_s: float = 0.4


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether an upstream took a credential, and how long that may be relied on (None: it does not say)."""

    accepted: bool
    lifetime_s: float | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, of whom, and what it is called in messages; `path` is appended to the base URL."""

    target: Target
    asked: Asked
    method: str
    path: str
    headers: Headers
    kind: Kind = "manifests"


@dataclass(frozen=True, slots=True)
class _Tried:
    """What came of one base: an answer, or why there is none. `may_pass`: it may be different in a moment."""

    number: int
    obtained: Obtained | None = None
    error: OciError | None = None
    is_final: bool = False
    may_pass: bool = False


class Fetcher:
    """Requests to upstreams, authorised and followed to their end."""

    def __init__(
        self,
        exchanges: Exchanges,
        limits: Limits,
        *,
        clock: Clock,
        log: EventLog,
        patience: Patience,
    ) -> None:
        self._exchanges = exchanges
        self._limits = limits
        self._clock = clock
        self._log = log
        self._patience = patience
        self._healths: dict[str, Health] = {}

    async def fetch(self, question: Question) -> UpstreamResponse:
        """The final response, of a status below 500 other than 429; its body is open and the caller closes it.

        Raises OciError: 503 when neither the upstream nor a mirror can be reached, 502 when it leads somewhere we do
        not go, 429 while it limits this, what its 5xx mean.
        """
        return (await self.obtain(question)).response

    async def obtain(self, question: Question) -> Obtained:
        """As `fetch`, and where the answer came from."""
        deadline = self._clock.monotonic() + RETRY_WITHIN_S
        for pause_s in (*self._patience.pauses_s, None):
            tried = await self._ask_bases(question)
            if tried.obtained is not None:
                return tried.obtained
            if tried.error is None:
                raise AssertionError("no answer and no error")
            if pause_s is None or not tried.may_pass or self._clock.monotonic() > deadline:
                raise tried.error
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret
        raise AssertionError("the last pause is none")

    async def repeat(self, origin: Origin, url: str, headers: Headers) -> UpstreamResponse | None:
        """The same again, from where an answer was found before (`Obtained.direct_url`); None: it is not there."""
        try:
            response = await self._exchanges.upstream.send(
                origin.name, Send("GET", url, (*headers, ("user-agent", USER_AGENT)))
            )
        except UpstreamFailure:
            return None  # its host may be the trouble, and the upstream may know another
        if response.status in (200, 206) and get(response.headers, "content-encoding") in (None, "identity"):
            return response
        await response.body.close()
        return None

    def share(self, target: Target) -> float:
        """What is left of the upstream's limit for this caller, from 0 to 1; 1 when nothing is known."""
        credentials = target.origin.accounts if target.is_own else (target.credential,)
        return self._limits.share(target.origin.name, credentials)

    @contextlib.asynccontextmanager
    async def patience(self, target: Target, *, is_covered: bool) -> AsyncIterator[None]:
        """Bound what an upstream is asked for, for whoever has something else to answer with.

        Work that is shared goes on without them. Raises OciError 503: at once while the upstream is down, but for
        one of them in a while, who finds out whether it still is.
        """
        if not is_covered:
            yield
            return
        name, bases = target.origin.name, target.origin.bases
        now = self._clock.monotonic()
        healths = [self._health(base) for base in bases]
        patience_s = self._patience.probe_s if all(health.failures for health in healths) else self._patience.covered_s
        if not any(health.may_try(now) for health in healths):
            raise unreachable(name, UpstreamFailure(Cause.TIMEOUT, name, "a moment ago; it is asked again soon"))
        try:
            async with asyncio.timeout(patience_s):
                yield
        except TimeoutError:
            for health in healths:
                health.failed(self._clock.monotonic())
            detail = f"within {patience_s} s"
            raise unreachable(name, UpstreamFailure(Cause.TIMEOUT, name, detail)) from None

    def distrust(self, origin: Origin, base: str) -> bool:
        """A base gave other bytes than a digest promises; whether it is a mirror, which is left out for a while."""
        if base == origin.bases[0]:
            return False
        self._health(base).distrust(self._clock.monotonic())
        self._log.warning("mirror_distrusted", {"upstream": origin.name, "mirror": base})
        return True

    async def prove(self, target: Target) -> Proof:
        """Show a credential to an upstream, as far as it asks for one.

        A token made with it is proof enough: whether it opens a repository shows when that is pulled.
        Raises OciError as `fetch` does, and what a refusal other than 401 means.
        """
        origin = target.origin
        base = origin.bases[0]
        # where the challenge is known, a kept token is proof without asking; a login that names no repository asks
        known = self._exchanges.known(base) if target.repository else None
        exchange = Exchange("GET", f"{base}/v2/", (("user-agent", USER_AGENT),), origin.trust, known=known)
        step: object = exchange.begin()
        status, shown, asked = 0, False, False
        headers: Headers = ()
        try:
            while isinstance(step, Send | Authenticate):
                if isinstance(step, Send):
                    response = await self._exchanges.upstream.send(origin.name, step)
                    await response.body.close()
                    status, headers = response.status, response.headers
                    step = exchange.received(status, headers)
                    continue
                asked = True
                token = await self._exchanges.tokens.authorization(
                    origin, step, target.repository, target.credential, min_remaining_s=MIN_LIFETIME_S
                )
                shown = shown or not step.anonymous
                if token and token.lifetime_s is not None and not step.anonymous:
                    self._exchanges.remember(base, step.challenge)
                    return Proof(accepted=True, lifetime_s=token.lifetime_s)
                step = exchange.authorized(token.authorization if token else None)
        except UpstreamFailure as error:
            self._failed(base, error)
            raise unreachable(origin.name, error) from error
        if isinstance(step, Fail):
            raise refused(origin.name, step.reason)
        if status >= 300 and status != 401:
            raise relay_error(status, headers, Asked(origin.name, "its login", ""))
        # an upstream that asks nobody takes everybody; one that asked elsewhere has not seen this credential
        return Proof(accepted=status < 300 and shown == asked)

    async def _ask_bases(self, question: Question) -> _Tried:
        """The first answer, or the most telling failure: the upstream's own."""
        bases = question.target.origin.bases
        if len(bases) == 1:
            return await self._try(question, 0)
        waiting = decide_order([self._health(base) for base in bases], self._clock.monotonic())
        running: dict[asyncio.Task[_Tried], int] = {}
        failed: list[_Tried] = []
        try:
            while waiting or running:
                if waiting:
                    number = waiting.pop(0)
                    running[asyncio.create_task(self._try(question, number))] = number
                timeout_s = self._patience.failover_s if waiting else None
                done, _ = await asyncio.wait(running, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
                for task in sorted(done, key=lambda task: running[task]):
                    tried = task.result()
                    if tried.is_final:
                        del running[task]
                        self._lost(question, list(running.values()), bases[tried.number])
                        return tried
                    del running[task]
                    failed.append(tried)
        finally:
            await _end(list(running))
        own = min(failed, key=lambda tried: tried.number)
        return replace(own, may_pass=any(tried.may_pass for tried in failed))

    async def _try(self, question: Question, number: int) -> _Tried:
        origin, base = question.target.origin, question.target.origin.bases[number]
        name = origin.name if not number else base
        try:
            obtained = await (self._of_upstream(question) if not number else self._of_mirror(question, base))
        except UpstreamFailure as error:
            self._failed(base, error)
            self._log.warning("upstream_failed", {"upstream": origin.name, "problem": str(error)})
            return _Tried(number, error=unreachable(origin.name, error), may_pass=error.cause in PASSING)
        except OciError as error:
            is_final = not number and error.status < 500 and error.status != 429
            if not is_final:
                self._log.warning("upstream_failed", {"upstream": name, "problem": error.message})
            # the token service's answer; what is refused here (a redirect, a realm) has none
            said = error.detail.get("status") if isinstance(error.detail, dict) else None
            return _Tried(number, error=error, is_final=is_final, may_pass=said in PASSING_STATUSES)
        self._health(base).answered()
        status, headers = obtained.response.status, obtained.response.headers
        is_final = status < 400 or status == 416 if number else status < 500
        if is_final:
            return _Tried(number, obtained, is_final=True)
        await obtained.response.body.close()
        self._log.warning("upstream_failed", {"upstream": name, "status": status})
        # a 503 that says when to come back is taken at its word
        may_pass = status in PASSING_STATUSES and not (status == 503 and get(headers, "retry-after"))
        return _Tried(number, error=relay_error(status, headers, question.asked), may_pass=may_pass)

    async def _of_upstream(self, question: Question) -> Obtained:
        """From the upstream itself, with one of the gateway's accounts after the other if it is they who question."""
        origin = question.target.origin
        for _ in range(len(origin.accounts) + 2):  # each time one of them is set aside or told to wait
            credential = (
                self._limits.choose(origin.name, question.kind)
                if question.target.is_own
                else question.target.credential
            )
            self._limits.check(question.asked, credential, question.kind)
            asker = replace(question.target, credential=credential)
            try:
                obtained = await self._exchanges.run(
                    asker, origin.bases[0], question.method, question.path, question.headers
                )
            except AccountRefused as error:
                if credential is None:
                    raise error.refusal from None
                self._limits.set_aside(origin.name, credential)
                continue
            except OciError as error:
                # the token service's limit; there is an account that it does not limit, or there is none
                if error.status == 429 and question.target.is_own and self._limits.has_free(origin.name, question.kind):
                    continue
                raise
            status, headers = obtained.response.status, obtained.response.headers
            self._limits.heard(origin.name, credential, question.kind, status, headers)
            if status != 429:
                return obtained
            await obtained.response.body.close()  # and around again: another account, or `check` says what was heard
        raise relay_error(429, (), question.asked)

    async def _of_mirror(self, question: Question, base: str) -> Obtained:
        asked = replace(question.asked, upstream=limited_as(question.target.origin, base))
        self._limits.check(asked, None, question.kind)
        asker = replace(question.target, credential=None)
        obtained = await self._exchanges.run(asker, base, question.method, question.path, question.headers)
        self._limits.heard(asked.upstream, None, question.kind, obtained.response.status, obtained.response.headers)
        return obtained

    def _health(self, base: str) -> Health:
        return self._healths.setdefault(base, Health())

    def _failed(self, base: str, error: UpstreamFailure) -> None:
        if error.cause in COSTLY:
            self._health(base).failed(self._clock.monotonic())

    def _lost(self, question: Question, slow: Sequence[int], winner: str) -> None:
        """These had longer, and another answered before them."""
        for number in slow:
            base = question.target.origin.bases[number]
            self._health(base).failed(self._clock.monotonic())
            problem = f"it did not answer within {self._patience.failover_s} s, and {winner} did"
            fields = {"upstream": question.target.origin.name if not number else base, "problem": problem}
            self._log.warning("upstream_failed", fields)


async def _end(running: Sequence[asyncio.Task[_Tried]]) -> None:
    """Cancel what is still being asked, and close what was answered meanwhile."""
    for task in running:
        task.cancel()
    for result in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(result, _Tried) and result.obtained is not None:
            await result.obtained.response.body.close()


def unreachable(upstream: str, failure: UpstreamFailure) -> OciError:
    """The 503 for an upstream that cannot be reached: which, and why; the 502 for one that gave wrong bytes."""
    detail: dict[str, object] = {"upstream": upstream, "cause": failure.cause.name.lower()}
    if failure.cause is Cause.WRONG:
        return OciError(
            502,
            Code.UNKNOWN,
            f"{upstream} gave something that cannot be delivered: {failure.detail}; "
            "try again: if it stays, something between gateway and upstream alters content",
            detail=detail,
        )
    advice = "check the gateway's network, or set a mirror or, on a server, a proxy for this upstream"
    if failure.cause is Cause.PROXY:
        advice = "check the proxy that is set for this upstream, with its user name and password"
    return OciError(
        503,
        Code.UNAVAILABLE,
        f"{upstream} cannot be reached from this gateway: {failure}; {advice}",
        detail=detail,
        headers=(("retry-after", "5"),),
    )
