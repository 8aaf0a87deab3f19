"""A head on whole segments: classes or a value from one vector a segment.

A decoder's segment is its last row, which has seen all of it; an encoder's is its first row ([CLS]) or the mean. The
layouts are those of transformers' `...ForSequenceClassification` (Radford et al. 2018; Devlin et al. 2018,
arXiv:1810.04805), so that what is saved opens there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from idiolect.core import config
from idiolect.core.errors import BadInput, CorruptFile, NotFound
from idiolect.core.files import atomic_path, atomic_write, disk_error
from idiolect.core.rng import Streams
from idiolect.models.base import CausalModel, Encoder, Model
from idiolect.models.pooling import pool
from idiolect.models.write import save_file
from idiolect.nn import Batch

Pool = Literal["last", "first", "mean"]
Kind = Literal["classify", "regress", "reward"]
CONFIG, WEIGHTS = "head.json", "head.safetensors"


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """`width` is D of the model; `outputs` C (1 for a value). `dense` puts a layer D -> D with tanh before the last one
    (BERT's pooler). `classes` are the names of the outputs."""

    kind: Kind
    width: int
    outputs: int
    pool: Pool
    dense: bool = False
    bias: bool = False
    dropout: float = 0.0
    classes: tuple[str, ...] = ()


def head_config(model: Model, kind: Kind, classes: Sequence[str] = (), **changes: object) -> HeadConfig:
    """The head that transformers would put on this model."""
    width = int(model.config.dim)
    outputs = len(classes) if kind == "classify" else 1
    if kind == "classify" and outputs < 2:
        raise BadInput(f"a classifier needs two classes, there are {outputs}", hint="see the labels of the data")
    encoder = isinstance(model, Encoder)
    pool: Pool = "first" if encoder else "last"
    made = HeadConfig(kind, width, outputs, pool, dense=encoder, bias=encoder, classes=tuple(classes))
    return config.from_dict(HeadConfig, {**asdict(made), **changes}, "objective")


class Head(nn.Module):
    """Rows [N, D] of a packed batch -> [S, C] float32."""

    def __init__(self, options: HeadConfig, seed: int = 0, std: float = 0.02) -> None:
        super().__init__()
        self.config = options
        self.dense = nn.Linear(options.width, options.width) if options.dense else None
        self.dropout = nn.Dropout(options.dropout)
        self.out = nn.Linear(options.width, options.outputs, bias=options.bias)
        draw = Streams(seed).torch("head")
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.zero_() if name.endswith("bias") else parameter.normal_(0.0, std, generator=draw)

    def forward(self, h: Tensor, batch: Batch) -> Tensor:
        x = segment_rows(h, batch, self.config.pool).to(self.out.weight.dtype)
        if self.dense is not None:
            x = torch.tanh(self.dense(x))
        return self.out(self.dropout(x)).float()

    def save(self, folder: Path) -> None:
        """Write the head alone, for a body or adapter that is kept elsewhere. A full disk is `Unavailable`."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, folder) from error
        with atomic_path(folder / WEIGHTS) as file:
            save_file({k: v.detach().cpu().contiguous() for k, v in self.state_dict().items()}, file, {"format": "pt"})
        with atomic_write(folder / CONFIG, "w") as text:
            text.write(json.dumps(config.to_dict(self.config), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Head:
        """Raises `NotFound` and `CorruptFile`."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            head = cls(config.from_dict(HeadConfig, json.loads((folder / CONFIG).read_text("utf-8")), CONFIG))
            head.load_state_dict(load_file(folder / WEIGHTS))
        except FileNotFoundError:
            raise NotFound(f"{folder} holds no head", hint=f"a head is {CONFIG} and {WEIGHTS}") from None
        except (ValueError, BadInput, RuntimeError, SafetensorError) as error:
            raise CorruptFile(f"the head in {folder} is damaged: {str(error)[:120]}", hint="train it again") from None
        return head


def segment_rows(h: Tensor, batch: Batch, pool_: Pool) -> Tensor:
    """[N, D] -> [S, D]: the last, the first, or the mean of each segment's rows."""
    if pool_ == "last":
        return h[batch.cu[1:].long() - 1]
    return pool(h, batch, "cls" if pool_ == "first" else "mean", normalize=False)


def rest(model: Model) -> None:
    """Stop training what a head does not use: the matrix that predicts the next token."""
    if isinstance(model, CausalModel) and not getattr(model.config, "tied", False):
        head = getattr(model, "head", None)
        if isinstance(head, nn.Module):
            head.requires_grad_(False)
