"""The plan of each client: which files, which entries, and what is refused."""

import pytest

from hubferry.core.client_files import (
    CLIENTS,
    RESTARTS,
    SOURCES,
    CannotEditError,
    Entry,
    Host,
    Item,
    Mirror,
    Plan,
    PlanRequest,
    Setting,
    parse_gateway,
    plan_client,
)

SECRET = "hubferry_" + "0123456789" * 4
CONFIG = "/etc/containerd/config.toml"
GRPC = ("plugins", "io.containerd.grpc.v1.cri", "registry", "config_path")
IMAGES = ("plugins", "io.containerd.cri.v1.images", "registry", "config_path")


def plan(
    client: str,
    *registries: str,
    url: str = "https://hub",
    version: tuple[int, int] | None = None,
    texts: dict[str, str] | None = None,
) -> Plan:
    names = registries or ("docker.io", "ghcr.io")
    return plan_client(client, PlanRequest(parse_gateway(url), names, version, texts or {}))


def entries(made: Plan) -> dict[str, tuple[Entry, ...]]:
    return {wish.path: wish.entries for wish in made.files}


def test_every_client_has_all_it_needs() -> None:
    assert set(CLIENTS) == set(SOURCES) == set(RESTARTS)


@pytest.mark.parametrize("version", [None, (29, 0), (30, 2)])
def test_docker_reads_hosts_toml_for_what_is_not_docker_hub(version: tuple[int, int] | None) -> None:
    assert entries(plan("docker", version=version)) == {
        "/etc/docker/daemon.json": (Item(("registry-mirrors",), "https://hub"),),
        "/etc/docker/certs.d/ghcr.io/hosts.toml": (Host("https://hub", ("pull", "resolve", "referrers")),),
    }


def test_docker_before_29_has_a_mirror_of_docker_hub_only() -> None:
    made = plan("docker", version=(28, 5))
    assert list(entries(made)) == ["/etc/docker/daemon.json"]
    assert "docker.io only" in made.notes[0]
    with pytest.raises(ValueError, match=r"mirrors of docker\.io only"):
        plan("docker", "ghcr.io", version=(28, 5))


@pytest.mark.parametrize("folder", ["docker.io", "_default"])
def test_docker_with_a_hosts_toml_does_not_look_at_mirrors(folder: str) -> None:
    texts = {f"/etc/docker/certs.d/{folder}/hosts.toml": '[host."https://a"]\n'}
    wish = {wish.path: wish for wish in plan("docker", texts=texts).files}["/etc/docker/certs.d/docker.io/hosts.toml"]
    assert wish.entries == (Host("https://hub", ("pull", "resolve", "referrers")),)
    assert ('[host."https://a"]' in wish.head) == (folder == "_default")
    assert len(plan("docker", version=(28, 0), texts=texts).files) == 1


def test_what_counted_for_all_registries_counts_still() -> None:
    path = "/etc/containerd/certs.d/_default/hosts.toml"
    wishes = plan("containerd", texts={path: '[host."https://a"]\n  ca = "/etc/ca.pem"\n'}).files
    assert all(wish.head.endswith('ca = "/etc/ca.pem"\n') for wish in wishes if wish.format == "hosts.toml")
    (wish,) = [wish for wish in plan("containerd", "*", texts={path: "x = 1"}).files if wish.path == path]
    assert "x = 1" not in wish.head
    with pytest.raises(CannotEditError, match="whole paths"):
        plan("containerd", texts={path: '[host."https://a"]\n  ca = "ca.pem"\n'})


def test_docker_every_registry() -> None:
    assert list(entries(plan("docker", "*"))) == ["/etc/docker/daemon.json", "/etc/docker/certs.d/_default/hosts.toml"]


