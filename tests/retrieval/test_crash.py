"""`kill -9` during ingest, and two processes on one library: the index ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from idiolect.retrieval import Library
from tests.retrieval.test_library import QUIET, Hashed

SYNC = """
import sys
from pathlib import Path
from idiolect.retrieval import Library, ingest
from tests.retrieval.test_library import Hashed
ingest.BATCH_CHARACTERS, ingest.EMBED_BATCH = 20_000, 16  # many transactions
library = Library.open(Path(sys.argv[1]), state=Path(sys.argv[2]), embedder=Hashed())
print("open", flush=True)
library.sync(lambda report: print("note", report.note, flush=True) if "waiting" in report.note else None)
print("done", library.fingerprint, library.verify(), flush=True)
"""


def start(docs: Path, state: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SYNC, str(docs), str(state)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for i in range(150):
        (folder / f"{i}.md").write_text(f"# File {i}\n\n" + f"Sentence about subject {i} and topic {i % 7}. " * 60)
    return folder


def rows(state: Path) -> int:
    """Documents that a killed process had committed."""
    import sqlite3

    db = sqlite3.connect(state / "library.db")
    try:
        return int(db.execute("SELECT COUNT(*) FROM documents").fetchone()[0])
    finally:
        db.close()


def test_killed_at_many_points_then_whole(docs: Path, tmp_path: Path) -> None:
    fresh = Library.open(docs, state=tmp_path / "fresh", embedder=Hashed())
    begin = time.perf_counter()
    fresh.sync(QUIET)
    whole = time.perf_counter() - begin
    state, partial = tmp_path / "state", 0
    for part in (0.02, 0.15, 0.3, 0.5, 0.8):
        process = start(docs, state)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        time.sleep(part * whole)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        partial += 0 < rows(state) < 150
    library = Library.open(docs, state=state, embedder=Hashed())
    report = library.sync(QUIET)
    assert report.failed == {}
    assert library.verify() == []
    assert library.fingerprint == fresh.fingerprint
    assert library._ledger.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    library.close()
    fresh.close()


def test_a_killed_batch_is_absent_or_whole(docs: Path, tmp_path: Path) -> None:
    """Whatever was committed before the kill can be searched at once, and no document is there in part."""
    state = tmp_path / "state"
    process = start(docs, state)
    assert process.stdout is not None
    process.stdout.readline()
    while rows(state) == 0 and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    process.wait()
    process.stdout.close()
    library = Library.open(docs, state=state)
    counts = library.counts()
    assert counts.documents > 0
    assert counts.chunks == counts.promised == len(library)
    assert library.search("subject", k=1)
    library.close()


def test_two_processes_sync_one_folder(docs: Path, tmp_path: Path) -> None:
    """The second waits, says so if it must, and finds nothing left to do; both see the same index."""
    state = tmp_path / "state"
    both = [start(docs, state), start(docs, state)]
    outputs = [process.communicate(timeout=60)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    done = [[line for line in lines if line.startswith("done")] for lines in outputs]
    assert done[0] == done[1]
    assert done[0][0].endswith("[]")
    library = Library.open(docs, state=state, embedder=Hashed())
    assert library.sync(QUIET).unchanged == 150
    library.close()


def test_waiting_is_said(docs: Path, tmp_path: Path) -> None:
    from idiolect.core import files

    state = tmp_path / "state"
    with files.lock(state / "library.lock"):
        process = start(docs, state)
        assert process.stdout is not None
        process.stdout.readline()
        assert process.stdout.readline() == "note waiting for another process that indexes this folder\n"
    assert "done" in process.communicate(timeout=60)[0]


def test_reading_while_another_process_writes(docs: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    library = Library.open(docs, state=state, embedder=Hashed())
    process = start(docs, state)
    sizes = []
    while process.poll() is None:
        sizes.append(len(library))
        for hit in library.search("subject topic", k=3):
            assert "Sentence" in hit.text
        time.sleep(0.01)
    process.communicate()
    assert sizes == sorted(sizes)
    assert library.verify() == []
    library.close()
