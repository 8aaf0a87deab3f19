"""Where each line of a file begins, so that line i can be read without the others. The file is memory-mapped: it may
be larger than memory. The index takes 8 bytes a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from idiolect.core.errors import BadInput

PIECE = 1 << 24  # bytes looked at together


class Lines:
    """The lines of a file, without their ends. `starts` [L+1] are byte offsets."""

    def __init__(self, file: Path, shown: Path) -> None:
        """`shown` is the name that errors give (the file itself, or the archive that it was unpacked from)."""
        self.shown = shown
        self.data = np.memmap(file, np.uint8, "r")
        ends = [
            np.flatnonzero(self.data[at : at + PIECE] == ord("\n")) + at + 1 for at in range(0, len(self.data), PIECE)
        ]
        starts = np.concatenate([np.zeros(1, np.int64), *ends])
        self.starts = starts if starts[-1] == len(self.data) else np.append(starts, len(self.data))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def text(self, first: int, last: int) -> str:
        """Lines `first` to `last` (from 0, exclusive) with their ends. Raises `BadInput` that names the line."""
        raw = bytes(self.data[self.starts[first] : self.starts[last]])
        try:
            return raw.decode("utf-8-sig" if first == 0 else "utf-8")
        except UnicodeDecodeError as error:
            line = first + 1 + raw.count(b"\n", 0, error.start)
            raise BadInput(f"{self.shown}, line {line}: this is not UTF-8 text", hint="save it as UTF-8") from None

    def blank(self) -> np.ndarray:
        """[L] whether a line holds nothing but white space. Only short lines are looked at."""
        lengths = np.diff(self.starts)
        found = np.zeros(len(lengths), bool)
        for i in np.flatnonzero(lengths <= 64):
            found[i] = not bytes(self.data[self.starts[i] : self.starts[i + 1]]).strip()
        return found
