"""What a visitor has to type or write so that a client uses this gateway: the commands and files of the home page.

Pure. They depend on how the visitor reached the gateway. A host name that belongs to one upstream leads to that one
only: no other registry is offered there, and `registry-mirrors`, which mean Docker Hub, only where it is Docker Hub.
Facts about clients: docs/clients.md.
"""

from dataclasses import dataclass, field

from hubferry.core.gateway_names import GatewayNames

DOCKER_HUB = "docker.io"
SECRET = "YOUR-SECRET"  # noqa: S105 - stands for the secret of a client, which a page never shows


@dataclass(frozen=True)
class Gateway:
    """The gateway as a visitor reached it: its base URL without a final slash, and what images are called there.

    `has_users`: who pulls has to log in, and what cannot log in has a secret in its URL.
    """

    base_url: str
    names: GatewayNames
    has_users: bool = False

    @property
    def address(self) -> str:
        """Host and port as they are written in front of an image."""
        return self.names.address

    @property
    def is_plain(self) -> bool:
        """Whether clients have to be told that it has no TLS: plain HTTP, beyond this machine."""
        host = self.address.rpartition(":")[0] or self.address
        return self.base_url.startswith("http:") and host not in ("localhost", "127.0.0.1", "[::1]")

    @property
    def mirror_url(self) -> str:
        """The URL for clients that use the gateway as a mirror."""
        return f"{self.base_url}/{SECRET}" if self.has_users else self.base_url


@dataclass(frozen=True)
class Step:
    """One text to type, or to write into `file`. `says` and `after` are words: what it is for, and what to do then."""

    says: str
    text: str
    file: str = ""
    after: str = ""
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Guide:
    """What to do for one client. `title` is its name, `about` is words about it."""

    id: str
    title: str
    steps: tuple[Step, ...]
    about: str = ""


def example_of(gateway: Gateway) -> tuple[str, str]:
    """Return the name of an image as people know it, and as it is written here, for examples."""
    for upstream, repository, tag in EXAMPLES:
        name = gateway.names.name_of(upstream, repository)
        if name:
            known = repository.removeprefix("library/") if upstream == DOCKER_HUB else f"{upstream}/{repository}"
            return f"{known}:{tag}", f"{name}:{tag}"
    upstream = (gateway.names.serves() or [""])[0]
    return f"{upstream}/OWNER/IMAGE:TAG", f"{gateway.names.name_of(upstream, 'owner/image')}:TAG"


EXAMPLES = (
    (DOCKER_HUB, "library/nginx", "latest"),
    ("ghcr.io", "home-assistant/home-assistant", "stable"),
    ("quay.io", "prometheus/prometheus", "latest"),
    ("registry.k8s.io", "pause", "3.10"),
)


def guides(gateway: Gateway) -> list[Guide]:
    """Return what to do for each client, the most usual first. A client that cannot use this host name is left out."""
    found = [
        _docker(gateway),
        _docker_mirror(gateway),
        _containerd(gateway),
        _podman(gateway),
        _kubernetes(gateway),
        _k3s(gateway),
        _buildkit(gateway),
        _compose(gateway),
        _helm(gateway),
    ]
    return [guide for guide in found if guide.steps]


def _docker(gateway: Gateway) -> Guide:
    known, here = example_of(gateway)
    login = [Step("log_in", f"docker login {gateway.address}")] if gateway.has_users else []
    plain = [Step("plain_docker", _json("insecure-registries", gateway.address), DAEMON, "restart_docker")]
    steps = [
        *(plain if gateway.is_plain else []),
        *login,
        Step("pull", f"docker pull {here}"),
        Step("usual_name", f"docker tag {here} {known}\ndocker rmi {here}"),
    ]
    return Guide("docker", "Docker", tuple(steps), "by_name")


DAEMON = "/etc/docker/daemon.json"


def _docker_mirror(gateway: Gateway) -> Guide:
    steps = []
    if gateway.names.is_mirror_of(DOCKER_HUB):
        text = f'{{\n  "registry-mirrors": ["{gateway.mirror_url}"]\n}}'
        if gateway.is_plain:
            address = gateway.address
            text = f'{{\n  "registry-mirrors": ["{gateway.mirror_url}"],\n  "insecure-registries": ["{address}"]\n}}'
        steps.append(Step("docker_mirror", text, DAEMON, "restart_docker"))
    steps += [
        Step("docker_29", _hosts_toml(gateway), f"/etc/docker/certs.d/{folder}/hosts.toml", values={"registry": folder})
        for folder in _hosts_folders(gateway)
    ]
    return Guide("mirror", "Docker: registry-mirrors", tuple(steps), "as_mirror")


