"""Lists in daemon.json: what is added and taken out, and that nothing else changes by a byte."""

import pytest

from hubferry.core.client_files import CannotEditError, Item
from hubferry.core.client_files.json_text import add_items, remove_items

MIRROR = Item(("registry-mirrors",), "https://hub")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '{\n  "registry-mirrors": [\n    "https://hub"\n  ]\n}\n'),
        ("{}", '{\n  "registry-mirrors": [\n    "https://hub"\n  ]\n}'),
        ('{"a": 1}', '{"a": 1, "registry-mirrors": ["https://hub"]}'),
        ('{"registry-mirrors": []}\n', '{"registry-mirrors": ["https://hub"]}\n'),
        ('{"registry-mirrors": null}', '{"registry-mirrors": ["https://hub"]}'),
        ('{"registry-mirrors":["x"] }', '{"registry-mirrors":["https://hub", "x"] }'),
        ('{"registry-mirrors": ["x", "https://hub"]}', '{"registry-mirrors": ["x", "https://hub"]}'),
        (
            '{\n    "a": {"b": [1.0, 1e3]},\n    "c": "\\u00e9"\n}\n',
            (
                '{\n    "a": {"b": [1.0, 1e3]},\n    "c": "\\u00e9",\n    "registry-mirrors": [\n        "https://hub"\n'
                "    ]\n}\n"
            ),
        ),
        (
            '{\n\t"registry-mirrors": [\n\t\t"x"\n\t]\n}',
            '{\n\t"registry-mirrors": [\n\t\t"https://hub",\n\t\t"x"\n\t]\n}',
        ),
        (
            '{"registry-mirrors": ["first"], "registry-mirrors": ["last"]}',
            '{"registry-mirrors": ["first"], "registry-mirrors": ["https://hub", "last"]}',
        ),
    ],
)
def test_what_is_added(before: str, after: str) -> None:
    assert add_items(before, (MIRROR,)) == after
    assert add_items(after, (MIRROR,)) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"registry-mirrors": ["https://hub"]}', "{}"),
        ('{"registry-mirrors": ["https://hub"], "b": 2}', '{"b": 2}'),
        ('{"a": 1, "registry-mirrors": ["https://hub"], "b": 2}', '{"a": 1, "b": 2}'),
        ('{"a": 1, "registry-mirrors": ["https://hub", "x"]}', '{"a": 1, "registry-mirrors": ["x"]}'),
        ('{"registry-mirrors": ["x"]}', '{"registry-mirrors": ["x"]}'),
        ("{}", "{}"),
    ],
)
def test_what_is_taken_out(before: str, after: str) -> None:
    assert remove_items(before, (MIRROR,)) == after


def test_conditions_are_those_of_the_file_as_it_was() -> None:
    if_none = tuple(Item(("list",), value, "no list") for value in ("one", "two"))
    if_one = Item(("list",), "three", "list")
    assert add_items("{}", (*if_none, if_one)) == '{\n  "list": [\n    "two",\n    "one"\n  ]\n}'
    assert add_items('{"list": []}', (*if_none, if_one)) == '{"list": ["three"]}'


@pytest.mark.parametrize(
    "text", ["[]", "{", "nonsense", '{"registry-mirrors": "x"}', '{"registry-mirrors": [1]}', "{}{}"]
)
def test_what_cannot_be_changed(text: str) -> None:
    with pytest.raises(CannotEditError):
        add_items(text, (MIRROR,))
