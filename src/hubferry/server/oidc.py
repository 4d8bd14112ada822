"""The `TokenChecker` port: signatures by the library joserfc, keys as the issuers publish them.

Keys are fetched when they are first needed and kept for KEYS_S. A token with a key that is not among them has them
fetched again, at most every AGAIN_S, because issuers change their keys. While an issuer cannot be reached, its last
keys hold for STALE_S.
"""

import asyncio
import time
from dataclasses import dataclass, field

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from hubferry.core.access import UserLogin
from hubferry.core.access_values import Issuer, Issuers
from hubferry.core.documents import parse_json
from hubferry.core.exchange import Send
from hubferry.core.issuers import ALGORITHMS, CheckedClaims, NotAccepted, issuers_of, login_of
from hubferry.core.no_proxy import NoProxy
from hubferry.core.settings import UpstreamSettings
from hubferry.ports.shell import Clock
from hubferry.ports.upstream import TooLarge, UpstreamFailure
from hubferry.server.log import logger
from hubferry.transport.client import SocketTransport

KEYS_S = 3600.0
STALE_S = 86400.0
AGAIN_S = 60.0
TELL_S = 10.0
MAX_BYTES = 256 * 1024
MAX_KEYS = 100
DISCOVERY = "/.well-known/openid-configuration"


@dataclass
class _Keys:
    """The keys of one issuer, when they were fetched, and when they were last asked for; monotonic seconds."""

    found: KeySet | None = None
    fetched_at_s: float = float("-inf")
    asked_at_s: float = float("-inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class OidcTokens:
    """Checks tokens of the configured issuers."""

    def __init__(self, issuers: Issuers, clock: Clock, no_proxy: NoProxy) -> None:
        self._issuers = issuers.rows
        self._clock = clock
        places = {
            one.name: UpstreamSettings(
                url=one.issuer, ca_file=one.ca_file, allow_private_addresses=one.allow_private_addresses
            )
            for one in issuers.rows
        }
        self._transport = SocketTransport(places, clock, no_proxy=no_proxy)
        self._keys = {one.name: _Keys() for one in issuers.rows}
        self._told_at_s = float("-inf")

    async def check(self, token: str) -> UserLogin | None:
        problems = []
        try:
            for issuer in issuers_of(token, self._issuers):
                try:
                    return login_of(issuer, await self._verify(token, issuer), self._clock.time())
                except NotAccepted as error:
                    problems.append(f"{issuer.name}: {error}")
        except NotAccepted as error:
            problems.append(str(error))
        if time.monotonic() - self._told_at_s >= TELL_S:  # anybody can send any number of them
            self._told_at_s = time.monotonic()
            logger().warning("token_refused", problem="; ".join(problems))
        return None

    async def close(self) -> None:
        """Close idle connections."""
        await self._transport.close()

    async def _verify(self, token: str, issuer: Issuer) -> CheckedClaims:
        """Check the signature of a token. Raises NotAccepted."""
        keys = await self._keys_of(issuer, may_be_old=True)
        try:
            return _decode(token, keys)
        except _UnknownKey:
            keys = await self._keys_of(issuer, may_be_old=False)
        try:
            return _decode(token, keys)
        except _UnknownKey:
            raise NotAccepted("its key is none of the issuer's") from None

    async def _keys_of(self, issuer: Issuer, *, may_be_old: bool) -> KeySet:
        """Return the keys of an issuer; unless they `may_be_old` they are fetched again. Raises NotAccepted."""
        keys = self._keys[issuer.name]
        async with keys.lock:
            now_s = self._clock.monotonic()
            is_fresh = keys.found is not None and now_s < keys.fetched_at_s + KEYS_S
            if (not is_fresh or not may_be_old) and now_s >= keys.asked_at_s + AGAIN_S:
                keys.asked_at_s = now_s
                try:
                    keys.found, keys.fetched_at_s = await self._fetch(issuer), now_s
                except (UpstreamFailure, TooLarge, ValueError, KeyError, TypeError, JoseError) as error:
                    logger().warning("issuer_failed", issuer=issuer.name, problem=str(error) or repr(error))
            if keys.found is None or now_s >= keys.fetched_at_s + STALE_S:
                raise NotAccepted("the keys of the issuer cannot be fetched")
            return keys.found

    async def _fetch(self, issuer: Issuer) -> KeySet:
        url = issuer.jwks_url
        if not url:
            found = await self._read(issuer, issuer.issuer.rstrip("/") + DISCOVERY)
            if found["issuer"] != issuer.issuer:
                raise ValueError("its discovery document is of another issuer")
            named = found["jwks_uri"]
            if not isinstance(named, str) or not (named.startswith("https://") or issuer.allow_private_addresses):
                raise ValueError("its jwks_uri is not https")
            url = named
        found = await self._read(issuer, url)
        if not isinstance(found["keys"], list) or len(found["keys"]) > MAX_KEYS:
            raise ValueError(f"its keys are no list of at most {MAX_KEYS}")
        return KeySet.import_key_set({"keys": [key for key in found["keys"] if _is_public(key)]})

    async def _read(self, issuer: Issuer, url: str) -> dict[str, object]:
        response = await self._transport.send(issuer.name, Send("GET", url, (("accept", "application/json"),)))
        body = await self._transport.read(response, MAX_BYTES)
        found = parse_json(body) if response.status == 200 else None
        if not isinstance(found, dict):
            raise ValueError(f"{url} was answered {response.status}, and not with a JSON object")
        return found


class _UnknownKey(Exception):
    """None of the keys is that of a token."""


def _is_public(key: object) -> bool:
    """Return whether a key is one of a public pair: a shared secret would let anybody who reads it make tokens."""
    return isinstance(key, dict) and key.get("kty") in ("RSA", "EC", "OKP") and key.get("use", "sig") == "sig"


def _decode(token: str, keys: KeySet) -> CheckedClaims:
    """Check a token's signature. Raises _UnknownKey, NotAccepted."""
    try:
        return CheckedClaims(jwt.decode(token, keys, algorithms=ALGORITHMS).claims)
    except JoseError as error:
        if error.error == "invalid_key_id":
            raise _UnknownKey from None
        raise NotAccepted(f"its signature or its header is wrong ({error.error})") from None
    except (ValueError, KeyError, TypeError):
        raise NotAccepted("it cannot be read") from None
