"""Judge whether docker, containerd and podman ask a gateway, by what they are configured to do.

Pure: takes what the running dockerd says of itself (`GET /info`), and the texts of configuration files. A client that
does not ask the gateway still pulls, from the registry itself, and nobody notices (getnora-io/nora#578). Not here:
reading them (doctor/clients.py), changing them.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from hubferry.core.finding import Finding
from hubferry.core.logged import logged
from hubferry.core.masking import has_secret, mask_secrets, mask_userinfo
from hubferry.core.no_proxy import parse_no_proxy
from hubferry.core.own_image import REPOSITORY
from hubferry.core.redirect import origin

HUB = "docker.io"
# where containerd 2 and 1 keep the setting
CRI_TABLES = ("io.containerd.cri.v1.images", "io.containerd.grpc.v1.cri")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The gateway that clients should ask, for the images of which registry, and whether it wants a login for these."""

    gateway: str
    registry: str
    needs_login: bool = False

    @property
    def place(self) -> tuple[str, int]:
        """Host and port of the gateway."""
        return origin(self.gateway)[1:]

    def is_at(self, url: str) -> bool:
        """Return whether a URL or `host[:port][/path]` is the gateway's. Without a scheme it is that of the gateway."""
        try:
            full = url if "://" in url else f"{origin(self.gateway)[0]}://{url}"
            return origin(full)[1:] == self.place
        except ValueError:
            return False


def judge_docker(
    info: Mapping[str, Any], daemon_json: Mapping[str, Any], hosts: Mapping[str, str], wanted: Wanted
) -> Finding:
    """Judge a running dockerd by its `/info`.

    `daemon_json` is what its file says, and `hosts` the texts of hosts.toml by the name of their folder.
    """
    config = info.get("RegistryConfig")
    mirrors = _texts(config.get("Mirrors") if isinstance(config, dict) else None)
    asks = f"dockerd {str(info.get('ServerVersion', ''))[:40]}"
    in_hosts = _hosts_with_gateway(hosts, wanted)
    if is_containerd_store(info) and in_hosts:
        return _with_proxy(Finding("docker", "ok", f"{asks} asks it for {wanted.registry} ({in_hosts})"), info, wanted)
    own = next((url for url in mirrors if wanted.is_at(url)), None)
    if wanted.registry == HUB and own is not None:
        if mirrors[0] != own:
            problem = f"{asks} asks {_shown(mirrors[0])} first, and the gateway only when that fails"
            return Finding("docker", "warning", problem, "put the gateway first in registry-mirrors of daemon.json")
        if wanted.needs_login and not has_secret(own):
            problem = f"{asks} cannot log in to a mirror: the gateway refuses it, and it silently asks Docker Hub"
            remedy = "give it a URL with a secret: docs/configuration.md#mirrors-that-cannot-log-in"
            return Finding("docker", "failed", problem, remedy)
        return _with_proxy(Finding("docker", "ok", f"{asks} asks it first for {HUB}"), info, wanted)
    if in_hosts:
        problem = f"{in_hosts} names the gateway, and the classic image store of {asks} does not read it"
        remedy = "set registry-mirrors, or the containerd image store, in daemon.json: docs/clients.md"
        return Finding("docker", "failed", problem, remedy)
    if wanted.registry == HUB and any(wanted.is_at(url) for url in _texts(daemon_json.get("registry-mirrors"))):
        problem = f"daemon.json names the gateway, and the running {asks} does not know it"
        return Finding("docker", "failed", problem, "restart it: systemctl restart docker")
    others = f": its mirrors are {', '.join(map(_shown, mirrors[:3]))}" if mirrors and wanted.registry == HUB else ""
    remedy = (
        f"hubferry setup docker --gateway {wanted.gateway}, or write {urlsplit(wanted.gateway).netloc}/ before names"
    )
    return Finding("docker", "warning", f"{asks} does not ask it for {wanted.registry}{others}", remedy)


def is_containerd_store(info: Mapping[str, Any]) -> bool:
    """Return whether a dockerd keeps images in containerd's store, which reads hosts.toml."""
    status = info.get("DriverStatus")
    return isinstance(status, list) and ["driver-type", "io.containerd.snapshotter.v1"] in status


def _with_proxy(finding: Finding, info: Mapping[str, Any], wanted: Wanted) -> Finding:
    """Return the finding, or a warning when dockerd reaches the gateway through its own proxy."""
    scheme, host, port = origin(wanted.gateway)
    proxy = info.get("HttpsProxy" if scheme == "https" else "HttpProxy")
    is_local = host == "localhost" or host.startswith("127.")
    if not proxy or is_local or parse_no_proxy(str(info.get("NoProxy") or "")).matches(host, port):
        return finding
    problem = f"{finding.text}, through its proxy {_shown(str(proxy))}"
    return Finding("docker", "warning", problem, f"add {host} to no-proxy of dockerd's proxies, and restart it")


