"""Pure policy: what to ask upstreams, what to believe of their answers, and what to answer clients.

The modules here use the standard library only. They contain no async code and no I/O, and read neither clock nor
environment nor log, so that the same decisions run in the server and in the Worker. A test (tests/architecture) reads
the imports and enforces that.
"""
