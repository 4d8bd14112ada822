"""The `PasswordChecker` port with the library bcrypt, on threads: it lets go of the interpreter while it works."""

import asyncio
import hmac
import secrets

import bcrypt

from hubferry.core.bounded import BoundedMap

MOST_BYTES = 72  # of a password that bcrypt looks at; htpasswd leaves the rest out silently, too
REMEMBERED = 4096
KEY_BYTES = 32


class BcryptPasswords:
    """Checks passwords, and remembers those that were right, by names that only this process knows."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(KEY_BYTES)
        self._right: BoundedMap[bool] = BoundedMap(REMEMBERED)

    def remembers(self, password: str, hashed: str) -> bool:
        return self._right.get(self._name(password, hashed)) is not None

    async def check(self, password: str, hashed: str) -> bool:
        is_right = await asyncio.to_thread(bcrypt.checkpw, password.encode()[:MOST_BYTES], hashed.encode())
        if is_right:
            self._right.put(self._name(password, hashed), True)
        return is_right

    def _name(self, password: str, hashed: str) -> bytes:
        return hmac.digest(self._key, f"{hashed}:{password}".encode(), "sha256")


def make_hash(password: str, cost: int) -> str:
    """Return the bcrypt hash of a password. Raises ValueError for one that bcrypt would cut."""
    encoded = password.encode()
    if len(encoded) > MOST_BYTES:
        raise ValueError(f"bcrypt looks at the first {MOST_BYTES} bytes of a password only: take a shorter one")
    return bcrypt.hashpw(encoded, bcrypt.gensalt(cost)).decode("ascii")
