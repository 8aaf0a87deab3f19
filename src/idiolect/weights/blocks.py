"""The GGUF block types Q8_0, Q4_0 and Q4_1 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).

A row is cut into blocks of 32 weights; a block is a float16 scale d (Q4_1: and a float16 minimum m) and its codes:
w = d q (Q8_0, q in -127..127), d (q - 8) (Q4_0, q in 0..15), d q + m (Q4_1). The bytes are those that a GGUF file
holds; packing is the `gguf` package's, unpacking is bit for bit equal to it.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from idiolect.core.errors import BadInput
from idiolect.nn.stored import Piece, Stored
from idiolect.weights.quant import FORMATS, QuantTensor

BLOCK = 32


class Blocks(QuantTensor):
    """`data` [Out, In / 32 * bytes of a block] uint8."""

    ggml: ClassVar[int]  # ggml's type number
    width: ClassVar[int]  # bytes of a block
    data: Tensor

    @classmethod
    def pack(cls, weight: Tensor) -> Self:
        from gguf import GGMLQuantizationType, quants

        if weight.shape[1] % BLOCK:
            raise BadInput(
                f"rows of {weight.shape[1]} values do not fit {cls.fmt}'s blocks of {BLOCK}", hint="take nf4 or int8"
            )
        data = quants.quantize(weight.float().cpu().numpy(), GGMLQuantizationType(cls.ggml))
        return cls._of(weight, data=torch.from_numpy(data).to(weight.device))

    def unpack(self, blocks: Tensor) -> Tensor:
        """[..., width] uint8 -> [..., 32] float32."""
        raise TypeError("a format unpacks its own blocks")

    def floats(self) -> Tensor:
        return self._some(self.data)

    def _some(self, data: Tensor) -> Tensor:
        return self.unpack(data.view(*data.shape[:-1], -1, self.width)).flatten(-2)

    def rows(self, ids: Tensor) -> Tensor:
        return self._some(self.data[ids]).to(self.dtype)

    def as_stored(self) -> Stored:
        data = self.data.cpu().numpy()
        return Stored((Piece(self.ggml, data.astype(np.uint8, copy=False)),), self.shape[1])


def half(blocks: Tensor, at: int) -> Tensor:
    """The float16 number at byte `at` of each block, as float32 [..., 1]."""
    return blocks[..., at : at + 2].contiguous().view(torch.float16).float()


def nibbles(codes: Tensor) -> Tensor:
    """[..., 16] uint8 -> [..., 32] float32: the low halves first, then the high ones."""
    return torch.cat((codes & 15, codes >> 4), -1).float()


@FORMATS.register("q8_0")
class Q8_0(Blocks):
    """8 bits and a scale: 8.5 bits a weight."""

    fmt, ggml, width = "q8_0", 8, 34

    def unpack(self, blocks: Tensor) -> Tensor:
        return blocks[..., 2:].view(torch.int8).float().mul_(half(blocks, 0))


@FORMATS.register("q4_0")
class Q4_0(Blocks):
    """4 bits and a scale: 4.5 bits a weight."""

    fmt, ggml, width = "q4_0", 2, 18

    def unpack(self, blocks: Tensor) -> Tensor:
        return nibbles(blocks[..., 2:]).sub_(8).mul_(half(blocks, 0))


@FORMATS.register("q4_1")
class Q4_1(Blocks):
    """4 bits, a scale and a minimum: 5 bits a weight."""

    fmt, ggml, width = "q4_1", 3, 20

    def unpack(self, blocks: Tensor) -> Tensor:
        return nibbles(blocks[..., 4:]).mul_(half(blocks, 0)).add_(half(blocks, 2))
