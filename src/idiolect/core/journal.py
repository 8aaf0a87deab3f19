"""The store's file: its schema, its connections, and the one thread that writes.

Group commit: whatever is waiting when the writer comes round goes into one transaction and one fsync, so that 32
streams wait for one disk write, not for 32. A caller's future is set only after COMMIT has returned. A group in which
nobody asks for durability is not fsynced: it survives the death of the process (`kill -9`), and after a power cut the
file is whole but may lack the last of such groups. The next durable commit makes them durable too.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from idiolect.core.errors import CorruptFile, IdiolectError, Unavailable
from idiolect.core.files import disk_error, lock

VERSION = 1
BUSY_SECONDS = 60.0  # how long to wait for another process's transaction
GROUP = 256  # transactions are kept short, so that another process gets its turn

SCHEMA = """
CREATE TABLE nodes (hash TEXT PRIMARY KEY, parent TEXT NOT NULL, message TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE blobs (hash TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, kind TEXT NOT NULL, trace TEXT NOT NULL,
    chain TEXT NOT NULL, payload TEXT NOT NULL, hash TEXT NOT NULL
);
CREATE INDEX events_trace ON events (trace, seq) WHERE trace != '';
CREATE INDEX events_kind ON events (kind, seq);
"""
APPEND_ONLY = "".join(
    f"CREATE TRIGGER IF NOT EXISTS {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
    "BEGIN SELECT RAISE(ABORT, 'the store is append-only'); END;\n"
    for table in ("nodes", "blobs", "events")
    for verb in ("UPDATE", "DELETE")
)

Work = Callable[[sqlite3.Connection], Any]
Job = tuple[Work, Future[Any], bool]  # the last says whether its commit must reach the disk


def connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode; durable at every COMMIT, patient with other processes. A file that is gone is
    an error unless `create`: a store that somebody deleted must not begin again unseen."""
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    connection = sqlite3.connect(uri, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA recursive_triggers = ON")  # else INSERT OR REPLACE deletes past the triggers
    return connection


def prepare(path: Path) -> None:
    """Create the file or check that it is a store. Under a lock: two processes may start at the same moment."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, path) from error
    with lock(path.with_name(path.name + ".lock")):
        connection = None
        try:
            connection = connect(path, create=True)
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise CorruptFile(f"the store {path} is of version {version}", hint="update Idiolect to read it")
            if version == 0:
                if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    raise CorruptFile(f"{path} is some other SQLite file", hint="give --store another path")
                connection.execute("PRAGMA journal_mode = WAL")
                # One transaction: a kill between two statements leaves no half-made store.
                connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
            connection.executescript(APPEND_ONLY)
        except sqlite3.Error as error:
            raise explain(error, path) from error
        finally:
            if connection is not None:
                connection.close()


def damaged(error: sqlite3.Error) -> bool:
    """Whether an error says that the file's content is wrong (and not the disk, the rights or another process)."""
    code = getattr(error, "sqlite_errorname", None)
    return code is None or code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT"))  # None: text that is no UTF-8


def explain(error: sqlite3.Error, path: Path) -> IdiolectError:
    """SQLite's error as one line that says what to do."""
    code = getattr(error, "sqlite_errorname", "") or ""
    if code == "SQLITE_FULL" or code.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")):
        hint = "free some space or check the folder's permissions; everything acknowledged is kept"
        return Unavailable(f"cannot write the store {path}: {error}", hint=hint)
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Unavailable(f"the store {path} is busy", hint="another process holds it; try again")
    if damaged(error):
        return CorruptFile(f"the store {path} is damaged: {error}", hint="restore a backup, or give --store a new path")
    return CorruptFile(f"the store {path} failed: {error}", hint="is it a store?")


class Journal:
    """The writer. `submit(work)` runs `work(connection)` inside a transaction and resolves after its commit, which is
    on the disk unless `durable` is False."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._closed = False
        self._sync = "FULL"  # as `connect` leaves it
        self._closing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="idiolect-store", daemon=True)
        self._thread.start()

    def submit(self, work: Work, *, durable: bool = True) -> Future[Any]:
        future: Future[Any] = Future()
        with self._closing:
            if self._closed:
                raise Unavailable(f"the store {self.path} is closed")
            self._queue.put((work, future, durable))
        return future

    def close(self) -> None:
        """Write what is waiting, then stop."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        going = True
        while going:
            group = [self._queue.get()]
            while len(group) < GROUP:
                try:
                    group.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            going = None not in group
            jobs = [job for job in group if job is not None and job[1].set_running_or_notify_cancel()]
            if not jobs:
                continue
            try:
                connection = connection or connect(self.path)
                self._commit(connection, jobs)
            except sqlite3.Error as error:
                self._fail(jobs, explain(error, self.path))
            except BaseException as error:
                self._fail(jobs, error)
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _commit(self, connection: sqlite3.Connection, jobs: list[Job]) -> None:
        done: list[tuple[Future[Any], Any, IdiolectError | None]] = []
        sync = "FULL" if any(durable for _, _, durable in jobs) else "NORMAL"
        if sync != self._sync:
            connection.execute(f"PRAGMA synchronous = {sync}")
            self._sync = sync
        connection.execute("BEGIN IMMEDIATE")
        try:
            for work, future, _ in jobs:
                try:
                    done.append((future, work(connection), None))
                except IdiolectError as error:  # a work refuses before it writes: the others go on
                    done.append((future, None, error))
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        for future, result, refused in done:
            if refused is None:
                future.set_result(result)
            else:
                future.set_exception(refused)

    @staticmethod
    def _fail(jobs: list[Job], error: BaseException) -> None:
        for _, future, _ in jobs:
            if not future.done():
                future.set_exception(error)
