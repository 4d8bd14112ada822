"""What is in a file of images: its documents and their order, and which images cannot be in one."""

import json
from typing import Any

import pytest

from hubferry.core.archive import (
    MAX_BLOBS,
    MAX_LAYERS,
    ArchiveProblem,
    ImageParts,
    Manifest,
    PackedImage,
    file_name,
    pack,
    parse_image_parts,
)
from hubferry.core.manifest import OCI_IMAGE
from hubferry.core.tar import Content, Slice, Tar
from tests.support.images import DOCKER, Image, Index, build_artifact, build_image, build_index

INDEX = build_index("nginx", flavour=DOCKER, layer_sizes=(10,))
OTHER = build_image("other", layer_sizes=(10,))


def packed(source: Image | Index, repository: str, tag: str, *architectures: str) -> PackedImage:
    """An image as pull/export.py collects it."""
    images = [source] if isinstance(source, Image) else [source.image(one) for one in architectures]
    roots = [Manifest(source.digest, source.media_type, source.manifest)] if isinstance(source, Index) else []
    manifests = (*roots, *(Manifest(one.digest, one.media_type, one.manifest) for one in images))
    return PackedImage(repository, tag, manifests, tuple(parse_image_parts(one.manifest) for one in images))


NGINX = packed(INDEX, "docker.io/library/nginx", "1.27", "amd64")


