"""The rows of the matrix: every client in every way that it can be sent to the gateway, and what it must have then.

A row makes a fresh client, so nothing of an earlier pull is left in its store. What is complete differs: dockerd with
its classic store, podman and skopeo take one platform, Docker 29 its attestations too, ctr the manifests of all
platforms, and what copies whole images takes everything.
Not here: upstreams, gateways and what was pulled before (conftest.py).
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from tests.support.clients import Podman, Skopeo
from tests.support.content import digest_of
from tests.support.dockerd import Dockerd
from tests.support.todays_clients import BuildKit, Cri, Ctr, Stored, Tool, layout_digest, read_layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.support.buildkit_images import Published
    from tests.support.dockerd import Store
    from tests.support.enclosure import Enclosure
    from tests.support.gateway import Gateway
    from tests.support.images import Image

    Start = Callable[[Path, "Surroundings"], AbstractContextManager["Puller"]]
    Needs = Callable[["Goods"], set[str]]

__all__ = ["ROWS", "TAG", "Goods", "Puller", "Row", "Surroundings", "Way"]

TAG = "1.0.0"

Way = Literal["name", "mirror", "hosts.toml"]
WAYS: tuple[Way, ...] = get_args(Way)


class Puller(Protocol):
    """A fresh client."""

    def pull(self, reference: str) -> Stored:
        """Pull once."""


@dataclass(frozen=True)
class Surroundings:
    """What a client is given: an enclosure, the gateway, and the key that the images' signatures are checked with."""

    enclosure: Enclosure
    gateway: Gateway
    public_key: Path


@dataclass(frozen=True)
class Goods:
    """What is published under one name: an image at library/NAME and a chart at charts/NAME, both with one tag."""

    name: str
    image: Published
    chart: Image


@dataclass(frozen=True)
class Row:
    """One client in one way.

    `start` makes the client; `needs` is what it must have after a pull. `walks`: it takes the layers of all platforms.
    `lists`: it asks for a list of tags. `chart`: it pulls the chart, not the image.
    """

    client: str
    way: Way
    start: Start
    needs: Needs
    walks: bool = False
    lists: bool = False
    chart: bool = False

    @property
    def name(self) -> str:
        return f"{self.client}, {self.way}"

    def repository(self, goods: Goods) -> str:
        """Where at the upstream the goods are that this client pulls."""
        return f"charts/{goods.name}" if self.chart else f"library/{goods.name}"

    def reference(self, gateway: Gateway, goods: Goods) -> str:
        """How the client is told to pull them."""
        return self.direct_reference(gateway.host if self.way == "name" else "docker.io", goods)

    def direct_reference(self, host: str, goods: Goods) -> str:
        return f"{host}/{self.repository(goods)}:{TAG}"

    def missing(self, stored: Stored, goods: Goods) -> str | None:
        """What a pull has not brought, or brought wrong, in a few words; None if it is complete."""
        digest = goods.chart.digest if self.chart else goods.image.index.digest
        if stored.digest not in (None, digest):
            return f"another digest: {stored.digest}"
        lacking = self.needs(goods) - stored.content
        return f"not there: {', '.join(sorted(lacking))}" if lacking else None


def _unpacked(goods: Goods) -> set[str]:
    """The layers' tars, for stores that keep no layer as it came."""
    return set(goods.image.index.image("amd64").diff_ids)


def _one_platform(goods: Goods) -> set[str]:
    image = goods.image.index.image("amd64")
    return {image.digest, *image.blobs}


def _index_and_platform(goods: Goods) -> set[str]:
    return {goods.image.index.digest} | _one_platform(goods)


def _layers(goods: Goods) -> set[str]:
    return {layer.digest for layer in goods.image.index.image("amd64").layers}


def _with_attestation(goods: Goods) -> set[str]:
    return goods.image.digests("amd64") | _unpacked(goods)


def _all_manifests(goods: Goods) -> set[str]:
    """Every manifest and config of the index; layers of one platform."""
    configs = {image.config.digest for image in goods.image.index.images}
    return {*goods.image.index.manifests} | configs | _one_platform(goods)


def _everything(goods: Goods) -> set[str]:
    return {*goods.image.index.manifests, *goods.image.index.blobs}


def _with_referrers(goods: Goods) -> set[str]:
    """Everything, and what refers to the index."""
    attached = goods.image.referrers_of(goods.image.index.digest)
    return _everything(goods) | {digest for one in attached for digest in (one.digest, *one.blobs)}


def _referrers(goods: Goods) -> set[str]:
    return {one.digest for one in goods.image.referrers_of(goods.image.index.digest)}


def _chart(goods: Goods) -> set[str]:
    return {goods.chart.layers[0].digest}


def _tag(_: Goods) -> set[str]:
    return {TAG}


def _nothing(_: Goods) -> set[str]:
    return set()


def _dockerd(store: Store, way: Way) -> Start:
    @contextlib.contextmanager
    def start(state: Path, around: Surroundings) -> Iterator[Puller]:
        mirror = around.gateway.url if way == "mirror" else None
        hosts = {"docker.io": _hosts_toml(around)} if way == "hosts.toml" else None
        with Dockerd(state, around.enclosure, store=store, mirror=mirror, hosts_toml=hosts) as dockerd:
            yield _Docker(dockerd)

    return start


