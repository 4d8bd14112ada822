"""Convert between JavaScript's `Request` and `Response` and the core's values.

The runtime's raw objects are used, because the SDK's wrappers lose headers that come twice. Bodies of blobs are passed
on as the runtime's streams. `None` becomes `null`.
"""

import json
from collections.abc import Mapping
from typing import Any

import js
from pyodide.ffi import to_js

from hubferry.core.http import Headers, Request, get

BODILESS = frozenset({204, 205, 304})  # by the Fetch standard, a Response with one of these statuses takes no body
PEER = "cf-connecting-ip"  # Cloudflare sets it on every request, and replaces what the client sent


def read_request(request: Any) -> Request:
    """Turn a JavaScript `Request` into the core's, without its body."""
    headers = js_headers(request.headers)
    scheme, _, rest = str(request.url).partition("://")
    authority, slash, target = rest.partition("/")
    path, _, query = target.partition("#")[0].partition("?")
    return Request(
        method=request.method,
        path=slash + path,
        query=query,
        headers=headers,
        scheme=scheme,
        host=authority,
        peer=get(headers, PEER) or "",
    )


def js_headers(headers: Any) -> Headers:
    """Return a JavaScript `Headers` as pairs, names in lower case.

    The runtime joins the values of a header that was sent several times with commas.
    """
    return tuple([(name, value) for name, value in js.Array.from_(headers).to_py()])


def js_response(method: str, status: int, headers: Headers, body: Any) -> Any:
    """Return a JavaScript `Response`.

    `body` is bytes, a stream of the runtime, or None. For a HEAD request it is left out, but `headers` may declare its
    length.
    """
    if method == "HEAD" or status in BODILESS:
        body = None
    if get(headers, "cache-control") is None:
        headers = (*headers, ("cache-control", "no-transform"))  # if the platform compressed the body, it had no length
    init = js_object({"status": status, "headers": headers})
    return js.Response.new(to_js(body) if isinstance(body, bytes) else body, init)


def js_object(fields: Mapping[str, object]) -> Any:
    """Return a plain JavaScript object. Sequences become arrays, so pairs of headers stay pairs.

    The values must be texts, numbers and booleans, or sequences of them, because they are passed as one JSON text. That
    takes a fifth of the time of a conversion value by value.
    """
    return js.JSON.parse(json.dumps(fields))
