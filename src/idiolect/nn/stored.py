"""Matrices as their file stores them: quantised or plain rows, memory-mapped, not yet floats.

A runner with kernels of its own packs these rows into its own layout and never makes floats of them. In torch a layer
that holds one still works, by making the floats it needs each time, which is slow: `materialise` makes them once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from idiolect.nn.held import product

PLAIN = {0: torch.float32, 1: torch.float16, 30: torch.bfloat16}  # ggml's type numbers
NUMBERS = {dtype: number for number, dtype in PLAIN.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Rows of one tensor: `type` is ggml's number, `data` [rows, bytes] its rows as stored (perhaps read-only), and
    `order`, where given, the stored row of each of our rows."""

    type: int
    data: NDArray[np.uint8]
    order: NDArray[np.int64] | None = None

    @property
    def rows(self) -> int:
        return int(self.data.shape[0])

    @property
    def width(self) -> int:
        """Values in a row."""
        size = int(self.data.shape[1])
        if self.type in PLAIN:
            return size // PLAIN[self.type].itemsize
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        block, width = GGML_QUANT_SIZES[GGMLQuantizationType(self.type)]
        return size // width * block

    def floats(self, rows: NDArray[np.int64] | None = None) -> Tensor:
        """Some of our rows, or all, as float32."""
        index = rows if self.order is None else self.order if rows is None else self.order[rows]
        data = self.data if index is None else self.data[index]
        if self.type in PLAIN:
            return torch.from_numpy(np.array(data)).view(PLAIN[self.type]).float()
        from gguf import GGMLQuantizationType, quants

        return torch.from_numpy(quants.dequantize(np.ascontiguousarray(data), GGMLQuantizationType(self.type)))


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A matrix [Out, In] whose rows lie in pieces, one after another (see `nn.held`)."""

    pieces: tuple[Piece, ...]
    inputs: int

    @property
    def outputs(self) -> int:
        return sum(p.rows for p in self.pieces)

    @property
    def shape(self) -> tuple[int, int]:
        return self.outputs, self.inputs

    def floats(self) -> Tensor:
        """The matrix as float32 [Out, In]."""
        return torch.cat([p.floats() for p in self.pieces])

    def dequantise(self, dtype: torch.dtype | None = None) -> Tensor:
        return self.floats().to(dtype or torch.float32)

    def matmul(self, x: Tensor) -> Tensor:
        return product(x, self)

    def as_stored(self) -> Stored:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Stored:
        return self  # nobody writes to it, and it may be a whole file

    def rows(self, ids: Tensor) -> Tensor:
        """Rows [..., In] of an int64 index, float32; for a matrix of one piece."""
        (piece,) = self.pieces
        return piece.floats(ids.reshape(-1).numpy()).reshape(*ids.shape, self.inputs)


def plain(matrix: Tensor) -> Stored:
    """A float matrix [Out, In] on the CPU, as it is; another dtype than GGUF knows becomes float32."""
    matrix = matrix.detach()
    if matrix.dtype not in NUMBERS:
        matrix = matrix.float()
    data: Any = matrix.contiguous().view(torch.uint8).numpy()
    return Stored((Piece(NUMBERS[matrix.dtype], data),), matrix.shape[1])


def materialise(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Give every layer of a model that holds stored rows plain weights of `dtype`, on the device of the model's other
    weights; those get that dtype too."""
    where = next((p.device for p in model.parameters()), torch.device("cpu"))
    for module in model.modules():
        stored = getattr(module, "stored", None)
        if isinstance(stored, Stored):
            module.weight = nn.Parameter(stored.floats().to(where, dtype), requires_grad=False)
            setattr(module, "stored", None)  # noqa: B010
    return model.to(dtype)


def holds_stored(model: nn.Module) -> bool:
    """Whether some layer has a file's rows in place of a weight."""
    return any(isinstance(getattr(module, "stored", None), Stored) for module in model.modules())
