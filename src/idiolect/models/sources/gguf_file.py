"""The header of a GGUF file: metadata and the table of tensors (version 2 and 3, little-endian).

Read here and not with `gguf.GGUFReader`, which makes several numpy views per vocabulary entry: 2.1 s of processor
time for a vocabulary of 49,152 entries and as many merges, against 0.06 s here. Dequantising is still that package's.
Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from idiolect.core.errors import CorruptFile

SCALARS = {  # GGUF value type -> numpy type
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "?",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
STRING, ARRAY = 8, 9
MOST = 1 << 26  # no real count is larger
WINDOW = 64 << 20  # bytes that are looked at together: a damaged count may promise anything


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor of the file: its shape (slowest dimension first), type number and byte range."""

    shape: tuple[int, ...]
    type: int
    begin: int  # from the start of the file


class Header:
    """`fields`: metadata by key (arrays as lists or numpy arrays); `tensors`: by name. Raises `CorruptFile`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise CorruptFile(f"{path} is not a GGUF file", hint="a GGUF file begins with the letters GGUF")
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.at = 4
        try:
            self._read()
        except (struct.error, IndexError, ValueError, UnicodeDecodeError, OverflowError, RecursionError) as error:
            raise CorruptFile(
                f"{path} is truncated or damaged at byte {self.at} ({error})", hint="get the file again"
            ) from None

    def _read(self) -> None:
        version = self._number("<I")
        if version not in (2, 3):
            raise CorruptFile(
                f"{self.path} has GGUF version {version if version < 1000 else 'of the other byte order'}",
                hint="little-endian versions 2 and 3 are supported; convert the file again",
            )
        tensors, fields = self._count(), self._count()
        self.fields: dict[str, Any] = {}
        for _ in range(fields):
            key = self._string()
            self.fields[key] = self._value(self._number("<I"))
        self.tensors: dict[str, Stored] = {}
        for _ in range(tensors):
            name = self._string()
            rank = self._number("<I")
            if rank > 8:
                raise ValueError(f"tensor {name} has {rank} dimensions")
            shape = tuple(self._number("<Q") for _ in range(rank))[::-1]
            self.tensors[name] = Stored(shape, self._number("<I"), self._number("<Q"))
        step = int(self.fields.get("general.alignment", 32))
        if step < 1 or step & (step - 1):
            raise ValueError(f"alignment {step}")
        start = -(-self.at // step) * step
        self.tensors = {n: Stored(t.shape, t.type, start + t.begin) for n, t in self.tensors.items()}

    def _number(self, kind: str) -> int:
        (value,) = struct.unpack_from(kind, self.data, self.at)
        self.at += struct.calcsize(kind)
        return int(value)

    def _count(self) -> int:
        value = self._number("<Q")
        if value > MOST:
            raise ValueError(f"a count of {value}")
        return value

    def _string(self) -> str:
        size = self._number("<Q")
        end = self.at + size
        if end > len(self.data):
            raise ValueError("a text runs past the end of the file")
        text = self.data[self.at : end].decode("utf-8")
        self.at = end
        return text

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind == ARRAY:
            inner, count = self._number("<I"), self._count()
            if inner == STRING:
                return self._strings(count)
            if inner == ARRAY:
                return [self._value(ARRAY) for _ in range(count)]
            return self._array(inner, count).tolist()
        return self._array(kind, 1)[0].item()

    def _array(self, kind: int, count: int) -> np.ndarray:
        if kind not in SCALARS:
            raise ValueError(f"metadata of unknown type {kind}")
        dtype = np.dtype(SCALARS[kind])
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += dtype.itemsize * count
        return values

    def _strings(self, count: int) -> list[str]:
        """The long loop over a vocabulary, with everything in local names."""
        short = self._short(count)
        if short is not None:
            return short
        data, at, end, size = self.data, self.at, len(self.data), struct.Struct("<Q").unpack_from
        found = []
        for _ in range(count):
            (length,) = size(data, at)
            begin, at = at + 8, at + 8 + length
            if at > end:
                raise ValueError("a text runs past the end of the file")
            found.append(str(data[begin:at], "utf-8", "replace"))
        self.at = at
        return found

    def _short(self, count: int) -> list[str] | None:
        """Texts of less than 256 bytes, cut at the seven zeros of their lengths, which spares a step of Python each;
        None unless every length then agrees."""
        pieces = self.data[self.at : self.at + min(64 * count, WINDOW)].split(b"\0" * 7, count)
        if len(pieces) != count + 1 or not count:
            return None
        lengths = [piece[-1] if piece else 0 for piece in pieces[:-1]]  # a length's low byte ends the text before it
        *texts, rest = pieces[1:]
        sizes = [len(text) - 1 for text in texts]
        if len(pieces[0]) != 1 or sizes != lengths[:-1] or len(rest) < lengths[-1]:
            return None
        self.at += sum(lengths) + 8 * count
        return [str(text[:-1], "utf-8", "replace") for text in texts] + [str(rest[: lengths[-1]], "utf-8", "replace")]
