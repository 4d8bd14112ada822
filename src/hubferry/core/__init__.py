"""Pure policy: what to ask, whom to believe, what to answer.

Standard library only; no async, I/O, clock, environment or logging, so that the same decisions run in the
server and in the Worker. A test reads the imports and enforces it.
"""
