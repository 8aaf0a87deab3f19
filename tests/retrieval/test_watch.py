"""The watcher on real files: every way in which editors and people change a folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from idiolect.retrieval import Library
from idiolect.retrieval.watch import Watcher
from tests.retrieval.test_library import Hashed


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.txt").write_text("The first lighthouse.")
    with Library.open(docs, state=tmp_path / "state", embedder=Hashed()) as opened:
        yield opened


def eventually(check: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


def test_changes_arrive(library: Library) -> None:
    docs, reports = library.folder, []
    with library.watch(reports.append):
        eventually(lambda: library.search("lighthouse"))  # the first sync is the watcher's own
        (docs / "b.md").write_text("# Owls\n\nThey hunt at night.")
        eventually(lambda: library.search("owls", how="bm25"))
        (docs / ".a.txt.swp").write_text("The second windmill.")
        (docs / ".a.txt.swp").replace(docs / "a.txt")  # how editors save
        eventually(lambda: library.search("windmill", how="bm25"))
        assert not library.search("lighthouse", how="bm25")
        (docs / "deep" / "er").mkdir(parents=True)
        (docs / "deep" / "er" / "c.txt").write_text("Submarines dive.")
        eventually(lambda: library.search("submarines", how="bm25"))
        (docs / "deep").rename(docs / "other")
        eventually(lambda: [p.document for p in library.search("submarines", how="bm25")] == ["other/er/c.txt"])
        (docs / "b.md").unlink()
        eventually(lambda: not library.search("owls", how="bm25"))
        eventually(lambda: library.verify() == [])
    assert reports
    assert not [t for t in threading.enumerate() if t.name == "idiolect-watch"]


def test_a_burst_is_few_syncs(library: Library) -> None:
    reports = []
    with library.watch(reports.append):
        eventually(lambda: reports)
        for i in range(200):
            (library.folder / f"n{i}.txt").write_text(f"Number {i}")
        eventually(lambda: len(library.documents()) == 201)
    assert len(reports) <= 6


def test_stop_is_prompt_and_hidden_files_are_no_news(library: Library) -> None:
    reports = []
    watcher = library.watch(reports.append)
    assert isinstance(watcher, Watcher)
    with watcher:
        eventually(lambda: reports)
        (library.folder / ".hidden.txt").write_text("x")
        time.sleep(0.5)
        begin = time.monotonic()
    assert time.monotonic() - begin < 3
    assert len(reports) == 1


def test_folder_that_vanishes_and_returns(library: Library, tmp_path: Path) -> None:
    with library.watch() as watcher:
        assert isinstance(watcher, Watcher)
        eventually(lambda: library.search("lighthouse"))
        library.folder.rename(tmp_path / "away")
        eventually(lambda: watcher.error)
        assert library.search("lighthouse")[0].freshness == "gone"  # an unmounted disk does not empty the index
        library.folder.mkdir()  # another folder of the same name, as a new mount is
        (library.folder / "b.txt").write_text("A balloon.")
        eventually(lambda: library.search("balloon", how="bm25"), 20)
        eventually(lambda: not watcher.error)
