// The least a Worker can do: fetch the same path from one upstream and hand its answer on.

export function startPassthrough(upstream) {
  const base = upstream.replace(/\/$/, "");
  return async (request) => {
    const { pathname, search } = new URL(request.url);
    const headers = new Headers(request.headers);
    for (const name of ["host", "connection"]) headers.delete(name);
    headers.set("accept-encoding", "identity");
    const answer = await fetch(base + pathname + search, { method: request.method, headers, redirect: "manual" });
    return new Response(answer.body, { status: answer.status, headers: answer.headers });
  };
}
