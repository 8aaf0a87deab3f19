"""Token files: a tokenised data set on disk, memory-mapped, so that it may be larger than memory."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from idiolect.core.errors import CorruptFile
from idiolect.data.codec import Row

FILES = {  # name -> (dtype, the count of `Counts` that it is as long as, and how many more)
    "ids": (np.uint32, "tokens", 0),
    "counted": (np.uint8, "tokens", 0),
    "segments": (np.int64, "segments", 1),
    "items": (np.int64, "items", 1),
    "hashes": (np.uint64, "items", 0),
    "sources": (np.int64, "items", 0),
    "files": (np.int64, "items", 0),
    "lines": (np.int64, "items", 0),
    "labels": (np.float64, "items", 0),
}


@dataclass(slots=True)
class Counts:
    """What became of a data set's records."""

    format: str = ""
    records: int = 0  # read, with those left out
    items: int = 0
    segments: int = 0
    tokens: int = 0
    counted: int = 0  # tokens that count in the loss
    dropped: int = 0  # examples left out because they are longer than the context
    truncated: int = 0
    cut: int = 0  # tokens cut off by truncation
    skipped: dict[str, int] = field(default_factory=dict)  # records that could not be used, by reason
    first_skipped: list[str] = field(default_factory=list)
    labelled: bool = False
    classes: list[str] = field(default_factory=list)


class Tokens:
    """Items in files (satisfies `Items`). T tokens, S segments, I items.

    `ids` [T], `counted` [T] (1: the token counts in the loss), `segments` [S + 1] bounds in tokens, `items` [I + 1]
    bounds in segments, `hashes` [I] of the text, `sources` [I] the record that it came
    from, `files` and `lines` [I] where that stands.
    """

    def __init__(self, arrays: dict[str, np.ndarray], counts: Counts, path: Path | None = None) -> None:
        self.ids, self.counted, self.bounds = arrays["ids"], arrays["counted"], arrays["segments"]
        self.items, self.hashes, self.sources = arrays["items"], arrays["hashes"], arrays["sources"]
        self.labels = arrays["labels"] if counts.labelled else None
        self._files, self._lines = arrays["files"], arrays["lines"]
        self.names: list[str] = []  # of the files, for people
        self.counts, self.path = counts, path
        self.classes = tuple(counts.classes)
        self.lengths = self.bounds[self.items[1:]] - self.bounds[self.items[:-1]]
        self.references: np.ndarray | None = None  # [S] float32, see `align.dpo`

    @classmethod
    def open(cls, path: Path) -> Tokens:
        """Raises `CorruptFile` when anything is missing or of the wrong size."""
        try:
            counts = Counts(**json.loads((path / "meta.json").read_text("utf-8")))
            arrays = {}
            for name, (kind, count, more) in FILES.items():
                length = getattr(counts, count) + more
                if (path / name).stat().st_size != length * np.dtype(kind).itemsize:
                    raise ValueError(f"{name} is not as long as it should be")
                arrays[name] = np.memmap(path / name, kind, "r") if length else np.empty(0, kind)
        except (OSError, ValueError, TypeError) as error:
            raise CorruptFile(
                f"the token files in {path} are damaged: {error}", hint="they will be made again"
            ) from None
        return cls(arrays, counts, path)

    def __len__(self) -> int:
        return len(self.items) - 1

    def segments(self, index: int) -> list[tuple[np.ndarray, np.ndarray]]:
        bounds = self.bounds[self.items[index] : self.items[index + 1] + 1]
        return [(self.ids[a:b], self.counted[a:b]) for a, b in pairwise(bounds.tolist())]

    def place(self, index: int) -> str:
        number = int(self._files[index])
        name = self.names[number] if number < len(self.names) else f"file {number + 1}"
        return f"{name}, line {self._lines[index]}"

    def reference(self, index: int) -> np.ndarray | None:
        if self.references is None:
            return None
        return self.references[self.items[index] : self.items[index + 1]]


class Builder:
    """Writes rows as they come; in memory stay 8 bytes a segment and 48 an item. `path` None keeps all in memory."""

    def __init__(self, path: Path | None, format: str) -> None:
        self.path, self.counts = path, Counts(format=format, labelled=format == "labelled")
        self._bounds, self._items = array("q", [0]), array("q", [0])
        self._hashes, self._sources = array("Q"), array("q")
        self._files, self._lines = array("q"), array("q")
        self._labels: list[str | float] = []
        self._memory: dict[str, list[np.ndarray]] = {"ids": [], "counted": []}
        self._open = {} if path is None else {name: (path / name).open("wb") for name in self._memory}

    def add(self, row: Row, source: int, hash: int, where: tuple[int, int] = (0, 0)) -> None:
        """`source` is the record's number, `where` its file's number and its line."""
        for segment in row.segments:
            for name, values in zip(("ids", "counted"), segment, strict=True):
                if self._open:
                    self._open[name].write(values.tobytes())
                else:
                    self._memory[name].append(values)
            self._bounds.append(self._bounds[-1] + len(segment[0]))
            self.counts.counted += int(segment[1][1:].sum())
        self._items.append(len(self._bounds) - 1)
        self._hashes.append(hash)
        self._sources.append(source)
        self._files.append(where[0])
        self._lines.append(where[1])
        if row.label is not None:
            self._labels.append(row.label)
        self.counts.truncated += row.cut > 0
        self.counts.cut += row.cut

    def finish(self) -> Tokens:
        counts = self.counts
        counts.items, counts.segments = len(self._items) - 1, len(self._bounds) - 1
        counts.tokens = self._bounds[-1]
        labels, counts.classes = number(self._labels)
        arrays: dict[str, Any] = {
            "segments": np.array(self._bounds, np.int64),
            "items": np.array(self._items, np.int64),
            "hashes": np.array(self._hashes, np.uint64),
            "sources": np.array(self._sources, np.int64),
            "files": np.array(self._files, np.int64),
            "lines": np.array(self._lines, np.int64),
            "labels": labels if counts.labelled else np.zeros(counts.items),
        }
        if self.path is None:
            for name, pieces in self._memory.items():
                arrays[name] = np.concatenate(pieces) if pieces else np.empty(0, FILES[name][0])
            return Tokens(arrays, counts)
        for file in self._open.values():
            file.close()
        for name, values in arrays.items():
            (self.path / name).write_bytes(values.tobytes())
        (self.path / "meta.json").write_text(json.dumps(asdict(counts), ensure_ascii=False), encoding="utf-8")
        return Tokens.open(self.path)

    def close(self) -> None:
        for file in self._open.values():
            file.close()


def number(labels: Sequence[str | float]) -> tuple[np.ndarray, list[str]]:
    """Labels as numbers, and the names of the classes: names in alphabetical order; numbers stay values."""
    if all(isinstance(label, float) for label in labels):
        return np.array(labels, np.float64), []
    names = [f"{label:g}" if isinstance(label, float) else label for label in labels]
    classes = sorted(set(names))
    place = {name: i for i, name in enumerate(classes)}
    return np.array([place[name] for name in names], np.float64), classes
