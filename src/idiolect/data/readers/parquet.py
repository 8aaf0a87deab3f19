"""Parquet files (the extra `parquet`). One row group is in memory at a time."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from idiolect.core.errors import CorruptFile, Unavailable
from idiolect.data.readers import Record


class Parquet:
    """A file of any size; a record is a row, its place the row's number."""

    def __init__(self, file: Path, shown: Path) -> None:
        try:
            import pyarrow as arrow
            from pyarrow import parquet
        except ImportError:
            raise Unavailable(
                f"reading {shown} needs pyarrow", hint="pip install 'idiolect[parquet]', or give JSON lines"
            ) from None
        try:
            self._file = parquet.ParquetFile(file)
        except (arrow.ArrowInvalid, OSError) as error:
            raise CorruptFile(f"{shown} is no Parquet file: {str(error)[:120]}", hint="get the file again") from None
        groups = [self._file.metadata.row_group(g).num_rows for g in range(self._file.num_row_groups)]
        self._bounds = np.cumsum([0, *groups])
        self._group = lru_cache(maxsize=2)(self._read)

    def __len__(self) -> int:
        return int(self._bounds[-1])

    def line(self, index: int) -> int:
        return index + 1

    def __getitem__(self, index: int) -> Record:
        group = int(np.searchsorted(self._bounds, index, "right")) - 1
        return Record(self._group(group)[index - int(self._bounds[group])], index + 1)

    def _read(self, group: int) -> list[dict[str, Any]]:
        rows = self._file.read_row_group(group).to_pylist()
        return [{name: _given(value) for name, value in row.items()} for row in rows]


def _given(value: Any) -> Any:
    """A nested value as it was before: Arrow gives every object of a column all keys that any of them has, so that a
    message without calls has `tool_calls: null`, and a call the arguments of every other tool."""
    if isinstance(value, dict):
        return {key: _given(inner) for key, inner in value.items() if inner is not None}
    return [_given(inner) for inner in value] if isinstance(value, list) else value
