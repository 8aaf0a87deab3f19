"""A Hugging Face directory: config.json and safetensors, in one file or in several with an index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from idiolect.core.errors import BadInput, CorruptFile, NotFound
from idiolect.models.source import Opened
from idiolect.models.words import read_json

FLOATS = {"F64", "F32", "F16", "BF16"}


class SafetensorsWeights:
    """Memory-mapped safetensors files. Raises `CorruptFile` for a file that is truncated or no safetensors."""

    dialect = "hf"
    interleaved = False

    def __init__(self, folder: Path, files: list[str]) -> None:
        self.path, self.files = folder, tuple(files)
        self.bytes = 0
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.types: dict[str, str] = {}
        self._where: dict[str, str] = {}
        self._handles: dict[str, Any] = {}
        for file in files:
            path = folder / file
            if not path.is_file():
                raise NotFound(f"{path} is missing", hint="the index names it; get the model again")
            self.bytes += path.stat().st_size
            for name, entry in header(path).items():
                self.shapes[name], self.types[name] = tuple(entry["shape"]), entry["dtype"]
                self._where[name] = file

    def raw(self, name: str) -> None:
        """Its tensors are floats: `tensor` gives them as they are."""

    def tensor(self, name: str) -> Tensor:
        from safetensors import SafetensorError, safe_open

        file = self._where[name]
        if self.types[name] not in FLOATS:
            raise BadInput(
                f"tensor {name} of {self.path / file} has type {self.types[name]}",
                hint="quantised safetensors are not supported; give the unquantised model or a GGUF file",
            )
        if file not in self._handles:
            try:
                self._handles[file] = safe_open(str(self.path / file), framework="pt").__enter__()
            except SafetensorError as error:
                raise damaged(self.path / file, str(error)) from None
        tensor: Tensor = self._handles[file].get_tensor(name)
        return tensor

    def let_go(self) -> None:
        """A mapped file stays in memory as long as any tensor of the same handle does: what comes gets new ones."""
        self._handles.clear()


def damaged(path: Path, why: str) -> CorruptFile:
    return CorruptFile(f"{path} is truncated or no safetensors file ({why[:120]})", hint="get the file again")


def header(path: Path) -> dict[str, dict[str, Any]]:
    """The names, types and shapes of a safetensors file, checked against its size; no tensor is read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise damaged(path, "its header is longer than the file")
        try:
            entries: dict[str, dict[str, Any]] = json.loads(file.read(length))
            entries.pop("__metadata__", None)
            end = max((e["data_offsets"][1] for e in entries.values()), default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise damaged(path, f"its header cannot be read: {error}") from None
    if 8 + length + end != size:
        raise damaged(path, f"it has {size} bytes and should have {8 + length + end}")
    return entries


def weight_files(folder: Path) -> list[str]:
    """The safetensors files of a folder: those of the index, or the single one."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        shards = read_json(index).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise CorruptFile(f"{index} has no weight_map", hint="get the file again")
        return sorted(set(shards.values()))
    if (folder / "model.safetensors").exists():
        return ["model.safetensors"]
    pickles = sorted(p.name for p in folder.glob("*.bin")) or sorted(p.name for p in folder.glob("*.pt*"))
    if pickles:
        raise BadInput(
            f"{folder} has its weights only as {pickles[0]}",
            hint="such files can run code when opened; convert them to model.safetensors",
        )
    raise NotFound(f"{folder} has no model.safetensors", hint="a model folder holds config.json and safetensors files")


def open_directory(folder: Path, name: str | None = None) -> Opened:
    """Open a folder; `name` is its short name when the folder's own means nothing (a cache)."""
    config = read_json(folder / "config.json")
    if not config:
        found = sorted(folder.glob("*.gguf"))
        if len(found) == 1:
            from idiolect.models.sources.gguf import open_gguf

            return open_gguf(found[0])
        if found:
            names = ", ".join(p.name for p in found[:4])
            raise BadInput(f"{folder} holds several GGUF files: {names}", hint="give the path of one of them")
        raise NotFound(f"{folder} has no config.json", hint="a model folder holds config.json and safetensors files")
    weights = SafetensorsWeights(folder, weight_files(folder))
    return Opened(weights, config, (name or folder.resolve().name).lower(), folder=folder)
