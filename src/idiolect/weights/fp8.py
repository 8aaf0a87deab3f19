"""Eight-bit floats per output channel: w = code * scale of its row, scale = max|row| / 448, code in E4M3 (Micikevicius
et al. 2022, arXiv:2209.05433: 4 bits of exponent, 3 of mantissa, up to 448). Where int8 has equal steps, these have
equal ratios: small weights beside a large one keep their three bits. Weights only. 8 bits a weight."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from idiolect.weights.quant import FORMATS, QuantTensor, by_row

LARGEST = 448.0


@FORMATS.register("fp8")
class Fp8(QuantTensor):
    """`codes` [Out, In] float8_e4m3fn, `scale` [Out] float32."""

    fmt = "fp8"
    codes: Tensor
    scale: Tensor

    @classmethod
    def pack(cls, weight: Tensor) -> Self:
        scale = weight.float().abs().amax(1) / LARGEST
        codes = by_row(weight, scale).clamp_(-LARGEST, LARGEST).to(torch.float8_e4m3fn)
        return cls._of(weight, codes=codes, scale=scale)

    def floats(self) -> Tensor:
        return self.codes.float().mul_(self.scale[:, None])

    def rows(self, ids: Tensor) -> Tensor:
        codes = self.codes.view(torch.uint8)[ids].view(torch.float8_e4m3fn)  # torch has no index of eight-bit floats
        return codes.float().mul_(self.scale[ids, None]).to(self.dtype)
