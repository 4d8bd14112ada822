"""`hubferry tags`: order, filter, what is kept, and what it says about a list that is not the upstream's."""

from tests.cli.conftest import Workshop
from tests.support.images import build_image


def hold(workshop: Workshop, *tags: str) -> None:
    for tag in tags:
        workshop.hub.add("library/app", tag, build_image("tagged"))


def test_tags_are_listed_with_the_newest_first(workshop: Workshop) -> None:
    hold(workshop, "1.9", "1.10", "latest", "1.10-alpine")
    listed = workshop.run_process("tags", "app")
    assert listed.returncode == 0, listed.stderr
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["TAG", "latest", "1.10", "1.10-alpine", "1.9"]
    filtered = workshop.run("tags", "app", "--filter", "1.10 alpine").stdout.splitlines()
    assert [line.split()[0] for line in filtered] == ["TAG", "1.10-alpine"]


def test_kept_tags_are_marked(workshop: Workshop) -> None:
    hold(workshop, "1", "2")
    assert workshop.run("warm", "app:1").exit_code == 0
    said = workshop.json("tags", "app")
    assert said["tags"] == ["2", "1"]
    assert list(said["kept"]) == ["1"]
    assert said["kept"]["1"]["is_kept"]
    assert "yes" in workshop.run("tags", "app").stdout


def test_without_the_upstream_the_known_tags_are_listed_with_status_1(workshop: Workshop) -> None:
    hold(workshop, "1", "2")
    assert workshop.run("warm", "app:1").exit_code == 0
    workshop.hub.close()
    result = workshop.run("tags", "app")
    assert result.exit_code == 1
    assert "cannot be reached" in result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["TAG", "1"]


def test_only_tags_that_may_be_pulled_are_listed(workshop: Workshop) -> None:
    hold(workshop, "1", "2")
    workshop.configure(access={"deny": ["docker.io/library/app:2"]})
    assert workshop.json("tags", "app")["tags"] == ["1"]
    workshop.configure(access={"deny": ["docker.io/library/app"]})
    assert workshop.run("tags", "app").exit_code == 2


def test_a_repository_that_there_is_not_and_a_name_with_a_tag_are_errors(workshop: Workshop) -> None:
    missing = workshop.run("tags", "nothing")
    assert missing.exit_code == 1
    assert "docker.io" in missing.stderr
    named = workshop.run("tags", "app:1")
    assert named.exit_code == 2
    assert "leave out 1" in named.stderr
    assert workshop.run("tags", "UPPER").exit_code == 2
