// The HTTP server in front of a Worker: a request becomes a `Request`, a `Response` is sent at the client's pace.
//
// A body that breaks cuts the connection, so that nobody takes a part for the whole; a client that leaves cancels the
// body and so gives up the upstream's. Headers go out as the Worker gave them; one of several values is one line, but
// for Set-Cookie.

import { once } from "node:events";
import { createServer } from "node:http";
import { Readable } from "node:stream";

// As Cloudflare: 128 kB of request headers. Idle connections are kept longer than the clients of the tests wait.
const LIMITS = { maxHeaderSize: 128 * 1024, keepAliveTimeout: 75_000 };

export async function listen(handler, port) {
  const server = createServer(LIMITS, (incoming, outgoing) => serve(handler, incoming, outgoing));
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return server.address().port;
}

async function serve(handler, incoming, outgoing) {
  let request;
  try {
    request = toRequest(incoming);
  } catch {
    refuse(outgoing, 400, "Bad Request");
    return;
  }
  let response;
  try {
    response = await handler(request);
  } catch (error) {
    console.error("the Worker threw:", error.message ?? error);
    refuse(outgoing, 500, "Worker threw exception");
    return;
  }
  try {
    await send(response, incoming, outgoing);
  } catch (error) {
    if (!outgoing.closed) console.error("the body broke:", String(error?.cause ?? error));
    cut(incoming);
  }
}

function refuse(outgoing, status, text) {
  outgoing.writeHead(status, { "Content-Type": "text/plain", "Content-Length": text.length }).end(text);
}

function toRequest(incoming) {
  const { host } = incoming.headers;
  if (!host || !incoming.url.startsWith("/")) throw new TypeError("neither a host nor a path");
  const headers = new Headers();
  for (let at = 0; at < incoming.rawHeaders.length; at += 2) {
    headers.append(incoming.rawHeaders[at], incoming.rawHeaders[at + 1]);
  }
  headers.set("CF-Connecting-IP", incoming.socket.remoteAddress);
  const hasBody = !["GET", "HEAD"].includes(incoming.method);
  return new Request(`http://${host}${incoming.url}`, {
    method: incoming.method,
    headers,
    redirect: "manual",
    ...(hasBody ? { body: Readable.toWeb(incoming), duplex: "half" } : {}),
  });
}

async function send(response, incoming, outgoing) {
  const headers = [...response.headers].flat();
  if (response.body === null && !response.headers.has("content-length") && mayHaveBody(incoming, response)) {
    headers.push("content-length", "0");
  }
  outgoing.writeHead(response.status, response.statusText || undefined, headers);
  if (incoming.method === "HEAD" || response.body === null) {
    outgoing.end();
    await response.body?.cancel();
    return;
  }
  const reader = response.body.getReader();
  const leave = () => reader.cancel().catch(() => {});
  if (outgoing.closed || outgoing.destroyed) return leave();
  outgoing.on("close", leave);
  outgoing.flushHeaders();
  const declared = response.headers.get("content-length");
  let sent = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (outgoing.destroyed) return undefined;
    if (done) break;
    sent += value.byteLength;
    if (!outgoing.write(value)) await Promise.race([once(outgoing, "drain"), once(outgoing, "close")]);
  }
  if (declared !== null && sent !== Number(declared)) throw new Error(`${sent} bytes of ${declared}`);
  outgoing.off("close", leave);
  outgoing.end();
  return undefined;
}

function mayHaveBody(incoming, response) {
  return incoming.method !== "HEAD" && ![204, 304].includes(response.status);
}

function cut(incoming) {
  // A client of HTTP/1.0 takes a closed connection for the end of the body.
  if (incoming.httpVersion === "1.0") incoming.socket.resetAndDestroy();
  else incoming.socket.destroy();
}
