"""A SOCKS5 proxy that leads every name to one port on loopback, and notes who was asked for, and by whom.

RFC 1928, CONNECT only, with user name and password (RFC 1929) when `login` is given.
"""

import socket
import struct

from tests.support.proxy import ConnectProxy

__all__ = ["SocksProxy"]

NAME, IPV4 = 3, 1
PASSWORD = 2


class SocksProxy(ConnectProxy):
    """`asked` lists `name:port` as the client sent them; addresses are noted as such."""

    scheme = "socks5"

    def greet(self, client: socket.socket) -> bool:
        """The negotiation of SOCKS5; True when the client may be led on."""
        _version, count = _exactly(client, 2)
        methods = _exactly(client, count)
        if self._login and PASSWORD not in methods:
            client.sendall(b"\5\xff")
            return False
        if self._login:
            client.sendall(b"\5\2")
            _version, length = _exactly(client, 2)
            user = _exactly(client, length).decode()
            password = _exactly(client, _exactly(client, 1)[0]).decode()
            self.authorizations.append(f"{user}:{password}")
            fine = (user, password) == self._login
            client.sendall(b"\1\0" if fine else b"\1\1")
            if not fine:
                return False
        else:
            client.sendall(b"\5\0")
        _version, _command, _reserved, kind = _exactly(client, 4)
        host = (
            _exactly(client, _exactly(client, 1)[0]).decode() if kind == NAME else socket.inet_ntoa(_exactly(client, 4))
        )
        (port,) = struct.unpack("!H", _exactly(client, 2))
        self.asked.append(f"{host}:{port}")
        client.sendall(b"\5\0\0\1\0\0\0\0\0\0")
        return True


def _exactly(client: socket.socket, size_bytes: int) -> bytes:
    """So many bytes. Raises ConnectionError when the client has left before, as a gateway does that ends."""
    data = b""
    while len(data) < size_bytes:
        more = client.recv(size_bytes - len(data))
        if not more:
            raise ConnectionError("the client has left")
        data += more
    return data
