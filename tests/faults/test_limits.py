"""An upstream that limits: what is kept goes on, nobody storms it, and a client learns whose limit until when."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import REPOSITORY
from tests.faults.kept import events, wait_event
from tests.faults.test_kept_manifests import asked, kept, tag
from tests.support import faults
from tests.support.content import MIB, Blob
from tests.support.exchange import Received, Reply
from tests.support.gateway import Gateway
from tests.support.http import Answer, fetch
from tests.support.hub import Hub
from tests.support.images import Index, build_index
from tests.support.preloaded import run_hubferry
from tests.support.toml import format_toml

SHORT = "100ms"
MANIFESTS = "/manifests/"
CLIENTS = 500


@pytest.fixture
def image(hub: Hub) -> Index:
    index = build_index("limited")
    hub.add(REPOSITORY, "latest", index)
    return index


def limited(*lines: tuple[str, str]) -> faults.Action:
    return faults.answer(429, b"", lines)


def wait_past_ttl() -> None:
    time.sleep(0.2)


def test_a_storm_of_clients_is_a_handful_of_requests(tmp_path: Path, hub: Hub, image: Index) -> None:
    """After the first refusal a third wants what is kept, a third tags that are not, each another, a third a blob."""
    blob = Blob.generated(200_000, 7)
    hub.add_blob(REPOSITORY, blob)
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub, SHORT)) as gateway:
        assert tag(gateway).body == image.manifest
        blob_url = f"{gateway.url}/v2/app/blobs/{blob.digest}"
        assert fetch(blob_url).body == blob.data
        wait_past_ttl()
        hub.recorder.clear()
        hub.script(limited(("Retry-After", "60")), role="hub", times=None)
        numbers = itertools.count()
        asks: list[Callable[[], Answer]] = [
            lambda: tag(gateway),
            lambda: tag(gateway, f"unknown-{next(numbers)}"),
            lambda: fetch(blob_url),
        ]
        assert tag(gateway, "unknown").status == 429
        answers: list[tuple[int, Answer]] = []
        barrier = threading.Barrier(CLIENTS)

        def client(number: int) -> None:
            barrier.wait()
            answers.append((number % 3, asks[number % 3]()))

        threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert Counter((kind, answer.status) for kind, answer in answers) == {
            (0, 200): 167, (1, 429): 167, (2, 200): 166,
        }  # fmt: skip
        for kind, answer in answers:
            if kind == 1:
                assert "limits the pulls of this gateway's address" in answer.json()["errors"][0]["message"]
                assert 1 <= int(answer.header("retry-after") or "") <= 60
            else:
                assert answer.body == (image.manifest if kind == 0 else blob.data)
        assert hub.count("hub") <= 3, asked(hub)


WHERE: dict[str, dict[str, Any]] = {
    "HEAD": {"role": "hub", "method": "HEAD", "path": MANIFESTS},
    "GET": {"role": "hub", "method": "GET", "path": MANIFESTS},
    "token": {"role": "auth"},
}


@pytest.mark.parametrize("retry_after", [(), (("Retry-After", "77"),)], ids=["bare", "Retry-After"])
@pytest.mark.parametrize("where", WHERE.values(), ids=WHERE.keys())
def test_a_429_wherever_it_comes_from_is_told_and_obeyed(
    tmp_path: Path, hub: Hub, image: Index, where: dict[str, Any], retry_after: tuple[tuple[str, str], ...]
) -> None:
    script = hub.script(limited(*retry_after), times=None, **where)
    assert image.digest
    method = where.get("method", "GET")
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        for _ in range(3):
            answer = tag(gateway, method=method)
            assert answer.status == 429
            assert 50 < int(answer.header("retry-after") or "") <= 77
            if method == "GET":
                message = answer.json()["errors"][0]["message"]
                assert "limits the pulls of this gateway's address (its limit, not hubferry's" in message
                assert "has to wait until 20" in message
        assert script.used == 1
        (event,) = events(gateway, "rate_limited")
        assert event["account"] == "anonymous"
        assert event["kind"] == ("tokens" if where["role"] == "auth" else "manifests")


def test_it_goes_on_when_the_wait_is_over(tmp_path: Path, hub: Hub, image: Index) -> None:
    hub.script(limited(("Retry-After", "1")), role="hub", path=MANIFESTS)
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        assert tag(gateway).status == 429
        deadline = time.monotonic() + 10
        while (answer := tag(gateway)).status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert answer.body == image.manifest


def accounts(tmp_path: Path, hub: Hub, *pairs: str, ttl: str = "60s") -> dict[str, Any]:
    file = tmp_path / "accounts"
    file.write_text("# of this test\n\n" + "".join(f"{pair}\n" for pair in pairs))
    return kept(tmp_path, hub, ttl, accounts_file=str(file))


def test_of_several_accounts_the_one_with_most_left_pays(tmp_path: Path, hub: Hub) -> None:
    hub.state.users.update({"alice": "a-secret", "bob": "b-secret"})
    hub.state.pulls["alice"] = 90
    hub.state.pulls["bob"] = 10
    indexes = [build_index(f"paid {number}") for number in range(6)]
    for number, index in enumerate(indexes):
        hub.add(REPOSITORY, f"v{number}", index)
    settings = accounts(tmp_path, hub, "alice:a-secret", "bob:b-secret")
    settings["server"] = {"metrics_from": ["127.0.0.1/32"]}
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        for number, index in enumerate(indexes):
            assert tag(gateway, f"v{number}").body == index.manifest
        metrics = fetch(f"{gateway.url}/metrics").body.decode()
    # each is tried once before anything is known of it
    assert hub.state.pulls["alice"] - 90 <= 1
    assert hub.state.pulls["bob"] - 10 >= 5
    assert 'hubferry_upstream_pulls_limit{account="bob",upstream="docker.io"} 100.0' in metrics
    assert 'hubferry_upstream_pulls_left{account="bob",upstream="docker.io"} 8' in metrics


def test_an_account_at_its_limit_gives_way_and_a_refused_one_is_reported(tmp_path: Path, hub: Hub) -> None:
    hub.state.users.update({"alice": "a-secret", "bob": "b-secret"})
    hub.state.pulls["alice"] = 100
    index = build_index("paid")
    hub.add(REPOSITORY, "latest", index, readers={"alice", "bob"})
    settings = accounts(tmp_path, hub, "carol:gone-secret", "alice:a-secret", "bob:b-secret")
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        assert tag(gateway).body == index.manifest
        (refused,) = events(gateway, "account_refused")
        assert (refused["upstream"], refused["account"]) == ("docker.io", "carol")
        assert [event["account"] for event in events(gateway, "rate_limited")] == ["alice"]
        gateway.stop()
        log = (gateway.state / "stderr.log").read_text()
        assert "secret" not in log
    assert hub.count("auth") == 4  # carol's is asked for twice: for this repository, and for none


def test_as_the_limit_is_used_up_kept_tags_answer_for_longer(tmp_path: Path, hub: Hub, image: Index) -> None:
    hub.state.pulls["127.0.0.1"] = 97
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub, SHORT)) as gateway:
        assert tag(gateway).body == image.manifest
        wait_past_ttl()
        hub.recorder.clear()
        answer = tag(gateway)
        assert answer.body == image.manifest
        assert answer.header("age") == "0"
        assert [said[:3] for said in answer.header_list("warning")] == ["110", "299"]
        assert asked(hub) == []
        # what is not kept may still be had
        other = build_index("other")
        hub.add(REPOSITORY, "other", other)
        assert tag(gateway, "other").body == other.manifest


def test_a_tag_that_answers_for_longer_says_so_even_when_its_content_has_to_be_fetched(
    tmp_path: Path, hub: Hub, image: Index
) -> None:
    hub.state.pulls["127.0.0.1"] = 97
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub, SHORT)) as gateway:
        assert tag(gateway, method="HEAD").status == 200  # all that is known of it
        # a right is needed for a kept tag, and a pull of another tag proves it
        hub.add(REPOSITORY, "other", build_index("other"))
        assert tag(gateway, "other").status == 200
        wait_past_ttl()
        hub.recorder.clear()
        answer = tag(gateway)
        assert answer.body == image.manifest
        assert [line.partition(" ")[0] for line in asked(hub)] == ["GET"], "what it means was not asked"
        assert answer.header("age") == "0"
        assert [said[:3] for said in answer.header_list("warning")] == ["110", "299"]
        line = wait_event(gateway, "request", reference="latest", method="GET")
        assert line["outcome"] == "miss"
        assert "little is left" in line["problem"]


def test_the_last_pull_is_a_whole_pull(tmp_path: Path, hub: Hub, image: Index) -> None:
    """Docker Hub's limit is on manifests: the blobs of the last manifest it gave are not limited."""
    child = image.image("amd64")
    hub.state.pulls["127.0.0.1"] = 98
    with Gateway.start(tmp_path / "gateway", kept(tmp_path, hub)) as gateway:
        assert tag(gateway).body == image.manifest
        assert tag(gateway, child.digest).body == child.manifest
        assert tag(gateway, image.image("arm64").digest).status == 429
        for digest, blob in child.blobs.items():
            assert fetch(f"{gateway.url}/v2/app/blobs/{digest}").body == blob.data


