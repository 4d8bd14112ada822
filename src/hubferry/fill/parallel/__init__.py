"""Fetch a blob over several connections to its upstream, where that is faster than over one.

connections  fetches a blob over one connection, over several, and over one again
  crew       the connections while there are several: who fetches what, and whether they are worth it
    relief   which connections are too slow, so that others fetch their ranges
  segments   which ranges are done, being fetched, free
  intake     passes the pieces of all connections to the writer
  links      what was learnt about each upstream, and how many connections each client has there
"""
