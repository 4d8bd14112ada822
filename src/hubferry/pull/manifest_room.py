"""Bound the memory of the manifests of files that are being made and sent (export.py), fairly between addresses.

Nobody waits here: there are few files of more than SMALL_BYTES of manifests, and each may be sent for hours.
"""

from hubferry.core.body_memory import BodyMemory, MemoryRequest
from hubferry.core.client import address_group
from hubferry.core.errors import Code, OciError

MOST_BYTES = 32 * 2**20  # of one process; one address has at most a quarter of it
SMALL_BYTES = 64 * 1024  # of one file, which are not counted: the number of connections bounds their memory
AGAIN_S = 30


class ManifestRoom:
    """The manifests of all files of one process."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._memory = BodyMemory(most_bytes)

    def file_for(self, client: str) -> "HeldManifests":
        """Return what counts the manifests of one file for the address of a client."""
        return HeldManifests(self._memory, address_group(client))


class HeldManifests:
    """The manifests of one file."""

    def __init__(self, memory: BodyMemory, address: str) -> None:
        self._memory = memory
        self._address = address
        self._uncounted_bytes = 0
        self._taken: list[MemoryRequest] = []

    def add(self, size_bytes: int) -> None:
        """Count a manifest. Raises OciError 503 when there is no room for it."""
        self._uncounted_bytes += size_bytes
        if not self._taken and self._uncounted_bytes <= SMALL_BYTES:
            return
        wanted = MemoryRequest(self._address, self._uncounted_bytes)
        if self._memory.choose([wanted]) is None:
            problem = "files of many images or platforms are being sent already: try again soon, or ask for fewer"
            raise OciError(503, Code.UNAVAILABLE, problem, headers=(("retry-after", str(AGAIN_S)),))
        self._memory.take(wanted)
        self._taken.append(wanted)
        self._uncounted_bytes = 0

    def release(self) -> None:
        """Give the room back, because nothing of the manifests is held any more. May be called more than once."""
        while self._taken:
            self._memory.give_back(self._taken.pop())
