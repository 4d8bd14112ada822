"""Every secret that a gateway may have, and every place where people look: none of them is anywhere.

A canary is written into each setting that holds a secret, and shown by clients in each way that there is. Then it is
looked for in the log, the audit log, error bodies, the page, the metrics, `config show`, `config check`, the arguments
of the process and a dump of the settings.
"""

from __future__ import annotations

import base64
import tomllib
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from hubferry.core.settings_sources import SettingsSource, resolve
from tests.support import faults
from tests.support.gateway import Gateway, begun_as_by_users, upstream
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import build_image
from tests.support.preloaded import run_hubferry
from tests.support.registry_client import ACCEPT_MANIFESTS, basic
from tests.support.users import UserBook

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "canary-of-the-account"
ACCOUNTS = "canary-of-the-accounts-file"
PROXY = "canary-of-the-proxy"
USER = "canary-of-alice"
UPSTREAM = "canary-behind-a-token"
KEY = base64.urlsafe_b64encode(b"canary-of-the-sealing-key-123456").decode().rstrip("=")


@pytest.mark.parametrize("level", ["debug", "warning"])
def test_no_secret_is_anywhere(tmp_path: Path, level: str) -> None:
    book = UserBook(tmp_path)
    book.add("alice", USER)
    access, mirror = book.token("alice"), book.mirror("node1")
    accounts = tmp_path / "accounts"
    accounts.write_text(f"other:{ACCOUNTS}\n")
    audit = tmp_path / "audit.json"
    logins = [("alice", USER), ("alice", access), ("me", f"{access}:{UPSTREAM}"), ("x", USER + "x")]
    said: list[str] = []
    with Hub() as hub:
        hub.state.users.update({"me": PASSWORD, "other": ACCOUNTS})
        hub.add("library/app", "1", build_image("canary"))
        account = {"username": "me", "password": PASSWORD, "accounts_file": str(accounts)}
        behind_proxy = {"url": "http://a.invalid", "proxy": f"http://u:{PROXY}@127.0.0.1:1", "response_timeout": "1s"}
        config = {
            "server": {"log_level": level, "metrics_from": ["127.0.0.1/32"]},
            "access": {**book.access, "token_key": KEY},
            "audit": {"file": str(audit)},
            "upstreams": {"only": True, "docker.io": upstream(hub.url, default=True, library=True, **account),
                          "proxied.test": behind_proxy},
        }  # fmt: skip
        with begun_as_by_users(), Gateway.start(tmp_path / "gateway", config) as gateway:
            root = gateway.url

            def ask(target: str, *login: str, method: str = "GET", body: bytes = b"") -> bytes:
                headers = [ACCEPT_MANIFESTS, *([basic(*login)] if login else [])]
                answer = fetch(root, method, headers, target=target, body=body)
                text = f"{answer.headers} {answer.body!r}"
                for own in (access, mirror):  # its own words come back to a client in a refusal or a link
                    text = text.replace(own, "") if own in target else text
                said.append(text)
                return answer.body

            scope = "service=a&scope=repository:app:pull"
            for name, secret in logins:
                ask(f"/token?{scope}", name, secret)
                ask("/v2/", name, secret)
                ask("/v2/app/manifests/1", name, secret)
                ask("/v2/proxied.test/app/manifests/1", name, secret)
                ask(f"/v2/app/manifests/1?password={quote(secret)}")
                form = f"grant_type=password&username={name}&password={quote(secret)}&{scope}"
                ask("/token", method="POST", body=form.encode())
            for target in ("app/manifests/1", "app/manifests/2", "proxied.test/app/manifests/1", "app/tags/list?n=1"):
                ask(f"/{mirror}/v2/{target}")
                ask(f"/{mirror[:-1]}/v2/{target}")
            for target in (
                f"/v2/app/manifests/{access}",
                f"/v2/{mirror}/manifests/1",
                f"/{access}/v2/",
                f"/v1/{mirror}",
            ):
                ask(target)
            with_failure = hub.script(faults.answer(500, PASSWORD.encode()), role="hub", times=None)
            ask("/v2/app/manifests/3", "alice", access)
            with_failure.times = 0
            said.append(ask("/").decode())
            said.append(ask("/metrics").decode())
            for command in (["show", "--config"], ["check"]):
                done = run_hubferry("config", *command, gateway.config_file)
                assert done.returncode == 0, done.stderr
                said.append(done.stdout + done.stderr)
            said += [" ".join(process.cmdline()) for process in gateway.process.tree()]
            settings = resolve([SettingsSource("file", tomllib.loads(gateway.config_file.read_text()))])
            said.append(f"{settings!r} {settings}")
        said.append(gateway.output())
        said.append(audit.read_text())
        hub.clear()
    secrets = [PASSWORD, ACCOUNTS, PROXY, USER, UPSTREAM, KEY, access, mirror]
    shown_pairs = [*logins, ("me", PASSWORD), ("other", ACCOUNTS), ("u", PROXY), ("me", UPSTREAM)]
    secrets += [base64.b64encode(f"{name}:{secret}".encode()).decode() for name, secret in shown_pairs]
    found = {secret: text for secret in secrets for text in said if secret in text}
    assert not found
    assert "manifests/1" in said[-2], "there was something to look through"
    assert "alice" in said[-1]
