"""int8 per output channel: w = code * scale of its row, scale = max|row| / 127 (absmax; Dettmers et al. 2022,
arXiv:2208.07339, section 2, without its outliers). Weights only; activations stay floats. 8 bits a weight."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from idiolect.weights.quant import FORMATS, QuantTensor, scratch


@FORMATS.register("int8")
class Int8(QuantTensor):
    """`codes` [Out, In] int8, `scale` [Out] float32."""

    fmt = "int8"
    codes: Tensor
    scale: Tensor

    @classmethod
    def pack(cls, weight: Tensor) -> Self:
        made = cls((weight.shape[0], weight.shape[1]), weight.dtype)
        values = weight.float()
        scale = values.abs().amax(1) / 127
        codes = (values / scale.clamp_min(torch.finfo(torch.float32).tiny)[:, None]).round_().clamp_(-127, 127)
        made.register_buffer("codes", codes.to(torch.int8))
        made.register_buffer("scale", scale)
        return made

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
