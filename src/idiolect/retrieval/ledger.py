"""The library on disk: one SQLite file that holds documents, chunks, their counted terms and their vectors.

The rankers in memory are a function of these tables, so that one transaction changes everything together: after a
`kill -9` at any point a document is either wholly indexed or not at all, and no second index can disagree. WAL mode
lets other processes read while one writes. `synchronous=NORMAL` may lose the last commits when the power fails, never
the order of them; what is lost is read again from the documents.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from idiolect.core.errors import CorruptFile, Unavailable
from idiolect.retrieval.index.segment import Counted
from idiolect.retrieval.types import Block, Chunk, Doc, DocumentStatus

FORMAT = 1  # of the tables; another number means: build anew
TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, format TEXT NOT NULL, title TEXT NOT NULL,
    loader TEXT NOT NULL, chunker TEXT NOT NULL, chunks INTEGER NOT NULL, body BLOB);
CREATE INDEX documents_sha256 ON documents (sha256);
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
    document INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    start INTEGER NOT NULL, stop INTEGER NOT NULL, heading TEXT NOT NULL, page INTEGER, context TEXT NOT NULL,
    text TEXT NOT NULL, key BLOB NOT NULL, terms BLOB NOT NULL);
CREATE INDEX chunks_document ON chunks (document);
CREATE INDEX chunks_key ON chunks (key);
CREATE TABLE vectors (
    id INTEGER PRIMARY KEY AUTOINCREMENT, embedder TEXT NOT NULL, key BLOB NOT NULL, vector BLOB NOT NULL,
    UNIQUE (embedder, key));
"""
CHUNK = """SELECT c.name, d.path, c.text, c.start, c.stop, c.heading, c.page, c.context
    FROM chunks c JOIN documents d ON d.id = c.document"""


