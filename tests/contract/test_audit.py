"""The audit log: one line for what was pulled or denied, and none for anything else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.gateway import Gateway, upstream
from tests.support.http import fetch
from tests.support.images import Image, build_image
from tests.support.processes import StartError
from tests.support.registry_client import ACCEPT_MANIFESTS, basic
from tests.support.users import UserBook
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartGateway
    from tests.support.hub import Hub


@pytest.fixture
def image(hub: Hub) -> Image:
    image = build_image("audit")
    hub.add("library/app", "1", image)
    return image


def config(hub: Hub, file: Path, access: dict[str, Any]) -> dict[str, Any]:
    docker = upstream(hub.url, default=True, library=True)
    return {
        "access": access,
        "audit": {"file": str(file)},
        "upstreams": {"only": True, "docker.io": docker},
    }


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def get(gateway: Gateway, path: str, *headers: tuple[str, str], method: str = "GET") -> int:
    return fetch(gateway.url + path, method, headers=[ACCEPT_MANIFESTS, *headers]).status


def test_who_pulled_what_and_who_was_denied(
    hub: Hub, image: Image, start_gateway: StartGateway, tmp_path: Path
) -> None:
    book, file = UserBook(tmp_path), tmp_path / "audit.json"
    book.add("alice", "correct horse")
    token, secret = book.token("alice"), book.mirror("node1")
    alice = basic("x", token)
    rules = [{"who": ["users"], "what": ["docker.io/library/app"], "allow": True}, {"allow": False}]
    gateway = start_gateway(config(hub, file, {**book.access, "rules": rules}))
    blob = image.layers[0].digest
    assert get(gateway, "/v2/app/manifests/1", alice) == 200
    assert get(gateway, "/v2/app/manifests/1", alice) == 200, "the same again, from memory"
    assert get(gateway, f"/v2/app/blobs/{blob}", alice) == 200
    assert get(gateway, f"/{secret}/v2/evil/app/manifests/1") == 403
    assert get(gateway, "/v2/app/manifests/1", alice, method="HEAD") == 200
    assert get(gateway, "/v2/app/manifests/2", alice) == 404
    assert get(gateway, "/v2/app/tags/list", alice) == 200
    assert get(gateway, "/v2/app/manifests/1") == 401
    wait_until(lambda: len(lines(file)) >= 4, what="the lines")
    gateway.stop()
    found = lines(file)
    shown = [(one["user"], one["reference"], one["digest"], one["allowed"], one["status"]) for one in found]
    assert shown == [
        ("alice", "1", image.digest, True, 200),
        ("alice", "1", image.digest, True, 200),
        ("alice", blob, blob, True, 200),
        ("node1", "1", "", False, 403),
    ]
    assert [one["rule"] for one in found] == ["access.rules, number 1"] * 3 + ["access.rules, number 2"]
    assert {one["peer"] for one in found} == {"127.0.0.1"}
    assert found[0]["bytes"] == len(image.manifest)
    assert found[0]["time"].endswith("Z")
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    assert token not in text
    assert secret not in text


def test_a_file_that_was_moved_is_made_anew(
    hub: Hub, image: Image, start_gateway: StartGateway, tmp_path: Path
) -> None:
    file = tmp_path / "audit.json"
    gateway = start_gateway(config(hub, file, {"login": "open"}))
    path = f"/v2/app/manifests/{image.digest}"
    assert get(gateway, path) == 200
    wait_until(lambda: len(lines(file)) == 1, what="its line, which is written after the answer")
    file.rename(tmp_path / "audit.json.1")
    assert get(gateway, path) == 200
    wait_until(lambda: file.exists() and len(lines(file)) == 1, what="a new file")
    assert len(lines(tmp_path / "audit.json.1")) == 1


def test_pulls_go_on_when_it_cannot_be_written(
    hub: Hub, image: Image, start_gateway: StartGateway, tmp_path: Path
) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    gateway = start_gateway(config(hub, folder / "audit.json", {"login": "open"}))
    (folder / "audit.json").unlink()
    folder.rmdir()
    assert get(gateway, f"/v2/app/manifests/{image.digest}") == 200
    assert get(gateway, f"/v2/app/blobs/{image.layers[0].digest}") == 200
    wait_until(
        lambda: any(record.get("event") == "audit_failed" for record in gateway.log_records()), what="it is said"
    )


def test_a_file_that_cannot_be_written_stops_the_start(hub: Hub, start_gateway: StartGateway, tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"audit\.file.*cannot be written"):
        start_gateway(config(hub, tmp_path / "nowhere" / "audit.json", {"login": "open"}))


def test_each_image_of_a_file_has_a_line(hub: Hub, image: Image, start_gateway: StartGateway, tmp_path: Path) -> None:
    other = build_image("other")
    hub.add("team/other", "1", other)
    file = tmp_path / "audit.json"
    gateway = start_gateway(config(hub, file, {"deny": ["docker.io/evil/*"]}))
    assert get(gateway, "/download?image=app:1&image=team/other:1") == 302
    assert get(gateway, f"/download?image=app:1@{image.digest}", method="HEAD") == 200
    assert get(gateway, f"/download?image=app:1@{image.digest}&image=team/other:1@{other.digest}") == 200
    assert get(gateway, "/download?image=app:1&image=evil/app:1") == 403
    wait_until(lambda: len(lines(file)) == 3, "three lines", seen=lambda: lines(file))
    found = {line["repository"]: line for line in lines(file)}
    assert {name: (line["digest"], line["status"]) for name, line in found.items()} == {
        "library/app": (image.digest, 200),
        "team/other": (other.digest, 200),
        "evil/app": ("", 403),
    }
    assert found["library/app"]["bytes"] > image.layers[0].size > found["team/other"]["bytes"] == 0
