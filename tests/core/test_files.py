"""Atomic writes, hashes, locks and our own folders."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from idiolect.core.errors import NotFound, Unavailable
from idiolect.core.files import atomic_write, cache_dir, lock, sha256_file, sha256_kept, state_dir
from idiolect.core.progress import Report, progress


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_write(path, "w") as out:
        out.write("old\n")
    with pytest.raises(RuntimeError), atomic_write(path, "w") as out:
        out.write("new")
        raise RuntimeError
    assert path.read_bytes() == b"old\n"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_killed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    code = (
        "import sys, os, signal\nfrom idiolect.core.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as out:\n out.write(b'new' * 100000); out.flush(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_errors_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no folder"), atomic_write(tmp_path / "none" / "a"):
        pass
    with pytest.raises(Unavailable, match="no room"), atomic_write(tmp_path / "a") as out:
        out.write(b"x")
        raise OSError(28, "No space left on device")
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a"):
        (tmp_path / "other").read_bytes()  # not about the file being written: not ours to explain
    assert os.listdir(tmp_path) == []


def test_no_room_is_said(tmp_path: Path) -> None:
    code = (
        "import resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from idiolect.core.files import atomic_write\nfrom idiolect.core.errors import Unavailable\n"
        "try:\n with atomic_write(sys.argv[1]) as out: out.write(b'x' * 100000)\n"
        "except Unavailable as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], capture_output=True, text=True, check=True)
    assert "no room left on the disk" in done.stdout
    assert os.listdir(tmp_path) == []


def test_sha256_with_progress(tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    (tmp_path / "a").write_bytes(data)
    seen: list[Report] = []
    with progress("hash", len(data), "B", sink=seen.append) as bar:
        assert sha256_file(tmp_path / "a", bar) == hashlib.sha256(data).hexdigest()
    assert seen[-1].done == len(data)


def test_home_is_read_when_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDIOLECT_HOME", str(tmp_path / "one"))
    assert cache_dir() == tmp_path / "one" / "cache"
    monkeypatch.setenv("IDIOLECT_HOME", str(tmp_path / "two"))
    assert state_dir() == tmp_path / "two" / "state"
    assert (tmp_path / "two" / "state").is_dir()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IDIOLECT_HOME", str(tmp_path / "file"))
    with pytest.raises(Unavailable, match="IDIOLECT_HOME"):
        cache_dir()


def test_a_lock_is_freed_when_its_process_dies(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    code = (
        "import sys, time\nfrom idiolect.core.files import lock\n"
        "with lock(sys.argv[1]): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(Unavailable, match="another process holds"), lock(path, timeout=0.1):
        pass
    holder.kill()
    holder.communicate()
    begin = time.monotonic()
    with lock(path, timeout=10):
        assert time.monotonic() - begin < 5


def test_a_kept_hash_follows_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read once, and again as soon as the file is another; a damaged note of it is no answer."""
    from idiolect.core import files

    monkeypatch.setenv("IDIOLECT_HOME", str(tmp_path / "home"))
    path, read = tmp_path / "weights", []
    monkeypatch.setattr(files, "sha256_file", lambda file: read.append(file) or sha256_file(file))
    path.write_bytes(b"one")
    assert sha256_kept(path) == sha256_kept(path) == sha256_file(path) and len(read) == 1
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert sha256_kept(path) == sha256_file(path) and len(read) == 2
    for note in (cache_dir() / "hashes").iterdir():
        note.write_text("nonsense")
    assert sha256_kept(path) == sha256_file(path) and len(read) == 3
