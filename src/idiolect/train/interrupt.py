"""Ctrl-C in a long run: the step is finished and a checkpoint written before the process ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Wish:
    """Whether somebody asked to stop."""

    stop: bool = False


@contextmanager
def interruptible() -> Iterator[Wish]:
    """Within the block the first SIGINT or SIGTERM sets `stop`; a second one interrupts at once. Outside the main
    thread, where Python delivers no signals, it does nothing."""
    wish = Wish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return

    def note(number: int, frame: Any) -> None:
        if wish.stop:
            raise KeyboardInterrupt
        wish.stop = True

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
