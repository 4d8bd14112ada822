"""`Range`, `Content-Range`: what a client may ask for, and whether an upstream's answer is that.

Pure. RFC 9110 section 14. Not here: `If-Range`, which is passed on as it is.
"""

import re
from dataclasses import dataclass

from hubferry.core.errors import Code, OciError

MAX_RANGES = 16  # CVE-2025-62727: a Range header of many parts costs quadratic time in naive parsers
_SPEC = re.compile(r"(\d{0,18})-(\d{0,18})")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`bytes=start-end` (inclusive), `bytes=start-` (end None), or the last bytes, `bytes=-end` (no start)."""

    start: int | None
    end: int | None

    def format(self) -> str:
        """The header value."""
        first = "" if self.start is None else str(self.start)
        return f"bytes={first}-{'' if self.end is None else self.end}"


def parse_range(value: str | None) -> ByteRange | None:
    """The one range asked for; None when the header is absent or malformed, which RFC 9110 says to ignore.

    Raises OciError 400 for several ranges: the answer would be multipart, which no container client asks for,
    and a single 206 for them would be wrong bytes.
    """
    if not value or not value.startswith("bytes="):
        return None
    specs = value.removeprefix("bytes=").split(",", MAX_RANGES + 1)
    if len(specs) > 1:
        raise OciError(400, Code.UNSUPPORTED, "several ranges in one request are not supported: ask for one")
    match = _SPEC.fullmatch(specs[0].strip())
    if match is None or not (match[1] or match[2]):
        return None
    start = int(match[1]) if match[1] else None
    end = int(match[2]) if match[2] else None
    if start is None:
        return ByteRange(None, end)
    return None if end is not None and end < start else ByteRange(start, end)


@dataclass(frozen=True, slots=True)
class ContentRange:
    """`Content-Range: bytes first-last/total`; total None for `*`."""

    first: int
    last: int
    total: int | None

    @property
    def length(self) -> int:
        """How many bytes the answer has."""
        return self.last - self.first + 1


def parse_content_range(value: str | None) -> ContentRange | None:
    """A satisfied Content-Range, or None when it is absent, malformed or contradicts itself."""
    match = _CONTENT_RANGE.fullmatch((value or "").strip())
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if last < first or (total is not None and last >= total):
        return None
    return ContentRange(first, last, total)


def answers(asked: ByteRange, got: ContentRange) -> bool:
    """Whether a 206 holds what was asked for: the exact start, and no byte beyond the end."""
    if asked.start is None:
        length = asked.end or 0
        if got.total is None:
            return got.length <= length
        return got.first == max(got.total - length, 0) and got.last == got.total - 1
    return got.first == asked.start and (asked.end is None or got.last <= asked.end)