def test_accounts_files_are_checked_at_the_start(tmp_path: Path, hub: Hub) -> None:
    file = tmp_path / "accounts"
    for text, problem in (("alice\n", "line 1 is no user:password"), ("# none\n", "it holds no user:password")):
        file.write_text(text)
        settings = tmp_path / "hubferry.toml"
        settings.write_text(format_toml(kept(tmp_path, hub, accounts_file=str(file))))
        checked = run_hubferry("config", "check", settings)
        assert checked.returncode == 1
        assert f"{file}: {problem}" in checked.stderr


def test_a_cdn_that_limits_connections_limits_no_pulls(tmp_path: Path, hub: Hub) -> None:
    """It serves whole blobs and refuses all ranges: what has begun goes on, what is asked for beside it is served."""
    big, small = Blob.generated(24 * MIB, 9), Blob.generated(300_000, 10)
    for blob in (big, small):
        hub.add_blob(REPOSITORY, blob)

    def serve(request: Received, normal: Callable[[], Reply]) -> Reply:
        if request.header("range"):
            return Reply(429, (("Retry-After", "60"),))
        return replace(normal(), bytes_per_s=4 * MIB)

    hub.script(serve, role="cdn", times=None)
    settings = kept(tmp_path, hub)
    settings["cache"]["parallel_from"] = "1MiB"
    with Gateway.start(tmp_path / "gateway", settings) as gateway:
        answers: list[Answer] = []
        url = f"{gateway.url}/v2/app/blobs/"
        pulling = threading.Thread(target=lambda: answers.append(fetch(url + big.digest)))
        pulling.start()
        hub.recorder.wait_until(lambda: any(e.request.header("range") for e in hub.find("cdn")), timeout_s=20)
        assert fetch(url + small.digest).body == small.data
        pulling.join()
        assert answers[0].body == big.data
        assert events(gateway, "rate_limited") == []
