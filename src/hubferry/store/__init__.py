"""What hubferry keeps on disk: content as files named by digest, and an index that may be lost.

content   the `ContentStore` port: blobs/sha256/ab/abcd...
index     the `Index` port on SQLite, behind a memory of what was asked lately
"""
