"""`idiolect up` and `idiolect ask` as a user runs them: real processes, real weights, real signals."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from idiolect.core.store import Store

pytestmark = pytest.mark.slow
IDIOLECT = [sys.executable, "-m", "idiolect"]


class Up:
    """A running `idiolect up`."""

    def __init__(self, *argv: str) -> None:
        self.process = subprocess.Popen(
            [*IDIOLECT, "up", *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()  # printed when it is ready
        assert self.url, "".join(self.said)

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.said.extend(self.process.stderr)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=30) as reply:
            return reply.read().decode()

    def chat(self, question: str, **more: Any) -> Any:
        body = {
            "model": json.loads(self.get("/api/info"))["model"],
            "messages": [{"role": "user", "content": question}],
        }
        request = urllib.request.Request(
            self.url + "/v1/chat/completions",
            json.dumps({**body, **more}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as reply:
            return json.loads(reply.read())

    def stop(self, sign: int = signal.SIGINT) -> int:
        self.process.send_signal(sign)
        code = self.process.wait(30)
        self._reader.join(10)
        return code


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    docs = tmp_path_factory.mktemp("docs")
    (docs / "rent.md").write_text(
        "# Lease\n\n## Payment\n\nThe tenant pays a rent of 900 euros on the first of each month.\n\n"
        "## Pets\n\nA dog is allowed when the landlord agrees in writing.\n"
    )
    (docs / "whales.txt").write_text("The blue whale is the largest animal. It eats about four tons of krill a day.\n")
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing follows")
    return docs


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The store and the index go elsewhere; the weights stay in the cache that all runs share."""
    state = tmp_path_factory.mktemp("state")
    return ["--store", str(state / "store.sqlite"), "--index", str(state / "index")]


@pytest.fixture(scope="module")
def server(folder: Path, places: list[str]) -> Iterator[Up]:
    up = Up(str(folder), "--port", "0", *places)
    yield up
    if up.process.poll() is None:
        up.stop()


def test_it_says_where_it_is_and_what_it_could_not_read(server: Up) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
    assert json.loads(server.get("/healthz"))["status"] == "ready"
    assert "<html" in server.get("/")
    said = "".join(server.said)
    assert "2 documents" in said
    assert "not read: broken.pdf" in said


def test_it_answers_with_a_citation(server: Up) -> None:
    reply = server.chat("How much rent does the tenant pay?")
    assert "900 euros" in reply["choices"][0]["message"]["content"]
    first = reply["citations"][0]
    assert first["document"] == "rent.md"
    text = json.loads(server.get("/api/documents/source?path=rent.md"))["text"]
    assert text[first["span"][0] : first["span"][1]] == first["quote"]


def test_two_servers_share_one_store_and_one_may_be_killed(server: Up, folder: Path, places: list[str]) -> None:
    other = Up(str(folder), "--port", "0", *places)
    traces = set()
    for seed, up in enumerate((server, other)):  # two seeds: a cached answer's trace is written behind
        traces.add(up.chat("What does the blue whale eat?", seed=seed)["idiolect"]["trace"])
    assert len(traces) == 2
    for up in (server, other):
        for trace in traces:
            assert json.loads(up.get(f"/api/traces/{trace}"))["events"]
    asking = threading.Thread(target=_quietly, args=(other, "Tell a long story about whales."))
    asking.start()
    time.sleep(0.5)
    other.stop(signal.SIGKILL)
    asking.join()
    with Store.open(places[1]) as store:
        assert store.verify().ok
        for trace in traces:
            assert any(event.kind == "finished" for event in store.events(trace=trace))
    assert server.chat("What does the blue whale eat?", seed=3)["citations"]  # the other one goes on


def _quietly(up: Up, question: str) -> None:
    with suppress(OSError, ValueError):  # the server is killed meanwhile
        up.chat(question, model=f"{json.loads(up.get('/api/info'))['model']}:plain", max_tokens=400)


def test_ask_answers_with_sources(folder: Path, places: list[str]) -> None:
    ask = [*IDIOLECT, "ask", "How much rent does the tenant pay?", "--docs", str(folder), *places]
    plain = subprocess.run(ask, capture_output=True, text=True, check=False)
    assert plain.returncode == 0, plain.stderr
    assert "900 euros" in plain.stdout
    assert re.search(r"^\[1\] rent\.md", plain.stdout, re.MULTILINE)
    report = json.loads(subprocess.run([*ask, "--json"], capture_output=True, text=True, check=True).stdout)
    assert report["citations"][0]["document"] == "rent.md"
    assert report["mode"] == "quote"
    with Store.open(places[1]) as store:
        assert list(store.events(trace=report["trace"]))


def test_ask_does_not_wait_for_the_vectors_of_a_new_folder(folder: Path, tmp_path: Path) -> None:
    """In a pipe it ends with the answer; for somebody at a terminal it makes the vectors afterwards."""
    pty = pytest.importorskip("pty")
    state = ["--store", str(tmp_path / "store.sqlite"), "--index", str(tmp_path / "index"), "--set", "wait=0"]
    ask = [*IDIOLECT, "ask", "How much rent does the tenant pay?", "--docs", str(folder), *state]

    def vectors() -> int:
        with closing(sqlite3.connect(tmp_path / "index" / "library.db")) as db:
            return int(db.execute("SELECT count(*) FROM vectors").fetchone()[0])

    piped = subprocess.run(ask, capture_output=True, text=True, check=True)
    assert "900 euros" in piped.stdout
    assert re.search(r"note: 0 of \d passages have their vectors", piped.stderr)
    assert f"`idiolect index {folder}`" in piped.stderr and vectors() == 0
    ours, theirs = pty.openpty()
    with subprocess.Popen(ask, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        with suppress(OSError):  # the other end is closed
            while some := os.read(ours, 65536):
                said += some
    os.close(ours)
    assert process.returncode == 0 and vectors() > 0
    assert b"900 euros" in said and b"making the other vectors" in said
    again = subprocess.run(ask, capture_output=True, text=True, check=True)
    assert "900 euros" in again.stdout and "vectors" not in again.stderr


def test_ctrl_c_ends_it_cleanly(server: Up) -> None:
    assert server.stop() == 130
    assert "Traceback" not in "".join(server.said)


def test_a_model_that_cannot_load_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF\x03\x00\x00\x00 cut short")
    argv = [*IDIOLECT, "up", "--no-docs", "--port", "0", "--encoder", "none", "--model", str(tmp_path / "m.gguf")]
    done = subprocess.run([*argv, "--store", str(tmp_path / "s")], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if not line.endswith("...")]
    assert "m.gguf" in line
