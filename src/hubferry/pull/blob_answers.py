"""What a request means for a blob whose size is known here, and the head lines of its answers.

Pure. RFC 9110 sections 13.1.5 and 14. Not here: blobs that are streamed through (content.py).
"""

from hubferry.core import headers as head
from hubferry.core.errors import Asked, OciError, relay_error
from hubferry.core.http import Headers, Request
from hubferry.core.ranges import ByteRange, ContentRange, parse_range

# of every blob, whatever an upstream says: a browser would show a web page or an image as one of the gateway's own
BINARY = "application/octet-stream"


def asked_range(request: Request, digest: str) -> ByteRange | None:
    """The range that a GET asks for. Raises OciError 400.

    Content under a digest never changes, so our ETag is the digest: If-Range names it or means a full body.
    """
    if_range = request.header("if-range")
    if request.method != "GET" or (if_range is not None and not head.etag_matches(if_range, digest)):
        return None
    return parse_range(request.header("range"))


def place_range(asked: ByteRange, size_bytes: int) -> ContentRange | None:
    """Which bytes of a blob a range means; None when it lies outside (RFC 9110 section 14.1.2)."""
    if asked.start is None:
        first, last = max(size_bytes - (asked.end or 0), 0), size_bytes - 1
    else:
        first, last = asked.start, size_bytes - 1 if asked.end is None else min(asked.end, size_bytes - 1)
    return None if first > last else ContentRange(first, last, size_bytes)


def identity(digest: str, length_bytes: int | None) -> Headers:
    """The head lines that every answer for a blob has."""
    length = () if length_bytes is None else (("content-length", str(length_bytes)),)
    lines = (("content-type", BINARY), *length)
    return (*lines, ("docker-content-digest", digest), ("etag", f'"{digest}"'), ("accept-ranges", "bytes"))


def refuse_range(asked: Asked, size_bytes: int) -> OciError:
    """The 416 for a range that lies outside a blob."""
    return relay_error(416, (("content-range", f"bytes */{size_bytes}"),), asked)
