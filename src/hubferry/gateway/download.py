"""`GET /download?image=nginx:1.27&platform=linux/amd64`: images as one file, for machines without network.

`image` is written as for docker, and may be repeated, as may `platform` (without: linux/amd64; `all`: whole images). An
address with a tag leads to the same one with digests. What that gives never changes: it has a length and an ETag, and
any part of it can be asked for again (RFC 9110 sections 13 and 14). The rules, rights and limits are those of a pull,
asked for each image.

Not here: what is in the file (core/archive.py), how its bytes are found (pull/export.py), who asks (callers.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from hubferry.core import headers as head
from hubferry.core import reference, routing
from hubferry.core.archive import MAX_IMAGES, MAX_PLATFORMS
from hubferry.core.errors import Code, OciError
from hubferry.core.http import Headers
from hubferry.core.image import split_image
from hubferry.core.platforms import Platform, parse_platforms
from hubferry.core.ranges import ContentRange
from hubferry.core.routing import Route, RoutingTable
from hubferry.gateway.answer import AccessRecord, Answer
from hubferry.gateway.callers import Caller, Callers
from hubferry.gateway.request import RegistryRequest
from hubferry.pull.export import Exporter, ExportItem, ExportPlan
from hubferry.pull.pull import Pull

TAR = "application/x-tar"
USUAL_MACHINE = "x86_64"  # when no platform is named: the browser's machine says nothing of the one without network


@dataclass(frozen=True, slots=True)
class WantedImage:
    """An image as a request names it: at least one of tag and digest is there."""

    route: Route
    tag: str
    digest: str

    @property
    def reference(self) -> str:
        """Return the digest if there is one, else the tag."""
        return self.digest or self.tag

    @property
    def record(self) -> AccessRecord:
        """Return what the log says of it."""
        return AccessRecord(self.route.upstream, self.route.repository, self.reference)


@dataclass(frozen=True, slots=True)
class DownloadOrder:
    """What a request for a file asks for; `platforms` None: all of each image."""

    images: tuple[WantedImage, ...]
    platforms: tuple[Platform, ...] | None

    @property
    def is_fixed(self) -> bool:
        """Return whether every image is named by its digest."""
        return all(image.digest for image in self.images)


def parse_order(request: RegistryRequest, table: RoutingTable) -> DownloadOrder:
    """Return what a request asks for. Raises OciError: 400 for what is missing, too much or misspelt, 404."""
    texts = list(dict.fromkeys(request.endpoint.params("image")))
    if not 1 <= len(texts) <= MAX_IMAGES:
        raise _bad_order(f"name 1 to {MAX_IMAGES} images, as in /download?image=nginx:1.27&platform=linux/amd64")
    try:
        platforms = parse_platforms([text for text in request.endpoint.params("platform") if text], USUAL_MACHINE)
    except ValueError as error:
        raise _bad_order(str(error)) from None
    if platforms is not None and len(platforms) > MAX_PLATFORMS:
        raise _bad_order(f"name at most {MAX_PLATFORMS} platforms, or write platform=all")
    return DownloadOrder(tuple(_wanted(text, request, table) for text in texts), platforms)


def _wanted(text: str, request: RegistryRequest, table: RoutingTable) -> WantedImage:
    name, tag, digest = split_image(text)
    tag = tag or ("" if digest else "latest")
    for one in (tag, digest):
        if one:
            reference.check_reference(one)
    if digest and not reference.is_digest(digest):
        raise _bad_order("what follows @ in the name of an image has to be a digest, sha256:...")
    return WantedImage(routing.resolve(name, request.endpoint.namespace, request.host, table), tag, digest)


def _bad_order(problem: str) -> OciError:
    return OciError(400, Code.UNSUPPORTED, f"no file can be made: {problem}")


class Downloads:
    """Answers requests for images as files."""

    def __init__(self, pull: Pull, callers: Callers, exporter: Exporter | None) -> None:
        """`exporter` None: this shell cannot read blobs."""
        self._pull = pull
        self._callers = callers
        self.exporter = exporter

    async def answer(
        self, request: RegistryRequest, order: DownloadOrder, caller: Caller, records: Sequence[AccessRecord]
    ) -> Answer:
        """Return the file, a part of it, or the way to its lasting address. Raises OciError.

        `records` are what the log says, one for each image. The rules allowed all of them.
        """
        if self.exporter is None:
            problem = "a gateway on Cloudflare Workers gives no images as files: use a gateway on a server"
            raise OciError(501, Code.UNSUPPORTED, problem)
        items = [await self._item(request, image, order, caller) for image in order.images]
        if not order.is_fixed:
            digests = [await self.exporter.digest(item) for item in items]
            return _redirect(request, order, digests, records[0])
        plan = await self.exporter.plan(items, request.received.peer, wants_body=request.wants_body)
        answer = None
        try:
            answer = _file_answer(request, plan, records)
        finally:
            if answer is None or answer.body is None:
                plan.drop()
        return answer

    async def _item(
        self, request: RegistryRequest, image: WantedImage, order: DownloadOrder, caller: Caller
    ) -> ExportItem:
        credential = await self._callers.credential(caller, request, image.route)
        target = await self._pull.target(image.route.upstream, image.route.repository, credential)
        name = f"{image.route.upstream}/{image.route.repository}"
        return ExportItem(target, image.reference, name, image.tag, order.platforms)


def _redirect(request: RegistryRequest, order: DownloadOrder, digests: Sequence[str], record: AccessRecord) -> Answer:
    """Lead to the address with digests, which is the same for everybody and always gives the same file."""
    named = [
        ("image", f"{image.route.upstream}/{image.route.repository}{':' if image.tag else ''}{image.tag}@{digest}")
        for image, digest in zip(order.images, digests, strict=True)
    ]
    named += [("platform", str(platform)) for platform in order.platforms or ("all",)]
    secret = f"/{request.received.secret}" if request.login is not None else ""
    location = f"{secret}/download?{urlencode(named, quote_via=quote, safe='/:@')}"
    lines = (("location", location), ("content-length", "0"), ("cache-control", "no-store"))
    return Answer(302, lines, b"", record)


def _file_answer(request: RegistryRequest, plan: ExportPlan, records: Sequence[AccessRecord]) -> Answer:
    """Answer with the file: 200, 206 for a part of it, 304. Raises OciError 412 and 416."""
    record = replace(records[0], outcome=plan.outcome)
    identity = (("etag", f'"{plan.etag}"'), ("cache-control", "private"), ("accept-ranges", "bytes"))
    required = request.header("if-match")  # Firefox continues with it, others with If-Range
    if required is not None and not head.etag_matches(required, plan.etag):
        raise OciError(412, Code.UNSUPPORTED, "the file is another one by now: begin the download anew")
    if head.etag_matches(request.header("if-none-match"), plan.etag):
        return Answer(304, identity, record=record)
    wanted = request.byte_range(plan.etag)
    part = None
    if wanted is not None:
        part = wanted.within(plan.size_bytes)
        if part is None:
            line = ("content-range", f"bytes */{plan.size_bytes}")
            raise OciError(416, Code.UNSUPPORTED, f"the range is outside the {plan.size_bytes} bytes", headers=(line,))
    given = part or ContentRange(0, plan.size_bytes - 1, plan.size_bytes)
    disposition = f'attachment; filename="{plan.file_name}"'
    lines: Headers = (
        ("content-type", TAR),
        ("content-length", str(given.length)),
        *identity,
        ("content-disposition", disposition),
    )
    if part is not None:
        lines += (("content-range", part.format()),)
    if not request.wants_body:
        return Answer(200, lines, None, record)
    others = tuple(replace(other, digest=other.reference) for other in records[1:])
    record = replace(record, digest=record.reference, others=others)
    return Answer(200 if part is None else 206, lines, plan.body(given.first, given.last + 1), record)
