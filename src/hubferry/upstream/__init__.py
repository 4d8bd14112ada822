"""The HTTP client behind the `Upstream` port, and what is read through it on the server.

client      one pooled pyreqwest client per (upstream, origin, checked address)
addresses   names -> addresses that may be dialled
manifests   reads and checks manifests
"""
