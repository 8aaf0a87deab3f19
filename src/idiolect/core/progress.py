"""Progress of long work: a bar on a terminal's standard error, silence in a pipe, or any sink a caller gives."""

from __future__ import annotations

import sys
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
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.progress import TransferSpeedColumn as Speed

    amount: list[ProgressColumn]
    if unit == "B":
        amount = [DownloadColumn(), Speed()]
    else:
        amount = [TextColumn("{task.completed:.0f}{task.fields[of]} " + unit)]
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), *amount, TimeRemainingColumn()]
    live = Bar(*columns, TextColumn("[dim]{task.fields[note]}"), console=Console(stderr=True), transient=True)
    task = live.add_task(title, total=total, note="", of="")
    live.start()

    def show(report: Report) -> None:
        of = "" if report.total is None else f"/{report.total:.0f}"
        live.update(task, completed=report.done, total=report.total, note=report.note, of=of)

    return show, live.stop
