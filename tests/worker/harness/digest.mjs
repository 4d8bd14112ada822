// What is Cloudflare's of streams. crypto.DigestStream: what is written to it is hashed, and `digest` tells the result.
// ReadableStreamBYOBReader.readAtLeast: a read that waits until the buffer holds so much, or the stream has ended.

import { createHash } from "node:crypto";

const ALGORITHMS = { "MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512" };

export class DigestStream extends WritableStream {
  constructor(algorithm) {
    const name = String(algorithm?.name ?? algorithm).toUpperCase();
    if (!(name in ALGORITHMS)) throw new DOMException(`unknown digest ${name}`, "NotSupportedError");
    const hash = createHash(ALGORITHMS[name]);
    let settle;
    const digest = new Promise((resolve, reject) => (settle = { resolve, reject }));
    digest.catch(() => {}); // who aborts the stream need not look at it
    let written = 0n;
    super({
      write(chunk) {
        const bytes = ArrayBuffer.isView(chunk)
          ? new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
          : chunk instanceof ArrayBuffer
            ? new Uint8Array(chunk)
            : typeof chunk === "string"
              ? new TextEncoder().encode(chunk)
              : null;
        if (bytes === null) {
          const error = new TypeError("DigestStream takes buffers and strings only");
          settle.reject(error);
          throw error;
        }
        hash.update(bytes);
        written += BigInt(bytes.byteLength);
      },
      close() {
        settle.resolve(new Uint8Array(hash.digest()).buffer);
      },
      abort(reason) {
        settle.reject(reason ?? new Error("the stream was aborted"));
      },
    });
    this.digest = digest;
    Object.defineProperty(this, "bytesWritten", { get: () => written });
  }
}

async function readAtLeast(least, view) {
  let { buffer } = view;
  const size = view.byteLength;
  let got = 0;
  while (got < least) {
    const { done, value } = await this.read(new Uint8Array(buffer, got, size - got));
    if (value) buffer = value.buffer;
    if (done) return { done: got === 0, value: new Uint8Array(buffer, 0, got) };
    got += value.byteLength;
  }
  return { done: false, value: new Uint8Array(buffer, 0, got) };
}

// Older runtimes are without it.
if (!process.env.NODE_WITHOUT_READ_AT_LEAST) ReadableStreamBYOBReader.prototype.readAtLeast = readAtLeast;
