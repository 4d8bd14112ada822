"""Texts with image names in them -> the same texts with the names of a gateway.

Pure. Only the names change: comments, order, quotes and everything else stay as they were written. Not here: where
names are (image_names.py), what an image is called at a gateway (gateway_names.py).
"""

from dataclasses import dataclass

from hubferry.core.gateway_names import GatewayNames
from hubferry.core.image import ImageName
from hubferry.core.image_names import find_image_names
from hubferry.core.written import WrittenName


@dataclass(frozen=True)
class Rewritten:
    """A rewritten text.

    `count` is how many names were rewritten, `images` are the different ones that the gateway serves, in their order,
    and `left` the names that cannot be pulled through it, as they are written.
    """

    text: str
    count: int
    images: tuple[ImageName, ...]
    left: tuple[str, ...]


def rewrite(text: str, names: GatewayNames) -> Rewritten:
    """Return a text with its image names as they are written for a gateway. Raises ValueError for a text too long."""
    pieces: list[str] = []
    images: dict[ImageName, None] = {}
    left: dict[str, None] = {}
    known: dict[tuple[str, str], tuple[ImageName | None, str]] = {}  # a long text has the same names again and again
    at = count = 0
    for found in find_image_names(text):
        key = (found.name, found.written)
        if key not in known:
            known[key] = _meaning(found, names)
        image, new = known[key]
        if image is not None:
            images[image] = None
        if new:
            pieces += [text[at : found.start], new]
            at = found.end
            count += 1
        elif not names.is_own(found.written):
            left[found.written] = None
    return Rewritten("".join((*pieces, text[at:])), count, tuple(images), tuple(left))


def _meaning(found: WrittenName, names: GatewayNames) -> tuple[ImageName | None, str]:
    """Return the image that a name means, and the name that it gets here; empty: it stays."""
    image = names.served(found.name)
    is_same = found.name == found.written  # no variable in it
    return image, names.rewritten_as(found.written, image) if is_same else names.rewritten(found.written)
