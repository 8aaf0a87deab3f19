"""Which files a data set is made of: a file, several, a folder, or a glob."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from idiolect.core.errors import BadInput, NotFound

KINDS = {  # how a file is read, by its suffix; `.gz` may follow any of them
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".raw": "text",
}


def kind_of(path: Path) -> str | None:
    """The reader for a file, None where its suffix says nothing."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes = suffixes[:-1]
    return KINDS.get(suffixes[-1]) if suffixes else None


def find(where: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files of `where`, each once; those of a folder or glob in the order of their names.

    Raises `NotFound` when there is nothing, `BadInput` for a file whose suffix is not known.
    """
    if isinstance(where, str | Path):
        where = [where]
    found: dict[Path, None] = {}
    for entry in where:
        path = Path(entry).expanduser()
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and kind_of(p) and not _hidden(p, path))
            if not inside:
                raise NotFound(f"the folder {path} holds no data", hint=_known())
            found.update(dict.fromkeys(inside))
        elif path.exists():
            if kind_of(path) is None:
                raise BadInput(f"{path} is of no known kind", hint=_known())
            found[path] = None
        elif matches := sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207  (absolute patterns too)
            found.update(dict.fromkeys(p for p in map(Path, matches) if p.is_file() and kind_of(p)))
        else:
            raise NotFound(f"there is no file or folder {path}", hint="give a file, a folder or a glob")
    if not found:
        raise NotFound("there are no data files", hint=_known())
    return list(found)


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _known() -> str:
    return f"files end in {', '.join(KINDS)}, perhaps followed by .gz"
