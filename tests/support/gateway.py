"""The real hubferry: `hubferry serve --config FILE` as a child process on a free port.

Nothing of src/ is imported: tests see what a user sees. Not here: requests (http.py), clients (clients.py).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tests.support.preloaded import HUBFERRY, PreloadedProcess
from tests.support.processes import Process, free_port, url_answers
from tests.support.shell import RunningShell
from tests.support.toml import format_toml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["HUBFERRY", "Gateway", "begun_as_by_users", "upstream"]


def upstream(url: str, **settings: Any) -> dict[str, Any]:
    """The table of an upstream on loopback; `settings` are further keys of the contract."""
    return {"url": url, "allow_private_addresses": True, **settings}


@contextlib.contextmanager
def begun_as_by_users() -> Iterator[None]:
    """Meanwhile gateways begin as a user begins them, and not as forks (preloaded.py)."""
    before, Gateway.is_forked = Gateway.is_forked, False
    try:
        yield
    finally:
        Gateway.is_forked = before


class Gateway(RunningShell):
    """A running gateway."""

    NAME = "hubferry"
    is_forked: ClassVar = True

    def __init__(self, process: Process, port: int, state: Path, config_file: Path) -> None:
        super().__init__(process, port, state)
        self.config_file = config_file

    @classmethod
    def start(
        cls,
        state: Path,
        config: str | Mapping[str, Any],
        *,
        env: Mapping[str, str] | None = None,
        args: Sequence[str] = (),
        port: int | None = None,
        listen: Sequence[str] = ("127.0.0.1",),
        scheme: str = "http",
        wait: bool = True,
    ) -> Gateway:
        """Start it with that configuration, in the folder `state`, and wait for `/healthz`.

        A dict gets `server.listen` added; a string is the whole file, where `{port}` stands for the port.
        The environment holds PATH, HOME and `env` only.
        """
        state.mkdir(parents=True, exist_ok=True)
        port = port or free_port()
        config_file = state / "hubferry.toml"
        if isinstance(config, str):
            config_file.write_text(config.replace("{port}", str(port)))
        else:
            addresses = [f"{address}:{port}" for address in listen]
            server = {"listen": addresses if len(addresses) > 1 else addresses[0], **config.get("server", {})}
            config_file.write_text(format_toml({**config, "server": server}))
        kind = PreloadedProcess if Gateway.is_forked else Process
        process = kind(
            [HUBFERRY, "serve", "--config", config_file, *args],
            log=state / "stdout.log",
            stderr_log=state / "stderr.log",
            env={"PATH": os.environ["PATH"], "HOME": str(state), **(env or {})},
            cwd=state,
        )
        gateway = cls(process, port, state, config_file)
        gateway.url = f"{scheme}://{gateway.host}"
        if wait:
            process.wait_ready(lambda: url_answers(gateway.url + "/healthz"), what=gateway.url + "/healthz")
        return gateway
