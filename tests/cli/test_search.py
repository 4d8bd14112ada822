"""`hubferry search`: what is found on every registry with a search, and what happens if one cannot be asked."""

from tests.cli.conftest import Workshop
from tests.support.gateway import upstream
from tests.support.images import build_image
from tests.support.processes import free_port


def test_what_is_found_is_listed(workshop: Workshop) -> None:
    workshop.hub.add("library/seashell", "1", build_image("a"))
    workshop.hub.add("alice/seashell", "1", build_image("b"))
    found = workshop.run_process("search", "seash")
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "alice/seashell", "seashell"]
    assert "official" in lines[2]
    assert "nothing was found" in workshop.run("search", "other").stdout


def test_a_registry_that_cannot_be_asked_is_said_with_what_the_others_found(workshop: Workshop) -> None:
    workshop.hub.add("library/seashell", "1", build_image("a"))
    away = f"http://127.0.0.1:{free_port()}"
    hub = upstream(workshop.hub.url, search_url=f"{workshop.hub.url}/v1/search")
    quay = upstream(away, search_url=f"{away}/api/v1/find/repositories")
    workshop.configure(upstreams={"docker.io": hub, "quay.io": quay})
    result = workshop.run("search", "seash")
    assert result.exit_code == 1
    assert "seashell" in result.stdout
    assert "quay.io cannot be reached" in result.stdout
    said = workshop.json("search", "seash")
    assert [(one["registry"], one["name"]) for one in said["results"]] == [("docker.io", "seashell")]
    assert list(said["problems"]) == ["quay.io"]
    assert workshop.run("search", "seash", "--registry", "docker.io").exit_code == 0


def test_what_may_not_be_pulled_is_not_found(workshop: Workshop) -> None:
    workshop.hub.add("library/seashell", "1", build_image("a"))
    workshop.configure(access={"deny": ["docker.io/library/seashell"]})
    assert workshop.json("search", "seash")["results"] == []


def test_a_registry_without_a_search_is_misuse(workshop: Workshop) -> None:
    result = workshop.run("search", "a", "--registry", "ghcr.io")
    assert result.exit_code == 2
    assert "docker.io" in result.stderr
    workshop.configure(upstreams={"docker.io": upstream(workshop.hub.url)})
    assert workshop.run("search", "a").exit_code == 2
