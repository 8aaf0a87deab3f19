"""What commands print: JSON for scripts, plain aligned text for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from idiolect.core.canonical import plain


def emit(value: Any) -> None:
    """One JSON document on standard output; dataclasses and paths are fine."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=plain)
    sys.stdout.write("\n")


def table(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> None:
    """Aligned columns, the last one as long as it is. No colours, no boxes: it goes through grep and cut."""
    every = [list(head), *map(list, rows)] if head else [list(row) for row in rows]
    if not every:
        return
    widths = [max(len(row[i]) for row in every) for i in range(len(every[0]))]
    for row in every:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        print("  ".join([*cells, row[-1]]).rstrip())


def size(count: float) -> str:
    """Bytes as people say them: 1.5 MB (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def say(text: str) -> None:
    """A line for the person at the terminal; standard output stays for results."""
    print(text, file=sys.stderr, flush=True)
