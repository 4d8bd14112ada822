"""Clients that stop reading, or read in drops: whatever way the bytes take, they are cut and leave nothing behind."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest

from tests.attacks.strangers import Memory, any_certificate, pour, strangers, wait_answered, wait_cut
from tests.faults.conftest import REPOSITORY, Stage, config, open_stage
from tests.faults.kept import is_whole, wait_event, wait_kept
from tests.support import faults
from tests.support.content import MIB, Blob
from tests.support.gateway import Gateway
from tests.support.http import Stream, fetch, open_stream
from tests.support.hub import Hub
from tests.support.processes import free_port, tcp_answers
from tests.support.tls import Authority
from tests.support.waiting import wait_until

READERS = 30
TLS_READERS = 40
LIMITS = {"write_timeout": "2s", "min_client_rate": "64KiB"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Most of what it serves is kept: `big` has 32 MiB, more than the buffers of a connection take."""
    with Hub() as hub, open_stage(tmp_path_factory.mktemp("unread"), hub, {}, server=LIMITS) as stage:
        stage.big = Blob.generated(32 * MIB, 41)
        hub.add_blob(REPOSITORY, stage.big)
        assert is_whole(fetch(stage.big_url), stage.big)
        wait_kept(stage.folder, stage.big)
        yield stage


def wait_nobody_left(gateway: Gateway) -> None:
    """Wait until no client's connection is open, and no file of the cache that was read for one."""
    process = psutil.Process(gateway.pid)

    def is_left() -> bool:
        sockets = [one for one in process.net_connections("tcp") if one.laddr.port == gateway.port and one.raddr]
        files = [one for one in process.open_files() if "/blobs/" in one.path or "/partial/" in one.path]
        return bool(sockets or files)

    wait_until(lambda: not is_left(), "the end of every connection", 30)


def read_together(streams: list[Stream], size_bytes: int) -> None:
    """Read so much of each, a piece of each in turn: none is idle for long, however busy the machine is."""
    while streams := [stream for stream in streams if stream.received < size_bytes]:
        for stream in streams:
            assert stream.read(), f"{stream.ended} after {stream.received} bytes"


def check_why_cut(gateway: Gateway) -> None:
    """The log says of each that it took nothing; or too little, of one that took some at first."""
    wait_event(gateway, "request", outcome="gone")
    gone = [line for line in gateway.log_records() if line.get("outcome") == "gone"]
    for line in gone:
        assert line["status"] == 499
        assert line["problem"].endswith(
            (
                "took nothing for 2 s (server.write_timeout)",
                "took nothing for 6 s (server.write_timeout)",
                "took less than 65536 bytes a second (server.min_client_rate)",
            )
        )


def test_a_kept_blob_is_not_read(stage: Stage) -> None:
    """By way of sendfile."""
    memory = Memory(stage.gateway)
    with strangers(stage.gateway.url, READERS) as sockets:
        pour(sockets, b"GET /v2/app/blobs/%b HTTP/1.1\r\nHost: a\r\n\r\n" % stage.big.digest.encode())
        wait_answered(sockets)
        growth = memory.peak_mib(0.2)
        wait_cut(sockets)
    assert growth < 20, f"+{growth:.0f} MiB"
    wait_nobody_left(stage.gateway)
    check_why_cut(stage.gateway)
    assert is_whole(fetch(stage.big_url), stage.big)


