"""Fills: blobs that are being downloaded, each with one writer and many readers.

What is indented is used by what stands above it:

fills.LocalFills   every fill of this process: the `Fills` port, which is all that pull uses
  slots            how many fills run at once, and whose turn it is to write
  services         what all fills share
  fill.Fill        one blob, led by this process or followed
    lead           the leader: continues a partial file or begins one, checks the digest, commits
    opened         the partial file as this fill has it open
    parallel/      one connection, or several where one is slow (see there)
      source       one range as an unbroken stream
    writer         writes and hashes on threads
    progress       what readers may read
    reader         readers of the growing file
  segment          one range of a blob
  bounds           sizes, and how hard a fill tries
"""
