"""Runs the parts one after the other, prints their tables, writes them to bench/results/."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from bench import facts
from bench.load import BadAnswer
from bench.parts import PARTS
from bench.results import save
from bench.run import Run, touch_memory
from bench.table import Table, format_table
from tests.support.gateway import begun_as_by_users
from tests.support.processes import StartError

COPIES = 4  # of a blob, at once: the upstream's, and one with each of three caches
PROGRAMS = ("nginx", "docker-registry", "wrk", "skopeo")


def main() -> int:
    options = parse_arguments()
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        print(f"not installed: {', '.join(missing)} (scripts/install-debian installs them)", file=sys.stderr)
        return 2
    known = facts.collect()
    print(facts.format_facts(known), flush=True)
    tables: list[Table] = []
    failed: list[str] = []
    for name in options.parts or PARTS:
        # a folder for each part: what one kept is gone before the next begins
        with tempfile.TemporaryDirectory(prefix="hubferry-bench-") as folder:
            run = Run(Path(folder), rounds=options.rounds or (2 if options.quick else 5), quick=options.quick)
            touch_memory(run.folder, COPIES * run.blob_bytes)
            try:
                found = PARTS[name](run)
            except (StartError, BadAnswer) as error:
                print(f"\n{name}: {error}", flush=True)
                failed.append(name)
                continue
            for table in found:
                print("\n" + format_table(table), flush=True)
            tables += found
    print(f"\nwritten: {save(known, tables, quick=options.quick)}")
    if failed:
        print(f"not measured: {', '.join(failed)}")
    return 1 if failed else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; none: all of them")
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds: does it work at all")
    parser.add_argument("--rounds", type=int, help="rounds of the parts that alternate (5, with --quick 2)")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return options


if __name__ == "__main__":
    with begun_as_by_users():
        sys.exit(main())
