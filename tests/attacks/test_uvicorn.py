"""What hubferry builds upon in uvicorn, and is no part of its interface."""

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hubferry.core.values import ConfigError
from hubferry.server.protocol import check_server


def test_a_uvicorn_without_the_hook_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    check_server()
    monkeypatch.delattr(HttpToolsProtocol, "_start_asgi_task")
    with pytest.raises(ConfigError, match=r"uvicorn: .* 0\.45"):
        check_server()
