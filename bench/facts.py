"""The machine and the versions: what a number without them is worth nothing."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

__all__ = ["Facts", "collect", "format_facts"]

Facts = dict[str, str]


def collect() -> Facts:
    memory_kib = int(_search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text()) or 0)
    model = _search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": f"{os.cpu_count()} x {model or '?'}",
        "memory": f"{memory_kib / 1024 / 1024:.1f} GiB",
        "load": " ".join(f"{value:.2f}" for value in os.getloadavg()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libraries": ", ".join(f"{name} {metadata.version(name)}" for name in _requirements("hubferry")),
        "hubferry": f"{metadata.version('hubferry')} at {_commit()}",
        "nginx": _search(r"nginx/(\S+)", _output("nginx", "-v")) or "?",
        "docker-registry": _search(r" v?(\d\S+)", _output("docker-registry", "--version")) or "?",
        "skopeo": _search(r"version (\S+)", _output("skopeo", "--version")) or "?",
        "wrk": _search(r"wrk (\S+)", _output("wrk", "-v")) or "?",
    }


def format_facts(known: Facts) -> str:
    width = max(map(len, known))
    return "\n".join(f"{name:{width}}  {value}" for name, value in known.items())


def _requirements(name: str) -> list[str]:
    """What the package needs itself, without extras."""
    needed = [line for line in metadata.requires(name) or () if "extra ==" not in line]
    return [re.split(r"[^\w.-]", line)[0] for line in needed]


def _commit() -> str:
    here = str(Path(__file__).parent)
    commit = _output("git", "-C", here, "rev-parse", "--short", "HEAD").strip()
    changed = _output("git", "-C", here, "status", "--porcelain", "--untracked-files=no", ":/src").strip()
    return commit + (" with changes" if changed else "")


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def _search(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found[1].strip() if found else None
