"""JSON Lines: a JSON value a line; blank lines are passed over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

import numpy as np

from idiolect.core.errors import BadInput
from idiolect.data.readers import Record
from idiolect.data.readers.lines import Lines


class Jsonl:
    """A file of any size; `records[i]` parses one line."""

    def __init__(self, file: Path, shown: Path) -> None:
        self._lines = Lines(file, shown)
        self._where = np.flatnonzero(~self._lines.blank())

    def __len__(self) -> int:
        return len(self._where)

    def line(self, index: int) -> int:
        return int(self._where[index]) + 1

    def __getitem__(self, index: int) -> Record:
        at = int(self._where[index])
        text = self._lines.text(at, at + 1)
        try:
            return Record(json.loads(text, parse_constant=refuse), at + 1)
        except (ValueError, RecursionError) as error:
            shown = self._lines.shown
            if at == 0 and text.strip() == "[":
                raise BadInput(f"{shown} holds a JSON array", hint="name it .json, or put one object a line") from None
            column = f", column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            said = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise BadInput(
                f"{shown}, line {at + 1}{column}: this is not JSON: {said}",
                hint="each line must be one JSON object; on_error=skip leaves such lines out",
            ) from None


def refuse(name: str) -> NoReturn:
    """Python reads NaN and Infinity, which are no JSON."""
    raise ValueError(f"{name} is no JSON number")
