"""What users, rules and limits cost, and what they keep: hubferry against itself without any of them.

The guarded one has users, a thousand rules that all have to be looked at, and every limit, none of which is reached.
Goals: 0.9 of the tag rate and 0.95 of the warm blob rate of `login = "open"`; kept manifests under 50 ms (p99) while
200 people log in at once; ten clients behind a limit of 100 MB/s get between 8 and 12 each.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import bcrypt

from bench.blobs import write_blob
from bench.contestants import Contestant, blob_server, hubferry_config, registry_server
from bench.load import BadAnswer, Connection
from bench.meters import median
from bench.parts.stream import Transfer, measure_transfer, middle_of
from bench.requests import pace_of_gets, pace_of_heads
from bench.run import MIB
from bench.table import Goal, Table
from bench.upstream_log import UpstreamLog
from tests.support.gateway import Gateway
from tests.support.http import fetch
from tests.support.images import OCI_MANIFEST, build_image
from tests.support.registry_client import basic
from tests.support.users import UserBook

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.run import Run

__all__ = ["measure"]

CONNECTIONS = 32
RULES = 1000
REPOSITORY = "bench/image"
PATH = f"/v2/{REPOSITORY}/manifests/latest"
LOGINS = 200
COST = 10
CLIENTS = 10
LIMIT_MB_PER_S = 100
MOST = {"requests": "1000000/s", "downloads": 10_000, "rate": "1000GB/s", "bytes_per_day": "1000TB"}
ALL_LIMITS = {**MOST, "total_rate": "1000GB/s", "upstream_rate": "1000GB/s"}


@dataclass(frozen=True)
class Guarded:
    """A gateway with users, and what opens it."""

    contestant: Contestant
    bearer: str
    prefix: str


def measure(run: Run) -> Sequence[Table]:
    image = build_image("bench")
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(registry_server(run.state("registry"), REPOSITORY, "latest", image))
        url = f"http://127.0.0.1:{origin.port}"
        free = stack.enter_context(_open(run, url))
        guarded = stack.enter_context(_guarded(run, url))
        tables = [_tags(run, free, guarded, method) for method in ("HEAD", "GET")]
        tables.append(_storm(run, guarded))
    with contextlib.ExitStack() as stack:
        root = run.state("root")
        log = UpstreamLog(run.state("upstream") / "asked.log")
        origin = stack.enter_context(blob_server(run.state("upstream"), root, log.path))
        url = f"http://127.0.0.1:{origin.port}"
        blob = write_blob(root, run.blob_bytes)
        free = stack.enter_context(_open(run, url))
        guarded = stack.enter_context(_guarded(run, url))
        tables.append(_blobs(run, free, guarded, blob.path))
        tables.append(_shares(run, stack, url, blob.path))
    return tables


@contextlib.contextmanager
def _open(run: Run, url: str) -> Iterator[Contestant]:
    state = run.state("open")
    with Gateway.start(state, hubferry_config(state, url)) as gateway:
        yield Contestant('login = "open"', gateway.port, gateway.process)


@contextlib.contextmanager
def _guarded(run: Run, url: str, limits: dict[str, Any] = ALL_LIMITS) -> Iterator[Guarded]:
    state = run.state("guarded")
    book = UserBook(state)
    hashes = [bcrypt.hashpw(b"password %d" % number, bcrypt.gensalt(COST)).decode() for number in range(LOGINS)]
    book.users_file.write_text("".join(f"user{number}:{hashed}\n" for number, hashed in enumerate(hashes)))
    book.users_file.chmod(0o600)
    token, secret = book.token("user0"), book.mirror("client")
    rules = [
        {"who": [f"user:somebody{number}"], "what": [f"*/team{number}/**"], "allow": False} for number in range(RULES)
    ]
    config = hubferry_config(state, url)
    config["access"] = book.access
    config["limits"] = limits
    with Gateway.start(state, config, env={"HUBFERRY_ACCESS__RULES": json.dumps(rules)}) as gateway:
        url = f"{gateway.url}/token?service=x&scope=repository:{REPOSITORY}:pull"
        answer = fetch(url, headers=[basic("x", token)])
        contestant = Contestant(f"users, {RULES} rules, all limits", gateway.port, gateway.process)
        yield Guarded(contestant, str(answer.json()["token"]), f"/{secret}")


def _tags(run: Run, free: Contestant, guarded: Guarded, method: str) -> Table:
    rates: dict[str, list[float]] = {free.name: [], guarded.contestant.name: []}
    headers = {"Accept": OCI_MANIFEST}
    both = ((free, headers), (guarded.contestant, headers | {"Authorization": f"Bearer {guarded.bearer}"}))
    for number in range(run.rounds + 1):
        for contestant, sent in both:
            seconds = 1 if run.quick or not number else 2
            if method == "HEAD":
                pace = pace_of_heads(contestant, PATH, sent, connections=CONNECTIONS, seconds=seconds)
            else:
                pace = pace_of_gets(contestant, PATH, sent, connections=CONNECTIONS, seconds=seconds, folder=run.folder)
            if number:  # the first round warms up
                rates[contestant.name].append(pace.per_second)
    middles = {name: median(found) for name, found in rates.items()}
    ratio = middles[guarded.contestant.name] / middles[free.name]
    return Table(
        title=f"guarded: {method} of a kept tag, {CONNECTIONS} connections, median of {run.rounds}",
        columns=("contestant", "per second", f"x {free.name}"),
        rows=[(name, f"{rate:,.0f}", f"{rate / middles[free.name]:.2f}") for name, rate in middles.items()],
        goals=[Goal("at least 0.9 of the rate without", f"{ratio:.2f}", ratio >= 0.9)],
        samples=rates,
    )


def _blobs(run: Run, free: Contestant, guarded: Guarded, path: str) -> Table:
    rounds: dict[str, list[Transfer]] = {free.name: [], guarded.contestant.name: []}
    for number in range(run.rounds + 1):
        for contestant, of in ((free, path), (guarded.contestant, guarded.prefix + path)):
            found = measure_transfer(contestant, of, run.blob_bytes, 1, reads=True)
            if number:  # the first round fetches it
                rounds[contestant.name].append(found)
    middles = {name: middle_of(found) for name, found in rounds.items()}
    base, ours = middles[free.name], middles[guarded.contestant.name]
    ratio = ours.gb_per_s / base.gb_per_s
    return Table(
        title=f"guarded: {run.blob_bytes // MIB} MiB from the cache, 1 client, median of {run.rounds}",
        columns=("contestant", "GB/s", f"x {free.name}", "CPU s/GB"),
        rows=[
            (name, f"{one.gb_per_s:.2f}", f"{one.gb_per_s / base.gb_per_s:.2f}", f"{one.cpu_s_per_gb:.2f}")
            for name, one in middles.items()
        ],
        goals=[Goal("at least 0.95 of the rate without", f"{ratio:.2f}", ratio >= 0.95)],
        samples={name: [(one.gb_per_s, one.cpu_s_per_gb) for one in found] for name, found in rounds.items()},
    )


def _storm(run: Run, guarded: Guarded) -> Table:
    """Everybody logs in at once, while others pull what is kept."""
    contestant = guarded.contestant
    headers = {"Accept": OCI_MANIFEST, "Authorization": f"Bearer {guarded.bearer}"}
    count = LOGINS // 10 if run.quick else LOGINS
    url = f"http://127.0.0.1:{contestant.port}/token?service=x&scope=repository:{REPOSITORY}:pull"

    def log_in(number: int) -> int:
        return fetch(url, headers=[basic(f"user{number}", f"password {number}")]).status

    before = pace_of_heads(contestant, PATH, headers, connections=4, seconds=2)
    began_s = time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        logins = [pool.submit(log_in, number) for number in range(count)]
        during = pace_of_heads(contestant, PATH, headers, connections=4, seconds=2)
        statuses = {login.result() for login in logins}
    took_s = time.monotonic() - began_s
    if statuses != {200}:
        raise BadAnswer(f"{contestant.name}: logins were answered {statuses}")
    return Table(
        title=f"guarded: kept manifests while {count} people log in at once (bcrypt, cost {COST})",
        columns=("when", "per second", "p99 ms"),
        rows=[
            ("before", f"{before.per_second:,.0f}", f"{before.p99_ms:.1f}"),
            ("meanwhile", f"{during.per_second:,.0f}", f"{during.p99_ms:.1f}"),
        ],
        goals=[Goal("p99 under 50 ms meanwhile", f"{during.p99_ms:.1f} ms", during.p99_ms < 50)],
        notes=[f"all of them were logged in after {took_s:.1f} s"],
    )


def _shares(run: Run, stack: contextlib.ExitStack, url: str, path: str) -> Table:
    """Ten clients, one of them with eight connections, behind a limit for all of them."""
    state = run.state("shares")
    book = UserBook(state)
    book.add("somebody", "password")
    secrets = [book.mirror(f"client{number}") for number in range(CLIENTS)]
    config = hubferry_config(state, url)
    config |= {"access": book.access, "limits": {"total_rate": f"{LIMIT_MB_PER_S}MB/s"}}
    gateway = stack.enter_context(Gateway.start(state, config))
    contestant = Contestant("shares", gateway.port, gateway.process)
    seconds = 2.0 if run.quick else 5.0
    had = [0] * CLIENTS
    until_s = time.monotonic() + seconds

    def pull(number: int) -> None:
        while time.monotonic() < until_s:
            with Connection(contestant) as connection:
                head = connection.get(f"/{secrets[number]}{path}")
                for piece in connection.pieces(head):
                    had[number] += len(piece)
                    if time.monotonic() >= until_s:
                        return

    threads = [threading.Thread(target=pull, args=(number,)) for number in [*range(CLIENTS), *[0] * 7]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rates = [count / seconds / 1e6 for count in had]
    return Table(
        title=f"guarded: {CLIENTS} clients behind {LIMIT_MB_PER_S} MB/s for all, one of them with eight connections",
        columns=("client", "MB/s"),
        rows=[(f"{number}", f"{rate:.1f}") for number, rate in enumerate(rates)],
        goals=[
            Goal("each between 8 and 12", f"{min(rates):.1f} to {max(rates):.1f}", min(rates) >= 8 and max(rates) <= 12)
        ],
    )