def judge_docker_pull(problem: str | None, wanted: Wanted) -> Finding:
    """Judge dockerd's pull of the image that only a gateway has; `problem` is what dockerd said, None: it has it."""
    if problem is None:
        return Finding("docker pull", "ok", f"dockerd pulled {REPOSITORY}, which only a gateway has: it asks a gateway")
    said = str(logged(mask_secrets(problem), 300))
    remedy = f"see the line above; on the server, see the log for what {wanted.gateway} answered to it"
    return Finding("docker pull", "failed", f"dockerd could not pull what only a gateway has: {said}", remedy)


def config_paths(dump: str) -> list[str] | None:
    """Return the folders in which containerd's CRI plugin looks for hosts.toml, by its effective configuration.

    None: the plugin is off. Raises ValueError for what is no TOML.
    """
    config = tomllib.loads(dump)
    disabled = _texts(config.get("disabled_plugins"))
    if any(name in disabled or name.rpartition(".")[2] in disabled for name in CRI_TABLES):
        return None
    return [path for joined in _configured(config) for path in joined.split(":") if path]


def judge_containerd(paths: Sequence[str] | None, hosts: Mapping[str, Mapping[str, str]], wanted: Wanted) -> Finding:
    """Judge containerd by the folders that it reads (see `config_paths`).

    `hosts` are the texts of hosts.toml, by the path of a folder that may be read, and the name of their own folder.
    """
    if paths is None:
        return Finding("containerd", "skipped", "its CRI plugin is off: only docker, ctr or nerdctl pull with it")
    with_gateway = {path: found for path, texts in hosts.items() if (found := _hosts_with_gateway(texts, wanted))}
    for path, found in with_gateway.items():
        if path in paths:
            return Finding("containerd", "ok", f"it asks the gateway for {wanted.registry} ({path}/{found})")
    for path, found in with_gateway.items():
        problem = f"{path}/{found} names the gateway, and Kubernetes' pulls do not read it"
        remedy = f'set config_path = "{path}" in config.toml, and restart containerd: docs/clients.md'
        return Finding("containerd", "failed", problem, remedy)
    remedy = f"hubferry setup containerd --gateway {wanted.gateway}"
    return Finding("containerd", "warning", f"it does not ask the gateway for {wanted.registry}", remedy)


def _configured(config: Mapping[str, Any]) -> Iterator[str]:
    for table in CRI_TABLES:
        at: Any = config.get("plugins")
        for key in (table, "registry", "config_path"):
            at = at.get(key) if isinstance(at, dict) else None
        if isinstance(at, str):
            yield at


def judge_podman(files: Sequence[str], wanted: Wanted) -> Finding:
    """Judge podman by its registries.conf and the files of registries.conf.d, in the order in which they are read."""
    registries: dict[str, dict[str, Any]] = {}
    for text in files:
        try:
            tables = tomllib.loads(text).get("registry")
        except tomllib.TOMLDecodeError:
            return Finding("podman", "failed", "a file of registries.conf is no TOML", "podman info names the mistake")
        for one in tables if isinstance(tables, list) else ():
            if isinstance(one, dict):
                registries[str(one.get("prefix") or one.get("location") or "")] = one
    one = registries.get(wanted.registry, {})
    mirrors = one.get("mirror")
    locations = [str(each.get("location", "")) for each in mirrors if isinstance(each, dict)] if isinstance(
        mirrors, list) else []  # fmt: skip
    places = [*locations, str(one.get("location", ""))]
    remedy = f"hubferry setup podman --gateway {wanted.gateway}"
    if not any(wanted.is_at(place) for place in places):
        return Finding("podman", "warning", f"it does not ask the gateway for {wanted.registry}", remedy)
    if not wanted.is_at(places[0]):
        problem = f"it asks {_shown(places[0])} first for {wanted.registry}"
        return Finding("podman", "warning", problem, "put the gateway's mirror first in registries.conf")
    return Finding("podman", "ok", f"it asks {_shown(places[0])} first for {wanted.registry}")


def _hosts_with_gateway(hosts: Mapping[str, str], wanted: Wanted) -> str:
    """Return the file that has a registry's images asked for at the gateway; empty when there is none.

    The folder of the registry comes before `_default`; only one of them is read.
    """
    for folder in (wanted.registry, "_default"):
        if folder in hosts:
            try:
                document = tomllib.loads(hosts[folder])
            except tomllib.TOMLDecodeError:
                return ""
            table = document.get("host")
            places = [*(table if isinstance(table, dict) else ()), str(document.get("server", ""))]
            return f"{folder}/hosts.toml" if any(wanted.is_at(place) for place in places) else ""
    return ""


def _texts(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _shown(url: str) -> str:
    return mask_secrets(mask_userinfo(url))[:200]
