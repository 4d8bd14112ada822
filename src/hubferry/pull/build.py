"""Puts the parts of this package together: over a disk, over a cache whose blobs are never read (the Worker's), or
without a cache.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from hubferry.core.access import Identities
from hubferry.core.freshness import timing_of
from hubferry.core.settings import Settings
from hubferry.ports.index import Index
from hubferry.ports.upstream import Transport
from hubferry.pull.blobs import KeptBlobs
from hubferry.pull.companions import Companions
from hubferry.pull.edge_blobs import EdgeCachedBlobs
from hubferry.pull.inspect import Inspector
from hubferry.pull.kept import AtEdge, NothingKept, OnDisk
from hubferry.pull.lists import KeptLists
from hubferry.pull.manifests import KeptManifests
from hubferry.pull.prefetch import Prefetch
from hubferry.pull.proofs import Proofs
from hubferry.pull.pull import Pull, Sources, decide_target
from hubferry.pull.referrers import ReferrersLists, ReferrersTags
from hubferry.pull.rehearse import Rehearsal
from hubferry.pull.results import Asks
from hubferry.pull.rights import Revision, Rights
from hubferry.pull.services import DiskCache, EdgeCache, Instruments
from hubferry.pull.small_bodies import body_reader
from hubferry.pull.streamed import StreamedBlobs, StreamedLists, StreamedManifests
from hubferry.pull.warm import Warmer
from hubferry.remote.fetch import Fetcher
from hubferry.remote.lists import RemoteLists
from hubferry.remote.manifests import RemoteManifests
from hubferry.remote.single_flight import SingleFlight
from hubferry.remote.target import Target, Upstream


@dataclass(frozen=True, slots=True)
class Remote:
    """The client of the upstreams (remote/), with the single flight that all its users share."""

    transport: Transport
    fetcher: Fetcher
    manifests: RemoteManifests
    lists: RemoteLists
    single_flight: SingleFlight


def build_pull(
    settings: Settings,
    upstreams: Mapping[str, Upstream],
    remote: Remote,
    cache: DiskCache | EdgeCache | None,
    instruments: Instruments,
) -> Pull:
    """Build the use cases over a cache; without one (None) everything is streamed through."""
    if cache is None:
        sources = _streamed(remote)
    elif isinstance(cache, DiskCache):
        sources = _on_disk(settings, upstreams, remote, cache, instruments)
    else:
        sources = _passing_through(settings, remote, cache, instruments)
    return Pull(upstreams, sources)


def _rights(settings: Settings, index: Index, instruments: Instruments, *, believes_mirrors: bool) -> Rights:
    return Rights(
        index,
        instruments.clock,
        Revision(index.withdrawals),
        identities=instruments.identities or Identities(secrets.token_bytes(32)),
        public_ttl_s=settings.cache.public_ttl.seconds,
        believes_mirrors=believes_mirrors,
    )


def _streamed(remote: Remote) -> Sources:
    asks = Asks(StreamedManifests(remote.manifests), StreamedBlobs(remote.fetcher), StreamedLists(remote.lists))
    inspector = Inspector(asks, NothingKept(), None, body_reader(remote.transport))
    return Sources(asks.manifests, asks.blobs, asks.lists, Revision(), inspector)


def _passing_through(settings: Settings, remote: Remote, cache: EdgeCache, instruments: Instruments) -> Sources:
    rights = _rights(settings, cache.index, instruments, believes_mirrors=False)
    proofs = Proofs(rights, remote.single_flight, instruments.clock)
    timing = timing_of(settings.cache)
    manifests = KeptManifests(remote.manifests, cache.index, cache.store, proofs, instruments, timing=timing)
    blobs = EdgeCachedBlobs(cache.blobs, proofs, StreamedBlobs(remote.fetcher))
    lists = StreamedLists(remote.lists)
    asks = Asks(manifests, blobs, lists)
    inspector = Inspector(asks, AtEdge(cache), rights, body_reader(remote.transport))
    return Sources(manifests, blobs, lists, rights.revision, inspector, rights)


def _on_disk(
    settings: Settings,
    upstreams: Mapping[str, Upstream],
    remote: Remote,
    cache: DiskCache,
    instruments: Instruments,
) -> Sources:
    rights = _rights(settings, cache.index, instruments, believes_mirrors=True)
    proofs = Proofs(rights, remote.single_flight, instruments.clock)
    timing = timing_of(settings.cache)
    kept_lists = KeptLists(
        remote.lists,
        cache.index,
        cache.store,
        proofs,
        instruments,
        timing=timing,
        unknown_referrers_are_absent=settings.cache.unknown_referrers == "absent",
    )
    kept_manifests = KeptManifests(remote.manifests, cache.index, cache.store, proofs, instruments, timing=timing)
    manifests = ReferrersTags(kept_manifests, kept_lists, cache.index, rights)
    lists = ReferrersLists(kept_lists, manifests)
    streamed = StreamedBlobs(remote.fetcher)
    blobs = KeptBlobs(remote.fetcher, cache, proofs, streamed, instruments.clock, is_only_upstream=len(upstreams) == 1)
    companions = Companions(
        manifests,
        lists,
        cache.blobs,
        quota_left=remote.fetcher.quota_left,
        referrers_bytes=settings.warm.referrers.size_bytes,
    )
    prefetch = None
    if settings.cache.prefetch or settings.cache.complete:
        prefetch = Prefetch(
            blobs.fill_to_end,
            cache.index,
            instruments.clock,
            log=instruments.log,
            fetches_layers=settings.cache.prefetch,
            companions=companions if settings.cache.complete else None,
        )

    async def own_target(upstream: str, repository: str) -> Target:
        return await decide_target(upstreams[upstream], repository, upstreams[upstream].account, rights)

    warmer = Warmer(own_target, companions, blobs, store=cache.blobs, fills=cache.fills)
    asks = Asks(manifests, blobs, lists)
    inspector = Inspector(asks, OnDisk(cache), rights, body_reader(remote.transport))
    rehearsal = Rehearsal(own_target, asks, cache, stale_if_error_s=timing.stale_if_error_s)
    return Sources(manifests, blobs, lists, rights.revision, inspector, rights, prefetch, warmer, rehearsal)
