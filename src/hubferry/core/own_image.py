"""The image that only a gateway has, docker.io/hubferry/doctor: whoever can pull it has asked a gateway.

A client whose mirror fails pulls from the registry itself, and nobody notices. Its error messages do not tell: dockerd
shows those of the registry that it asked last, which is not the mirror (moby, distribution/pull_v2.go and
containerd's resolver). So `hubferry doctor --pull` has it pull this.

Pure. The image has one empty layer, and is the same under every tag ARCHITECTURE-ANYTHING; Docker Hub has no such
repository. Nothing is asked upstream for it.
"""

import hashlib
import json
from dataclasses import dataclass

from hubferry.core.manifest import OCI_IMAGE, OCI_INDEX
from hubferry.core.routing import EndpointKind

UPSTREAM = "docker.io"
REPOSITORY = "hubferry/doctor"
ARCHITECTURES = ("386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x")
LAYER = bytes(1024)  # a tar archive without entries
BINARY = "application/octet-stream"
NO_REFERRERS = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()


@dataclass(frozen=True, slots=True)
class OwnContent:
    """A manifest, blob or list of the image: its media type and bytes. `digest` is empty for a list."""

    media_type: str
    content: bytes
    digest: str = ""


def tag_for(architecture: str, nonce: str) -> str:
    """Return a tag under which a machine of this architecture can pull the image; `nonce` makes it a new one."""
    return f"{architecture}-{nonce}"


def find_own(kind: EndpointKind, reference: str) -> OwnContent | None:
    """Return what the repository has under a tag or digest; None when it has nothing there."""
    if kind is EndpointKind.REFERRERS:
        return OwnContent(OCI_INDEX, NO_REFERRERS)
    if kind is EndpointKind.BLOB:
        return _BLOBS.get(reference)
    if kind is EndpointKind.MANIFEST:
        return _MANIFESTS.get(reference) or _TAGGED.get(reference.partition("-")[0])
    return None


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _content(media_type: str, content: bytes) -> OwnContent:
    return OwnContent(media_type, content, _digest(content))


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _config(architecture: str) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [_digest(LAYER)]}
    about = {"Labels": {"org.opencontainers.image.title": "what hubferry doctor --pull looks for"}}
    return json.dumps({"architecture": architecture, "os": "linux", "config": about, "rootfs": rootfs}).encode()


def _manifest(config: bytes) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", LAYER)],
    }
    return json.dumps(document).encode()


_CONFIGS = {architecture: _config(architecture) for architecture in ARCHITECTURES}
_TAGGED = {architecture: _content(OCI_IMAGE, _manifest(config)) for architecture, config in _CONFIGS.items()}
_MANIFESTS = {one.digest: one for one in _TAGGED.values()}
_BLOBS = {_digest(content): _content(BINARY, content) for content in (LAYER, *_CONFIGS.values())}
