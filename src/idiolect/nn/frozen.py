"""A matrix product whose matrix does not learn: forward, and the gradient of its input, nothing else.

A matrix that is not held as floats (GGUF rows, quantised) is made into floats once for each direction and not kept in
between. float32 goes to torch's own product (MKL on x86). Measured on a Zen 3 with two threads, SmolLM2-135M's four
matrices, 10^9 multiply-adds a second: forward and backward 72 and 79 at 280 rows; oneDNN on plain rows, which it
reorders in every call, 66 and 68.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

HAVE = torch.backends.mkldnn.is_available()
FEWEST = 32  # rows; below it bfloat16 is as fast as it is


def product(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """x w^T + bias without recording gradients. x [N, In], w [Out, In] (perhaps a transposed view).

    bfloat16 on a CPU that has no units for it is multiplied as float32, which is as exact and, measured, 7 to 100
    times as fast."""
    rounded = x.dtype == w.dtype == torch.bfloat16 and x.device.type == "cpu" and x.ndim == 2 and x.shape[0] >= FEWEST
    if rounded and HAVE and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return F.linear(x.float(), w.float(), None if bias is None else bias.float()).to(torch.bfloat16)
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
