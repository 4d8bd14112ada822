"""Logins with tokens of others: OpenID Connect ID tokens and workload identities (`[[access.issuers]]`).

Pure. A token names its issuer, which is looked up here; its signature is checked elsewhere (server/oidc.py) against the
keys that the issuer publishes. Then its claims decide who it is. A user of an issuer has the issuer's name in front, so
that nobody is taken for a user of the users file: `github:our-company/app`.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hubferry.core.access import UserLogin
from hubferry.core.access_values import Issuer
from hubferry.core.documents import parse_json
from hubferry.core.rules import part_matches

MAX_TOKEN = 8 * 1024  # characters; GitHub's have about 1,500
# HS256 and the like would take the published key for a shared secret, and none is no signature
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LEEWAY_S = 60  # clocks differ
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]+\.(?P<claims>[A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
_USER = re.compile(r"[\x21-\x7e]{1,200}")


class NotAccepted(ValueError):
    """A token is not accepted. The text says why, without any part of the token."""


class KeysMissing(Exception):
    """The keys of an issuer are not known, so that nothing can be said of its tokens."""


@dataclass(frozen=True, slots=True)
class CheckedClaims:
    """The claims of a token whose signature was checked."""

    claims: Mapping[str, Any]


def is_token(text: str) -> bool:
    """Return whether a password has the form of such a token: three parts, the first of which is a JSON object."""
    return len(text) <= MAX_TOKEN and _TOKEN.fullmatch(text) is not None


def issuers_of(token: str, issuers: tuple[Issuer, ...]) -> list[Issuer]:
    """Return the configured issuers that a token says it is from. The token is not checked yet. Raises NotAccepted."""
    match = _TOKEN.fullmatch(token)
    try:
        encoded = "" if match is None else match["claims"]
        claims = parse_json(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
        said = claims["iss"]
    except (ValueError, KeyError, TypeError):
        raise NotAccepted("it has no issuer") from None
    found = [one for one in issuers if one.issuer == said]
    if not found:
        raise NotAccepted("its issuer is none of access.issuers")
    return found


def login_of(issuer: Issuer, checked: CheckedClaims, now: float) -> UserLogin:
    """Return the login for the claims of a token of this issuer. Raises NotAccepted."""
    claims = checked.claims
    if claims.get("iss") != issuer.issuer:
        raise NotAccepted("it is of another issuer")
    audience = claims.get("aud")
    if issuer.audience not in (audience if isinstance(audience, list) else [audience]):
        raise NotAccepted(f"its audience is not {issuer.audience}")
    ends_at = _time(claims, "exp")
    if ends_at is None:
        raise NotAccepted("it has no end")
    if now >= ends_at + LEEWAY_S:
        raise NotAccepted("it has expired")
    for name in ("nbf", "iat"):
        begins_at = _time(claims, name)
        if begins_at is not None and now < begins_at - LEEWAY_S:
            raise NotAccepted("it does not hold yet")
    for name, pattern in issuer.claims:
        said = claims.get(name)
        if not isinstance(said, str) or not part_matches(pattern, said):
            raise NotAccepted(f"its claim {name} is not {pattern}")
    user = claims.get(issuer.user)
    if not isinstance(user, str) or not _USER.fullmatch(user):
        raise NotAccepted(f"its claim {issuer.user} names no user")
    return UserLogin(f"{issuer.name}:{user}", f"issuer {issuer.name}", ends_at + LEEWAY_S, issuer.groups)


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    said = claims.get(name)
    if said is None:
        return None
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 <= said < 2**53:
        raise NotAccepted(f"its claim {name} is no time")
    return float(said)
