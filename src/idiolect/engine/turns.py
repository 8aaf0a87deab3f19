"""Who may use something that only one caller at a time can use: urgent callers before patient ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """`with turns.take(urgent): ...`. A patient caller that comes back again and again (an index that is being made)
    lets every urgent one (a question) go first; nobody is interrupted."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy = False
        self._urgent = 0  # urgent callers that wait

    @contextmanager
    def take(self, urgent: bool = False) -> Iterator[None]:
        with self._changed:
            if urgent:
                self._urgent += 1
                try:
                    self._changed.wait_for(lambda: not self._busy)
                finally:
                    self._urgent -= 1
            else:
                self._changed.wait_for(lambda: not self._busy and not self._urgent)
            self._busy = True
        try:
            yield
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
