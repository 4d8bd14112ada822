"""Manifests and configs as people see them: layers with their commands, what is bounded, and what is left out."""

import json
from typing import Any

import pytest

from hubferry.core.descriptors import Descriptor
from hubferry.core.image_config import (
    CUT,
    MAX_ENTRIES,
    MAX_LAYERS,
    MAX_TEXT,
    clean,
    parse_annotations,
    parse_config,
    parse_manifest_parts,
    parse_referrers,
    parse_time,
    tidy_command,
    with_commands,
)
from hubferry.core.image_details import ImageConfig, Layer, Referrer
from hubferry.core.manifest import OCI_IMAGE, ManifestProblem
from hubferry.core.platforms import Platform

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
TAR = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def part(number: int, size: object = 10, **more: object) -> dict[str, object]:
    return {"digest": digest(number), "size": size, "mediaType": TAR, **more}


def body(**members: object) -> bytes:
    return json.dumps(members).encode()


# --- manifests -------------------------------------------------------------------------------------------


def test_the_layers_of_an_image_are_in_order_with_repeated_ones() -> None:
    found = parse_manifest_parts(body(config=part(0, 5, mediaType=CONFIG_TYPE), layers=[part(1), part(2), part(1)]))
    assert [layer.digest for layer in found.layers] == [digest(1), digest(2), digest(1)]
    assert found.layers[0] == Layer(digest(1), 10, TAR)
    assert (found.kind, found.config) == ("image", Descriptor(digest(0), 5))
    assert found.size_bytes == 25, "each once: that is what is fetched"


def test_what_no_registry_has_is_marked_and_not_counted() -> None:
    foreign = part(1, mediaType="application/vnd.oci.image.layer.nondistributable.v1.tar", urls=["https://a.example"])
    found = parse_manifest_parts(body(config=part(0, 5), layers=[foreign, part(2)]))
    assert [layer.is_foreign for layer in found.layers] == [True, False]
    assert found.size_bytes == 15


@pytest.mark.parametrize("size", [None, -1, "1", True])
def test_a_size_that_is_none_makes_the_sum_unknown(size: object) -> None:
    assert parse_manifest_parts(body(config=part(0), layers=[part(1, size)])).size_bytes is None


KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "a chart": ({"config": part(0, mediaType="application/vnd.cncf.helm.config.v1+json")}, "Helm chart"),
    "an artifact": (
        {"artifactType": "application/spdx+json", "config": part(0, mediaType="application/vnd.oci.empty.v1+json")},
        "SBOM (SPDX)",
    ),
    "by its layer": (
        {
            "config": part(0, mediaType="application/vnd.oci.empty.v1+json"),
            "layers": [part(1, mediaType="application/wasm")],
        },
        "WebAssembly module",
    ),
    "without a config": ({"layers": [part(1, mediaType="text/plain")]}, "text/plain"),
}


@pytest.mark.parametrize("name", KINDS)
def test_artifacts_have_a_kind(name: str) -> None:
    members, kind = KINDS[name]
    assert parse_manifest_parts(body(**members)).kind == kind


def test_schema_1_says_what_it_can() -> None:
    def compatible(**members: object) -> dict[str, str]:
        return {"v1Compatibility": json.dumps(members)}

    history = [
        compatible(
            created="2015-10-31T22:22:56Z",
            architecture="amd64",
            os="linux",
            config={"Cmd": ["/hello"], "Labels": {"a": "b"}},
            container_config={"Cmd": ["/bin/sh", "-c", '#(nop) CMD ["/hello"]']},
            throwaway=True,
        ),
        compatible(container_config={"Cmd": ["/bin/sh", "-c", "#(nop) COPY file:a in /"]}),
        compatible(),
    ]
    layers = [{"blobSum": digest(number)} for number in (3, 2, 1)]
    found = parse_manifest_parts(body(fsLayers=layers, history=history, architecture="amd64"))
    assert found.layers == (Layer(digest(1)), Layer(digest(2), command="COPY file:a in /"))
    assert found.details is not None
    assert found.details.platform == Platform("linux", "amd64")
    assert found.details.config == ImageConfig(labels=(("a", "b"),), command=("/hello",))
    assert found.details.created_at == 1446330176
    assert found.size_bytes is None


def test_schema_1_without_a_history_still_has_layers() -> None:
    assert parse_manifest_parts(body(fsLayers=[{"blobSum": digest(1)}])).layers == (Layer(digest(1)),)


