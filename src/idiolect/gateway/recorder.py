"""Writes events into the store behind the streams, so that a token never waits for the disk.

`put` and `event` return at once; a thread writes them within `window` seconds. `commit` hands its row, and everything
put before it, to the store now, and ends after their commit: rows of many streams that wait together share one. Deltas
are kept as one `tokens` row per choice and write, so that a killed process loses at most `window` seconds of an
unfinished answer and nothing of a finished one. What people wrote (turns, feedback) is committed `durable`, down to the
disk; the traces of answers reach the disk with the next of those.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from idiolect.core.call import Delta, Event, Message
from idiolect.core.errors import IdiolectError
from idiolect.core.store import NewEvent, Store, StoredEvent
from idiolect.gateway import wire

log = logging.getLogger(__name__)
URGENT = 0.03  # seconds


@dataclass(slots=True)
class _Row:
    kind: str
    payload: Mapping[str, Any] | Event
    trace: str
    messages: Sequence[Message] | None = None
    durable: bool = False


class Recorder:
    """The one writer of a process. `errors` counts rows that could not be written; the last reason is `failure`."""

    def __init__(self, store: Store, *, window: float = 0.25) -> None:
        self.store = store
        self.errors = 0
        self.failure = ""
        self._window = window
        self._last: Future[list[StoredEvent]] | None = None
        self._queue: deque[_Row] = deque()
        self._order = threading.Lock()  # rows reach the store in the order in which they were put
        self._some = threading.Event()  # there is something to write
        self._urgent = threading.Event()  # and soon
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def put(
        self,
        kind: str,
        payload: Mapping[str, Any],
        trace: str,
        messages: Sequence[Message] | None = None,
        *,
        urgent: bool = False,
    ) -> None:
        """Write a row within the window, an urgent one within `URGENT` seconds. `messages`, when given, are kept as a
        chain that the row points at."""
        self._queue.append(_Row(kind, payload, trace, messages))
        if urgent:
            self._urgent.set()
        self._some.set()

    def event(self, trace: str, event: Event) -> None:
        """Write an event of a stream soon."""
        self._queue.append(_Row(wire.kind(event), event, trace))
        self._some.set()

    def commit_soon(
        self,
        kind: str,
        payload: Mapping[str, Any],
        trace: str,
        messages: Sequence[Message] | None = None,
        *,
        durable: bool = False,
    ) -> asyncio.Future[None]:
        """Give a row to the store now; the future ends after its commit. It raises `Unavailable` when the store cannot
        be written."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def settle(done: Future[list[StoredEvent]]) -> None:
            if future.done():
                return
            error = done.exception()
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        def from_thread(done: Future[list[StoredEvent]]) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, done)

        with self._order:  # else the thread could take the row first
            self._queue.append(_Row(kind, payload, trace, messages, durable))
            last = self._drain()
        assert last is not None
        last.add_done_callback(from_thread)
        return future

    async def commit(
        self,
        kind: str,
        payload: Mapping[str, Any],
        trace: str,
        messages: Sequence[Message] | None = None,
        *,
        durable: bool = False,
    ) -> None:
        """Write a row and return after the commit."""
        await self.commit_soon(kind, payload, trace, messages, durable=durable)

    def flush(self) -> None:
        """Return when everything put so far is written."""
        with self._order:
            self._drain()
            last = self._last
        if last is not None:
            with suppress(IdiolectError):  # it was counted and logged
                last.result()

    def close(self) -> None:
        """Write what is left and stop."""
        self._closing.set()
        self._urgent.set()
        self._some.set()
        self._thread.join(timeout=10)
        self.flush()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._some.wait()
            if self._urgent.wait(self._window):
                self._closing.wait(URGENT)  # others may come: one commit for all of them
            self._urgent.clear()
            self._some.clear()
            with self._order:
                self._drain()

    def _drain(self) -> Future[list[StoredEvent]] | None:
        """Give everything in the queue to the store, with `_order` held; None when there was nothing."""
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
        if not rows:
            return None
        try:
            self._last = self._submit(rows)
        except IdiolectError as error:
            if len(rows) == 1:
                self._last = Future()
                self._last.set_exception(error)
                self._count(self._last)
            else:  # one bad row must not take the others with it
                for row in rows:
                    self._queue.append(row)
                    self._drain()
        return self._last

    def _submit(self, rows: list[_Row]) -> Future[list[StoredEvent]]:
        """All rows in one transaction: each hand-over to the store's thread costs the event loop its turn."""
        events = []
        durable = any(row.durable for row in rows)
        for row in rows:
            chain = self.store.submit_chain(row.messages, durable=durable)[0] if row.messages else None
            payload = row.payload if isinstance(row.payload, Mapping) else wire.encode(row.payload)
            events.append(NewEvent(row.kind, payload, row.trace, chain))
        future = self.store.submit(events, durable=durable)
        future.add_done_callback(self._count)
        return future

    def _count(self, done: Future[list[StoredEvent]]) -> None:
        error = done.exception()
        if error is not None:
            self.errors += 1
            self.failure = str(error)
            log.error("could not write an event: %s", error)
