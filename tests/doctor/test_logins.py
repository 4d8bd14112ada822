"""The login that docker or podman left for a registry."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from hubferry.core.access import Credential
from hubferry.doctor.logins import find_login

if TYPE_CHECKING:
    from pathlib import Path

GOOD = base64.b64encode(b"me:ge:heim").decode()
CASES: dict[str, tuple[str, bool]] = {
    "a login": (json.dumps({"auths": {"hub.test": {"auth": GOOD}}}), True),
    "of another registry": (json.dumps({"auths": {"other.test": {"auth": GOOD}}}), False),
    "in a credential helper": (json.dumps({"auths": {"hub.test": {}}, "credsStore": "pass"}), False),
    "no base64": (json.dumps({"auths": {"hub.test": {"auth": "%"}}}), False),
    "no pair": (json.dumps({"auths": {"hub.test": {"auth": base64.b64encode(b"me").decode()}}}), False),
    "no text": (json.dumps({"auths": {"hub.test": {"auth": 7}}}), False),
    "a list": ("[]", False),
    "no JSON": ("{", False),
}
FILES: tuple[tuple[dict[str, str], str], ...] = (
    ({"DOCKER_CONFIG": "{0}/d"}, "d/config.json"),
    ({}, ".docker/config.json"),
    ({"REGISTRY_AUTH_FILE": "{0}/auth"}, "auth"),
    ({"XDG_RUNTIME_DIR": "{0}/run"}, "run/containers/auth.json"),
    ({}, ".config/containers/auth.json"),
)


@pytest.mark.parametrize(("text", "is_there"), CASES.values(), ids=CASES.keys())
def test_texts(tmp_path: Path, text: str, *, is_there: bool) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(text)
    found = find_login("hub.test", {"HOME": str(tmp_path)})
    assert found == (Credential("me", "ge:heim") if is_there else None)


@pytest.mark.parametrize(("environ", "name"), FILES)
def test_files(tmp_path: Path, environ: dict[str, str], name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(CASES["a login"][0])
    environ = {key: value.format(tmp_path) for key, value in environ.items()}
    assert find_login("hub.test", {"HOME": str(tmp_path), **environ}) == Credential("me", "ge:heim")
