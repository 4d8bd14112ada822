"""Who is an operator: may see what the gateway does, and change what it keeps (`pages.operators`).

A network counts for a request that really comes from it (core.client.comes_from). A user or a group counts for whoever
is logged in; a browser is asked for a login only where that can help. For everybody else there is no such page.
"""

from collections.abc import Sequence

from hubferry.core.access_values import Operators as OperatorNames
from hubferry.core.client import Network, comes_from
from hubferry.core.errors import Code, OciError
from hubferry.core.http import Request
from hubferry.core.rules import Requester, Who, who_of
from hubferry.gateway.visitors import Visitors
from hubferry.ports.shell import Visit


class Operators:
    """The operators of one gateway."""

    def __init__(self, names: OperatorNames, trusted: Sequence[Network], visitors: Visitors) -> None:
        """`trusted` are the networks of proxies that say for which client they ask."""
        self._who = who_of(names.who) or Who()
        self._has_named = bool(names.named)
        self._trusted = trusted
        self._visitors = visitors

    def includes(self, request: Request, arrived: Request) -> bool:
        """Return whether an operator sent a request, as far as no password has to be checked to know that.

        `arrived` is the request as it came in, before the headers of trusted proxies were applied.
        """
        if comes_from(arrived, self._trusted, self._who.networks):
            return True
        requester = self._visitors.recognized(request) if self._has_named else None
        return requester is not None and self._is_named(requester)

    async def identify(self, request: Request, arrived: Request, visit: Visit) -> str:
        """Return the name of the operator who sent a request: the user's, or the address.

        Raises OciError: 404 for anybody else, 401 for whoever may become one by a login, and what a login raises.
        """
        if self.includes(request, arrived):
            known = self._visitors.recognized(request)
            return request.peer if known is None or known.user is None else known.user.name
        if self._has_named:
            visitor = await self._visitors.identify(request, visit)
            requester = visitor.caller.requester
            if requester.user is None:
                raise self._visitors.login_needed(visitor)
            if self._is_named(requester):
                return requester.user.name
        raise OciError(404, Code.NAME_UNKNOWN, f"nothing is at {request.path[:512]}: see /")

    def _is_named(self, requester: Requester) -> bool:
        return requester.user is not None and self._who.has(Requester("", requester.user))
