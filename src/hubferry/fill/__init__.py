"""One writer, many readers: blobs being downloaded and everybody who wants them.

fills.Fills      every fill of this process; the only thing that pull uses
  fill.Fill      one blob: leads or follows, checks, commits
    source       the upstream as an unbroken stream
    writer       hash and write on a thread
    progress     what readers may read
    reader       readers of the growing file
  parts          what is needed of upstream and disk
"""
