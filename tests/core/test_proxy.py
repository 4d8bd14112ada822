"""The proxy setting: what it says, and what is refused."""

import pytest

from hubferry.core.proxy import Proxy, parse_proxy

READ = {
    "http://proxy.test:3128": Proxy("http", "proxy.test", 3128),
    "http://proxy.test:3128/": Proxy("http", "proxy.test", 3128),
    "http://me:secret@10.0.0.1:1": Proxy("http", "10.0.0.1", 1, "me", "secret"),
    "http://me@proxy.test:1": Proxy("http", "proxy.test", 1, "me", ""),
    "http://d%5Cme:p%40ss%3A%2F%25@[::1]:1": Proxy("http", "::1", 1, "d\\me", "p@ss:/%"),
    "http://user:sec@ret@proxy.test:1": Proxy("http", "proxy.test", 1, "user", "sec@ret"),
    "socks5://proxy.test:1080": Proxy("socks5", "proxy.test", 1080),
    "socks5h://me:%C3%A4@proxy.test:1080": Proxy("socks5", "proxy.test", 1080, "me", "\u00e4"),
}
REFUSED = {
    "https://me:hunter2@proxy.test:3128": "not supported: write http://HOST:PORT",
    "https://proxy.test": "not supported: write http://HOST:PORT",
    "http://me:hunter2@proxy.test": "HOST:PORT",
    "http://:1": "HOST:PORT",
    "http://proxy.test:0": "HOST:PORT",
    "http://proxy.test:99999": "HOST:PORT",
    "socks4://proxy.test:1080": "HOST:PORT",
    "proxy.test:1080": "HOST:PORT",
    "http://me:hunter2@proxy.test:1/path": "%2F",
    "http://me:hunter2/more@proxy.test:1": "HOST:PORT",
    "http://m%3Ae:hunter2@proxy.test:1": "colon",
    "socks5://:hunter2@proxy.test:1080": "1 to 255 bytes",
    f"socks5://me:hunter2{'x' * 250}@proxy.test:1080": "1 to 255 bytes",
}


@pytest.mark.parametrize(("url", "proxy"), READ.items(), ids=READ.keys())
def test_a_proxy_is_read(url: str, proxy: Proxy) -> None:
    assert parse_proxy(url) == proxy


@pytest.mark.parametrize(("url", "words"), REFUSED.items(), ids=[str(n) for n in range(len(REFUSED))])
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|colon|bytes") as raised:
        parse_proxy(url)
    assert words in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_proxy_does_not_show_its_credentials() -> None:
    assert "hunter2" not in repr(parse_proxy("http://hunter2:hunter2@proxy.test:1"))
