"""The `TokenChecker` port: signatures by the library joserfc, keys as the issuers publish them.

Keys are fetched when they are first needed and kept for KEYS_S. A token with a key that is not among them has them
fetched again, at most every AGAIN_S, because issuers change their keys. While an issuer cannot be reached, its last
keys hold for STALE_S.
"""

import asyncio
from dataclasses import dataclass

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from hubferry.core.access import UserLogin
from hubferry.core.access_values import Issuer, Issuers
from hubferry.core.documents import parse_json
from hubferry.core.exchange import Send
from hubferry.core.issuers import ALGORITHMS, CheckedClaims, KeysMissing, NotAccepted, is_token, issuers_of, login_of
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
    """The keys of one issuer, when they were fetched, and when they were last asked for; monotonic seconds.

    `fetching` is one task for all who wait: who leaves does not end it.
    """

    issuer: Issuer
    found: KeySet | None = None
    fetched_at_s: float = float("-inf")
    asked_at_s: float = float("-inf")
    fetching: asyncio.Task[None] | None = None


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
        self._keys: dict[tuple[object, ...], _Keys] = {}
        for one in issuers.rows:  # several tables of one issuer have the same keys
            self._keys.setdefault(_source_of_keys(one), _Keys(one))
        self._told_at_s: dict[str, float] = {}

    def is_of_issuer(self, token: str) -> bool:
        try:
            return is_token(token) and bool(issuers_of(token, self._issuers))
        except NotAccepted:
            return False

    async def check(self, token: str) -> UserLogin | None:
        try:
            candidates = issuers_of(token, self._issuers)
        except NotAccepted as error:
            self._tell("", str(error))
            return None
        problems = []
        for issuer in candidates:
            try:
                return login_of(issuer, await self._verify(token, issuer), self._clock.time())
            except NotAccepted as error:
                problems.append(f"{issuer.name}: {error}")
        self._tell(candidates[0].name, "; ".join(problems))
        return None

    def _tell(self, issuer: str, problem: str) -> None:
        """Log why a token was refused, for each issuer at most every TELL_S: anybody can send any number of them."""
        now_s = self._clock.monotonic()
        if now_s - self._told_at_s.get(issuer, float("-inf")) >= TELL_S:
            self._told_at_s[issuer] = now_s
            logger().warning("token_refused", problem=problem)

    async def close(self) -> None:
        """Stop fetching keys, and close idle connections."""
        fetching = [keys.fetching for keys in self._keys.values() if keys.fetching is not None]
        for task in fetching:
            task.cancel()
        if fetching:
            await asyncio.wait(fetching)
        await self._transport.close()

    async def _verify(self, token: str, issuer: Issuer) -> CheckedClaims:
        """Check the signature of a token. Raises NotAccepted, KeysMissing."""
        try:
            return _decode(token, await self._keys_of(issuer))
        except _UnknownKey:
            keys = await self._keys_of(issuer, must_be_new=True)
        try:
            return _decode(token, keys)
        except _UnknownKey:
            raise NotAccepted("its key is none of the issuer's") from None

    async def _keys_of(self, issuer: Issuer, *, must_be_new: bool = False) -> KeySet:
        """Return the keys of an issuer, fetched again if they are old or `must_be_new`. Raises KeysMissing.

        Old ones are returned at once while they still hold: nobody waits for an issuer that is slow.
        """
        keys = self._keys[_source_of_keys(issuer)]
        now_s = self._clock.monotonic()
        is_old = now_s >= keys.fetched_at_s + KEYS_S
        if (is_old or must_be_new) and keys.fetching is None and now_s >= keys.asked_at_s + AGAIN_S:
            keys.asked_at_s = now_s
            keys.fetching = asyncio.create_task(self._refresh(keys))
        holds = keys.found is not None and now_s < keys.fetched_at_s + STALE_S
        if keys.fetching is not None and (must_be_new or not holds):
            await asyncio.shield(keys.fetching)
        if keys.found is None or self._clock.monotonic() >= keys.fetched_at_s + STALE_S:
            raise KeysMissing(f"the keys of the issuer {issuer.name} cannot be fetched")
        return keys.found

    async def _refresh(self, keys: _Keys) -> None:
        """Fetch the keys of an issuer. What goes wrong is logged, and the last ones stay."""
        try:
            keys.found, keys.fetched_at_s = await self._fetch(keys.issuer), self._clock.monotonic()
        except (UpstreamFailure, TooLarge, ValueError, KeyError, TypeError, JoseError, OSError) as error:
            logger().warning("issuer_failed", issuer=keys.issuer.name, problem=str(error) or repr(error))
        finally:
            keys.fetching = None

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


def _source_of_keys(issuer: Issuer) -> tuple[object, ...]:
    return issuer.issuer, issuer.jwks_url, issuer.ca_file, issuer.allow_private_addresses


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