BROKEN: dict[str, bytes] = {
    "no JSON": b"{",
    "no object": b"[]",
    "no digest": body(config={"digest": "a"}),
    "layers that are none": body(layers={"a": 1}),
    "a digest of an old layer": body(fsLayers=[{"blobSum": "a"}]),
    "an old history of another length": body(fsLayers=[{"blobSum": digest(1)}], history=[]) + b" x",
    "an old history that is no JSON": body(fsLayers=[{"blobSum": digest(1)}], history=[{"v1Compatibility": "{"}]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_is_refused(name: str) -> None:
    with pytest.raises(ManifestProblem):
        parse_manifest_parts(BROKEN[name])


def test_no_more_layers_are_shown_than_an_image_may_have() -> None:
    assert len(parse_manifest_parts(body(layers=[part(n) for n in range(MAX_LAYERS + 5)])).layers) == MAX_LAYERS


def test_annotations_are_pairs_of_text() -> None:
    assert parse_annotations(body(annotations={"b": "2", "a": "1\n", "c": 3})) == (("a", "1"), ("b", "2"))
    assert parse_annotations(b"[]") == ()
    assert parse_annotations(b"{") == ()


# --- configs ---------------------------------------------------------------------------------------------


def test_a_config_says_how_an_image_is_run() -> None:
    found = parse_config(
        body(
            created="2024-05-01T12:00:00.123456789Z",
            architecture="arm64",
            os="linux",
            variant="v8",
            config={
                "Labels": {"b": "2", "a": "1"},
                "Entrypoint": ["/entry.sh"],
                "Cmd": ["nginx", "-g", "daemon off;"],
                "Env": ["PATH=/bin"],
                "ExposedPorts": {"80/tcp": {}},
                "Volumes": {"/data": {}},
                "User": "1000",
                "WorkingDir": "/app",
            },
            history=[{"created_by": "a"}, {"created_by": "b", "empty_layer": True}, {"created_by": "c"}],
        )
    )
    assert found.config == ImageConfig(
        labels=(("a", "1"), ("b", "2")),
        entrypoint=("/entry.sh",),
        command=("nginx", "-g", "daemon off;"),
        environment=("PATH=/bin",),
        exposed_ports=("80/tcp",),
        volumes=("/data",),
        user="1000",
        working_folder="/app",
    )
    assert (found.platform, found.created_at) == (Platform("linux", "arm64"), 1714564800)
    assert found.commands == ("a", "c")


@pytest.mark.parametrize(
    "document",
    [{}, {"config": None, "history": None}, {"config": [1], "history": [1, {"created_by": 1}], "os": 5, "created": 3}],
)
def test_what_is_no_text_is_left_out(document: dict[str, object]) -> None:
    found = parse_config(body(**document))
    assert (found.config, found.platform, found.created_at) == (ImageConfig(), None, None)


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff", b'"a"'])
def test_a_config_that_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(ManifestProblem):
        parse_config(text)


def test_lists_are_bounded() -> None:
    many = {f"{n:04}": "x" for n in range(MAX_ENTRIES + 50)}
    found = parse_config(body(config={"Labels": many, "Env": list(many), "Cmd": "one text"})).config
    assert (len(found.labels), len(found.environment), found.command) == (MAX_ENTRIES, MAX_ENTRIES, ("one text",))


def test_commands_belong_to_layers_only_if_there_are_as_many() -> None:
    layers = (Layer(digest(1)), Layer(digest(2)))
    assert [layer.command for layer in with_commands(layers, ("a", "b"))] == ["a", "b"]
    assert with_commands(layers, ("a",)) == layers


COMMANDS: dict[str, str] = {
    '/bin/sh -c #(nop)  CMD ["nginx"]': 'CMD ["nginx"]',
    "/bin/sh -c #(nop) ADD file:5 in / ": "ADD file:5 in /",
    "/bin/sh -c apt-get update": "RUN apt-get update",
    "RUN /bin/sh -c apt-get update # buildkit": "RUN apt-get update",
    "|1 V=1.2 /bin/sh -c make": "RUN make",
    "RUN |1 V=1.2 /bin/sh -c make # buildkit": "RUN make",
    "COPY a /b # buildkit": "COPY a /b",
    "RUN /bin/bash -c make": "RUN make",
    "RUN set -x\n\tmake": "RUN set -x make",
    "bazel build ...": "bazel build ...",
    "": "",
}


@pytest.mark.parametrize("written", COMMANDS)
def test_a_command_is_what_the_author_wrote(written: str) -> None:
    assert tidy_command(written) == COMMANDS[written]


def test_text_of_others_moves_no_cursor_and_is_cut() -> None:
    assert clean("a\x1b[31mb\u202ec\r\nd\x00\ud800e") == "a [31mb c d e"
    assert clean("x" * (MAX_TEXT + 5)) == "x" * (MAX_TEXT - 1) + CUT
    assert len(tidy_command("/bin/sh -c " + "y" * 10**6)) <= MAX_TEXT


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02T00:00:00Z", 86400),
        ("1970-01-02T02:00:00+02:00", 86400),
        ("1970-01-01T22:00:00.5-02:00", 86400),
        ("1970-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00Z", None),
        ("2024-13-01T00:00:00Z", None),
        ("9999-12-31T23:59:59Z", 253402300799),
        ("9999-12-31T23:59:59-01:00", None),  # a page failed at it
        ("2024-05-01", None),
        ("٢٠٢٤-05-01T12:00:00Z", None),
        (None, None),
        (5, None),
    ],
)
def test_times(text: object, seconds: float | None) -> None:
    assert parse_time(text) == seconds


# --- referrers -------------------------------------------------------------------------------------------


def test_referrers_say_what_they_are() -> None:
    listed = [
        part(1, 7, mediaType=OCI_IMAGE, artifactType="application/spdx+json"),
        part(2, 7, mediaType=OCI_IMAGE),
        part(
            3,
            7,
            mediaType=OCI_IMAGE,
            artifactType="application/vnd.dev.sigstore.bundle.v0.3+json",
            annotations={"dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1"},
        ),
    ]
    assert parse_referrers(body(manifests=listed)) == (
        Referrer(digest(1), "application/spdx+json", "SBOM (SPDX)", 7),
        Referrer(digest(2), "", "artifact", 7),
        Referrer(digest(3), "application/vnd.dev.sigstore.bundle.v0.3+json", "provenance (SLSA)", 7),
    )
    for wrong in (b"{}", b"[", body(manifests=[{}])):
        with pytest.raises(ManifestProblem):
            parse_referrers(wrong)
