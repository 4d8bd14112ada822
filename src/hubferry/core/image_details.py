"""What an image, a tag list and what refers to an image are, for people who look at them: values that pages may show.

Pure. Everything that others wrote is bounded and without control characters (core/image_config.py reads it). Sizes are
in bytes, times in seconds since 1970; None: not known. `problem` is empty, or says why a value is incomplete or old.
`is_kept` says of content that this gateway has it, from this repository.
Not here: how they are found (pull/inspect.py).
"""

from dataclasses import dataclass

from hubferry.core.platforms import Platform

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, and the command that made it, empty when the config does not say.

    `is_foreign`: no registry distributes it; clients fetch it from its maker.
    """

    digest: str
    size_bytes: int | None = None
    media_type: str = ""
    command: str = ""
    is_foreign: bool = False
    is_kept: bool = False


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image's config says of running it."""

    labels: Pairs = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    user: str = ""
    working_folder: str = ""


@dataclass(frozen=True, slots=True)
class ImagePlatform:
    """One image of an index, or the only one there is.

    `platform` is None where the index does not say it, and for an image without an index. `size_bytes` is the sum of
    its config and layers as they are stored; it is only known where its manifest is at hand. `is_kept` is about that.
    """

    digest: str
    platform: Platform | None = None
    media_type: str = ""
    size_bytes: int | None = None
    is_kept: bool = False


@dataclass(frozen=True, slots=True)
class Attestation:
    """A manifest in an index that says something about another one, such as how it was built. `about` may be empty."""

    digest: str
    about: str = ""
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ImageDetails:
    """What a tag or digest stands for.

    `kind` is "image", or what an artifact is in words ("Helm chart"). `confirmed_at` is when the upstream last said
    what the tag means, `kept_since` since when its manifest is kept. `is_cut`: there are more platforms than are shown.
    """

    reference: str
    digest: str
    media_type: str
    kind: str
    platforms: tuple[ImagePlatform, ...]
    attestations: tuple[Attestation, ...] = ()
    annotations: Pairs = ()
    confirmed_at: float | None = None
    kept_since: float | None = None
    is_index: bool = False
    is_kept: bool = False
    is_cut: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PlatformDetails:
    """One image: its layers in the order in which they are applied, and its config.

    `config` is None for what is no image, and where it could not be read. `size_bytes` is the sum of config and layers.
    `is_kept`: manifest, config and every layer that a registry has are kept.
    """

    digest: str
    kind: str
    platform: Platform | None
    layers: tuple[Layer, ...]
    size_bytes: int | None = None
    created_at: float | None = None
    config: ImageConfig | None = None
    annotations: Pairs = ()
    is_kept: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class KeptTag:
    """The manifest that a tag stood for when its upstream last confirmed it, and whether that manifest is kept."""

    digest: str
    confirmed_at: float
    is_kept: bool = False


@dataclass(frozen=True, slots=True)
class TagList:
    """The tags of a repository, the newest first (core/tag_order.py), and what is known of those that were asked for.

    `is_cut`: there are more. `is_stale`: the upstream did not confirm it now.
    """

    tags: tuple[str, ...]
    kept: dict[str, KeptTag]
    is_cut: bool = False
    is_stale: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Referrer:
    """What refers to an image: its type, and in words what that is ("signature (cosign)"). The size is its manifest's.

    `tag` is set where it stands behind a tag instead of in a list of referrers.
    """

    digest: str
    artifact_type: str
    kind: str
    size_bytes: int | None = None
    tag: str = ""
