"""`hubferry cache ...` beside a running server, and a server that stays within its limits."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.faults.conftest import config
from tests.faults.kept import under_way
from tests.support.content import MIB, Blob
from tests.support.gateway import Gateway
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.images import OCI, build_image, build_index
from tests.support.preloaded import run_hubferry
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.images import Image

ACCEPT = [("Accept", OCI.manifest), ("Accept", OCI.index)]
NOTICED_S = 5.0  # servers believe their memory for two


def run_cache(*args: str, status: int = 0, **settings: str) -> str:
    done = run_hubferry("cache", *args, env={"PATH": os.environ["PATH"], **settings})
    assert done.returncode == status, done.stderr
    return f"{done.stdout}{done.stderr}"


@dataclass
class Shop:
    """A hub with a gateway in front, and the command line beside it."""

    hub: Hub
    gateway: Gateway
    data: Path

    def publish(self, name: str, *sizes: int) -> Image:
        image = build_image(name, layer_sizes=sizes or (MIB, MIB))
        self.hub.add(f"library/{name}", "1", image)
        return image

    def pull(self, name: str, image: Image, tag: str = "1") -> int:
        """As a client does; how many requests the upstream saw."""
        before = len(self.hub.find())
        answer = fetch(f"{self.gateway.url}/v2/{name}/manifests/{tag}", headers=ACCEPT)
        assert answer.status == 200
        for digest, blob in image.blobs.items():
            got = fetch(f"{self.gateway.url}/v2/{name}/blobs/{digest}")
            assert (got.status, got.ended, got.body == blob.data) == (200, "complete", True), self.gateway.output()
        for blob in image.blobs.values():
            wait_until(lambda blob=blob: not under_way(self.data, blob), "the file has its name")  # type: ignore[misc]
        return len(self.hub.find()) - before

    def cache(self, *args: str, status: int = 0) -> str:
        return run_cache(*args, "--config", str(self.gateway.config_file), status=status)

    def stored(self) -> set[str]:
        return {f"sha256:{path.name}" for path in (self.data / "blobs").rglob("*") if path.is_file()}

    def stored_bytes(self) -> int:
        total = 0
        for path in [path for part in ("blobs", "partial") for path in (self.data / part).rglob("*")]:
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_blocks * 512 if path.is_file() else 0
        return total


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture
def shop(tmp_path: Path, hub: Hub) -> Iterator[Shop]:
    settings = config(tmp_path, hub)
    settings["cache"] |= {"max_size": "16MiB", "min_free": "0B"}
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        yield Shop(hub, gateway, tmp_path / "data")


def test_what_is_kept_is_listed_and_described(shop: Shop) -> None:
    one, two = shop.publish("one"), shop.publish("two")
    assert shop.cache("ls").split() == ["IMAGE", "DIGEST", "SIZE", "LAST", "WANTED", "TAG", "CONFIRMED"]
    shop.pull("one", one)
    shop.pull("two", two, tag=two.digest)
    listed = [json.loads(line) for line in shop.cache("ls", "--json").splitlines()]
    assert [entry["image"] for entry in listed] == ["docker.io/library/one:1", f"docker.io/library/two@{two.digest}"]
    assert [entry["digest"] for entry in listed] == [one.digest, two.digest]
    assert all(2 * MIB < entry["size_bytes"] < 3 * MIB for entry in listed)
    assert "docker.io/library/one:1" in shop.cache("ls")
    described = shop.cache("info", "one:1")
    assert all(digest in described for digest in (one.digest, *one.blobs))
    assert "not kept" not in described
    assert "images       2" in shop.cache("info")
    assert "nothing of docker.io/library/three is kept" in shop.cache("info", "three", status=1)
    assert "is none of the upstreams" in shop.cache("info", "elsewhere.example/x", status=2)


def test_an_index_shows_which_platforms_are_kept(shop: Shop) -> None:
    index = build_index("many")
    shop.hub.add("library/many", "1", index)
    image = index.image("amd64")
    assert fetch(f"{shop.gateway.url}/v2/many/manifests/1", headers=ACCEPT).status == 200
    assert shop.pull("many", image, tag=image.digest)
    described = shop.cache("info", "many:1").splitlines()
    kept = {line.split()[0] for line in described[1:] if "not kept" not in line}
    assert kept == {index.digest, image.digest, *image.blobs}
    assert any("not kept" in line for line in described)
    assert len(shop.cache("ls", "--json").splitlines()) == 1


def test_a_pinned_image_stays_when_room_is_made(shop: Shop) -> None:
    one, two = shop.publish("one"), shop.publish("two")
    shop.pull("one", one)
    shop.pull("two", two)
    assert "pinned docker.io/library/one:1" in shop.cache("pin", "one")
    assert "docker.io/library/one:1 (pinned)" in shop.cache("ls")
    shop.cache("prune", "--to", "0B")
    assert [json.loads(line)["pinned"] for line in shop.cache("ls", "--json").splitlines()] == [True]
    assert shop.pull("one", one) == 0
    assert "1 unpinned" in shop.cache("unpin", "one:1")
    shop.cache("prune", "--to", "0B")
    assert "one" not in shop.cache("ls")
    assert "nothing of docker.io/library/one is kept" in shop.cache("pin", "one", status=1)


def test_a_removed_image_is_gone_and_comes_back(shop: Shop) -> None:
    one, two = shop.publish("one"), shop.publish("two")
    shared = Blob.generated(MIB, seed=3)
    shop.hub.add_blob("library/one", shared)
    shop.hub.add_blob("library/two", shared)
    for name, image in (("one", one), ("two", two)):
        shop.pull(name, image)
        assert fetch(f"{shop.gateway.url}/v2/{name}/blobs/{shared.digest}").body == shared.data
        assert shop.pull(name, image) == 0
    assert "removed docker.io/library/one:1" in shop.cache("rm", "one")
    assert shop.stored() == {two.digest, *two.blobs, shared.digest}
    assert [json.loads(line)["digest"] for line in shop.cache("ls", "--json").splitlines()] == [two.digest]
    assert shop.pull("two", two) == 0

    def is_back() -> bool:
        shop.pull("one", one)
        return shop.stored() >= {one.digest, *one.blobs}

    wait_until(is_back, "that the server notices and fetches it anew", NOTICED_S)
    assert "nothing of docker.io/library/three is kept" in shop.cache("rm", "three", status=1)


def test_verify_finds_and_puts_aside_what_was_altered(shop: Shop) -> None:
    one = shop.publish("one")
    shop.pull("one", one)
    assert "3 damaged" not in shop.cache("verify")
    layer = one.layers[0]
    path = shop.data / "blobs" / "sha256" / layer.digest[7:9] / layer.digest[7:]
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    said = shop.cache("verify", status=1)
    assert layer.digest in said
    assert "1 damaged" in said
    assert not path.exists()
    assert (shop.data / "quarantine" / layer.digest[7:]).read_bytes() == data
    assert fetch(f"{shop.gateway.url}/v2/one/blobs/{layer.digest}").body == layer.data
    assert "0 damaged" in shop.cache("verify")
    assert "1 files" in shop.cache("prune")
    assert list((shop.data / "quarantine").iterdir()) == []


def test_prune_keeps_what_is_wanted(shop: Shop) -> None:
    one, two = shop.publish("one"), shop.publish("two")
    shop.pull("one", one)
    shop.pull("two", two)
    assert "0 files" in shop.cache("prune", "--unused", "1h")
    shop.pull("one", one)
    before = shop.stored()
    assert "'10' has no unit" in shop.cache("prune", "--to", "10", status=2)
    assert shop.stored() == before, "a mistake empties no cache"
    shop.cache("prune", "--to", "3MiB")
    assert shop.stored() < {one.digest, two.digest, *one.blobs, *two.blobs}
    assert shop.stored_bytes() <= 3 * MIB
    shop.cache("prune", "--unused", "0s")
    assert shop.stored() == set()
    assert "is no size" in shop.cache("prune", "--to", "much", status=2)
    assert "is no duration" in shop.cache("prune", "--unused", "long", status=2)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "nothing was kept there yet" in run_cache("ls", status=1, HUBFERRY_CACHE__DIR=str(tmp_path / "absent"))
    assert not (tmp_path / "absent").exists()


def test_a_server_stays_within_max_size(shop: Shop) -> None:
    images = {f"app{number}": shop.publish(f"app{number}", 3 * MIB) for number in range(8)}
    for name, image in images.items():
        shop.pull(name, image)
        assert shop.stored_bytes() <= 16 * MIB
        shop.pull("app0", images["app0"])
    assert shop.pull("app0", images["app0"]) == 0
    assert shop.pull("app7", images["app7"]) == 0
    assert shop.pull("app1", images["app1"]) > 0
    large = shop.publish("large", 20 * MIB)
    shop.pull("large", large)  # larger than the cache: streamed
    assert large.layers[0].digest not in shop.stored()
    assert shop.stored_bytes() <= 16 * MIB


def test_blobs_survive_a_lost_index(shop: Shop, tmp_path: Path) -> None:
    one = shop.publish("one")
    shop.pull("one", one)
    shop.gateway.stop()
    for path in shop.data.glob("index.sqlite3*"):
        path.unlink()
    with Gateway.start(tmp_path / "gateway", shop.gateway.config_file.read_text(), port=shop.gateway.port) as again:
        shop.gateway = again
        before = shop.hub.count("cdn", "GET")
        shop.pull("one", one)
        assert shop.hub.count("cdn", "GET") == before  # asked whether it may, but fetched nothing again
        wait_until(lambda: one.layers[0].digest in shop.cache("info", "one"), "that the layer is known again")
        assert "not kept" not in shop.cache("info", "one")
