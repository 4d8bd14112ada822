"""Coverage-guided fuzzing, in a process of its own: `python -m tests.fuzz.hunt TARGET [options of libFuzzer]`.

    parsers   every parser of tests/properties/foreign.py
    app       the whole application, from an ASGI request to what an upstream on loopback answers

A finding ends the process with a traceback and leaves the input in a file `crash-...`, which is given as an option to
see it again: an exception that no caller expects, an answer 500, more than a second, or something that stays.
atheris measures which lines an input reaches and makes new inputs of those that reached new ones.
"""

import importlib
import sys
import tempfile
from pathlib import Path

import atheris

TARGETS = ("parsers", "app")


def main() -> None:
    """Fuzz until libFuzzer's options say that it is enough."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz.hunt {'|'.join(TARGETS)} [options of libFuzzer]")
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["hubferry"]):
        target = importlib.import_module(f"tests.fuzz.{name}")  # what it imports is instrumented only here
    with tempfile.TemporaryDirectory(prefix="hubferry-corpus-") as corpus:
        for number, seed in enumerate(target.seeds()):
            (Path(corpus) / f"{number:04d}").write_bytes(seed)
        is_repeated = any(Path(option).is_file() for option in sys.argv[1:])
        atheris.Setup(sys.argv if is_repeated else [*sys.argv, corpus], target.run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
