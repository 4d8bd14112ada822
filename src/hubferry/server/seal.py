"""The `Sealer` port: tokens as compact JWE (RFC 7516) with `dir` and A256GCM, made by the library joserfc.

A grant may contain a user's secret for an upstream, so tokens are encrypted and not only signed. Opened tokens are
remembered, because a client sends the same token with every request of a pull.
"""

import base64
import json

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from hubferry.core.access import Grant, claims_of, grant_of
from hubferry.core.bounded import BoundedMap

REMEMBERED = 4096
REMEMBERED_BYTES = 8 * 2**20  # of tokens and their grants; a grant may name 16 repositories
GRANT_BYTES = 1024  # of the objects of one grant, without its names and without the token's text
NAME_BYTES = 64
HEADER = {"alg": "dir", "enc": "A256GCM", "typ": "hubferry+jwe"}
# every token of ours begins with this; the second part of a JWE, an encrypted key, is empty here
BEGINNING = base64.urlsafe_b64encode(json.dumps(HEADER, separators=(",", ":")).encode()).rstrip(b"=").decode() + ".."
MAX_TOKEN = 16 * 1024


class JweSealer:
    """Seals and opens grants with one key."""

    def __init__(self, key: bytes) -> None:
        self._key = OctKey.import_key(key)
        self._opened: BoundedMap[Grant] = BoundedMap(REMEMBERED, REMEMBERED_BYTES)

    async def seal(self, grant: Grant) -> str:
        return jwe.encrypt_compact(HEADER, json.dumps(claims_of(grant)).encode(), self._key)

    async def open(self, token: str) -> Grant | None:
        known = self._opened.get(token)
        if known is not None:
            return known
        # a header that is not ours is not even parsed: it may be deeply nested, or demand other ways to decrypt
        if not token.startswith(BEGINNING) or len(token) > MAX_TOKEN:
            return None
        try:
            sealed = jwe.decrypt_compact(token, self._key, algorithms=["dir", "A256GCM"])
            grant = grant_of(json.loads(sealed.plaintext or b""))
        except (JoseError, ValueError, KeyError, TypeError):
            return None
        self._opened.put(token, grant, GRANT_BYTES + len(token) + sum(NAME_BYTES + len(name) for name in grant.names))
        return grant
