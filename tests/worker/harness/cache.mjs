// Cloudflare's Cache API in memory, as https://developers.cloudflare.com/workers/runtime-apis/cache/ describes it.
//
// Kept are answers to GET, by URL, for as long as their own headers say. Refused with an error: another method, 206,
// `Vary: *`. Left out in silence, as there: what its headers forbid to keep, `Set-Cookie`, more than 512 MB. `match`
// knows Range and conditional requests. Not here: data centres, tags, named caches' separate limits.

const LARGEST = 512 * 1000 * 1000;
// What comes of a kept body at a time, unless its reader brings a buffer of its own.
const PIECE = 4 * 1024;
// what an answer that says nothing of its age is kept for, by status
const DEFAULT_TTL_S = { 200: 7200, 301: 7200, 302: 1200, 303: 1200, 404: 180, 410: 180 };

export class MemoryCaches {
  #named = new Map();
  default = new MemoryCache();

  async open(name) {
    if (!this.#named.has(name)) this.#named.set(name, new MemoryCache());
    return this.#named.get(name);
  }
}

class MemoryCache {
  #entries = new Map();

  async put(key, response) {
    const request = new Request(key);
    if (request.method !== "GET") throw new TypeError("Cannot cache response to non-GET request.");
    if (response.status === 206) throw new TypeError("Cannot cache response to a range request (206 Partial Content).");
    const headers = new Headers(response.headers);
    const varied = (headers.get("vary") ?? "").split(",").map((name) => name.trim());
    if (varied.includes("*")) throw new TypeError("Cannot cache response with 'Vary: *' header.");
    if (response.bodyUsed) throw new TypeError("Cannot cache a response whose body was used already.");
    const ttlS = lifetime(response.status, headers);
    const body = Buffer.from(await response.arrayBuffer());
    if (ttlS <= 0 || body.length > LARGEST) return;
    for (const name of ["content-length", "transfer-encoding", "connection"]) headers.delete(name);
    const now = Date.now();
    this.#entries.set(request.url, { status: response.status, headers, body, stored: now, ends: now + ttlS * 1000 });
  }

  async match(key, options) {
    const request = new Request(key);
    if (request.method !== "GET" && !options?.ignoreMethod) return undefined;
    const entry = this.#entries.get(request.url);
    if (!entry) return undefined;
    if (Date.now() >= entry.ends) {
      this.#entries.delete(request.url);
      return undefined;
    }
    return answerFrom(entry, request);
  }

  // What a data centre may do at any time: drop the entries of more than so many bytes.
  evict(bytes) {
    for (const [key, entry] of this.#entries) if (entry.body.length > bytes) this.#entries.delete(key);
  }

  async delete(key, options) {
    const request = new Request(key);
    if (request.method !== "GET" && !options?.ignoreMethod) return false;
    return this.#entries.delete(request.url);
  }
}

function lifetime(status, headers) {
  if (headers.has("set-cookie")) return 0;
  const said = new Map();
  for (const part of (headers.get("cache-control") ?? "").split(",")) {
    const [name, value = ""] = part.split("=");
    said.set(name.trim().toLowerCase(), value.trim().replaceAll('"', ""));
  }
  if (["no-store", "no-cache", "private"].some((name) => said.has(name))) return 0;
  for (const name of ["s-maxage", "max-age"]) {
    if (said.has(name)) return Number.parseInt(said.get(name), 10) || 0;
  }
  if (headers.has("expires")) return (Date.parse(headers.get("expires")) - Date.now()) / 1000 || 0;
  return DEFAULT_TTL_S[status] ?? 0;
}

function answerFrom(entry, request) {
  const headers = new Headers(entry.headers);
  headers.set("age", String(Math.floor((Date.now() - entry.stored) / 1000)));
  headers.set("cf-cache-status", "HIT");
  if (isUnchanged(headers, request)) return new Response(null, { status: 304, headers });
  const range = entry.status === 200 && /^bytes=(\d*)-(\d*)$/.exec(request.headers.get("range") ?? "");
  if (!range || (range[1] === "" && range[2] === "")) return whole(entry, headers);
  const size = entry.body.length;
  const first = range[1] === "" ? Math.max(size - Number(range[2]), 0) : Number(range[1]);
  const last = range[1] === "" || range[2] === "" ? size - 1 : Math.min(Number(range[2]), size - 1);
  if (first >= size || last < first) {
    headers.set("content-range", `bytes */${size}`);
    return new Response(null, { status: 416, headers });
  }
  headers.set("content-range", `bytes ${first}-${last}/${size}`);
  headers.set("content-length", String(last - first + 1));
  return new Response(streamOf(entry.body.subarray(first, last + 1)), { status: 206, headers });
}

function whole(entry, headers) {
  headers.set("content-length", String(entry.body.length));
  const empty = [204, 304].includes(entry.status);
  return new Response(empty ? null : streamOf(entry.body), { status: entry.status, headers });
}

function isUnchanged(headers, request) {
  const wanted = request.headers.get("if-none-match");
  if (wanted !== null) {
    const tags = wanted.split(",").map((tag) => tag.trim().replace(/^W\//, ""));
    return tags.includes("*") || tags.includes((headers.get("etag") ?? "none").replace(/^W\//, ""));
  }
  const since = Date.parse(request.headers.get("if-modified-since") ?? "");
  return Date.parse(headers.get("last-modified") ?? "") <= since;
}

// The kept bytes in pieces, without a copy of the whole for each reader.
function streamOf(bytes) {
  let at = 0;
  return new ReadableStream({
    type: "bytes",
    autoAllocateChunkSize: PIECE,
    pull(controller) {
      const { view } = controller.byobRequest;
      const piece = bytes.subarray(at, at + view.byteLength);
      new Uint8Array(view.buffer, view.byteOffset, view.byteLength).set(piece);
      at += piece.length;
      if (piece.length === 0) controller.close();
      controller.byobRequest.respond(piece.length);
    },
  });
}
