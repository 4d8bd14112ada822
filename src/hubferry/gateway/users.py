"""Who somebody is at this gateway, with `access.login = "users"`.

Access tokens and client secrets are looked up. Tokens of issuers are checked by their signature. Passwords take
bcrypt's time, so they are checked only where a client logs in: at the token endpoint, and for `docker search`, which
has no tokens; one after the other, so that however many people of one address may log in at once. Wrong ones slow down
their address (attempts.py).
"""

import asyncio
from collections import Counter
from dataclasses import dataclass

from hubferry.core.access import Credential, UserLogin
from hubferry.core.client import address_group
from hubferry.core.errors import Code, OciError
from hubferry.core.fairness import may_begin
from hubferry.core.http import Request
from hubferry.core.issuers import KeysMissing, is_token
from hubferry.core.masking import has_secret
from hubferry.core.users import User, login_by_password, split_password
from hubferry.gateway.attempts import Attempts
from hubferry.ports.shell import Clock, PasswordChecker, TokenChecker, UserSource

# of one worker process: whoever pulls is not to wait for whoever logs in, and a wrong password counts before the next
AT_ONCE = 1
MOST_WAITING = 1000


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A user's login, and the login of an upstream that came with it (None: none did)."""

    login: UserLogin
    credential: Credential | None = None


class Users:
    """Identifies users by what they show."""

    def __init__(
        self, source: UserSource, passwords: PasswordChecker, clock: Clock, tokens: TokenChecker | None = None
    ) -> None:
        """`tokens` None: there are no issuers."""
        self._tokens = tokens
        self._source = source
        self._passwords = passwords
        self._clock = clock
        self._attempts = Attempts(clock)
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting: Counter[str] = Counter()  # by client

    def revision(self) -> int:
        """Return a number that grows whenever a login may have ended."""
        return self._source.revision()

    def user_of(self, login: UserLogin) -> User:
        """Return who logged in. Raises OciError 401 when the login has ended."""
        user = self._source.current().user_of(login, self._clock.time())
        if user is None:
            message = f"the login of {login.user} has ended, or was revoked: log in again"
            raise OciError(401, Code.UNAUTHORIZED, message, detail={"error": "invalid_token"})
        return user

    def client(self, request: Request) -> UserLogin | None:
        """Return the login of a client whose path has a secret, None: it has none. Raises OciError 404 for another."""
        if not request.secret:
            return None
        login = self._source.current().login_by_secret(request.secret, self._clock.time(), is_client=True)
        if login is None:
            raise unknown_secret()
        return login

    def by_token(self, credential: Credential) -> LoggedIn | None:
        """Return the login for an access token that stands in the place of a password; None: it is none that counts."""
        token, other = split_password(credential)
        login = self._source.current().login_by_secret(token, self._clock.time(), is_client=False) if token else None
        return None if login is None else LoggedIn(login, other)

    def is_of_gateway(self, credential: Credential) -> bool:
        """Return whether a credential can only be meant for this gateway, and is shown to nobody else.

        That is one with the name of a user, an access token or client secret (also one that does not count any more),
        or a token of a configured issuer.
        """
        return (
            self._source.current().knows_user(credential.username)
            or has_secret(credential.secret)
            or (self._tokens is not None and self._tokens.is_of_issuer(credential.secret))
        )

    def recognized(self, credential: Credential) -> UserLogin | None:
        """Return the login for what needs no check: an access token, or a password that was right before."""
        found = self.by_token(credential) or self._remembered(credential)
        return None if found is None else found.login

    async def log_in(self, credential: Credential, peer: str) -> LoggedIn:
        """Return the login for a password or an access token.

        Raises OciError: 401 for a wrong one, 503 when too many wait, TooManyAttempts after several wrong ones.
        """
        found = self.by_token(credential)
        if found is not None:
            return found
        if self._tokens is not None and is_token(credential.secret):
            return await self._log_in_by_token(self._tokens, credential.secret)
        remembered = self._remembered(credential)
        if remembered is not None:
            return remembered
        client = address_group(peer)
        if not may_begin(self._waiting[client], self._waiting.total(), MOST_WAITING):
            message = "too many people log in to this gateway at the moment: try again in a few seconds"
            raise OciError(503, Code.UNAVAILABLE, message, headers=(("retry-after", "5"),))
        self._waiting[client] += 1
        try:
            await self._turns.acquire()  # who leaves meanwhile is not checked
        finally:
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client]
        checking = asyncio.create_task(self._check(credential, peer))
        checking.add_done_callback(self._checked)
        return await asyncio.shield(checking)  # who leaves does not end it: its turn is over when bcrypt has ended

    @staticmethod
    async def _log_in_by_token(tokens: TokenChecker, token: str) -> LoggedIn:
        """Nobody can guess a signature, so wrong ones are not counted as wrong passwords are."""
        try:
            login = await tokens.check(token)
        except KeysMissing as error:
            raise OciError(503, Code.UNAVAILABLE, f"{error}: try again", headers=(("retry-after", "10"),)) from None
        if login is None:
            raise OciError(401, Code.UNAUTHORIZED, "the token is not accepted by this gateway: its log says why")
        return LoggedIn(login)

    def _remembered(self, credential: Credential) -> LoggedIn | None:
        """Return the login for a password that was found right before, None: it was not."""
        hashed = self._source.current().hash_of(credential.username)
        if hashed is None or not self._passwords.remembers(credential.secret, hashed):
            return None
        return LoggedIn(login_by_password(credential.username, hashed))

    async def _check(self, credential: Credential, peer: str) -> LoggedIn:
        remembered = self._remembered(credential)  # it may have been found right while this one waited
        if remembered is not None:
            return remembered
        directory = self._source.current()
        hashed = directory.hash_of(credential.username)
        with self._attempts.trying(peer, credential, "") as attempt:
            # a name that nobody has is not told from a wrong password by how long the answer takes
            is_right = await self._passwords.check(credential.secret, hashed or directory.decoy)
            if hashed is None or not is_right:
                raise OciError(
                    401,
                    Code.UNAUTHORIZED,
                    "this gateway knows no user of that name with that password or access token: log in again, or ask "
                    "whoever runs it",
                )
            attempt.was_accepted = True
        return LoggedIn(login_by_password(credential.username, hashed))

    def _checked(self, checking: asyncio.Task[LoggedIn]) -> None:
        self._turns.release()
        if not checking.cancelled():
            checking.exception()  # marks it as retrieved: its client may have left


def unknown_secret() -> OciError:
    """Return the error for a path that begins with a client secret that nobody has."""
    message = "the secret in the URL of this mirror is unknown, has ended or was revoked: ask whoever runs the gateway"
    return OciError(404, Code.NAME_UNKNOWN, message)
