"""What hubferry keeps on disk: content as files named by digest, and an index that may be lost.

content         the `ContentStore` port: blobs/sha256/ab/abcd...
blobs           finished blobs, opened once for all readers; opens partial files
  page_reads    reads that need no waiting for a disk
partial         a partial file, its sidecar and its lock
index           the `BlobIndex` port on SQLite, with recent answers in memory
  schema        the tables, and how the file is opened
  right_rows    who may have what is kept
  tidy          removes rows that mean nothing any more
  withdrawals   a number by which other processes notice that a right was withdrawn
ledger          the account of bytes, and what must go to make room
housekeeping    a thread that compares the ledger with the disk
catalogue       what is kept, as people know it
verify, checks  hash what is kept, and put aside what is damaged
mark            how a file shows that it was verified
layout          where everything is
private         no other user of the machine may reach it
"""
