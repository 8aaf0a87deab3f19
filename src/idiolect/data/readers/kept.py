"""Records that are held in memory."""

from __future__ import annotations

from collections.abc import Sequence

from idiolect.data.readers import Record


class Kept:
    """The records of a file that was read as a whole."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Record:
        return self._records[index]

    def line(self, index: int) -> int:
        return self._records[index].line
