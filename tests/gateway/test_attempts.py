"""Wrong passwords, counted by address and by account: who has to wait, who need not, and what counts as wrong."""

import asyncio
import contextlib

import pytest

from hubferry.core.access import Credential
from hubferry.core.errors import Code, OciError
from hubferry.core.guesses import FIRST_S, FORGET_S, FREE, MAX_S
from hubferry.core.http import get
from hubferry.gateway.attempts import Attempts
from tests.gateway.fakes import FakeClock

HERE, ELSEWHERE, THIRD = "192.0.2.1", "192.0.2.2", "192.0.2.3"
ALICE = Credential("alice", "right")
HUB = "docker.io"


def guess(number: int, name: str = "alice") -> Credential:
    return Credential(name, f"guess {number}")


class Stage:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.attempts = Attempts(self.clock)

    def try_one(
        self, credential: Credential, peer: str = HERE, error: BaseException | None = None, *, is_checked: bool = True
    ) -> None:
        with self.attempts.trying(peer, credential, HUB) as attempt:
            if error is not None:
                raise error
            attempt.was_accepted = is_checked

    def fail(self, times: int, *, peer: str = HERE, name: str = "alice", status: int = 401) -> None:
        """So many different passwords are refused, one after the other, as soon as each may be tried."""
        for number in range(times):
            self.clock.pass_s(self.wait_s(guess(number, name), peer))
            with pytest.raises(OciError) as caught:
                self.try_one(guess(number, name), peer, OciError(status, Code.UNAUTHORIZED, "wrong"))
            assert caught.value.status == status, "what the upstream said is passed on"

    def wait_s(self, credential: Credential, peer: str = HERE) -> int:
        """For how long this one may not be tried."""
        try:
            with self.attempts.trying(peer, credential, HUB):
                raise RuntimeError("a failure that says nothing")
        except RuntimeError:
            return 0
        except OciError as error:
            refused = error
        assert (refused.status, refused.code) == (429, Code.TOOMANYREQUESTS)
        said = get(refused.headers, "retry-after")
        assert said is not None
        assert f"in {said} s" in refused.message
        return int(said)


# --- who has to wait -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failures", "wait_s"),
    [(0, 0), (FREE - 1, 0), (FREE, FIRST_S), (FREE + 1, 2 * FIRST_S), (FREE + 2, 4 * FIRST_S), (FREE + 20, MAX_S)],
)
def test_people_may_mistype_and_then_the_pauses_grow(failures: int, wait_s: float) -> None:
    stage = Stage()
    stage.fail(failures)
    assert stage.wait_s(ALICE) == wait_s, "the right password waits as well: nobody knows yet that it is"
    stage.clock.pass_s(wait_s)
    assert stage.wait_s(ALICE) == 0


@pytest.mark.parametrize(
    ("passed_s", "waits"), [(FORGET_S - MAX_S - 1, False), (FORGET_S, False), (MAX_S - 1, True), (MAX_S, False)]
)
def test_what_was_wrong_is_waited_for_no_longer_than_the_pause(passed_s: float, waits: bool) -> None:
    stage = Stage()
    stage.fail(FREE + 20)
    stage.clock.pass_s(passed_s)
    assert (stage.wait_s(ALICE) > 0) is waits


def test_what_was_wrong_long_ago_is_forgotten() -> None:
    stage = Stage()
    stage.fail(FREE + 20)
    stage.clock.pass_s(FORGET_S)
    stage.fail(FREE - 1)
    assert stage.wait_s(ALICE) == 0
    stage.fail(1)
    assert stage.wait_s(ALICE) == FIRST_S


WAITING: dict[str, tuple[str, str, int, str, str, bool]] = {
    # name: where and for whom it was wrong, how often; from where and who tries now -> has to wait
    "the same account from there": (HERE, "alice", FREE, HERE, "alice", True),
    "another account from there": (HERE, "alice", FREE, HERE, "bob", True),
    "the same account from elsewhere": (HERE, "alice", FREE, ELSEWHERE, "alice", False),
    "another account from elsewhere": (HERE, "alice", FREE, ELSEWHERE, "bob", False),
    "from the same network of a customer": ("2001:db8::1", "alice", FREE, "2001:db8::ffff", "bob", True),
    "from another one": ("2001:db8::1", "alice", FREE, "2001:db8:0:1::1", "bob", False),
    "the same address, as a socket for both shows it": (HERE, "alice", FREE, f"::ffff:{HERE}", "bob", True),
    "fewer than are free": (HERE, "alice", FREE - 1, HERE, "alice", False),
}


@pytest.mark.parametrize("case", WAITING)
def test_wrong_passwords_count_for_the_address_that_they_came_from(case: str) -> None:
    where, whose, times, peer, who, waits = WAITING[case]
    stage = Stage()
    stage.fail(times, peer=where, name=whose)
    assert (stage.wait_s(Credential(who, "another"), peer) > 0) is waits


def test_nobody_can_keep_the_owner_of_an_account_out_from_elsewhere() -> None:
    stage = Stage()
    for number in range(20):
        stage.fail(FREE, peer=f"198.51.100.{number}")
    assert stage.wait_s(ALICE, ELSEWHERE) == 0
    stage.try_one(ALICE, ELSEWHERE)


def test_who_was_wrong_once_waits_for_what_others_did_to_that_account_alone() -> None:
    stage = Stage()
    stage.fail(FREE, peer=HERE)
    stage.fail(1, peer=ELSEWHERE, name="bob")
    assert stage.wait_s(ALICE, ELSEWHERE) > 0
    assert stage.wait_s(Credential("carol", "x"), ELSEWHERE) == 0


