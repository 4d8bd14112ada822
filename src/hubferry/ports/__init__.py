"""What the packages in the middle (remote/, pull/, gateway/) need from the outside world, as Protocols.

Each shell (server/, worker/) supplies the implementations, the server with store/, fill/ and transport/. Also here: the
values and exceptions that cross these Protocols.

    upstream   requests to upstreams, their answers and failures
    index      what tags mean, which repository holds what, who may have it
    content    what is kept: manifests, lists, blobs
    fills      blobs under way
    partials   the files of blobs under way
    shell      clock, log, counters, sealed tokens

Bodies are opaque to the code in the middle: it passes them on and closes them, because on the Worker their bytes
never enter Python.
"""
