"""What is sent and what is logged of it: errors as clients read them, lines of the log without secrets and bounded."""

import json
from typing import Any

import pytest

from hubferry.core.errors import Code, OciError
from hubferry.core.http import Request
from hubferry.core.logged import CUT, MAX_FIELD, MAX_PEER
from hubferry.gateway.answer import (
    LEVELS,
    LONG_CHARS,
    AccessRecord,
    Answer,
    error_answer,
    internal_error,
    is_logged,
    json_answer,
    log_fields,
    log_level,
)
from hubferry.pull.results import Outcome, OutcomeName

RECORD = AccessRecord("docker.io", "library/nginx", "1", Outcome("stale", "it is away"))


def request(path: str = "/v2/nginx/manifests/1", peer: str = "192.0.2.1") -> Request:
    lines = (("authorization", "Basic c2VjcmV0"), ("cookie", "c2VjcmV0"))
    return Request("GET", path, "token=c2VjcmV0", lines, "https", "gw.example", peer, b"password=c2VjcmV0")


# --- answers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"{}", b"", "ä".encode()])
def test_json_comes_with_its_type_and_its_length_in_bytes(body: bytes) -> None:
    answer = json_answer(body, (("x", "y"),), 201)
    head = (("content-type", "application/json"), ("content-length", str(len(body))), ("x", "y"))
    assert answer == Answer(201, head, body)
    assert json_answer(body).status == 200


def test_an_error_is_what_the_specification_says_with_its_own_headers() -> None:
    error = OciError(429, Code.TOOMANYREQUESTS, "wait", detail={"a": 1}, headers=(("retry-after", "9"),))
    answer = error_answer(error)
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body) == {"errors": [{"code": "TOOMANYREQUESTS", "message": "wait", "detail": {"a": 1}}]}
    assert answer.status == 429
    assert dict(answer.headers) == {
        "content-type": "application/json",
        "content-length": str(len(answer.body)),
        "retry-after": "9",
    }


def test_a_failure_inside_tells_no_details() -> None:
    try:
        raise ValueError("/var/lib/hubferry: a detail")
    except ValueError:
        answer = internal_error()
    assert isinstance(answer.body, bytes)
    (error,) = json.loads(answer.body)["errors"]
    assert (answer.status, error["code"]) == (502, "UNKNOWN")
    assert b"detail" not in answer.body


# --- the record of a request -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "expected"), [(None, "it is away"), ("", ""), ("the client left", "the client left")]
)
def test_another_end_leaves_the_problem_unless_there_is_another(problem: str | None, expected: str) -> None:
    ended = RECORD.ended("gone", problem)
    assert (ended.outcome_name, ended.problem) == ("gone", expected)
    assert (ended.upstream, ended.repository, ended.reference) == ("docker.io", "library/nginx", "1")
    assert (RECORD.outcome_name, RECORD.problem) == ("stale", "it is away"), "the result of others is left as it is"


def test_what_a_result_becomes_while_its_body_is_read_is_logged() -> None:
    found = Outcome("hit")
    record = AccessRecord("docker.io", "library/nginx", "1", found)
    found.name, found.problem = "bypass", "the disk failed"
    assert (record.outcome_name, record.problem) == ("bypass", "the disk failed")


def test_records_share_no_outcome() -> None:
    one = AccessRecord()
    one.outcome.name = "error"
    assert AccessRecord().outcome_name == ""


# --- the line of the log ---------------------------------------------------------------------------------


def test_a_line_says_who_asked_for_what_and_how_it_went() -> None:
    assert log_fields(request(), 200, RECORD, {"bytes": 7, "ms": 1.5}) == {
        "method": "GET",
        "path": "/v2/nginx/manifests/1",
        "status": 200,
        "peer": "192.0.2.1",
        "upstream": "docker.io",
        "repository": "library/nginx",
        "reference": "1",
        "bytes": 7,
        "ms": 1.5,
        "outcome": "stale",
        "problem": "it is away",
    }


def test_what_there_is_not_is_left_out() -> None:
    line = log_fields(request("/"), 200, AccessRecord())
    assert line == {"method": "GET", "path": "/", "status": 200, "peer": "192.0.2.1", "outcome": "local"}
    named = log_fields(request("/token"), 200, AccessRecord("docker.io"))
    assert (named["upstream"], "repository" in named, "problem" in named) == ("docker.io", False, False)


def test_no_secret_is_logged() -> None:
    assert "c2VjcmV0" not in str(log_fields(request(), 200, RECORD))


LONG = "a" * 10_000
BOUNDED: dict[str, tuple[dict[str, Any], AccessRecord, str, int]] = {
    # name: request, record -> field, its length
    "a path": ({"path": LONG}, AccessRecord(), "path", MAX_FIELD),
    "a path of a repository, which is logged itself": ({"path": LONG}, RECORD, "path", LONG_CHARS),
    "an address that a proxy forwarded": ({"peer": LONG}, RECORD, "peer", MAX_PEER),
    "a repository": ({}, AccessRecord("docker.io", LONG, "1"), "repository", MAX_FIELD),
    "a reference": ({}, AccessRecord("docker.io", "a", LONG), "reference", MAX_FIELD),
    "a problem": ({}, AccessRecord("docker.io", "", "", Outcome("error", LONG)), "problem", MAX_FIELD),
}


@pytest.mark.parametrize(("asked", "record", "field", "length"), BOUNDED.values(), ids=BOUNDED.keys())
def test_what_clients_and_upstreams_make_up_is_bounded(
    asked: dict[str, Any], record: AccessRecord, field: str, length: int
) -> None:
    logged = log_fields(request(**asked), 200, record)[field]
    assert isinstance(logged, str)
    assert len(logged) == length
    assert logged.endswith(CUT)


def test_a_long_name_is_in_a_line_once_as_the_repository() -> None:
    name = "b" * 255
    record = AccessRecord("docker.io", name, "1", Outcome("error", f"docker.io does not know docker.io/{name}:1"))
    line = log_fields(request(f"/v2/{name}/manifests/1"), 404, record)
    assert line["repository"] == name
    assert [field for field, value in line.items() if name in str(value)] == ["repository"]
    assert str(line["problem"]).startswith("docker.io does not know docker.io/bbb")
    assert str(line["problem"]).endswith(":1")


@pytest.mark.parametrize("mark", ["\n", "\x1b[2J", "\u202e", "\x7f"])
def test_nothing_in_a_line_controls_a_terminal(mark: str) -> None:
    record = AccessRecord("docker.io", f"a{mark}", f"b{mark}", Outcome("error", f"c{mark}"))
    for value in log_fields(request(f"/{mark}", f"1{mark}"), 200, record, {"said": mark}).values():
        assert str(value).isprintable()


# --- levels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "outcome", "level"),
    [
        (200, "hit", "info"),
        (200, "", "info"),
        (404, "error", "info"),
        (499, "gone", "info"),
        (401, "error", "info"),
        (401, "challenge", "debug"),
        (500, "error", "warning"),
        (503, "error", "warning"),
        (503, "challenge", "warning"),
    ],
)
def test_failures_are_warnings_and_challenges_of_no_interest(status: int, outcome: OutcomeName, level: str) -> None:
    assert log_level(status, AccessRecord(outcome=Outcome(outcome))) == level


@pytest.mark.parametrize("least", LEVELS)
def test_what_is_quieter_than_the_configured_level_is_not_written(least: str) -> None:
    written = [level for level in LEVELS if is_logged(level, least)]
    assert written == list(LEVELS[LEVELS.index(least) :])
    assert LEVELS == ("debug", "info", "warning", "error")
