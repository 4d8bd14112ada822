"""What went wrong on a connection, as users read it: its cause, in words, with the limit that was exceeded."""

import asyncio
import errno
import ssl

import pytest

from hubferry.core.values import Duration
from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.transport.failures import ANSWER, TROUBLE, Stale, as_failure, limited
from hubferry.transport.http1 import Broken, ProtocolError
from hubferry.transport.tunnel import ProxyFailed
from hubferry.transport.wire import Trickled

LIMIT = Duration(90.0)
RESET = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
PIPE = BrokenPipeError(errno.EPIPE, "Broken pipe")


def certificate_error() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1006)")
    error.verify_message = "Hostname mismatch"
    return error


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "(_ssl.c:1006)")
    error.reason = reason
    return error


# what happened while a connection was to come; the cause, and the words about it
MEANT: dict[str, tuple[Exception, Cause, str]] = {
    "nothing in time": (TimeoutError(), Cause.TIMEOUT, "no connection within 90s (connect_timeout); see the hint"),
    "too little in time": (Trickled(), Cause.TIMEOUT, "its body came slower than min_rate for 90s of waiting"),
    "a certificate": (certificate_error(), Cause.TLS, "certificate: Hostname mismatch"),
    "TLS": (tls_error("WRONG_VERSION_NUMBER"), Cause.TLS, "WRONG_VERSION_NUMBER"),
    "TLS, without a reason": (tls_error(""), Cause.TLS, "handshake"),
    "broken off": (Broken("3 bytes are missing", begun=True), Cause.CUT, "3 bytes are missing"),
    "no HTTP": (ProtocolError("not HTTP"), Cause.PROTOCOL, "not HTTP"),
    "the proxy": (ProxyFailed("it wants user and password"), Cause.PROXY, "it wants user and password"),
    "reset": (RESET, Cause.CUT, "Connection reset by peer instead of connection"),
    "reset, without a text": (ConnectionResetError(), Cause.CUT, "reset instead of connection"),
    "a pipe": (PIPE, Cause.CUT, "Broken pipe instead of connection"),
    "refused": (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), Cause.TCP, "Connection refused"),
    "no route": (OSError(errno.EHOSTUNREACH, "No route to host"), Cause.TCP, "No route to host"),
    "without a number": (OSError("the name has no address"), Cause.TCP, "the name has no address"),
}


@pytest.mark.parametrize(("error", "cause", "detail"), MEANT.values(), ids=MEANT.keys())
def test_what_went_wrong_has_a_cause_and_words(error: Exception, cause: Cause, detail: str) -> None:
    assert isinstance(error, TROUBLE)
    failure = as_failure(error, "a.example", "connection", "connect_timeout", LIMIT, hint="; see the hint")
    assert isinstance(failure, UpstreamFailure)
    assert (failure.cause, failure.host, failure.detail) == (cause, "a.example", detail)


# what happened while an answer or something else was to come; whether a connection that was kept may be replaced
DIED: dict[str, tuple[Exception, str, bool]] = {
    "reset before an answer": (RESET, ANSWER, True),
    "a pipe before an answer": (PIPE, ANSWER, True),
    "reset before an answer, without a number": (ConnectionResetError(), ANSWER, True),
    "closed before an answer": (Broken("closed without an answer", begun=False), ANSWER, True),
    "closed within an answer": (Broken("closed without an answer", begun=True), ANSWER, False),
    "reset within a body": (RESET, "more of the body", False),
    "nothing in time": (TimeoutError(), ANSWER, False),
    "no HTTP": (ProtocolError("not HTTP"), ANSWER, False),
    "TLS": (tls_error("DECRYPTION_FAILED"), ANSWER, False),
}


@pytest.mark.parametrize(("error", "what", "is_stale"), DIED.values(), ids=DIED.keys())
def test_a_connection_that_ended_before_it_answered_may_have_died_of_age(
    error: Exception, what: str, *, is_stale: bool
) -> None:
    failure = as_failure(error, "a.example", what, "response_timeout", LIMIT)
    assert isinstance(failure, Stale) == is_stale
    assert str(failure)


def test_what_is_no_trouble_of_a_connection_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError, match="KeyError"):
        as_failure(KeyError("x"), "a.example", ANSWER, "response_timeout", LIMIT)


def test_a_step_that_takes_too_long_is_ended_and_names_its_setting() -> None:
    ended = []

    async def step() -> None:
        async with limited("a.example", "TLS handshake", "tls_timeout", Duration(0.0), hint="; a hint"):
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("ended")

    async def scene() -> None:
        with pytest.raises(UpstreamFailure) as raised:
            await step()
        assert raised.value.cause is Cause.TIMEOUT
        assert raised.value.detail == "no TLS handshake within 0s (tls_timeout); a hint"
        assert raised.value.__cause__ is None

    asyncio.run(scene())
    assert ended == ["ended"]


def test_a_step_within_its_limit_is_left_alone() -> None:
    async def scene() -> None:
        async with limited("a.example", ANSWER, "response_timeout", LIMIT):
            await asyncio.sleep(0)

    asyncio.run(scene())


@pytest.mark.parametrize("error", [KeyError("x"), UpstreamFailure(Cause.DNS, "b.example"), asyncio.CancelledError()])
def test_what_is_no_trouble_of_this_step_passes_unchanged(error: BaseException) -> None:
    async def scene() -> None:
        with pytest.raises(type(error)) as raised:
            async with limited("a.example", ANSWER, "response_timeout", LIMIT):
                raise error
        assert raised.value is error

    asyncio.run(scene())


@pytest.mark.parametrize(("error", "becomes"), [(RESET, Stale), (ProtocolError("x"), UpstreamFailure)])
def test_trouble_within_a_step_is_told_without_what_raised_it(error: Exception, becomes: type[Exception]) -> None:
    async def scene() -> None:
        with pytest.raises(becomes) as raised:
            async with limited("a.example", ANSWER, "response_timeout", LIMIT):
                raise error
        assert raised.value.__suppress_context__, "texts of libraries may hold an address"

    asyncio.run(scene())