@dataclass(frozen=True, slots=True)
class Row:
    """What the ledger knows of a file, enough to see whether it must be read again."""

    id: int
    path: str
    size: int
    mtime_ns: int
    sha256: str
    state: Literal["indexed", "failed", "empty"]
    loader: str
    chunker: str
    title: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of each; a healthy library has chunks == sum over documents, and embedded == chunks when it embeds."""

    documents: int
    failed: int
    empty: int
    chunks: int
    promised: int  # chunks that the documents' rows say they have
    embedded: int


class Ledger:
    """One connection. Use it from one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self.db.execute("PRAGMA journal_mode = WAL")
            self.db.execute("PRAGMA synchronous = NORMAL")
            self.db.execute("PRAGMA foreign_keys = ON")
            with self.transaction():
                if not self.db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
                    for statement in TABLES.split(";"):
                        self.db.execute(statement)
                    self.set("format", str(FORMAT))
            if self.get("format") != str(FORMAT):
                raise CorruptFile(f"{path} was written by another version", hint="delete it; it is built anew")
        except sqlite3.DatabaseError as error:
            raise _clear(error, path) from error
        except OSError as error:
            raise Unavailable(f"cannot write {path.parent}: {error.strerror or error}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. A full disk and a damaged file come out as one clear line."""
        try:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise _clear(error, self.path) from error

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Several reads of one state."""
        self.db.execute("BEGIN")
        try:
            yield
        finally:
            self.db.execute("COMMIT")

    def close(self) -> None:
        self.db.close()

    def version(self) -> int:
        """Changes whenever another connection (of any process) has committed."""
        return int(self.db.execute("PRAGMA data_version").fetchone()[0])

    def get(self, key: str, default: str = "") -> str:
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else default

    def set(self, key: str, value: str) -> None:
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # ------------------------------------------------------------------------------------------------ documents

    def rows(self) -> dict[str, Row]:
        query = "SELECT id, path, size, mtime_ns, sha256, state, loader, chunker, title FROM documents"
        return {r[1]: Row(*r) for r in self.db.execute(query)}

    def row(self, path: str) -> Row | None:
        query = "SELECT id, path, size, mtime_ns, sha256, state, loader, chunker, title FROM documents WHERE path = ?"
        row = self.db.execute(query, (path,)).fetchone()
        return Row(*row) if row else None

    def touch(self, path: str, size: int, mtime_ns: int) -> None:
        """The bytes are the same, only the time has moved."""
        self.db.execute("UPDATE documents SET size = ?, mtime_ns = ? WHERE path = ?", (size, mtime_ns, path))

    def put(
        self,
        row: Row,
        doc: Doc | None,
        chunks: Sequence[Chunk],
        counted: Sequence[Counted],
        *,
        format: str,
        reason: str = "",
    ) -> None:
        """Replace everything known of `row.path`. `row.id` is not read."""
        self.delete([row.path])
        body = None if doc is None else pack(doc)
        values = (row.path, row.size, row.mtime_ns, row.sha256, row.state, reason, format, row.title, row.loader)
        marks = ", ".join("?" * 12)
        cursor = self.db.execute(
            "INSERT INTO documents (path, size, mtime_ns, sha256, state, reason, format, title, loader, chunker,"
            f" chunks, body) VALUES ({marks})",
            (*values, row.chunker, len(chunks), body),
        )
        document = cursor.lastrowid
        self.db.executemany(
            "INSERT INTO chunks (name, document, start, stop, heading, page, context, text, key, terms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (c.id, document, *c.span, json.dumps(c.heading), c.page, c.context, c.text, key(c), blob(t))
                for c, t in zip(chunks, counted, strict=True)
            ],
        )

    def delete(self, paths: Iterable[str]) -> None:
        self.db.executemany("DELETE FROM documents WHERE path = ?", [(p,) for p in paths])

    def doc(self, path: str) -> Doc | None:
        row = self.db.execute("SELECT body, title, format FROM documents WHERE path = ?", (path,)).fetchone()
        return None if row is None or row[0] is None else unpack(row[0], path, row[1], row[2])

    def statuses(self) -> list[DocumentStatus]:
        query = """SELECT path, state, size, mtime_ns / 1e9, sha256, chunks, format, title, reason
            FROM documents ORDER BY path"""
        return [DocumentStatus(*r) for r in self.db.execute(query)]

    # --------------------------------------------------------------------------------------------------- chunks

    def chunks(self, names: Sequence[str]) -> dict[str, Chunk]:
        found = {}
        for at in range(0, len(names), 500):
            some = names[at : at + 500]
            for row in self.db.execute(f"{CHUNK} WHERE c.name IN ({', '.join('?' * len(some))})", some):
                found[row[0]] = chunk(row)
        return found

    def chunks_of(self, path: str) -> list[Chunk]:
        return [chunk(r) for r in self.db.execute(f"{CHUNK} WHERE d.path = ? ORDER BY c.start", (path,))]

    def names(self) -> dict[int, str]:
        return dict(self.db.execute("SELECT id, name FROM chunks").fetchall())

    def terms_after(self, last: int) -> tuple[list[int], list[str], list[Counted]]:
        """Row ids, chunk ids and counted terms of the chunks that were written after row `last`."""
        found = self.db.execute("SELECT id, name, terms FROM chunks WHERE id > ? ORDER BY id", (last,)).fetchall()
        return [r[0] for r in found], [r[1] for r in found], [unblob(r[2]) for r in found]

    def recount(self, count: Any) -> None:
        """Count every chunk's terms anew (the tokeniser has changed), under new row ids."""
        found = self.db.execute("SELECT id, context, text FROM chunks").fetchall()
        last = max((r[0] for r in found), default=0)
        for i, (row, context, text) in enumerate(found, start=1):
            terms = blob(count(f"{context}\n{text}" if context else text))
            self.db.execute("UPDATE chunks SET terms = ?, id = ? WHERE id = ?", (terms, last + i, row))
        self.db.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'chunks'", (last + len(found),))

    # -------------------------------------------------------------------------------------------------- vectors

    def unembedded(self, embedder: str) -> list[tuple[bytes, str]]:
        """Key and text of every distinct chunk that has no vector of this embedder."""
        query = """SELECT key, MIN(CASE context WHEN '' THEN text ELSE context || char(10) || text END)
            FROM chunks WHERE key NOT IN (SELECT key FROM vectors WHERE embedder = ?) GROUP BY key"""
        return list(self.db.execute(query, (embedder,)))

    def put_vectors(self, embedder: str, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        """Keep vectors [len(keys), dim] as half precision: a cosine moves by less than 1e-3, and the file is half."""
        halves = np.asarray(vectors, np.float16)
        rows = [(embedder, k, v.tobytes()) for k, v in zip(keys, halves, strict=True)]
        self.db.executemany("INSERT OR IGNORE INTO vectors (embedder, key, vector) VALUES (?, ?, ?)", rows)

    def vectors_after(self, embedder: str, last: int, last_chunk: int) -> tuple[int, list[str], NDArray[np.float32]]:
        """The newest vector's row id, and chunk ids with their vectors [n, dim] of all pairs of which the vector is
        newer than row `last` or the chunk newer than row `last_chunk`."""
        query = """SELECT c.name, v.vector FROM chunks c JOIN vectors v ON v.key = c.key AND v.embedder = :e
            WHERE c.id > :c UNION ALL
            SELECT c.name, v.vector FROM vectors v JOIN chunks c ON c.key = v.key
            WHERE v.id > :v AND v.embedder = :e AND c.id <= :c"""
        top = self.db.execute("SELECT COALESCE(MAX(id), 0) FROM vectors").fetchone()[0]
        found = self.db.execute(query, {"e": embedder, "v": last, "c": last_chunk}).fetchall()
        matrix = np.frombuffer(b"".join(r[1] for r in found), np.float16).astype(np.float32)
        return top, [r[0] for r in found], matrix.reshape(len(found), -1) if found else matrix.reshape(0, 0)

    def forget_vectors(self, embedder: str) -> None:
        """Drop the vectors of other embedders and of texts that no chunk holds any more."""
        self.db.execute("DELETE FROM vectors WHERE embedder <> ?", (embedder,))
        self.db.execute("DELETE FROM vectors WHERE key NOT IN (SELECT key FROM chunks)")

    def counts(self, embedder: str = "") -> Counts:
        one = self.db.execute(
            """SELECT COUNT(*), COALESCE(SUM(state = 'failed'), 0), COALESCE(SUM(state = 'empty'), 0),
            (SELECT COUNT(*) FROM chunks), COALESCE(SUM(chunks), 0),
            (SELECT COUNT(*) FROM chunks c JOIN vectors v ON v.key = c.key AND v.embedder = ?) FROM documents""",
            (embedder,),
        ).fetchone()
        return Counts(*one)


def key(chunk: Chunk) -> bytes:
    """Names what an embedder reads of a chunk, so that a renamed file needs no new vectors."""
    return hashlib.blake2b(f"{chunk.context}\0{chunk.text}".encode(), digest_size=16).digest()


def blob(counted: Counted) -> bytes:
    return counted[0].tobytes() + counted[1].tobytes()


def unblob(raw: bytes) -> Counted:
    n = len(raw) // 10
    return np.frombuffer(raw, np.uint64, n), np.frombuffer(raw, np.uint16, n, 8 * n)


def chunk(row: tuple[Any, ...]) -> Chunk:
    name, path, text, start, stop, heading, page, context = row
    return Chunk(name, path, text, (start, stop), tuple(json.loads(heading)), page, context)


def pack(doc: Doc) -> bytes:
    """Text and blocks of a document, compressed."""
    blocks = [[*b.span, b.kind, b.heading, b.page] for b in doc.blocks]
    return zlib.compress(json.dumps({"text": doc.text, "blocks": blocks}).encode(), 1)


def unpack(raw: bytes, path: str, title: str, format: str) -> Doc:
    body = json.loads(zlib.decompress(raw))
    blocks = tuple(Block((a, b), kind, tuple(heading), page) for a, b, kind, heading, page in body["blocks"])
    return Doc(path, body["text"], blocks, title, format)


def _clear(error: sqlite3.DatabaseError, path: Path) -> Exception:
    text = str(error)
    if "full" in text:
        return Unavailable(f"no room left on the disk of {path}", hint="free some space and try again")
    if "locked" in text:
        return Unavailable(f"{path} is busy in another process", hint="try again")
    if "readonly" in text or "unable to open" in text:
        return Unavailable(f"cannot write {path}", hint="check the folder and its permissions")
    return CorruptFile(f"{path} is damaged ({text})", hint="delete it; it is built anew from the documents")
