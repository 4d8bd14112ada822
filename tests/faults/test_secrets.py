"""Secrets that come as environment variables, for containers: nothing of them is written to disk or shown."""

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import REPOSITORY, config
from tests.support.gateway import Gateway
from tests.support.http import Answer, fetch
from tests.support.hub import Hub
from tests.support.images import build_image
from tests.support.preloaded import run_hubferry
from tests.support.registry import PASSWORD, USER, Registry

KEY = bytes(range(0xE0, 0x100))
KEY_TEXT = base64.urlsafe_b64encode(KEY).decode()
OTHER_KEY_TEXT = base64.urlsafe_b64encode(bytes(32)).decode()
TOKEN_KEY = "HUBFERRY_ACCESS__TOKEN_KEY"
ACCOUNT_PASSWORD = "HUBFERRY_UPSTREAMS__DOCKER_IO__PASSWORD"
HOST = "hub.example.com"


def ask(gateway: Gateway, path: str, token: str = "") -> Answer:
    headers = [("Authorization", f"Bearer {token}")] if token else []
    return fetch(gateway.url + path, headers=headers, host=HOST)


def test_with_a_key_of_the_environment_no_key_is_written(tmp_path: Path, hub: Hub) -> None:
    hub.add(REPOSITORY, "latest", image := build_image("key"))
    settings = config(tmp_path, hub, login="upstream")
    with Gateway.start(tmp_path / "gateway", settings, env={TOKEN_KEY: KEY_TEXT}) as gateway:
        token = ask(gateway, "/token?scope=repository:app:pull").json()["token"]
        assert ask(gateway, "/v2/app/manifests/latest", token).body == image.manifest
        output = gateway.output()
    assert (tmp_path / "data" / "index.sqlite3").is_file(), "the folder is made by what is kept"
    assert not list(tmp_path.rglob("*token.key*"))
    assert KEY_TEXT not in output


def test_gateways_with_one_key_accept_each_others_tokens(tmp_path: Path, hub: Hub) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(KEY_TEXT + "\n")
    # one key, in every way to give it
    ways: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
        "base64url": ({}, {TOKEN_KEY: KEY_TEXT}),
        "base64": ({}, {TOKEN_KEY: base64.b64encode(KEY).decode().rstrip("=") + "\n"}),
        "toml": ({"token_key": KEY_TEXT}, {}),
        "file": ({"token_key_file": str(key_file)}, {}),
    }
    tokens = {}
    for name, (access, env) in ways.items():
        settings = config(tmp_path / name, hub, login="upstream")
        settings["access"].update(access)
        with Gateway.start(tmp_path / name / "gateway", settings, env=env) as gateway:
            tokens[name] = ask(gateway, "/token?scope=repository:app:pull").json()["token"]
            for token in tokens.values():
                assert ask(gateway, "/v2/", token).status == 200
    settings = config(tmp_path / "other", hub, login="upstream")
    with Gateway.start(tmp_path / "other" / "gateway", settings, env={TOKEN_KEY: OTHER_KEY_TEXT}) as gateway:
        for token in tokens.values():
            assert ask(gateway, "/v2/", token).status == 401


def test_a_password_of_the_environment_is_the_account_of_the_upstream(tmp_path: Path, hub: Hub) -> None:
    hub.state.users["me"] = "hunter2 with spaces"
    hub.add(REPOSITORY, "latest", image := build_image("account"), readers={"me"})
    settings = config(tmp_path, hub, username="me")
    env = {ACCOUNT_PASSWORD: "hunter2 with spaces\n"}
    with Gateway.start(tmp_path / "gateway", settings, env=env) as gateway:
        assert ask(gateway, "/v2/app/manifests/latest").body == image.manifest
        assert "hunter2" not in gateway.output()


@pytest.mark.real
def test_a_password_of_the_environment_is_sent_to_an_upstream_with_basic_authentication(
    tmp_path: Path, hub: Hub
) -> None:
    image = build_image("basic")
    with Registry(tmp_path / "registry", auth=True) as registry:
        registry.push("library/app", "latest", image)
        settings = config(tmp_path, hub, username=USER)
        settings["upstreams"]["docker.io"]["url"] = registry.url
        for password, status in ((PASSWORD, 200), ("guess", 401)):
            settings["cache"] = {"dir": str(tmp_path / f"data-{status}")}
            with Gateway.start(tmp_path / "gateway", settings, env={ACCOUNT_PASSWORD: password}) as gateway:
                answer = ask(gateway, "/v2/app/manifests/latest")
                assert answer.status == status
                if status == 200:
                    assert answer.body == image.manifest
                    layer = image.layers[0]
                    assert ask(gateway, f"/v2/app/blobs/{layer.digest}").body == layer.data


def test_config_show_says_that_secrets_are_set_and_not_what_they_are(tmp_path: Path) -> None:
    env = {
        "PATH": "/usr/bin:/bin",
        TOKEN_KEY: KEY_TEXT,
        "HUBFERRY_UPSTREAMS__DOCKER_IO__USERNAME": "me",
        ACCOUNT_PASSWORD: "hunter2",
    }
    done = run_hubferry("config", "show", env=env)
    assert done.returncode == 0, done.stderr
    shown = done.stdout
    lines = [line.partition("  #")[0] for line in shown.splitlines()]
    assert 'token_key = "********"' in lines
    assert lines.count('password = "********"') == 1
    assert KEY_TEXT not in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({TOKEN_KEY: "hunter2"}, ["access.token_key", "openssl rand -base64 32 | tr '+/' '-_'"]),
        ({TOKEN_KEY: KEY_TEXT, f"{TOKEN_KEY}_FILE": "hunter2.key"}, ["access.token_key", "set one of the two"]),
        ({ACCOUNT_PASSWORD: "hunter2"}, ['upstreams."docker.io".username', "set both or neither"]),
    ],
)
def test_a_secret_that_cannot_be_used_stops_the_start_and_is_not_shown(
    tmp_path: Path, env: dict[str, str], words: list[str]
) -> None:
    done = run_hubferry("serve", env=env, cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    for word in ("environment", *words):
        assert word in line
    for secret in ("hunter2", KEY_TEXT):
        assert secret not in line
