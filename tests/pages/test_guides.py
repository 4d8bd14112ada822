"""What the home page tells to type works on every kind of host name."""

from __future__ import annotations

import json
import re
import tomllib

import pytest

from hubferry.core.gateway_names import GatewayNames
from hubferry.core.routing import resolve, resolve_host, table_of
from hubferry.core.settings_sources import SettingsSource
from hubferry.core.settings_sources import resolve as resolve_settings
from hubferry.pages.guides import SECRET, Gateway, Guide, guides
from hubferry.pages.words import ENGLISH
from tests.pages.site import EVERY_KIND, HOSTS

TABLE = table_of(resolve_settings([SettingsSource("test", HOSTS)]))


def gateway(host: str, *, scheme: str = "https", has_users: bool = False) -> Gateway:
    return Gateway(f"{scheme}://{host}", GatewayNames(TABLE, resolve_host(host, TABLE), host), has_users)


def by_id(host: str, *, has_users: bool = False) -> dict[str, Guide]:
    return {guide.id: guide for guide in guides(gateway(host, has_users=has_users))}


@pytest.mark.parametrize("host", EVERY_KIND)
def test_every_image_in_a_command_can_be_pulled_here(host: str) -> None:
    """A name on a host name that belongs to one upstream was once answered with 400, or was another image."""
    shown = "\n".join(step.text for guide in guides(gateway(host)) for step in guide.steps)
    names = re.findall(rf"(?:pull |image: |oci://){re.escape(host)}/(\S+)", shown)
    assert len(names) >= 4
    for name in names:
        repository = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
        resolve(repository, "", resolve_host(host, TABLE), TABLE)  # raises for what it does not know


@pytest.mark.parametrize("host", EVERY_KIND)
def test_a_mirror_in_a_file_leads_to_the_registry_that_it_is_for(host: str) -> None:
    meaning = resolve_host(host, TABLE)
    found = by_id(host)
    for table in tomllib.loads(found["podman"].steps[-1].text)["registry"]:
        location = table["mirror"][0]["location"]
        name = f"{location}/o/app".removeprefix(f"{host}/")
        assert resolve(name, "", meaning, TABLE).upstream == table["location"]
    for registry in tomllib.loads(found["buildkit"].steps[0].text)["registry"]:
        if registry != host:
            assert resolve("o/app", registry, meaning, TABLE).upstream == registry
    for step in found["mirror"].steps:
        if step.file.endswith("daemon.json"):
            assert resolve("o/app", "", meaning, TABLE).upstream == "docker.io"
    folders = {step.file.split("/")[-2] for guide in found.values() for step in guide.steps if "certs.d" in step.file}
    for folder in folders - {"_default"}:
        assert resolve("o/app", folder, meaning, TABLE).upstream == folder
    if "_default" in folders:
        assert {resolve("o/app", name, meaning, TABLE).upstream for name in ("docker.io", "quay.io")} == {
            "docker.io",
            "quay.io",
        }


def test_where_only_one_registry_is_no_mirror_of_docker_hub_is_offered() -> None:
    shown = "".join(step.file for step in by_id("ghcr.example.com")["mirror"].steps)
    assert "daemon.json" not in shown
    assert "/certs.d/ghcr.io/" in shown


@pytest.mark.parametrize("host", EVERY_KIND)
@pytest.mark.parametrize("has_users", [True, False])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_every_file_can_be_read(host: str, has_users: bool, scheme: str) -> None:
    for guide in guides(gateway(host, scheme=scheme, has_users=has_users)):
        for step in guide.steps:
            assert {step.says, step.after or step.says} <= ENGLISH.keys()
            if step.file.endswith(".json"):
                json.loads(step.text)
            elif step.file.endswith((".toml", ".conf")):
                tomllib.loads(step.text)


@pytest.mark.parametrize("host", EVERY_KIND)
def test_with_users_a_client_logs_in_or_has_a_secret(host: str) -> None:
    found = by_id(host, has_users=True)
    assert any(step.text.startswith("docker login ") for step in found["docker"].steps)
    assert "buildkit" not in found, "its mirrors can do neither"
    for guide in ("mirror", "containerd", "k3s"):
        for step in found[guide].steps:
            assert SECRET in step.text or step.file.endswith("config.toml")


def test_only_beyond_this_machine_a_gateway_without_tls_has_to_be_allowed() -> None:
    texts = {
        (host, scheme): "".join(step.text for guide in guides(gateway(host, scheme=scheme)) for step in guide.steps)
        for host in ("gw.example.com", "localhost:5000")
        for scheme in ("http", "https")
    }
    assert {place: "insecure-registries" in text for place, text in texts.items()} == {
        ("gw.example.com", "http"): True,
        ("gw.example.com", "https"): False,
        ("localhost:5000", "http"): False,
        ("localhost:5000", "https"): False,
    }
