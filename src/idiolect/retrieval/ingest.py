"""One pass over the folder: read what changed, forget what is gone, embed what has no vector.

The fast path is a stat: same size and time, same loader and chunker, nothing to do. Else the hash decides. A failure
is a row of the ledger with its reason, never the end of the pass; it is tried again when the file changes. Documents
are committed in batches, whole or not at all; vectors follow in a second stage, so that words can be searched while
the encoder still works, and a pass that was killed goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from idiolect.core.errors import IdiolectError
from idiolect.core.files import sha256_file
from idiolect.core.progress import Progress
from idiolect.retrieval.index.bm25 import searchable
from idiolect.retrieval.index.segment import Counted
from idiolect.retrieval.ledger import Ledger, Row
from idiolect.retrieval.load import fingerprint, format_of, load, stem_title
from idiolect.retrieval.scan import Found, Scan
from idiolect.retrieval.tokenise import Tokeniser
from idiolect.retrieval.types import Chunk, Chunker, Doc, Embedder, SyncReport

BATCH_CHARACTERS = 4 << 20  # of text per transaction
BATCH_SECONDS = 2.0  # at most this long until what was read can be searched
EMBED_BATCH = 64  # texts per call of the embedder and per transaction: a few seconds at most
RACY_NS = 2_000_000_000  # a file this young may change again without its time moving (coarse clocks)


@dataclass(slots=True)
class Entry:
    """A file that was read and waits for its transaction."""

    row: Row
    doc: Doc | None
    chunks: list[Chunk]
    counted: list[Counted]
    format: str
    reason: str = ""


@dataclass(slots=True)
class Ingest:
    """The pass. `on_commit` is called after every transaction; when `stop` says so it ends after the one at hand. More
    than `most` texts without a vector are left without (None: none are)."""

    ledger: Ledger
    chunker: Chunker
    tokeniser: Tokeniser
    embedder: Embedder | None = None
    stop: Callable[[], bool] = lambda: False
    on_commit: Callable[[], None] = lambda: None
    most: int | None = None
    report: SyncReport = field(default_factory=SyncReport)
    _pending: list[Entry] = field(default_factory=list)
    _touched: list[tuple[str, int, int]] = field(default_factory=list)  # same bytes, another time
    _characters: int = 0
    _since: float = 0.0

    def run(self, scan: Scan, bar: Progress) -> SyncReport:
        begin = time.perf_counter()
        self.report.skipped = scan.skipped
        self._retoken()
        rows = self.ledger.rows()
        work = [(f, rows.get(p)) for p, f in scan.found.items() if not self._same(f, rows.get(p))]
        self.report.unchanged = len(scan.found) - len(work)
        gone = [p for p in rows if p not in scan.found and not p.startswith(tuple(scan.unreadable))]
        origin = {row.sha256: path for path, row in rows.items() if row.state == "indexed"}
        bar.update(total=len(work), note="")
        self._since = time.monotonic()
        for found, row in work:
            if self.stop():
                break
            bar.update(note=found.path)
            self._take(found, row, origin)
            if self._characters > BATCH_CHARACTERS or time.monotonic() - self._since > BATCH_SECONDS:
                self._flush()
            bar.advance()
        self._flush()
        if gone:
            with self.ledger.transaction():
                self.ledger.delete(gone)
            self.report.removed = gone
            self.on_commit()
        self.report.failed = {s.path: s.reason for s in self.ledger.statuses() if s.state == "failed"}
        if self.embedder is not None:
            self._embed(self.embedder, bar)
        self.report.seconds = time.perf_counter() - begin
        return self.report

    def _same(self, found: Found, row: Row | None) -> bool:
        if row is None or (row.state == "failed" and not row.sha256):  # could not even be opened: ask again
            return False
        stamps = (row.size, row.mtime_ns, row.loader, row.chunker)
        return stamps == (found.size, found.mtime_ns, self._loader(found.path), self.chunker.fingerprint)

    def _loader(self, path: str) -> str:
        return fingerprint(format_of(path) or "text")

    def _take(self, found: Found, row: Row | None, origin: dict[str, str]) -> None:
        """Read one file, or find that it is known already."""
        loader, cutter = self._loader(found.path), self.chunker.fingerprint
        young = time.time_ns() - found.mtime_ns < RACY_NS
        new = Row(0, found.path, found.size, 0 if young else found.mtime_ns, "", "indexed", loader, cutter, "")
        doc, reason = None, ""
        try:
            new = replace(new, sha256=sha256_file(found.file))
            if row is not None and (row.sha256, row.loader, row.chunker) == (new.sha256, loader, cutter):
                self._touched.append((found.path, found.size, new.mtime_ns))
                self.report.unchanged += 1
                return
            doc = self._known(found.path, new, origin, loader) or load(found.file, found.path)
        except IdiolectError as error:
            reason = str(error)
        except PermissionError:
            reason = f"{found.path}: no permission to read it (change its permissions or exclude it)"
        except FileNotFoundError:
            return  # deleted since the scan; the next pass sees it
        except Exception as error:  # a parser's own defect must not stop the other files
            reason = f"{found.path} could not be read ({type(error).__name__}: {error})"
        if doc is None and row is not None and row.state == "failed" and not (row.sha256 or new.sha256):
            self.report.unchanged += 1  # still cannot be opened
            return
        (self.report.added if row is None else self.report.changed).append(found.path)
        if doc is None:
            entry = Entry(replace(new, state="failed"), None, [], [], format_of(found.path) or "", reason)
        elif not doc.text.strip():
            why = "a PDF of images without text" if doc.format == "pdf" else "there is no text in it"
            entry = Entry(replace(new, state="empty", title=doc.title), doc, [], [], doc.format, why)
        else:
            chunks = list(self.chunker(doc))
            counted = [self.tokeniser.count(searchable(c)) for c in chunks]
            entry = Entry(replace(new, title=doc.title), doc, chunks, counted, doc.format)
            self.report.chunks += len(chunks)
            self._characters += len(doc.text)
        self.report.bytes += found.size
        self._pending.append(entry)

    def _known(self, path: str, new: Row, origin: dict[str, str], loader: str) -> Doc | None:
        """The same bytes under this or another name (a renamed file), read by the same loader: no need to parse."""
        old = origin.get(new.sha256)
        if old is None or self._loader(old) != loader:
            return None
        row = self.ledger.row(old)  # asked anew: this pass may have replaced it
        known = row is not None and (row.loader, row.sha256) == (loader, new.sha256)
        doc = self.ledger.doc(old) if known else None
        if doc is None:
            return None
        if old != path:
            self.report.renamed[path] = old
        return replace(doc, path=path, title=stem_title(path) if doc.title == stem_title(old) else doc.title)

    def _flush(self) -> None:
        if self._pending or self._touched:
            with self.ledger.transaction():
                for e in self._pending:
                    self.ledger.put(e.row, e.doc, e.chunks, e.counted, format=e.format, reason=e.reason)
                for path, size, mtime_ns in self._touched:
                    self.ledger.touch(path, size, mtime_ns)
            self._pending, self._touched, self._characters = [], [], 0
            self.on_commit()
        self._since = time.monotonic()

    def _retoken(self) -> None:
        if self.ledger.get("tokeniser") != self.tokeniser.fingerprint:
            with self.ledger.transaction():
                self.ledger.recount(self.tokeniser.count)
                self.ledger.set("tokeniser", self.tokeniser.fingerprint)

    def _embed(self, embedder: Embedder, bar: Progress) -> None:
        wanted = sorted(self.ledger.unembedded(embedder.fingerprint), key=lambda item: len(item[1]), reverse=True)
        if self.most is not None and len(wanted) > self.most:
            return
        if wanted:
            bar.unit = "passages"
            bar.update(total=len(wanted), done=0, note="embedding")
        for at in range(0, len(wanted), EMBED_BATCH):
            if self.stop():
                return
            some = wanted[at : at + EMBED_BATCH]
            vectors = embedder([text for _, text in some], "doc")
            with self.ledger.transaction():
                self.ledger.put_vectors(embedder.fingerprint, [k for k, _ in some], vectors)
            self.report.embedded += len(some)
            self.on_commit()
            bar.advance(len(some))
        if wanted or self.report.removed or self.report.changed:
            with self.ledger.transaction():
                self.ledger.forget_vectors(embedder.fingerprint)
