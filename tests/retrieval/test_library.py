"""The library as its users see it: sync finds every kind of change, search answers, failures have names."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idiolect.core.errors import BadInput, CorruptFile, NotFound, Unavailable
from idiolect.retrieval import Library, LibraryConfig
from idiolect.retrieval.types import SyncReport
from tests.retrieval.files import docx, paragraph, pdf

QUIET = lambda _: None  # noqa: E731


class Hashed:
    """A real, if simple, embedder: hashed word counts. Deterministic, and fast enough for many syncs."""

    def __init__(self, dim: int = 64, name: str = "hashed") -> None:
        self.dim, self.fingerprint, self.texts = dim, f"{name}-{dim}", list[str]()

    def __call__(self, texts: Sequence[str], kind: str = "doc") -> np.ndarray:
        out = np.zeros((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            if kind == "doc":
                self.texts.append(text)
            for word in text.lower().split():
                out[row, int(hashlib.md5(word.strip(".,").encode()).hexdigest(), 16) % self.dim] += 1
        return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "rivers.md").write_text("# Rivers\n\nThe Danube flows into the Black Sea.\n\n## Length\n\nIt is long.\n")
    (folder / "sub" / "tea.txt").write_text("Green tea is brewed at eighty degrees.\n")
    return folder


def open_library(docs: Path, embedder: Hashed | None = None, **config: object) -> Library:
    return Library.open(docs, state=docs.parent / "state", embedder=embedder, config=LibraryConfig(**config))  # type: ignore[arg-type]


def synced(docs: Path, embedder: Hashed | None = None, **config: object) -> tuple[Library, SyncReport]:
    library = open_library(docs, embedder, **config)
    report = library.sync(QUIET)
    assert library.verify() == []
    return library, report


def test_index_search_and_reopen(docs: Path) -> None:
    library, report = synced(docs)
    assert (report.added, report.unchanged, report.failed) == (["rivers.md", "sub/tea.txt"], 0, {})
    hit = library.search("where does the Danube flow?", k=3)[0]
    assert (hit.document, hit.heading, hit.freshness) == ("rivers.md", ("Rivers",), "fresh")
    assert hit.text == library.document("rivers.md").text[slice(*hit.span)]
    assert library.chunk(hit.id).text == hit.text
    assert set(hit.scores) == {"bm25", "rrf"}
    before = library.fingerprint
    library.close()
    again = open_library(docs)
    assert again.search("Danube")[0].id == hit.id  # before any sync
    assert again.sync(QUIET).unchanged == 2
    assert again.fingerprint == before


def test_second_sync_touches_only_what_changed(docs: Path) -> None:
    embedder = Hashed()
    library, _ = synced(docs, embedder)
    assert len(embedder.texts) == 2
    (docs / "sub" / "tea.txt").write_text("Black tea is brewed at a hundred degrees.\n")
    (docs / "new.txt").write_text("A new file.")
    report = library.sync(QUIET)
    assert (report.changed, report.added, report.unchanged) == (["sub/tea.txt"], ["new.txt"], 1)
    assert len(embedder.texts) == 4
    assert library.verify() == []
    assert not library.search("eighty", how="bm25")
    assert library.search("hundred", how="bm25")[0].document == "sub/tea.txt"


def test_deleted_files_disappear(docs: Path) -> None:
    library, _ = synced(docs, Hashed())
    (docs / "rivers.md").unlink()
    assert library.search("Danube")[0].freshness == "gone"
    report = library.sync(QUIET)
    assert report.removed == ["rivers.md"]
    assert library.verify() == []
    assert all(p.document != "rivers.md" for p in library.search("Danube Black Sea"))
    with pytest.raises(NotFound):
        library.document("rivers.md")


def test_renamed_file_is_neither_parsed_nor_embedded_again(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = Hashed()
    library, _ = synced(docs, embedder)
    seen = len(embedder.texts)
    (docs / "rivers.md").rename(docs / "sub" / "streams.md")
    monkeypatch.setattr("idiolect.retrieval.ingest.load", lambda *_: pytest.fail("parsed again"))
    report = library.sync(QUIET)
    assert report.renamed == {"sub/streams.md": "rivers.md"}
    assert (report.added, report.removed) == (["sub/streams.md"], ["rivers.md"])
    assert len(embedder.texts) == seen
    assert library.verify() == []
    assert library.search("Danube")[0].document == "sub/streams.md"


def test_swapped_files_swap(docs: Path) -> None:
    (docs / "a.txt").write_text("Apples are red.")
    (docs / "b.txt").write_text("Bananas are yellow.")
    library, _ = synced(docs)
    (docs / "a.txt").rename(docs / "c")
    (docs / "b.txt").rename(docs / "a.txt")
    (docs / "c").rename(docs / "b.txt")
    library.sync(QUIET)
    assert library.search("apples", how="bm25")[0].document == "b.txt"
    assert library.search("bananas", how="bm25")[0].document == "a.txt"
    assert library.verify() == []


def test_touched_file_is_not_read_again(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library, _ = synced(docs)
    os.utime(docs / "rivers.md", (1, 1))
    monkeypatch.setattr("idiolect.retrieval.ingest.load", lambda *_: pytest.fail("parsed again"))
    assert library.search("Danube")[0].freshness == "fresh"
    assert library.sync(QUIET).unchanged == 2
    assert library._ledger.row("rivers.md").mtime_ns == 1_000_000_000  # type: ignore[union-attr]


def test_change_without_a_change_of_size_or_time_is_found_while_the_file_is_young(docs: Path) -> None:
    """Two writes within one tick of a coarse clock leave size and time as they were."""
    file = docs / "sub" / "tea.txt"
    library, _ = synced(docs)
    stamp = file.stat().st_mtime_ns
    file.write_text(file.read_text().replace("eighty", "ninety"))
    os.utime(file, ns=(stamp, stamp))
    assert library.sync(QUIET).changed == ["sub/tea.txt"]
    assert library.search("ninety", how="bm25")


def test_freshness_of_a_changed_file(docs: Path) -> None:
    library, _ = synced(docs)
    (docs / "rivers.md").write_text("# Rivers\n\nThe Rhine.\n")
    assert library.search("Danube")[0].freshness == "stale"
    library.sync(QUIET)
    assert library.search("Rhine")[0].freshness == "fresh"


def test_failures_have_names_and_stop_nothing(docs: Path) -> None:
    (docs / "cut.pdf").write_bytes(pdf(["text " * 90] * 20)[:3000])
    (docs / "junk.txt").write_bytes(bytes(range(256)) * 9)
    (docs / "scan.pdf").write_bytes(pdf(["", ""]))
    (docs / "empty.md").write_text(" \n")
    (docs / "photo.jpg").write_bytes(b"\xff\xd8")
    (docs / "good.pdf").write_bytes(pdf(["The warranty lasts two years."]))
    docx(docs / "good.docx", paragraph("Invoices are due in thirty days."))
    library, report = synced(docs)
    assert set(report.failed) == {"cut.pdf", "junk.txt"}
    assert "truncated" in report.failed["cut.pdf"]
    assert "binary" in report.failed["junk.txt"]
    assert report.skipped == {"photo.jpg": "not a document type that can be read"}
    states = {s.path: (s.state, s.reason) for s in library.documents()}
    assert states["scan.pdf"] == ("empty", "a PDF of images without text")
    assert states["empty.md"][0] == "empty"
    assert library.search("warranty")[0].page == 1
    assert library.search("invoices")[0].document == "good.docx"
    assert library.sync(QUIET).failed == report.failed  # not tried again, not forgotten
    (docs / "cut.pdf").write_bytes(pdf(["Now it is whole."]))
    (docs / "junk.txt").write_text("Now it is text.")
    assert library.sync(QUIET).failed == {}
    assert library.search("whole")[0].document == "cut.pdf"


def test_a_parser_that_breaks_is_a_failure_of_that_file(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from idiolect.retrieval.load import text

    monkeypatch.setattr(text, "paragraphs", lambda *_: 1 / 0)
    _, report = synced(docs)
    assert report.failed == {"sub/tea.txt": "sub/tea.txt could not be read (ZeroDivisionError: division by zero)"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(docs: Path) -> None:
    (docs / "rivers.md").chmod(0)
    library, report = synced(docs)
    assert "no permission" in report.failed["rivers.md"]
    (docs / "rivers.md").chmod(0o644)
    assert library.sync(QUIET).failed == {}  # asked again although size and time are the same


def test_failed_file_leaves_the_index(docs: Path) -> None:
    library, _ = synced(docs)
    (docs / "rivers.md").write_bytes(bytes(5000))
    assert set(library.sync(QUIET).failed) == {"rivers.md"}
    assert not library.search("Danube")
    assert library.verify() == []


def test_embedder_change_embeds_again_and_parses_nothing(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced(docs, Hashed())[0].close()
    monkeypatch.setattr("idiolect.retrieval.ingest.load", lambda *_: pytest.fail("parsed again"))
    other = Hashed(32, "other")
    library, report = synced(docs, other)
    assert (report.unchanged, report.embedded, len(other.texts)) == (2, 2, 2)
    assert library._ledger.db.execute("SELECT DISTINCT embedder FROM vectors").fetchall() == [("other-32",)]
    assert library.search("Danube", how="dense")[0].document == "rivers.md"


def test_vectors_of_many_passages_wait_for_a_later_sync(docs: Path) -> None:
    with Library.open(docs, state=docs.parent / "state", embedder=Hashed()) as library:
        assert library.sync(QUIET, vectors=1).embedded == 0
        assert (len(library), library.missing) == (2, 2)
        assert library.search("Danube")[0].document == "rivers.md"  # by its words
        before = library.fingerprint
        assert library.sync(QUIET, vectors=2).embedded == 2
        assert library.missing == 0 and library.verify() == [] and library.fingerprint != before
    with Library.open(docs, state=docs.parent / "state") as wordy:
        assert wordy.missing == 0  # nobody misses what nobody makes


def test_chunker_change_cuts_again_and_parses_nothing(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced(docs)[0].close()
    monkeypatch.setattr("idiolect.retrieval.ingest.load", lambda *_: pytest.fail("parsed again"))
    library, report = synced(docs, chunk_size=40, chunk_overlap=0, chunk_least=0)
    assert report.changed == ["rivers.md", "sub/tea.txt"]
    assert max(len(c.text) for c in library.chunks("rivers.md")) <= 40


def test_stemmer_change_counts_again(docs: Path) -> None:
    synced(docs)[0].close()
    library = open_library(docs, language=None)
    assert library.search("flows") == []  # the old counts are not mixed with the new
    library.sync(QUIET)
    assert library.verify() == []
    assert library.search("flows")
    assert not library.search("flow")


def test_hybrid_scores_of_all_rankers(docs: Path) -> None:
    library, _ = synced(docs, Hashed())
    for how, key in (("hybrid", "rrf"), ("bm25", "bm25"), ("dense", "dense")):
        hits = library.search("Green tea", how=how)  # type: ignore[arg-type]
        assert hits[0].document == "sub/tea.txt"
        assert hits[0].score == hits[0].scores[key]
        assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
    assert set(library.search("Green tea")[0].scores) == {"bm25", "dense", "rrf"}


def test_bad_searches(docs: Path) -> None:
    library, _ = synced(docs)
    assert library.search("  ") == []
    for values in ({"k": 0}, {"k": -3}, {"how": "magic"}):
        with pytest.raises(BadInput):
            library.search("x", **values)  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="encoder"):
        library.search("x", how="dense")
    with pytest.raises(NotFound):
        library.chunk("nope")


def test_folder_errors(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no folder"):
        Library.open(tmp_path / "missing", state=tmp_path / "s")
    (tmp_path / "empty").mkdir()
    library = Library.open(tmp_path / "empty", state=tmp_path / "s")
    library.sync(QUIET)
    with pytest.raises(BadInput, match="no readable documents in .*: it is empty"):
        library.require()
    (tmp_path / "empty" / "a.jpg").write_bytes(b"x")
    library.sync(QUIET)
    with pytest.raises(BadInput, match=r"1 files are of no known type, the first: a\.jpg"):
        library.require()
    (tmp_path / "empty" / "a.txt").write_bytes(bytes(900))
    library.sync(QUIET)
    with pytest.raises(BadInput, match=r"the first: a\.txt: a\.txt holds binary data"):
        library.require()


def test_a_single_file_is_a_library(docs: Path) -> None:
    library = Library.open(docs / "rivers.md", state=docs.parent / "one")
    library.sync(QUIET)
    library.require()
    assert [p.document for p in library.search("Danube")] == ["rivers.md"]
    assert library.search("Danube")[0].freshness == "fresh"


def test_damaged_ledger_is_one_clear_line(docs: Path) -> None:
    synced(docs)[0].close()
    (docs.parent / "state" / "library.db").write_bytes(b"not a database" * 500)
    for extra in ("library.db-wal", "library.db-shm"):
        (docs.parent / "state" / extra).unlink(missing_ok=True)
    with pytest.raises(CorruptFile, match="damaged"):
        open_library(docs)


def test_locate_gives_heading_and_page(docs: Path) -> None:
    library, _ = synced(docs)
    text = library.document("rivers.md").text
    assert library.locate("rivers.md", text.index("It is long")) == (("Rivers", "Length"), None)


def test_search_while_syncing_from_many_threads(docs: Path) -> None:
    library, _ = synced(docs, Hashed())
    errors: list[BaseException] = []
    stop = threading.Event()

    def ask() -> None:
        try:
            while not stop.is_set():
                for hit in library.search("Danube tea number"):
                    assert hit.text
                assert library.fingerprint
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for round in range(15):
        for i in range(5):
            (docs / f"n{i}.txt").write_text(f"Document number {i} of round {round} about tea.")
        library.sync(QUIET)
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert library.verify() == []


def test_another_library_object_follows(docs: Path) -> None:
    first, _ = synced(docs, Hashed())
    second = open_library(docs, Hashed())
    (docs / "late.txt").write_text("The zeppelin landed.")
    (docs / "rivers.md").unlink()
    first.sync(QUIET)
    assert second.search("zeppelin")[0].document == "late.txt"
    assert second.fingerprint == first.fingerprint
    assert second.verify() == []


NAMES = st.sampled_from(["a.txt", "b.md", "sub/c.txt", "d.html"])
BODIES = st.sampled_from(["", "One river.", "# T\n\nTwo stones.", "word " * 600, "\0\0\0" * 30, "東京の橋。"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.tuples(NAMES, st.none() | BODIES), max_size=4), min_size=1, max_size=4))
def test_any_history_ends_like_a_fresh_index(
    tmp_path_factory: pytest.TempPathFactory, history: list[list[tuple[str, str | None]]]
) -> None:
    """The law of the ledger: however the folder came to be what it is, the index is that of a first run."""
    root = tmp_path_factory.mktemp("history")
    docs = root / "docs"
    (docs / "sub").mkdir(parents=True)
    library = Library.open(docs, state=root / "state", embedder=Hashed(16))
    for edits in history:
        for name, body in edits:
            if body is None:
                (docs / name).unlink(missing_ok=True)
            else:
                (docs / name).write_text(body)
        library.sync(QUIET)
        assert library.verify() == []
    fresh = Library.open(docs, state=root / "fresh", embedder=Hashed(16))
    fresh.sync(QUIET)
    assert library.fingerprint == fresh.fingerprint
    assert [(s.path, s.state, s.chunks) for s in library.documents()] == [
        (s.path, s.state, s.chunks) for s in fresh.documents()
    ]
    library.close()
    fresh.close()


def test_a_thousand_unchanged_files_are_quick(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for i in range(1000):
        (docs / f"{i}.txt").write_text(f"File {i}. " + "Some words about rivers and stones. " * 50)
        os.utime(docs / f"{i}.txt", (1_000_000, 1_000_000))
    Library.open(docs, state=tmp_path / "state").sync(QUIET)
    begin = time.perf_counter()
    library = Library.open(docs, state=tmp_path / "state")
    assert library.sync(QUIET).unchanged == 1000
    assert time.perf_counter() - begin < 5
    assert library.search("File 512")
