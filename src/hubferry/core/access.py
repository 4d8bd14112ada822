"""Who may pull what: the grants that hubferry issues as tokens, and whether a grant covers a request.

Pure. An anonymous grant is valid for the repositories that it names on any upstream, because containerd does not send
`ns` when it asks for a token. A grant made with a credential is valid only on the upstream that checked the credential
(docs/design.md, decision 5). Invariant: a grant allows pulling and nothing else, from exactly the repositories that it
names.
"""

import hmac
from dataclasses import dataclass, replace
from typing import Any

from hubferry.core.reference import complete_library, normal_host
from hubferry.core.routing import Route

MAX_LIFETIME_S = 300
MIN_LIFETIME_S = 60  # token specification: clients are told at least 60 s


@dataclass(frozen=True, slots=True)
class Credential:
    """A user name and secret for one upstream. Its `repr` never shows the secret."""

    username: str
    secret: str

    @property
    def size_bytes(self) -> int:
        """Return how much memory its texts take at most, which clients decide: a token may have some kilobytes."""
        return sum(len(text) * (1 if text.isascii() else 4) for text in (self.username, self.secret))

    def __repr__(self) -> str:
        return f"Credential({self.username!r}, ***)"


def credential_bytes(credential: Credential | None) -> int:
    """Return how much memory an entry that is kept for a caller takes for its credential: 0 without one."""
    return 0 if credential is None else credential.size_bytes


class Identities:
    """Gives each credential a name that stands for it without revealing it.

    Equal credentials have equal names. Without the key a name tells nothing else.
    """

    def __init__(self, key: bytes) -> None:
        """`key` must stay secret, because with it weak passwords can be guessed from their names."""
        self._key = key

    def name(self, credential: Credential) -> str:
        """Return the name of a credential: a keyed hash (HMAC-SHA256) of 32 hexadecimal digits."""
        username = credential.username.encode()
        text = len(username).to_bytes(4, "big") + username + credential.secret.encode()
        return hmac.digest(self._key, text, "sha256").hex()[:32]


@dataclass(frozen=True, slots=True)
class UserLogin:
    """That a user of the gateway's own (users.py) showed who it is.

    `proof` names what was shown, without revealing it. The login counts only as long as that is known. `ends_at` is in
    seconds since 1970; None: no end is known. `groups` are those that an issuer puts the user in.
    """

    user: str
    proof: str
    ends_at: float | None = None
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """What the holder of a token may do: pull from some repositories, until the token expires.

    `names` are the repositories as the client wrote them. `service` is the gateway's host name that the token was
    issued for. `expires_at` is in seconds of the wall clock (UNIX time), because another process may read the token
    after a restart. `upstream` is the upstream that checked `credential`; it is empty for an anonymous grant. `login`
    says which user of the gateway's own fetched the token.
    """

    names: tuple[str, ...]
    service: str
    expires_at: float
    upstream: str = ""
    credential: Credential | None = None
    login: UserLogin | None = None

    def allows(self, route: Route, library: bool) -> bool:
        """Return whether the grant allows pulling from the route's repository.

        `library` says whether the route's upstream completes names with `library/`. If so, `nginx` and `library/nginx`
        are the same repository.
        """
        if self.upstream and self.upstream != route.upstream:
            return False
        wanted = _plain(route.named, route.upstream, library)
        return any(_plain(name, route.upstream, library) == wanted for name in self.names)


def claims_of(grant: Grant) -> dict[str, object]:
    """Return the content of the token for a grant, as a JSON object."""
    claims: dict[str, object] = {"aud": grant.service, "exp": grant.expires_at, "names": grant.names}
    if grant.credential:
        claims |= {"upstream": grant.upstream, "user": grant.credential.username, "secret": grant.credential.secret}
    if grant.login:
        claims["login"] = [grant.login.user, grant.login.proof, grant.login.ends_at, grant.login.groups]
    return claims


def grant_of(claims: Any) -> Grant:
    """Return the grant that `claims_of` turned into these claims.

    Raises ValueError, KeyError or TypeError for anything that `claims_of` does not make.
    """
    grant = Grant(tuple(claims["names"]), claims["aud"], float(claims["exp"]))
    if "secret" in claims:
        credential = Credential(claims["user"], claims["secret"])
        grant = replace(grant, upstream=claims["upstream"], credential=credential)
    if "login" in claims:
        user, proof, ends_at, groups = claims["login"]
        grant = replace(grant, login=UserLogin(user, proof, ends_at, tuple(groups)))
    return grant


def _plain(name: str, upstream: str, library: bool) -> str:
    first, slash, rest = name.partition("/")
    if slash and normal_host(first) == upstream:
        name = rest
    return complete_library(name) if library else name


def lifetime_s(stands_for_s: float | None) -> float:
    """Return the lifetime in seconds of a token of ours.

    `stands_for_s` is the remaining lifetime of the upstream token behind it; None: there is none.
    """
    if stands_for_s is None:
        return MAX_LIFETIME_S
    return min(max(stands_for_s, MIN_LIFETIME_S), MAX_LIFETIME_S)
