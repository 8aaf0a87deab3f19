"""A folder of documents that can be searched: `Library.open(folder)`, `sync()`, `search(question)`.

What is on disk (the ledger) decides; the rankers in memory follow it. Any number of threads may search while one
syncs. Several processes may open one folder: each reads what the others commit, and a second `sync` waits for the
first, then finds nothing left to do.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from idiolect.core import files
from idiolect.core.call import Passage
from idiolect.core.errors import BadInput, NotFound, Unavailable
from idiolect.core.progress import Progress, Sink, progress
from idiolect.retrieval.chunk import Recursive
from idiolect.retrieval.fuse import reciprocal_rank
from idiolect.retrieval.index import BM25, Exact
from idiolect.retrieval.ingest import Ingest
from idiolect.retrieval.ledger import Counts, Ledger
from idiolect.retrieval.scan import scan
from idiolect.retrieval.tokenise import STOP_WORDS, Tokeniser
from idiolect.retrieval.types import Chunk, Doc, DocumentStatus, Embedder, Hit, SyncReport

How = Literal["hybrid", "bm25", "dense"]
Freshness = Literal["fresh", "stale", "gone"]
MODULUS = 1 << 80  # chunk ids are 80-bit numbers


@dataclass(frozen=True, slots=True)
class LibraryConfig:
    """How a folder is read and ranked. A change of the first group cuts or counts the stored texts anew; nothing here
    makes a file be parsed twice."""

    chunk_size: int = 700  # characters, see chunk.py
    chunk_overlap: int = 100
    chunk_least: int = 150
    language: str | None = "english"  # of the stemmer; None: no stemming

    exclude: tuple[str, ...] = ()  # patterns in gitignore's syntax
    max_bytes: int = 64 << 20  # of one file

    k1: float = 1.5  # BM25's term saturation
    b: float = 0.75  # BM25's length normalisation
    stop_words: bool = True  # leave English function words out of queries
    rrf_k: float = 60.0
    depth: int = 100  # ranks of each ranker that are fused

    def __post_init__(self) -> None:
        bounds = {"k1": (0, 100), "b": (0, 1), "rrf_k": (0, 1e6), "depth": (1, 1e6), "max_bytes": (1, 1e15)}
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise BadInput(f"{name} is {value}", hint=f"give a value from {low:g} to {high:g}", param=name)


class Library:
    """Open one with `Library.open`; close it with `close()` or `with`."""

    def __init__(self, root: Path, state: Path, embedder: Embedder | None, config: LibraryConfig) -> None:
        self.folder, self.state, self.embedder, self.config = root, state, embedder, config
        self.tokeniser = Tokeniser(config.language)
        self.chunker = Recursive(config.chunk_size, config.chunk_overlap, config.chunk_least)
        self.indexing = False  # a sync is running in this process
        self.last_sync: float | None = None  # seconds since the epoch
        self.report = SyncReport()  # of the last finished sync
        self._lock = threading.RLock()  # guards the reading connection and the rankers
        self._sync_lock = threading.Lock()
        self._ledger = Ledger(state / "library.db")
        self._single = root.is_file()
        self._seen = -1  # the data version that the rankers follow
        self._bm25 = BM25(self.tokeniser, k1=config.k1, b=config.b, stop=STOP_WORDS if config.stop_words else ())
        self._exact: Exact | None = None
        self._rows: dict[int, str] = {}  # row of the chunks table -> chunk id
        self._last_chunk = self._last_vector = self._sum = 0
        self._stamps: dict[str, tuple[int, int, str]] = {}  # path -> size, mtime_ns, sha256
        self.refresh()

    @classmethod
    def open(
        cls,
        folder: Path | str,
        *,
        embedder: Embedder | None = None,
        state: Path | None = None,
        config: LibraryConfig | None = None,
    ) -> Library:
        """Open the library of a folder (or of one file) and load what was indexed before; nothing is read from the
        folder until `sync`. `state` is where the ledger lives, by default one folder per library under
        `core.files.state_dir`. Raises `NotFound` when there is no such folder, `BadInput` when it cannot be read."""
        root = Path(folder).expanduser()
        if not root.exists():
            raise NotFound(f"there is no folder {folder}", hint="give a folder of documents, or one file")
        root = root.resolve()
        if state is None:
            name = hashlib.sha256(str(root).encode("utf-8", "surrogateescape")).hexdigest()[:16]
            state = files.state_dir() / "libraries" / name
        return cls(root, state, embedder, config or LibraryConfig())

    def close(self) -> None:
        with self._lock:
            self._ledger.close()

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --------------------------------------------------------------------------------------------------- writing

    def sync(
        self,
        progress_to: Progress | Sink | None = None,
        *,
        vectors: int | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> SyncReport:
        """Bring the index up to date with the folder. One at a time: another process (or thread) that syncs the same
        folder is waited for. `progress_to` is a running `Progress`, or a sink for one; None: a bar on a terminal.
        With more than `vectors` passages that have no vector yet (None: however many) the slow second stage is left to
        a later sync: words can be searched at once. `stop` is asked between batches; what was committed until then
        stays, and the next sync goes on from there."""
        bar: AbstractContextManager[Progress]
        if isinstance(progress_to, Progress):
            bar = nullcontext(progress_to)
        else:
            bar = progress("indexing", unit="files", sink=progress_to)
        with bar as shown, self._sync_lock:
            self.indexing = True
            try:
                with self._only_writer(shown):
                    return self._sync(shown, vectors, stop)
            finally:
                self.indexing = False

    def _only_writer(self, bar: Progress) -> AbstractContextManager[None]:
        """The lock between processes; says so when it must be waited for."""
        path = self.state / "library.lock"
        held = files.lock(path, timeout=0)
        try:
            held.__enter__()
        except Unavailable:
            bar.update(note="waiting for another process that indexes this folder")
            return files.lock(path)
        return _Held(held)

    def _sync(self, bar: Progress, vectors: int | None, stop: Callable[[], bool]) -> SyncReport:
        found = scan(self.folder, exclude=self.config.exclude, max_bytes=self.config.max_bytes)
        ledger = Ledger(self._ledger.path)
        try:
            work = Ingest(ledger, self.chunker, self.tokeniser, self.embedder, stop, most=vectors)
            self.report = work.run(found, bar)
        finally:
            ledger.close()
        self.last_sync = time.time()
        self.refresh()
        return self.report

    def refresh(self) -> None:
        """Follow what any process has committed since the last look. Cheap when nothing was."""
        with self._lock:
            version = self._ledger.version()
            if version == self._seen:
                return
            with self._ledger.snapshot():
                self._follow()
            self._seen = version

    def _follow(self) -> None:
        """Make the rankers equal to the tables (inside one read transaction)."""
        ledger = self._ledger
        self._stamps = {r.path: (r.size, r.mtime_ns, r.sha256) for r in ledger.rows().values()}
        if ledger.get("tokeniser") != self.tokeniser.fingerprint:
            return  # another tokeniser counted these terms; the next sync counts them anew
        names = ledger.names()
        gone = [self._rows.pop(row) for row in [r for r in self._rows if r not in names]]
        self._bm25.delete(gone)
        if self._exact is not None:
            self._exact.delete(gone)
        self._sum -= sum(int(name, 16) for name in gone)
        rows, ids, counted = ledger.terms_after(self._last_chunk)
        self._bm25.add_counted(ids, counted)
        self._rows.update(zip(rows, ids, strict=True))
        self._sum = (self._sum + sum(int(name, 16) for name in ids)) % MODULUS
        if self.embedder is not None:
            name = self.embedder.fingerprint
            self._last_vector, ids, vectors = ledger.vectors_after(name, self._last_vector, self._last_chunk)
            if ids:
                self._exact = self._exact or Exact(vectors.shape[1])
                self._exact.add(ids, vectors)
        self._last_chunk = max(self._last_chunk, *rows) if rows else self._last_chunk

    def watch(self, on_change: Callable[[SyncReport], None] | None = None) -> AbstractContextManager[object]:
        """Keep the index fresh in a background thread for as long as the context lasts (see watch.py)."""
        from idiolect.retrieval.watch import Watcher

        return Watcher(self, on_change)

    # --------------------------------------------------------------------------------------------------- reading

    def search(self, query: str, k: int = 10, how: How = "hybrid") -> list[Passage]:
        """The best `k` passages, best first, each with the scores of every ranker (`bm25`, `dense`, `rrf`) and
        whether its file is still as it was indexed. `hybrid` without an embedder, or before the first vectors are
        there, is BM25. Raises `BadInput` for a bad `k` or `how`, `Unavailable` for `dense` without an embedder."""
        if k < 1:
            raise BadInput(f"k is {k}", hint="give 1 or more", param="k")
        if how not in ("hybrid", "bm25", "dense"):
            raise BadInput(f"there is no search {how!r}", hint="give hybrid, bm25 or dense", param="how")
        if how == "dense" and self.embedder is None:
            raise Unavailable("there is no encoder for dense search", hint="open the library with one, or use bm25")
        if not query.strip():
            return []
        vector = self.embedder([query], "query")[0] if self.embedder is not None and how != "bm25" else None
        with self._lock:
            self.refresh()
            words = self._bm25.scores(query)
            near = self._exact.scores(vector) if self._exact is not None and vector is not None else None
            hits = self._rank(words, near, k, how)
            chunks = self._ledger.chunks([h.chunk for h in hits])
            found = []
            for hit in hits:
                if hit.chunk not in chunks:
                    continue  # deleted by another process since the refresh
                scores = {"bm25": self._bm25.score_of(words, hit.chunk)}
                if self._exact is not None and near is not None:
                    cosine = self._exact.score_of(near, hit.chunk)
                    scores |= {} if cosine is None else {"dense": cosine}
                scores |= {"rrf": hit.score} if how == "hybrid" else {}
                found.append(chunks[hit.chunk].passage(hit.score, scores))
        fresh = {document: self.freshness(document) for document in {p.document for p in found}}
        return [replace(p, freshness=fresh[p.document]) for p in found]

    def _rank(self, words: NDArray[np.float32], near: NDArray[np.float32] | None, k: int, how: How) -> list[Hit]:
        if how == "bm25":
            return self._bm25.top(words, k)
        if how == "dense":
            return self._exact.top(near, k) if self._exact is not None and near is not None else []
        depth = max(self.config.depth, k)
        rankings = {"bm25": self._bm25.top(words, depth)}
        if self._exact is not None and near is not None:
            rankings["dense"] = self._exact.top(near, depth)
        return reciprocal_rank(rankings, k=self.config.rrf_k)[:k]

    def freshness(self, path: str) -> Freshness:
        """Whether a document's file is still as it was indexed: one stat; a hash only where just the time moved."""
        file = self.file(path)
        stamp = self._stamps.get(path)
        try:
            status = file.stat()
            if stamp is None or status.st_size != stamp[0]:
                return "stale"
            if status.st_mtime_ns != stamp[1]:
                if files.sha256_file(file) != stamp[2]:
                    return "stale"
                self._stamps[path] = (status.st_size, status.st_mtime_ns, stamp[2])  # ask the hash once
            return "fresh"
        except FileNotFoundError:
            return "gone"
        except OSError:
            return "stale"

    def file(self, path: str) -> Path:
        """Where a document's file is (or was)."""
        return self.folder if self._single else self.folder / path

    def documents(self) -> list[DocumentStatus]:
        """The ledger, by path: what is indexed, what failed and why."""
        with self._lock:
            return self._ledger.statuses()

    def document(self, path: str) -> Doc:
        """A document as it was indexed: the text that spans count in. Raises `NotFound`."""
        with self._lock:
            doc = self._ledger.doc(path)
        if doc is None:
            raise NotFound(f"there is no document {path!r} in the library", param="path")
        return doc

    def chunk(self, chunk_id: str) -> Chunk:
        """Raises `NotFound`."""
        with self._lock:
            found = self._ledger.chunks([chunk_id])
        if not found:
            raise NotFound(f"there is no chunk {chunk_id!r} in the library", param="id")
        return found[chunk_id]

    def chunks(self, path: str) -> list[Chunk]:
        """All chunks of a document, in order."""
        with self._lock:
            return self._ledger.chunks_of(path)

    def locate(self, path: str, offset: int) -> tuple[tuple[str, ...], int | None]:
        """Heading path and page of the character at `offset` of a document: a quote's own, where a chunk spans two."""
        blocks = self.document(path).blocks
        block = next((b for b in reversed(blocks) if b.span[0] <= offset), blocks[0] if blocks else None)
        return (block.heading, block.page) if block else ((), None)

    def counts(self) -> Counts:
        """How much there is of each, for the invariant chunks == embedded == indexed."""
        with self._lock:
            return self._ledger.counts(self.embedder.fingerprint if self.embedder else "")

    def __len__(self) -> int:
        """Chunks that can be searched."""
        with self._lock:
            self.refresh()
            return len(self._bm25)

    @property
    def missing(self) -> int:
        """Chunks that only their words can find, since they have no vector yet; 0 without an embedder."""
        with self._lock:
            self.refresh()
            return 0 if self.embedder is None else len(self._bm25) - (0 if self._exact is None else len(self._exact))

    @property
    def fingerprint(self) -> str:
        """Changes when any search could answer differently: made of the chunks, the vectors and the settings."""
        with self._lock:
            self.refresh()
            vectors = 0 if self._exact is None else len(self._exact)
            name = self.embedder.fingerprint if self.embedder else ""
            ranking = (self.config.k1, self.config.b, self.config.stop_words, self.config.rrf_k, self.config.depth)
            parts = (self._sum, len(self._bm25), vectors, name, self.tokeniser.fingerprint, ranking)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]

    def verify(self) -> list[str]:
        """What is wrong with the index, in words; empty: every document's chunks are there, counted, embedded and in
        the rankers. Run after a sync; during one the vectors are still under way."""
        with self._lock:
            self.refresh()
            counts = self.counts()
            problems = []
            if counts.chunks != counts.promised:
                problems.append(f"{counts.promised} chunks were cut but {counts.chunks} are stored")
            if len(self._bm25) != counts.chunks:
                problems.append(f"{counts.chunks} chunks are stored but {len(self._bm25)} can be found by words")
            if self.embedder is not None and counts.embedded != counts.chunks:
                problems.append(f"{counts.chunks} chunks are stored but {counts.embedded} are embedded")
            if self.embedder is not None and (0 if self._exact is None else len(self._exact)) != counts.embedded:
                problems.append(f"{counts.embedded} chunks are embedded but not all can be found by vectors")
            return problems

    def require(self) -> None:
        """Raise `BadInput` when there is nothing to search, with the reason that the last sync found."""
        if len(self):
            return
        report, known = self.report, self.documents()
        if not known and self.last_sync is None:
            raise BadInput(f"{self.folder} has not been indexed", hint="search without --stale, or run: idiolect index")
        failed = [s for s in known if s.state != "indexed"]
        why = "it is empty"
        if failed:
            why = f"{len(failed)} could not be used, the first: {failed[0].path}: {failed[0].reason}"
        elif report.skipped:
            why = f"{len(report.skipped)} files are of no known type, the first: {next(iter(report.skipped))}"
        raise BadInput(
            f"no readable documents in {self.folder}: {why}", hint="put text, Markdown, HTML, PDF or DOCX files into it"
        )


class _Held(AbstractContextManager[None]):
    """A context that was entered before."""

    def __init__(self, inner: AbstractContextManager[None]) -> None:
        self._inner = inner

    def __enter__(self) -> None:
        return None

    def __exit__(self, *args: object) -> None:
        self._inner.__exit__(None, None, None)
