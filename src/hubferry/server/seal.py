"""The `Sealer` port: tokens as compact JWE (RFC 7516), `dir` with A256GCM, by joserfc.

A grant may carry a user's secret for its upstream, so tokens are encrypted and not only signed. Opened tokens are
remembered, because a pull sends the same one with every request.
"""

import base64
import json
import os
import secrets
from collections import OrderedDict
from pathlib import Path

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from hubferry.core.access import Grant, claims_of, grant_of
from hubferry.core.values import TOKEN_KEY_BYTES, parse_token_key

REMEMBERED = 4096
HEADER = {"alg": "dir", "enc": "A256GCM", "typ": "hubferry+jwe"}
# how every token of ours begins; the second part, an encrypted key, is empty
BEGINNING = base64.urlsafe_b64encode(json.dumps(HEADER, separators=(",", ":")).encode()).rstrip(b"=").decode() + ".."
MAX_TOKEN = 16 * 1024


class KeyProblem(Exception):
    """The token key cannot be used; the message says which file and what to do."""


def load_or_create_key(path: Path) -> bytes:
    """The key of a file (base64url of 32 bytes), made with mode 0600 when there is none.

    Two processes that start together agree: the one that links its file first wins. Raises KeyProblem.
    """
    try:
        return _read_key(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise KeyProblem(f"{path}: cannot be read ({error.strerror}): fix its permissions") from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.urlsafe_b64encode(secrets.token_bytes(TOKEN_KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    except OSError as error:
        raise KeyProblem(
            f"{path}: cannot be made ({error.strerror}): make its folder writable, "
            "or set access.token_key_file or access.token_key"
        ) from None
    return _read_key(path)


def _read_key(path: Path) -> bytes:
    try:
        return parse_token_key(path.read_bytes().decode("ascii"))
    except ValueError:
        problem = f"{path}: is no token key (base64url of {TOKEN_KEY_BYTES} bytes): remove it to have one made"
        raise KeyProblem(problem) from None


class JweSealer:
    """Seals and opens grants with one key."""

    def __init__(self, key: bytes) -> None:
        self._key = OctKey.import_key(key)
        self._opened: OrderedDict[str, Grant] = OrderedDict()

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
        self._opened[token] = grant
        while len(self._opened) > REMEMBERED:
            self._opened.popitem(last=False)
        return grant
