"""Whatever passes the grammar is of the grammar; whatever does not raises OciError 400."""

import re

from hypothesis import given
from hypothesis import strategies as st

from hubferry.core import reference
from hubferry.core.errors import OciError
from tests.properties.inputs import digest, hostile, refused_with, repository, tag


@given(repository)
def test_every_name_of_the_grammar_passes_and_is_completed_once(name: str) -> None:
    assert reference.check_repository(name) == name
    full = reference.complete_library(name)
    assert reference.complete_library(full) == full
    assert reference.check_repository(full) == full


@given(st.one_of(tag, digest))
def test_every_tag_and_digest_of_the_grammar_passes(text: str) -> None:
    assert reference.check_reference(text) == text


@given(hostile)
def test_nothing_else_passes(text: str) -> None:
    for check in (reference.check_repository, reference.check_reference, reference.check_digest):
        try:
            passed = check(text)
        except OciError as error:
            refused_with(error, 400)
        else:
            assert re.fullmatch(r"[A-Za-z0-9._:/-]{1,255}", passed)
            assert ".." not in passed.split("/")
            assert not passed.startswith(("/", "."))


@given(hostile)
def test_a_decoded_path_is_printable_ascii_with_the_slashes_it_came_with(path: str) -> None:
    try:
        decoded = reference.decode_path(path)
    except OciError as error:
        refused_with(error, 400)
        return
    assert decoded.isascii()
    assert decoded.isprintable()
    assert decoded.count("/") == path.count("/")
    assert decoded.count("\\") == path.count("\\")


@given(hostile)
def test_normalising_a_host_never_fails_and_settles(text: str) -> None:
    once = reference.normal_host(text)
    assert isinstance(once, str)
    if reference.is_host(text) and not once.endswith("."):
        assert reference.normal_host(once) == once
        assert once == once.lower()
    reference.host_without_port(text)
    reference.names_registry(text)


@given(hostile)
def test_a_host_holds_nothing_that_ends_a_header_or_a_url_part(text: str) -> None:
    if reference.is_host(text):
        assert not set(text) & set("/\\@?#,; \r\n\t\"'<>%")
        assert text.isascii()
