"""The client of upstream registries. It knows no client and no cache, only whether a caller has something else.

    manifests, blobs, lists, search   what is asked of an upstream, and whether its answer is what was asked for
      fetch          one request: which base (upstream or mirror), whom to ask as well, when again
        base         asks one base: as whom, and what its limits say of that
          exchanges  drives core.exchange against one base, with one credential
            tokens   tokens of upstreams: kept while they live, renewed once for all waiters
          limits     429s, quotas and refused accounts, for everybody who asks
    target           which repository of which upstream, and on whose behalf
    refusals         the errors that clients are given for what upstreams did
    single_flight    what several want at the same moment: done once for all, or by each
    parsing          where documents of others are parsed: large ones beside the event loop

Bodies of blobs are opaque here.
"""
