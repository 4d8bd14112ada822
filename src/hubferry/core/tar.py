"""The bytes of a tar file whose large members lie elsewhere: where each begins, and how long all of it is.

Pure. POSIX.1-2017 `pax`, "ustar Interchange Format"; a pax header only for what has no room in that: names of more than
100 characters and members of 8 GiB or more. Every member is a plain file with mode 0644, owner 0 and time 0, so that
equal members make equal files. The standard library's writer is not used, because its bytes may change with Python's
version, and a download may be resumed after the gateway was updated.

Not here: which members a file has (archive.py), and where their bytes come from (pull/export.py).
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)
MAX_NAME = 100
MAX_OCTAL_BYTES = 8**11  # the first size that has no room in 11 octal digits
_PIECE_BYTES = 64 * 1024  # how much is given at a time of what is in memory


@dataclass(frozen=True, slots=True)
class Content:
    """A blob by its digest, with its size in bytes."""

    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Slice:
    """The bytes of a blob from `start` up to, but not including, `end`."""

    content: Content
    start: int
    end: int


Member = tuple[str, bytes | Content]  # the name of a file, and what is in it
Part = bytes | Slice


class Tar:
    """A tar file of these members, in their order. It never changes."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._segments: list[bytes | Content] = []
        self._starts: list[int] = []
        self._end = 0
        literal = bytearray()
        for name, inside in members:
            size_bytes = len(inside) if isinstance(inside, bytes) else inside.size_bytes
            literal += format_header(name, size_bytes)
            if isinstance(inside, bytes):
                literal += inside
            elif size_bytes:
                self._append(bytes(literal))
                self._append(inside)
                literal.clear()
            literal += bytes(-size_bytes % BLOCK_BYTES)
        self._append(bytes(literal + END))

    def _append(self, segment: bytes | Content) -> None:
        self._segments.append(segment)
        self._starts.append(self._end)
        self._end += len(segment) if isinstance(segment, bytes) else segment.size_bytes

    @property
    def size_bytes(self) -> int:
        """Return the length of the whole file."""
        return self._end

    @property
    def fingerprint(self) -> str:
        """Return a hash, in hexadecimal digits, that two files share only if all of their bytes are equal."""
        found = hashlib.sha256()
        for segment in self._segments:
            size_bytes = len(segment) if isinstance(segment, bytes) else segment.size_bytes
            digest = hashlib.sha256(segment).hexdigest() if isinstance(segment, bytes) else segment.digest
            found.update(f"{size_bytes} {digest}\n".encode())
        return found.hexdigest()

    def between(self, start: int, end: int) -> Iterator[Part]:
        """Yield the bytes from `start` up to, but not including, `end`: as bytes, or as slices of blobs.

        What was yielded is not held any longer by the iterator, nor is what lies before `start`.
        """
        first = max(bisect_right(self._starts, start) - 1, 0)
        wanted = [
            (segment, begins)
            for segment, begins in zip(self._segments[first:], self._starts[first:], strict=True)
            if begins < end
        ]
        return _parts(wanted[::-1], start, end)


def _parts(segments: list[tuple[bytes | Content, int]], start: int, end: int) -> Iterator[Part]:
    """Yield the parts of segments, of which the last is taken first, with the offsets at which they begin."""
    while segments:
        segment, begins = segments.pop()
        size_bytes = len(segment) if isinstance(segment, bytes) else segment.size_bytes
        first, last = max(start - begins, 0), min(end - begins, size_bytes)
        if first >= last:
            continue
        if isinstance(segment, Content):
            yield Slice(segment, first, last)
            continue
        for at in range(first, last, _PIECE_BYTES):
            yield segment[at : min(at + _PIECE_BYTES, last)]


def format_header(name: str, size_bytes: int) -> bytes:
    """Return what precedes the bytes of a file in a tar file. The name is ASCII."""
    records = b""
    if len(name) > MAX_NAME:
        records += _pax_record("path", name)
    if size_bytes >= MAX_OCTAL_BYTES:
        records += _pax_record("size", str(size_bytes))
    own = _header(name[:MAX_NAME], size_bytes if size_bytes < MAX_OCTAL_BYTES else 0, b"0")
    if not records:
        return own
    return _header("PaxHeader", len(records), b"x") + records + bytes(-len(records) % BLOCK_BYTES) + own


def _pax_record(key: str, value: str) -> bytes:
    """Return `LENGTH key=value`, where the length counts its own digits as well."""
    rest = f" {key}={value}\n"
    length = len(rest)
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return f"{length}{rest}".encode("ascii")


def _header(name: str, size_bytes: int, kind: bytes) -> bytes:
    fields = [
        name.encode("ascii").ljust(100, b"\0"),
        b"0000644\0",  # mode
        b"0000000\0",  # owner
        b"0000000\0",  # group
        f"{size_bytes:011o}\0".encode(),
        b"00000000000\0",  # time
        b"        ",  # in place of the checksum
        kind,
        bytes(100),
        b"ustar\x0000",
        bytes(64),  # names of owner and group
        b"0000000\0" * 2,  # device
        bytes(155 + 12),
    ]
    block = b"".join(fields)
    checksum = f"{sum(block):06o}\0 ".encode()
    return block[:148] + checksum + block[156:]


class WrongBytes(ValueError):
    """Bytes of a tar file are not those that it should have; the message says of what."""


class TarCheck:
    """Checks the bytes of a tar file while they come, from the first one on: each blob against its digest."""

    def __init__(self, tar: Tar) -> None:
        self._parts = tar.between(0, tar.size_bytes)
        self._part: Part | None = next(self._parts, None)
        self._at = 0  # in the part
        self._hash = self._hash_of(self._part)

    def feed(self, data: bytes) -> None:
        """Check the next bytes. Raises WrongBytes."""
        view = memoryview(data)
        while view:
            part = self._part
            if part is None:
                raise WrongBytes("it is longer than it should be")
            size_bytes = len(part) if isinstance(part, bytes) else part.end
            piece = view[: size_bytes - self._at]
            if isinstance(part, Slice):
                self._hash.update(piece)
            elif part[self._at : self._at + len(piece)] != piece:
                raise WrongBytes("its names or manifests are not those of the image")
            self._at += len(piece)
            view = view[len(piece) :]
            if self._at == size_bytes:
                self._end_part(part)

    def _end_part(self, part: Part) -> None:
        if isinstance(part, Slice) and self._hash.hexdigest() != part.content.digest.partition(":")[2]:
            raise WrongBytes(f"{part.content.digest} has other bytes than its digest says")
        self._part, self._at = next(self._parts, None), 0
        self._hash = self._hash_of(self._part)

    @staticmethod
    def _hash_of(part: Part | None) -> "hashlib._Hash":
        return hashlib.new(part.content.digest.partition(":")[0] if isinstance(part, Slice) else "sha256")
