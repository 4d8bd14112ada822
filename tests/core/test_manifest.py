"""Case tables of core.manifest: under which media type bytes are served, and which are refused."""

import json

import pytest

from hubferry.core.manifest import ManifestProblem, decide_kept_media_type, decide_media_type

INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE = "application/vnd.oci.image.manifest.v1+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
V2 = "application/vnd.docker.distribution.manifest.v2+json"
ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"

SERVED: dict[str, tuple[str | None, object, str]] = {
    "both say the same": (IMAGE, {"mediaType": IMAGE, "layers": []}, IMAGE),
    "with a parameter": (IMAGE + "; charset=utf-8", {"mediaType": IMAGE}, IMAGE),
    "in another case": (IMAGE.upper(), {"mediaType": IMAGE}, IMAGE),
    "the document does not say": (INDEX, {"manifests": []}, INDEX),
    "the document says null": (LIST, {"mediaType": "", "manifests": []}, LIST),
    "an upstream that says nothing": (None, {"mediaType": V2}, V2),
    "an upstream that says text": ("text/plain; charset=utf-8", {"mediaType": LIST}, LIST),
    "an upstream that says bytes": ("application/octet-stream", {"mediaType": INDEX}, INDEX),
    "nobody says": ("application/json", {"layers": []}, IMAGE),
    "an artifact of before OCI 1.1": (ARTIFACT, {"mediaType": ARTIFACT, "blobs": []}, ARTIFACT),
    "schema 1 that nobody names": ("text/plain", {"fsLayers": [], "signatures": []}, SCHEMA1),
    "an index with a config-like field inside": (INDEX, {"manifests": [{"config": 1}]}, INDEX),
}


@pytest.mark.parametrize(("content_type", "document", "expected"), SERVED.values(), ids=SERVED.keys())
def test_a_manifest_is_served_under_its_media_type(content_type: str | None, document: object, expected: str) -> None:
    assert decide_media_type(content_type, json.dumps(document).encode()) == expected


def test_schema_1_is_relayed_untouched_even_when_it_is_no_json() -> None:
    assert decide_media_type(SCHEMA1, b"signed {") == SCHEMA1


def test_an_index_that_nobody_names_is_still_an_index() -> None:
    assert decide_media_type("application/json", b'{"schemaVersion": 2, "manifests": []}') == INDEX


LIES: dict[str, tuple[str | None, bytes]] = {
    "an image that came as an index": (INDEX, json.dumps({"mediaType": IMAGE}).encode()),
    "index and image at once": (INDEX, json.dumps({"manifests": [], "layers": []}).encode()),
    "index and config at once": (None, json.dumps({"manifests": [], "config": {}}).encode()),
    "index and schema 1 at once": (V2, json.dumps({"manifests": [], "fsLayers": []}).encode()),
    "a page of its own": ("text/html", json.dumps({"layers": ["<script>"]}).encode()),
    "a page by its own word": (None, json.dumps({"mediaType": "text/html", "layers": []}).encode()),
    "an image by name, an index by its bytes": (IMAGE, json.dumps({"manifests": []}).encode()),
    "an index by name, an image by its bytes": (LIST, json.dumps({"layers": [], "config": {}}).encode()),
    "a mediaType that is no text": (IMAGE, b'{"mediaType": 5}'),
    "an error page": (IMAGE, b"<html>blocked</html>"),
    "an error that came with 200": ("application/json", b'{"errors": [{"code": "UNAUTHORIZED"}]}'),
    "a list": (IMAGE, b"[]"),
    "a text": (IMAGE, b'"x"'),
    "nothing": (IMAGE, b""),
    "not UTF-8": (IMAGE, b"\xff\xfe\xff"),
    "cut off": (IMAGE, b'{"mediaType":'),
    "nested without end": (IMAGE, b"[" * 100_000),
    "a number without end": (IMAGE, b'{"size": ' + b"9" * 5000 + b"}"),
}


@pytest.mark.parametrize(("content_type", "body"), LIES.values(), ids=LIES.keys())
def test_bytes_that_contradict_themselves_are_refused(content_type: str | None, body: bytes) -> None:
    with pytest.raises(ManifestProblem):
        decide_media_type(content_type, body)


def test_a_two_faced_document_is_seen_in_any_spelling_of_its_names() -> None:
    with pytest.raises(ManifestProblem):
        decide_media_type(IMAGE, json.dumps({"layers": [], "Manifests": []}).encode())


def test_a_document_with_a_repeated_name_is_refused() -> None:
    with pytest.raises(ManifestProblem):
        decide_media_type(IMAGE, f'{{"mediaType": "{INDEX}", "mediaType": "{IMAGE}"}}'.encode())


KEPT: dict[str, tuple[str, object, str]] = {
    "a HEAD that is right": (V2, {"mediaType": V2, "layers": []}, V2),
    "a HEAD that is right of bytes that do not say": (V2, {"layers": []}, V2),
    "a HEAD that says a page": ("text/html", {"mediaType": IMAGE, "layers": []}, IMAGE),
    "a HEAD that says a page of bytes that do not say": ("text/html", {"manifests": []}, INDEX),
    "a HEAD that says nothing": ("", {"mediaType": LIST, "manifests": []}, LIST),
    "a HEAD that says another kind": (LIST, {"layers": [], "config": {}}, IMAGE),
    "a HEAD that says schema 1": (SCHEMA1, {"mediaType": IMAGE, "layers": []}, IMAGE),
    "schema 1": (SCHEMA1, {"fsLayers": [], "signatures": []}, SCHEMA1),
}


@pytest.mark.parametrize(("said", "document", "expected"), KEPT.values(), ids=KEPT.keys())
def test_the_bytes_decide_under_which_type_what_is_kept_is_served(said: str, document: object, expected: str) -> None:
    assert decide_kept_media_type(said, json.dumps(document).encode()) == expected


@pytest.mark.parametrize("body", [b'{"some": "config"}', b"\x1f\x8b a layer", b""])
def test_what_is_kept_and_no_manifest_has_no_type(body: bytes) -> None:
    with pytest.raises(ManifestProblem):
        decide_kept_media_type("text/html", body)
