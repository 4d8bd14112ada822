"""Several addresses of a name: a dead one costs the others a moment, and nothing is left open."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from hubferry.transport.dial import dial
from tests.support.waiting import turns, until

LIMIT_S = 30.0  # what a hanging test takes; nothing here is measured against it
NEVER, REFUSED, FINE = "never", "refused", "fine"


class Network:
    """Addresses and what they do; `sockets` are all that were ever connected."""

    def __init__(self, **behaviour: str) -> None:
        self._behaviour = behaviour
        self.dialled: list[str] = []
        self.given_up: list[str] = []
        self.sockets: dict[str, socket.socket] = {}

    async def connect(self, address: str, port: int) -> socket.socket:
        assert port == 443
        self.dialled.append(address)
        if self._behaviour[address] == NEVER:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.given_up.append(address)
                raise
        if self._behaviour[address] == REFUSED:
            raise ConnectionRefusedError(111, f"refused by {address}")
        self.sockets[address] = socket.socket()
        return self.sockets[address]

    def run(self, *, stagger_s: float = 0.0) -> str:
        """Which address is taken; the sockets of all others are closed then, and no task is left."""

        async def scene() -> str:
            async with asyncio.timeout(LIMIT_S):
                sock, address = await dial([*self._behaviour], 443, connect=self.connect, stagger_s=stagger_s)
            await turns(3)
            assert len(asyncio.all_tasks()) == 1
            sock.close()
            return address

        address = asyncio.run(scene())
        assert all(sock.fileno() == -1 for sock in self.sockets.values())
        return address


CASES: dict[str, tuple[dict[str, str], str, list[str]]] = {
    "one": ({"a": FINE}, "a", ["a"]),
    "the first is dead": ({"a": NEVER, "b": FINE}, "b", ["a", "b"]),
    "the first two are dead": ({"a": NEVER, "b": NEVER, "c": FINE}, "c", ["a", "b", "c"]),
    "the first refuses": ({"a": REFUSED, "b": FINE}, "b", ["a", "b"]),
    "refused, dead, fine": ({"a": REFUSED, "b": NEVER, "c": FINE}, "c", ["a", "b", "c"]),
}


@pytest.mark.parametrize(("behaviour", "taken", "dialled"), CASES.values(), ids=CASES.keys())
def test_whoever_connects_first_is_taken(behaviour: dict[str, str], taken: str, dialled: list[str]) -> None:
    network = Network(**behaviour)
    assert network.run() == taken
    assert network.dialled == dialled
    assert network.given_up == [address for address in dialled if behaviour[address] == NEVER]


def test_a_quick_first_address_is_the_only_one_that_is_dialled() -> None:
    network = Network(a=FINE, b=FINE)
    assert network.run(stagger_s=LIMIT_S) == "a"
    assert network.dialled == ["a"]


def test_after_a_refusal_the_next_one_is_dialled_at_once() -> None:
    network = Network(a=REFUSED, b=FINE)
    assert network.run(stagger_s=2 * LIMIT_S) == "b"


def test_an_address_that_is_slow_may_still_win_over_a_later_one() -> None:
    async def scene() -> None:
        second_was_dialled = asyncio.Event()
        ours = socket.socket()

        async def connect(address: str, _port: int) -> socket.socket:
            if address == "slow":
                await second_was_dialled.wait()
                return ours
            second_was_dialled.set()
            await asyncio.Event().wait()
            raise AssertionError

        async with asyncio.timeout(LIMIT_S):
            assert await dial(["slow", "dead"], 443, connect=connect, stagger_s=0.0) == (ours, "slow")
        ours.close()

    asyncio.run(scene())


def test_two_that_connect_at_once_leave_one_connection() -> None:
    async def scene() -> None:
        go, waiting = asyncio.Event(), list[str]()
        sockets: dict[str, socket.socket] = {}

        async def connect(address: str, _port: int) -> socket.socket:
            waiting.append(address)
            await go.wait()
            sockets[address] = socket.socket()
            return sockets[address]

        dialling = asyncio.create_task(dial(["a", "b"], 443, connect=connect, stagger_s=0.0))
        await until(lambda: waiting == ["a", "b"], "that both connect")
        go.set()
        async with asyncio.timeout(LIMIT_S):
            taken, address = await dialling
        await turns(3)
        other = sockets["a" if address == "b" else "b"]
        assert (taken.fileno() == -1, other.fileno() == -1) == (False, True)
        taken.close()

    asyncio.run(scene())


def test_when_all_refuse_the_first_one_says_why() -> None:
    with pytest.raises(ConnectionRefusedError, match="refused by a"):
        Network(a=REFUSED, b=REFUSED).run()


def test_who_gives_up_waiting_leaves_nothing_behind() -> None:
    network = Network(a=NEVER, b=NEVER)

    async def scene(run: Callable[[], Awaitable[object]]) -> None:
        dialling = asyncio.ensure_future(run())
        await until(lambda: len(network.dialled) == 2, "that both are dialled")
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scene(lambda: dial(["a", "b"], 443, connect=network.connect, stagger_s=0.0)))
    assert network.given_up == ["a", "b"]
