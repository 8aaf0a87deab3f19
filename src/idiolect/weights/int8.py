"""int8 per output channel: w = code * scale of its row, scale = max|row| / 127 (absmax; Dettmers et al. 2022,
arXiv:2208.07339, section 2, without its outliers). Weights only; activations stay floats. 8 bits a weight."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from idiolect.weights.quant import FORMATS, QuantTensor, by_row, scratch


@FORMATS.register("int8")
class Int8(QuantTensor):
    """`codes` [Out, In] int8, `scale` [Out] float32."""

    fmt = "int8"
    codes: Tensor
    scale: Tensor

    @classmethod
    def pack(cls, weight: Tensor) -> Self:
        scale = weight.float().abs().amax(1) / 127
        codes = by_row(weight, scale).round_().clamp_(-127, 127).to(torch.int8)
        return cls._of(weight, codes=codes, scale=scale)

    def floats(self) -> Tensor:
        return self.codes.float().mul_(self.scale[:, None])

    def transient(self, dtype: torch.dtype) -> Tensor:
        (out, inputs), where = self.shape, self.codes.device
        values = scratch("levels", out * inputs, torch.float32, where).view(out, inputs).copy_(self.codes)
        values.mul_(self.scale[:, None])
        return (
            values
            if dtype == torch.float32
            else scratch("floats", out * inputs, dtype, where).view(out, inputs).copy_(values)
        )

    def rows(self, ids: Tensor) -> Tensor:
        return (self.codes[ids].float() * self.scale[ids, None]).to(self.dtype)