def files_of(tar: Tar) -> dict[str, bytes]:
    """The files by name; of a blob its digest stands for its bytes."""
    found, left = {}, 0
    literal = b""
    for part in tar.between(0, tar.size_bytes):
        literal += part if isinstance(part, bytes) else b"\xff" * (part.end - part.start)
    while any(header := literal[left : left + 512]):
        name, size = header[:100].rstrip(b"\0").decode(), int(header[124:135], 8)
        found[name] = literal[left + 512 : left + 512 + size]
        left += 512 + -(-size // 512) * 512
    return found


def path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def test_documents_come_first_then_manifests_configs_and_layers() -> None:
    image = INDEX.image("amd64")
    expected = ["oci-layout", "index.json", "manifest.json", path(INDEX.digest), path(image.digest)]
    expected += [path(image.config.digest), *(path(layer.digest) for layer in image.layers)]
    assert list(files_of(pack([NGINX]))) == expected


def test_an_index_stays_whole_and_one_platform_is_loaded() -> None:
    files = files_of(pack([packed(INDEX, "docker.io/library/nginx", "1.27", "arm64", "amd64")]))
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry == {
        "mediaType": DOCKER.index,
        "digest": INDEX.digest,
        "size": len(INDEX.manifest),
        "annotations": {
            "io.containerd.image.name": "docker.io/library/nginx:1.27",
            "org.opencontainers.image.ref.name": "docker.io/library/nginx:1.27",
        },
    }
    assert files[path(INDEX.digest)] == INDEX.manifest
    image = INDEX.image("arm64")
    (loaded,) = json.loads(files["manifest.json"])
    assert loaded == {
        "Config": path(image.config.digest),
        "RepoTags": ["docker.io/library/nginx:1.27"],
        "Layers": [path(layer.digest) for layer in image.layers],
    }


def test_what_several_images_share_is_there_once() -> None:
    base = build_image("base", layer_sizes=(10,))
    images = [build_image(f"above-{number}", base=base, layer_sizes=(10,)) for number in range(2)]
    tar = pack([packed(image, "ghcr.io/owner/app", str(number)) for number, image in enumerate(images)])
    names = [part.content.digest for part in tar.between(0, tar.size_bytes) if isinstance(part, Slice)]
    assert len(names) == len(set(names)) == 2 + 3


def test_an_image_with_two_names_is_loaded_once() -> None:
    named = [packed(OTHER, "ghcr.io/owner/app", tag) for tag in ("1", "latest")]
    files = files_of(pack(named))
    assert [one["RepoTags"] for one in json.loads(files["manifest.json"])] == [
        ["ghcr.io/owner/app:1", "ghcr.io/owner/app:latest"]
    ]
    assert len(json.loads(files["index.json"])["manifests"]) == 2


def test_an_image_without_a_tag_has_its_digest_as_its_name() -> None:
    files = files_of(pack([packed(OTHER, "ghcr.io/owner/app", "")]))
    assert json.loads(files["manifest.json"])[0]["RepoTags"] is None
    annotations = json.loads(files["index.json"])["manifests"][0]["annotations"]
    assert set(annotations.values()) == {f"ghcr.io/owner/app@{OTHER.digest}"}


def test_an_artifact_is_nothing_to_load() -> None:
    files = files_of(pack([packed(build_artifact(), "ghcr.io/owner/chart", "1")]))
    assert "manifest.json" not in files
    assert "index.json" in files


def test_a_layer_that_an_image_has_twice_is_loaded_twice_and_there_once() -> None:
    layer = Content("sha256:" + "a" * 64, 3)
    parts = ImageParts(Content("sha256:" + "b" * 64, 2), (layer, layer), is_image=True)
    tar = pack([PackedImage("a/b", "1", (Manifest("sha256:" + "c" * 64, OCI_IMAGE, b"{}"),), (parts,))])
    files = files_of(tar)
    assert json.loads(files["manifest.json"])[0]["Layers"] == [path(layer.digest)] * 2
    assert len([part for part in tar.between(0, tar.size_bytes) if isinstance(part, Slice)]) == 2


def test_equal_images_make_equal_files() -> None:
    assert pack([NGINX]).fingerprint == pack([packed(INDEX, "docker.io/library/nginx", "1.27", "amd64")]).fingerprint
    for other in (
        packed(INDEX, "docker.io/library/nginx", "1.28", "amd64"),
        packed(INDEX, "docker.io/library/nginx", "1.27", "arm64"),
        packed(INDEX, "docker.io/library/nginx", "1.27", "amd64", "arm64"),
    ):
        assert pack([other]).fingerprint != pack([NGINX]).fingerprint


def descriptor(**changed: Any) -> dict[str, Any]:
    return {"mediaType": DOCKER.layer, "digest": "sha256:" + "a" * 64, "size": 1, **changed}


def manifest(*layers: Any, **changed: Any) -> bytes:
    return json.dumps({"config": descriptor(), "layers": layers, **changed}).encode()


FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
IMPOSSIBLE: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{", "any known way"),
    "no object": (b"[]", "any known way"),
    "no config": (b"{}", "any known way"),
    "schema 1": (b'{"fsLayers": []}', "schema 1"),
    "no size": (manifest({"digest": "sha256:" + "a" * 64}), "any known way"),
    "a negative size": (manifest(descriptor(size=-1)), "any known way"),
    "a size that is no number": (manifest(descriptor(size=True)), "any known way"),
    "a size beyond measure": (manifest(descriptor(size=2**41)), "any known way"),
    "a digest that leads out": (manifest(descriptor(digest="sha256:../../etc")), "any known way"),
    "a layer that is a text": (manifest("sha256:"), "any known way"),
    "a media type that is a number": (manifest(descriptor(urls=["https://x"], mediaType=5)), "any known way"),
    "a layer that lies elsewhere": (manifest(descriptor(urls=["https://x"], mediaType=FOREIGN)), "maker"),
    "too many layers": (manifest(*[descriptor()] * (MAX_LAYERS + 1)), "more than 1000"),
}


@pytest.mark.parametrize(("body", "words"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_what_cannot_be_in_a_file_is_said(body: bytes, words: str) -> None:
    with pytest.raises(ArchiveProblem, match=words):
        parse_image_parts(body)


def test_a_layer_with_urls_that_the_registry_has_is_taken() -> None:
    assert parse_image_parts(manifest(descriptor(urls=["https://x"]))).layers == (Content("sha256:" + "a" * 64, 1),)


def test_a_file_has_bounds() -> None:
    layers = tuple(Content(f"sha256:{number:064x}", 1) for number in range(MAX_BLOBS))
    parts = ImageParts(Content("sha256:" + "b" * 64, 2), layers, is_image=True)
    root = Manifest("sha256:" + "c" * 64, OCI_IMAGE, b"{}")
    with pytest.raises(ArchiveProblem, match="fewer images"):
        pack([PackedImage("a/b", "1", (root,), (parts,))])
    large = Manifest("sha256:" + "c" * 64, OCI_IMAGE, bytes(2**22 + 1))
    with pytest.raises(ArchiveProblem, match="fewer images"):
        pack([PackedImage("a/b", "1", (large,), ())])


NAMES = {
    "one": ([NGINX], ["linux/amd64"], "nginx_1.27_linux-amd64.tar"),
    "several": ([NGINX, NGINX, NGINX], [], "nginx_1.27_and-2-more.tar"),
    "a digest": (
        [packed(OTHER, "ghcr.io/owner/app", "")],
        ["linux/arm/v7"],
        f"owner-app_{OTHER.digest[7:19]}_linux-arm-v7.tar",
    ),
    "long": ([packed(OTHER, "ghcr.io/" + "a" * 200, "b" * 128)], [], f"{'a' * 60}_{'b' * 60}.tar"),
}


@pytest.mark.parametrize(("images", "platforms", "expected"), NAMES.values(), ids=NAMES.keys())
def test_the_name_of_the_file_says_what_is_in_it(
    images: list[PackedImage], platforms: list[str], expected: str
) -> None:
    assert file_name(images, platforms) == expected
