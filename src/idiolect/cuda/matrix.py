"""A weight matrix as a step multiplies with it: floats, or 8 or 4 bits with a scale for every 32 columns.

8 bits: w = code * scale, scale = max|group| / 127. 4 bits: w = code * scale + low, low = min(group), scale =
(max - min) / 15: the shapes of GGUF's Q8_0 and Q4_1. Scales are fp16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from idiolect.cuda.narrow import ACT, BYTES, FLOAT, GATE, GROUP, LAYER, NIBBLES, PLAIN, RMS, narrow
from idiolect.cuda.parts import activate
from idiolect.cuda.parts import norm as normalise

Form = Literal["float", "q8", "q4"]
FUSED = 2  # rows up to which a product computes the norm or gate of its input itself
FEW = {"float": 1, "q8": 32, "q4": 32}  # rows up to which the kernel here beats the library's product


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
    """W [Out, In]. `w` holds the floats [Out, In], codes int8 [Out, In], or two codes a byte [Out, In / 2]."""

    outputs: int
    inputs: int
    form: Form
    w: Tensor
    scales: Tensor | None = None
    lows: Tensor | None = None
    bias: Tensor | None = None

    @property
    def bytes(self) -> int:
        return sum(t.nbytes for t in (self.w, self.scales, self.lows) if t is not None)

    def product(self, x: Tensor, first: First, onto: Tensor | None = None) -> Tensor:
        """first(x) W^T + bias -> [M, Out], or added to `onto` in place."""
        rows = x.shape[0]
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
                lows=self.lows,
                bias=self.bias,
                onto=onto,
                first=first.how,
                kind=first.kind,
                norm=None if first.weight is None else (first.weight, first.bias, first.eps),
            )
        x, w = first(x), self.floats(x.dtype)
        if onto is None:
            return F.linear(x, w, self.bias)
        torch.addmm(onto, x, w.t(), out=onto)
        return onto if self.bias is None else onto.add_(self.bias)

    def floats(self, dtype: torch.dtype) -> Tensor:
        """W as floats [Out, In]."""
        if self.form == "float":
            return self.w
        assert self.scales is not None
        scales = self.scales[:, :, None].to(dtype)
        if self.form == "q8":
            return (self.w.view(self.outputs, -1, GROUP).to(dtype) * scales).view(self.outputs, self.inputs)
        assert self.lows is not None
        halves = self.w.view(self.outputs, -1, 1, GROUP // 2)
        codes = torch.cat((halves & 15, halves >> 4), 2).view(self.outputs, -1, GROUP)
        return (codes.to(dtype) * scales + self.lows[:, :, None].to(dtype)).view(self.outputs, self.inputs)


def matrix(w: Tensor, form: Form, bias: Tensor | None = None) -> Matrix:
    """A float matrix [Out, In] in a form; one whose rows are no multiple of 32 stays as it is."""
    outputs, inputs = w.shape
    if form == "float" or inputs % GROUP:
        return Matrix(outputs, inputs, "float", w.detach().contiguous(), bias=bias)
    groups = w.detach().float().view(outputs, -1, GROUP)
    if form == "q8":
        scales = (groups.abs().amax(-1) / 127).half()
        codes = (groups / scales.float().clamp_min(1e-30)[..., None]).round_().clamp_(-127, 127).to(torch.int8)
        return Matrix(outputs, inputs, "q8", codes.view(outputs, inputs), scales, bias=bias)
    lows = groups.amin(-1).half()
    scales = ((groups.amax(-1) - lows.float()) / 15).half()
    codes = ((groups - lows.float()[..., None]) / scales.float().clamp_min(1e-30)[..., None]).round_().clamp_(0, 15)
    halves = codes.to(torch.uint8).view(outputs, -1, 2, GROUP // 2)
    packed = (halves[:, :, 0] | (halves[:, :, 1] << 4)).reshape(outputs, inputs // 2).contiguous()
    return Matrix(outputs, inputs, "q4", packed, scales, lows, bias)


__all__ = ["ACT", "GATE", "LAYER", "PLAIN", "RMS", "First", "Form", "Matrix", "matrix"]
