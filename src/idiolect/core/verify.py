"""Proof that a store lost nothing and that nothing in it was changed: every hash is computed again."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from idiolect.core.canonical import ROOT, event_hash, node_hash
from idiolect.core.journal import connect, damaged, explain


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """`problem` names the first bad row in words; empty when all is well. `head` is the last event's hash: keep a copy
    of it elsewhere, and nobody can rewrite the history below it unseen."""

    ok: bool
    events: int
    nodes: int
    blobs: int
    head: str
    problem: str = ""
    table: str = ""
    row: str = ""  # the first bad row's seq or hash


class _Bad(Exception):
    def __init__(self, table: str, row: object, problem: str) -> None:
        super().__init__(problem)
        self.table, self.row = table, str(row)


def verify(path: Path) -> VerifyReport:
    """Check a store's file from one snapshot; writers may go on meanwhile. Reads only.

    What is wrong with the content is in the report. `Unavailable` or `CorruptFile` is raised when the file cannot be
    read as a store at all."""
    counts = {"events": 0, "nodes": 0, "blobs": 0}
    head = ROOT
    bad: tuple[str, str, str] | None = None
    try:
        connection = connect(path)
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("BEGIN")
            for _ in _nodes(connection):
                counts["nodes"] += 1
            for _ in _blobs(connection):
                counts["blobs"] += 1
            for hash in _events(connection):
                counts["events"] += 1
                head = hash
            _file(connection)
        finally:
            connection.close()
    except _Bad as error:
        bad = error.table, error.row, str(error)
    except (sqlite3.Error, UnicodeError) as error:
        if isinstance(error, sqlite3.Error) and not damaged(error):
            raise explain(error, path) from error
        table = next((t for t in ("nodes", "blobs", "events") if not counts[t]), "file")
        bad = table, "", f"the file is damaged: {error}"
    table, row, problem = bad or ("", "", "")
    return VerifyReport(bad is None, **counts, head=head, problem=problem, table=table, row=row)


def _nodes(connection: sqlite3.Connection) -> Iterator[str]:
    for hash, parent, message in connection.execute("SELECT hash, parent, message FROM nodes"):
        if node_hash(parent, message) != hash:
            raise _Bad("nodes", hash, f"message {hash[:12]} is not what was stored")
        yield hash
    orphan = connection.execute(
        "SELECT hash, parent FROM nodes n WHERE parent != '' AND NOT EXISTS (SELECT 1 FROM nodes WHERE hash = n.parent)"
    ).fetchone()
    if orphan:
        raise _Bad("nodes", orphan[1], f"message {orphan[1][:12]} is gone, but {orphan[0][:12]} answers it")


def _blobs(connection: sqlite3.Connection) -> Iterator[str]:
    for hash, data in connection.execute("SELECT hash, data FROM blobs"):
        if hashlib.sha256(data).hexdigest() != hash:
            raise _Bad("blobs", hash, f"blob {hash[:12]} is not what was stored")
        yield hash


def _events(connection: sqlite3.Connection) -> Iterator[str]:
    previous, expected = ROOT, 1
    for seq, when, kind, trace, chain, payload, hash in connection.execute(
        "SELECT seq, time, kind, trace, chain, payload, hash FROM events ORDER BY seq"
    ):
        if seq != expected:
            raise _Bad("events", expected, f"event {expected} is gone")
        if event_hash(previous, seq, when, kind, trace, chain, payload) != hash:
            raise _Bad("events", seq, f"event {seq} ({kind}) is not what was stored")
        yield hash
        previous, expected = hash, expected + 1
    counted = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    if (counted[0] if counted else 0) != expected - 1:
        raise _Bad("events", expected, f"event {expected} is gone")
    lost = connection.execute(
        "SELECT seq, chain FROM events WHERE chain != '' AND chain NOT IN (SELECT hash FROM nodes) ORDER BY seq"
    ).fetchone()
    if lost:
        raise _Bad("nodes", lost[1], f"message {lost[1][:12]} is gone, but event {lost[0]} points at it")


def _file(connection: sqlite3.Connection) -> None:
    """The pages and indexes, which the hashes do not cover."""
    said = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if said != "ok":
        raise _Bad("file", "", f"the file is damaged: {said.splitlines()[0]}")
