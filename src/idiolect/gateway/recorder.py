"""Writes events into the store from a thread of its own, so that a stream never waits for the disk.

`put` and `event` return at once. `commit` returns when its row, and everything put before it, is in the store: rows
of many streams that wait together share a commit. Deltas are gathered for `window` seconds and kept as one `tokens` row
per choice, so that a killed process loses at most that much of an unfinished answer and nothing of a finished one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from idiolect.core.call import Delta, Event, Message
from idiolect.core.errors import IdiolectError, Unavailable
from idiolect.core.store import NewEvent, Store, StoredEvent
from idiolect.gateway import wire

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Row:
    kind: str
    payload: Mapping[str, Any] | Event | None  # None: only a mark to be reached
    trace: str
    messages: Sequence[Message] | None = None
    settle: Callable[[StoredEvent | None, Exception | None], None] | None = None


class Recorder:
    """The one writer of a process. `errors` counts rows that could not be written; the last reason is `failure`."""

    def __init__(self, store: Store, *, window: float = 0.25) -> None:
        self.store = store
        self.errors = 0
        self.failure = ""
        self._window = window
        self._queue: deque[_Row] = deque()
        self._some = threading.Event()  # there is something to write
        self._now = threading.Event()  # somebody waits for it
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------------------------------------ callers

    def put(self, kind: str, payload: Mapping[str, Any], trace: str, messages: Sequence[Message] | None = None) -> None:
        """Write a row soon. `messages`, when given, are kept as a chain that the row points at."""
        self._queue.append(_Row(kind, payload, trace, messages))
        self._some.set()

    def event(self, trace: str, event: Event) -> None:
        """Write an event of a stream soon."""
        self._queue.append(_Row(wire.kind(event), event, trace))
        self._some.set()

    def commit_soon(
        self, kind: str, payload: Mapping[str, Any], trace: str, messages: Sequence[Message] | None = None
    ) -> asyncio.Future[StoredEvent]:
        """Write a row as soon as possible; the future ends after the commit. Raises `Unavailable` through it when the
        store cannot be written."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle(stored: StoredEvent | None, error: Exception | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(stored)
            else:
                future.set_exception(error)

        def from_thread(stored: StoredEvent | None, error: Exception | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, stored, error)

        self._queue.append(_Row(kind, payload, trace, messages, from_thread))
        self._now.set()
        self._some.set()
        return future

    async def commit(
        self, kind: str, payload: Mapping[str, Any], trace: str, messages: Sequence[Message] | None = None
    ) -> StoredEvent:
        """Write a row and return after the commit."""
        return await self.commit_soon(kind, payload, trace, messages)

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything put so far is written."""
        done = threading.Event()
        self._queue.append(_Row("", None, "", settle=lambda stored, error: done.set()))
        self._now.set()
        self._some.set()
        return done.wait(timeout)

    def close(self) -> None:
        """Write what is left and stop."""
        self._closed = True
        self._now.set()
        self._some.set()
        self._thread.join(timeout=10)

    # ----------------------------------------------------------------------------------------------- its thread

    def _run(self) -> None:
        while True:
            self._some.wait()
            self._now.wait(self._window)
            self._some.clear()
            self._now.clear()
            self._drain()
            if self._closed and not self._queue:
                return

    def _drain(self) -> None:
        waiting: dict[tuple[str, int], list[Delta]] = {}
        rows: list[_Row] = []
        while self._queue:
            row = self._queue.popleft()
            if isinstance(row.payload, Delta):
                waiting.setdefault((row.trace, row.payload.index), []).append(row.payload)
                continue
            for key in [key for key in waiting if key[0] == row.trace]:  # keep the order inside a trace
                rows.append(_Row("tokens", wire.tokens(waiting.pop(key), key[1]), key[0]))
            rows.append(row)
        rows += [_Row("tokens", wire.tokens(deltas, key[1]), key[0]) for key, deltas in waiting.items()]
        self._write(rows)

    def _write(self, rows: list[_Row]) -> None:
        """Hand all rows to the store at once (one commit), then tell the callers how each went."""
        written: list[tuple[_Row, Future[list[StoredEvent]] | Exception | None]] = []
        for row in rows:
            try:
                chain = self.store.submit_chain(row.messages)[0] if row.messages else None
                if row.payload is None:
                    written.append((row, None))
                    continue
                payload = row.payload if isinstance(row.payload, Mapping) else wire.encode(row.payload)
                written.append((row, self.store.submit([NewEvent(row.kind, payload, row.trace, chain)])))
            except Exception as failure:  # the writer must outlive a bad row or a full disk: the caller is told
                written.append((row, failure))
        for row, outcome in written:
            stored, error = None, None
            try:
                if isinstance(outcome, Exception):
                    raise outcome
                stored = outcome.result()[0] if outcome is not None else None
            except Exception as failure:
                self.errors += 1
                self.failure = str(failure)
                log.error("could not write a %s event: %s", row.kind, failure)
                error = failure if isinstance(failure, IdiolectError) else Unavailable(f"cannot write: {failure}")
            if row.settle is not None:
                row.settle(stored, error)
