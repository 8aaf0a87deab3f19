"""Packed weights: made once, kept in the user's cache, memory-mapped from then on.

The name of a file is the hash of the stored weights, of the layout that is asked for and of the layout's version. The
file appears whole (atomic rename) and carries a checksum; one that is damaged is made again, one that is deleted is
made again, and where nothing can be written the tiles live in memory.
"""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idiolect.core.errors import IdiolectError
from idiolect.core.files import atomic_write, cache_dir
from idiolect.core.progress import progress
from idiolect.native.library import ABI
from idiolect.native.matrices import Matrix

log = logging.getLogger(__name__)
VERSION = 3
HEADER = 4096
WHOLE = 512 << 20  # above this many bytes, hashes and checksums look at samples
ALIGN = 64
TOGETHER = 4  # matrices in work at the same time


class Tiles:
    """The tiles of all matrices of a program in one block of memory. `address(i)` is that of matrix i."""

    def __init__(self, lib: Any, matrices: list[Matrix], *, keep: bool = True) -> None:
        self._lib, self._matrices = lib, matrices
        self._sizes = [int(lib.idl_packed_bytes(m.kind, m.outputs, m.inputs)) for m in matrices]
        padded = [-(-size // ALIGN) * ALIGN for size in self._sizes]
        self._offsets = [0, *np.cumsum(padded).tolist()]
        self.bytes = self._offsets[-1]
        self.path: Path | None = None
        self._block: NDArray[np.uint8] = self._cached() if keep else self._pack_all()

    def address(self, i: int) -> int:
        return int(self._block.ctypes.data) + self._offsets[i]

    def view(self, i: int) -> NDArray[np.uint8]:
        return self._block[self._offsets[i] : self._offsets[i] + self._sizes[i]]

    def _cached(self) -> NDArray[np.uint8]:
        key = identity(self._matrices)
        try:
            folder = cache_dir() / "packed"
            folder.mkdir(exist_ok=True)
            self.path = folder / f"{key}.bin"
            block = self._open(self.path, key)
            if block is None:
                self._write(self.path, key)
                block = self._open(self.path, key)
            forget(self._matrices)
            if block is not None:
                return block
        except (IdiolectError, OSError) as error:
            log.warning("packed weights are kept in memory only: %s", error)
        self.path = None
        return self._pack_all()

    def _open(self, path: Path, key: str) -> NDArray[np.uint8] | None:
        """The file's tiles; None when there is no such file, or it is not what it should be."""
        if not path.exists():
            return None
        try:
            with path.open("rb") as file:
                head = json.loads(file.read(HEADER).rstrip(b"\0"))
            if head["key"] != key or path.stat().st_size != HEADER + self.bytes:
                return None
            block = np.memmap(path, np.uint8, "r", HEADER, (self.bytes,))
        except (ValueError, KeyError, TypeError, OSError):
            return None
        if self._checksum(block) != head.get("checksum"):
            log.warning("%s is damaged and made again", path)
            return None
        return block

    def _write(self, path: Path, key: str) -> None:
        with atomic_write(path) as file:
            file.write(b"\0" * HEADER)
            sums = []
            for i, tiles in self._packed():
                sums.append(self._sum(tiles[: self._sizes[i]]))
                file.write(tiles)
            text = json.dumps({"key": key, "version": VERSION, "checksum": zlib.crc32(b"".join(sums))})
            file.seek(0)
            file.write(text.encode().ljust(HEADER, b"\0"))

    def _checksum(self, block: NDArray[np.uint8]) -> int:
        parts = [block[begin : begin + size] for begin, size in zip(self._offsets, self._sizes, strict=False)]
        with ThreadPoolExecutor(workers()) as pool:
            return zlib.crc32(b"".join(pool.map(self._sum, parts)))

    def _sum(self, tiles: NDArray[np.uint8]) -> bytes:
        looked = tiles if self.bytes <= WHOLE else tiles[: 1 << 16]
        return zlib.crc32(looked.data).to_bytes(4, "little")

    def _pack_all(self) -> NDArray[np.uint8]:
        room = np.zeros(self.bytes + ALIGN, np.uint8)
        begin = -room.ctypes.data % ALIGN
        block = room[begin : begin + self.bytes]
        for i, tiles in self._packed():
            block[self._offsets[i] : self._offsets[i + 1]] = tiles
        return block

    def _packed(self) -> Any:
        """(index, its tiles) of every matrix in order, a few at a time."""
        count = len(self._matrices)
        with (
            progress("packing the weights", count, "matrices") as bar,
            ThreadPoolExecutor(workers()) as pool,
        ):
            for begin in range(0, count, TOGETHER):
                some = range(begin, min(begin + TOGETHER, count))
                yield from zip(some, pool.map(self._pack, some), strict=True)
                bar.advance(len(some))

    def _pack(self, i: int) -> NDArray[np.uint8]:
        matrix = self._matrices[i]
        out = np.zeros(self._offsets[i + 1] - self._offsets[i], np.uint8)
        for part in matrix.parts:
            data = np.ascontiguousarray(part.piece.data)
            rows = np.ascontiguousarray(part.rows, np.int32)
            done = self._lib.idl_pack(
                matrix.kind,
                part.piece.type,
                data.ctypes.data,
                data.strides[0],
                matrix.inputs,
                rows.ctypes.data,
                len(rows),
                out.ctypes.data,
            )
            if done != 0:
                raise ValueError(f"no packer for ggml type {part.piece.type}")
        return out


def forget(matrices: list[Matrix]) -> None:
    """Let the system take back the pages of a mapped weight file: they were read once, and the tiles serve now."""
    for base in {id(b): b for m in matrices for p in m.parts if (b := mapping(p.piece.data)) is not None}.values():
        if hasattr(mmap, "MADV_DONTNEED"):
            base.madvise(mmap.MADV_DONTNEED)


def mapping(array: NDArray[np.uint8]) -> mmap.mmap | None:
    """The memory map of a file that an array is a view of, if it is one; other memory must keep its pages."""
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
    return base


def workers() -> int:
    return min(TOGETHER, os.cpu_count() or 1)


def identity(matrices: list[Matrix]) -> str:
    """A hash of what is packed and how."""
    whole = sum(part.piece.data.nbytes for m in matrices for part in m.parts) <= WHOLE

    def digest(m: Matrix) -> bytes:
        text = hashlib.sha256(repr((m.kind, m.outputs, m.inputs, m.column)).encode())
        for part in m.parts:
            data = part.piece.data
            text.update(repr((part.piece.type, data.shape)).encode())
            text.update(np.ascontiguousarray(part.rows).data)
            text.update(np.ascontiguousarray(data if whole else data[:: max(1, len(data) // 64)]).data)
        return text.digest()

    text = hashlib.sha256(repr((VERSION, ABI)).encode())
    with ThreadPoolExecutor(workers()) as pool:  # reading and hashing hold no lock
        for found in pool.map(digest, matrices):
            text.update(found)
    return text.hexdigest()[:32]
