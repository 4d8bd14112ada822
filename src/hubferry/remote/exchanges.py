"""Drive core.exchange against one base, with one credential or none, to its final response.

Challenges are remembered for each base, so that the token comes before the request the next time. A signed URL that
is refused on its way (403 behind a redirect) is resolved anew, once. Not here: which base
(fetch.py), which credential (base.py).
"""

from dataclasses import dataclass

from hubferry.core.access import Credential
from hubferry.core.challenge import Challenge
from hubferry.core.errors import Code, OciError
from hubferry.core.exchange import Authenticate, Deliver, Exchange, Fail, Send
from hubferry.core.http import Headers
from hubferry.ports.shell import EventLog
from hubferry.ports.upstream import Transport, UpstreamResponse
from hubferry.remote.refusals import refuse_encoded, refused
from hubferry.remote.target import AnsweredBy, Target
from hubferry.remote.tokens import UpstreamTokens

USER_AGENT = "hubferry (+https://opencontainers.org/distribution-spec)"


class AccountRefused(Exception):
    """The gateway's own account was refused, for this repository or altogether; `refusal` says so to a client."""

    def __init__(self, account: Credential, refusal: OciError) -> None:
        super().__init__(refusal.message)
        self.account = account
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Obtained:
    """A final response, the base it came from, and the URL that gave it when that was on another origin."""

    response: UpstreamResponse
    base: str
    direct_url: str = ""
    answered_by: AnsweredBy = "upstream"


class Exchanges:
    """Performs exchanges with bases, and remembers their challenges."""

    def __init__(self, transport: Transport, tokens: UpstreamTokens, log: EventLog) -> None:
        self.transport = transport
        self.tokens = tokens
        self._log = log
        self._challenges: dict[str, Challenge] = {}

    def known(self, base: str) -> Challenge | None:
        """Return the challenge that a base last sent, None when none was seen."""
        return self._challenges.get(base)

    def remember(self, base: str, challenge: Challenge) -> None:
        """Remember the challenge of a base."""
        self._challenges[base] = challenge

    async def run(self, target: Target, base: str, method: str, path: str, headers: Headers) -> Obtained:
        """The final response, whatever its status; its body is open and the caller closes it.

        Raises UpstreamFailure, OciError (502 when it leads somewhere we do not go, what its token service answers),
        AccountRefused.
        """
        exchange = self._exchange(target, base, method, path, headers)
        obtained = await self._run(target, base, exchange)
        if obtained.response.status == 403 and obtained.direct_url:
            # a signed URL that expired on its way, or was refused: the upstream signs another
            await obtained.response.body.close()
            exchange = self._exchange(target, base, method, path, headers)
            obtained = await self._run(target, base, exchange)
        try:
            if obtained.response.status == 401 and target.is_own and target.credential and exchange.sent_basic:
                raise AccountRefused(target.credential, _refused_account(target.upstream.name))
            refuse_encoded(target.upstream.name, obtained.response.headers)
        except BaseException:
            await obtained.response.body.close()
            raise
        return obtained

    async def _run(self, target: Target, base: str, exchange: Exchange) -> Obtained:
        name = target.upstream.name
        step: object = exchange.begin()
        while True:
            if isinstance(step, Authenticate):
                step = await self._authenticate(target, base, exchange, step)
            if not isinstance(step, Send):
                raise AssertionError(f"an exchange cannot continue with {step!r}")
            response = await self.transport.send(name, step)
            step = exchange.received(response.status, response.headers)
            if isinstance(step, Authenticate):
                try:
                    step = await self._authenticate(target, base, exchange, step)
                except BaseException:
                    await response.body.close()
                    raise
            if isinstance(step, Deliver):  # also the 401 itself, when there is nothing to answer its challenge with
                return Obtained(response, base, step.url if exchange.was_redirected else "")
            await response.body.close()
            if isinstance(step, Fail):
                self._log.warning("redirect_refused", {"upstream": name, "problem": step.reason})
                raise refused(name, step.reason)

    def _exchange(self, target: Target, base: str, method: str, path: str, headers: Headers) -> Exchange:
        return Exchange(
            method,
            base + path,
            (*headers, ("user-agent", USER_AGENT)),
            target.upstream.trust,
            known=self._challenges.get(base) if target.repository else None,
        )

    async def _authenticate(self, target: Target, base: str, exchange: Exchange, step: Authenticate) -> object:
        try:
            token = await self.tokens.authorization(target.upstream, step, target.repository, target.credential)
        except OciError as error:
            if error.status == 401 and target.is_own and target.credential and not step.anonymous:
                raise AccountRefused(target.credential, _refused_account(target.upstream.name)) from None
            raise
        if token is None:
            return exchange.authorized(None)
        if step.challenge.scheme == "bearer" and not step.anonymous:
            self._challenges[base] = step.challenge
        return exchange.authorized(token.authorization, fresh=token.is_fresh)


def _refused_account(upstream: str) -> OciError:
    """Return a 401 that does not name the account: anybody may be asking."""
    return OciError(
        401,
        Code.UNAUTHORIZED,
        f"{upstream} does not show this to the gateway's own account: log in with one that may see it",
        detail={"upstream": upstream},
    )