@pytest.mark.parametrize(
    ("url", "version", "insecure"),
    [
        ("https://192.0.2.1", None, []),
        ("http://127.0.0.1:5000", None, [("127.0.0.1:5000", "list")]),
        ("http://192.0.2.1:5000", (29, 9), [("192.0.2.1:5000", "always")]),
        (
            "http://192.0.2.1:5000",
            (29, 10),
            [("::1/128", "no list"), ("127.0.0.0/8", "no list"), ("192.0.2.1:5000", "always")],
        ),
    ],
)
def test_docker_without_tls(url: str, version: tuple[int, int] | None, insecure: list[tuple[str, str]]) -> None:
    items = entries(plan("docker", "docker.io", url=url, version=version))["/etc/docker/daemon.json"][1:]
    assert [(item.value, item.when) for item in items if isinstance(item, Item)] == insecure


def test_docker_with_a_secret() -> None:
    url = f"https://hub/{SECRET}"
    assert entries(plan("docker", url=url, version=(25, 0)))["/etc/docker/daemon.json"][0] == Item(
        ("registry-mirrors",), url
    )
    with pytest.raises(ValueError, match="before 25"):
        plan("docker", url=url, version=(24, 0))


@pytest.mark.parametrize(
    "line", ["ExecStart=/usr/bin/dockerd --registry-mirror=https://x", "DOCKER_OPTS='--registry-mirror x'"]
)
def test_docker_would_not_start_with_a_mirror_in_two_places(line: str) -> None:
    path = "/etc/systemd/system/docker.service.d/override.conf"
    with pytest.raises(CannotEditError, match="does not start"):
        plan("docker", texts={path: f"[Service]\n{line}\n"})
    plan("docker", texts={path: f"# {line}\n"})


@pytest.mark.parametrize(
    ("config", "version", "keys", "former"),
    [
        (None, None, GRPC, None),
        (None, (1, 7), GRPC, None),
        (None, (2, 1), IMAGES, None),
        ("", (2, 1), IMAGES, None),
        ("version = 2\n", (2, 1), GRPC, None),
        ("version = 3\n", None, IMAGES, None),
        ("version = 4\n", None, IMAGES, None),
        ("root = '/x'\n", None, ("plugins", "cri", "registry", "config_path"), None),
        ("version = 2\n[plugins.'io.containerd.cri.v1.images']\n", None, IMAGES, None),
        ("version = 2\n[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = ''\n", None, GRPC, ""),
        ("version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path='/a:/b'\n", None, IMAGES, "/a:/b"),
    ],
)
def test_containerd_is_told_the_folder(
    config: str | None, version: tuple[int, int] | None, keys: tuple[str, ...], former: str | None
) -> None:
    made = entries(plan("containerd", version=version, texts={} if config is None else {CONFIG: config}))
    folder = "/a" if former == "/a:/b" else "/etc/containerd/certs.d"
    assert made[CONFIG] == (Setting(keys, folder, former),)
    assert f"{folder}/ghcr.io/hosts.toml" in made


@pytest.mark.parametrize(
    ("texts", "version"),
    [
        ({CONFIG: "version = 2\n[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/a'\n"}, None),
        ({CONFIG: "version = 2\n[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/a:/b'\n"}, (1, 7)),
        (
            {
                CONFIG: "version = 3\nimports = ['/etc/containerd/conf.d/*.toml']\n",
                "/etc/containerd/conf.d/x.toml": "[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path='/a'\n",
            },
            None,
        ),
    ],
)
def test_containerd_knows_a_folder_already(texts: dict[str, str], version: tuple[int, int] | None) -> None:
    assert list(entries(plan("containerd", version=version, texts=texts))) == [
        "/a/docker.io/hosts.toml",
        "/a/ghcr.io/hosts.toml",
    ]


def test_containerd_without_cri() -> None:
    made = plan("containerd", "*", texts={CONFIG: 'disabled_plugins = ["cri"]\n'})
    assert list(entries(made)) == ["/etc/containerd/certs.d/_default/hosts.toml"]
    assert "switched off" in made.notes[0]


@pytest.mark.parametrize(("version", "word"), [(None, False), ((2, 1), False), ((2, 2), True), ((2, 4), True)])
def test_containerd_before_2_2_does_not_know_referrers(version: tuple[int, int] | None, *, word: bool) -> None:
    (host,) = entries(plan("containerd", version=version))["/etc/containerd/certs.d/ghcr.io/hosts.toml"]
    assert isinstance(host, Host)
    assert ("referrers" in host.capabilities) == word


