"""The HTTP client behind the `Upstream` port.

client      connections: made, checked, kept for reuse
http1       one exchange on a connection
wire        a socket, plain or under TLS, read on demand
addresses   names -> addresses that may be dialled
"""
