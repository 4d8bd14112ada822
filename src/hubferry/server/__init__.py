"""The server shell: sockets, ASGI, logs, metrics, sealing of tokens, and the composition root.

run        uvicorn: listening sockets, worker processes, signals
compose    settings -> application; the only module that knows every part
protocol   one connection of a client, with limits on what the client may send and leave unread
clients    all connections: how many each address has, and which clients take too little
recent     answers of a moment ago, sent again for the same request
app        ASGI: one request in, one answer out
bodies     sends a body at the client's pace
file_send  sends parts of files without reading them
body_memory  memory for large bodies, and the queue for it
keep_warm  fills the cache with chosen images, beside the requests
seal       tokens as JWE
key        the file with the key that seals tokens
log        access log and events
metrics    counters for Prometheus
"""
