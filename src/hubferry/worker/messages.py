"""JavaScript's `Request` and `Response` and the core's, one into the other.

Raw objects of the runtime: the SDK's own wrappers lose headers that come twice. Bodies of blobs are handed on as the
runtime's streams, and `None` becomes `null`.
"""

from collections.abc import Mapping
from typing import Any

import js
from pyodide.ffi import to_js

from hubferry.core.http import Headers, Request, get

BODILESS = frozenset({204, 205, 304})  # the Fetch standard: a Response of such a status takes no body
PEER = "cf-connecting-ip"  # set by Cloudflare on every request, whatever the client says


def read_request(request: Any) -> Request:
    """The client's request, without a body."""
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
    """The pairs of a `Headers`, names in lower case; the runtime joins what was sent several times with commas."""
    return tuple([(name, value) for name, value in js.Array.from_(headers).to_py()])


def js_response(method: str, status: int, headers: Headers, body: Any) -> Any:
    """A `Response`. `body` is bytes, a stream of the runtime, or None; a HEAD's is left out, its length stays."""
    if method == "HEAD" or status in BODILESS:
        body = None
    if get(headers, "cache-control") is None:
        headers = (*headers, ("cache-control", "no-transform"))  # a body that the platform compresses has no length
    init = js_object({"status": status, "headers": headers})
    return js.Response.new(to_js(body) if isinstance(body, bytes) else body, init)


def js_object(fields: Mapping[str, object]) -> Any:
    """A plain object, at one crossing of the border; sequences become arrays, and pairs of headers stay pairs."""
    return to_js(fields, dict_converter=js.Object.fromEntries)
