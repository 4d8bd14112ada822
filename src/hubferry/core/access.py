"""Who may pull what: grants that hubferry issues as tokens, and whether one covers a request.

Pure. A grant made anonymously holds for its names on whichever upstream a request means, because containerd does
not say `ns` when it asks for a token; one made with a credential holds on the upstream where the credential was
checked, and nowhere else (docs/design.md, "Tokens"). Invariant: a grant is for pulling, and for exactly the
repositories that it names.
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
    """A user name and secret of one upstream; its representation never shows the secret."""

    username: str
    secret: str

    def __repr__(self) -> str:
        return f"Credential({self.username!r}, ***)"


class Identities:
    """Names of credentials that tell whether two are the same, and nothing else to whoever has not the key."""

    def __init__(self, key: bytes) -> None:
        """`key` is secret: with it weak passwords can be guessed from names."""
        self._key = key

    def name(self, credential: Credential) -> str:
        """The name of a user name and secret: a keyed hash, 32 hexadecimal digits."""
        username = credential.username.encode()
        text = len(username).to_bytes(4, "big") + username + credential.secret.encode()
        return hmac.digest(self._key, text, "sha256").hex()[:32]


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token stands for.

    `names` are repositories as the client wrote them. `upstream` is empty for an anonymous grant. `expires_at` is
    in seconds of the wall clock (UNIX time), because a token may be read by another process after a restart.
    `service` is the host name that it was issued for.
    """

    names: tuple[str, ...]
    service: str
    expires_at: float
    upstream: str = ""
    credential: Credential | None = None

    def covers(self, route: Route, library: bool) -> bool:
        """Whether the grant allows pulling from the route's repository.

        `library` is whether the route's upstream completes `library/`: then `nginx` and `library/nginx` are one.
        """
        if self.upstream and self.upstream != route.upstream:
            return False
        wanted = _plain(route.named, route.upstream, library)
        return any(_plain(name, route.upstream, library) == wanted for name in self.names)


def claims_of(grant: Grant) -> dict[str, object]:
    """What a sealed token says: a JSON object."""
    claims: dict[str, object] = {"aud": grant.service, "exp": grant.expires_at, "names": grant.names}
    if grant.credential:
        claims |= {"upstream": grant.upstream, "user": grant.credential.username, "secret": grant.credential.secret}
    return claims


def grant_of(claims: Any) -> Grant:
    """The grant that `claims_of` made these of. Raises ValueError, KeyError or TypeError for anything else."""
    grant = Grant(tuple(claims["names"]), claims["aud"], float(claims["exp"]))
    if "secret" in claims:
        credential = Credential(claims["user"], claims["secret"])
        grant = replace(grant, upstream=claims["upstream"], credential=credential)
    return grant


def _plain(name: str, upstream: str, library: bool) -> str:
    first, slash, rest = name.partition("/")
    if slash and normal_host(first) == upstream:
        name = rest
    return complete_library(name) if library else name


def lifetime_s(stands_for_s: float | None) -> float:
    """How long a token lives that stands for an upstream token of `stands_for_s` seconds (None: for none)."""
    if stands_for_s is None:
        return MAX_LIFETIME_S
    return min(max(stands_for_s, MIN_LIFETIME_S), MAX_LIFETIME_S)
