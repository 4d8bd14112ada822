"""Parsing takes time in proportion to what is parsed, whatever it is: twice the length, at most 2.5 times the time.

Every parser of foreign.py, and texts that have been trouble elsewhere: what never ends, what is nested, one delimiter
again and again, many short elements, many digits. Each is tried at the length at which its caller stops.
"""

import json
import sys

import pytest

from hubferry.core.documents import WHOLE_BYTES
from hubferry.core.image_names import MAX_TEXT, find_image_names
from tests.properties.foreign import DOCUMENTS, FRAMING, HEADER, TEXTS, Parser
from tests.properties.growth import grows_too_fast, repeated

DIGEST = "sha256:" + "0" * 64
NAMED = f'{{"digest":"{DIGEST}"}}'
UNITS = (
    '"', '\\"', "\\", ",", ", ", ";", "; ", "=", "==", " ", "\t", "a", "aB", "a ", "a=", 'a="', "a,", "a;", "0", "1,",
    "0-", "-", "_", "__", ".", "a.", "a-", "a__", "/", "//", "../", "a/", ":", "a:", "::", "@", "a@", "&", "a=b&", "&&",
    "%", "%2", "%20", "%61", "+", "?", "#", "<", ">", "<>", "<a>", "<a>;", "<a>,", '<a>; rel="next"', "[", "]", "{",
    "(", "~", "*", "*/*,", "a/b,", "127.0.0.1,", "Bearer ", 'Bearer a="b",', "a=b, ", 'a="b",', "rel=next", "; rel",
    "repository:a:pull ", "w=1;", "Wed, ", "12:", "\x00", "\r\n", "\xff", "\u0661", "\ud800",
)  # fmt: skip

# beginning, unit, end
SHAPES: dict[str, tuple[str, str, str]] = {
    "string without end": ("[" * 99 + '["', '\\"', ""),
    "string without end, deep": ("[" * 200 + '"', '\\"', ""),
    "string without end, shallow": ('{"a":"', "x", ""),
    "strings without end": ('["', '","', ""),
    "one string": ('{"a":"', "x", '"}'),
    "escapes": ('{"token":"', "\\n", '"}'),
    "surrogates": ('{"token":"', "\\ud800", '"}'),
    "lists without end": ("", "[", ""),
    "objects without end": ("", '{"a":', ""),
    "lists": ("[", "[],", "[]]"),
    "objects": ('{"layers":[', "{},", "{}]}"),
    "deep lists": ("[", "[" * 90 + "]" * 90 + ",", "1]"),
    "deep in strings": ('["', "[" * 90 + "]" * 90, '"]'),
    "ends without beginning": ("", "]", ""),
    "numbers": ("[", "1,", "1]"),
    "digits": ("", "1", ""),
    "digits of a fraction": ("1.", "1", ""),
    "digits of a lifetime": ('{"token":"a","expires_in":"', "1", '"}'),
    "exponents": ("[", "1e9,", "1]"),
    "no numbers": ("[", "NaN,", "1]"),
    "spaces": ("[", " ", "]"),
    "commas": ("[", ",", "]"),
    "quotes": ("", '"', ""),
    "backslashes": ('"', "\\", ""),
    "bytes that are no text": ('"', "\ud800", '"'),
    "a mark at the beginning": ("\ufeff[", "1,", "1]"),
    "a repeated name": ("{", '"a":1,', '"a":1}'),
    "tags": ('{"tags":[', '"ab",', '"b"]}'),
    "tags with spaces": ('{"tags":[', '"ab" ,\n', '"b"]}'),
    "tags with escapes": ('{"tags":[', '"a\\u0062",', '"b"]}'),
    "no tags": ('{"tags":[', '"a b",', '"b"]}'),
    "layers": (f'{{"config":{NAMED},"layers":[', f"{NAMED},", "{}]}"),
    "old layers": ('{"fsLayers":[', f'{{"blobSum":"{DIGEST}"}},', "{}]}"),
    "manifests": (
        '{"manifests":[',
        f'{{"digest":"{DIGEST}","platform":{{"os":"windows","architecture":"amd64"}}}},',
        f"{NAMED}]}}",
    ),
    "signatures": ('{"signatures":[{"protected":"', "YWJj", '"}]}'),
}  # fmt: skip

FRAMES: dict[str, tuple[bytes, bytes, bytes]] = {
    "head without end": (b"HTTP/1.1 200 OK\r\na: ", b"a", b""),
    "headers without end": (b"HTTP/1.1 200 OK\r\n", b"a:\r\n", b""),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"a:\r\n", b"\r\n"),
    "line breaks": (b"HTTP/1.1 200 OK", b"\n", b""),
    "folded lines": (b"HTTP/1.1 200 OK\r\na: b\r\n", b" a\r\n", b"\r\n"),
    "announcements": (b"", b"HTTP/1.1 103 \r\n\r\n", b""),
    "lengths": (b"HTTP/1.1 200 OK\r\n", b"Content-Length: 1\r\n", b"\r\n"),
    "digits of a length": (b"HTTP/1.1 200 OK\r\nContent-Length: ", b"1", b"\r\n\r\n"),
    "codings": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: ", b"chunked,", b"\r\n\r\n"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", b"0\r\n\r\n"),
    "chunks without end": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", b""),
    "digits of a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0", b"\r\n"),
    "an extension": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a", b"\r\n"),
    "extensions": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;a=b\r\na\r\n", b"0\r\n\r\n"),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n", b"\r\n"),
    "a body": (b"HTTP/1.1 200 OK\r\n\r\n", b"a", b""),
}