def test_a_blob_under_way_is_no_longer_read(stage: Stage) -> None:
    """Whoever reads fast is handed the pieces from memory, and then stops."""
    blobs = [Blob.generated(48 * MIB, 50 + number) for number in range(4)]
    for blob in blobs:
        stage.hub.add_blob(REPOSITORY, blob)
    stage.hub.script(faults.throttle(64 * MIB), role="cdn", times=len(blobs))
    memory = Memory(stage.gateway)
    with ExitStack() as stack:
        streams: list[Stream] = []
        for blob in blobs:
            streams += [stack.enter_context(open_stream(stage.blob_url(blob))) for _ in range(READERS // 4)]
        read_together(streams, 12 * MIB)
        growth = memory.peak_mib(0.5)
        wait_cut([stream._connection for stream in streams])
        for blob in blobs:
            wait_kept(stage.folder, blob)
    assert growth < 100, f"+{growth:.0f} MiB"
    stage.hub.clear()
    wait_nobody_left(stage.gateway)
    assert all(is_whole(fetch(stage.blob_url(blob)), blob) for blob in blobs)


def test_what_is_encrypted_is_not_read(stage: Stage, authority: Authority) -> None:
    """With TLS every byte goes through memory, twice."""
    certificate = authority.issue()
    settings = config(stage.folder.parent, stage.hub)
    tls = {"tls_cert": str(certificate.cert_file), "tls_key": str(certificate.key_file)}
    settings["server"] = {**LIMITS, **tls, "write_timeout": "6s"}  # to read a lot on all of them takes a while
    port = free_port()
    state = stage.folder.parent / "encrypted"
    with Gateway.start(state, settings, port=port, scheme="https", wait=False) as gateway:
        wait_until(lambda: tcp_answers(port), "a listener")
        context = authority.client_context()
        url = f"{gateway.url}/v2/app/blobs/{stage.big.digest}"
        assert is_whole(fetch(url, context=context), stage.big)
        memory = Memory(gateway)
        with ExitStack() as stack:
            quick = [stack.enter_context(open_stream(url, context=context)) for _ in range(TLS_READERS)]
            read_together(quick[::2], 10 * MIB)  # and so get large pieces
            growth = memory.peak_mib(0.5)
            wait_cut([stream._connection for stream in quick])
            assert growth < 60, f"+{growth:.0f} MiB"
        wait_nobody_left(gateway)
        check_why_cut(gateway)
        assert is_whole(fetch(url, context=context), stage.big)


def test_a_handshake_that_came_with_the_connection_is_not_lost(stage: Stage, authority: Authority) -> None:
    """What comes before TLS was begun belongs to it: every client of many at once gets its answer."""
    certificate = authority.issue()
    settings = config(stage.folder.parent, stage.hub)
    settings["server"] = {"tls_cert": str(certificate.cert_file), "tls_key": str(certificate.key_file)}
    with Gateway.start(stage.folder.parent / "tls", settings, scheme="https", wait=False) as gateway:
        wait_until(lambda: tcp_answers(gateway.port), "a listener")
        context = any_certificate()
        with strangers(gateway.url, 40) as sockets:
            clients = [Handshake(one, context) for one in sockets]
            request = b"GET /v2/app/manifests/latest HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            for client in clients:
                client.start()
            answers = [client.finish(request) for client in clients]
        assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
        with strangers(gateway.url, 1) as (plain,):
            plain.sendall(b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_cut([plain])


class Handshake:
    """One TLS client whose first bytes are sent before anything is waited for."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        self._plain = plain
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out)

    def start(self) -> None:
        with pytest.raises(ssl.SSLWantReadError):
            self._tls.do_handshake()
        self._plain.sendall(self._out.read())

    def finish(self, request: bytes) -> bytes:
        """Send the request with the end of the handshake; the beginning of the answer."""
        self._plain.settimeout(30)
        while True:
            self._in.write(self._plain.recv(65536))
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                continue
            break
        self._tls.write(request)
        self._plain.sendall(self._out.read())
        while True:
            try:
                return self._tls.read(1024)
            except ssl.SSLWantReadError:
                self._in.write(self._plain.recv(65536))


def test_who_reads_in_drops_is_cut_and_who_is_merely_slow_is_not(stage: Stage) -> None:
    options = {"receive_buffer": 64 * 1024, "timeout_s": 60}
    with (
        open_stream(stage.big_url, **options) as slow,  # type: ignore[arg-type]
        open_stream(stage.big_url, **options) as dripping,  # type: ignore[arg-type]
    ):
        begun = time.monotonic()
        while slow.ended is None:
            slow.read(128 * 1024)
            time.sleep(0.02)  # what makes the client slow
            dripping.read(1)
        assert slow.ended == "complete", "some MB a second are enough"
        assert time.monotonic() - begun > 4, "long enough to be measured"
        wait_cut([dripping._connection])
    problem = "the client took less than 65536 bytes a second (server.min_client_rate)"
    wait_event(stage.gateway, "request", outcome="gone", status=499, problem=problem)


def test_who_leaves_half_the_connection_has_left(stage: Stage) -> None:
    """A client that says that it sends nothing more is one that hangs up: none does so and goes on reading."""
    with strangers(stage.gateway.url, READERS) as sockets:
        pour(sockets, b"GET /v2/app/blobs/%b HTTP/1.1\r\nHost: a\r\n\r\n" % stage.big.digest.encode())
        wait_answered(sockets)
        for one in sockets:
            one.shutdown(socket.SHUT_WR)
        wait_nobody_left(stage.gateway)
