"""The record survives being written and read, and what is no record is refused."""

from __future__ import annotations

import json

import pytest

from hubferry.core.client_files import CannotEditError, Entry, Host, Item, Mirror, Setting
from hubferry.setup.record import DoneFile, Record, format_record, parse_record

ENTRIES: tuple[Entry, ...] = (
    Item(("a", "b"), "c", "no list"),
    Setting(("a",), "b", ""),
    Setting(("a",), value=True),
    Host("https://hub", ("pull",)),
    Mirror("docker.io", "hub/docker.io", is_insecure=True),
)
RECORD = Record(
    (DoneFile("/x", "toml", ENTRIES, "# head\n", 0o640, "ab"), DoneFile("/y", "json", (), "", None, "cd")), ("/z",)
)


def test_a_record_is_read_as_it_was_written() -> None:
    assert parse_record(format_record(RECORD), "/r") == RECORD


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"files": [], "folders": [1]}',
        '{"files": [1], "folders": []}',
        format_record(RECORD).replace('"toml"', '"ini"'),
        format_record(RECORD).replace('"mirror"', '"miracle"'),
        format_record(RECORD).replace('"no list"', '"never"'),
        json.dumps({"files": [{"path": "/x"}], "folders": []}),
    ],
)
def test_what_is_no_record(text: str) -> None:
    with pytest.raises(CannotEditError, match="/r is no record"):
        parse_record(text, "/r")
