"""The files that the TLS upstream serves as blobs, named by their digests."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.contestants import Contestant, file_server, hubferry, nginx_proxy
from bench.load import BadAnswer, sha256_of
from bench.run import MIB
from tests.support.tls import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.run import Run

__all__ = ["BlobFile", "Field", "check", "write_blob", "write_sparse_blob"]


@dataclass(frozen=True)
class BlobFile:
    """A blob under `root`; `path` is that of its URL, `slow_path` the same at 16 KiB/s."""

    hex_digest: str

    @property
    def path(self) -> str:
        return f"/v2/bench/blob/blobs/sha256:{self.hex_digest}"

    @property
    def slow_path(self) -> str:
        return f"/v2/slow/blob/blobs/sha256:{self.hex_digest}"


def write_blob(root: Path, size: int) -> BlobFile:
    """Random bytes."""
    block = os.urandom(MIB)
    blocks = (
        number.to_bytes(8, "big") + block[8 : min(MIB, size - at)] for number, at in enumerate(range(0, size, MIB))
    )
    return _write(root, blocks)


def write_sparse_blob(root: Path, size: int) -> BlobFile:
    """Zeros that take no room on the disk; for slow readers, who do not care."""
    blob = _write(root, (bytes(MIB) for _ in range(size // MIB)), store=False)
    with (root / blob.path[1:]).open("wb") as file:
        file.truncate(size)
    return blob


def _write(root: Path, blocks: Iterator[bytes], *, store: bool = True) -> BlobFile:
    folder = root / "v2/bench/blob/blobs"
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "temporary"
    sha = hashlib.sha256()
    with temporary.open("wb") as file:
        for block in blocks:
            sha.update(block)
            if store:
                file.write(block)
    blob = BlobFile(sha.hexdigest())
    temporary.rename(root / blob.path[1:])
    return blob


def check(contestants: Sequence[Contestant], blob: BlobFile) -> None:
    """Every contestant delivers the right bytes, or the bench ends; warms connections and caches as well."""
    for contestant in contestants:
        if sha256_of(contestant, blob.path) != blob.hex_digest:
            raise BadAnswer(f"{contestant.name}: wrong bytes")


@dataclass(frozen=True)
class Field:
    """The TLS upstream and those in front of it. New contestants for blobs are added here."""

    root: Path
    origin: Contestant
    hubferry: Contestant
    peers: tuple[Contestant, ...]

    @classmethod
    @contextlib.contextmanager
    def start(cls, run: Run) -> Iterator[Field]:
        authority = Authority(run.state("authority"))
        root = run.state("root")
        with contextlib.ExitStack() as stack:
            origin = stack.enter_context(file_server(run.state("upstream"), root, authority))
            peers = tuple(
                stack.enter_context(nginx_proxy(run.state("nginx"), origin.port, authority, buffering=buffering))
                for buffering in (True, False)
            )
            url = f"https://127.0.0.1:{origin.port}"
            ours = stack.enter_context(hubferry(run.state("hubferry"), url, authority))
            yield cls(root, origin, ours, peers)

    @property
    def gateways(self) -> tuple[Contestant, ...]:
        return (*self.peers, self.hubferry)
