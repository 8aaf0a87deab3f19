"""Where each line of a file begins, so that line i can be read without the others. The file may be larger than memory:
of it nothing is held but an index of 8 bytes a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from idiolect.core.errors import BadInput

PIECE = 1 << 24  # bytes looked at together


class Lines:
    """The lines of a file. `starts` [L+1] are byte offsets."""

    def __init__(self, file: Path, shown: Path) -> None:
        """`shown` is the name that errors give (the file itself, or the archive that it was unpacked from)."""
        self.file, self.shown = file, shown
        starts = [np.zeros(1, np.int64)]
        size = 0
        with file.open("rb") as data:
            while piece := data.read(PIECE):
                starts.append(np.flatnonzero(np.frombuffer(piece, np.uint8) == ord("\n")) + (size + 1))
                size += len(piece)
        found = np.concatenate(starts)
        self.starts = found if found[-1] == size else np.append(found, size)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def text(self, first: int, last: int) -> str:
        """Lines `first` to `last` (from 0, exclusive) with their ends. Raises `BadInput` that names the line."""
        begin, end = int(self.starts[first]), int(self.starts[last])
        with self.file.open("rb") as data:
            data.seek(begin)
            raw = data.read(end - begin)
        if len(raw) < end - begin:
            raise BadInput(f"{self.shown} has become shorter", hint="leave it as it is while it is read")
        try:
            return raw.decode("utf-8-sig" if first == 0 else "utf-8")
        except UnicodeDecodeError as error:
            line = first + 1 + raw.count(b"\n", 0, error.start)
            raise BadInput(f"{self.shown}, line {line}: this is not UTF-8 text", hint="save it as UTF-8") from None

    def some(self, wanted: np.ndarray) -> Iterator[tuple[int, bytes]]:
        """(number, bytes) of some lines, in ascending order."""
        with self.file.open("rb") as data:
            for i in wanted.tolist():
                data.seek(int(self.starts[i]))
                yield i, data.read(int(self.starts[i + 1] - self.starts[i]))

    def blank(self) -> np.ndarray:
        """[L] whether a line holds nothing but white space (and a byte-order mark). Only short lines are looked at."""
        lengths = np.diff(self.starts)
        found = np.zeros(len(lengths), bool)
        for i, raw in self.some(np.flatnonzero(lengths <= 64)):
            found[i] = not raw.removeprefix(b"\xef\xbb\xbf" if i == 0 else b"").strip()
        return found