@pytest.mark.parametrize(
    "lines",
    ["[{}.registry.mirrors.'docker.io']\nendpoint = ['https://x']\n", "[{}.registry.configs.x.tls]\nca_file='x'\n"],
)
def test_containerd_with_mirrors_in_its_config(lines: str) -> None:
    config = "version = 2\n" + lines.format("plugins.'io.containerd.grpc.v1.cri'")
    with pytest.raises(CannotEditError, match="move them"):
        plan("containerd", texts={CONFIG: config})


def test_podman_describes_a_registry_where_it_is_described() -> None:
    texts = {
        "/etc/containers/registries.conf": '[[registry]]\nlocation = "docker.io"\n[[registry]]\nprefix = "quay.io"\n',
        "/etc/containers/registries.conf.d/10-a.conf": '[[registry]]\nlocation = "quay.io"\n',
    }
    made = entries(plan("podman", "docker.io", "quay.io", "ghcr.io", url="http://hub:5000", texts=texts))
    assert made == {
        "/etc/containers/registries.conf": (Mirror("docker.io", "hub:5000/docker.io", True),),
        "/etc/containers/registries.conf.d/10-a.conf": (Mirror("quay.io", "hub:5000/quay.io", True),),
        "/etc/containers/registries.conf.d/50-hubferry-podman.conf": (Mirror("ghcr.io", "hub:5000/ghcr.io", True),),
    }


def test_podman_with_mirrors_for_a_part_of_a_registry() -> None:
    texts = {"/etc/containers/registries.conf": '[[registry]]\nprefix = "docker.io/library"\nlocation = "x"\n'}
    assert (
        "docker.io/library has mirrors of its own, and does not go to the gateway" in plan("podman", texts=texts).notes
    )


def test_crio_has_a_file_of_its_own() -> None:
    made = plan("crio")
    assert list(entries(made)) == ["/etc/containers/registries.conf.d/50-hubferry-crio.conf"]
    assert any("unqualified-search-registries" in note for note in made.notes)
    texts = {"/etc/containers/registries.conf": 'unqualified-search-registries = ["docker.io"]\n'}
    assert not any("unqualified-search-registries" in note for note in plan("crio", texts=texts).notes)


@pytest.mark.parametrize("text", ["[registries.search]\nregistries = ['docker.io']\n", "registry = 1\n", "nonsense"])
def test_podman_with_a_file_that_it_cannot_use(text: str) -> None:
    with pytest.raises(CannotEditError, match=r"registries\.conf"):
        plan("podman", texts={"/etc/containers/registries.conf": text})


def test_k3s_takes_a_path_with_its_v2() -> None:
    (wish,) = plan("k3s", "*", url=f"https://hub/{SECRET}").files
    assert wish.entries == (Item(("mirrors", "*", "endpoint"), f"https://hub/{SECRET}/v2"),)
    (wish,) = plan("k3s").files
    assert wish.entries[0] == Item(("mirrors", "docker.io", "endpoint"), "https://hub")


def test_k3s_rewrites() -> None:
    texts = {"/etc/rancher/k3s/registries.yaml": "mirrors: {docker.io: {rewrite: {a: b}}}"}
    assert "rewrite" in plan("k3s", texts=texts).notes[-1]


def test_buildkit_is_told_of_plain_http() -> None:
    (wish,) = plan("buildkit", "docker.io", url="http://127.0.0.1:5000").files
    assert wish.entries == (
        Item(("registry", "docker.io", "mirrors"), "127.0.0.1:5000"),
        Setting(("registry", "127.0.0.1:5000", "http"), value=True),
    )


@pytest.mark.parametrize("client", ["podman", "crio", "buildkit"])
def test_what_these_cannot_do(client: str) -> None:
    with pytest.raises(ValueError, match="every registry"):
        plan(client, "*")
    with pytest.raises(ValueError, match="log in"):
        plan(client, url=f"https://hub/{SECRET}")
