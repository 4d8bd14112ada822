"""The registry that clients see: HTTP requests in, HTTP answers out.

build        the gateway of one configuration, for every shell
  gateway    a request -> an answer: what a shell calls
    request    a request, resolved once: endpoint, host, route
    callers    whose right counts for a request
      login      the token endpoint, and who a request comes from
      attempts   wrong passwords are not relayed without end
    responses  results as answers: status, headers, conditions, ranges, pages
      answer     what a shell sends, and what it writes into the access log
"""
