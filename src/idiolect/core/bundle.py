"""A bundle: one directory that holds a whole model, in the layout that transformers opens, and says where it came from.

`config.json`, `model*.safetensors`, `tokenizer.json`, the chat template and `generation_config.json` are the files that
people's tools know. `lineage.json` is ours: the SHA-256 of every file, the parents it was made from, and how.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from idiolect.core import config
from idiolect.core.errors import BadInput, CorruptFile, NotFound
from idiolect.core.files import NO_ROOM, atomic_write, disk_error, sha256_file, sync_folder
from idiolect.core.progress import Progress

LINEAGE = "lineage.json"


@dataclass(frozen=True, slots=True)
class Parent:
    """Something a bundle was made from: `source` as `models.load` takes it, `sha256` of its weights, and its role."""

    source: str
    sha256: str = ""
    role: str = "base"  # base, adapter, data, teacher, ...


@dataclass(frozen=True, slots=True)
class Lineage:
    """How a bundle came to be. `files` maps each path ("/" as separator) to its hex SHA-256."""

    files: dict[str, str]
    made: dict[str, Any] = field(default_factory=dict)  # {"by": "models.save", "options": {...}}: enough to repeat it
    parents: tuple[Parent, ...] = ()
    created: float = 0.0  # seconds since the epoch
    version: int = 1


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle. Opening reads `lineage.json` only; `verify` reads every byte."""

    path: Path
    lineage: Lineage

    @classmethod
    def open(cls, path: Path | str) -> Bundle:
        """`NotFound` when there is no such directory or it has no lineage, `CorruptFile` when that cannot be read."""
        path = Path(path)
        try:
            data = json.loads((path / LINEAGE).read_text("utf-8"))
            return cls(path, config.from_dict(Lineage, data, LINEAGE))
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{path} is not a bundle", hint=f"a bundle is a directory with {LINEAGE}") from None
        except (ValueError, BadInput) as error:
            raise CorruptFile(f"cannot read {path / LINEAGE}: {error}") from error

    @property
    def config(self) -> dict[str, Any]:
        """The model's `config.json`."""
        try:
            found = json.loads((self.path / "config.json").read_text("utf-8"))
        except FileNotFoundError:
            raise NotFound(f"the bundle {self.path} has no config.json") from None
        except ValueError as error:
            raise CorruptFile(f"cannot read {self.path / 'config.json'}: {error}") from error
        return dict(found)

    @property
    def weights(self) -> list[Path]:
        """The safetensors files, in name order."""
        return [self.path / name for name in sorted(self.lineage.files) if name.endswith(".safetensors")]

    @property
    def sha256(self) -> str:
        """One hash for the whole bundle's content: that of its sorted file hashes."""
        from idiolect.core.canonical import canonical, digest

        return digest(canonical(self.lineage.files))

    def verify(self, progress: Progress | None = None) -> None:
        """Hash every file again. `CorruptFile` names the first that is changed, missing or not accounted for."""
        for name, wanted in sorted(self.lineage.files.items()):
            file = self.path / name
            if not file.is_file():
                raise CorruptFile(f"{file} is missing from its bundle", hint="copy the bundle again")
            if sha256_file(file, progress) != wanted:
                raise CorruptFile(f"{file} is not the file that was written", hint="copy the bundle again")
        for file in _files(self.path):
            name = file.relative_to(self.path).as_posix()
            if name not in self.lineage.files and name != LINEAGE:
                raise CorruptFile(f"{file} is not part of its bundle", hint="move it elsewhere")


@contextmanager
def writing(
    path: Path | str, *, made: Mapping[str, Any], parents: Sequence[Parent] = (), replace: bool = False
) -> Iterator[Path]:
    """Write a bundle: fill the folder that this yields; it becomes `path`, whole, when the block ends well.

    `made` says how (a plain mapping). A `path` that already holds files is `BadInput` unless `replace`. When the block
    fails, or the process dies, `path` is as it was; a full disk is `Unavailable`.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise BadInput(f"{path} is a file", hint="give a directory")
    if path.is_dir() and any(path.iterdir()) and not replace:
        raise BadInput(f"{path} is not empty", hint="give a new directory")
    temp = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        temp.mkdir(parents=True)
        yield temp
        _finish(temp, made, parents)
        _swap(temp, path)
    except OSError as error:
        if error.errno in NO_ROOM or error.filename is None or Path(error.filename) in (temp, path):
            raise disk_error(error, path) from error
        raise
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def _finish(folder: Path, made: Mapping[str, Any], parents: Sequence[Parent]) -> None:
    hashes = {}
    for file in _files(folder):
        handle = os.open(file, os.O_RDONLY)
        try:
            os.fsync(handle)  # the rename must not become durable before the bytes do
        finally:
            os.close(handle)
        hashes[file.relative_to(folder).as_posix()] = sha256_file(file)
    lineage = Lineage(hashes, dict(made), tuple(parents), time.time())
    with atomic_write(folder / LINEAGE, "w") as out:
        json.dump(config.to_dict(lineage), out, indent=2, sort_keys=True)
        out.write("\n")


def _swap(temp: Path, path: Path) -> None:
    old = None
    if path.exists():
        # Two renames: between them `path` is absent, never half written.
        old = path.with_name(f".{path.name}.{secrets.token_hex(6)}.old")
        path.rename(old)
    temp.rename(path)
    sync_folder(path.parent)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())
