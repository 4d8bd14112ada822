"""The bytes of a tar file: what Python's reader says of them, every part of them, and what a check finds."""

import hashlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubferry.core.tar import MAX_OCTAL_BYTES, Content, Member, Tar, TarCheck, WrongBytes, format_header


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def content(data: bytes) -> Content:
    return Content(digest_of(data), len(data))


BLOBS = {digest_of(data): data for data in (b"", b"x", b"y" * 511, b"z" * 512, b"a" * 1500)}
MEMBERS: list[Member] = [
    ("index.json", b"{}"),
    ("empty.json", b""),
    *((f"blobs/{digest.replace(':', '/')}", content(data)) for digest, data in BLOBS.items()),
]


def read(tar: Tar, start: int, end: int) -> bytes:
    """What is between two offsets, put together."""
    return b"".join(
        part if isinstance(part, bytes) else BLOBS[part.content.digest][part.start : part.end]
        for part in tar.between(start, end)
    )


def test_pythons_reader_finds_every_file_with_fixed_owner_mode_and_time() -> None:
    tar = Tar(MEMBERS)
    whole = read(tar, 0, tar.size_bytes)
    assert len(whole) == tar.size_bytes
    with tarfile.open(fileobj=io.BytesIO(whole)) as opened:
        found = opened.getmembers()
        assert [one.name for one in found] == [name for name, _ in MEMBERS]
        assert {(one.mode, one.uid, one.gid, one.mtime, one.type) for one in found} == {
            (0o644, 0, 0, 0, tarfile.REGTYPE)
        }
        for one, (_, inside) in zip(found, MEMBERS, strict=True):
            opened_file = opened.extractfile(one)
            assert opened_file is not None
            assert opened_file.read() == (inside if isinstance(inside, bytes) else BLOBS[inside.digest])


def test_every_part_is_that_part_of_the_whole() -> None:
    tar = Tar(MEMBERS[:4])
    whole = read(tar, 0, tar.size_bytes)
    for start in range(0, tar.size_bytes, 61):
        for end in range(start, tar.size_bytes + 1, 173):
            assert read(tar, start, end) == whole[start:end]


@given(st.integers(0, 9000), st.integers(0, 9000))
def test_any_part_is_that_part_of_the_whole(start: int, length: int) -> None:
    tar = Tar(MEMBERS)
    whole = read(tar, 0, tar.size_bytes)
    assert read(tar, start, min(start + length, tar.size_bytes)) == whole[start : start + length]


@given(st.lists(st.tuples(st.from_regex(r"[a-z]{1,130}", fullmatch=True), st.binary(max_size=700)), max_size=4))
def test_whatever_the_members_pythons_reader_finds_them(members: list[tuple[str, bytes]]) -> None:
    tar = Tar([(name, data) for name, data in members])
    with tarfile.open(fileobj=io.BytesIO(read(tar, 0, tar.size_bytes))) as opened:
        assert [(one.name, one.size) for one in opened.getmembers()] == [(name, len(data)) for name, data in members]


LARGE = {
    "a long name": ("blobs/sha512/" + "a" * 128, 5),
    "the last size in octal": ("a", MAX_OCTAL_BYTES - 1),
    "the first that has no room": ("a", MAX_OCTAL_BYTES),
    "a long name and a large size": ("blobs/sha512/" + "f" * 128, 10**13),
}


@pytest.mark.parametrize(("name", "size_bytes"), LARGE.values(), ids=LARGE.keys())
def test_what_has_no_room_in_a_plain_header_is_understood(name: str, size_bytes: int) -> None:
    header = format_header(name, size_bytes)
    assert len(header) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(header + bytes(1024))) as opened:
        found = opened.next()
    assert found is not None
    assert (found.name, found.size) == (name, size_bytes)


def test_the_fingerprint_is_that_of_the_bytes() -> None:
    same, other = Tar(MEMBERS), Tar([("index.json", b"[]"), *MEMBERS[1:]])
    assert Tar(MEMBERS).fingerprint == same.fingerprint != other.fingerprint
    assert same.fingerprint != Tar(MEMBERS[:-1]).fingerprint


@pytest.mark.parametrize("step", [1, 7, 512, 100_000])
def test_right_bytes_pass_the_check_in_any_pieces(step: int) -> None:
    tar = Tar(MEMBERS)
    whole, check = read(tar, 0, tar.size_bytes), TarCheck(tar)
    for at in range(0, len(whole), step):
        check.feed(whole[at : at + step])
    with pytest.raises(WrongBytes, match="longer"):
        check.feed(b"x")


def test_a_wrong_byte_anywhere_is_found() -> None:
    tar = Tar(MEMBERS)
    whole = read(tar, 0, tar.size_bytes)
    for at in range(0, len(whole), 97):
        wrong = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        with pytest.raises(WrongBytes):
            TarCheck(tar).feed(wrong)
