"""`hubferry rehearse`: what it reads, what would fail without the upstream, until when the rest works, and --fix."""

import tomllib
from pathlib import Path

import pytest

from tests.cli.conftest import Workshop
from tests.faults.test_companions import ask_all
from tests.support.buildkit_images import build_published
from tests.support.gateway import Gateway
from tests.support.images import build_image, build_index

COMPOSE = """\
services:
  web:
    image: app:1  # the web server
  other:
    image: "other:${TAG:-2}"
  mine:
    image: registry.example/mine:1
  again:
    image: docker.io/library/app:1
"""


@pytest.fixture
def compose(workshop: Workshop) -> Path:
    file = workshop.folder / "compose.yaml"
    file.write_text(COMPOSE)
    build_published("rehearsed").push(workshop.hub.add, "library/app", "1")
    workshop.hub.add("library/other", "2", build_index("other"))
    return file


def images(said: dict[str, object]) -> dict[str, bool]:
    lines = said["images"]
    assert isinstance(lines, list)
    return {line["name"]: line["works"] for line in lines}


def test_what_is_missing_is_fetched_and_then_all_works_without_the_upstream(workshop: Workshop, compose: Path) -> None:
    assert workshop.run("warm", "app:1", "--platform", "linux/amd64").exit_code == 0
    seen = len(workshop.hub.recorder.find())
    before = workshop.run("rehearse", "--offline", compose, "--platform", "linux/amd64")
    assert before.exit_code == 1
    assert len(workshop.hub.recorder.find()) == seen, "offline means that nobody is asked"
    assert before.stderr == ""
    ok, failed, skipped, total, remedy = before.stdout.splitlines()
    assert ok.startswith(f"ok       docker.io/library/app:1 ({compose}:3): until 20")
    assert failed.startswith(
        f"failed   docker.io/library/other:2 ({compose}:5): the tag is missing for every client: nobody"
    )
    assert skipped.startswith("skipped  registry.example/mine:1")
    assert total == "2 of 3 images would work without any upstream"
    assert "--fix" in remedy
    fixed = workshop.run("rehearse", "--offline", "--fix", compose, "--platform", "linux/amd64")
    assert fixed.exit_code == 0, fixed.output
    assert "3 of 3 images would work" in fixed.stdout
    workshop.hub.close()
    again = workshop.run_process("rehearse", "--offline", str(compose), "--platform", "linux/amd64", "--json")
    assert again.returncode == 0, again.stdout


def test_parts_that_are_missing_are_named_for_the_clients_that_ask_for_them(workshop: Workshop, compose: Path) -> None:
    published = build_published("rehearsed")
    index, image = published.index, published.index.image("amd64")
    assert workshop.run("warm", "app:1", "--platform", "linux/amd64").exit_code == 0
    losses = {
        image.layers[0].digest: ("a layer", "every client"),
        image.digest: ("the manifest of the platform", "every client"),
        published.attestation("amd64").digest: ("an attestation", "Docker 29"),
        index.image("arm64").digest: ("another platform", "ctr, skopeo --all"),
        published.referrers_of(index.digest)[0].digest: ("what refers to it", "Docker 29"),
    }
    for digest, (what, clients) in losses.items():
        file = next((workshop.folder / "data").rglob(digest.partition(":")[2]))
        moved = file.rename(workshop.folder / "aside")
        said = workshop.json("rehearse", "--offline", compose, "--platform", "linux/amd64")
        moved.rename(file)
        assert not images(said)["app:1"], what
        missing = said["images"][0]["missing"]
        assert {"what": what, "clients": clients, "digest": digest} in [
            {key: one[key] for key in ("what", "clients", "digest")} for one in missing
        ], missing
    assert images(workshop.json("rehearse", "--offline", compose, "--platform", "linux/amd64"))["app:1"]


