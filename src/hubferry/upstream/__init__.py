"""The HTTP client behind the `Upstream` port, and what is read through it on the server.

client      connections: made, checked, kept for reuse
http1       one exchange on a connection
wire        a socket, plain or under TLS, read on demand
addresses   names -> addresses that may be dialled
manifests   reads and checks manifests
"""
