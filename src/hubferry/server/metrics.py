"""The `Metrics` port and `/metrics`: counters and gauges for Prometheus, made with its own library.

A counter shows the sum over all worker processes, also those that died; a gauge shows the value that was set last.
Labels are names of configured upstreams and accounts, statuses, and words of our own. They are never a repository, a
client or anything else that a request can make up.

This module must be imported only in a process that counts, and only after run.py has set the folder for the counts.
With several workers each worker writes its own file there, and the worker that is asked adds them up.
Not here: who may read the metrics (core/client.py).
"""

import asyncio
import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from hubferry.gateway.answer import AccessRecord
from hubferry.ports.shell import FillResult
from hubferry.store.ledger import Removed

FLUSH_S = 0.5  # how long answers are summed up before the counters are updated, which costs more than adding

FAMILIES: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "hubferry_requests_total": ("answers, as in the log", ("upstream", "outcome", "status")),
        "hubferry_sent_bytes_total": ("bytes of bodies sent to clients", ("upstream", "outcome")),
        "hubferry_fills_total": ("blobs fetched to be kept, by what became of them", ("upstream", "result")),
        "hubferry_wrong_content_total": ("content refused: another length or digest", ("upstream",)),
        "hubferry_store_failures_total": ("content that could not be kept", ()),
        "hubferry_index_failures_total": ("reads and writes of the index that failed", ()),
        "hubferry_evicted_files_total": ("files removed to make room", ()),
        "hubferry_evicted_bytes_total": ("bytes removed to make room", ()),
        "hubferry_upstream_requests_total": ("requests to upstreams", ("upstream", "method", "status")),
        "hubferry_upstream_bytes_total": ("bytes of bodies received from upstreams", ("upstream",)),
        "hubferry_accounts_refused_total": ("times an upstream refused an account of ours", ("upstream", "account")),
    }
)

GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "hubferry_upstream_pulls_limit": ("pulls that an upstream allows in its window", ("upstream", "account")),
        "hubferry_upstream_pulls_left": ("pulls that are left of them, as it last said", ("upstream", "account")),
    }
)


class Counters:
    """The counters and gauges of one process."""

    def __init__(self, upstreams: Iterable[str]) -> None:
        self._registry = CollectorRegistry()
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # set by run.py when there are several workers
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]
            own = None
        else:
            prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
            own = self._registry
        self._families = {
            name: Counter(name, help_line, labels, registry=own) for name, (help_line, labels) in FAMILIES.items()
        }
        self._gauges = {
            name: Gauge(name, help_line, labels, registry=own, multiprocess_mode="mostrecent")
            for name, (help_line, labels) in GAUGES.items()
        }
        self._children: dict[tuple[str, ...], Counter] = {}
        self._answered: dict[tuple[str, str, int], list[int]] = {}
        self._flushing: asyncio.TimerHandle | None = None
        for upstream in upstreams:  # begins at 0, so that Prometheus sees the first failure as an increase
            self._of("hubferry_wrong_content_total", upstream)

    def answered(self, record: AccessRecord, status: int, sent_bytes: int) -> None:
        """Count a request that is over. May be called on the event loop only."""
        key = (record.upstream, record.outcome_name or "local", status)
        sums = self._answered.get(key)
        if sums is None:
            sums = self._answered[key] = [0, 0]
        sums[0] += 1
        sums[1] += sent_bytes
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Add the answers since the last flush to the counters. May be called on the event loop only."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        answered, self._answered = self._answered, {}
        for (upstream, outcome, status), (count, sent_bytes) in answered.items():
            self._of("hubferry_requests_total", upstream, outcome, str(status)).inc(count)
            self._of("hubferry_sent_bytes_total", upstream, outcome).inc(sent_bytes)

    async def exposition(self) -> bytes:
        """Return all metrics of all workers in the text format of Prometheus.

        Answers of other workers are counted up to FLUSH_S late.
        """
        self.flush()
        return await asyncio.to_thread(generate_latest, self._registry)

    def evicted(self, removed: Removed) -> None:
        """Count files that were removed from the cache to make room."""
        self._of("hubferry_evicted_files_total").inc(removed.files)
        self._of("hubferry_evicted_bytes_total").inc(removed.size_bytes)

    def upstream_asked(self, upstream: str, method: str, status: int | None) -> None:
        self._of("hubferry_upstream_requests_total", upstream, method, str(status or "failed")).inc()

    def upstream_gave(self, upstream: str, size_bytes: int) -> None:
        self._of("hubferry_upstream_bytes_total", upstream).inc(size_bytes)

    def fill_ended(self, upstream: str, result: FillResult) -> None:
        self._of("hubferry_fills_total", upstream, result).inc()

    def wrong_content(self, upstream: str) -> None:
        self._of("hubferry_wrong_content_total", upstream).inc()

    def store_failed(self) -> None:
        self._of("hubferry_store_failures_total").inc()

    def index_failed(self) -> None:
        self._of("hubferry_index_failures_total").inc()

    def quota(self, upstream: str, account: str, limit: int, remaining: int) -> None:
        self._gauges["hubferry_upstream_pulls_limit"].labels(upstream, account).set(limit)
        self._gauges["hubferry_upstream_pulls_left"].labels(upstream, account).set(remaining)

    def account_refused(self, upstream: str, account: str) -> None:
        self._of("hubferry_accounts_refused_total", upstream, account).inc()

    def _of(self, name: str, *labels: str) -> Counter:
        """Return the counter with these labels. It is remembered, because the library's own lookup costs more."""
        key = (name, *labels)
        child = self._children.get(key)
        if child is None:
            family = self._families[name]
            child = self._children[key] = family.labels(*labels) if labels else family
        return child
