"""Parse lists of images that are to be kept warm, and decide the pauses between looking at them.

Pure. Not here: warming itself (pull/warm.py).
"""

from collections.abc import Mapping

from hubferry.core.image import ImageName, parse_image
from hubferry.core.settings import UpstreamSettings

SOONER = 10  # an image that failed is tried again this many times as often
AT_LEAST_S = 60.0  # but not before this


def parse_list(text: str) -> list[tuple[int, str]]:
    """Return the images in the text of a list, each with its line number.

    There is one image in a line. `#` begins a comment, and empty lines are skipped.
    """
    lines = [(number, line.partition("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1)]
    return [(number, image) for number, image in lines if image]


def parse_tagged(text: str, upstreams: Mapping[str, UpstreamSettings], default: str) -> ImageName:
    """Parse an image name as clients do: without a tag or digest it means the tag `latest`.

    Raises ValueError with the remedy.
    """
    name = parse_image(text, upstreams, default)
    return name if name.reference else ImageName(name.upstream, name.repository, "latest")


def decide_pause_s(every_s: float, *, has_failed: bool) -> float:
    """Return after how many seconds an image is looked at again, given whether the last attempt failed."""
    return min(every_s, max(every_s / SOONER, AT_LEAST_S)) if has_failed else every_s