@dataclass(frozen=True)
class _Docker:
    dockerd: Dockerd

    def pull(self, reference: str) -> Stored:
        pulled = self.dockerd.pull(reference)
        assert pulled.architecture == "amd64"
        return Stored(pulled.digest, frozenset({*pulled.diff_ids, *self.dockerd.stored()}))


def _ctr(way: Way, *, debian: bool = False, options: tuple[str, ...] = ()) -> Start:
    def start(state: Path, around: Surroundings) -> Ctr:
        hosts = {"_default": _hosts_toml(around)} if way == "hosts.toml" else None
        return Ctr(state, around.enclosure, debian=debian, hosts_toml=hosts, options=options)

    return start


def _cri(way: Way) -> Start:
    def start(state: Path, around: Surroundings) -> Cri:
        # as for a registry that Kubernetes is told to trust by plain HTTP
        host = around.gateway.host if way == "name" else "_default"
        return Cri(state, around.enclosure, hosts_toml={host: _hosts_toml(around)})

    return start


def _buildkit(way: Way) -> Start:
    def start(state: Path, around: Surroundings) -> BuildKit:
        config = f'[registry."{around.gateway.host}"]\n  http = true\n'
        if way == "mirror":
            config += f'[registry."docker.io"]\n  mirrors = ["{around.gateway.host}"]\n'
        return BuildKit(state, around.enclosure, config=config)

    return start


def _podman(way: Way) -> Start:
    @contextlib.contextmanager
    def start(state: Path, around: Surroundings) -> Iterator[Puller]:
        state.mkdir(parents=True)
        mirrors = {"docker.io": f"{around.gateway.host}/docker.io"} if way == "mirror" else None
        yield _Podman(Podman(state, mirrors=mirrors, enclosure=around.enclosure))

    return start


@dataclass(frozen=True)
class _Podman:
    podman: Podman

    def pull(self, reference: str) -> Stored:
        pulled = self.podman.pull(reference)
        return Stored(pulled.digest, frozenset(pulled.diff_ids))


def _skopeo(way: Way, *, all_images: bool = False) -> Start:
    @contextlib.contextmanager
    def start(state: Path, around: Surroundings) -> Iterator[Puller]:
        state.mkdir(parents=True)
        mirrors = {"docker.io": f"{around.gateway.host}/docker.io"} if way == "mirror" else None
        yield _Skopeo(Skopeo(state, mirrors=mirrors, enclosure=around.enclosure), all_images)

    return start


@dataclass(frozen=True)
class _Skopeo:
    skopeo: Skopeo
    all_images: bool

    def pull(self, reference: str) -> Stored:
        digest = str(self.skopeo.inspect(reference)["Digest"])
        folder = self.skopeo.copy(reference, all_images=self.all_images, transport="oci")
        return Stored(digest, read_layout(folder))


def _tool(program: str, pull: Callable[[Tool, str], Stored]) -> Start:
    def start(state: Path, around: Surroundings) -> Tool:
        return Tool(state, around.enclosure, program, pull)

    return start


def _cosign(pull: Callable[[Path, Tool, str], Stored]) -> Start:
    def start(state: Path, around: Surroundings) -> Tool:
        return Tool(state, around.enclosure, "cosign", functools.partial(pull, around.public_key))

    return start


def _crane_pull(tool: Tool, reference: str) -> Stored:
    folder = tool.state / "out"
    tool.run("pull", "--format=oci", reference, folder)
    return Stored(layout_digest(folder), read_layout(folder))


def _oras_copy(*options: str) -> Callable[[Tool, str], Stored]:
    def pull(tool: Tool, reference: str) -> Stored:
        folder = tool.state / "out"
        tool.run("cp", *options, "--from-plain-http", "--no-tty", reference, "--to-oci-layout", f"{folder}:1")
        digest = tool.run("resolve", "--oci-layout", f"{folder}:1").strip()
        return Stored(digest, read_layout(folder))

    return pull


def _regctl_copy(*options: str) -> Callable[[Tool, str], Stored]:
    def pull(tool: Tool, reference: str) -> Stored:
        folder = tool.state / "out"
        host = reference.partition("/")[0]
        tool.run("--host", f"reg={host},tls=disabled", "image", "copy", *options, reference, f"ocidir://{folder}:1")
        digest = tool.run("image", "digest", f"ocidir://{folder}:1").strip()
        return Stored(digest, read_layout(folder))

    return pull


def _cosign_verify(key: Path, tool: Tool, reference: str) -> Stored:
    """It fails unless a signature by the key is there; what it prints is the digest that it stands for."""
    printed = tool.run("verify", "--key", key, "--insecure-ignore-tlog=true", "--allow-http-registry", reference)
    verified = {str(entry["critical"]["image"]["docker-manifest-digest"]) for entry in json.loads(printed)}
    assert len(verified) == 1, printed
    return Stored(verified.pop(), frozenset())


