"""Ternary weights: w = scale * code, code in {-1, 0, 1}, scale = mean |row| (BitNet b1.58, Ma et al. 2024,
arXiv:2402.17764, section 2, which takes the mean of the whole matrix). Such a product needs no multiplications; here it
is one with floats, as in every format. Models have to be trained for it: rounding a finished one spoils it."""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from idiolect.weights.quant import FORMATS, QuantTensor, by_row


@FORMATS.register("ternary")
class Ternary(QuantTensor):
    """`codes` [Out, ceil(In / 4)] uint8, four weights of two bits (code + 1), the first in the lowest; `scale` [Out]
    float32. 2 bits a weight."""

    fmt = "ternary"
    codes: Tensor
    scale: Tensor

    @classmethod
    def pack(cls, weight: Tensor) -> Self:
        scale = weight.float().abs().mean(1)
        codes = by_row(weight, scale).round_().clamp_(-1, 1) + 1
        fours = F.pad(codes, (0, -codes.shape[1] % 4)).to(torch.uint8).view(len(codes), -1, 4)
        packed = fours[..., 0] | fours[..., 1] << 2 | fours[..., 2] << 4 | fours[..., 3] << 6
        return cls._of(weight, codes=packed, scale=scale)

    def floats(self) -> Tensor:
        return self._some(self.codes).mul_(self.scale[:, None])

    def rows(self, ids: Tensor) -> Tensor:
        return self._some(self.codes[ids]).mul_(self.scale[ids, None]).to(self.dtype)

    def _some(self, codes: Tensor) -> Tensor:
        """[..., ceil(In / 4)] uint8 -> [..., In] float32."""
        found = torch.stack([codes >> shift & 3 for shift in (0, 2, 4, 6)], -1).flatten(-2)
        return found[..., : self.shape[1]].float().sub_(1)
