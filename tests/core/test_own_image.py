"""The image that only a gateway has: whole, and only that."""

import json

import pytest

from hubferry.core.manifest import OCI_IMAGE, decide_media_type, has_digest, parts_of
from hubferry.core.own_image import ARCHITECTURES, find_own, tag_for
from hubferry.core.routing import EndpointKind

MANIFEST, BLOB = EndpointKind.MANIFEST, EndpointKind.BLOB


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_is_whole(architecture: str) -> None:
    found = find_own(MANIFEST, tag_for(architecture, "0123"))
    assert found is not None
    assert decide_media_type(found.media_type, found.content) == OCI_IMAGE
    assert has_digest(found.content, found.digest)
    assert find_own(MANIFEST, found.digest) is found
    parts = [find_own(BLOB, digest) for digest in parts_of(found.content)]
    config, layer = parts
    assert config is not None
    assert layer is not None
    for part, digest in zip((config, layer), parts_of(found.content), strict=True):
        assert part.digest == digest
        assert has_digest(part.content, digest)
    said = json.loads(config.content)
    assert (said["architecture"], said["rootfs"]["diff_ids"]) == (architecture, [layer.digest])


def test_nothing_else_is_there() -> None:
    for kind, reference in (
        (MANIFEST, "latest"),
        (MANIFEST, "sparc-1"),
        (MANIFEST, f"sha256:{'0' * 64}"),
        (BLOB, f"sha256:{'0' * 64}"),
        (EndpointKind.TAGS, ""),
    ):
        assert find_own(kind, reference) is None


def test_nothing_refers_to_it() -> None:
    found = find_own(EndpointKind.REFERRERS, f"sha256:{'0' * 64}")
    assert found is not None
    assert json.loads(found.content)["manifests"] == []
