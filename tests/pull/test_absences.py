"""For how long, and for whom, an upstream's 404 is believed."""

import gc
import weakref
from dataclasses import replace

import pytest

from hubferry.core.access import Credential
from hubferry.core.bounded import MAX_REMEMBERED
from hubferry.core.errors import Code, OciError
from hubferry.core.freshness import NEGATIVE_TTL_S
from hubferry.pull.absences import MOST_BYTES, Absences
from tests.gateway.fakes import FakeClock
from tests.pull.fakes import EVERYBODY, OF_ALICE


def missing(message: str = "there is none") -> OciError:
    return OciError(404, Code.MANIFEST_UNKNOWN, message, detail={"status": 404}, headers=(("retry-after", "1"),))


@pytest.mark.parametrize(
    ("age_s", "is_known"), [(0.0, True), (NEGATIVE_TTL_S - 0.1, True), (NEGATIVE_TTL_S, False), (1000.0, False)]
)
def test_a_404_is_believed_for_some_seconds(age_s: float, is_known: bool) -> None:
    clock = FakeClock()
    absences = Absences(clock)
    absences.note(EVERYBODY, "tag", missing())
    clock.pass_s(age_s)
    for _ in range(2):
        assert (absences.find(EVERYBODY, "tag") is not None) is is_known


def test_it_is_believed_whatever_becomes_of_the_wall_clock() -> None:
    clock = FakeClock()
    absences = Absences(clock)
    absences.note(EVERYBODY, "tag", missing())
    clock.now_wall += 1000.0
    assert absences.find(EVERYBODY, "tag") is not None
    clock.now_wall -= 2000.0
    clock.now_monotonic += NEGATIVE_TTL_S
    assert absences.find(EVERYBODY, "tag") is None


def test_only_for_what_was_asked_and_by_whom() -> None:
    absences = Absences(FakeClock())
    absences.note(EVERYBODY, "1", missing())
    assert absences.find(EVERYBODY, "1") is not None
    redis = replace(EVERYBODY, repository="library/redis")
    for target, question in ((EVERYBODY, "2"), (redis, "1"), (OF_ALICE, "1")):
        assert absences.find(target, question) is None


def test_the_last_404_counts_and_from_when_it_was_told() -> None:
    clock = FakeClock()
    absences = Absences(clock)
    absences.note(EVERYBODY, "tag", missing())
    clock.pass_s(NEGATIVE_TTL_S - 1)
    absences.note(EVERYBODY, "tag", missing("it is gone"))
    clock.pass_s(NEGATIVE_TTL_S - 1)
    found = absences.find(EVERYBODY, "tag")
    assert found is not None
    assert found.message == "it is gone"


def test_everybody_gets_an_error_of_their_own_that_was_never_raised() -> None:
    absences, raised = Absences(FakeClock()), missing()
    with pytest.raises(OciError):
        raise raised
    absences.note(EVERYBODY, "tag", raised)
    one, other = absences.find(EVERYBODY, "tag"), absences.find(EVERYBODY, "tag")
    assert one is not None
    assert other is not None
    assert one is not other
    for found in (one, other):
        assert found.__traceback__ is None, "it keeps every frame that it passed through"
        assert (found.status, found.code, found.message) == (404, raised.code, raised.message)
        assert (found.detail, found.headers) == (raised.detail, raised.headers)


def test_what_was_in_memory_when_it_was_raised_is_not_kept_with_it() -> None:
    class Large:
        """Something that a frame refers to."""

    absences, seen = Absences(FakeClock()), []

    def ask() -> None:
        large = Large()
        seen.append(weakref.ref(large))
        raise missing()

    try:
        ask()
    except OciError as error:
        absences.note(EVERYBODY, "tag", error)
    gc.collect()
    assert seen[0]() is None


def test_names_that_clients_make_up_take_no_room_without_end() -> None:
    absences = Absences(FakeClock())
    for number in range(MAX_REMEMBERED + 1):
        absences.note(EVERYBODY, str(number), missing())
    assert (absences.find(EVERYBODY, "0"), absences.find(EVERYBODY, "9000") is None) == (None, False)


def test_nor_do_long_passwords() -> None:
    absences = Absences(FakeClock())
    long = "x" * (MOST_BYTES // 4)
    clients = [replace(EVERYBODY, credential=Credential(str(number), long)) for number in range(5)]
    for client in clients:
        absences.note(client, "1", missing())
    assert [absences.find(client, "1") is not None for client in clients] == [False, False, True, True, True]
