"""Records from files: JSON lines, JSON, tables, texts and Parquet, plain or gzipped."""

from __future__ import annotations

import csv
import gzip
import hashlib
import importlib.resources
import io
import json
import re
import zlib
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from idiolect.core.errors import BadInput, CorruptFile, NotFound
from idiolect.core.rng import Streams
from idiolect.evals.tasks.config import Data

Record = dict[str, Any]
KINDS = {".jsonl": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}


def find(data: Data, here: Path | None, base: Path | None) -> list[Path]:
    """The files (or the one folder) of `data`. `NotFound` says where it looked."""
    if data.package is not None:
        try:
            roots = [Path(str(importlib.resources.files(data.package)))]
        except ModuleNotFoundError:
            raise NotFound(f"there is no package {data.package!r}", hint=f"pip install {data.package}") from None
    else:
        path = Path(data.path).expanduser()
        if path.is_absolute():
            roots = [Path(path.anchor)]
            data = Data(path=str(path.relative_to(path.anchor)))
        else:
            roots = [root for root in (here, base) if root is not None]
    for root in roots:
        if any(c in data.path for c in "*?["):
            found = sorted(root.glob(data.path))
        else:
            found = [root / data.path] if (root / data.path).exists() else []
        if found:
            return found
    where = f" in {base}" if base is not None else ""
    hint = "check the folder that --data names" if base is not None else "say where the data are: --data DIR"
    raise NotFound(f"there is no {data.path}{where}", hint=hint, param="data")


def content_hash(paths: list[Path]) -> str:
    """Of the bytes of all files, whatever their place."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            digest.update(f"{file.name}\n".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def records(data: Data, paths: list[Path]) -> list[Record]:
    """All documents, in the order that `data` asks for."""
    several = len(paths) > 1 or any(c in data.path for c in "*?[")
    rows: list[Record] = []
    for path in paths:
        name = path.name.split(".")[0]
        for row in _read(data, path):
            rows.append({"file": name, **row} if several else row)
    if data.group is not None:
        field = data.group
        for row in rows[:1]:
            if field not in row:
                raise BadInput(f"the records have no field {field!r}", hint=f"they have {', '.join(row)}")
        rows = [{field: value, "rows": list(part)} for value, part in groupby(rows, key=lambda row: row.get(field))]
    for place, row in enumerate(rows):
        row.setdefault("index", place)
    if data.order == "shuffled":
        order = Streams(data.seed).numpy("order").permutation(len(rows))
        rows = [rows[i] for i in order]
    if not rows:
        raise BadInput(f"{paths[0]} holds no records", hint="look at the file")
    return rows


def _read(data: Data, path: Path) -> Iterator[Record]:
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    kind = KINDS.get(suffix, "text") if data.format == "auto" else data.format
    if kind == "parquet":
        from idiolect.data.readers.parquet import Parquet

        table = Parquet(path, path)
        for i in range(len(table)):
            yield dict(table[i].value)
        return
    text = read_text(path)
    if kind == "jsonl":
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield _mapping(_json(line, f"{path}, line {number}"), f"{path}, line {number}")
    elif kind == "json":
        found = _json(text, str(path))
        for number, row in enumerate(found if isinstance(found, list) else [found], 1):
            yield _mapping(row, f"{path}, entry {number}")
    elif kind in ("csv", "tsv"):
        yield from _table(text, data, path, "\t" if kind == "tsv" else ",")
    elif data.split is not None:
        yield from ({"text": part} for part in re.split(data.split, text, flags=re.MULTILINE) if part.strip())
    else:
        yield {"text": text}


def read_text(path: Path) -> str:
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return raw.decode("utf-8-sig")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CorruptFile(f"{path} is damaged: {error}", hint="get the file again") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from None
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror or error}", hint="give a file") from None


def _table(text: str, data: Data, path: Path, delimiter: str) -> Iterator[Record]:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    names = list(data.columns)
    for row in rows:
        if not row:
            continue
        if not names:
            names = row
            continue
        if len(row) != len(names):
            raise BadInput(
                f"{path}, line {rows.line_num}: {len(row)} columns instead of {len(names)}",
                hint=f"the columns are {', '.join(names)}; data.columns names those of a table without names",
            )
        yield dict(zip(names, row, strict=True))


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadInput(
            f"{where}: this is not JSON: {error}", hint="one value a line (.jsonl), or one (.json)"
        ) from None


def _mapping(value: Any, where: str) -> Record:
    if not isinstance(value, dict):
        raise BadInput(f"{where} is a {type(value).__name__}", hint="each record must be a JSON object")
    return value