# --- what counts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "counts"),
    [(400, True), (401, True), (403, True), (404, False), (429, False), (500, False), (502, False), (503, False)],
)
def test_only_what_upstreams_say_to_wrong_passwords_counts(status: int, counts: bool) -> None:
    stage = Stage()
    stage.fail(FREE, status=status)
    assert (stage.wait_s(ALICE) > 0) is counts


@pytest.mark.parametrize("error", [RuntimeError(), TimeoutError()])
def test_whatever_else_ends_an_attempt_does_not_count(error: BaseException) -> None:
    stage = Stage()
    for number in range(2 * FREE):
        with pytest.raises(type(error)):
            stage.try_one(guess(number), error=error)
    assert stage.wait_s(ALICE) == 0


def test_who_asks_and_leaves_is_a_guesser() -> None:
    """The question goes on without its client, and its answer would be counted for nobody."""
    stage = Stage()
    for number in range(FREE):
        with pytest.raises(asyncio.CancelledError):
            stage.try_one(guess(number), error=asyncio.CancelledError())
    assert stage.wait_s(ALICE) > 0


def test_a_refusal_counts_although_what_was_asked_next_failed() -> None:
    stage = Stage()
    for number in range(FREE):
        with contextlib.suppress(OciError), stage.attempts.trying(HERE, guess(number), HUB) as attempt:
            attempt.was_refused = True
            raise OciError(503, Code.UNAVAILABLE, "home is away")
    assert stage.wait_s(ALICE) > 0


def test_a_right_password_clears_its_account_and_not_the_address() -> None:
    stage = Stage()
    stage.fail(FREE + 10)
    stage.clock.pass_s(MAX_S)
    stage.try_one(ALICE)
    stage.fail(1, peer=ELSEWHERE)
    assert stage.wait_s(ALICE, ELSEWHERE) == 0, "of the account one is wrong since then"
    stage.fail(1, name="bob")
    assert stage.wait_s(Credential("carol", "x")) == MAX_S, "from this address many are"


def test_a_password_that_nobody_checked_clears_nothing() -> None:
    stage = Stage()
    stage.fail(FREE + 10)
    stage.clock.pass_s(MAX_S)
    stage.try_one(ALICE, is_checked=False)
    stage.fail(1, peer=ELSEWHERE)
    assert stage.wait_s(ALICE, ELSEWHERE) == MAX_S


def test_what_was_noted_as_refused_counts_unless_another_one_took_it() -> None:
    stage = Stage()
    for number in range(FREE):
        with stage.attempts.trying(HERE, guess(number), HUB) as attempt:
            attempt.was_refused = attempt.was_accepted = True
    assert stage.wait_s(ALICE) == 0
    for number in range(FREE):
        with stage.attempts.trying(HERE, guess(number), HUB) as attempt:
            attempt.was_refused = True
    assert stage.wait_s(ALICE) > 0


def test_an_account_of_one_upstream_is_none_of_another() -> None:
    stage = Stage()
    stage.fail(FREE + 3, peer=ELSEWHERE)
    stage.fail(1)  # whoever was wrong waits for what others did to that account
    stage.clock.pass_s(FIRST_S)
    with stage.attempts.trying(HERE, ALICE, "ghcr.io") as attempt:
        attempt.was_accepted = True
    assert stage.wait_s(ALICE) > 0, "that of docker.io stays as it is"


def test_who_has_to_wait_is_not_counted_for_that() -> None:
    stage = Stage()
    stage.fail(FREE)
    for _ in range(10):
        assert stage.wait_s(ALICE) == FIRST_S
    stage.clock.pass_s(FIRST_S)
    assert stage.wait_s(ALICE) == 0


# --- at the same moment ----------------------------------------------------------------------------------


def test_passwords_that_are_being_tried_count_as_if_they_were_wrong() -> None:
    stage = Stage()
    under_way = [stage.attempts.trying(HERE, guess(number), HUB) for number in range(FREE)]
    for one in under_way:
        one.__enter__()
    assert stage.wait_s(guess(FREE)) == FIRST_S
    assert stage.wait_s(guess(0)) == 0, "the same one again is no further guess"
    assert stage.wait_s(Credential("bob", "x")) == FIRST_S, "they come from the same address"
    assert stage.wait_s(guess(FREE), ELSEWHERE) == 0, "nothing wrong came from there"
    for one in under_way:
        one.__exit__(None, None, None)
    assert stage.wait_s(guess(FREE)) == 0


def test_one_password_tried_by_many_connections_is_one() -> None:
    stage = Stage()
    under_way = [stage.attempts.trying(HERE, ALICE, HUB) for _ in range(3 * FREE)]
    for one in under_way:
        one.__enter__()
    for one in under_way[1:]:
        one.__exit__(None, None, None)
    assert stage.wait_s(guess(1)) == 0
    under_way[0].__exit__(None, None, None)


def test_after_the_free_ones_only_one_is_tried_at_a_time() -> None:
    stage = Stage()
    stage.fail(FREE)
    stage.clock.pass_s(FIRST_S)
    with stage.attempts.trying(HERE, guess(1), HUB):
        assert stage.wait_s(guess(2)) == FIRST_S
        assert stage.wait_s(guess(1)) == 0
    assert stage.wait_s(guess(2)) == 0


def test_a_name_of_any_length_is_counted() -> None:
    stage = Stage()
    stage.fail(FREE, name="a" * 100_000)
    assert stage.wait_s(Credential("a" * 100_000, "x")) == FIRST_S
