"""Plain text: a file is one document, or several with a given line between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from idiolect.data.readers import Record
from idiolect.data.readers.lines import Lines

PART = 1 << 25  # a document larger than this many bytes is read in parts that end at ends of lines


class Part(dict[str, Any]):
    """A document or a piece of one: {"text": ..., "first": bool, "last": bool}. (A class of its own: in a record of
    somebody's file, "first" and "last" may be names.)"""


class Documents:
    """The documents of a file of any size; blank ones are passed over.

    A record is a `Part`: a very long document comes in several parts, and only its
    first may get a beginning-of-sequence token and only its last an end.
    """

    def __init__(self, file: Path, shown: Path, separator: str, part: int = PART) -> None:
        self._lines = lines = Lines(file, shown)
        cuts = _find(lines, separator) if separator else np.empty(0, np.int64)
        begins, ends = [0, *(cuts + 1).tolist()], [*cuts.tolist(), len(lines)]
        blank = lines.blank()
        self._parts: list[tuple[int, int, bool, bool]] = []
        for begin, end in zip(begins, ends, strict=True):
            if not blank[begin:end].all():
                self._parts += _parts(lines.starts, begin, end, part)

    def __len__(self) -> int:
        return len(self._parts)

    def line(self, index: int) -> int:
        return self._parts[index][0] + 1

    def __getitem__(self, index: int) -> Record:
        begin, end, first, last = self._parts[index]
        text = self._lines.text(begin, end)
        if last and end < len(self._lines):
            text = text.removesuffix("\n").removesuffix("\r")  # the end of line belongs to the separator
        return Record(Part(text=text, first=first, last=last), begin + 1)


def _find(lines: Lines, separator: str) -> np.ndarray:
    """The numbers of the lines that are the separator, white space at their ends aside."""
    wanted = separator.strip().encode()
    lengths = np.diff(lines.starts)
    near = np.flatnonzero((lengths >= len(wanted)) & (lengths <= len(wanted) + 8))
    return np.array([i for i, raw in lines.some(near) if raw.strip() == wanted], np.int64)


def _parts(starts: np.ndarray, begin: int, end: int, part: int) -> list[tuple[int, int, bool, bool]]:
    found = []
    at = begin
    while at < end:
        # the last end of line within `part` bytes, but one line at least
        to = int(np.searchsorted(starts, starts[at] + part, "right")) - 1
        to = min(max(to, at + 1), end)
        found.append((at, to, at == begin, to == end))
        at = to
    return found
