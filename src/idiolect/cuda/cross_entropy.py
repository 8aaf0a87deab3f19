"""Cross-entropy of rows of logits and its gradient in two passes over them, the second in place.

The plain form reads and writes a row about ten times in float32; at a vocabulary of 50,000 that is a third of a small
model's training step on a GPU. Here a row is read twice and written once, in its own dtype (as in Liger's kernels, Hsu
et al. 2024, arXiv:2410.10989).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK, TILES, WARPS = 4096, 2, 16  # measured: 20,480 rows of 50,304 in 1.87 ms; with one tile at a time 2.17


@triton.jit
def _cross_entropy(
    logits,
    targets,
    weights,
    nll,
    loss,
    hit,
    vocabulary,
    row_stride,
    smoothing,
    z_loss,
    GRADIENT: tl.constexpr,
    SMOOTH: tl.constexpr,
    BLOCK: tl.constexpr,
    TILES: tl.constexpr,
):
    """One row. TILES tiles of BLOCK logits are on their way at once, and share one correction of the running sums."""
    row = tl.program_id(0).to(tl.int64)
    line = logits + row * row_stride
    lane = tl.arange(0, BLOCK)
    top = tl.full([BLOCK], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    where = tl.zeros([BLOCK], tl.int32)
    every = tl.zeros([BLOCK], tl.float32)
    for at in range(0, vocabulary, BLOCK * TILES):
        tiles = ()
        for i in tl.static_range(TILES):
            v = at + i * BLOCK + lane
            tiles = tiles + (tl.load(line + v, mask=v < vocabulary, other=float("-inf")),)  # type: ignore[assignment]
        high = top
        for i in tl.static_range(TILES):
            x = tiles[i].to(tl.float32)  # type: ignore[var-annotated]
            where = tl.where(x > high, at + i * BLOCK + lane, where)
            high = tl.maximum(high, x)
            if SMOOTH:
                every += tl.where(at + i * BLOCK + lane < vocabulary, x, 0.0)
        safe = tl.where(high == float("-inf"), 0.0, high)
        total = total * tl.exp(top - safe)
        for i in tl.static_range(TILES):
            total += tl.exp(tiles[i].to(tl.float32) - safe)
        top = high
    best = tl.max(top, 0)
    log_z = best + tl.log(tl.sum(total * tl.exp(top - best), 0))
    first = tl.min(tl.where(top == best, where, vocabulary), 0)
    target = tl.load(targets + row)
    weight = tl.load(weights + row).to(tl.float32)
    own = log_z - tl.load(line + target).to(tl.float32)
    full = own
    if SMOOTH:
        full = (1 - smoothing) * own + smoothing * (log_z - tl.sum(every, 0) / vocabulary)
    full += z_loss * log_z * log_z
    tl.store(nll + row, own)
    tl.store(loss + row, full * weight)
    tl.store(hit + row, (first == target).to(tl.int8))
    if GRADIENT:
        scale = weight * (1 + 2 * z_loss * log_z)
        for at in range(0, vocabulary, BLOCK * TILES):
            tiles = ()
            for i in tl.static_range(TILES):
                v = at + i * BLOCK + lane
                tiles = tiles + (tl.load(line + v, mask=v < vocabulary, other=float("-inf")),)  # type: ignore[assignment]
            for i in tl.static_range(TILES):
                v = at + i * BLOCK + lane
                g = scale * tl.exp(tiles[i].to(tl.float32) - log_z)
                if SMOOTH:
                    g -= weight * smoothing / vocabulary
                g -= tl.where(v == target, weight * (1 - smoothing), 0.0)
                tl.store(line + v, g.to(logits.dtype.element_ty), mask=v < vocabulary)


def cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor, smoothing: float, z_loss: float, gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [c, V], targets [c], weights [c] -> (-log p(target) [c] float32, whether the target is the likeliest [c],
    the weighted sum). With `gradient` the gradient of the sum is written over the logits."""
    rows, vocabulary = logits.shape
    nll, loss = (torch.empty(rows, dtype=torch.float32, device=logits.device) for _ in range(2))
    hit = torch.empty(rows, dtype=torch.int8, device=logits.device)
    _cross_entropy[(rows,)](
        *(logits, targets, weights, nll, loss, hit, vocabulary, logits.stride(0), smoothing, z_loss),
        GRADIENT=gradient,
        SMOOTH=smoothing > 0,
        BLOCK=min(BLOCK, triton.next_power_of_2(vocabulary)),
        TILES=TILES if vocabulary > BLOCK else 1,
        num_warps=WARPS if vocabulary > BLOCK else 4,
    )
    return nll, hit.bool(), loss.sum()
