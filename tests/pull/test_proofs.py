"""What an upstream's answer proves of a caller's right, asked once for all, and that no answer is left open."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from hubferry.core.errors import Code, OciError, StorageRefusal
from hubferry.core.rights import Right
from hubferry.ports.content import StoreFailure
from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.pull.proofs import Proofs
from hubferry.remote.single_flight import NoSharing, SharedTasks, SingleFlight
from hubferry.remote.target import AnsweredBy, Target
from tests.gateway.fakes import FakeBody, FakeClock
from tests.pull.fakes import EVERYBODY, MIRROR, NGINX, OF_ALICE, OF_BOB, KeptIndex, refusal, rights_over, upstream_of

MIRRORED = Target(upstream_of(mirrors=(MIRROR,)), "library/nginx")
REDIS = Target(EVERYBODY.upstream, "library/redis")


@dataclass
class Found:
    """An answer with a body."""

    body: FakeBody


class Stage:
    def __init__(self, flight: SingleFlight | None = None) -> None:
        self.clock, self.index = FakeClock(), KeptIndex()
        self.rights = rights_over(self.index, self.clock)
        self.proofs = Proofs(self.rights, flight or NoSharing(), self.clock)

    async def ask(self, target: Target, reply: object, who: AnsweredBy | None = "upstream", **how: Any) -> object:
        return await self.proofs.ask_now(target, giving(reply), lambda _: who, **how)


def giving(reply: object) -> Callable[[], Awaitable[object]]:
    async def ask() -> object:
        if isinstance(reply, BaseException):
            raise reply
        return reply

    return ask


# --- what an answer proves -------------------------------------------------------------------------------

ANSWERS: dict[str, tuple[Target, AnsweredBy | None, Right]] = {
    # name: who asks, who answers -> the right afterwards
    "the upstream answers anybody": (EVERYBODY, "upstream", Right.PROVEN),
    "the upstream answers a login": (OF_ALICE, "upstream", Right.PROVEN),
    "a mirror answers anybody": (MIRRORED, "mirror", Right.PROVEN),
    "nobody was asked": (EVERYBODY, None, Right.NONE),
}


@pytest.mark.parametrize(("target", "who", "right"), ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_proves_the_right_of_who_asked(target: Target, who: AnsweredBy | None, right: Right) -> None:
    async def scene() -> None:
        stage = Stage()
        assert await stage.ask(target, "it", who) == "it"
        assert await stage.rights.of(target) is right
        others = [one for one in (EVERYBODY, OF_ALICE, OF_BOB) if one.credential != target.credential]
        assert {await stage.rights.of(one) for one in others} == {Right.NONE}

    asyncio.run(scene())


def test_a_proof_counts_from_when_the_question_was_asked() -> None:
    async def scene() -> None:
        stage = Stage()
        asked_at = stage.clock.time()

        async def ask() -> str:
            stage.clock.pass_s(50.0)
            return "it"

        await stage.proofs.ask_now(EVERYBODY, ask)
        assert stage.index.rights[NGINX, "pull", ""] == asked_at

    asyncio.run(scene())


# --- what a refusal takes away ---------------------------------------------------------------------------

REFUSALS: dict[str, tuple[int, bool, Right]] = {
    # name: status, whether the repository holds what is asked for -> the right afterwards
    "401": (401, False, Right.NONE),
    "401 for what is held": (401, True, Right.NONE),
    "403": (403, False, Right.NONE),
    "404": (404, False, Right.PROVEN),
    "404 for what is held": (404, True, Right.NONE),
    "400": (400, True, Right.PROVEN),
    "405": (405, True, Right.PROVEN),
    "416": (416, True, Right.PROVEN),
    "429": (429, True, Right.PROVEN),
    "502": (502, True, Right.PROVEN),
    "503": (503, True, Right.PROVEN),
}


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_a_cdn_refuses_takes_nobodys_right(status: int) -> None:
    async def scene() -> None:
        stage = Stage()
        await stage.rights.prove(EVERYBODY, stage.clock.time())
        with pytest.raises(OciError) as caught:
            await stage.ask(EVERYBODY, StorageRefusal(status, Code.DENIED, "no such key"), is_held=True)
        assert caught.value.status == status
        assert await stage.rights.of(EVERYBODY) is Right.PROVEN

    asyncio.run(scene())


@pytest.mark.parametrize("target", [EVERYBODY, OF_ALICE], ids=["everybody", "a login"])
@pytest.mark.parametrize(("status", "is_held", "right"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_takes_the_right_of_who_asked_and_a_failure_does_not(
    target: Target, status: int, is_held: bool, right: Right
) -> None:
    async def scene() -> None:
        stage = Stage()
        for one in (EVERYBODY, OF_ALICE, OF_BOB):
            await stage.rights.prove(one, stage.clock.time())
        error = refusal(status)
        with pytest.raises(OciError) as caught:
            await stage.ask(target, error, is_held=is_held)
        assert caught.value is error
        assert await stage.rights.of(target) is right
        others = [one for one in (EVERYBODY, OF_ALICE, OF_BOB) if one is not target]
        assert {await stage.rights.of(one) for one in others} == {Right.PROVEN}

    asyncio.run(scene())


@pytest.mark.parametrize(("cause", "status"), [(Cause.TCP, 503), (Cause.TIMEOUT, 503), (Cause.WRONG, 502)])
def test_an_upstream_that_is_not_reached_becomes_an_error_for_clients(cause: Cause, status: int) -> None:
    async def scene() -> None:
        stage = Stage()
        await stage.rights.prove(EVERYBODY, stage.clock.time())
        failure = UpstreamFailure(cause, "registry-1.docker.io", "details")
        with pytest.raises(OciError) as caught:
            await stage.ask(EVERYBODY, failure, is_held=True)
        assert (caught.value.status, caught.value.__cause__) == (status, failure)
        assert "docker.io" in caught.value.message
        assert await stage.rights.of(EVERYBODY) is Right.PROVEN

    asyncio.run(scene())


@pytest.mark.parametrize("error", [StoreFailure("full"), asyncio.CancelledError()], ids=["a disk", "who asked left"])
def test_whatever_else_ends_a_question_says_nothing_of_rights(error: BaseException) -> None:
    async def scene() -> None:
        stage = Stage()
        await stage.rights.prove(EVERYBODY, stage.clock.time())
        before = dict(stage.index.rights)
        with pytest.raises(type(error)):
            await stage.ask(EVERYBODY, error, is_held=True)
        assert stage.index.rights == before

    asyncio.run(scene())


# --- an answer that nobody gets --------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("a defect"), asyncio.CancelledError()])
def test_an_answer_is_closed_once_when_what_it_proves_cannot_be_noted(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        stage, found = Stage(), Found(FakeBody(b"it"))
        monkeypatch.setattr(stage.rights, "prove", lambda *_: giving(error)())
        with pytest.raises(type(error)):
            await stage.ask(EVERYBODY, found)
        assert found.body.closed == 1
        for without_body in (None, "it", ("a", b"b")):
            with pytest.raises(type(error)):
                await stage.ask(EVERYBODY, without_body)

    asyncio.run(scene())


def test_an_answer_is_closed_when_it_cannot_be_told_who_gave_it() -> None:
    async def scene() -> None:
        stage, found = Stage(), Found(FakeBody(b"it"))

        def answered_by(_: object) -> AnsweredBy:
            raise LookupError

        with pytest.raises(LookupError):
            await stage.proofs.ask_now(EVERYBODY, giving(found), answered_by)
        assert (found.body.closed, stage.index.rights) == (1, {})

    asyncio.run(scene())


@pytest.mark.parametrize("who", ["upstream", "mirror", None])
def test_an_answer_that_is_given_stays_open(who: AnsweredBy | None) -> None:
    async def scene() -> None:
        found = Found(FakeBody(b"it"))
        assert await Stage().ask(EVERYBODY, found, who) is found
        assert found.body.closed == 0

    asyncio.run(scene())


# --- once for all ----------------------------------------------------------------------------------------

SHARING: dict[str, tuple[tuple[Target, str], tuple[Target, str], int]] = {
    # name: two questions -> how often the upstream is asked
    "the same": ((EVERYBODY, "a"), (EVERYBODY, "a"), 1),
    "the same for a login": ((OF_ALICE, "a"), (OF_ALICE, "a"), 1),
    "another question": ((EVERYBODY, "a"), (EVERYBODY, "b"), 2),
    "another login": ((OF_ALICE, "a"), (OF_BOB, "a"), 2),
    "a login and everybody": ((OF_ALICE, "a"), (EVERYBODY, "a"), 2),
    "another repository": ((EVERYBODY, "a"), (REDIS, "a"), 2),
    "the same repository, of which one may be asked of mirrors": ((EVERYBODY, "a"), (MIRRORED, "a"), 1),
}


@pytest.mark.parametrize(("one", "other", "times"), SHARING.values(), ids=SHARING.keys())
def test_what_is_the_same_for_the_same_caller_is_asked_once(
    one: tuple[Target, str], other: tuple[Target, str], times: int
) -> None:
    async def scene() -> None:
        stage, asked = Stage(SharedTasks()), 0

        async def ask() -> int:
            nonlocal asked
            asked += 1
            number = asked
            await asyncio.sleep(0)
            return number

        found = await asyncio.gather(*(stage.proofs.once(target, question, ask) for target, question in (one, other)))
        assert (found, asked) == ([1, times], times)

    asyncio.run(scene())


def test_for_all_who_asked_the_same_a_refusal_is_noted_once() -> None:
    async def scene() -> None:
        stage = Stage(SharedTasks())
        await stage.rights.prove(EVERYBODY, stage.clock.time())
        asking = [stage.proofs.once(EVERYBODY, "a", giving(refusal(404)), is_held=True) for _ in range(3)]
        found = await asyncio.gather(*asking, return_exceptions=True)
        assert [one.status for one in found if isinstance(one, OciError)] == [404] * 3
        assert stage.index.withdrawn == 1

    asyncio.run(scene())


def test_what_was_begun_goes_on_and_is_noted_when_who_asked_leaves() -> None:
    async def scene() -> None:
        stage, is_asked, may_answer = Stage(SharedTasks()), asyncio.Event(), asyncio.Event()

        async def ask() -> str:
            is_asked.set()
            await may_answer.wait()
            return "it"

        leaving = asyncio.create_task(stage.proofs.once(EVERYBODY, "a", ask))
        await is_asked.wait()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        joining = asyncio.create_task(stage.proofs.joined(EVERYBODY, "a"))
        await asyncio.sleep(0)
        joining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await joining
        may_answer.set()
        assert await stage.proofs.joined(EVERYBODY, "a") == "it"
        assert await stage.rights.of(EVERYBODY) is Right.PROVEN

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("target", "question", "is_joined"),
    [(EVERYBODY, "a", True), (EVERYBODY, "b", False), (OF_ALICE, "a", False), (REDIS, "a", False)],
    ids=["the same", "another question", "another caller", "another repository"],
)
def test_only_what_is_asked_already_for_the_same_caller_is_joined(
    target: Target, question: str, is_joined: bool
) -> None:
    async def scene() -> None:
        stage = Stage(SharedTasks())
        asking = asyncio.create_task(stage.proofs.once(EVERYBODY, "a", giving("it")))
        await asyncio.sleep(0)
        assert await stage.proofs.joined(target, question) == ("it" if is_joined else None)
        await asking
        assert await stage.proofs.joined(EVERYBODY, "a") is None, "it is asked no longer"

    asyncio.run(scene())


def test_who_joins_is_refused_with_the_others() -> None:
    async def scene() -> None:
        stage, error = Stage(SharedTasks()), refusal(403)
        asking = asyncio.create_task(stage.proofs.once(EVERYBODY, "a", giving(error)))
        await asyncio.sleep(0)
        for one in (stage.proofs.joined(EVERYBODY, "a"), asking):
            with pytest.raises(OciError) as caught:
                await one
            assert caught.value is error

    asyncio.run(scene())
