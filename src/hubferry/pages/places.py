"""How a visitor reached the gateway: under which name, and so what can be pulled and what it is called there."""

from hubferry.core.client import public_base
from hubferry.core.errors import Code, OciError
from hubferry.core.gateway_names import GatewayNames, address_of
from hubferry.core.http import Request
from hubferry.core.routing import RoutingTable, is_own_name, resolve_host
from hubferry.pages.guides import Gateway


class Places:
    """The places under which one gateway is reached: its own host names, and those of its upstreams."""

    def __init__(self, table: RoutingTable, public_url: str, *, has_users: bool) -> None:
        self._table = table
        self._public_url = public_url
        self._has_users = has_users

    def check_own_name(self, request: Request) -> None:
        """Raise OciError 403 for a host name that the settings do not name.

        A page of a stranger, whose name leads to the gateway's address, could otherwise read what only its visitor's
        address may see.
        """
        if not is_own_name(request.host, self._table):
            problem = f"the settings do not say that {request.host} is this gateway"
            raise OciError(403, Code.DENIED, f"{problem}: set server.public_url, or open this page by the address")

    def at(self, request: Request) -> Gateway:
        """Return the gateway as this visitor reached it. Raises OciError 404 for a host name that is not its own."""
        host = resolve_host(request.host, self._table)
        base_url = public_base(request, self._public_url, host_is_listed=host.upstream is not None)
        return Gateway(base_url, GatewayNames(self._table, host, address_of(base_url)), self._has_users)