def test_what_it_says_is_what_the_server_answers(workshop: Workshop, compose: Path) -> None:
    """Everything that clients ask for is asked of a real server over the same folder, while the hub is away."""
    published = build_published("rehearsed")
    lost = published.index.image("amd64").layers[0].digest
    file = workshop.folder / "data"
    workshop.configure(access={"login": "open"})
    assert workshop.run("warm", "app:1", "--platform", "linux/amd64").exit_code == 0
    workshop.hub.close()
    settings = tomllib.loads(workshop.config_file.read_text())
    with Gateway.start(workshop.folder / "gateway", settings) as gateway:
        for is_whole in (True, False):
            if not is_whole:
                next(file.rglob(lost.partition(":")[2])).unlink()
            said = workshop.json("rehearse", "--offline", compose, "--platform", "linux/amd64")
            assert images(said)["app:1"] is is_whole
            refused = {what for what, answer in ask_all(gateway, published, "1") if answer.status != 200}
            assert refused == (set() if is_whole else {f"blobs/{lost}"})


def test_a_tag_that_is_too_old_would_fail(workshop: Workshop, compose: Path) -> None:
    assert workshop.run("warm", "app:1", "--platform", "linux/amd64").exit_code == 0
    workshop.configure(cache={"tag_ttl": "0s", "stale_if_error": "0s"})
    result = workshop.run("rehearse", "--offline", compose, "--platform", "linux/amd64")
    assert "cache.stale_if_error" in result.stdout


def test_a_digest_works_as_long_as_it_is_kept(workshop: Workshop) -> None:
    image = build_image("digest")
    workshop.hub.add("library/app", "1", image)
    name = f"app@{image.digest}"
    assert workshop.run("warm", name).exit_code == 0
    result = workshop.run("rehearse", "--offline", "-", "--platform", "all")
    assert result.exit_code == 2, "there is nothing on standard input"
    listed = workshop.folder / "list"
    listed.write_text(f"{name}\n")
    result = workshop.run("rehearse", "--offline", listed, "--platform", "all")
    assert result.exit_code == 0, result.stdout


def test_with_the_network_it_is_asked_what_would_work_now(workshop: Workshop, compose: Path) -> None:
    result = workshop.run("rehearse", compose, "--platform", "linux/amd64")
    assert result.exit_code == 0, result.stdout
    assert "would work now" in result.stdout
    blobs = list((workshop.folder / "data").rglob("*"))
    layer = build_published("rehearsed").index.image("amd64").layers[0].digest.partition(":")[2]
    assert not any(layer in path.name for path in blobs), "no layer is fetched"
    assert workshop.run("rehearse", "--offline", compose, "--platform", "linux/amd64").exit_code == 1


def test_what_has_no_value_or_may_not_be_pulled_fails(workshop: Workshop) -> None:
    listed = workshop.folder / "Dockerfile"
    listed.write_text("ARG V\nFROM app:$V\nFROM denied:1\n")
    workshop.configure(access={"deny": ["docker.io/library/denied"]})
    said = workshop.json("rehearse", "--offline", listed)
    assert [line["works"] for line in said["images"]] == [False, False]
    assert "has no value" in said["images"][0]["problem"]
    assert "may not be pulled" in said["images"][1]["problem"]


def test_a_platform_that_there_is_not_would_fail(workshop: Workshop, compose: Path) -> None:
    result = workshop.run("rehearse", compose, "--platform", "linux/s390x")
    assert result.exit_code == 1
    assert "an image for linux/s390x is missing for every client: the index has none" in result.stdout


@pytest.mark.parametrize("content", [b"", b"no images in here, is it\n", b"\xff\xfe", b"a" * (2**20 + 1), None])
def test_a_file_that_names_nothing_is_misuse(workshop: Workshop, content: bytes | None) -> None:
    file = workshop.folder / "file"
    if content is not None:
        file.write_bytes(content)
    assert workshop.run("rehearse", "--offline", file).exit_code == 2


def test_without_a_cache_there_is_nothing_to_rehearse(workshop: Workshop, compose: Path) -> None:
    workshop.configure(cache={"enabled": False})
    result = workshop.run("rehearse", "--offline", compose)
    assert result.exit_code == 2
    assert "cache.enabled" in result.stderr
