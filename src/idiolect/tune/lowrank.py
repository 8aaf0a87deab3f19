"""One product for a frozen matrix and its low-rank updates, forward and backward.

y = W x, and for every part p: y[rows of p] += s_p B_p A_p x. The A of all parts is one matrix, so its product with x
is taken once; updates go into y in place; W gets no gradient and is not kept if it has to be made from something else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from idiolect.nn.frozen import product

if TYPE_CHECKING:
    from idiolect.nn import Linear
    from idiolect.tune.lora import Lora


class LowRank(torch.autograd.Function):
    """x [N, In]; `fed` is x after dropout, None when there is none; a [R, In]; b[p] [rows, r_p]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, fed: Tensor | None, layer: Linear, delta: Lora, a: Tensor, *b: Tensor) -> Tensor:
        y = layer.plain(x) if layer.weight is None else product(x, layer.weight, layer.bias)
        source = x if fed is None else fed
        low = F.linear(source, a.to(x.dtype))  # [N, R]
        for (begin, end), (i, j), part, scale in zip(delta.bounds, delta.spans, b, delta.scales):
            y[:, begin:end].addmm_(low[:, i:j], part.to(x.dtype).t(), alpha=scale)
        ctx.save_for_backward(source, low, a, *b)
        ctx.layer, ctx.delta, ctx.dropped = layer, delta, fed is not None
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = grads
        source, low, a, *b = ctx.saved_tensors
        delta = ctx.delta
        down = torch.empty_like(low)  # gradient of `low`
        gb = []
        for (begin, end), (i, j), part, scale in zip(delta.bounds, delta.spans, b, delta.scales):
            own = g[:, begin:end]
            down[:, i:j] = (own @ part.to(g.dtype)).mul_(scale)
            gb.append((own.t() @ low[:, i:j]).mul_(scale).to(part.dtype))
        ga = (down.t() @ source).to(a.dtype)
        gx = gfed = None
        if ctx.needs_input_grad[0]:
            gx = product(g.contiguous(), ctx.layer.dense().detach().t())
            if not ctx.dropped:
                gx.addmm_(down, a.to(g.dtype))
        if ctx.dropped and ctx.needs_input_grad[1]:
            gfed = down @ a.to(g.dtype)
        return gx, gfed, None, None, ga, *gb


def low_rank(x: Tensor, fed: Tensor, layer: Linear, delta: Lora) -> Tensor:
    """`layer` with `delta`'s updates, [N, Out]; `fed` is x, or x after dropout."""
    layer.unpack()
    return LowRank.apply(x, None if fed is x else fed, layer, delta, delta.a, *delta.b)
