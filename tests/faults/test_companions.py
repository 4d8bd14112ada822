"""What is kept with an image so that any client can pull it next: after one pull of one platform, and after a warm-up.

The image is as BuildKit makes it: an index with an attestation manifest for each platform; a signature refers to the
index and one to the attestation.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hubferry.core.manifest import OCI_IMAGE, OCI_INDEX
from tests.faults.conftest import REPOSITORY
from tests.faults.test_kept_manifests import kept
from tests.faults.test_prefetch import until
from tests.support import faults
from tests.support.content import Blob, digest_of
from tests.support.gateway import Gateway
from tests.support.http import Answer, fetch
from tests.support.hub import Hub
from tests.support.images import Image, build_image
from tests.support.toml import to_toml


@dataclass(frozen=True)
class Built:
    """An index of two platforms, by architecture, with their attestations, and the signatures."""

    digest: str
    manifest: bytes
    images: dict[str, Image]
    attestations: dict[str, Image]
    signatures: dict[str, Image]

    def needed(self) -> dict[str, list[str]]:
        """What a client may ask for that pulled amd64, or walks the whole index: by endpoint."""
        amd64, attested = self.images["amd64"], self.attestations["amd64"]
        manifests = [self.digest, *(one.digest for one in self.images.values())]
        manifests += [one.digest for one in (*self.attestations.values(), *self.signatures.values())]
        blobs = [*amd64.blobs, self.images["arm64"].config.digest]
        blobs += [*attested.blobs, self.attestations["arm64"].config.digest]
        blobs += [digest for one in self.signatures.values() for digest in one.blobs]
        referrers = [self.digest, amd64.digest, attested.digest]
        return {"manifests": manifests, "blobs": blobs, "referrers": referrers}


def attest(image: Image, architecture: str) -> Image:
    layer = Blob(b'{"_type": "https://in-toto.io/Statement/v0.1", "for": "%s"}' % architecture.encode())
    config = Blob(b'{"architecture": "unknown", "os": "unknown", "rootfs": {"type": "layers"}, "x": "%d"}' % len(layer.data))
    return artifact(config, [layer], {})


def artifact(config: Blob, layers: list[Blob], more: dict[str, Any]) -> Image:
    described = [{"mediaType": "application/vnd.in-toto+json", "digest": b.digest, "size": len(b.data)} for b in layers]
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config.digest,
            "size": len(config.data),
        },
        "layers": described,
        **more,
    }
    return Image(OCI_IMAGE, json.dumps(document).encode(), config, tuple(layers), (), "unknown")
