"""A kept image as one file, beside a kept blob of the same size: GB/s and CPU seconds per GB.

The goal: the file comes at 0.8 times the speed of the blob at least. The image has LAYERS layers, each a file of its
own in the cache, and comes through /download, with its clients reading every byte.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from bench.blobs import write_blob
from bench.caches import wait_kept
from bench.contestants import blob_server, hubferry
from bench.load import sha256_of
from bench.parts.stream import Transfer, measure_transfer, middle_of
from bench.run import MIB
from bench.table import Goal, Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.contestants import Contestant
    from bench.run import Run

__all__ = ["measure"]

LAYERS = 8
LEAST = 0.8
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def measure(run: Run) -> Sequence[Table]:
    root, upstream_state = run.state("root"), run.state("upstream")
    with (
        blob_server(upstream_state, root, upstream_state / "asked.log") as origin,
        hubferry(run.state("hubferry"), f"http://127.0.0.1:{origin.port}", cache=True) as ours,
    ):
        blob = write_blob(root, run.blob_bytes)
        layers = [write_blob(root, run.blob_bytes // LAYERS) for _ in range(LAYERS)]
        manifest = _write_image(root, [layer.hex_digest for layer in layers], run.blob_bytes // LAYERS)
        paths = {"blob": blob.path, "file": f"/download?image=bench/blob@sha256:{manifest}"}
        first = {what: sha256_of(ours, path) for what, path in paths.items()}
        for one in (blob, *layers):
            wait_kept(ours, one.path)
        if {what: sha256_of(ours, path) for what, path in paths.items()} != first:
            raise AssertionError("two downloads of one file differ")
        return [_table(run, ours, paths, clients) for clients in (1, 8)]


def _write_image(root: Path, layers: Sequence[str], size: int) -> str:
    """Write a manifest and a config to be served; returns the manifest's digest in hexadecimal digits."""
    config = b"{}"
    descriptors = [{"mediaType": LAYER, "digest": f"sha256:{layer}", "size": size} for layer in layers]
    config_digest = hashlib.sha256(config).hexdigest()
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": f"sha256:{config_digest}", "size": len(config)},
        "layers": descriptors,
    }
    manifest = json.dumps(document).encode()
    digest = hashlib.sha256(manifest).hexdigest()
    folder = root / "v2/bench/blob"
    (folder / "manifests").mkdir()
    (folder / "manifests" / f"sha256:{digest}").write_bytes(manifest)
    (folder / "blobs" / f"sha256:{config_digest}").write_bytes(config)
    return digest


def _table(run: Run, ours: Contestant, paths: dict[str, str], clients: int) -> Table:
    rounds: dict[str, list[Transfer]] = {what: [] for what in paths}
    for _ in range(run.rounds):
        for what, path in paths.items():
            rounds[what].append(measure_transfer(ours, path, run.blob_bytes, clients, reads=True))
    middles = {what: middle_of(transfers) for what, transfers in rounds.items()}
    speed = middles["file"].gb_per_s / middles["blob"].gb_per_s
    return Table(
        title=f"export: {run.blob_bytes // MIB} MiB, kept, {clients} client(s) that read, median of {run.rounds}",
        columns=("what", "GB/s", "x blob", "CPU s/GB"),
        rows=[
            (
                what,
                f"{middle.gb_per_s:.2f}",
                f"{middle.gb_per_s / middles['blob'].gb_per_s:.2f}",
                f"{middle.cpu_s_per_gb:.2f}",
            )
            for what, middle in middles.items()
        ],
        goals=[Goal(f"at least {LEAST} times the throughput of a blob", f"{speed:.2f}", speed >= LEAST)],
        samples={what: [(t.gb_per_s, t.cpu_s_per_gb) for t in transfers] for what, transfers in rounds.items()},
    )
