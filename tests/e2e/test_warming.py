"""`hubferry warm` and the schedule of a server: what is warm needs no upstream, and is fetched once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.conftest import config
from tests.faults.kept import begin_of, bytes_given, check_folder, ranges_asked, wait_event, wait_written
from tests.support import faults
from tests.support.content import MIB
from tests.support.gateway import HUBFERRY, Gateway, upstream
from tests.support.http import fetch
from tests.support.images import OCI, Image, build_image, build_index
from tests.support.preloaded import PreloadedProcess, run_hubferry
from tests.support.processes import Process
from tests.support.registry import Registry
from tests.support.registry_client import RegistryClient
from tests.support.toml import format_toml
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.clients import Skopeo
    from tests.support.hub import Hub

LOST = 2 * MIB  # what may be on its way through a process that is killed
ACCEPT = [("Accept", OCI.manifest), ("Accept", OCI.index)]


@dataclass
class Kitchen:
    """A hub, and a configuration for whoever fills its cache from it: no server runs."""

    hub: Hub
    folder: Path
    settings: dict[str, Any]

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def config_file(self) -> Path:
        path = self.folder / "hubferry.toml"
        path.write_text(format_toml(self.settings))
        return path

    def publish(self, name: str, *sizes: int) -> Image:
        image = build_image(name, layer_sizes=sizes or (MIB, 30_000))
        self.hub.add(f"library/{name}", "1", image)
        return image

    def command(self, *args: str) -> list[str | Path]:
        return [HUBFERRY, "warm", *args, "--config", self.config_file]

    def warm(self, *args: str, status: int = 0, stdin: str = "") -> str:
        """What it says on standard output; what it says beside that is in `aside`."""
        done = run_hubferry("warm", *args, "--config", self.config_file, stdin=stdin)
        self.aside = done.stderr
        assert done.returncode == status, f"{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, *args: str) -> Process:
        log = self.folder / "warm.log"
        return PreloadedProcess(self.command(*args), log=log, env={"PATH": os.environ["PATH"]}, cwd=self.folder)

    def serve(self, **tables: dict[str, Any]) -> Gateway:
        settings = {**self.settings, **{name: {**self.settings.get(name, {}), **t} for name, t in tables.items()}}
        return Gateway.start(self.folder / "gateway", settings)

    @property
    def kept(self) -> set[str]:
        """The digests of what is kept of images; the lists of what refers to them are another matter."""
        with contextlib.closing(sqlite3.connect(self.data / "index.sqlite3")) as db:
            lists = {digest for (digest,) in db.execute("SELECT digest FROM lists")}
        return {f"sha256:{path.name}" for path in (self.data / "blobs").rglob("*") if path.is_file()} - lists

    def asked(self) -> list[str]:
        """What the registry and the CDN were asked, challenges and tokens aside."""
        exchanges = [exchange for exchange in self.hub.find() if exchange.request.role != "auth"]
        return [
            f"{one.request.method} {one.request.path}"
            for one in exchanges
            if one.request.header("authorization") or one.request.role == "cdn"
        ]


@pytest.fixture
def kitchen(tmp_path: Path, hub: Hub) -> Kitchen:
    settings = config(tmp_path, hub)
    settings["cache"] |= {"tag_ttl": "0s", "min_free": "0B"}
    return Kitchen(hub, tmp_path, settings)


def pull(gateway: Gateway, name: str, image: Image) -> None:
    assert fetch(f"{gateway.url}/v2/{name}/manifests/1", headers=ACCEPT).body == image.manifest
    for digest, blob in image.blobs.items():
        assert fetch(f"{gateway.url}/v2/{name}/blobs/{digest}").body == blob.data


@pytest.mark.real
def test_what_is_warm_is_pulled_without_its_upstream(tmp_path: Path, hub: Hub, skopeo: Skopeo) -> None:
    index = build_index("warmed", architectures=("amd64", "arm64", "s390x"))
    settings: dict[str, Any] = {"cache": {"dir": str(tmp_path / "data")}, "access": {"login": "open"}}
    with Registry(tmp_path / "registry") as registry:
        registry.push("team/app", "1", index)
        settings["upstreams"] = {"only": True, "docker.io": upstream(registry.url, default=True)}
        kitchen = Kitchen(hub, tmp_path, settings)
        said = kitchen.warm("team/app:1", "--platform", "linux/amd64", "--platform", "linux/arm64/v8")
        assert "1 of 1 images warm: 7 layers fetched, 0 were there" in said
    wanted, other = [index.image("amd64"), index.image("arm64")], index.image("s390x")
    assert kitchen.kept == {
        index.digest,
        *(digest for image in wanted for digest in (image.digest, *image.blobs)),
        *(other.digest, other.config.digest),  # for clients that read all of the index
    }
    with kitchen.serve() as gateway:
        for image in wanted:
            assert RegistryClient(gateway.url).pull("team/app", "1", architecture=image.architecture) == index.digest
        assert skopeo.pull(f"{gateway.host}/team/app:1").digest == index.digest
        assert not [line for line in gateway.log_records() if line.get("outcome") == "stale"]


def test_what_is_there_is_asked_for_by_its_tag_alone(kitchen: Kitchen) -> None:
    index = build_index("again")
    kitchen.hub.add("library/again", "1", index)
    first = kitchen.warm("again:1", "--platform", "all")
    assert "6 layers fetched, 0 were there" in first
    assert kitchen.kept == {*index.manifests, *index.blobs}
    for blob in index.blobs.values():
        assert bytes_given(kitchen.hub, blob) == blob.size
    kitchen.hub.recorder.clear()
    again = kitchen.warm("docker.io/library/again:1", "--platform", "all")
    assert "1 of 1 images warm: 0 layers fetched, 6 were there, 0B" in again
    subjects = [index.digest, *(image.digest for image in index.images)]
    referrers = [f"GET /v2/library/again/referrers/{subject}" for subject in subjects]
    assert kitchen.asked() == ["HEAD /v2/library/again/manifests/1", *referrers], "the TTL of both is over"
    kitchen.settings["cache"]["tag_ttl"] = "1h"
    kitchen.hub.recorder.clear()
    kitchen.warm("docker.io/library/again:1", "--platform", "all")
    assert kitchen.asked() == []


def test_requests_of_a_cold_image(kitchen: Kitchen) -> None:
    """Each blob is asked for once, and nothing besides."""
    image = kitchen.publish("cold", 30_000, 20_000, 10_000)
    kitchen.warm("cold:1")
    blobs = [f"GET /v2/library/cold/blobs/{digest}" for digest in image.blobs]
    asked = [line for line in kitchen.asked() if " /v2/" in line]
    assert sorted(line for line in asked if "/blobs/" in line) == sorted(blobs)
    assert len([line for line in asked if "/manifests/" in line]) <= 2
    assert len(kitchen.hub.find()) <= 2 * len(image.blobs) + 4  # the CDN, a challenge and a token


def test_one_of_three_fails_and_the_others_are_warm(kitchen: Kitchen) -> None:
    images = {name: kitchen.publish(name) for name in ("one", "two", "three")}
    broken = images["two"].layers[0]
    kitchen.hub.script(faults.answer(404), role="cdn", path=broken.digest[7:], times=None)
    listed = "one:1\n# a comment\ntwo:1   # breaks\n\nthree:1\n"
    said = kitchen.warm("-f", "-", stdin=listed, status=1)
    assert "2 of 3 images warm" in said
    (line,) = [line for line in said.splitlines() if line.startswith("failed: ")]
    assert line.startswith(f"failed: docker.io/library/two:1: {broken.digest}: docker.io does not know ")
    for name in ("one", "three"):
        assert {images[name].digest, *images[name].blobs} <= kitchen.kept
    assert images["two"].layers[1].digest in kitchen.kept, "the rest of an image is fetched all the same"
    told = json.loads(kitchen.warm("one:1", "two:1", "nothere:1", "--json", status=1))
    assert (told["warm"], told["failed"], told["kept"], told["fetched"]) == (1, 2, 5, 0)
    one, two, absent = told["images"]
    assert (one["image"], one["digest"], one["warm"]) == ("docker.io/library/one:1", images["one"].digest, True)
    assert (two["warm"], len(two["problems"])) == (False, 1)
    assert absent["digest"] == ""
    assert absent["problems"]


def test_killed_in_the_middle_it_goes_on_from_there(kitchen: Kitchen) -> None:
    image = kitchen.publish("killed", 8 * MIB, 30_000)
    large = image.layers[0]
    kitchen.hub.script(faults.stall(6 * MIB), role="cdn", path=large.digest[7:])
    with kitchen.start("killed:1") as process:
        wait_written(kitchen.data, large, 5 * MIB)
        process.signal(signal.SIGKILL)
        process.wait(10)
    kitchen.hub.wait_left()
    check_folder(kitchen.data)
    assert large.digest not in kitchen.kept
    said = kitchen.warm("killed:1")
    assert "1 of 1 images warm" in said
    (fetched,) = [line for line in kitchen.aside.splitlines() if large.digest[:19] in line]
    assert "MiB were there)" in fetched
    assert {image.digest, *image.blobs} == kitchen.kept
    assert bytes_given(kitchen.hub, large) <= large.size + LOST
    first, *others = ranges_asked(kitchen.hub, large)
    assert first == ""
    assert others
    assert min(map(begin_of, others)) >= 4 * MIB
    check_folder(kitchen.data)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_ends_cleanly_and_a_second_run_continues(kitchen: Kitchen, number: signal.Signals) -> None:
    image = kitchen.publish("stopped", 4 * MIB, 30_000)
    large = image.layers[0]
    kitchen.hub.script(faults.stall(3 * MIB), role="cdn", path=large.digest[7:])
    with kitchen.start("stopped:1", "other:1") as process:
        wait_written(kitchen.data, large, 3 * MIB)
        process.signal(number)
        assert process.wait(10) == 128 + number
        assert "0 of 2 images warm" in process.output()
        assert "the same command goes on from there" in process.output()
        assert "Traceback" not in process.output()
    kitchen.warm("stopped:1")
    assert ranges_asked(kitchen.hub, large) == ["", f"bytes={3 * MIB}-"]
    assert bytes_given(kitchen.hub, large) == large.size


def test_a_cut_costs_nothing_twice(kitchen: Kitchen) -> None:
    image = kitchen.publish("cut", 4 * MIB)
    large = image.layers[0]
    kitchen.hub.script(faults.cut(MIB), role="cdn", path=large.digest[7:], times=2)
    kitchen.warm("cut:1")
    assert {image.digest, *image.blobs} == kitchen.kept
    assert bytes_given(kitchen.hub, large) <= large.size + LOST


def test_a_server_beside_it_fills_the_same_layer(kitchen: Kitchen) -> None:
    image = kitchen.publish("both", 4 * MIB)
    large = image.layers[0]
    kitchen.hub.script(faults.stall(2 * MIB), role="cdn", path=large.digest[7:])
    kitchen.settings["upstreams"]["docker.io"]["read_timeout"] = "1m"
    with kitchen.serve() as gateway:
        with pytest.raises(TimeoutError):  # a client that leaves: the server goes on filling
            fetch(f"{gateway.url}/v2/both/blobs/{large.digest}", timeout_s=1)
        wait_written(kitchen.data, large, 2 * MIB)
        with kitchen.start("both:1") as process:
            wait_until(lambda: "both" in process.output(), "begun")
            time.sleep(1)  # it waits for the server's fill
            assert process.running
            kitchen.hub.release_stalls()
            assert process.wait(20) == 0, process.output()
        assert {image.digest, *image.blobs} == kitchen.kept
        assert ranges_asked(kitchen.hub, large) == [""]
        pull(gateway, "both", image)


def test_a_server_gives_at_once_what_was_warmed_beside_it(kitchen: Kitchen) -> None:
    image = kitchen.publish("beside")
    kitchen.settings["cache"]["tag_ttl"] = "1h"
    with kitchen.serve() as gateway:
        kitchen.warm("beside:1")
        kitchen.hub.recorder.clear()
        pull(gateway, "beside", image)
        assert kitchen.hub.find() == []


def test_only_the_wanted_platforms(kitchen: Kitchen) -> None:
    index = build_index("many", architectures=("amd64", "s390x"))
    kitchen.hub.add("library/many", "1", index)
    said = kitchen.warm("many:1", "--platform", "linux/riscv64", status=1)
    assert "there is none for linux/riscv64: it is for linux/amd64, linux/s390x" in said
    told = json.loads(kitchen.warm("many:1", "--json", "--platform", "linux/s390x", "--platform", "linux/riscv64"))
    assert told["images"][0]["skipped"] == ["linux/riscv64: there is none for it"]
    image = index.image("s390x")
    other = index.image("amd64")
    assert kitchen.kept == {index.digest, image.digest, *image.blobs, other.digest, other.config.digest}
    kitchen.settings["warm"] = {"platforms": ["linux/amd64"]}
    kitchen.warm("many:1")
    assert kitchen.kept == {*index.manifests, *index.blobs}


def test_a_layer_that_no_registry_distributes_is_skipped_and_said_so(kitchen: Kitchen) -> None:
    image = kitchen.publish("foreign")
    document = json.loads(image.manifest)
    foreign = "sha256:" + "f" * 64
    document["layers"].append(
        {
            "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "digest": foreign,
            "size": 10,
            "urls": ["https://example.com/layer"],
        }
    )
    altered = Image(image.media_type, json.dumps(document).encode(), image.config, image.layers)
    kitchen.hub.add("library/foreign", "2", altered)
    assert "1 of 1 images warm: 3 layers fetched" in kitchen.warm("foreign:2")
    assert f"skipped: {foreign}: no registry distributes it" in kitchen.aside
    assert not [line for line in kitchen.asked() if foreign in line]


def test_the_gateways_own_account_is_used(kitchen: Kitchen) -> None:
    kitchen.hub.state.users.update([("gateway", "secret")])
    image = build_image("private")
    kitchen.hub.add("team/private", "1", image, readers={"gateway"})
    assert "team/private" in kitchen.warm("team/private:1", status=1)
    kitchen.settings["upstreams"]["docker.io"] |= {"username": "gateway", "password": "secret"}
    kitchen.warm("team/private:1")
    assert {image.digest, *image.blobs} == kitchen.kept


def test_images_that_do_not_fit_together_are_not_all_warm(kitchen: Kitchen) -> None:
    kitchen.settings["cache"]["max_size"] = "6MiB"
    for name in ("one", "two"):
        kitchen.publish(name, 4 * MIB)
    said = kitchen.warm("one:1", "two:1", status=1)
    assert "failed: docker.io/library/one:1: " in said
    assert "raise cache.max_size" in said
    kitchen.publish("large", 8 * MIB)
    assert "more than cache.max_size allows" in kitchen.warm("large:1", status=1)


def test_an_upstream_that_cannot_be_asked(kitchen: Kitchen) -> None:
    kitchen.publish("away")
    kitchen.warm("away:1")
    kitchen.hub.script(faults.answer(503), role="hub", times=None)
    said = kitchen.warm("away:1", status=1)
    assert "failed: docker.io/library/away:1: 1: only what was kept of it answers: " in said


MISUSES = {
    "nothing to do": ([], "no image: name some, or a file of them with -f"),
    "an unknown upstream": (["app:1", "reg.example.com/x"], "reg.example.com, which is none of the upstreams"),
    "no image": (["UPPER"], "is no image"),
    "no platform": (["app:1", "--platform", "amd64"], "is no platform"),
    "no file": (["-f", "absent.txt"], "absent.txt"),
}


@pytest.mark.parametrize(("args", "message"), MISUSES.values(), ids=MISUSES.keys())
def test_what_cannot_be_begun_is_status_2_and_nothing_is_done(kitchen: Kitchen, args: list[str], message: str) -> None:
    kitchen.publish("app")
    kitchen.warm(*args, status=2)
    assert message in kitchen.aside
    assert kitchen.hub.find() == []
    assert not kitchen.data.exists()


def test_a_line_of_a_file_that_is_no_image_is_named(kitchen: Kitchen) -> None:
    listed = kitchen.folder / "images.txt"
    listed.write_text("nginx\n\nUPPER\n")
    kitchen.warm("-f", str(listed), status=2)
    assert f"{listed}:3: 'UPPER' is no image" in kitchen.aside


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"cache": {"enabled": False}}, "cache.enabled is false"),
        ({"cache": {"max_size": "much"}}, "cache.max_size: 'much' is no size"),
        ({"upstreams": {"docker.io": {"username": "x", "password_file": "/absent"}}}, "cannot be read"),
    ],
)
def test_a_configuration_that_cannot_be_used(kitchen: Kitchen, tables: dict[str, Any], message: str) -> None:
    kitchen.settings |= tables
    kitchen.warm("nginx", status=2)
    assert message in kitchen.aside


@pytest.fixture
def scheduled(kitchen: Kitchen) -> Iterator[tuple[Kitchen, Gateway, Image]]:
    image = kitchen.publish("scheduled")
    with kitchen.serve(warm={"images": ["scheduled:1"], "every": "500ms"}) as gateway:
        wait_event(gateway, "warmed", images=1, failed=0, fetched=3)
        yield kitchen, gateway, image


def test_a_server_keeps_images_warm(scheduled: tuple[Kitchen, Gateway, Image]) -> None:
    kitchen, gateway, image = scheduled
    assert {image.digest, *image.blobs} == kitchen.kept
    wait_event(gateway, "warmed", images=1, failed=0, fetched=0, kept=3)
    newer = build_image("newer", layer_sizes=(MIB, 10_000))
    kitchen.hub.add("library/scheduled", "1", newer)
    wait_until(lambda: {newer.digest, *newer.blobs} <= kitchen.kept, "the new image is kept")
    wait_until(lambda: len([r for r in gateway.log_records() if r.get("fetched") == 3]) == 2, "logged")


def test_a_failure_is_logged_and_tried_again(scheduled: tuple[Kitchen, Gateway, Image]) -> None:
    kitchen, gateway, _ = scheduled
    kitchen.hub.script(faults.answer(503), role="hub", path="/manifests/", times=None)
    said = wait_event(gateway, "warm_failed", image="docker.io/library/scheduled:1")
    assert "only what was kept of it answers" in said["problem"]
    wait_event(gateway, "warmed", images=0, failed=1)
    kitchen.hub.clear()
    seen = len(gateway.log_records())
    wait_until(lambda: any(r.get("images") == 1 for r in gateway.log_records()[seen:]), "warm again")


def test_a_server_that_is_warming_ends_at_once(kitchen: Kitchen) -> None:
    image = kitchen.publish("slow", 4 * MIB)
    large = image.layers[0]
    kitchen.hub.script(faults.stall(2 * MIB), role="cdn", path=large.digest[7:])
    with kitchen.serve(warm={"images": ["slow:1"]}) as gateway:
        wait_written(kitchen.data, large, 2 * MIB)
        begun = time.monotonic()
        gateway.stop(timeout_s=10)
        assert time.monotonic() - begun < 5  # the grace of running pulls is 30 s
        assert not [line for line in gateway.log_records() if line["event"] in ("warm_failed", "internal_error")]
    kitchen.hub.release_stalls()
    kitchen.warm("slow:1")
    assert ranges_asked(kitchen.hub, large)[1:] == [f"bytes={2 * MIB}-"]
