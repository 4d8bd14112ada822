"""The HTTP client behind the `Transport` port.

client      exchanges, and connections that are kept for reuse
connect     opens a connection: name, addresses or proxy, TLS
addresses   resolves a name into addresses that may be dialled
dial        dials several addresses, and keeps the connection that is made first
tunnel      has a proxy forward a connection to a host behind it
wire        a socket, plain or under TLS, read on demand
http1       one exchange on a connection
failures    limits in time, and failures in words for users
"""
