"""The `Sealer` port: tokens as compact JWE (RFC 7516), `dir` with A256GCM, by joserfc.

A grant may carry a user's secret for its upstream, so tokens are encrypted and not only signed. Opened tokens are
remembered, because a pull sends the same one with every request.
"""

import base64
import json

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from hubferry.core.access import Grant, claims_of, grant_of
from hubferry.pull.lately import Lately

REMEMBERED = 4096
REMEMBERED_BYTES = 8 * 2**20  # of tokens and what they say; one may name 16 repositories
GRANT_BYTES = 1024  # of the objects of one, without its names and text
NAME_BYTES = 64
HEADER = {"alg": "dir", "enc": "A256GCM", "typ": "hubferry+jwe"}
# how every token of ours begins; the second part, an encrypted key, is empty
BEGINNING = base64.urlsafe_b64encode(json.dumps(HEADER, separators=(",", ":")).encode()).rstrip(b"=").decode() + ".."
MAX_TOKEN = 16 * 1024


class JweSealer:
    """Seals and opens grants with one key."""

    def __init__(self, key: bytes) -> None:
        self._key = OctKey.import_key(key)
        self._opened: Lately[Grant] = Lately(REMEMBERED, REMEMBERED_BYTES)

    async def seal(self, grant: Grant) -> str:
        """See ports.Sealer."""
        return jwe.encrypt_compact(HEADER, json.dumps(claims_of(grant)).encode(), self._key)

    async def open(self, token: str) -> Grant | None:
        """See ports.Sealer."""
        known = self._opened.get(token)
        if known is not None:
            return known
        # a header of another's making is not read at all: it may be nested deep, or ask for other ways to decrypt
        if not token.startswith(BEGINNING) or len(token) > MAX_TOKEN:
            return None
        try:
            sealed = jwe.decrypt_compact(token, self._key, algorithms=["dir", "A256GCM"])
            grant = grant_of(json.loads(sealed.plaintext or b""))
        except (JoseError, ValueError, KeyError, TypeError):
            return None
        self._opened.put(token, grant, GRANT_BYTES + len(token) + sum(NAME_BYTES + len(name) for name in grant.names))
        return grant
