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
        _version, count = client.recv(2)
        methods = client.recv(count)
        if self._login and PASSWORD not in methods:
            client.sendall(b"\5\xff")
            return False
        if self._login:
            client.sendall(b"\5\2")
            _version, length = client.recv(2)
            user = client.recv(length).decode()
            password = client.recv(client.recv(1)[0]).decode()
            self.authorizations.append(f"{user}:{password}")
            fine = (user, password) == self._login
            client.sendall(b"\1\0" if fine else b"\1\1")
            if not fine:
                return False
        else:
            client.sendall(b"\5\0")
        _version, _command, _reserved, kind = client.recv(4)
        host = client.recv(client.recv(1)[0]).decode() if kind == NAME else socket.inet_ntoa(client.recv(4))
        (port,) = struct.unpack("!H", client.recv(2))
        self.asked.append(f"{host}:{port}")
        client.sendall(b"\5\0\0\1\0\0\0\0\0\0")
        return True
