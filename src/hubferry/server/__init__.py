"""The server shell: ASGI, pages, logs, sealing, and the composition root.

compose   settings -> application; the only place that knows every part
app       ASGI: one request in, one answer out
bodies    sends a body at the pace of its reader, and stops when it leaves
file_send sends parts of files without reading them
protocol  HTTP with bounds on what a client may send
pages     home page, robots.txt, health
seal      tokens as JWE
log       access log and events
run       uvicorn: listening, worker processes, signals
"""
