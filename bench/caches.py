"""The caches that are compared: hubferry, docker-registry as a proxy and nginx, all before one plain-HTTP upstream."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.blobs import check
from bench.contestants import Contestant, blob_server, hubferry, nginx_cache, registry_proxy
from bench.load import BadAnswer
from bench.upstream_log import UpstreamLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.blobs import BlobFile
    from bench.run import Run

__all__ = ["Caches", "drop", "flush", "flush_file", "kept_file", "wait_kept"]

PATIENCE_S = 60
_POLL_S = 0.002


@dataclass(frozen=True)
class Caches:
    """The upstream with the files of `root` and those in front of it, all on one disk."""

    root: Path
    origin: Contestant
    log: UpstreamLog
    registry: Contestant
    nginx: Contestant
    hubferry: Contestant

    @classmethod
    @contextlib.contextmanager
    def start(cls, run: Run) -> Iterator[Caches]:
        root = run.state("root")
        upstream_state = run.state("upstream")
        log = UpstreamLog(upstream_state / "asked.log")
        with contextlib.ExitStack() as stack:
            origin = stack.enter_context(blob_server(upstream_state, root, log.path))
            url = f"http://127.0.0.1:{origin.port}"
            yield cls(
                root,
                origin,
                log,
                stack.enter_context(registry_proxy(run.state("registry-proxy"), url)),
                stack.enter_context(nginx_cache(run.state("nginx-cache"), origin.port)),
                stack.enter_context(hubferry(run.state("hubferry"), url, cache=True)),
            )

    @property
    def peers(self) -> tuple[Contestant, ...]:
        return self.registry, self.nginx

    @property
    def contestants(self) -> tuple[Contestant, ...]:
        return *self.peers, self.hubferry

    def warm(self, blob: BlobFile) -> None:
        """Have the blob in every cache, and see that it is the right one when it comes from there."""
        check(self.contestants, blob)
        for contestant in self.contestants:
            wait_kept(contestant, blob.path)
            flush(contestant, blob.path)
        before = self.log.sent_bytes(blob.path)
        check(self.contestants, blob)
        if self.log.sent_bytes(blob.path) != before:
            raise BadAnswer("a blob that was kept was fetched again: there is no warm cache to measure")


def wait_kept(contestant: Contestant, path: str) -> None:
    """Wait until the blob is there under its final name; its client may have it before."""
    deadline = time.monotonic() + PATIENCE_S
    while not kept_file(contestant, path).exists():
        if time.monotonic() > deadline:
            raise BadAnswer(f"{contestant.name}: {path} was not kept within {PATIENCE_S} s")
        time.sleep(_POLL_S)


def flush(contestant: Contestant, path: str) -> None:
    """Have a kept blob on the disk, so that the next contestant finds it at rest."""
    flush_file(kept_file(contestant, path))


def flush_file(path: Path) -> None:
    """Have a file on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def drop(contestant: Contestant, path: str) -> None:
    """Remove the file of a kept blob that nobody will ask for any more: disk and memory are the next one's."""
    kept_file(contestant, path).unlink()


def kept_file(contestant: Contestant, path: str) -> Path:
    """Where a cache has a blob when it is finished."""
    if contestant.kept_at is None:
        raise BadAnswer(f"{contestant.name} keeps no blobs")
    return contestant.kept_at(path)
