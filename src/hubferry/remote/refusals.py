"""The errors that a client is given for what an upstream did: which upstream, what happened, and what to do about it.

Not here: what an upstream's own status becomes (core/errors.py).
"""

from hubferry.core.errors import Asked, Code, OciError, StorageRefusal, relay_error
from hubferry.core.http import Headers, get
from hubferry.ports.upstream import Cause, UpstreamFailure, UpstreamResponse


def refusal_of(response: UpstreamResponse, asked: Asked, *, is_elsewhere: bool) -> OciError:
    """Return what an answer that is no success becomes for a client.

    It is a StorageRefusal if the answer `is_elsewhere`: from another host, to which the upstream redirected.
    """
    error = relay_error(response.status, response.headers, asked)
    if not is_elsewhere:
        return error
    return StorageRefusal(error.status, error.code, error.message, detail=error.detail, headers=error.headers)


def unreachable(upstream: str, failure: UpstreamFailure) -> OciError:
    """Return the 503 for an upstream that cannot be reached, or the 502 for one that gave wrong bytes."""
    detail: dict[str, object] = {"upstream": upstream, "cause": failure.cause.name.lower()}
    if failure.cause is Cause.WRONG:
        return OciError(
            502,
            Code.UNKNOWN,
            f"{upstream} gave something that cannot be delivered: {failure.detail}; "
            "try again: if it stays, something between gateway and upstream alters content",
            detail=detail,
        )
    advice = "check the gateway's network, or set a mirror or, on a server, a proxy for this upstream"
    if failure.cause is Cause.ADDRESS:
        advice = "if this is a registry of your own, set allow_private_addresses; otherwise its name server is wrong"
    if failure.cause is Cause.PROXY:
        advice = "check the proxy that is set for this upstream, with its user name and password"
    return OciError(
        503,
        Code.UNAVAILABLE,
        f"{upstream} cannot be reached from this gateway: {failure}; {advice}",
        detail=detail,
        headers=(("retry-after", "5"),),
    )


def unusable(asked: Asked, problem: str) -> OciError:
    """Return the 502 for something that an upstream gave and that must not be delivered."""
    return OciError(
        502,
        Code.UNKNOWN,
        f"{asked.upstream} gave something for {asked} that cannot be delivered: {problem}",
        detail={"upstream": asked.upstream, "problem": problem},
    )


def refuse_encoded(upstream: str, headers: Headers) -> None:
    """Raises OciError 502 for a Content-Encoding: we asked for none, and unpacking is how bombs go off."""
    encoding = get(headers, "content-encoding")
    if encoding and encoding.strip().lower() != "identity":
        raise OciError(
            502,
            Code.UNKNOWN,
            f"{upstream} sent an encoded body ({encoding[:32]}) although none was asked for: nothing is delivered",
        )


def refused(upstream: str, reason: str) -> OciError:
    """Return the 502 for a redirect or realm that is not followed."""
    return OciError(
        502,
        Code.UNKNOWN,
        f"{upstream} answered with {reason}: not followed; "
        "if this is a registry of your own, see allow_private_addresses and realm_hosts",
        detail={"upstream": upstream},
    )
