"""Who somebody is at this gateway: by a password, an access token, a secret in the path, or nobody."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from hubferry.core.access import Credential, UserLogin
from hubferry.core.errors import OciError
from hubferry.core.http import Request
from hubferry.core.users import NO_PASSWORD, Directory, StoredSecret, digest_of, login_by_password
from hubferry.gateway.attempts import TooManyAttempts
from hubferry.gateway.users import LoggedIn, Users
from tests.gateway.fakes import FakeClock
from tests.support.scenes import run_scene

HASH = "$2b$05$" + "a" * 21 + "." + "a" * 31
TOKEN, MIRROR = "hubferry_" + "1" * 40, "hubferry_" + "2" * 40
ROWS = [
    StoredSecret("aa", "alice", digest_of(TOKEN), is_client=False, created_at=1),
    StoredSecret("bb", "node1", digest_of(MIRROR), is_client=True, created_at=1),
]
ALICE = Credential("alice", "right")
HERE = "192.0.2.1"


class FakePasswords:
    """The password of a hash is "right"; counts what is checked."""

    def __init__(self) -> None:
        self.checked: list[tuple[str, str]] = []
        self.known: set[tuple[str, str]] = set()
        self.running = 0

    def remembers(self, password: str, hashed: str) -> bool:
        return (password, hashed) in self.known

    async def check(self, password: str, hashed: str) -> bool:
        self.checked.append((password, hashed))
        self.running += 1
        assert self.running == 1, "one at a time"
        try:
            await asyncio.sleep(0.01)
        finally:
            self.running -= 1
        if password == "right":
            self.known.add((password, hashed))
        return password == "right"


class FakeSource:
    def __init__(self) -> None:
        self.directory = Directory({"alice": HASH, "ci": NO_PASSWORD}, ROWS)

    def current(self) -> Directory:
        return self.directory

    def revision(self) -> int:
        return 7


class Stage:
    def __init__(self) -> None:
        self.passwords, self.source, self.clock = FakePasswords(), FakeSource(), FakeClock()
        self.users = Users(self.source, self.passwords, self.clock)

    def log_in(self, credential: Credential) -> LoggedIn:
        return asyncio.run(self.users.log_in(credential, HERE))

    def fails(self, act: Callable[[], object]) -> OciError:
        with pytest.raises(OciError) as caught:
            act()
        return caught.value


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_right_password_is_checked_once(stage: Stage) -> None:
    for _ in range(3):
        assert stage.log_in(ALICE) == LoggedIn(login_by_password("alice", HASH))
    assert stage.passwords.checked == [("right", HASH)]


def test_an_access_token_is_not_checked_at_all(stage: Stage) -> None:
    login = UserLogin("alice", "secret aa")
    assert stage.log_in(Credential("whoever", TOKEN)) == LoggedIn(login)
    assert stage.log_in(Credential("carl", TOKEN + ":pw")) == LoggedIn(login, Credential("carl", "pw"))
    assert stage.passwords.checked == []


WRONG = {
    "a wrong password": Credential("alice", "wrong"),
    "nobody": Credential("dave", "right"),
    "a user without a password": Credential("ci", "right"),
    "an access token that nobody has": Credential("alice", "hubferry_" + "3" * 40),
    "a client's secret": Credential("node1", MIRROR),
    "an access token with something behind": Credential("alice", TOKEN + "x"),
}


@pytest.mark.parametrize("credential", WRONG.values(), ids=WRONG.keys())
def test_all_that_is_wrong_is_told_in_the_same_words_and_takes_as_long(stage: Stage, credential: Credential) -> None:
    error = stage.fails(lambda: stage.log_in(credential))
    assert error.status == 401
    assert error.message == stage.fails(lambda: stage.log_in(WRONG["nobody"])).message
    checked = [hashed for _, hashed in stage.passwords.checked]
    assert len(checked) == 2
    assert all(hashed.startswith("$2b$05$") for hashed in checked)


def test_who_guesses_is_slowed_down(stage: Stage) -> None:
    for number in range(5):
        assert stage.fails(lambda n=number: stage.log_in(Credential("alice", f"guess {n}"))).status == 401  # type: ignore[misc]
    assert isinstance(stage.fails(lambda: stage.log_in(Credential("alice", "guess"))), TooManyAttempts)
    assert len(stage.passwords.checked) == 5
    stage.clock.pass_s(2)
    assert stage.log_in(ALICE).login.user == "alice"


def test_a_password_that_was_right_before_is_not_slowed_down(stage: Stage) -> None:
    stage.log_in(ALICE)
    for number in range(9):
        stage.fails(lambda n=number: stage.log_in(Credential("alice", f"guess {n}")))  # type: ignore[misc]
    assert stage.log_in(ALICE).login.user == "alice"


def test_many_people_of_one_address_may_log_in_at_once(stage: Stage) -> None:
    names = [f"user{number}" for number in range(20)]
    stage.source.directory = Directory({name: HASH[:-2] + f"{number:02}" for number, name in enumerate(names)})

    async def scene() -> None:
        logging_in = [stage.users.log_in(Credential(name, "right"), HERE) for name in names for _ in range(3)]
        found = await asyncio.gather(*logging_in)
        assert [one.login.user for one in found] == [name for name in names for _ in range(3)]
        assert len(stage.passwords.checked) == len(names), "each password once"

    run_scene(scene(), in_virtual_time=True)


def test_many_guesses_at_once_are_counted_one_after_the_other(stage: Stage) -> None:
    async def scene() -> None:
        guesses = [stage.users.log_in(Credential("alice", f"guess {number}"), HERE) for number in range(20)]
        found = await asyncio.gather(*guesses, return_exceptions=True)
        assert [one.status for one in found if isinstance(one, OciError)] == [401] * 5 + [429] * 15
        assert len(stage.passwords.checked) == 5

    run_scene(scene(), in_virtual_time=True)


def test_who_leaves_keeps_its_turn_until_the_check_is_over(stage: Stage) -> None:
    async def scene() -> None:
        leaving = [asyncio.create_task(stage.users.log_in(Credential("alice", f"guess {n}"), HERE)) for n in range(3)]
        await asyncio.sleep(0.001)
        for task in leaving:
            task.cancel()
        await asyncio.wait(leaving)
        assert (await stage.users.log_in(ALICE, HERE)).login.user == "alice"
        assert len(stage.passwords.checked) == 2, "those who only waited were not checked"

    run_scene(scene(), in_virtual_time=True)


def test_a_login_that_has_ended_is_refused(stage: Stage) -> None:
    login = stage.log_in(ALICE).login
    assert stage.users.user_of(login).name == "alice"
    stage.source.directory = Directory({"alice": HASH.replace("a" * 21, "b" * 21)})
    error = stage.fails(lambda: stage.users.user_of(login))
    assert (error.status, error.detail) == (401, {"error": "invalid_token"})


def test_a_secret_in_the_path_is_that_of_a_client_or_of_nobody(stage: Stage) -> None:
    request = Request("GET", "/v2/", "", (), "https", "gw", HERE)
    assert stage.users.client(request) is None
    assert stage.users.client(replace(request, secret=MIRROR)) == UserLogin("node1", "secret bb")
    for secret in (TOKEN, "hubferry_" + "3" * 40):
        assert stage.fails(lambda s=secret: stage.users.client(replace(request, secret=s))).status == 404  # type: ignore[misc]


def test_its_revision_is_that_of_the_files(stage: Stage) -> None:
    assert stage.users.revision() == 7
