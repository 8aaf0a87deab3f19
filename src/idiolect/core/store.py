"""The event store: everything that happened, append-only, in one SQLite file.

Three kinds of rows. *Nodes* are messages named by the hash of themselves and of everything said before them, so two
conversations share what they have in common, and a branch is just another child. *Events* are typed records in one
hash chain: each row's hash covers the row before it, so a changed, removed or inserted row shows (`verify`). *Blobs*
are bytes named by their hash. Triggers refuse UPDATE and DELETE. What `append` returned is on the disk.

Threads share one Store; processes share one file.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from idiolect.core.call import Message
from idiolect.core.canonical import ROOT, canonical, event_hash, message_from_json, message_json, node_hash
from idiolect.core.errors import BadInput, NotFound, Unavailable
from idiolect.core.journal import Journal, connect, explain, prepare

if TYPE_CHECKING:
    from idiolect.core.verify import VerifyReport

PAGE = 512  # rows per read: no reader holds a snapshot while its caller thinks


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A committed event. `time` is seconds since the epoch; `seq` counts from 1 without gaps."""

    seq: int
    time: float
    kind: str
    trace: str
    chain: str | None
    payload: dict[str, Any]
    hash: str


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event on its way into the store."""

    kind: str
    payload: Mapping[str, Any]
    trace: str = ""
    chain: str | None = None


class Store:
    """`with Store.open(path) as store: store.append("started", {"model": "m"}, trace=ctx.trace)`."""

    def __init__(self, path: Path) -> None:
        prepare(path)
        self.path = path
        self._journal = Journal(path)
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    @classmethod
    def open(cls, path: Path | str) -> Store:
        """Open or create. `CorruptFile`: not a store, or a newer one; `Unavailable`: the folder cannot be written."""
        return cls(Path(path))

    # ------------------------------------------------------------------------------------------------- writing

    def append(self, kind: str, payload: Mapping[str, Any], trace: str = "", chain: str | None = None) -> StoredEvent:
        """Store one event; returns once it is committed. The payload is any plain data, dataclasses included.

        Raises `BadInput` (cannot be stored), `NotFound` (no such chain), `Unavailable` (the disk is full; nothing of
        this call was kept, everything before it was).
        """
        return self.submit([NewEvent(kind, payload, trace, chain)]).result()[0]

    def append_many(self, events: Iterable[NewEvent]) -> list[StoredEvent]:
        """Several events in one transaction: all of them or none, with no other event between them."""
        return self.submit(events).result()

    def submit(self, events: Iterable[NewEvent], *, durable: bool = True) -> Future[list[StoredEvent]]:
        """As `append_many`, without waiting: `await asyncio.wrap_future(store.submit([...]))` in async code. What is
        not `durable` survives `kill -9` but perhaps not a power cut, and costs no fsync (see core/journal.py)."""
        rows = [(e.kind, e.trace, e.chain or ROOT, _payload(e.payload), time.time()) for e in events]
        return self._journal.submit(lambda connection: _insert(connection, rows), durable=durable)

    def put_chain(self, messages: Sequence[Message], parent: str | None = None) -> str:
        """Store messages below `parent` (None: a new conversation); returns the last one's hash. What is already
        there is not stored again. With no messages it returns `parent`, or the empty root."""
        last, written = self.submit_chain(messages, parent)
        written.result()
        return last

    def submit_chain(
        self, messages: Sequence[Message], parent: str | None = None, *, durable: bool = True
    ) -> tuple[str, Future[None]]:
        """As `put_chain`, without waiting: the hash is known at once, and an event submitted after it may name it."""
        nodes, last = [], parent or ROOT
        for message in messages:
            text = message_json(message)
            nodes.append((node_hash(last, text), last, text))
            last = nodes[-1][0]

        def work(connection: sqlite3.Connection) -> None:
            if parent:
                _need_node(connection, parent)
            connection.executemany("INSERT OR IGNORE INTO nodes VALUES (?, ?, ?)", nodes)

        return last, self._journal.submit(work, durable=durable)

    def put_blob(self, data: bytes) -> str:
        """Store bytes once; returns their hex SHA-256."""
        name = hashlib.sha256(data).hexdigest()

        def work(connection: sqlite3.Connection) -> str:
            connection.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?)", (name, data))
            return name

        return self._journal.submit(work).result()

    # ------------------------------------------------------------------------------------------------- reading

    def chain(self, hash: str) -> tuple[Message, ...]:
        """The conversation that ends at `hash`, first message first. `NotFound` when it is not here."""
        if hash == ROOT:
            return ()
        rows = self._read(
            "WITH RECURSIVE up(hash, parent, message, depth) AS ("
            " SELECT hash, parent, message, 0 FROM nodes WHERE hash = ?"
            " UNION ALL SELECT n.hash, n.parent, n.message, depth + 1 FROM nodes n JOIN up ON n.hash = up.parent)"
            " SELECT message FROM up ORDER BY depth DESC",
            (hash,),
        )
        if not rows:
            raise NotFound(f"there is no chain {hash[:12]!r} in the store")
        return tuple(message_from_json(text) for (text,) in rows)

    def parent(self, hash: str) -> str | None:
        """The node above `hash`; None for a first message."""
        rows = self._read("SELECT parent FROM nodes WHERE hash = ?", (hash,))
        if not rows:
            raise NotFound(f"there is no chain {hash[:12]!r} in the store")
        return rows[0][0] or None

    def blob(self, hash: str) -> bytes:
        rows = self._read("SELECT data FROM blobs WHERE hash = ?", (hash,))
        if not rows:
            raise NotFound(f"there is no blob {hash[:12]!r} in the store")
        return bytes(rows[0][0])

    def events(
        self,
        kind: str | None = None,
        trace: str | None = None,
        after: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[StoredEvent]:
        """Events with `seq > after`, oldest first unless told otherwise. Lookups by trace and by kind use an index.
        Events appended while you iterate oldest first are seen."""
        where, fixed = ["1"], []
        if trace is not None:
            where.append("trace = ? AND trace != ''" if trace else "trace = ?")
            fixed.append(trace)
        if kind is not None:
            where.append("+kind = ?" if trace else "kind = ?")  # "+": the trace's index is the narrower one
            fixed.append(kind)
        order = "DESC" if newest_first else "ASC"
        sql = f"SELECT seq, time, kind, trace, chain, payload, hash FROM events WHERE {' AND '.join(where)}"
        low, high, left = after, (1 << 63) - 1, limit
        while left is None or left > 0:
            size = PAGE if left is None else min(left, PAGE)
            rows = self._read(f"{sql} AND seq > ? AND seq <= ? ORDER BY seq {order} LIMIT ?", (*fixed, low, high, size))
            yield from map(_event, rows)
            if len(rows) < size:
                return
            left = None if left is None else left - len(rows)
            low, high = (low, rows[-1][0] - 1) if newest_first else (rows[-1][0], high)

    def count(self) -> int:
        """How many events there are."""
        return int(self._read("SELECT coalesce(max(seq), 0) FROM events", ())[0][0])

    def verify(self) -> VerifyReport:
        """Recompute every hash of the file; see `core.verify`."""
        from idiolect.core.verify import verify

        return verify(self.path)

    # ----------------------------------------------------------------------------------------------- life cycle

    def close(self) -> None:
        """Write what is waiting and let go of the file. Twice is fine."""
        self._journal.close()
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _read(self, sql: str, values: Sequence[Any]) -> list[Any]:
        try:
            with self._connection() as connection:
                return connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise explain(error, self.path) from error

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._closed:
                raise Unavailable(f"the store {self.path} is closed")
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = connect(self.path)
            connection.execute("PRAGMA query_only = ON")
        try:
            yield connection
        finally:
            with self._lock:
                keep = not self._closed
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()


def _payload(payload: Any) -> str:
    text = canonical(payload)
    if not text.startswith("{"):
        raise BadInput(f"an event's payload is a {type(payload).__name__}", hint="give a mapping or a dataclass")
    return text


def _event(row: Sequence[Any]) -> StoredEvent:
    seq, when, kind, trace, chain, payload, hash = row
    return StoredEvent(seq, when, kind, trace, chain or None, json.loads(payload), hash)


def _need_node(connection: sqlite3.Connection, hash: str) -> None:
    if connection.execute("SELECT 1 FROM nodes WHERE hash = ?", (hash,)).fetchone() is None:
        raise NotFound(f"there is no chain {hash[:12]!r} in the store", hint="put_chain it first")


def _insert(connection: sqlite3.Connection, rows: Sequence[tuple[str, str, str, str, float]]) -> list[StoredEvent]:
    for chain in {row[2] for row in rows} - {ROOT}:
        _need_node(connection, chain)
    last = connection.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    seq, previous = last or (0, ROOT)
    stored = []
    for kind, trace, chain, payload, when in rows:
        seq += 1
        previous = event_hash(previous, seq, when, kind, trace, chain, payload)
        connection.execute(
            "INSERT INTO events VALUES (?,?,?,?,?,?,?)", (seq, when, kind, trace, chain, payload, previous)
        )
        stored.append(_event((seq, when, kind, trace, chain, payload, previous)))
    return stored
