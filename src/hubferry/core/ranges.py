"""`Range` and `Content-Range`: parse what a client asks for, and check that an upstream's answer is what was asked.

Pure. RFC 9110 section 14. Not here: `If-Range` (gateway/request.py).
"""

import re
from dataclasses import dataclass

from hubferry.core.errors import Code, OciError

_SPEC = re.compile(r"(\d{0,18})-(\d{0,18})")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """One range of a `Range` header.

    `bytes=start-end` (inclusive); `bytes=start-` (`end` is None); or `bytes=-end` (`start` is None), the last `end`
    bytes.
    """

    start: int | None
    end: int | None

    def format(self) -> str:
        """Return the value of the `Range` header."""
        first = "" if self.start is None else str(self.start)
        return f"bytes={first}-{'' if self.end is None else self.end}"

    def within(self, size_bytes: int) -> "ContentRange | None":
        """Return the bytes that are meant, in content of this size; None when the range lies outside of it.

        RFC 9110 section 14.1.2.
        """
        if self.start is None:
            first, last = max(size_bytes - (self.end or 0), 0), size_bytes - 1
        else:
            first, last = self.start, size_bytes - 1 if self.end is None else min(self.end, size_bytes - 1)
        return None if first > last else ContentRange(first, last, size_bytes)


def parse_range(value: str | None) -> ByteRange | None:
    """Return the range that a client asks for.

    None when the header is absent or malformed: RFC 9110 says to ignore a malformed one. Raises OciError 400 for
    several ranges. Their answer would be multipart, which no container client asks for, and a 206 with one range would
    give the client wrong bytes.
    """
    if not value or not value.startswith("bytes="):
        return None
    spec = value.removeprefix("bytes=")
    if "," in spec:  # before it is taken apart: many parts cost quadratic time in naive parsers (CVE-2025-62727)
        raise OciError(400, Code.UNSUPPORTED, "several ranges in one request are not supported: ask for one")
    match = _SPEC.fullmatch(spec.strip())
    if match is None or not (match[1] or match[2]):
        return None
    start = int(match[1]) if match[1] else None
    end = int(match[2]) if match[2] else None
    if start is None:
        return ByteRange(None, end)
    return None if end is not None and end < start else ByteRange(start, end)


@dataclass(frozen=True, slots=True)
class ContentRange:
    """The header `Content-Range: bytes first-last/total`. `total` is None for `*`."""

    first: int
    last: int
    total: int | None

    @property
    def length(self) -> int:
        """How many bytes the range has."""
        return self.last - self.first + 1

    def format(self) -> str:
        """Return the value of the `Content-Range` header."""
        return f"bytes {self.first}-{self.last}/{'*' if self.total is None else self.total}"


def parse_content_range(value: str | None) -> ContentRange | None:
    """Parse the Content-Range of a 206. Return None when it is absent, malformed or contradicts itself."""
    match = _CONTENT_RANGE.fullmatch((value or "").strip())
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if last < first or (total is not None and last >= total):
        return None
    return ContentRange(first, last, total)


def answers(asked: ByteRange, got: ContentRange) -> bool:
    """Return whether a 206 contains what was asked for: it has the exact start, and no byte beyond the end."""
    if asked.start is None:
        length = asked.end or 0
        if got.total is None:
            return got.length <= length
        return got.first == max(got.total - length, 0) and got.last == got.total - 1
    return got.first == asked.start and (asked.end is None or got.last <= asked.end)
