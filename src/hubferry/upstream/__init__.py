"""The HTTP client behind the `Upstream` port.

client      exchanges, and connections kept for reuse
connect     a new connection: name, addresses or proxy, TLS
addresses   names -> addresses that may be dialled
dial        several addresses -> the connection that is made first
tunnel      a connection to a proxy -> one to a host behind it
wire        a socket, plain or under TLS, read on demand
http1       one exchange on a connection
failures    limits in time, and what went wrong in words
"""
