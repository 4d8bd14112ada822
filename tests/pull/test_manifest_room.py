"""How much of manifests files hold at once, and who is refused for it."""

import pytest

from hubferry.core.errors import OciError
from hubferry.pull.manifest_room import SMALL_BYTES, ManifestRoom

MIB = 2**20


def test_a_small_file_is_never_refused() -> None:
    room = ManifestRoom(MIB)
    room.file_for("192.0.2.1").add(MIB)
    for _ in range(100):
        room.file_for("192.0.2.1").add(SMALL_BYTES)


def test_one_address_leaves_room_for_others() -> None:
    room = ManifestRoom(4 * MIB)
    room.file_for("2001:db8::1").add(MIB)
    with pytest.raises(OciError) as refused:
        room.file_for("2001:db8::2").add(MIB)  # of the same /64
    assert (refused.value.status, dict(refused.value.headers)) == (503, {"retry-after": "30"})
    room.file_for("192.0.2.1").add(MIB)


def test_what_is_given_back_can_be_had_again() -> None:
    room = ManifestRoom(4 * MIB)
    held = room.file_for("192.0.2.1")
    held.add(MIB // 2)
    held.add(MIB // 4)
    another = room.file_for("192.0.2.2")
    with pytest.raises(OciError):
        another.add(4 * MIB)
    held.release()
    held.release()
    another.add(4 * MIB)
