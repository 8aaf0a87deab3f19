"""Backward passes written by hand, where what torch records costs more time or memory than the layer itself.

Used while gradients are recorded; the forward results are those of the plain layers to rounding. Each keeps its input
and a number per row, computes in place where it may, and gives no gradient that nobody asked for.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class RMSNormed(torch.autograd.Function):
    """x r w with r = 1/sqrt(mean(x^2) + eps). x [..., D], w [D]. Kept: x and r [..., 1]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        r = torch.linalg.vecdot(wide, wide).unsqueeze(-1).div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, r)
        return (wide * r).mul_(weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """dx = r (g w - x r^2 mean(g w x)); dw = sum over rows of g x r."""
        x, weight, r = ctx.saved_tensors
        g, wide = grads[0].to(r.dtype), x.to(r.dtype)
        dx = dw = None
        if ctx.needs_input_grad[1]:
            dw = (g * wide).mul_(r).reshape(-1, x.shape[-1]).sum(0).to(weight.dtype)
        if ctx.needs_input_grad[0]:
            d = g * weight
            mean = torch.linalg.vecdot(d, wide).unsqueeze(-1).div_(x.shape[-1])
            dx = d.addcmul_(wide, mean.mul_(r.square()), value=-1).mul_(r).to(x.dtype)
        return dx, dw, None


class SwiGLU(torch.autograd.Function):
    """silu(gate) * up of [gate, up] [N, 2 H] -> [N, H]. Kept: the input alone; silu is computed again."""

    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        ctx.save_for_backward(both)
        gate, up = both.chunk(2, -1)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor]:
        (g,), (both,) = grads, ctx.saved_tensors
        gate, up = both.chunk(2, -1)
        d = torch.empty_like(both)
        d_gate, d_up = d.chunk(2, -1)
        torch.mul(g, F.silu(gate), out=d_up)
        torch.ops.aten.silu_backward.grad_input(g * up, gate, grad_input=d_gate)
        return (d,)
