"""JSON of others: how deep it may be, how much of it, and that what is large is read the same."""

import json

import pytest

from hubferry.core.documents import MAX_CONTAINERS, MAX_DEPTH, MAX_VALUES, WHOLE_BYTES, parse_json


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
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        b'"\xed\xa0\x80"',
        b"[NaN]",
        b'{"a": -Infinity}',
        b"1" * 1_000_000,
        b'{"a":"' + b'\\"' * 20_000,
        # in UTF-16 its quotes would hide its brackets, and it is deep enough to end a reader that recurses
        '"\u2200"'.encode("utf-16-le") + ("[" * 20_000).encode("utf-16-le") + b'"\0',
    ],
)
def test_what_is_not(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


LARGE = " " * (WHOLE_BYTES + 1)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        ' [ 1 , -2.5e3 ,"a" , "b" ,\n"\\n" , null , true , [ ] , { } ] ',
        '{"a": {"b": [1, {"c": "\\ud800", "": "]}"}]}, "d" : "\\""}',
        '["a", "b"]',
        '["a","b",["c","d"],"e"]',
        '["\u00e4", "\\u00e4", "\U0001f600"]',
        "[" * MAX_DEPTH + "]" * MAX_DEPTH,
        '"text"',
        "17",
        '{"a": 1, "a": 2}',
    ],
)
def test_what_is_large_is_read_as_what_is_small(text: str) -> None:
    assert parse_json((LARGE + text).encode()) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[1",
        "[1,",
        "[1,]",
        '["a",]',
        '["a",',
        '["a" "b"]',
        '["a\n", "b", "c"]',
        '["a", "b\t", "c"]',
        "{",
        '{"a"',
        '{"a":',
        '{"a":1',
        '{"a":1,',
        '{"a":1,}',
        '{"a" 1}',
        "{1: 2}",
        "{'a': 1}",
        '{"a": 1]',
        "[1}",
        "{} {}",
        "nul",
        "NaN",
        '{"a": Infinity}',
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        '{"a":' * 100_000,
        '"\\"',
        '"' + '\\"' * 100_000,
        "1" * 1_000_000,
        "[" + "[]," * MAX_CONTAINERS + "[]]",
        "[" + '"a",' * MAX_VALUES + '"a"]',
        "[" + "1," * MAX_VALUES + "1]",
    ],
    ids=lambda text: text[:20],
)
def test_what_is_large_and_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json((LARGE + text).encode())


@pytest.mark.parametrize("text", ['{"a": 1, "b": {"a": 2}}', '[{"a": 1}, {"a": 2}]'])
def test_names_that_are_there_once(text: str) -> None:
    assert parse_json(text.encode(), unique=True) == parse_json((LARGE + text).encode(), unique=True)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '[{"b": {"a": 1, "a": 2}}]', '{"a": 1, "\\u0061": 2}'])
@pytest.mark.parametrize("white", ["", LARGE], ids=["small", "large"])
def test_names_that_are_repeated(text: str, white: str) -> None:
    with pytest.raises(ValueError, match="repeated name"):
        parse_json((white + text).encode(), unique=True)
