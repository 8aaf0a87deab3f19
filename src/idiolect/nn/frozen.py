"""A matrix product whose matrix does not learn: forward, and the gradient of its input, nothing else.

torch's float32 product on a CPU goes to MKL, which takes a slow path on CPUs that are not Intel's; oneDNN does not
(measured on one with 768 rows, 576 x 960 in float32: 31 ms against 23). A matrix that is not held as floats (GGUF rows,
quantised) is made into floats once for each direction and not kept in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

HAVE = torch.backends.mkldnn.is_available()
FEWEST = 32  # rows; below it the two are alike


def product(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """x w^T + bias without recording gradients. x [N, In], w [Out, In] (perhaps a transposed view).

    A transposed view goes to MKL, which was 1.15 to 1.25 times as fast there. bfloat16 on a CPU that has no units for
    it is multiplied as float32, which is as exact and, measured, 7 to 100 times as fast."""
    if x.device.type != "cpu" or x.ndim != 2 or x.shape[0] < FEWEST or not HAVE or x.dtype != w.dtype:
        return F.linear(x, w, bias)
    if x.dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        wide = None if bias is None else bias.float()
        return product(x.float(), w.float(), wide).to(torch.bfloat16)
    if x.dtype == torch.float32 and w.is_contiguous():
        return torch.ops.mkldnn._linear_pointwise(x, w, bias, "none", [], "")
    return F.linear(x, w, bias)


class Frozen(torch.autograd.Function):
    """`make()` gives the dense matrix [Out, In]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, make: Callable[[], Tensor], bias: Tensor | None) -> Tensor:
        ctx.make = make
        return product(x, make().detach(), None if bias is None else bias.detach())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (g,) = grads
        return product(g.contiguous(), ctx.make().detach().t()), None, None


def frozen(x: Tensor, make: Callable[[], Tensor], bias: Tensor | None = None) -> Tensor:
    """x W^T + bias [N, Out] with a gradient for x [N, In] alone."""
    return Frozen.apply(x, make, bias)
