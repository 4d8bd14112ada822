"""How everybody else fares while somebody attacks: small requests, one after the other, and how long each took."""

from __future__ import annotations

import http.client
import threading
import time
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Others", "slowest_s"]

PAUSE_S = 0.002
LEAST = 5  # answers, however short the attack


class Others:
    """Asks for `/healthz` again and again, on one connection, while it is entered."""

    def __init__(self, url: str) -> None:
        self._host = urlsplit(url).netloc
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._failures: list[str] = []
        self._taken_s: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        assert not self._failures, self._failures

    @property
    def slowest_s(self) -> float:
        """How long the slowest answer took; after the end."""
        return max(self._taken_s)

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._host, timeout=60)
        try:
            while not self._over.wait(PAUSE_S) or len(self._taken_s) < LEAST:
                began = time.monotonic()
                connection.request("GET", "/healthz")
                answer = connection.getresponse()
                answer.read()
                self._taken_s.append(time.monotonic() - began)
                if answer.status != 200:
                    self._failures.append(f"{answer.status} for /healthz")
        except OSError as error:
            self._failures.append(repr(error))
        finally:
            connection.close()


def slowest_s(url: str, attack: Callable[[], object]) -> float:
    """How long the slowest answer to somebody else took during an attack, in seconds."""
    with Others(url) as others:
        attack()
    return others.slowest_s
