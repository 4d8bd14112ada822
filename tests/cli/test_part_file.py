"""A file that is written as FILE.part: continued only if it is the same, named only when it is whole."""

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from hubferry.cli.load import Misuse
from hubferry.cli.part_file import PartFile
from hubferry.core.tar import Content, Tar, WrongBytes

DATA = bytes(range(256)) * 8
TAR = Tar([("index.json", b"{}"), ("blob", Content("sha256:" + hashlib.sha256(DATA).hexdigest(), len(DATA)))])
WHOLE = b"".join(part if isinstance(part, bytes) else DATA for part in TAR.between(0, TAR.size_bytes))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "images.tar"


def part_of(file: Path) -> Path:
    return file.with_name(file.name + ".part")


def write(file: Path, *, until: int = len(WHOLE)) -> int:
    """Write the file, or only its beginning; how many bytes of it were there."""
    with PartFile(file, TAR) as part:
        part.write(WHOLE[part.found_bytes : until])
        if until == len(WHOLE):
            part.finish()
        return part.found_bytes


def test_it_gets_its_name_when_it_is_whole(file: Path) -> None:
    write(file, until=1000)
    assert not file.exists()
    assert write(file) == 1000
    assert file.read_bytes() == WHOLE
    assert [path.name for path in file.parent.iterdir()] == [file.name]


BEGINNINGS = {
    "of another file": b"another" * 100,
    "of the file, altered in the middle": WHOLE[:512] + b"[]" + WHOLE[514:2000],
    "longer than the file": WHOLE + b"x",
    "a blob that was altered": WHOLE[:2000] + b"x" + WHOLE[2001:],
}


@pytest.mark.parametrize("there", BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_what_is_not_its_beginning_is_not_continued(file: Path, there: bytes) -> None:
    part_of(file).write_bytes(there)
    assert write(file) == 0
    assert file.read_bytes() == WHOLE


def test_a_file_that_was_written_by_others_is_continued_too(file: Path) -> None:
    part_of(file).write_bytes(WHOLE[:3000])
    assert write(file) == 3000


def test_wrong_bytes_never_get_the_name(file: Path) -> None:
    with PartFile(file, TAR) as part, pytest.raises(WrongBytes):
        part.write(WHOLE[:2000] + b"x" + WHOLE[2001:])
    assert not file.exists()


def test_a_file_that_is_replaced_keeps_its_mode(file: Path) -> None:
    file.write_bytes(b"old")
    file.chmod(0o640)
    write(file)
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (WHOLE, 0o640)


def test_two_at_once_are_refused(file: Path) -> None:
    with PartFile(file, TAR), pytest.raises(Misuse, match="another process"), PartFile(file, TAR):
        pass


def test_a_link_in_the_place_of_the_part_is_not_followed(file: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"precious")
    part_of(file).symlink_to(tmp_path / "other")
    with pytest.raises(Misuse, match="cannot be written"), PartFile(file, TAR):
        pass
    assert (tmp_path / "other").read_bytes() == b"precious"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="check folder and permissions"), PartFile(tmp_path / "none" / "a.tar", TAR):
        pass


def test_no_room_is_said_before_anything_is_fetched(file: Path) -> None:
    tar = Tar([("blob", Content("sha256:" + "a" * 64, 2**40))])
    with pytest.raises(Misuse, match="make room"), PartFile(file, tar):
        pass


NO_FILES = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a link to a device": lambda path: path.symlink_to("/dev/null"),
}


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES.keys())
def test_what_is_no_file_is_not_replaced(file: Path, make: Callable[[Path], object]) -> None:
    make(file)
    kind = stat.S_IFMT(file.lstat().st_mode)
    with pytest.raises(Misuse, match="is no regular file"), PartFile(file, TAR):
        pass
    assert stat.S_IFMT(file.lstat().st_mode) == kind
    assert not part_of(file).exists()


def test_a_link_to_a_file_stays_and_the_file_is_replaced(file: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    file.symlink_to("disk/there.tar")
    write(file)
    assert file.is_symlink()
    assert (tmp_path / "disk" / "there.tar").read_bytes() == WHOLE


def test_a_part_of_somebody_else_is_not_continued(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part_of(file).write_bytes(WHOLE[:1000])
    monkeypatch.setattr(os, "geteuid", lambda: part_of(file).stat().st_uid + 1)
    with pytest.raises(Misuse, match="belongs to another user"), PartFile(file, TAR):
        pass
    assert part_of(file).read_bytes() == WHOLE[:1000]


def test_a_part_with_a_second_name_is_not_continued(file: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"precious")
    part_of(file).hardlink_to(tmp_path / "other")
    with pytest.raises(Misuse, match="has another name too"), PartFile(file, TAR):
        pass
    assert (tmp_path / "other").read_bytes() == b"precious"
