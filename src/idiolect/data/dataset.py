"""A data set: the examples of one or several files, in any order, each with its file and line."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Literal

from idiolect.core.errors import BadInput, IdiolectError
from idiolect.data.examples import Example
from idiolect.data.files import find
from idiolect.data.formats import FORMATS, detect, read
from idiolect.data.readers import Record, Records, open_records

OnError = Literal["stop", "skip"]


@dataclass(slots=True)
class Skipped:
    """What was left out of a data set, and why: `reasons` counts, `first` has the first few with their places."""

    reasons: Counter[str] = field(default_factory=Counter)
    first: list[str] = field(default_factory=list)

    def add(self, reason: str, where: str) -> None:
        self.reasons[reason] += 1
        if len(self.first) < 10:
            self.first.append(where)

    @property
    def total(self) -> int:
        return self.reasons.total()


class Dataset(Sequence[Example]):
    """`data[i]` reads, checks and returns example i alone; the files may be larger than memory.

    `format` "auto" is found from the first record that can be read. Every record must then be of that format.
    """

    def __init__(
        self,
        where: str | Path | Sequence[str | Path],
        *,
        format: str = "auto",
        separator: str = "",
        limit: int = 0,
    ) -> None:
        """`separator` is the line between the documents of plain text files; `limit` keeps the first records only
        (0: all). Raises `NotFound` and `BadInput`."""
        self.files, self.separator = find(where), separator
        self._records: list[Records] = [open_records(file, separator) for file in self.files]
        self._bounds = [0, *accumulate(len(r) for r in self._records)]
        self._length = min(limit or self._bounds[-1], self._bounds[-1])
        if format != "auto":
            FORMATS.get(format)  # an unknown name is an error now
        self.format = self._find_format() if format == "auto" else format

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        """Raises `BadInput` that begins with the file and the line."""
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        file, record = self._record(index % len(self))
        try:
            found = "auto" if self.format == "auto" else detect(record.value)
            if found == self.format or _fits(self.format, record.value):
                return read(record.value, self.format)
            raise BadInput(
                f"this is {found}, the records before are {self.format}",
                hint="keep one format in a data set, or say which with format",
            )
        except IdiolectError as error:
            if not error.message.startswith(str(file)):
                error.message = f"{file}, line {record.line}: {error.message}"
            raise

    def examples(self, on_error: OnError = "stop", skipped: Skipped | None = None) -> Iterator[tuple[int, Example]]:
        """(index, example) in order. With `on_error` "skip" what cannot be read is counted in `skipped`."""
        skipped = Skipped() if skipped is None else skipped
        for index in range(len(self)):
            try:
                yield index, self[index]
            except BadInput as error:
                if on_error == "stop":
                    raise
                skipped.add(_reason(error.message), error.message)

    def where(self, index: int) -> tuple[int, int]:
        """(number of the file, line) of an example, without reading it."""
        number = self._file(index)
        return number, self._records[number].line(index - self._bounds[number])

    def place(self, index: int) -> str:
        """ "file, line 12" of an example."""
        number, line = self.where(index)
        return f"{self.files[number]}, line {line}"

    def _file(self, index: int) -> int:
        return bisect_right(self._bounds, index) - 1

    def _record(self, index: int) -> tuple[Path, Record]:
        number = self._file(index)
        return self.files[number], self._records[number][index - self._bounds[number]]

    def _find_format(self) -> str:
        """The format of the first record that has one; the error of the very first when none of 100 has."""
        first: BadInput | None = None
        for index in range(min(100, len(self))):
            file = self.files[self._file(index)]
            try:
                _, record = self._record(index)
                try:
                    return detect(record.value)
                except BadInput as error:
                    error.message = f"{file}, line {record.line}: {error.message}"
                    raise
            except BadInput as error:
                first = first or error
        raise first or BadInput(f"{self.files[0]} holds no records")


def _fits(format: str, value: object) -> bool:
    """Whether a record may be read as a format that it was not taken for: the user said so, and the keys are there."""
    return format == "text" and isinstance(value, dict) and "text" in value


def _reason(message: str) -> str:
    """An error without its place, so that equal ones count together."""
    _, sign, rest = message.partition(": ")
    return rest if sign else message
