"""The store when the world ends: killed writers, several processes, a full disk. All of it real."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from idiolect.core.call import Message
from idiolect.core.store import Store

WRITER = """
import os, sys, threading
from idiolect.core.call import Message
from idiolect.core.store import Store

store = Store.open(sys.argv[1])
lock = threading.Lock()

def write(name):
    for i in range(int(sys.argv[2])):
        text = f"{name} {i} " + "x" * (37 * i % 3000)
        chain = store.put_chain([Message("user", text), Message("assistant", text)])
        event = store.append("k", {"text": text}, trace=name, chain=chain)
        with lock:  # the acknowledgement: one write, so that a kill cannot tear it
            os.write(1, f"{event.seq} {event.hash} {chain}\\n".encode())

threads = [threading.Thread(target=write, args=(f"{os.getpid()}-{n}",)) for n in range(4)]
for t in threads: t.start()
for t in threads: t.join()
store.close()
"""


def _start(path: Path, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(count)], stdout=subprocess.PIPE)


def _acknowledged(out: bytes) -> list[list[str]]:
    return [line.decode().split() for line in out.splitlines(keepends=True) if line.endswith(b"\n")]


def _check(path: Path, acknowledged: list[list[str]]) -> None:
    with Store.open(path) as store:
        report = store.verify()
        assert report.ok, report.problem
        there = {event.seq: event for event in store.events()}
        for seq, hash, chain in acknowledged:
            event = there[int(seq)]
            assert event.hash == hash
            assert event.chain == chain
            assert store.chain(chain) == (
                Message("user", event.payload["text"]),
                Message("assistant", event.payload["text"]),
            )


def test_kill_9_at_random_points_loses_nothing_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(11)
    acknowledged: list[list[str]] = []
    for _ in range(25):
        writer = _start(tmp_path / "s.db", 1_000_000)
        assert writer.stdout is not None
        first = writer.stdout.readline()  # it is writing now
        time.sleep(chance.random() * 0.08)
        writer.send_signal(signal.SIGKILL)
        acknowledged += _acknowledged(first + writer.communicate()[0])
        assert writer.returncode == -signal.SIGKILL
    assert len(acknowledged) > 25
    _check(tmp_path / "s.db", acknowledged)


def test_kill_9_while_the_store_is_being_made(tmp_path: Path) -> None:
    chance = random.Random(12)
    for i in range(12):
        path = tmp_path / f"{i}.db"
        writer = _start(path, 3)
        time.sleep(0.02 + chance.random() * 0.25)
        writer.kill()
        out, _ = writer.communicate()
        _check(path, _acknowledged(out))


def test_two_processes_share_one_store(tmp_path: Path) -> None:
    writers = [_start(tmp_path / "s.db", 60) for _ in range(2)]  # both also race to create it
    outs = [writer.communicate(timeout=60)[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    acknowledged = _acknowledged(outs[0] + outs[1])
    assert sorted(int(seq) for seq, _, _ in acknowledged) == list(range(1, 481))
    _check(tmp_path / "s.db", acknowledged)


def test_a_reader_follows_another_process(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db") as store:
        writer = _start(tmp_path / "s.db", 30)
        seen: list[int] = []
        while len(seen) < 120:
            seen += [event.seq for event in store.events(after=seen[-1] if seen else 0)]
            assert store.verify().ok
        assert seen == list(range(1, 121))
        assert writer.wait(30) == 0


FULL = """
import sys
from idiolect.core.errors import Unavailable
from idiolect.core.store import Store

store = Store.open(sys.argv[1])
if sys.argv[2] == "limit":
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
done = []
try:
    for i in range(10_000):
        done.append(store.append("k", {"text": "x" * 1000}).hash)
except Unavailable as error:
    print("ERROR", error)
try:
    store.append("k", {"text": "x" * 1000})
except Unavailable:
    print("STILL FULL")
print("EVENTS", [e.hash for e in store.events()] == done, len(done), store.verify().ok)
if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
else:
    import os
    os.unlink(sys.argv[3])
print("AGAIN", store.append("after", {}).seq == len(done) + 1, store.verify().ok)
"""


@pytest.fixture(params=["limit", "tmpfs"])
def full_disk(request: pytest.FixtureRequest, tmp_path: Path):  # type: ignore[no-untyped-def]
    if request.param == "limit":
        yield tmp_path, "limit", ""
        return
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(disk)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(400_000))
        yield disk, "tmpfs", str(ballast)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_one_clear_error_and_loses_nothing(full_disk: tuple[Path, str, str]) -> None:
    folder, kind, ballast = full_disk
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(folder / "s.db"), kind, ballast], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    error, still, events, again = done.stdout.splitlines()
    assert error.startswith("ERROR cannot write the store")
    assert "free some space" in error
    assert still == "STILL FULL"
    assert events.startswith("EVENTS True")
    assert int(events.split()[2]) > 20
    assert events.endswith("True")
    assert again == "AGAIN True True"
