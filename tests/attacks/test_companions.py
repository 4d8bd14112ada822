"""A companion of an image that is longer than its descriptor says: nobody asked for it, so no more is fetched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.conftest import REPOSITORY, config
from tests.support import faults
from tests.support.buildkit_images import build_published
from tests.support.content import MIB, Blob, digest_of
from tests.support.exchange import Exchange
from tests.support.gateway import Gateway
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import Image, Index
from tests.support.waiting import wait_until

LARGE = 48 * MIB
LITTLE = 16 * MIB  # what may be under way in buffers when it is noticed


def given(hub: Hub, blob: Blob) -> list[Exchange]:
    """The answers that had bytes of a blob."""
    return hub.find("cdn", "GET", blob.digest.removeprefix("sha256:"))


@pytest.mark.parametrize("is_told", [True, False], ids=["declared", "undeclared"])
def test_a_companion_that_is_longer_than_its_descriptor_says_is_stopped(
    tmp_path: Path, hub: Hub, is_told: bool
) -> None:
    published = build_published("liar")
    large = Blob.generated(LARGE, seed=3)
    image, attestation = published.index.image("amd64"), published.attestation("amd64")
    named = json.loads(attestation.manifest)
    named["layers"] = [{"mediaType": "application/vnd.in-toto+json", "digest": large.digest, "size": 10}]
    liar = Image(attestation.media_type, json.dumps(named).encode(), attestation.config, (large,))
    listed = json.loads(published.index.manifest)
    listed["manifests"] = [one for one in listed["manifests"] if one["digest"] in (image.digest, attestation.digest)]
    listed["manifests"][1] |= {"digest": digest_of(liar.manifest), "size": len(liar.manifest)}
    index = Index(published.index.media_type, json.dumps(listed).encode(), (image, liar))
    hub.add(REPOSITORY, "latest", index)
    if not is_told:
        hub.script(faults.chunked(), role="cdn", path=large.digest.removeprefix("sha256:"), times=None)
    settings = config(tmp_path, hub)
    settings["cache"]["complete"] = True
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        base = f"{gateway.url}/v2/app"
        assert fetch(f"{base}/manifests/latest").status == 200
        assert fetch(f"{base}/manifests/{image.digest}").status == 200
        for digest in image.blobs:
            assert fetch(f"{base}/blobs/{digest}").ended == "complete"
        wait_until(
            lambda: bool(given(hub, large)) and all(one.state != "open" for one in given(hub, large)),
            "the end of what is fetched",
        )
        sent = sum(one.sent for one in given(hub, large))
        assert sent < LITTLE, f"{sent} bytes of a blob of 10 were fetched"
        # whoever asks for it gets it all the same, once the fetch that was stopped has ended
        wait_until(lambda: fetch(f"{base}/blobs/{large.digest}").body == large.data, "all of it for who asks")
