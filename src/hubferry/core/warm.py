"""What is to be kept warm, and when: lists of images, and the pauses of the schedule.

Pure. Not here: warming (pull/warm.py).
"""

from collections.abc import Mapping

from hubferry.core.image import ImageName, parse_image
from hubferry.core.settings import UpstreamSettings

SOONER = 10  # so many times as often is tried again what failed
AT_LEAST_S = 60.0  # before it is


def parse_list(text: str) -> list[tuple[int, str]]:
    """The images of a file, one in a line, each with the number of its line; `#` begins a comment."""
    lines = [(number, line.partition("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1)]
    return [(number, image) for number, image in lines if image]


def parse_tagged(text: str, upstreams: Mapping[str, UpstreamSettings], default: str) -> ImageName:
    """An image as clients read it: without tag and digest it is `latest`. Raises ValueError with the remedy."""
    name = parse_image(text, upstreams, default)
    return name if name.reference else ImageName(name.upstream, name.repository, "latest")


def decide_pause_s(every_s: float, *, has_failed: bool) -> float:
    """How long after an image was warmed, or was not, it is looked at again."""
    return min(every_s, max(every_s / SOONER, AT_LEAST_S)) if has_failed else every_s
