"""The `Board` of a server: gathers what the status page shows, and does what operators order there.

What is kept is looked at through an index of its own: its list takes long, and pulls would wait for their own thread.
"""

import asyncio
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from hubferry.core.activity import Figures
from hubferry.core.errors import Code, OciError
from hubferry.core.http import Request
from hubferry.core.image import ImageName, parse_image
from hubferry.core.platforms import parse_platforms
from hubferry.core.rules import GATEWAY, AccessPolicy
from hubferry.core.settings import Settings
from hubferry.core.warm import parse_tagged
from hubferry.gateway.gateway import Gateway
from hubferry.gateway.operators import Operators
from hubferry.pages.board import Disk, KeptRow, Overview, RunningFill, UpstreamState
from hubferry.ports.content import StoreFailure
from hubferry.ports.shell import Visit
from hubferry.ports.upstream import Readable
from hubferry.server.activity import Activity
from hubferry.server.audit import AuditLog
from hubferry.server.live import Live
from hubferry.server.log import Events, logger
from hubferry.server.warm_orders import WarmOrders
from hubferry.store.catalogue import Catalogue, KeptImage
from hubferry.store.index import SqliteIndex
from hubferry.store.layout import Layout
from hubferry.store.ledger import CacheLimits, Ledger
from hubferry.store.under_way import UnderWay, images_of, under_way

FRESH_S = 1.0  # how long an overview is shown again
DISK_S = 10.0
MOST_FILLS = 20  # that are shown
MOST_BUSY = 10
MOST_PROBLEMS = 10


class Store:
    """The cache folder, as operators see it. Methods block."""

    def __init__(self, settings: Settings) -> None:
        self._layout = Layout(Path(settings.cache.dir))
        self._most_bytes = settings.cache.max_size.size_bytes
        self.index = SqliteIndex(self._layout.folder, Events())
        limits = CacheLimits(self._most_bytes, settings.cache.min_free.size_bytes)
        ledger = Ledger(self._layout, self.index.transact, limits)
        self.catalogue = Catalogue(self._layout, self.index.transact, ledger)
        self._names: dict[str, str] = {}
        self._disk: tuple[float, Disk] | None = None

    def fills(self) -> tuple[list[UnderWay], dict[str, str]]:
        """Return the blobs that are being filled, and the names of images that they belong to."""
        found = under_way(self._layout)
        here = [one.digest for one in found]
        self._names = {digest: name for digest, name in self._names.items() if digest in here}
        if unnamed := [digest for digest in here if digest not in self._names]:
            self._names |= images_of(self.index.transact, unnamed)
        return found, dict(self._names)

    def disk(self) -> Disk:
        """Return what the cache takes, at most DISK_S old. Raises StoreFailure."""
        now = time.monotonic()
        if self._disk is None or now - self._disk[0] > DISK_S:
            try:
                stat = os.statvfs(self._layout.folder)
            except OSError as error:
                raise StoreFailure(f"{self._layout.folder} cannot be used: {error.strerror}") from None
            used_bytes, images = self.catalogue.size()
            free_bytes = stat.f_bavail * stat.f_frsize
            self._disk = (now, Disk(used_bytes, self._most_bytes, free_bytes, images))
        return self._disk[1]

    def find(self, name: ImageName) -> list[KeptImage]:
        """Return the kept images of a name. Raises OciError 404 when there is none, and StoreFailure."""
        found = self.catalogue.find(name)
        if not found:
            raise OciError(404, Code.NAME_UNKNOWN, f"nothing of {name} is kept any more: load the list again")
        return found


