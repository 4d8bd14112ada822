"""A stand-in for an OpenID Connect issuer: its discovery document, its keys, and tokens that it signs."""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from joserfc import jwt
from joserfc.jwk import RSAKey

__all__ = ["AUDIENCE", "StandInIssuer", "unsigned"]

AUDIENCE = "https://hub.example.com"
ALGORITHMS = ["RS256", "HS256"]


class StandInIssuer:
    """Serves on loopback while its context lasts; `asked` are the paths of all requests."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})
        self.published: list[dict[str, Any]] = [dict(self.key.as_dict(private=False))]
        self.asked: list[str] = []
        self.status = 200
        self.delay_s = 0.0
        self.named = ""  # in the discovery document, in place of its own URL
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                time.sleep(issuer.delay_s)
                body = json.dumps(issuer.document(self.path)).encode()
                self.send_response(issuer.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def document(self, path: str) -> dict[str, Any]:
        if path == "/keys":
            return {"keys": self.published}
        return {"issuer": self.named or self.url, "jwks_uri": f"{self.url}/keys"}

    def claims(self, **others: Any) -> dict[str, Any]:
        """Claims that are accepted, unless `others` say something else; None leaves one out."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": "repo:o/app", "owner": "o", "iat": now, "exp": now + 300}
        return {name: value for name, value in {**claims, **others}.items() if value is not None}

    def token(self, key: Any = None, header: dict[str, Any] | None = None, **others: Any) -> str:
        """A token that this issuer signed; or with another key, under another header."""
        head = {"alg": "RS256", "kid": "first", **(header or {})}
        return str(jwt.encode(head, self.claims(**others), key or self.key, algorithms=ALGORITHMS))


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: str = "eA") -> str:
    """A token that nobody signed."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)]
    return ".".join([*parts, signature])
