"""JSON of others: how deep it may be."""

import json

import pytest

from hubferry.core.documents import MAX_DEPTH, parse_json


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b'{"a": [1, {"b": "]}"}]}',
        b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
        b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH,
        b"[" + b",".join([b"[{}]"] * 5000) + b"]",
        json.dumps(["[" * 5000, '"' + "{" * 5000, "\\"]).encode(),
    ],
)
def test_what_is_read(text: bytes) -> None:
    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b'{"a":' * 6000 + b"1" + b"}" * 6000,
        b"[" * 2**22,
        b'[{"a":"\\""},' * 200 + b"1",
        b"[1,",
        b'"\xff"',
        b"",
    ],
)
def test_what_is_not(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_pairs() -> None:
    assert parse_json(b'{"a": 1, "a": 2}', list) == [("a", 1), ("a", 2)]
