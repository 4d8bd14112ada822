"""The use cases: a manifest, a blob or a list for a caller, from what is kept or from its upstream.

    pull         the use cases of one configuration: what gateway/, the command line and warming call
    results      what is asked and answered: values without a Request or an Answer
    build        puts the parts together
      manifests, blobs, lists      from what is kept, as far as that may answer
      edge_blobs                   blobs from a cache that is never read (the Worker's)
      streamed                     all three when nothing is kept
        bodies     bodies of blobs; what a disk cannot give comes from the upstream
        referrers  what refers to a digest, by lists and by the tags in their place
        proofs     asks an upstream once for all who ask the same, and notes what its answer proves
        rights     who may have what is kept of a repository
        absences   404s of the last seconds, by caller
      prefetch     the layers of an image that a client begins to pull
      companions   what else is kept with an image, so that any client can pull it next
      warm         an image, all of it, into the cache

Nothing here knows HTTP requests and answers (gateway/), nor how an upstream is asked (remote/).
"""
