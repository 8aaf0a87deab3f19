"""GPT-2's two halves of a block for training: the same products, with less going through memory between them.

The GELU and its derivative are computed where a product leaves its result (`lt`), and the gradients of q, k and v come
together in one pass (`join`).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from idiolect.cuda.join import join
from idiolect.cuda.lt import gelu_backward, linear_gelu
from idiolect.nn import FeedForward


class GeluFeedForward(torch.autograd.Function):
    """gelu(x a^T + b) c^T + d. x [N, D], a [H, D], b [H], c [D, H], d [D] -> [N, D]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        before, inside = linear_gelu(x, a, b)
        ctx.save_for_backward(x, a, c, before, inside)
        return F.linear(inside, c, d)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        (g,), (x, a, c, before, inside) = grads, ctx.saved_tensors
        d = gelu_backward(g, c, before)
        return d @ a, d.t() @ x, d.sum(0), g.t() @ inside, g.sum(0)


class Heads(torch.autograd.Function):
    """q, k and v, each [N, H, Dh], of x w^T + b. x [N, D], w [3 H Dh, D]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(x, w)
        q, k, v = F.linear(x, w, b).view(x.shape[0], 3, heads, -1).unbind(1)
        return q, k, v

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, w = ctx.saved_tensors
        d, d_b = join(*(g.reshape(x.shape[0], -1) for g in grads))
        return d @ w, d.t() @ x, d_b, None


def feedforward(layer: FeedForward, x: Tensor) -> Tensor:
    out: Tensor = GeluFeedForward.apply(x, layer.up.weight, layer.up.bias, layer.down.weight, layer.down.bias)
    return out


def heads(layer: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of a layer with `heads`, and q, k and v in one matrix `qkv`."""
    found: tuple[Tensor, Tensor, Tensor] = Heads.apply(x, layer.qkv.weight, layer.qkv.bias, layer.heads)
    return found
