"""Progress of long work: a bar on a terminal's standard error, silence in a pipe, or any sink a caller gives."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Report:
    """A moment of some work. `total` None: not known. `finished` is True exactly once, at the end."""

    title: str
    done: float
    total: float | None
    unit: str
    note: str = ""
    finished: bool = False


Sink = Callable[[Report], None]


class Progress:
    """A running piece of work. Thread-safe enough for counters: the last writer wins."""

    def __init__(self, title: str, total: float | None, unit: str, sink: Sink) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done: float = 0.0
        self.note = ""
        self._sink = sink

    def advance(self, n: float = 1) -> None:
        self.done += n
        self.send()

    def update(self, *, total: float | None = None, note: str | None = None, done: float | None = None) -> None:
        """Change what is known; what is not given stays."""
        self.total = self.total if total is None else total
        self.note = self.note if note is None else note
        self.done = self.done if done is None else done
        self.send()

    def send(self, finished: bool = False) -> None:
        self._sink(Report(self.title, self.done, self.total, self.unit, self.note, finished))


@contextmanager
def progress(title: str, total: float | None = None, unit: str = "it", sink: Sink | None = None) -> Iterator[Progress]:
    """`with progress("indexing", total=50, unit="files") as bar: bar.advance()`.

    Without a `sink`, a terminal on standard error gets a rich bar and anything else gets nothing. `unit="B"` is
    shown as bytes and bytes per second.
    """
    close: Callable[[], None] = _nothing
    if sink is None:
        sink, close = _terminal(title, total, unit)
    bar = Progress(title, total, unit, sink)
    try:
        bar.send()
        yield bar
    finally:
        bar.send(finished=True)
        close()


def _nothing(*_: object) -> None:
    return None


def _terminal(title: str, total: float | None, unit: str) -> tuple[Sink, Callable[[], None]]:
    if not sys.stderr or not sys.stderr.isatty():
        return _nothing, _nothing
    bars = _join()
    task = bars.add_task(title, total=total, unit=unit, note="")

    def show(report: Report) -> None:
        bars.update(task, completed=report.done, total=report.total, note=report.note, unit=report.unit)

    def close() -> None:
        bars.remove_task(task)
        _leave()

    return show, close


# One display for the process: threads that load and index at the same time would draw over each other's bars.
_lock = threading.Lock()
_bars: Any = None
_users = 0


def _join() -> Any:
    global _bars, _users  # noqa: PLW0603
    with _lock:
        if _bars is None:
            _bars = _display()
            _bars.start()
        _users += 1
        return _bars


def _leave() -> None:
    global _bars, _users  # noqa: PLW0603
    with _lock:
        _users -= 1
        if _users == 0:
            _bars.stop()
            _bars = None


def _display() -> Any:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Amount(ProgressColumn):
        def render(self, task: Task) -> Text:
            if task.fields["unit"] == "B":
                of = "" if task.total is None else f"/{decimal(int(task.total))}"
                speed = f" {decimal(int(task.speed))}/s" if task.speed else ""
                return Text(f"{decimal(int(task.completed))}{of}{speed}")
            of = "" if task.total is None else f"/{task.total:.0f}"
            return Text(f"{task.completed:.0f}{of} {task.fields['unit']}")

    words = TextColumn("{task.description}", markup=False)
    note = TextColumn("{task.fields[note]}", markup=False, style="dim")
    return Bars(words, BarColumn(), Amount(), TimeRemainingColumn(), note, console=Console(stderr=True), transient=True)
