"""The home page: texts rewritten for this gateway, and what to type so that a client uses it."""

from collections.abc import Callable
from dataclasses import dataclass

from hubferry.core.client import public_base
from hubferry.core.errors import OciError
from hubferry.core.gateway_names import GatewayNames, address_of
from hubferry.core.http import MAX_FORM_BYTES, Request
from hubferry.core.rewrite import Rewritten, rewrite
from hubferry.core.routing import RoutingTable, resolve_host
from hubferry.gateway.answer import Answer
from hubferry.pages.guides import SECRET, Gateway, guides
from hubferry.pages.page import PageRequest

MAX_SHOWN = 20  # of the images of a text that are linked, and of the names that are left


@dataclass(frozen=True)
class Registry:
    """A registry that can be pulled from here. `has_problem`: it cannot be reached at the moment."""

    name: str
    has_problem: bool


class HomePage:
    """The home page of one gateway, which differs by the host name that it is asked for at."""

    def __init__(
        self, table: RoutingTable, public_url: str, *, has_users: bool, is_down: Callable[[str], bool]
    ) -> None:
        """`is_down` says of an upstream that it cannot be reached at the moment."""
        self._table = table
        self._public_url = public_url
        self._has_users = has_users
        self._is_down = is_down

    def gateway(self, request: Request) -> Gateway:
        """Return the gateway as this visitor reached it. Raises OciError 404 for a host name that is not its own."""
        host = resolve_host(request.host, self._table)
        base_url = public_base(request, self._public_url, host_is_listed=host.upstream is not None)
        return Gateway(base_url, GatewayNames(self._table, host, address_of(base_url)), self._has_users)

    def show(self, asked: PageRequest) -> Answer:
        """Return the page, with the text of its form rewritten if there is one."""
        try:
            gateway = self.gateway(asked.request)
        except OciError as error:
            return asked.problem(error.status, error.message)
        text = asked.parameters.get("text", "").replace("\r\n", "\n")
        result = rewrite(text, gateway.names) if text.strip() else None
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


def _commands(text: str, result: Rewritten | None) -> list[str]:
    """Return how to pull an image and to give it its usual name, when all of the text is one name; else nothing."""
    if result is None or result.count != 1 or len(text.split()) != 1:
        return []
    here = result.text.strip()
    return [f"docker pull {here}", f"docker tag {here} {text}"] if "@" not in text else [f"docker pull {here}", ""]
