// The Worker's Python, loaded once and called as Cloudflare's runtime does: an instance of the entry point's class for
// each request, made with a context and the variables, and `fetch` with the SDK's Request.

import { loadPyodide } from "pyodide";

import { MemoryCaches } from "./cache.mjs";

const COMPATIBILITY_FLAGS = {
  python_workers: true,
  python_request_headers_preserve_commas: true,
  python_workflows_implicit_dependencies: true,
};

class ExecutionContext {
  get [Symbol.toStringTag]() {
    return "ExecutionContext";
  }

  waitUntil(promise) {
    Promise.resolve(promise).catch((error) => console.error("waitUntil:", error));
  }

  passThroughOnException() {}
}

const patched = new WeakSet();

// What Python passes is borrowed for the call only: it is kept until it is settled.
function patchWaitUntil(ctx) {
  if (patched.has(ctx)) return;
  patched.add(ctx);
  const waitUntil = ctx.waitUntil.bind(ctx);
  ctx.waitUntil = (promise) => {
    const kept = promise?.copy?.() ?? promise;
    waitUntil((async () => {
      try {
        await kept;
      } finally {
        kept?.destroy?.();
      }
    })());
  };
}

const CALL = `
import sys
from workers import python_from_rpc, python_to_rpc

def deploy():
    """Import the bundle anew, as a new isolate would."""
    global entry
    for name in [name for name in sys.modules if name.partition(".")[0] in ("entry", "hubferry")]:
        del sys.modules[name]
    import entry

async def call(ctx, env, request):
    answer = await entry.Default(ctx, env).fetch(python_from_rpc(request))
    return python_to_rpc(answer)

deploy, call
`;

// `answer` is the Worker; `deploy` puts another in its place, with other variables and an empty cache.
export async function loadWorker({ bundle, packages }) {
  let variables = {};
  const write = (stream) => (line) => stream.write(`${line}\n`);
  const pyodide = await loadPyodide({ stdout: write(process.stdout), stderr: write(process.stderr) });
  for (const [folder, at] of [[packages, "/packages"], [bundle, "/bundle"]]) {
    pyodide.FS.mkdir(at);
    pyodide.mountNodeFS(at, folder);
    pyodide.runPython(`import sys; sys.path.insert(0, "${at}")`);
  }
  pyodide.registerJsModule("_cloudflare_compat_flags", COMPATIBILITY_FLAGS);
  pyodide.registerJsModule("_pyodide_entrypoint_helper", {
    doAnImport: (name) => import(name),
    cloudflareWorkersModule: { get env() { return variables; } },
    cloudflareSocketsModule: {},
    patchWaitUntil,
  });
  const [deployPython, call] = pyodide.runPython(CALL);
  return {
    answer: (request) => call(new ExecutionContext(), variables, request),
    // A data centre drops what takes the most room.
    evict: () => globalThis.caches.default.evict(64 * 1024),
    deploy(vars) {
      variables = vars;
      globalThis.caches = new MemoryCaches();
      deployPython();
    },
  };
}
