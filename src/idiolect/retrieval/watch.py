"""Keeps a library fresh while it serves: a thread that syncs when the folder changes.

Events are only a hint that something happened; what happened is found by `sync`, so an editor that writes a new file
and renames it over the old one, a checkout of a thousand files, and an event that got lost all end the same way.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idiolect.core.errors import IdiolectError
from idiolect.retrieval.types import SyncReport

if TYPE_CHECKING:
    from idiolect.retrieval.library import Library

DEBOUNCE_MS = 1000  # changes are gathered at most this long
QUIET_MS = 100  # ... and until this long nothing more happens
LOOK_MS = 1000  # how often the folder itself is looked at (one stat)
SYNC_SECONDS = 60.0  # a sync without any event: for network folders, which send none
RETRY_SECONDS = 1.0  # until a folder that is gone is looked for again


class Watcher:
    """`with library.watch(on_change): ...`. `on_change` is called in the watcher's thread after every sync that
    changed something. A sync that failed is kept in `error` and tried again at the next change or look."""

    def __init__(self, library: Library, on_change: Callable[[SyncReport], None] | None = None) -> None:
        self.library, self.on_change = library, on_change
        self.error: str = ""  # why the last sync failed; empty when it did not
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="idiolect-watch", daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Return when the thread has ended; a sync under way ends after its present batch."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        _step_back()
        while not self._stop.is_set():
            try:
                self._follow()
            except (OSError, RuntimeError) as error:  # the folder is gone, or no more watches are to be had
                self.error = f"cannot watch {self.library.folder}: {error}"
            self._stop.wait(RETRY_SECONDS)

    def _follow(self) -> None:
        """Watch one folder for as long as it is the same one: a folder that was moved away takes its watch along."""
        from watchfiles import watch

        folder = self.library.folder
        identity = _identity(folder)
        self._sync()
        last = float("-inf")  # the first look syncs too: what happened while the watch was set up sent no event
        for changes in watch(
            folder if folder.is_dir() else folder.parent,
            watch_filter=self._wanted,
            stop_event=self._stop,
            debounce=DEBOUNCE_MS,
            step=QUIET_MS,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            ignore_permission_denied=True,
        ):
            if self._stop.is_set():
                return
            if changes or time.monotonic() - last > SYNC_SECONDS:
                self._sync()
                last = time.monotonic()
            if not folder.exists() or (folder.is_dir() and _identity(folder) != identity):
                self._sync()  # says what is wrong
                return

    def _wanted(self, _: Any, name: str) -> bool:
        """Changes of hidden files and of our own state mean nothing."""
        path, folder = Path(name), self.library.folder
        base = folder if folder.is_dir() else folder.parent
        if path.is_relative_to(self.library.state) or not path.is_relative_to(base):
            return False
        parts = path.relative_to(base).parts
        return not any(p.startswith(".") and p != ".idiolectignore" for p in parts) and "node_modules" not in parts

    def _sync(self) -> None:
        try:
            report = self.library.sync(lambda _: None, stop=self._stop.is_set)
        except IdiolectError as error:
            self.error = str(error)
            return
        self.error = ""
        if self.on_change is not None and (report.added or report.changed or report.removed or report.embedded):
            self.on_change(report)


def _step_back() -> None:
    """Give this thread (and those it starts) the lowest share of a busy CPU: answers come before the index. Linux
    has a priority for each thread; elsewhere nothing changes."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
