"""Cross-entropy of a large vocabulary without its logits: [N, V] never exists.

Rows go through the head a chunk at a time. The gradient of the logits has a closed form, so each chunk's share of the
gradients (of the hidden rows, and of the head's parameters where they are trained) is taken in the forward pass and
the chunk is dropped (the idea of Liger's fused linear cross-entropy, Hsu et al. 2024, arXiv:2410.10989). The head is
whatever `logits` does: tied, adapted, quantised. Nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from idiolect.cuda.available import missing

CHUNK_FLOATS = 1 << 24  # logits in a chunk: 64 MB in float32; each gives a gradient as large as the head
FROZEN_FLOATS = 3 << 21  # of a head that does not learn: 25 MB, which stay in the cache, and which glibc can reuse
GPU_FLOATS = 1 << 30  # on a GPU, where a product of few rows leaves most of it idle: 2 GB in bfloat16
GPU_ROWS = 1024  # a chunk there is a multiple of
FEWEST = 64  # rows; smaller products waste the head's pass through memory


def chunk_rows(vocab: int, device: torch.device | None = None, *, learns: bool = True) -> int:
    """Rows of a chunk for a vocabulary: `CHUNK_FLOATS` logits, but not so few that the product is slow. `learns`:
    whether the head does."""
    if device is not None and device.type == "cuda":
        return max(GPU_ROWS, GPU_FLOATS // vocab // GPU_ROWS * GPU_ROWS)
    return max(FEWEST, (CHUNK_FLOATS if learns else FROZEN_FLOATS) // vocab)


@dataclass(slots=True)
class Scores:
    """Per row [N] float32, without a graph: `nll` = -log p(target), `hit` whether the target is the likeliest."""

    nll: Tensor
    hit: Tensor


def cross_entropy(
    hidden: Tensor,
    targets: Tensor,
    weights: Tensor,
    logits: Callable[[Tensor], Tensor],
    parameters: Sequence[Tensor] = (),
    *,
    smoothing: float = 0.0,
    z_loss: float = 0.0,
    rows: int = 512,
) -> tuple[Tensor, Scores]:
    """sum_n weights[n] * ((1-s) nll + s mean_v(-log p_v) + z log^2 Z). hidden [N, D], targets [N], weights [N].

    `parameters` are the tensors with gradients that `logits` uses. `smoothing` s (Szegedy et al. 2016,
    arXiv:1512.00567), `z_loss` z (Chowdhery et al. 2022, arXiv:2204.02311). `rows` is the chunk
    (`chunk_rows`). Returns the sum (a float32 scalar with a graph) and what each row scored.
    """
    if not torch.is_grad_enabled():
        hidden, parameters = hidden.detach(), ()
    total, nll, hit = _Chunked.apply(hidden, targets, weights, logits, smoothing, z_loss, rows, *parameters)
    return total, Scores(nll, hit)


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        targets: Tensor,
        weights: Tensor,
        logits: Callable[[Tensor], Tensor],
        smoothing: float,
        z_loss: float,
        rows: int,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        n = hidden.shape[0]
        wanted = [p for p, needed in zip(parameters, ctx.needs_input_grad[7:]) if needed]
        into_hidden = ctx.needs_input_grad[0]
        graph = into_hidden or bool(wanted)
        nll = hidden.new_empty(n, dtype=torch.float32)
        hit = torch.empty(n, dtype=torch.bool, device=hidden.device)
        total = hidden.new_zeros((), dtype=torch.float32)
        d_hidden = torch.empty_like(hidden) if into_hidden else None
        d_parameters: list[Tensor] | None = None
        for begin in range(0, n, rows):
            end = min(n, begin + rows)
            part = hidden[begin:end].detach().requires_grad_(into_hidden)
            with torch.set_grad_enabled(graph):
                out = logits(part)
            here, sums, d_out = _rows(
                out.detach(), targets[begin:end], weights[begin:end], smoothing, z_loss, gradient=graph
            )
            total += sums
            nll[begin:end], hit[begin:end] = here.nll, here.hit
            if graph:
                assert d_out is not None
                found = list(torch.autograd.grad(out, [*([part] if into_hidden else []), *wanted], d_out))
                if d_hidden is not None:
                    d_hidden[begin:end] = found.pop(0)
                if d_parameters is None:
                    d_parameters = found
                else:
                    for kept, new in zip(d_parameters, found, strict=True):
                        kept.add_(new)
            del out, d_out
        ctx.d_hidden = d_hidden
        grads = iter(d_parameters or [torch.zeros_like(p) for p in wanted])
        ctx.d_parameters = [next(grads) if needed else None for needed in ctx.needs_input_grad[7:]]
        ctx.mark_non_differentiable(nll, hit)
        return total, nll, hit

    @staticmethod
    def backward(ctx: Any, d_total: Tensor, *_: Any) -> tuple[Any, ...]:
        def scaled(grad: Tensor | None) -> Tensor | None:
            return None if grad is None else grad.mul_(d_total)

        d_hidden, d_parameters = scaled(ctx.d_hidden), [scaled(g) for g in ctx.d_parameters]
        ctx.d_hidden = ctx.d_parameters = None
        return d_hidden, None, None, None, None, None, None, *d_parameters


def _rows(
    logits: Tensor, targets: Tensor, weights: Tensor, smoothing: float, z_loss: float, gradient: bool
) -> tuple[Scores, Tensor, Tensor | None]:
    """Logits [c, V] of a chunk -> its rows' scores, its weighted sum, and the gradient of the sum [c, V] (in float32
    and on a GPU written over the logits, which nobody needs again)."""
    if logits.is_cuda and not missing(logits.device):
        from idiolect.cuda.cross_entropy import cross_entropy as fused

        own, hit, total = fused(logits, targets, weights.float(), smoothing, z_loss, gradient)
        return Scores(own, hit), total, logits if gradient else None
    x = logits.float()
    weights = weights.float()
    highest, best = x.max(-1)
    index = targets[:, None]
    wanted = x.gather(1, index).squeeze(1)
    mean = x.mean(-1) if smoothing else None
    p = x.sub_(highest[:, None]).exp_()
    sums = p.sum(-1)
    log_z = highest + sums.log()
    nll = log_z - wanted
    loss = nll if mean is None else (1 - smoothing) * nll + smoothing * (log_z - mean)
    if z_loss:
        loss = loss + z_loss * log_z.square()
    total = (loss * weights).sum()
    if not gradient:
        return Scores(nll, best == targets), total, None
    scale = weights * (1 + 2 * z_loss * log_z) if z_loss else weights
    p *= (scale / sums)[:, None]
    if smoothing:
        p -= (weights * (smoothing / x.shape[1]))[:, None]
    p.scatter_add_(1, index, (weights * (smoothing - 1))[:, None])
    return Scores(nll, best == targets), total, p.to(logits.dtype)