def _cosign_tree(_: Path, tool: Tool, reference: str) -> Stored:
    printed = tool.run("tree", "--allow-http-registry", reference)
    return Stored(None, frozenset(re.findall(r"sha256:[0-9a-f]{64}", printed)))


def _oras_discover(tool: Tool, reference: str) -> Stored:
    printed = json.loads(tool.run("discover", "--plain-http", "--format=json", reference))
    return Stored(printed["digest"], frozenset(one["digest"] for one in printed["referrers"]))


def _helm_pull(*options: str) -> Callable[[Tool, str], Stored]:
    def pull(tool: Tool, reference: str) -> Stored:
        repository = reference.rpartition(":")[0]
        printed = tool.run("pull", f"oci://{repository}", *options, "--plain-http", "--destination", tool.state)
        digest = re.search(r"Digest: (\S+)", printed)
        assert digest, printed
        (chart,) = tool.state.glob("*.tgz")
        return Stored(digest[1], frozenset({digest_of(chart.read_bytes())}))

    return pull


def _list_tags(*command: str) -> Callable[[Tool, str], Stored]:
    """What it printed, which are tags and no digests."""

    def pull(tool: Tool, reference: str) -> Stored:
        return Stored(None, frozenset(tool.run(*command, reference.rpartition(":")[0]).split()))

    return pull


def _regctl_list(tool: Tool, reference: str) -> Stored:
    host = reference.partition("/")[0]
    printed = tool.run("--host", f"reg={host},tls=disabled", "tag", "ls", reference.rpartition(":")[0])
    return Stored(None, frozenset(printed.split()))


@contextlib.contextmanager
def _skopeo_list(state: Path, around: Surroundings) -> Iterator[Puller]:
    state.mkdir(parents=True)
    yield _SkopeoList(Skopeo(state, enclosure=around.enclosure))


@dataclass(frozen=True)
class _SkopeoList:
    skopeo: Skopeo

    def pull(self, reference: str) -> Stored:
        return Stored(None, frozenset(self.skopeo.list_tags(reference.rpartition(":")[0])))


def _hosts_toml(around: Surroundings) -> str:
    """Without capabilities, which every version of dockerd and containerd understands; see docs/clients.md."""
    return f'[host."{around.gateway.url}"]\n'


def _rows() -> Iterator[Row]:
    for way in WAYS:
        yield Row("Docker 29", way, _dockerd("containerd", way), _with_attestation)
    for way in WAYS[:2]:
        yield Row("Docker 29, classic store", way, _dockerd("classic", way), _unpacked)
        yield Row("Docker 20.10", way, _dockerd("debian", way), _unpacked)
        yield Row("podman 4.3", way, _podman(way), _unpacked)
        yield Row("skopeo 1.9", way, _skopeo(way), _one_platform)
        yield Row("BuildKit 0.34", way, _buildkit(way), _layers)
    for way in WAYS[::2]:
        yield Row("ctr 2.4", way, _ctr(way), _all_manifests)
        yield Row("ctr 2.4 --local", way, _ctr(way, options=("--local",)), _all_manifests)
        yield Row("ctr 1.6", way, _ctr(way, debian=True), _index_and_platform)
        yield Row("crictl 1.37", way, _cri(way), _index_and_platform)
    yield Row("skopeo 1.9 --all", "name", _skopeo("name", all_images=True), _everything, walks=True)
    yield Row("crane 0.22 pull --format oci", "name", _tool("crane", _crane_pull), _everything, walks=True)
    yield Row("oras 1.3 cp", "name", _tool("oras", _oras_copy()), _everything, walks=True)
    yield Row("oras 1.3 cp --recursive", "name", _tool("oras", _oras_copy("--recursive")), _with_referrers, walks=True)
    yield Row("regctl 0.11 image copy", "name", _tool("regctl", _regctl_copy()), _everything, walks=True)
    yield Row(
        "regctl 0.11 image copy --referrers",
        "name",
        _tool("regctl", _regctl_copy("--referrers")),
        _with_referrers,
        walks=True,
    )
    yield Row("helm 4.3 pull --version", "name", _tool("helm", _helm_pull("--version", TAG)), _chart, chart=True)
    yield Row("helm 4.3 pull", "name", _tool("helm", _helm_pull()), _chart, lists=True, chart=True)
    yield Row("cosign 3.1 verify --key", "name", _cosign(_cosign_verify), _nothing)
    yield Row("cosign 3.1 tree", "name", _cosign(_cosign_tree), _referrers)
    yield Row("oras 1.3 discover", "name", _tool("oras", _oras_discover), _referrers)
    yield Row("crane 0.22 ls", "name", _tool("crane", _list_tags("ls")), _tag, lists=True)
    yield Row("regctl 0.11 tag ls", "name", _tool("regctl", _regctl_list), _tag, lists=True)
    yield Row("oras 1.3 repo tags", "name", _tool("oras", _list_tags("repo", "tags", "--plain-http")), _tag, lists=True)
    yield Row("skopeo 1.9 list-tags", "name", _skopeo_list, _tag, lists=True)


ROWS = tuple(_rows())
