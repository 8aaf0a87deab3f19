"""Checkpoints of sharded runs: every rank writes its own shards (torch.distributed.checkpoint), a small file names the
last complete folder. They can be read by another number of processes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch.distributed.checkpoint as dcp
from torch import Tensor

from idiolect.core.errors import CorruptFile, NotFound
from idiolect.core.files import atomic_write
from idiolect.train.checkpoint import Progress, Store, refuse_other
from idiolect.train.ranks import Ranks


class ShardedStore(Store):
    """`best` and `last` of a run whose weights lie on several ranks. All ranks call `save` and `load` together."""

    def __init__(self, folder: Path, notes: Mapping[str, Any], ranks: Ranks) -> None:
        super().__init__(folder, notes)
        self.ranks = ranks

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def save(self, name: str, tensors: Mapping[str, Tensor], progress: Progress) -> None:
        folder = self.folder / f"{name}-{progress.step:08d}"
        if self.ranks.main:
            self.folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
        self.ranks.barrier()
        dcp.save(dict(tensors), checkpoint_id=folder)
        if self.ranks.main:
            with atomic_write(self.path(name), "w") as file:
                json.dump({"folder": folder.name, "progress": asdict(progress), "notes": self.notes}, file)
            for old in self.folder.glob(f"{name}-*"):
                if old != folder:
                    shutil.rmtree(old, ignore_errors=True)
        self.ranks.barrier()

    def load(self, name: str, like: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Progress]:
        path = self.path(name)
        try:
            found = json.loads(path.read_text("utf-8"))
            progress = Progress(**found["progress"])
        except FileNotFoundError:
            raise NotFound(f"there is no checkpoint {path}", hint="start the run anew") from None
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptFile(f"{path} is no checkpoint: {error}", hint="remove it and start anew") from None
        refuse_other(path, found["notes"], self.notes)
        tensors = {key: value.detach().clone() for key, value in like.items()}
        dcp.load(tensors, checkpoint_id=self.folder / found["folder"])
        return tensors, progress
