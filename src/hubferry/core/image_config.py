"""Read what manifests and configs say to people: layers and the commands that made them, labels, times.

Pure. OCI image specification, "Image Configuration" and "Image Manifest"; Docker's schema 1 and 2. Text is cut to
MAX_TEXT characters and loses what moves a cursor or turns the direction of writing. What is no text where text should
be is left out: nothing in a config makes an image unreadable.
"""

import re
from calendar import timegm
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from hubferry.core.artifact_kinds import IMAGE, PREDICATES, artifact_kind
from hubferry.core.descriptors import Descriptor, descriptor_of
from hubferry.core.documents import parse_json
from hubferry.core.image_details import ImageConfig, Layer, Pairs, Referrer
from hubferry.core.manifest import IMAGES, INDEXES, ManifestProblem
from hubferry.core.platforms import Platform, normal_platform
from hubferry.core.reference import is_digest

MAX_CONFIG = 2**20  # bytes of a config that is read; the largest known ones have some hundred kilobytes
MAX_TEXT = 2000  # characters
MAX_ENTRIES = 200  # labels, variables, ports, annotations
MAX_LAYERS = 400
MAX_REFERRERS = 200
LATEST_S = 253_402_300_799  # the last second of the year 9999: no calendar here goes further
CUT = "…"

# C0, C1 and DEL; marks that turn the direction of writing (CVE-2021-42574), and invisible ones; lone surrogates
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]+")
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.\d{1,12})?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_SHELL = re.compile(r"(?:RUN )?(?:\|\d{1,4} .{0,1500}?)?/bin/(?:ba|a)?sh -c (?:#\(nop\)\s+)?")
_WORD = re.compile(r"[A-Za-z0-9._+-]{1,64}")


@dataclass(frozen=True, slots=True)
class ManifestParts:
    """What a manifest that is no index says: its layers in order, repeated ones too, and where its config is.

    `config` is None for schema 1, whose own `details` stand in it.
    """

    kind: str
    layers: tuple[Layer, ...]
    config: Descriptor | None = None
    annotations: Pairs = ()
    details: "ConfigParts | None" = None

    @property
    def size_bytes(self) -> int | None:
        """Return the sum of the config and the layers, each once; None when the manifest does not say every size."""
        sizes = {layer.digest: layer.size_bytes for layer in self.layers if not layer.is_foreign}
        if self.config is not None:
            sizes[self.config.digest] = self.config.size_bytes
        known = [size for size in sizes.values() if size is not None]
        return sum(known) if len(known) == len(sizes) and known else None


@dataclass(frozen=True, slots=True)
class ConfigParts:
    """What a config says. `commands` are those that made a layer, in order."""

    config: ImageConfig
    platform: Platform | None = None
    created_at: float | None = None
    commands: tuple[str, ...] = ()


def parse_manifest_parts(body: bytes) -> ManifestParts:
    """Return what a manifest that is no index says. Raises ManifestProblem for what cannot be read."""
    try:
        document = parse_json(body)
        if "fsLayers" in document:
            return _schema1(document)
        layers = [_layer(entry) for entry in (document.get("layers") or ())[:MAX_LAYERS]]
        config = descriptor_of(document["config"]) if document.get("config") else None
        types = [_text(document.get("artifactType")), "" if config is None else config.media_type]
        kind = artifact_kind(*types, *(layer.media_type for layer in layers[:1]))
        return ManifestParts(kind, tuple(layers), config, _pairs(document.get("annotations")))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ManifestProblem("it does not say in any known way what it consists of") from None


def parse_annotations(body: bytes) -> Pairs:
    """Return the annotations of a manifest or index, bounded; empty when there are none, or none that can be read."""
    try:
        return _pairs(parse_json(body).get("annotations"))
    except (ValueError, AttributeError):
        return ()


def parse_referrers(body: bytes) -> tuple[Referrer, ...]:
    """Return what an index says refers to an image, at most MAX_REFERRERS. Raises ManifestProblem."""
    try:
        entries = parse_json(body)["manifests"][:MAX_REFERRERS]
        return tuple(_referrer(entry) for entry in entries)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ManifestProblem("it is no list of what refers to an image") from None


