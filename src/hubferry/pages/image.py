"""The image page: the tags of a repository; or one image with its platforms, layers, and what refers to it."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from hubferry.core.errors import Code, OciError
from hubferry.core.image import ImageName
from hubferry.core.image_details import ImageDetails, ImagePlatform, PlatformDetails, Referrer, TagList
from hubferry.core.platforms import parse_platform, preferred
from hubferry.core.tag_order import SORTED_AT_ONCE, filter_tags
from hubferry.gateway.answer import Answer
from hubferry.gateway.visitors import SeenRepository, Visitor, Visitors
from hubferry.pages.guides import Gateway
from hubferry.pages.page import PageRequest
from hubferry.pages.places import Places
from hubferry.ports.shell import Clock, Visit

TAGS_SHOWN = 100  # of one page
MAX_FILTER = 128  # characters, as long as a tag may be
USUAL = parse_platform("linux/amd64")
ORDERS = ("newest", "name", "kept")


@dataclass(frozen=True)
class Tag:
    """A tag as it is shown. `confirmed_at` None: nothing is known of it here."""

    name: str
    image: str
    is_kept: bool = False
    confirmed_at: float | None = None


class ImagePage:
    """Shows what can be pulled."""

    def __init__(self, places: Places, visitors: Visitors, clock: Clock) -> None:
        self._places = places
        self._visitors = visitors
        self._clock = clock

    async def show(self, asked: PageRequest, visit: Visit) -> Answer:
        """Return the page of a repository, or of an image when a tag or digest is named. Raises OciError."""
        gateway = self._places.at(asked.request)
        try:
            image = gateway.names.parse(asked.parameters.get("name", "").strip())
        except ValueError as error:
            raise OciError(400, Code.NAME_INVALID, str(error)) from None
        here = gateway.names.name_of(image.upstream, image.repository)
        if not here:
            registries = ", ".join(gateway.names.serves())
            message = f"{image.upstream} cannot be pulled from at this host name: it leads to {registries}"
            raise OciError(404, Code.NAME_UNKNOWN, message)
        visitor = await self._visitors.identify(asked.request, visit)
        repository = await self._visitors.repository(visitor, image)
        if image.reference:
            return await self._image(asked, gateway, image, repository)
        return await self._tags(asked, gateway, image, visitor, repository)

    async def _tags(
        self, asked: PageRequest, gateway: Gateway, image: ImageName, visitor: Visitor, repository: SeenRepository
    ) -> Answer:
        listed = await repository.tags()
        wanted = asked.parameters.get("filter", "").strip()[:MAX_FILTER]
        order = asked.parameters.get("order", "")
        order = order if order in ORDERS else ORDERS[0]
        choose = partial(_chosen_tags, listed, wanted, order, self._visitors.tag_filter(visitor, image))
        if len(listed.tags) <= SORTED_AT_ONCE or sys.platform == "emscripten":  # in the Worker there are no threads
            names = choose()
        else:
            names = await asyncio.to_thread(choose)
        cut = asked.cut(names, TAGS_SHOWN)
        tags = []
        for name in cut.things:
            kept = listed.kept.get(name)
            shown = str(ImageName(image.upstream, image.repository, name))
            tags.append(
                Tag(name, shown, kept is not None and kept.is_kept, None if kept is None else kept.confirmed_at)
            )
        return asked.page(
            "tags.html",
            gateway=gateway,
            image=image,
            here=_here(gateway, image),
            tags=tags,
            count=len(names),
            filter=wanted,
            order=order,
            orders=ORDERS,
            number=cut.number,
            pages=cut.count,
            is_cut=listed.is_cut,
            problem=listed.problem,
            now=self._clock.time(),
        )

    async def _image(
        self, asked: PageRequest, gateway: Gateway, image: ImageName, repository: SeenRepository
    ) -> Answer:
        details = await repository.image(image.reference)
        chosen = _choose(details, asked.parameters.get("platform", ""))
        platform, referrers, problems = None, list[Referrer](), [details.problem]
        if chosen is not None:
            platform = await repository.platform(chosen)
            problems.append(platform.problem)
        try:
            referrers = await repository.referrers(details.digest)
        except OciError as error:
            problems.append(error.message)
        return asked.page(
            "image.html",
            gateway=gateway,
            image=image,
            here=_here(gateway, image),
            repository=str(ImageName(image.upstream, image.repository, "")),
            details=details,
            chosen=chosen,
            platform=platform,
            state=_state(details, platform),
            referrers=referrers,
            problems=[*dict.fromkeys(problem for problem in problems if problem)],
            now=self._clock.time(),
        )


def _chosen_tags(listed: TagList, text: str, order: str, may_see: Callable[[str], bool] | None) -> list[str]:
    """Return the tags that a visitor is shown, in the order that they asked for."""
    names = filter_tags(listed.tags, text)
    if may_see is not None:
        names = list(filter(may_see, names))
    if order == "name":
        names.sort()
    elif order == "kept":
        names.sort(key=lambda tag: tag not in listed.kept or not listed.kept[tag].is_kept)
    return names


def _here(gateway: Gateway, image: ImageName) -> str:
    """Return how an image is written for this gateway."""
    return gateway.names.rewritten(str(image)) or str(image)


def _choose(details: ImageDetails, wanted: str) -> ImagePlatform | None:
    """Return the platform that is shown: asked for by its digest, else the usual one, else the first."""
    for one in details.platforms:
        if one.digest == wanted:
            return one
    for platform in preferred(USUAL):
        for one in details.platforms:
            if one.platform == platform:
                return one
    return next(iter(details.platforms), None)


def _state(details: ImageDetails, platform: PlatformDetails | None) -> str:
    """Return the word for how much of what is shown is kept here."""
    if platform is not None and platform.is_kept and details.is_kept:
        return "kept"
    layers: Sequence[object] = () if platform is None else [layer for layer in platform.layers if layer.is_kept]
    return "kept_in_part" if layers or details.is_kept else "not_kept"
