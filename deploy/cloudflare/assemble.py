#!/usr/bin/env python3
"""Puts together what is deployed: the entry point and the parts of hubferry that run in a Worker.

wrangler runs it before every deployment (`build` in wrangler.jsonc). Standard library only, any Python from 3.11 on.
"""

import argparse
import shutil
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent.parent / "src" / "hubferry"
PARTS = ("__init__.py", "clock.py", "ports", "core", "remote", "pull", "gateway", "pages", "worker")
ENTRY = '"""Made by assemble.py."""\n\nfrom hubferry.worker.entry import Default\n\n__all__ = ["Default"]\n'


def assemble(bundle: Path) -> None:
    """Make the folder anew."""
    if bundle.exists():
        shutil.rmtree(bundle)
    package = bundle / "hubferry"
    package.mkdir(parents=True)
    (bundle / "entry.py").write_text(ENTRY, encoding="utf-8")
    for name in PARTS:
        part = SOURCE / name
        if part.is_dir():
            shutil.copytree(part, package / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(part, package / name)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=HERE / "bundle", help="folder, made anew (default: %(default)s)")
    assemble(parser.parse_args().to)


if __name__ == "__main__":
    main()
