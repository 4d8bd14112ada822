"""The `PasswordChecker` port with the library bcrypt, on threads: it lets go of the interpreter while it works."""

import asyncio
import hmac
import secrets

import bcrypt

from hubferry.core.bounded import BoundedMap

AT_ONCE = 1  # in one worker process: whoever pulls is not to wait for whoever logs in
MOST_BYTES = 72  # of a password that bcrypt looks at; htpasswd leaves the rest out silently, too
REMEMBERED = 4096
KEY_BYTES = 32


class BcryptPasswords:
    """Checks passwords, and remembers those that were right, by names that only this process knows."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(KEY_BYTES)
        self._right: BoundedMap[bool] = BoundedMap(REMEMBERED)
        self._checking: dict[bytes, asyncio.Task[bool]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    def remembers(self, password: str, hashed: str) -> bool:
        return self._right.get(self._name(password, hashed)) is not None

    async def check(self, password: str, hashed: str) -> bool:
        """As the port says. Who asks the same meanwhile gets the same answer, and who leaves does not end it."""
        name = self._name(password, hashed)
        task = self._checking.get(name)
        if task is None:
            task = asyncio.create_task(self._check(name, password, hashed))
            self._checking[name] = task
            task.add_done_callback(lambda _: self._checking.pop(name, None))
        return await asyncio.shield(task)

    async def _check(self, name: bytes, password: str, hashed: str) -> bool:
        async with self._turns:
            is_right = await asyncio.to_thread(bcrypt.checkpw, password.encode()[:MOST_BYTES], hashed.encode())
        if is_right:
            self._right.put(name, True)
        return is_right

    def _name(self, password: str, hashed: str) -> bytes:
        return hmac.digest(self._key, f"{hashed}:{password}".encode(), "sha256")


def make_hash(password: str, cost: int) -> str:
    """Return the bcrypt hash of a password. Raises ValueError for one that bcrypt would cut."""
    encoded = password.encode()
    if len(encoded) > MOST_BYTES:
        raise ValueError(f"bcrypt looks at the first {MOST_BYTES} bytes of a password only: take a shorter one")
    return bcrypt.hashpw(encoded, bcrypt.gensalt(cost)).decode("ascii")
