"""Names of images at a host name of a gateway: only what the router takes for the same image is ever shown."""

import pytest

from hubferry.core.gateway_names import GatewayNames, address_of
from hubferry.core.rewrite import rewrite
from hubferry.core.routing import RoutedUpstream, RoutingTable, resolve_host

SHA = "sha256:" + "a" * 64
HUB = RoutedUpstream("docker.io", ("hub.example.com",), library=True)
GHCR = RoutedUpstream("ghcr.io", ("ghcr.example.com",))
TABLE = RoutingTable(
    (HUB, GHCR, RoutedUpstream("quay.io"), RoutedUpstream("reg.example:5000")), "docker.io", "gw.example.com"
)
ONLY_GHCR = RoutingTable((RoutedUpstream("ghcr.io"),), "ghcr.io")


def names_at(host: str, table: RoutingTable = TABLE) -> GatewayNames:
    return GatewayNames(table, resolve_host(host, table), host)


# host, name as written elsewhere -> name here; empty: it cannot be pulled here
NAMES = {
    ("gw.example.com", "nginx"): "gw.example.com/nginx",
    ("gw.example.com", "nginx:1.27"): "gw.example.com/nginx:1.27",
    ("gw.example.com", f"nginx:1.27@{SHA}"): f"gw.example.com/nginx:1.27@{SHA}",
    ("gw.example.com", "docker.io/library/nginx"): "gw.example.com/nginx",
    ("gw.example.com", "index.docker.io/gitlab/gitlab-ce"): "gw.example.com/gitlab/gitlab-ce",
    ("gw.example.com", "ghcr.io/o/app"): "gw.example.com/ghcr.io/o/app",
    ("gw.example.com", "reg.example:5000/app"): "gw.example.com/reg.example:5000/app",
    ("gw.example.com", "nginx:${TAG:-1}"): "gw.example.com/nginx:${TAG:-1}",
    ("gw.example.com", "gw.example.com/nginx"): "",
    ("gw.example.com", "other.example/app"): "",
    ("gw.example.com", "${REGISTRY}/app"): "",
    ("gw.example.com", "NGINX"): "",
    ("10.0.0.5:5000", "nginx"): "10.0.0.5:5000/nginx",
    ("hub.example.com", "nginx"): "hub.example.com/nginx",
    ("hub.example.com", "ghcr.io/o/app"): "hub.example.com/ghcr.io/o/app",
    ("ghcr.example.com", "ghcr.io/o/app:1"): "ghcr.example.com/o/app:1",
    ("ghcr.example.com", "nginx"): "",
    ("ghcr.example.com", "team/app"): "",
    ("ghcr.example.com", "quay.io/o/app"): "",
}


@pytest.mark.parametrize(("place", "here"), NAMES.items(), ids=[" ".join(place) for place in NAMES])
def test_a_name_is_written_for_a_host_name(place: tuple[str, str], here: str) -> None:
    host, written = place
    assert names_at(host).rewritten(written) == here


@pytest.mark.parametrize("host", ["gw.example.com", "hub.example.com", "ghcr.example.com", "10.0.0.5:5000"])
def test_what_is_rewritten_means_the_same_image(host: str) -> None:
    names = names_at(host)
    for _, written in NAMES:
        here = names.rewritten(written)
        if here:
            assert names.served(here) == names.served(written)
            assert names.rewritten(here) == ""


SERVED = {
    "gw.example.com": ["docker.io", "ghcr.io", "quay.io", "reg.example:5000"],
    "hub.example.com": ["docker.io", "ghcr.io", "quay.io", "reg.example:5000"],
    "ghcr.example.com": ["ghcr.io"],
}


@pytest.mark.parametrize(("host", "served"), SERVED.items())
def test_a_host_name_serves(host: str, served: list[str]) -> None:
    assert names_at(host).serves() == served


def test_a_name_without_a_registry_means_what_clients_mean_by_it() -> None:
    """Docker Hub, also where requests without a registry go to another upstream; that only without Docker Hub."""
    assert names_at("ghcr.example.com").served("nginx") is None
    assert names_at("localhost:5000", ONLY_GHCR).rewritten("o/app") == "localhost:5000/o/app"


ADDRESSES = {
    "https://hub.example.com": "hub.example.com",
    "http://hub.example.com:8080": "hub.example.com:8080",
    "http://localhost": "localhost",
    "https://hub": "hub:443",
    "http://hub": "hub:80",
    "http://[::1]:5000": "[::1]:5000",
    "https://hub.example.com/secret": "hub.example.com",
}


@pytest.mark.parametrize(("base_url", "address"), ADDRESSES.items())
def test_an_address_is_one_that_clients_take_for_a_registry(base_url: str, address: str) -> None:
    assert address_of(base_url) == address


DOCKERFILE = """\
# syntax=docker/dockerfile:1
ARG V=1.27
FROM nginx:${V} AS web   # pinned
COPY --from=ghcr.io/o/tool:2 /tool /tool
FROM web
FROM reg.internal/base
FROM scratch
"""
COMPOSE = 'services:\n  web:\n    image: "nginx:1.27"  # it\n  db: {image: quay.io/o/db:${V:-16}}\n'


def test_a_file_is_rewritten_and_everything_else_stays() -> None:
    names = names_at("gw.example.com")
    found = rewrite(DOCKERFILE, names)
    assert found.text == DOCKERFILE.replace("docker/d", "gw.example.com/docker/d").replace(
        "nginx:", "gw.example.com/nginx:"
    ).replace("ghcr.io/", "gw.example.com/ghcr.io/")
    assert (found.count, found.left) == (3, ("reg.internal/base",))
    assert [str(image) for image in found.images] == [
        "docker.io/docker/dockerfile:1",
        "docker.io/library/nginx:1.27",
        "ghcr.io/o/tool:2",
    ]
    found = rewrite(COMPOSE, names)
    assert found.text == COMPOSE.replace("nginx", "gw.example.com/nginx").replace("quay.io", "gw.example.com/quay.io")


def test_a_rewritten_text_is_not_rewritten_again() -> None:
    names = names_at("gw.example.com")
    for text in (DOCKERFILE, COMPOSE, "docker pull nginx", "nginx\nghcr.io/o/app:1\n"):
        once = rewrite(text, names).text
        assert once != text
        assert (rewrite(once, names).text, rewrite(once, names).count) == (once, 0)