class ServerBoard:
    """The board of one worker process."""

    def __init__(
        self,
        settings: Settings,
        gateway: Gateway,
        operators: Operators,
        activity: Activity,
        *,
        audit: AuditLog | None = None,
    ) -> None:
        self._settings = settings
        self._gateway = gateway
        self._operators = operators
        self._activity = activity
        self._audit = audit
        self._store = Store(settings) if settings.cache.enabled else None
        self._orders = WarmOrders(gateway.warmer()) if settings.cache.enabled else None
        self._policy = AccessPolicy(settings.access, settings.upstreams)
        self._live = Live(self.look)
        self._rates: dict[tuple[str, str], tuple[float, int]] = {}
        self._looking = asyncio.Lock()
        self._looked: tuple[float, Overview] | None = None

    async def operator(self, request: Request, arrived: Request, visit: Visit) -> str:
        return await self._operators.identify(request, arrived, visit)

    def is_operator(self, request: Request, arrived: Request) -> bool:
        return self._operators.includes(request, arrived)

    @property
    def keeps(self) -> bool:
        return self._store is not None

    def follow(self, language: str) -> Readable:
        return self._live.follow(language)

    def end_streams(self) -> None:
        """End what never ends by itself: the server stops, and waits for every answer."""
        self._live.end()

    async def close(self) -> None:
        """End the live figures, cancel the warm orders, and close the index."""
        self._live.end()
        if self._orders is not None:
            await self._orders.close()
        if self._store is not None:
            await self._store.index.close()

    async def look(self) -> Overview:
        async with self._looking:
            if self._looked is None or time.monotonic() - self._looked[0] > FRESH_S:
                self._looked = (time.monotonic(), await self._look())
        return self._looked[1]

    async def _look(self) -> Overview:
        record = await self._activity.look()
        now = time.time()
        spans = {name: ring.recent(now) for name, ring in record.rings.items()}
        fills, disk = await self._look_at_store()
        return Overview(
            now=now,
            since=record.since,
            total=record.total,
            day=sum(spans["day"], Figures()),
            spans=spans,
            fills=fills[:MOST_FILLS],
            more_fills=max(len(fills) - MOST_FILLS, 0),
            upstreams=[self._upstream(name) for name in self._settings.upstreams],
            disk=disk,
            busiest=record.busiest(now, MOST_BUSY),
            problems=record.problems()[:MOST_PROBLEMS],
            jobs=[] if self._orders is None else self._orders.shown(),
            is_summed=self._activity.is_summed,
        )

    async def _look_at_store(self) -> tuple[list[RunningFill], Disk | None]:
        if self._store is None:
            return [], None
        found, names = await asyncio.to_thread(self._store.fills)
        try:
            disk = await asyncio.to_thread(self._store.disk)
        except StoreFailure:  # the index says so in the log
            disk = None
        return self._with_rates(found, names), disk

    def _with_rates(self, found: Sequence[UnderWay], names: Mapping[str, str]) -> list[RunningFill]:
        """Return the fills with their rates since the last look, the largest first."""
        now, before = time.monotonic(), self._rates
        self._rates = {(one.upstream, one.digest): (now, one.at_bytes) for one in found}
        fills = []
        for one in found:
            at_s, at_bytes = before.get((one.upstream, one.digest), (now, one.at_bytes))
            rate = max(one.at_bytes - at_bytes, 0) / (now - at_s) if now > at_s else None
            name = names.get(one.digest, one.upstream)
            fills.append(RunningFill(name, one.digest, one.at_bytes, one.size_bytes, rate))
        return sorted(fills, key=lambda fill: fill.size_bytes or 0, reverse=True)

    def _upstream(self, name: str) -> UpstreamState:
        return UpstreamState(name, self._gateway.is_down(name), self._gateway.limits.standings(name))

    async def kept(self, words: str) -> Sequence[KeptRow]:
        store = self._needed()
        try:
            images = await asyncio.to_thread(store.catalogue.images)
        except StoreFailure as error:
            raise OciError(503, Code.UNAVAILABLE, str(error)) from None
        return [_row(image) for image in images if words.lower() in str(image.name).lower()]

    async def change(self, action: str, form: Mapping[str, str], who: str, peer: str) -> str:
        text = form.get("image", "").strip()
        try:
            done = await self._warm(text, form) if action == "warm" else await self._change_kept(action, text)
        except StoreFailure as error:
            raise OciError(503, Code.UNAVAILABLE, str(error)) from None
        logger().info("operated", action=action, image=text, who=who, peer=peer)
        if self._audit is not None:
            self._audit.write_change(action, text, who, peer)
        self._looked = None
        return done

    async def _warm(self, text: str, form: Mapping[str, str]) -> str:
        """Order an image. Raises ValueError, OciError."""
        if self._orders is None:
            raise ValueError("nothing is kept here, because cache.enabled is false")
        image = parse_tagged(text, self._settings.upstreams, self._settings.default_upstream)
        decision = self._policy.decide(GATEWAY, image.upstream, image.repository, image.reference)
        if not decision.is_allowed:
            raise ValueError(f"{image} may not be pulled ({decision.by})")
        written = [one.strip() for one in form.get("platforms", "").split(",") if one.strip()]
        self._orders.add(image, parse_platforms(tuple(written), platform.machine()))
        return "warm_ordered"

    async def _change_kept(self, action: str, text: str) -> str:
        """Remove, pin or unpin one image. Raises ValueError, OciError, StoreFailure."""
        store = self._needed()
        name = parse_image(text, self._settings.upstreams, self._settings.default_upstream)
        if not name.reference:
            raise ValueError(f"{text} names no tag and no digest")
        found = await asyncio.to_thread(store.find, name)
        found = [image for image in found if image.name == name]
        if action == "remove":
            await asyncio.to_thread(store.catalogue.remove, found)
            return "was_removed"
        if action == "pin":
            await asyncio.to_thread(store.catalogue.pin, found)
            return "was_pinned"
        await asyncio.to_thread(store.catalogue.unpin, [name])
        return "was_unpinned"

    def _needed(self) -> Store:
        if self._store is None:
            raise OciError(404, Code.NAME_UNKNOWN, "nothing is kept here: cache.enabled is false")
        return self._store


def _row(image: KeptImage) -> KeptRow:
    return KeptRow(str(image.name), image.digest, image.size_bytes, image.used_at, image.confirmed_at, image.is_pinned)
