"""A weight matrix as a step multiplies with it: floats, or 8 or 4-bit codes.

8 bits: w = code * scale, one scale a row, max|row| / 127. 4 bits: w = (code - 8) * scale + middle, both for every 32
columns, from the least to the greatest of them. What multiplies how many rows was chosen by measurement
(docs/performance.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from idiolect.cuda.narrow import ACT, BYTES, FLOAT, GATE, GROUP, LAYER, NIBBLES, PLAIN, RMS, narrow, unpack
from idiolect.cuda.parts import activate
from idiolect.cuda.parts import norm as normalise

Form = Literal["float", "q8", "q4"]
FUSED = 2  # rows up to which a product computes the norm or gate of its input itself
FEW = {"float": 1, "q8": 16, "q4": 16}  # rows up to which the kernel here beats the library's product
TINY = 8  # rows up to which torch's own 4-bit product does


@dataclass(frozen=True, slots=True)
class First:
    """What happens to the rows before the product: a norm, an activation, or a gate with its activation."""

    how: int = PLAIN
    kind: int = 0
    weight: Tensor | None = None
    bias: Tensor | None = None
    eps: float = 0.0

    def __call__(self, x: Tensor) -> Tensor:
        if self.how in (RMS, LAYER):
            assert self.weight is not None
            return normalise(x, self.weight, self.bias, self.eps)
        return x if self.how == PLAIN else activate(x, self.kind, self.how == GATE)


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """W [Out, In]. `w` holds the floats [Out, In], codes int8 [Out, In], or two codes a byte [Out, In / 2]; `tiny` the
    4-bit codes, scales and middles once more, as torch's product for few rows wants them."""

    outputs: int
    inputs: int
    form: Form
    w: Tensor
    scales: Tensor | None = None
    middles: Tensor | None = None
    bias: Tensor | None = None
    tiny: tuple[Tensor, Tensor] | None = None

    @property
    def bytes(self) -> int:
        """What a step of few rows reads."""
        held = (self.w, self.scales, self.middles) if self.tiny is None else self.tiny
        return sum(t.nbytes for t in held if t is not None)

    def product(self, x: Tensor, first: First, onto: Tensor | None = None) -> Tensor:
        """first(x) W^T + bias -> [M, Out], or added to `onto` in place."""
        rows = x.shape[0]
        if self.tiny is not None and rows <= TINY:
            return self._finish(torch._weight_int4pack_mm(first(x), self.tiny[0], GROUP, self.tiny[1]), onto)
        if rows <= FEW[self.form]:
            if rows > FUSED and first.how != PLAIN:
                x, first = first(x), First()
            return narrow(
                x,
                self.w,
                self.outputs,
                self.inputs,
                form={"float": FLOAT, "q8": BYTES, "q4": NIBBLES}[self.form],
                scales=self.scales,
                middles=self.middles,
                bias=self.bias,
                onto=onto,
                first=first.how,
                kind=first.kind,
                norm=None if first.weight is None else (first.weight, first.bias, first.eps),
            )
        x = first(x)
        if self.form == "q8":
            assert self.scales is not None
            return self._finish(F.linear(x, self.w.to(x.dtype)).mul_(self.scales), onto)
        w = self.floats(x.dtype)
        if onto is None:
            return F.linear(x, w, self.bias)
        torch.addmm(onto, x, w.t(), out=onto)
        return onto if self.bias is None else onto.add_(self.bias)

    def _finish(self, y: Tensor, onto: Tensor | None) -> Tensor:
        if self.bias is not None:
            y.add_(self.bias)
        return y if onto is None else onto.add_(y)

    def floats(self, dtype: torch.dtype) -> Tensor:
        """W as floats [Out, In]."""
        if self.form == "float":
            return self.w
        assert self.scales is not None
        if self.form == "q8":
            return self.w.to(dtype) * self.scales[:, None].to(dtype)
        assert self.middles is not None
        return unpack(self.w, self.scales, self.middles, dtype)


def matrix(w: Tensor, form: Form, bias: Tensor | None = None) -> Matrix:
    """A float matrix [Out, In] in a form; one whose rows are no multiple of 32 stays as it is."""
    outputs, inputs = w.shape
    w = w.detach()
    if form == "float" or inputs % GROUP:
        return Matrix(outputs, inputs, "float", w.contiguous(), bias=bias)
    if form == "q8":
        scales = w.float().abs().amax(1) / 127
        codes = (w.float() / scales.clamp_min(1e-30)[:, None]).round_().clamp_(-127, 127)
        return Matrix(outputs, inputs, "q8", codes.to(torch.int8), scales, bias=bias)
    groups = w.float().view(outputs, -1, GROUP)
    low, high = groups.amin(-1), groups.amax(-1)
    scales = ((high - low) / 15).to(w.dtype)
    middles = (low + 8 * scales.float()).to(w.dtype)
    codes = (groups - middles.float()[..., None]) / scales.float().clamp_min(1e-30)[..., None]
    codes = codes.round_().add_(8).clamp_(0, 15).to(torch.uint8)
    halves = codes.view(outputs, -1, 2, GROUP // 2)
    packed = (halves[:, :, 0] | (halves[:, :, 1] << 4)).reshape(outputs, inputs // 2).contiguous()
    return Matrix(outputs, inputs, "q4", packed, scales, middles, bias, tinygemm(codes, scales, middles))


def tinygemm(codes: Tensor, scales: Tensor, middles: Tensor) -> tuple[Tensor, Tensor] | None:
    """Codes [Out, groups, 32], scales and middles [Out, groups] for torch's 4-bit product; None where it has none."""
    outputs, groups, _ = codes.shape
    if not codes.is_cuda or scales.dtype != torch.bfloat16 or outputs % 8:
        return None
    flat = codes.view(outputs, -1)
    inner = next(t for t in (8, 4, 2) if groups * GROUP % (16 * t) == 0)
    packed = torch._convert_weight_to_int4pack((flat[:, ::2] << 4 | flat[:, 1::2]).contiguous(), inner)
    return packed, torch.stack((scales.t(), middles.t()), 2).contiguous()


__all__ = ["ACT", "GATE", "LAYER", "PLAIN", "RMS", "First", "Form", "Matrix", "matrix"]
