"""Checkpoints: one safetensors file that is replaced whole, so a killed process leaves the old one or the new one.

Tensors are `weights/<name>` (the masters of everything that is trained; what is frozen is in the base) and
`optimiser/<name>/<key>`. The header's metadata holds the rest as JSON. There is no random state: a step's draws are a
function of the run's seed and the step. No pickle, so a checkpoint cannot run code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from idiolect.core.errors import BadInput, CorruptFile, NotFound
from idiolect.core.files import atomic_write

NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.float64: "F64", torch.int64: "I64"}


@dataclass(slots=True)
class Progress:
    """How far a run is. `step` steps are done; `best` is the lowest validation loss, seen after `best_step`."""

    step: int = 0
    tokens: int = 0
    best: float | None = None
    best_step: int = 0


def write(path: Path, tensors: Mapping[str, Tensor], progress: Progress, notes: Mapping[str, Any]) -> None:
    """Replace `path`. A full disk is `Unavailable`, and the old file stays. Written piece by piece: no second copy."""
    header: dict[str, Any] = {"__metadata__": {"progress": json.dumps(asdict(progress)), "notes": json.dumps(notes)}}
    offset = 0
    for name, value in tensors.items():
        size = value.numel() * value.element_size()
        header[name] = {
            "dtype": NAMES[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for value in tensors.values():
            flat: Any = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            file.write(flat)


def read(path: Path) -> tuple[dict[str, Tensor], Progress, dict[str, Any]]:
    """(tensors, progress, notes). `NotFound` and `CorruptFile` name the file."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise NotFound(f"there is no checkpoint {path}", hint="a run writes its first after some steps; start it anew")
    try:
        with safe_open(str(path), framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
        return tensors, Progress(**json.loads(meta["progress"])), json.loads(meta["notes"])
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise CorruptFile(f"{path} is no checkpoint: {str(error)[:120]}", hint="remove it and start anew") from None


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below a prefix, without it."""
    return {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(prefix + "/")}


class Store:
    """The checkpoints of one run: `best` and `last` in a folder. `notes` travel with each (the recipe's fingerprint):
    another run's are refused."""

    def __init__(self, folder: Path, notes: Mapping[str, Any] | None = None) -> None:
        self.folder, self.notes = folder, dict(notes or {})

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def has(self, name: str) -> bool:
        return self.path(name).exists()

    def save(self, name: str, tensors: Mapping[str, Tensor], progress: Progress) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write(self.path(name), tensors, progress, self.notes)

    def load(self, name: str, like: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Progress]:
        """What `save` was given. `like` are tensors of the kind that is wanted (shards, in a distributed store)."""
        tensors, progress, notes = read(self.path(name))
        refuse_other(self.path(name), notes, self.notes)
        return tensors, progress


def refuse_other(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """`BadInput` when a checkpoint's notes are not those of this run."""
    for key, value in wanted.items():
        if found.get(key) != value:
            raise BadInput(
                f"{path} is of another run: its {key} differs",
                hint="resume with what the run began with, or give another folder",
            )
