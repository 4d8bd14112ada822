"""One writer, many readers: blobs being downloaded and everybody who wants them.

fills.Fills      every fill of this process; the only thing that pull uses
  fill.Fill      one blob: leads or follows
    lead         continues what is there or begins, checks, commits
    connections  one connection, or several where one is slow
      crew       what several do together
      segments   which range is fetched next
      links      what is known of the ways to upstreams
      intake     where the bytes of all of them go
      source     one range as an unbroken stream
    writer       hash and write on a thread
      places     whose turn it is
    progress     what readers may read
    reader       readers of the growing file
  parts          what is needed of upstream and disk
"""
