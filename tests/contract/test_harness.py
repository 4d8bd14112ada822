"""The harness itself: child processes, configuration files, images."""

from __future__ import annotations

import json
import os
import signal
import sys
import tomllib
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.content import digest_of
from tests.support.images import DOCKER, OCI, Flavour, build_artifact, build_image, build_index
from tests.support.processes import Process, StartError, free_port, tcp_answers
from tests.support.toml import format_toml

if TYPE_CHECKING:
    from pathlib import Path

SLEEP = "import time; time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); {SLEEP}"
PARENT = (
    "import subprocess, sys, time; "
    f"subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True); "
    "print('up', flush=True); time.sleep(60)"
)


def start(tmp_path: Path, code: str) -> Process:
    process = Process([sys.executable, "-c", code], log=tmp_path / "log")
    if "up" in code:
        process.wait_ready(lambda: "up" in process.output(), what="its first line")
    return process


def test_a_child_that_ends_early_shows_its_output(tmp_path: Path) -> None:
    process = start(tmp_path, "raise SystemExit('no such luck')")
    with pytest.raises(StartError, match=r"ended with 1[\s\S]*no such luck"):
        process.wait_ready(lambda: False, what="never")


def test_a_child_that_does_not_answer_is_stopped(tmp_path: Path) -> None:
    process = start(tmp_path, SLEEP)
    with pytest.raises(StartError, match="no answer within"):
        process.wait_ready(lambda: False, what="never", timeout_s=0.1)
    assert not process.running


def test_stop_is_sigterm_and_then_sigkill(tmp_path: Path) -> None:
    with start(tmp_path, SLEEP) as polite:
        assert os.getpgid(polite.pid) == polite.pid != os.getpgid(0)
        assert polite.stop() == -signal.SIGTERM
    assert start(tmp_path, STUBBORN).stop(timeout_s=0.2) == -signal.SIGKILL


def test_stop_ends_grandchildren_in_other_sessions_and_tells(tmp_path: Path) -> None:
    process = start(tmp_path, PARENT)
    tree = process.tree()
    assert len(tree) == 2
    process.stop()
    assert process.left_behind == tree[1:]
    assert not psutil.pid_exists(tree[1].pid)


def test_free_ports_are_free_and_differ() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert not any(tcp_answers(port) for port in ports[:5])


def test_toml_is_read_back_as_it_was() -> None:
    document = {
        "server": {"listen": ["127.0.0.1:1", "[::1]:1"], "workers": 2},
        "upstreams": {"only": True, "docker.io": {"url": 'http://x/"quoted"', "default": False}},
    }
    assert tomllib.loads(format_toml(document)) == document


@pytest.mark.parametrize("flavour", [OCI, DOCKER])
def test_an_index_describes_its_parts(flavour: Flavour) -> None:
    index = build_index("parts", flavour=flavour)
    assert index.digest == build_index("parts", flavour=flavour).digest, "deterministic"
    for entry in json.loads(index.manifest)["manifests"]:
        media_type, body = index.manifests[entry["digest"]]
        assert (media_type, len(body), digest_of(body)) == (entry["mediaType"], entry["size"], entry["digest"])
        manifest = json.loads(body)
        for descriptor in (manifest["config"], *manifest["layers"]):
            data = index.blobs[descriptor["digest"]].data
            assert (len(data), digest_of(data)) == (descriptor["size"], descriptor["digest"])
    assert not set(index.images[0].blobs) & set(index.images[1].blobs)


def test_layers_have_about_the_size_that_is_asked() -> None:
    image = build_image(layer_sizes=(1_000_000,))
    assert 1_000_000 <= image.layers[0].size < 1_020_000


def test_an_artifact_has_its_subject_and_zero_byte_blob() -> None:
    subject = build_image()
    artifact = build_artifact(subject=subject, blobs=(b"",))
    assert json.loads(artifact.manifest)["subject"]["digest"] == subject.digest
    assert artifact.layers[0].size == 0
    assert artifact.layers[0].digest == digest_of(b"")
