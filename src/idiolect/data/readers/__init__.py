"""From a file to records that can be read in any order, each with the place it came from."""

from __future__ import annotations

import gzip
import shutil
import zlib
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from idiolect.core.errors import BadInput, CorruptFile
from idiolect.core.files import atomic_write, cache_dir, sha256_file


class Record(NamedTuple):
    """One entry of a file. `line` is where it begins, from 1 (the row, for Parquet)."""

    value: Any
    line: int


class Records(Protocol):
    """The records of one file. `records[i]` reads record i alone; it may raise `BadInput` that names the line."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...

    def line(self, index: int) -> int:
        """Where record i begins, without reading it."""
        ...


def open_records(path: Path, separator: str = "") -> Records:
    """The records of a file, by its suffix. `separator` is the line between the documents of a plain text."""
    from idiolect.data.files import kind_of

    kind = kind_of(path)
    file = _plain(path) if path.suffix.lower() == ".gz" else path
    try:
        empty = file.stat().st_size == 0
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    if empty:
        raise BadInput(f"{path} is empty", hint="give a file with at least one example")
    if kind == "jsonl":
        from idiolect.data.readers.jsonl import Jsonl

        return Jsonl(file, path)
    if kind == "json":
        from idiolect.data.readers.array import read_array

        return read_array(file, path)
    if kind == "parquet":
        from idiolect.data.readers.parquet import Parquet

        return Parquet(file, path)
    if kind in ("csv", "tsv"):
        from idiolect.data.readers.table import Table

        return Table(file, path, "," if kind == "csv" else "\t")
    from idiolect.data.readers.text import Documents

    return Documents(file, path, separator)


def _plain(path: Path) -> Path:
    """A compressed file unpacked, once, into the cache: what is compressed cannot be read in any order."""
    folder = cache_dir() / "unpacked"
    folder.mkdir(exist_ok=True)
    target = folder / sha256_file(path)
    if not target.exists():
        try:
            with gzip.open(path) as source, atomic_write(target) as out:
                shutil.copyfileobj(source, out, 1 << 20)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise CorruptFile(f"{path} is damaged: {error}", hint="get the file again") from error
    return target
