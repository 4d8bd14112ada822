"""`hubferry inspect`: what it prints, for people and for scripts, of what is kept and of what is not."""

import json

from tests.cli.conftest import Workshop
from tests.support.buildkit_images import build_published
from tests.support.images import build_image, build_index


def test_an_image_is_shown_with_its_layers_and_what_refers_to_it(workshop: Workshop) -> None:
    published = build_published("inspected")
    published.push(workshop.hub.add, "library/app", "1")
    shown = workshop.run_process("inspect", "app:1", "--platform", "linux/arm64")
    assert shown.returncode == 0, shown.stderr
    image = published.index.image("arm64")
    assert shown.stdout.startswith("docker.io/library/app:1\n")
    assert f"digest       {published.index.digest}\n" in shown.stdout
    for part in ("PLATFORM", "linux/amd64", image.layers[0].digest[:19], "MADE BY", "REFERS TO IT", "2 attestations"):
        assert part in shown.stdout, part
    assert "kept         not whole" in shown.stdout


def test_what_is_kept_is_said_and_costs_nothing(workshop: Workshop) -> None:
    index = build_index("kept")
    workshop.hub.add("library/app", "1", index)
    assert not workshop.json("inspect", "app:1")["platform"]["is_kept"]
    assert workshop.run("warm", "app:1", "--platform", "linux/amd64").exit_code == 0
    workshop.hub.clear()
    asked = len(workshop.hub.find("hub", method="GET"))
    said = workshop.json("inspect", "app:1", "--platform", "linux/amd64")
    assert said["platform"]["is_kept"]
    assert said["is_kept"]
    assert said["kept_since"] > 0
    assert said["confirmed_at"] > 0
    assert all(layer["is_kept"] for layer in said["platform"]["layers"])
    assert [one["size_bytes"] for one in said["platforms"]] == [
        sum(len(blob.data) for blob in image.blobs.values()) for image in index.images
    ], "the manifests of other platforms are kept with an image"
    assert len(workshop.hub.find("hub", method="GET")) == asked


def test_an_image_without_an_index_is_shown(workshop: Workshop) -> None:
    image = build_image("single", architecture="arm64")
    workshop.hub.add("library/app", "latest", image)
    said = workshop.json("inspect", "app")
    assert (said["image"], said["digest"], said["is_index"]) == ("docker.io/library/app:latest", image.digest, False)
    assert said["platform"]["platform"] == "linux/arm64"
    assert said["problems"] == []


def test_a_platform_that_there_is_not_is_a_failure(workshop: Workshop) -> None:
    workshop.hub.add("library/app", "1", build_index("none"))
    result = workshop.run("inspect", "app:1", "--platform", "linux/s390x")
    assert result.exit_code == 1
    assert "there is none for linux/s390x: it is for linux/amd64, linux/arm64" in result.stdout


def test_what_cannot_be_found_is_said_with_status_1(workshop: Workshop) -> None:
    workshop.hub.add("library/app", "1", build_image("there"))
    result = workshop.run("inspect", "app:2")
    assert result.exit_code == 1
    assert "docker.io does not know docker.io/library/app:2" in result.stderr


def test_while_the_upstream_is_away_what_is_kept_is_shown_with_the_reason(workshop: Workshop) -> None:
    workshop.configure(cache={"tag_ttl": "0s"})
    workshop.hub.add("library/app", "1", build_index("away"))
    assert workshop.run("warm", "app:1", "--platform", "linux/amd64").exit_code == 0
    workshop.hub.close()
    result = workshop.run("inspect", "app:1", "--platform", "linux/amd64", "--json")
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    assert "cannot be reached" in said["problems"][0]
    assert said["platform"]["is_kept"]


def test_a_name_or_platform_that_is_none_and_a_denied_image_are_misuse(workshop: Workshop) -> None:
    for words in (("inspect", "UPPER"), ("inspect", "app", "--platform", "amd64")):
        assert workshop.run(*words).exit_code == 2, words
    workshop.configure(access={"deny": ["docker.io/library/app"]})
    result = workshop.run("inspect", "app")
    assert result.exit_code == 2
    assert "may not be pulled" in result.stderr


def test_without_a_cache_everything_is_asked_and_nothing_kept(workshop: Workshop) -> None:
    workshop.configure(cache={"enabled": False})
    published = build_published("streamed")
    published.push(workshop.hub.add, "library/app", "1")
    result = workshop.run("inspect", "app:1", "--platform", "linux/amd64", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["platform"]["platform"] == "linux/amd64"
    assert said["platform"]["config"] is not None
    assert [layer["digest"] for layer in said["platform"]["layers"]] == [
        layer.digest for layer in published.index.image("amd64").layers
    ]
    assert not said["is_kept"]
    assert len(said["referrers"]) == len(published.referrers_of(published.index.digest))
    assert workshop.json("tags", "app")["tags"] == ["1"]
    assert not (workshop.folder / "data").exists()
