"""The server shell: ASGI, pages, logs, sealing, and the composition root.

compose   settings -> application; the only place that knows every part
app       ASGI: one request in, one answer out
bodies    sends a body at the pace of its reader, and stops when it leaves
pages     home page, robots.txt, health
seal      tokens as JWE
log       access log and events
run       Granian: listening, worker processes, signals
"""