@pytest.mark.parametrize("name", TEXTS)
def test_reading_a_header_takes_time_in_proportion_to_its_length(name: str) -> None:
    parser = TEXTS[name]
    found = []
    for beginning in parser.beginnings:
        for unit in UNITS:
            for end in ("", '"', "\x00"):
                texts = [repeated(beginning, unit, end, size) for size in (parser.limit // 4, parser.limit)]
                found.append((beginning, unit, end, grows_too_fast(parser, *texts)))
    assert [one for one in found if one[-1]] == []


# what is larger than WHOLE_BYTES is read in another way; what others make of it does not depend on that
@pytest.mark.parametrize(
    ("name", "size_bytes"),
    [*((name, WHOLE_BYTES // 4) for name in DOCUMENTS), ("JSON", WHOLE_BYTES * 9 // 8)],
)
@pytest.mark.parametrize("shape", SHAPES)
def test_reading_a_document_takes_time_in_proportion_to_its_length(name: str, shape: str, size_bytes: int) -> None:
    parser = DOCUMENTS[name]
    beginning, unit, end = (part.encode("utf-8", "surrogatepass") for part in SHAPES[shape])
    assert (
        grows_too_fast(parser, *(repeated(beginning, unit, end, size) for size in (size_bytes, size_bytes * 4))) == ""
    )


@pytest.mark.parametrize("shape", FRAMES)
@pytest.mark.parametrize("name", FRAMING)
def test_reading_an_answer_takes_time_in_proportion_to_its_length(name: str, shape: str) -> None:
    texts = [repeated(*FRAMES[shape], size) for size in (HEADER * 4, HEADER * 16)]
    assert grows_too_fast(FRAMING[name], *texts) == ""


NAMED_IMAGES: dict[str, tuple[str, str, str]] = {
    "stages": ("", "FROM a AS b\n", ""),
    "stages that the builder chooses": ("FROM a AS b\n" * 1000, "FROM b$C\n", ""),
    "arguments": ("", "ARG A=$A$A\n", "FROM $A"),
    "words of an instruction": ("FROM a\nRUN ", "--mount=from=a ", "\n"),
    "continued lines": ("FROM ", "\\\n", "a"),
    "documents": ("FROM a\nRUN ", "<<A ", "\n" + "A\n" * 1000),
    "keys": ("", "image: a\n", ""),
    "deeper keys": ("", " image:\n  - a:\n", ""),
    "a flow map": ("a: {", "image: a,", "}"),
    "a flow map with comments": ("a: {", "image: a, #", "}"),
    "variables": ("image: ", "${A:-", "\n"),
    "quotes": ("image: ", "\"'", "\n"),
    "commands": ("docker pull a", "; docker pull a", "\n"),
    "separators": ("docker pull a", ";", "\n"),
    "options": ("docker run ", "-p a ", "\n"),
    "a list": ("", "a\n", ""),
    "spaces": ("image: a", " ", "\n"),
    "tabs in a list": ("a", "\t", "b"),
    "one word": ("", "a", ""),
    "parts of a name": ("", "a/", ""),
}  # fmt: skip


@pytest.mark.parametrize("shape", NAMED_IMAGES)
def test_finding_names_takes_time_in_proportion_to_the_text(shape: str) -> None:
    texts = [repeated(*NAMED_IMAGES[shape], size) for size in (MAX_TEXT // 32, MAX_TEXT // 8)]
    assert grows_too_fast(find_image_names, *texts) == ""


def test_tags_in_any_order_are_sorted_in_time_in_proportion_to_their_number() -> None:
    """Sorting takes a little more, which has to stay within the bound."""

    def listed(count: int) -> bytes:
        return json.dumps({"tags": [f"{number * 7919 % count:06d}" for number in range(count)]}).encode()

    assert grows_too_fast(DOCUMENTS["tags"], listed(10_000), listed(40_000)) == ""


def test_what_is_quadratic_is_found() -> None:
    quadratic = Parser(lambda text: [text[at:].count("a") for at in range(0, len(text), 64)])
    assert "took" in grows_too_fast(quadratic, "a" * 15_000, "a" * 60_000)


def test_what_is_linear_is_not() -> None:
    assert grows_too_fast(Parser(lambda text: sum(1 for _ in text)), "a" * 250_000, "a" * 1_000_000) == ""
    assert sys.get_int_max_str_digits() == 4300, "without this bound numbers are quadratic"
