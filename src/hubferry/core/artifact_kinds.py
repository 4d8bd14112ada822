"""Say in words what an artifact is, from the media types by which it is called.

Pure. The types are those of cosign, sigstore, notation, BuildKit, Helm, ORAS and the SBOM formats.
"""

from hubferry.core.manifest import IMAGES, INDEXES, SCHEMA1

IMAGE = "image"
IMAGE_CONFIGS = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)
EMPTY = "application/vnd.oci.empty.v1+json"  # in the place of a config, where the artifact has a type of its own

# the first beginning that matches decides
_KINDS = (
    ("application/vnd.dev.cosign.artifact.sig", "signature (cosign)"),
    ("application/vnd.dev.cosign.simplesigning", "signature (cosign)"),
    ("application/vnd.dev.cosign.artifact.sbom", "SBOM (cosign)"),
    ("application/vnd.dev.cosign.attachment", "attachment (cosign)"),
    ("application/vnd.dev.sigstore.bundle", "signature (sigstore)"),
    ("application/vnd.cncf.notary.signature", "signature (notation)"),
    ("application/vnd.in-toto", "attestation (in-toto)"),
    ("application/vnd.dsse.envelope", "attestation (DSSE)"),
    ("application/spdx", "SBOM (SPDX)"),
    ("text/spdx", "SBOM (SPDX)"),
    ("application/vnd.cyclonedx", "SBOM (CycloneDX)"),
    ("application/vnd.syft", "SBOM (Syft)"),
    ("application/sarif", "scan report (SARIF)"),
    ("application/vnd.security.vex", "vulnerability statement (VEX)"),
    ("application/vnd.openvex", "vulnerability statement (VEX)"),
    ("application/vnd.cncf.helm.config", "Helm chart"),
    ("application/vnd.cncf.helm.chart", "Helm chart"),
    ("application/vnd.docker.plugin", "Docker plugin"),
    ("application/vnd.docker.compose", "Compose application"),
    ("application/vnd.buildkit.cacheconfig", "build cache"),
    ("application/vnd.wasm", "WebAssembly module"),
    ("application/wasm", "WebAssembly module"),
    ("application/vnd.cncf.flux", "Flux source"),
    ("application/vnd.cncf.openpolicyagent", "policy (OPA)"),
    ("application/vnd.docker.ai", "AI model"),
    ("application/vnd.cncf.model", "AI model"),
    ("application/vnd.ollama", "AI model"),
)
COSIGN_SUFFIXES = {".sig": "signature (cosign)", ".att": "attestation (cosign)", ".sbom": "SBOM (cosign)"}


PREDICATES = ("dev.sigstore.bundle.predicateType", "in-toto.io/predicate-type")  # annotations that name a predicate
_PREDICATE_KINDS = (
    ("https://sigstore.dev/cosign/sign", "signature (sigstore)"),
    ("https://slsa.dev/provenance", "provenance (SLSA)"),
    ("https://spdx.dev/", "SBOM (SPDX)"),
    ("https://cyclonedx.org/", "SBOM (CycloneDX)"),
    ("https://openvex.dev/", "vulnerability statement (VEX)"),
)


def artifact_kind(*types: str, predicate: str = "") -> str:
    """Return what an artifact is, judging by its types, the most telling one first.

    That is "image" for images and their indexes, the first type itself when none of them is known here, and "artifact"
    when there is no type. `predicate` is what kind of statement an attestation or bundle is, which says more.
    """
    for beginning, kind in _PREDICATE_KINDS:
        if predicate.startswith(beginning):
            return kind
    types = tuple(one for one in types if one and one != EMPTY)
    for media_type in types:
        if media_type in IMAGE_CONFIGS or media_type in IMAGES | INDEXES | SCHEMA1:
            return IMAGE
        for beginning, kind in _KINDS:
            if media_type.startswith(beginning):
                return kind
    return types[0] if types else "artifact"
