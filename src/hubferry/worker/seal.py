"""The `Sealer` port over the runtime's WebCrypto: the same tokens as the server's, compact JWE with `dir` and A256GCM.

RFC 7516, section 7.1, and RFC 7518, sections 4.5 and 5.3. No library is used, because its compiled part would not run
here.
"""

import base64
import json
from typing import Any

import js
from pyodide.ffi import JsException, to_js

from hubferry.core.access import Grant, claims_of, grant_of
from hubferry.worker.messages import js_object

HEADER = base64.urlsafe_b64encode(b'{"alg":"dir","enc":"A256GCM","typ":"hubferry+jwe"}').rstrip(b"=")
TAG_BYTES = 16
IV_BYTES = 12


class WebCryptoSealer:
    """Seals and opens grants with one key."""

    def __init__(self, key: bytes) -> None:
        self._raw = key
        self._key: Any = None

    async def seal(self, grant: Grant) -> str:
        iv = js.crypto.getRandomValues(js.Uint8Array.new(IV_BYTES)).to_bytes()
        content = json.dumps(claims_of(grant)).encode()
        sealed = await js.crypto.subtle.encrypt(_gcm(iv, HEADER), await self._imported(), to_js(content))
        whole = sealed.to_bytes()
        parts = (HEADER, b"", _encode(iv), _encode(whole[:-TAG_BYTES]), _encode(whole[-TAG_BYTES:]))
        return b".".join(parts).decode("ascii")

    async def open(self, token: str) -> Grant | None:
        try:
            header, key, iv, content, tag = token.encode("ascii").split(b".")
            if key or header != HEADER:  # both shells write exactly this header; no other is even parsed
                return None
            sealed = _decode(content) + _decode(tag)
            gcm = _gcm(_decode(iv), header)
            opened = await js.crypto.subtle.decrypt(gcm, await self._imported(), to_js(sealed))
            return grant_of(json.loads(opened.to_bytes()))
        except (JsException, ValueError, KeyError, TypeError):
            return None

    async def _imported(self) -> Any:
        if self._key is None:
            uses = to_js(["encrypt", "decrypt"])
            self._key = await js.crypto.subtle.importKey("raw", to_js(self._raw), "AES-GCM", False, uses)
        return self._key


def _gcm(iv: bytes, header: bytes) -> Any:
    how = js_object({"name": "AES-GCM", "tagLength": TAG_BYTES * 8})
    how.iv, how.additionalData = to_js(iv), to_js(header)
    return how


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
