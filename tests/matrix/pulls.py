"""One pull by a fresh client, or by `hubferry warm`, and what came of it in a few words."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from tests.matrix.rows import TAG
from tests.support.clients import ClientError
from tests.support.gateway import Gateway
from tests.support.preloaded import run_hubferry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.matrix.conftest import Market
    from tests.matrix.rows import Goods, Row

__all__ = ["pull_afresh", "warm"]


def pull_afresh(row: Row, market: Market, gateway: Gateway, goods: Goods, state: Path) -> str | None:
    """A fresh client pulls; None if it got everything, from the gateway alone, otherwise what went wrong."""
    market.enclosure.forget()
    before = len(gateway.log_records())
    try:
        with row.start(state, market.around(gateway)) as client:
            problem = row.missing(client.pull(row.reference(gateway, goods)), goods)
    except ClientError as error:
        problem = str(error).strip().splitlines()[-1]
    finally:
        shutil.rmtree(state, ignore_errors=True)
    if escaped := market.enclosure.escaped:
        return f"it asked {escaped[0]}" + (f"; {problem}" if problem else "")
    asked = {line.get("repository") for line in gateway.log_records()[before:]}
    return problem if row.repository(goods) in asked else "the gateway was not asked"


def warm(gateway: Gateway, goods: Goods, platform: str) -> None:
    """`hubferry warm` beside the running gateway; ClientError when something of it is not kept."""
    images = [f"docker.io/{kind}/{goods.name}:{TAG}" for kind in ("library", "charts")]
    arguments: tuple[str | Path, ...] = ("warm", *images, "--platform", platform, "--config", gateway.config_file)
    done = run_hubferry(*arguments, env={"PATH": os.environ["PATH"], "HOME": str(gateway.state)})
    if done.returncode != 0:
        raise ClientError(f"warm {platform}: ended with {done.returncode}\n{done.stdout}{done.stderr}")
