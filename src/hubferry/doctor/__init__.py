"""Look at what a gateway and its clients depend on: network, upstreams, folder, clock, reverse proxy, clients.

    probe       asks one upstream or gateway with the server's own transport, tokens and exchanges
    pull        a small pull: manifest, config, first layer, with their digests
    upstreams   what a server needs of each upstream       machine    its folder and its clock
    gateway     what a client needs of a gateway           clients    whether docker, containerd, podman ask it

Each check is one function that returns a Finding. It only looks; core.diagnosis, diagnosis_machine, diagnosis_gateway
and client_mirrors judge. Nothing is changed, and every step has the time limits of the settings.
"""
