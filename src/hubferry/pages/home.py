"""The home page: texts rewritten for this gateway, and what to type so that a client uses it."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass

from hubferry.core.gateway_names import GatewayNames
from hubferry.core.http import MAX_FORM_BYTES
from hubferry.core.rewrite import Rewritten, rewrite
from hubferry.gateway.answer import Answer
from hubferry.gateway.visitors import Visitors
from hubferry.pages.guides import SECRET, guides
from hubferry.pages.page import PageRequest
from hubferry.pages.places import Places
from hubferry.ports.shell import Visit

SHORT = 512  # characters, which take some 10 ms if every third one begins another name
MAX_SHOWN = 20  # of the images of a text that are linked, and of the names that are left


@dataclass(frozen=True)
class Registry:
    """A registry that can be pulled from here. `has_problem`: it cannot be reached at the moment."""

    name: str
    has_problem: bool


class HomePage:
    """The home page of one gateway, which differs by the host name that it is asked for at."""

    def __init__(self, places: Places, visitors: Visitors, is_down: Callable[[str], bool]) -> None:
        """`is_down` says of an upstream that it cannot be reached at the moment."""
        self._visitors = visitors
        self._places = places
        self._is_down = is_down
        self._long_texts = asyncio.Lock()

    async def show(self, asked: PageRequest, visit: Visit) -> Answer:
        """Return the page, with the text of its form rewritten if there is one. Raises OciError 404, and 429."""
        gateway = self._places.at(asked.request)
        text = asked.parameters.get("text", "").replace("\r\n", "\n")
        result = None
        if text.strip():
            self._visitors.admit(asked.request, visit, is_costly=len(text) > SHORT)
            result = await self._rewritten(text, gateway.names)
        served = gateway.names.serves()
        return asked.page(
            "home.html",
            gateway=gateway,
            guides=guides(gateway),
            secret=SECRET,
            text=text,
            max_text=MAX_FORM_BYTES // 2,
            max_shown=MAX_SHOWN,
            result=result,
            commands=_commands(text.strip(), result),
            registries=[Registry(name, self._is_down(name)) for name in served],
            only=gateway.names.host.is_exclusive and len(served) == 1,
            home=gateway.names.home,
        )

    async def _rewritten(self, text: str, names: GatewayNames) -> Rewritten:
        """Return a text with the names of this gateway; long ones one after the other, beside the event loop."""
        if len(text) <= SHORT or sys.platform == "emscripten":  # in the Worker there are no threads
            return rewrite(text, names)
        async with self._long_texts:
            return await asyncio.to_thread(rewrite, text, names)


def _commands(text: str, result: Rewritten | None) -> list[str]:
    """Return how to pull an image and to give it its usual name, when all of the text is one name; else nothing."""
    if result is None or result.count != 1 or len(text.split()) != 1:
        return []
    here = result.text.strip()
    return [f"docker pull {here}", "" if "@" in text else f"docker tag {here} {text}"]
