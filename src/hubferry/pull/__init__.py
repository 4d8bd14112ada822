"""The one async orchestrator: it sequences what core decides and speaks to the world through ports.

    gateway.Gateway          a request -> an answer; the only name that shells use
      login.Login            the token endpoint, and who a request comes from
      kept_manifests         manifests from what is kept, as far as that may answer
      kept_blobs             blobs from what is kept or on its way; kept_bodies are their bodies
      cached_blobs           blobs from the cache of a shell that never reads them
      proofs                 asks once for all who ask the same, and notes what the answer proves
      manifests              manifests from the upstream
        rights               who may have what is kept
      streamed_blobs         blobs from the upstream, when nothing is kept
      kept_lists             tag lists and referrers from what is kept; lists asks the upstream
        referrers            lists of what refers to a digest, and the tags in their place
        fetch.Fetcher        one request: which base, when to ask again
          one_base           asks one base: as whom
          limits             429s, quotas and refused accounts, for everybody who asks
          exchanges          drives core.exchange against one base
            upstream_tokens  tokens of upstreams: cached, renewed once for all waiters
    prefetch                 the layers of an image that a client begins to pull
    companions               what else is kept with an image, so that any client can pull it next
    warm                     an image, all of it, into the cache
    flights                  what several want at the same moment: once for all, or by each

Bodies are opaque to all of these. Beside them:

    checked_manifests        the `ManifestReader` port over any upstream, for the shells to choose
    system_clock             the `Clock` port, likewise
"""

from hubferry.pull.answer import Answer, Trail
from hubferry.pull.gateway import Gateway, Keep, PassingKeep

__all__ = ["Answer", "Gateway", "Keep", "PassingKeep", "Trail"]