def parse_config(body: bytes) -> ConfigParts:
    """Return what the config of an image says. Raises ManifestProblem for what is no JSON object."""
    try:
        document = parse_json(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ManifestProblem("its config is not a JSON object")
    history = [entry for entry in _list(document.get("history")) if isinstance(entry, dict)]
    commands = [tidy_command(entry.get("created_by")) for entry in history if not entry.get("empty_layer")]
    return _config_parts(document, commands)


def with_commands(layers: tuple[Layer, ...], commands: tuple[str, ...]) -> tuple[Layer, ...]:
    """Return the layers with the commands that made them; without any where a history does not fit the layers."""
    if len(layers) != len(commands):
        return layers  # squashed, or made by a tool without a history: a wrong command is worse than none
    return tuple(replace(layer, command=command) for layer, command in zip(layers, commands, strict=True))


def tidy_command(text: object) -> str:
    """Return the command of a history entry without what every builder writes around it."""
    command = _text(text)
    found = _SHELL.match(command)
    if found is not None:
        rest = command[found.end() :]
        command = rest if "#(nop)" in found[0] else f"RUN {rest}"
    return command.removesuffix("# buildkit").strip()


def parse_time(text: object) -> float | None:
    """Return a time of RFC 3339 in seconds since 1970; None for none, and for 1970 and before: nobody knows it then."""
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(found[n]) for n in range(1, 7))
    if not (year >= 1970 and 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
        return None
    offset_s = (int(found[8]) * 3600 + int(found[9]) * 60) * (-1 if found[7] == "-" else 1) if found[7] else 0
    seconds = timegm((year, month, day, hour, minute, second)) - offset_s
    return float(seconds) if 0 < seconds <= LATEST_S else None


def clean(text: str, most: int = MAX_TEXT) -> str:
    """Return a text in one line, without characters that are not seen, and cut to `most` characters."""
    seen = " ".join(_UNSEEN.sub(" ", text[: most * 2]).split())
    return seen if len(seen) <= most else seen[: most - 1] + CUT


def _referrer(entry: Any) -> Referrer:
    found = descriptor_of(entry)
    said = "" if found.media_type in IMAGES | INDEXES else found.media_type  # that of its manifest tells nothing
    annotations = dict(_pairs(entry.get("annotations")))
    predicate = next((annotations[name] for name in PREDICATES if name in annotations), "")
    return Referrer(found.digest, said, artifact_kind(said, predicate=predicate), found.size_bytes)


def _layer(entry: Any) -> Layer:
    found = descriptor_of(entry)
    return Layer(found.digest, found.size_bytes, found.media_type, is_foreign=found.is_foreign)


def _schema1(document: Any) -> ManifestParts:
    """Read the predecessor of today's manifests, which lists layers from the top and says nothing of their sizes."""
    history = []
    for entry in _list(document.get("history"))[:MAX_LAYERS]:
        said = parse_json(entry["v1Compatibility"].encode())
        history.append(said if isinstance(said, dict) else {})
    digests = [entry["blobSum"] for entry in document["fsLayers"][:MAX_LAYERS]]
    if not all(isinstance(digest, str) and is_digest(digest) for digest in digests):
        raise ValueError("no digest")
    made = [
        (Layer(digest), said)
        for digest, said in zip(digests, history or [{}] * len(digests), strict=True)
        if not said.get("throwaway")
    ]
    commands = [_schema1_command(said) for _, said in reversed(made)]
    layers = tuple(layer for layer, _ in reversed(made))
    top = history[0] if history else {}
    details = _config_parts({"architecture": document.get("architecture"), **top}, commands)
    return ManifestParts(IMAGE, with_commands(layers, tuple(commands)), details=details)


def _schema1_command(said: dict[str, Any]) -> str:
    container = said.get("container_config")
    words = container.get("Cmd") if isinstance(container, dict) else None
    return tidy_command(" ".join(word for word in _list(words) if isinstance(word, str)))


def _config_parts(document: dict[str, Any], commands: Iterable[str]) -> ConfigParts:
    ran = document.get("config")
    ran = ran if isinstance(ran, dict) else {}
    config = ImageConfig(
        labels=_pairs(ran.get("Labels")),
        entrypoint=_texts(ran.get("Entrypoint")),
        command=_texts(ran.get("Cmd")),
        environment=_texts(ran.get("Env")),
        exposed_ports=_texts(ran.get("ExposedPorts")),
        volumes=_texts(ran.get("Volumes")),
        user=_text(ran.get("User")),
        working_folder=_text(ran.get("WorkingDir")),
    )
    return ConfigParts(config, _platform(document), parse_time(document.get("created")), tuple(commands))


def _platform(document: dict[str, Any]) -> Platform | None:
    os, architecture, variant = document.get("os") or "linux", document.get("architecture"), document.get("variant")
    if not _is_word(os) or not _is_word(architecture):
        return None
    return normal_platform(os, architecture, variant if _is_word(variant) else "")


def _is_word(said: object) -> TypeGuard[str]:
    return isinstance(said, str) and _WORD.fullmatch(said) is not None


def _text(value: object) -> str:
    return clean(value) if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    """Return the texts of a list, or the names of an object: Docker writes sets as objects with empty values."""
    if isinstance(value, str):
        return (clean(value),)
    if not isinstance(value, list | dict):
        return ()
    return tuple(clean(one) for one in list(value)[:MAX_ENTRIES] if isinstance(one, str))


def _pairs(value: object) -> Pairs:
    if not isinstance(value, dict):
        return ()
    texts = [(clean(name, 200), clean(text)) for name, text in value.items() if isinstance(text, str)]
    return tuple(sorted(texts)[:MAX_ENTRIES])


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
