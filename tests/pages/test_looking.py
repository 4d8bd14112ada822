"""Search and image pages of a real gateway: what a pull would give, and nothing else."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest

from hubferry.gateway.visitors import MOST_A_MINUTE
from hubferry.server.passwords import make_hash
from tests.browser.stage import TAGS, Stage, open_stage
from tests.support import faults
from tests.support.http import Answer, fetch
from tests.support.images import build_index
from tests.support.registry_client import basic

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("looking")) as running:
        yield running


def text(answer: Answer) -> str:
    """What people read of a page."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", answer.body.decode())))


def test_a_search_finds_what_the_registry_finds(stage: Stage) -> None:
    shown = fetch(f"{stage.url}/search?q=nginx")
    assert shown.status == 200
    links = re.findall(r'href="/image\?name=([^"]+)"', shown.body.decode())
    assert links == [
        "docker.io/nginx",
        "docker.io/linuxserver/nginx",
        "docker.io/nginx/nginx-ingress",
        "docker.io/nginxinc/nginx-unprivileged",
    ]
    assert fetch(f"{stage.url}/image?name={links[0]}").status == 200


def test_the_same_search_asks_the_registry_once(stage: Stage) -> None:
    before = stage.hub.count(role="hub", path="/v1/search")
    for _ in range(3):
        fetch(f"{stage.url}/search?q=redis")
    assert stage.hub.count(role="hub", path="/v1/search") - before == 1


def test_a_registry_that_cannot_be_searched_now_gives_what_is_kept(stage: Stage) -> None:
    stage.hub.script(faults.answer(503), role="hub", path="/v1/search", times=None)
    try:
        shown = fetch(f"{stage.url}/search?q=ngin")
    finally:
        stage.hub.clear()
    assert shown.status == 200
    assert "Of what is kept here: library/nginx" in text(shown)
    assert "redis" not in text(shown)


def test_tags_are_filtered_and_ordered(stage: Stage) -> None:
    def tags(query: str) -> list[str]:
        found = fetch(f"{stage.url}/image?name=nginx{query}").body.decode()
        return re.findall(r'href="/image\?name=docker.io/library/nginx%3A([^"]+)"', found)

    assert sorted(tags("")) == sorted(TAGS)
    assert tags("&filter=1.29&order=name") == ["1.29", "1.29-alpine", "1.29.2", "1.29.3"]
    assert tags("&order=kept")[0] == "1.29.3"
    assert tags("&filter=nothing") == []


def test_an_image_shows_its_layers_and_the_commands_that_made_them(stage: Stage) -> None:
    shown = text(fetch(f"{stage.url}/image?name=nginx:1.29.3"))
    for part in ("COPY docker-entrypoint.sh /", "linux/arm64", "signature (sigstore)", "docker pull", "kept"):
        assert part in shown
    assert "not kept" not in shown


def test_another_platform_can_be_looked_at(stage: Stage) -> None:
    page = fetch(f"{stage.url}/image?name=nginx:1.29.3").body.decode()
    links = [unescape(link) for link in re.findall(r'href="(\?name=[^"]*platform=[^"]*)"', page)]
    assert len(links) == 2
    assert "kept in part" in text(fetch(f"{stage.url}/image{links[0]}"))


REFUSED = {
    "a tag that there is not": ("nginx:absent", 404),
    "a repository that there is not, or that is private": ("no/such", 401),
    "a registry that is not served": ("reg.example/app", 400),
    "no name": ("%3Cscript%3E", 400),
    "nothing": ("", 400),
}


@pytest.mark.parametrize(("name", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_shown_is_a_page_that_says_why(stage: Stage, name: str, status: int) -> None:
    answer = fetch(f"{stage.url}/image?name={name}")
    assert answer.status == status
    assert "That did not work" in text(answer)
    assert "<script>" not in answer.body.decode()


def test_what_may_not_be_pulled_is_not_shown(tmp_path: Any) -> None:
    rules = {"deny": ["docker.io/linuxserver/*", "docker.io/library/nginx:1.28*"], "login": "open"}
    with open_stage(tmp_path, {"access": rules}) as stage:
        assert "linuxserver" not in text(fetch(f"{stage.url}/search?q=nginx"))
        assert fetch(f"{stage.url}/image?name=linuxserver/nginx").status == 403
        assert fetch(f"{stage.url}/image?name=nginx:1.28").status == 403
        shown = text(fetch(f"{stage.url}/image?name=nginx"))
        assert "1.29" in shown
        assert "1.28" not in shown


def test_a_private_image_is_not_shown_to_strangers(stage: Stage) -> None:
    stage.hub.state.users["me"] = "secret"
    stage.hub.add("me/private", "1", build_index("private"), readers={"me"})
    for target in ("/image?name=me/private", "/image?name=me/private:1"):
        assert fetch(stage.url + target).status in (401, 404)
    assert "me/private" not in text(fetch(f"{stage.url}/search?q=private"))


def test_where_there_are_users_a_browser_logs_in(tmp_path: Any) -> None:
    hashed = f"alice:{make_hash('pass', 4)}\n"
    (tmp_path / "users").write_text(hashed)
    access = {"login": "users", "users_file": str(tmp_path / "users")}
    with open_stage(tmp_path, {"access": access}, is_pulled=False) as stage:
        assert fetch(f"{stage.url}/").status == 200
        for target in ("/search?q=nginx", "/image?name=nginx", "/image?name=nginx:1.29"):
            refused = fetch(stage.url + target)
            assert refused.status == 401
            assert (refused.header("WWW-Authenticate") or "").startswith("Basic realm=")
            assert fetch(stage.url + target, headers=[basic("alice", "wrong")]).status == 401
            assert fetch(stage.url + target, headers=[basic("alice", "pass")]).status == 200


def test_who_looks_at_too_much_is_asked_to_wait(tmp_path: Any) -> None:
    with open_stage(tmp_path) as stage:
        seen = [fetch(f"{stage.url}/image?name=nginx").status for _ in range(MOST_A_MINUTE + 1)]
        assert seen[:10] == [200] * 10
        last = fetch(f"{stage.url}/image?name=nginx")
        assert (last.status, last.header("Retry-After") is not None) == (429, True)
        assert fetch(f"{stage.url}/").status == 200
        assert fetch(f"{stage.url}/v2/library/nginx/manifests/1.29.3").status == 200
