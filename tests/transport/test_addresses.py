"""Names and addresses: what may be dialled, what is not even looked up, and one look-up for all who wait."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.transport.addresses import AT_ONCE, Names
from tests.support.waiting import turns
from tests.transport.test_connect import Resolver, resolving

PUBLIC, PUBLIC2, PUBLIC6 = "8.8.8.8", "1.1.1.1", "2606:4700::1111"
PRIVATE = "10.0.0.1"
HOST = "registry.example"
UPSTREAM = "docker.io"


async def checked(host: str, *addresses: str, allow_private: bool = False) -> tuple[list[str], int]:
    """The addresses of a host that resolves to `addresses`, and how often it was looked up."""
    async with resolving(*addresses) as resolver:
        found = await Names().checked_addresses(host, 443, upstream=UPSTREAM, allow_private=allow_private)
        return found, resolver.asked


async def refused(host: str, *addresses: str, allow_private: bool = False) -> tuple[UpstreamFailure, int]:
    async with resolving(*addresses) as resolver:
        with pytest.raises(UpstreamFailure) as raised:
            await Names().checked_addresses(host, 443, upstream=UPSTREAM, allow_private=allow_private)
        return raised.value, resolver.asked


FOUND: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "one": ((PUBLIC,), [PUBLIC]),
    "in the resolver's order": ((PUBLIC6, PUBLIC2, PUBLIC), [PUBLIC6, PUBLIC2, PUBLIC]),
    "each once": ((PUBLIC, PUBLIC2, PUBLIC), [PUBLIC, PUBLIC2]),
}


@pytest.mark.parametrize(("addresses", "found"), FOUND.values(), ids=FOUND.keys())
def test_the_addresses_of_a_name_are_given_in_their_order(addresses: tuple[str, ...], found: list[str]) -> None:
    assert asyncio.run(checked(HOST, *addresses)) == (found, 1)


def test_an_address_is_given_without_its_zone() -> None:
    found = asyncio.run(checked(HOST, "fe80::1%eth0", "fe80::1%eth1", allow_private=True))
    assert found == (["fe80::1"], 1)


@pytest.mark.parametrize("literal", [PUBLIC, PUBLIC6])
def test_an_address_needs_no_look_up(literal: str) -> None:
    assert asyncio.run(checked(literal, PRIVATE)) == ([literal], 0)


# a host, and the addresses it resolves to; how often it is looked up before it is refused
INSIDE: dict[str, tuple[str, tuple[str, ...], int]] = {
    "a name that leads inside": (HOST, (PRIVATE,), 1),
    "a name that leads outside and inside": (HOST, (PUBLIC, PUBLIC6, PRIVATE), 1),
    "a name that leads to this machine": (HOST, ("::1",), 1),
    "an address that holds one inside": (HOST, ("::ffff:10.0.0.1",), 1),
    "the metadata of a cloud": (HOST, ("169.254.169.254",), 1),
    "an address inside": (PRIVATE, (), 0),
    "this machine": ("localhost", (PUBLIC,), 0),
    "a name of this machine": ("a.localhost", (PUBLIC,), 0),
    "a short address": ("127.1", (PUBLIC,), 0),
    "an address as one number": ("2130706433", (PUBLIC,), 0),
}


@pytest.mark.parametrize(("host", "addresses", "looked_up"), INSIDE.values(), ids=INSIDE.keys())
def test_what_leads_inside_is_refused(host: str, addresses: tuple[str, ...], looked_up: int) -> None:
    failure, asked = asyncio.run(refused(host, *addresses))
    assert (failure.cause, failure.host, asked) == (Cause.ADDRESS, host, looked_up)
    if addresses and looked_up:
        assert "special address" in failure.detail


@pytest.mark.parametrize(("host", "addresses"), [(HOST, (PRIVATE,)), ("localhost", ("127.0.0.1",)), (PRIVATE, ())])
def test_where_private_addresses_are_allowed_they_are_given(host: str, addresses: tuple[str, ...]) -> None:
    found, _ = asyncio.run(checked(host, *addresses, allow_private=True))
    assert found == (list(addresses) or [host])


@pytest.mark.parametrize("allow_private", [True, False])
def test_a_name_that_does_not_resolve_says_so(*, allow_private: bool) -> None:
    failure, _ = asyncio.run(refused(HOST, allow_private=allow_private))
    assert (failure.cause, failure.host, failure.detail) == (Cause.DNS, HOST, "Name or service not known")


def test_what_is_no_name_does_not_resolve() -> None:
    async def scene() -> None:
        with pytest.raises(UpstreamFailure) as raised:
            await Names().checked_addresses("a..b", 443, upstream=UPSTREAM, allow_private=False)
        assert (raised.value.cause, raised.value.detail) == (Cause.DNS, "not a name")

    asyncio.run(scene())


def play(*addresses: str) -> Callable[[Callable[[Names, Resolver], Coroutine[Any, Any, None]]], None]:
    """Run a scene with a resolver that does not answer yet; errors that nobody retrieved fail."""

    def run(scene: Callable[[Names, Resolver], Coroutine[Any, Any, None]]) -> None:
        lost: list[dict[str, Any]] = []

        async def begin() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
            async with resolving(*addresses) as resolver:
                resolver.may_answer.clear()
                await scene(Names(), resolver)
                await turns()
                assert asyncio.all_tasks() == {asyncio.current_task()}

        asyncio.run(begin())
        assert lost == []

    return run


def asks(
    names: Names, port: int = 443, *, upstream: str = UPSTREAM, allow_private: bool = False
) -> asyncio.Task[list[str]]:
    return asyncio.create_task(names.checked_addresses(HOST, port, upstream=upstream, allow_private=allow_private))


def test_all_who_wait_for_a_name_have_one_look_up_and_each_port_its_own() -> None:
    async def scene(names: Names, resolver: Resolver) -> None:
        waiting = [asks(names) for _ in range(5)] + [asks(names, 5000)]
        await turns()
        assert resolver.asked == 2
        resolver.may_answer.set()
        assert await asyncio.gather(*waiting) == [[PUBLIC]] * 6
        assert await asks(names) == [PUBLIC]
        assert resolver.asked == 3, "an answer is not kept"

    play(PUBLIC)(scene)


def test_each_who_waits_is_checked_by_what_is_allowed_to_it() -> None:
    async def scene(names: Names, resolver: Resolver) -> None:
        waiting = [asks(names, allow_private=allowed) for allowed in (True, False)]
        await turns()
        resolver.may_answer.set()
        inside, outside = await asyncio.gather(*waiting, return_exceptions=True)
        assert inside == [PRIVATE]
        assert isinstance(outside, UpstreamFailure)
        assert resolver.asked == 1

    play(PRIVATE)(scene)


@pytest.mark.parametrize("addresses", [(PUBLIC,), ()], ids=["it resolves", "it does not"])
def test_a_look_up_that_everybody_gave_up_ends_quietly_and_the_next_one_begins_anew(
    addresses: tuple[str, ...],
) -> None:
    async def scene(names: Names, resolver: Resolver) -> None:
        waiting = [asks(names) for _ in range(3)]
        await turns()
        for task in waiting:
            task.cancel()
        await turns()
        late = asks(names)
        await turns()
        assert resolver.asked == 1, "the look-up that hangs is waited for, not begun again"
        late.cancel()
        resolver.may_answer.set()
        await turns()
        await asyncio.gather(asks(names), return_exceptions=True)
        assert resolver.asked == 2

    play(*addresses)(scene)


def test_who_gives_up_takes_nobody_elses_answer_away() -> None:
    async def scene(names: Names, resolver: Resolver) -> None:
        first, second = asks(names), asks(names)
        await turns()
        first.cancel()
        await turns()
        resolver.may_answer.set()
        assert await second == [PUBLIC]
        assert first.cancelled()

    play(PUBLIC)(scene)


def test_a_failure_is_told_to_all_who_wait() -> None:
    async def scene(names: Names, resolver: Resolver) -> None:
        waiting = [asks(names) for _ in range(3)]
        await turns()
        resolver.may_answer.set()
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert [isinstance(one, UpstreamFailure) and one.cause for one in told] == [Cause.DNS] * 3

    play()(scene)


def test_an_upstream_whose_names_hang_holds_up_no_other_one() -> None:
    async def scene(names: Names, resolver: Resolver) -> None:
        hanging = [asks(names, port) for port in range(1, AT_ONCE + 4)]
        await turns()
        assert resolver.asked == AT_ONCE
        other = asks(names, 443, upstream="ghcr.io")
        await turns()
        assert resolver.asked == AT_ONCE + 1
        resolver.may_answer.set()
        assert await asyncio.gather(other, *hanging) == [[PUBLIC]] * (AT_ONCE + 4)

    play(PUBLIC)(scene)


def test_this_machine_is_resolved() -> None:
    async def scene() -> None:
        found = await Names().checked_addresses("localhost", 443, upstream=UPSTREAM, allow_private=True)
        assert set(found) & {"127.0.0.1", "::1"}

    asyncio.run(scene())


def test_a_name_that_waits_for_the_turns_of_one_upstream_is_looked_up_for_another() -> None:
    async def scene(names: Names, resolver: Resolver) -> None:
        hanging = [asks(names, port) for port in range(1, AT_ONCE + 1)]
        waiting = asks(names, 443)
        await turns()
        other = asks(names, 443, upstream="ghcr.io")
        await turns()
        assert resolver.asked == AT_ONCE + 1
        resolver.may_answer.set()
        assert await asyncio.gather(other, waiting, *hanging) == [[PUBLIC]] * (AT_ONCE + 2)

    play(PUBLIC)(scene)


def test_a_machine_without_threads_left_cannot_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def scene() -> None:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(UpstreamFailure) as raised:
            await Names().checked_addresses(HOST, 443, upstream=UPSTREAM, allow_private=False)
        assert (raised.value.cause, "no thread" in raised.value.detail) == (Cause.DNS, True)

    asyncio.run(scene())
