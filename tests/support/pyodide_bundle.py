"""The Python of Cloudflare's runtime, packed out of the npm package pyodide: for machines that cannot fetch it.

`python -m tests.support.pyodide_bundle FOLDER` packs the package that the Worker's harness on Node has.

Since workerd keeps its own part of Pyodide within its program, what it fetches is Pyodide's distribution: the glue in
JavaScript, the WebAssembly and the standard library. The glue has to take a few functions from workerd in the place of
the browser's. What is packed here is a development bundle: workerd checks no checksum of it, and takes it only with the
flags COMPATIBILITY_FLAGS.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

__all__ = ["COMPATIBILITY_FLAGS", "is_in", "pack"]

PYODIDE = Path(__file__).resolve().parents[1] / "worker" / "harness" / "node_modules" / "pyodide"
COMPATIBILITY_FLAGS = ("python_workers_development", "experimental")
NAME = "pyodide_dev.capnp.bin"
IMPORTS = "addEventListener,getRandomValues,location,monotonicDateNow,newWasmModule,wasmInstantiate"
REPLACED = {  # in the glue of Pyodide: what is there, and what has to be there
    "export default _createPyodideModule;": "export {_createPyodideModule};",
    "new WebAssembly.Module(": "newWasmModule(",
    "WebAssembly.instantiate(": "wasmInstantiate(",
    "Date.now": "monotonicDateNow",
    "view=>crypto.getRandomValues(view)": "view=>getRandomValues(Module,view)",
    "alignMemory(getMemory(": "alignMemory(Module.getMemoryPatched(Module,libName,",
}
INTERNAL = 2  # Module.type, in workerd's modules.capnp
SOURCE, WASM, DATA = range(3)  # which of a Module's contents it is
WORD = 8
MODULE_POINTERS = 3  # name, content, declarations in TypeScript
MODULE_WORDS = 1 + MODULE_POINTERS
STRUCT, LIST = range(2)  # kinds of Cap'n Proto's pointers, and of lists
LIST_OF_BYTES, LIST_OF_STRUCTS = 2, 7


def pack(pyodide: Path, folder: Path) -> Path:
    """Write the bundle of that npm package into that folder, under the name that workerd looks for."""
    modules = [
        ("pyodide.asm", SOURCE, _glue((pyodide / "pyodide.asm.mjs").read_text(encoding="utf-8")).encode()),
        ("pyodide.asm.wasm", WASM, (pyodide / "pyodide.asm.wasm").read_bytes()),
        ("python_stdlib.zip", DATA, (pyodide / "python_stdlib.zip").read_bytes()),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    bundle = folder / NAME
    bundle.write_bytes(
        _message([(f"pyodideRuntime-internal:{name}", kind, content) for name, kind, content in modules])
    )
    return bundle


def is_in(folder: Path) -> bool:
    """Whether there is a development bundle in that folder."""
    return (folder / NAME).exists()


def _glue(text: str) -> str:
    for old, new in REPLACED.items():
        if old not in text:
            raise AssertionError(f"the glue of this Pyodide has no {old!r}: it has to be taken apart anew")
        text = text.replace(old, new)
    return f'import {{{IMPORTS}}} from "pyodide-internal:builtin_wrappers";\n{text}'


def _message(modules: list[tuple[str, int, bytes]]) -> bytes:
    """The Cap'n Proto message of a Bundle: a list of Modules, and behind it what they consist of."""
    first = 3  # words before it: the pointer to the Bundle, its pointer to the list, and the list's tag
    end = first + len(modules) * MODULE_WORDS
    structs: list[bytes] = []
    contents: list[bytes] = []
    for number, (name, kind, content) in enumerate(modules):
        structs.append(struct.pack("<HHI", INTERNAL, kind, 0))
        pointer = first + number * MODULE_WORDS + 1
        for place, value in enumerate((name.encode() + b"\0", content)):
            distance = end - (pointer + place) - 1
            structs.append(struct.pack("<II", distance << 2 | LIST, len(value) << 3 | LIST_OF_BYTES))
            contents.append(value + bytes(-len(value) % WORD))
            end += len(contents[-1]) // WORD
        structs.append(bytes(WORD))  # no declarations
    head = struct.pack("<II", STRUCT, 1 << 16)  # a struct of one pointer, right behind
    head += struct.pack("<II", LIST, len(modules) * MODULE_WORDS << 3 | LIST_OF_STRUCTS)
    head += struct.pack("<II", len(modules) << 2, MODULE_POINTERS << 16 | 1)
    return struct.pack("<II", 0, end) + head + b"".join(structs) + b"".join(contents)


if __name__ == "__main__":
    print(pack(PYODIDE, Path(sys.argv[1])))
