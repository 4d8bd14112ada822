"""What artifacts are called in words."""

import pytest

from hubferry.core.artifact_kinds import EMPTY, artifact_kind
from hubferry.core.manifest import OCI_IMAGE


@pytest.mark.parametrize(
    ("types", "kind"),
    [
        (("application/vnd.oci.image.config.v1+json",), "image"),
        (("application/vnd.docker.container.image.v1+json",), "image"),
        ((OCI_IMAGE,), "image"),
        (("application/vnd.cncf.helm.config.v1+json",), "Helm chart"),
        (("", EMPTY, "application/spdx+json"), "SBOM (SPDX)"),
        (("application/vnd.cyclonedx+json",), "SBOM (CycloneDX)"),
        (("application/vnd.dev.cosign.simplesigning.v1+json",), "signature (cosign)"),
        (("application/vnd.cncf.notary.signature",), "signature (notation)"),
        (("application/vnd.in-toto+json",), "attestation (in-toto)"),
        (("application/vnd.example.mine",), "application/vnd.example.mine"),
        (("application/vnd.example.mine", "application/wasm"), "WebAssembly module"),
        (("", EMPTY), "artifact"),
        ((), "artifact"),
    ],
)
def test_types_become_words(types: tuple[str, ...], kind: str) -> None:
    assert artifact_kind(*types) == kind


@pytest.mark.parametrize(
    ("predicate", "kind"),
    [
        ("https://slsa.dev/provenance/v1", "provenance (SLSA)"),
        ("https://sigstore.dev/cosign/sign/v1", "signature (sigstore)"),
        ("https://spdx.dev/Document", "SBOM (SPDX)"),
        ("https://a.example/", "signature (sigstore)"),
    ],
)
def test_what_a_bundle_states_says_more_than_that_it_is_one(predicate: str, kind: str) -> None:
    assert artifact_kind("application/vnd.dev.sigstore.bundle.v0.3+json", predicate=predicate) == kind
