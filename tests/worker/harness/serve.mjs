// The Worker behind an HTTP server, on Node and without Cloudflare: for the tests and the bench.
//
//   node serve.mjs --bundle DIR --packages DIR --vars FILE.json [--port N]     the Worker, in Pyodide
//   node serve.mjs --passthrough URL [--port N]                                 JavaScript only: the bench's yardstick
//
// It prints one line of JSON when it listens and ends with 0 on SIGTERM. On SIGHUP it reads the variables again, deploys
// the Worker anew with them and prints another line (starting anew takes 2.5 s). On SIGUSR2 its cache drops what is large.
//
// What differs from Cloudflare: no limits of CPU time and memory, no data centre; undici's fetch adds headers of its own
// (accept, accept-language, sec-fetch-mode, user-agent), decompresses what it did not ask for in so many words, gives up
// connecting after 10 s and a silent upstream after 300 s, keeps idle connections for 4 s, and fails on response heads
// of more than 16 KiB. A Response made from a text has no Content-Length unless the Worker sets it.

import { webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { DigestStream } from "./digest.mjs";
import { listen } from "./front.mjs";
import { startPassthrough } from "./passthrough.mjs";

const started = performance.now();
const { values: options } = parseArgs({
  options: {
    bundle: { type: "string" },
    packages: { type: "string" },
    passthrough: { type: "string" },
    port: { type: "string", default: "0" },
    vars: { type: "string" },
  },
});

// As on Cloudflare, a promise that nobody looks at is logged and ends nothing.
process.on("unhandledRejection", (error) => console.error("unhandled rejection:", error));
process.on("SIGTERM", () => process.exit(0));

globalThis.crypto ??= webcrypto; // Node 18, which is Debian 12's
Object.defineProperty(crypto, "DigestStream", { value: DigestStream });

const handler = options.passthrough ? startPassthrough(options.passthrough) : await startWorker();
const port = await listen(handler, Number(options.port));
console.log(JSON.stringify({ event: "ready", port, start_s: (performance.now() - started) / 1000 }));

async function startWorker() {
  const { loadWorker } = await import("./worker.mjs");
  const worker = await loadWorker({ bundle: options.bundle, packages: options.packages });
  const deploy = () => worker.deploy(JSON.parse(readFileSync(options.vars, "utf8")));
  process.on("SIGHUP", () => {
    deploy();
    console.log(JSON.stringify({ event: "deployed" }));
  });
  process.on("SIGUSR2", () => {
    worker.evict();
    console.log(JSON.stringify({ event: "evicted" }));
  });
  deploy();
  return worker.answer;
}