def _hosts_folders(gateway: Gateway) -> list[str]:
    """Return the folders of hosts.toml files: one for every registry, or that of the only one of this host name."""
    return gateway.names.serves_by_namespace() if gateway.names.host.is_exclusive else ["_default"]


def _hosts_toml(gateway: Gateway, *, referrers: bool = True) -> str:
    capabilities = '"pull", "resolve", "referrers"' if referrers else '"pull", "resolve"'
    return f'[host."{gateway.mirror_url}"]\n  capabilities = [{capabilities}]'


def _containerd(gateway: Gateway) -> Guide:
    steps = []
    for folder in _hosts_folders(gateway):
        file = f"/etc/containerd/certs.d/{folder}/hosts.toml"
        steps += [
            Step("containerd_new", _hosts_toml(gateway), file),
            Step("containerd_old", _hosts_toml(gateway, referrers=False), file),
        ]
    config = '[plugins."io.containerd.cri.v1.images".registry]\n  config_path = "/etc/containerd/certs.d"'
    steps.append(Step("containerd_config", config, "/etc/containerd/config.toml", "restart_containerd"))
    return Guide("containerd", "containerd, nerdctl", tuple(steps))


def _podman(gateway: Gateway) -> Guide:
    tables = []
    for registry in _usual(gateway.names.serves()):
        name = gateway.names.name_of(registry, "owner/image")
        location = name.removesuffix("/owner/image")
        tables.append(f'[[registry]]\nlocation = "{registry}"\n[[registry.mirror]]\nlocation = "{location}"')
        if gateway.is_plain:
            tables[-1] += "\ninsecure = true"
    login = [Step("log_in", f"podman login {gateway.address}")] if gateway.has_users else []
    file = "/etc/containers/registries.conf.d/hubferry.conf"
    return Guide("podman", "Podman, CRI-O, skopeo", (*login, Step("podman", "\n\n".join(tables), file)))


def _usual(served: list[str]) -> list[str]:
    """Return the registries that files with one table for each of them name: those that people use most."""
    usual = [name for name in (DOCKER_HUB, "ghcr.io", "quay.io", "registry.k8s.io") if name in served]
    return usual or served[:1]


def _kubernetes(gateway: Gateway) -> Guide:
    _, here = example_of(gateway)
    pod = (
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: example\nspec:\n"
        f"  containers:\n    - name: example\n      image: {here}"
    )
    login = []
    if gateway.has_users:
        secret = f"kubectl create secret docker-registry hubferry --docker-server={gateway.address} \\\n"
        login.append(Step("kubernetes_login", secret + "  --docker-username=USER --docker-password=TOKEN"))
        pod = pod.replace("spec:\n", "spec:\n  imagePullSecrets:\n    - name: hubferry\n")
    return Guide("kubernetes", "Kubernetes", (*login, Step("kubernetes", pod)), "kubernetes_nodes")


def _k3s(gateway: Gateway) -> Guide:
    folders = _hosts_folders(gateway)
    registry = '"*"' if folders == ["_default"] else folders[0]
    # k3s adds /v2 itself only where there is no path
    path = f"{gateway.mirror_url}/v2" if gateway.has_users else gateway.base_url
    text = f'mirrors:\n  {registry}:\n    endpoint: ["{path}"]'
    return Guide("k3s", "k3s", (Step("k3s", text, "/etc/rancher/k3s/registries.yaml", "restart_k3s"),))


def _buildkit(gateway: Gateway) -> Guide:
    if gateway.has_users:  # its mirrors can neither log in nor have a secret in their path
        return Guide("buildkit", "BuildKit", ())
    tables = [
        f'[registry."{name}"]\n  mirrors = ["{gateway.address}"]'
        for name in _usual(gateway.names.serves_by_namespace())
    ]
    if gateway.base_url.startswith("http:"):
        tables.append(f'[registry."{gateway.address}"]\n  http = true')
    create = Step("buildkit_builder", "docker buildx create --use --config buildkitd.toml")
    return Guide("buildkit", "BuildKit", (Step("buildkit", "\n".join(tables), "buildkitd.toml"), create))


def _compose(gateway: Gateway) -> Guide:
    _, here = example_of(gateway)
    text = f"services:\n  example:\n    image: {here}"
    return Guide("compose", "Compose", (Step("compose", text, "compose.yaml", "paste_above"),))


def _helm(gateway: Gateway) -> Guide:
    name = gateway.names.name_of("ghcr.io", "owner/charts/app") or gateway.names.name_of(DOCKER_HUB, "owner/app")
    if not name:
        served = gateway.names.serves()
        name = gateway.names.name_of(served[0], "owner/app") if served else ""
    steps = [Step("helm", f"helm pull oci://{name} --version 1.2.3")] if name else []
    return Guide("helm", "Helm", tuple(steps))


def _json(key: str, value: str) -> str:
    return f'{{"{key}": ["{value}"]}}'
