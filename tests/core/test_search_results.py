"""What registries find: both forms read, and Quay's written as docker reads it."""

import json
from typing import Any

import pytest

from hubferry.core.search_results import (
    MAX_HITS,
    MAX_TEXT,
    SearchHit,
    SearchResult,
    is_quay,
    parse_search,
    search_query,
    split_query,
    to_docker_form,
    with_registry,
)

DOCKER = "https://index.docker.io/v1/search"
QUAY = "https://quay.io/api/v1/find/repositories"
OF_QUAY = {
    "results": [
        {
            "kind": "repository",
            "title": "repo",
            "namespace": {"title": "org", "kind": "organization", "name": "prometheus", "href": "/organization/x"},
            "name": "prometheus",
            "description": "Monitoring\x1b[31m\nand more",
            "is_public": True,
            "score": 4,
            "href": "/repository/prometheus/prometheus",
            "last_modified": 1717000000,
            "stars": 17,
            "popularity": 123456.0,
        },
        {"kind": "application", "namespace": {"name": "a"}, "name": "chart"},
        {"kind": "repository", "namespace": {"name": "a"}, "name": "b", "description": None, "stars": 0},
    ],
    "has_additional": True,
    "page": 2,
    "page_size": 10,
    "start_index": 10,
}
OF_DOCKER = {
    "num_results": 1234,
    "query": "nginx",
    "results": [
        {"name": "nginx", "description": "Official", "star_count": 20000, "is_official": True, "pull_count": 5},
        {"name": "a/nginx", "description": "", "star_count": 1, "is_official": False, "is_verified": True},
    ],
}


def body(document: object) -> bytes:
    return json.dumps(document).encode()


def test_docker_hubs_answer_is_read() -> None:
    assert parse_search(body(OF_DOCKER)) == SearchResult(
        (
            SearchHit("nginx", "Official", 20000, 5, is_official=True),
            SearchHit("a/nginx", "", 1, is_verified=True),
        ),
        1234,
    )


def test_quays_answer_is_read_without_what_is_no_image() -> None:
    assert parse_search(body(OF_QUAY)) == SearchResult(
        (SearchHit("prometheus/prometheus", "Monitoring [31m and more", 17), SearchHit("a/b", "", 0)), 2
    )


def test_quays_answer_is_written_as_docker_reads_it() -> None:
    written = json.loads(to_docker_form(body(OF_QUAY), "prom"))
    assert written["results"][0] == {
        "name": "prometheus/prometheus",
        "description": "Monitoring [31m and more",
        "star_count": 17,
        "is_official": False,
        "is_automated": False,
    }
    assert {key: written[key] for key in ("query", "num_results", "num_pages", "page", "page_size")} == {
        "query": "prom",
        "num_results": 2,
        "num_pages": 3,
        "page": 2,
        "page_size": 10,
    }
    assert parse_search(to_docker_form(body(OF_QUAY), "")) == parse_search(body(OF_QUAY))


@pytest.mark.parametrize("text", [b"<html>", b"[]", b"{}", b'{"results": {}}', b"\xff"])
def test_what_is_no_answer_is_refused(text: bytes) -> None:
    for read in (parse_search, lambda one: to_docker_form(one, ""), lambda one: with_registry(one, "a.test")):
        with pytest.raises(ValueError, match=r"results|JSON|utf-8|Expecting"):
            read(text)


@pytest.mark.parametrize(
    ("text", "registry", "rest"),
    [
        ("nginx", "", "nginx"),
        ("quay.io/nginx", "quay.io", "nginx"),
        ("QUAY.io/a/b", "quay.io", "a/b"),
        ("quay.io/", "", "quay.io/"),
        ("quay.io", "", "quay.io"),
        ("bitnami/nginx", "", "bitnami/nginx"),
        ("other.example/nginx", "", "other.example/nginx"),
    ],
)
def test_a_search_may_name_a_registry(text: str, registry: str, rest: str) -> None:
    assert split_query(text, {"docker.io", "quay.io"}) == (registry, rest)


def test_names_that_are_found_on_a_named_registry_can_be_pulled_as_they_are_shown() -> None:
    found = parse_search(with_registry(body(OF_DOCKER), "quay.io"))
    assert [hit.name for hit in found.hits] == ["quay.io/nginx", "quay.io/a/nginx"]


@pytest.mark.parametrize(
    "entry",
    [1, {}, {"name": 5}, {"name": "UPPER"}, {"name": "../a"}, {"name": "a b"}, {"name": "b", "namespace": {}}],
)
def test_what_has_no_name_is_left_out(entry: Any) -> None:
    assert parse_search(body({"results": [entry]})) == SearchResult((), 0)


@pytest.mark.parametrize("count", [-1, 1.5, "1", True, None, 2**60])
def test_a_number_that_is_none_is_not_said(count: object) -> None:
    found = parse_search(body({"results": [{"name": "a", "star_count": count}], "num_results": count}))
    assert found == SearchResult((SearchHit("a", ""),), 1)


def test_no_more_are_read_than_a_page_has() -> None:
    assert len(parse_search(body({"results": [{"name": f"a{n}"} for n in range(200)]})).hits) == MAX_HITS


@pytest.mark.parametrize(
    ("url", "quay", "query"),
    [
        (DOCKER, False, "q=a%20b&n=25&page=2"),
        (QUAY, True, "query=a%20b&page=2"),
        (QUAY + "/", True, "query=a%20b&page=2"),
        ("https://quay.example/v1/search", False, "q=a%20b&n=25&page=2"),
    ],
)
def test_each_form_is_asked_in_its_own_words(url: str, quay: bool, query: str) -> None:
    assert is_quay(url) is quay
    assert search_query(url, {"q": "a b", "n": "25", "page": "2", "empty": ""}) == query
    assert search_query(url, {"q": "x" * 500}).endswith("=" + "x" * MAX_TEXT)
