"""Ask one base of an upstream: as whom, and what its limits say of that.

The upstream itself is asked with the caller's credential; when that is the gateway's own account, with whichever of its
accounts has most left, one after the other while they are limited or refused. A mirror is asked without any.
Not here: which base (fetch.py), the steps of one exchange (exchanges.py).
"""

from dataclasses import dataclass, replace

from hubferry.core.access import MIN_LIFETIME_S, Credential
from hubferry.core.errors import Asked, OciError, relay_error
from hubferry.core.exchange import Authenticate, Exchange, Fail, Send
from hubferry.core.http import Headers, get
from hubferry.ports.upstream import UpstreamFailure, UpstreamResponse
from hubferry.remote.exchanges import USER_AGENT, AccountRefused, Exchanges, Obtained
from hubferry.remote.limits import RateLimits
from hubferry.remote.refusals import refused
from hubferry.remote.target import Question, Target, Upstream
from hubferry.remote.tokens import limited_as


@dataclass(frozen=True, slots=True)
class LoginCheck:
    """Whether an upstream took a credential, and how long that may be relied on (None: it does not say).

    `was_asked` is false where it asked for none, so that it would have taken any.
    """

    accepted: bool
    lifetime_s: float | None = None
    was_asked: bool = True


class BaseClient:
    """Asks one base at a time, with the right credential and within its limits."""

    def __init__(self, exchanges: Exchanges, limits: RateLimits) -> None:
        self._exchanges = exchanges
        self._limits = limits

    async def ask(self, question: Question, number: int) -> Obtained:
        """The final response of the upstream (0) or of a mirror; a 429 only of the host that it redirects to.

        Raises UpstreamFailure, OciError: also 429 while it limits this.
        """
        return await (self._ask_mirror(question, number) if number else self._ask_upstream(question))

    async def _ask_upstream(self, question: Question) -> Obtained:
        target, kind = question.target, question.kind
        name, base = target.upstream.name, target.upstream.bases[0]
        for _ in range(len(target.upstream.accounts) + 2):  # each time one of them is set aside or told to wait
            credential = self._limits.choose(name, kind) if target.is_own else target.credential
            self._limits.check(question.asked, credential, kind)
            asker = replace(target, credential=credential)
            try:
                obtained = await self._exchanges.run(asker, base, question.method, question.path, question.headers)
            except AccountRefused as error:
                # by this repository, or altogether?
                if not await self._is_refused(asker):
                    raise error.refusal from None
                self._limits.set_aside(name, error.account)
                continue
            except OciError as error:
                # the token service's limit; there is an account that it does not limit, or there is none
                if error.status == 429 and target.is_own and self._limits.has_free(name, kind):
                    continue
                raise
            if self._heard(question, name, credential, obtained) != 429 or obtained.direct_url:
                return obtained
            await obtained.response.body.close()  # and around again: another account, or `check` says what was heard
        raise relay_error(429, (), question.asked)

    async def _ask_mirror(self, question: Question, number: int) -> Obtained:
        upstream = question.target.upstream
        base = upstream.bases[number]
        name = limited_as(upstream, base)
        self._limits.check(replace(question.asked, upstream=name), None, question.kind)
        asker = replace(question.target, credential=None)
        obtained = await self._exchanges.run(asker, base, question.method, question.path, question.headers)
        if self._heard(question, name, None, obtained) == 429 and not obtained.direct_url:
            await obtained.response.body.close()
            self._limits.check(replace(question.asked, upstream=name), None, question.kind)
        return replace(obtained, answered_by="mirror")

    def _heard(self, question: Question, name: str, credential: Credential | None, obtained: Obtained) -> int:
        status, headers = obtained.response.status, obtained.response.headers
        if not obtained.direct_url:  # a CDN's limits are not the registry's
            self._limits.heard(name, credential, question.kind, status, headers)
        return status

    async def _is_refused(self, asker: Target) -> bool:
        try:
            return not (await self.check_login(replace(asker, repository=""))).accepted
        except OciError as error:
            return error.status == 401

    async def repeat(self, upstream: Upstream, url: str, headers: Headers) -> UpstreamResponse | None:
        """The same again, from where an answer was found before (`Obtained.direct_url`); None: it is not there."""
        try:
            request = Send("GET", url, (*headers, ("user-agent", USER_AGENT)))
            response = await self._exchanges.transport.send(upstream.name, request)
        except UpstreamFailure:
            return None  # its host may be the trouble, and the upstream may know another
        if response.status in (200, 206) and get(response.headers, "content-encoding") in (None, "identity"):
            return response
        await response.body.close()
        return None

    async def check_login(self, target: Target) -> LoginCheck:
        """Show a credential to an upstream, as far as it asks for one.

        A token made with it is proof enough: whether it opens a repository shows when that is pulled.
        Raises UpstreamFailure, OciError: what a refusal other than 401 means, 502 when it leads somewhere we do not go.
        """
        upstream = target.upstream
        base = upstream.bases[0]
        # where the challenge is known, a kept token is proof without asking; a login that names no repository asks
        known = self._exchanges.known(base) if target.repository else None
        exchange = Exchange("GET", f"{base}/v2/", (("user-agent", USER_AGENT),), upstream.trust, known=known)
        step: object = exchange.begin()
        status, shown, asked = 0, False, False
        headers: Headers = ()
        while isinstance(step, Send | Authenticate):
            if isinstance(step, Send):
                response = await self._exchanges.transport.send(upstream.name, step)
                await response.body.close()
                status, headers = response.status, response.headers
                step = exchange.received(status, headers)
                continue
            asked = True
            token = await self._exchanges.tokens.authorization(
                upstream, step, target.repository, target.credential, min_remaining_s=MIN_LIFETIME_S
            )
            shown = shown or not step.anonymous
            if token and token.lifetime_s is not None and not step.anonymous:
                self._exchanges.remember(base, step.challenge)
                return LoginCheck(accepted=True, lifetime_s=token.lifetime_s)
            step = exchange.authorized(token.authorization if token else None)
        if isinstance(step, Fail):
            raise refused(upstream.name, step.reason)
        if status >= 300 and status != 401:
            raise relay_error(status, headers, Asked(upstream.name, "its login", ""))
        # an upstream that asks nobody takes everybody; one that asked elsewhere has not seen this credential
        return LoginCheck(accepted=status < 300 and shown == asked, was_asked=asked)
