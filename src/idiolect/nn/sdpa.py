"""The `sdpa` attention back end: torch's fused scaled dot product, shaped to the case at hand.

Measured with 9 query and 3 key heads of width 64, one thread, contexts of 20 to 600 tokens, one new token each
(microseconds, float32 / bfloat16):

    segments   loop over views   padded, already there   gathered, then padded
           4         112 / 142               115 / 150               204 / 214
          16         498 / 621               619 / 797             6029 / 1056
          64       3396 / 2713             4680 / 5385           30613 / 7143

So it is the loop; padding wins only below about 60 tokens (195 against 87), where attention is little of a step.
Query heads of one key head go as rows of one small matrix: in bfloat16 that beat `enable_gqa` 36 to 709 at 512 keys.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from idiolect.nn.attend import backends, reference
from idiolect.nn.batch import Batch
from idiolect.nn.flash import flash, flash_knows
from idiolect.nn.padded import entries, padded, shapes_of
from idiolect.nn.padded import worthwhile as worthwhile_padded
from idiolect.nn.tiled import tiled, worthwhile
from idiolect.nn.visible import visible


@backends.register("sdpa")
def sdpa(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    batch: Batch,
    layer: int,
    scale: float,
    causal: bool,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """torch.nn.functional.scaled_dot_product_attention per segment, or per run of equal lengths."""
    if softcap is not None:  # no fused kernel of torch has it
        return reference(q, k, v, batch, layer, scale, causal, window, softcap)
    if batch.state is None:
        return _stateless(q, k, v, batch, scale, causal, window)
    if batch.segments == len(batch):
        return _decode(q, k.shape[1], batch, layer, scale, window if causal else None)
    if batch.segments == 1:
        return _segment(q, *batch.state.context(layer, 0), scale, causal, window)
    pieces = [
        _segment(q[begin:end], *batch.state.context(layer, segment), scale, causal, window)
        for segment, (begin, end) in enumerate(pairwise(batch.bounds))
    ]
    return torch.cat(pieces)


def _segment(q: Tensor, keys: Tensor, values: Tensor, scale: float, causal: bool, window: int | None) -> Tensor:
    """One segment of n queries [n, H, Dh] over its context [Hkv, T, Dh]."""
    n, heads, dim = q.shape
    kv_heads, total, _ = keys.shape
    if n == 1:
        if causal and window is not None and total > window:
            keys, values = keys[:, -window:], values[:, -window:]
        grouped = q.view(1, kv_heads, heads // kv_heads, dim)
        return F.scaled_dot_product_attention(grouped, keys[None], values[None], scale=scale).view(1, heads, dim)
    if causal and window is not None and total > window + n - 1:
        keep = window + n - 1
        keys, values, total = keys[:, -keep:], values[:, -keep:], keep
    windowed = window is not None and total > window
    if causal and not windowed and worthwhile(q, total):
        return tiled(q, keys, values, scale)
    whole = n == total and causal and not windowed
    mask = None if whole or not causal else visible(n, total, True, window, q.device)
    out = F.scaled_dot_product_attention(
        q.transpose(0, 1)[None],
        keys[None],
        values[None],
        attn_mask=mask,
        is_causal=whole,
        scale=scale,
        enable_gqa=heads != kv_heads,
    )
    return out[0].transpose(0, 1)


def _decode(q: Tensor, kv_heads: int, batch: Batch, layer: int, scale: float, window: int | None) -> Tensor:
    """One token per segment: a loop over views. q [S, H, Dh] -> [S, H, Dh]."""
    assert batch.state is not None
    rows, heads, dim = q.shape
    grouped = q.view(rows, 1, kv_heads, heads // kv_heads, dim)
    outputs = []
    for segment in range(rows):
        keys, values = batch.state.context(layer, segment)
        if window is not None and keys.shape[1] > window:
            keys, values = keys[:, -window:], values[:, -window:]
        outputs.append(F.scaled_dot_product_attention(grouped[segment], keys[None], values[None], scale=scale))
    out = outputs[0] if rows == 1 else torch.cat(outputs)
    return out.view(rows, heads, dim)


def _stateless(q: Tensor, k: Tensor, v: Tensor, batch: Batch, scale: float, causal: bool, window: int | None) -> Tensor:
    """No cache: neighbours of equal length go together as one dense batch."""
    found = runs(batch.bounds)
    if len(found) > 1 and causal and worthwhile_padded(q):
        layout = entries(shapes_of(batch.bounds), window)
        if layout is not None:
            return padded(q, k, v, layout, scale)
    heads, kv_heads, dim = q.shape[1], k.shape[1], q.shape[2]
    if len(found) > 1 and flash_knows(q):
        return flash(q, k, v, batch, scale, causal, window)
    sizes = [end - begin for begin, end, _ in found]
    outputs = []
    # `split`, not slices: its gradient is one concatenation instead of a whole array of zeros for each slice.
    for own_q, own_k, own_v, (begin, end, length) in zip(q.split(sizes), k.split(sizes), v.split(sizes), found):
        shape = ((end - begin) // length, length, -1, dim)
        mask = visible(length, length, True, window, q.device) if causal and window is not None else None
        out = F.scaled_dot_product_attention(
            own_q.view(shape).transpose(1, 2),
            own_k.view(shape).transpose(1, 2),
            own_v.view(shape).transpose(1, 2),
            attn_mask=mask,
            is_causal=causal and mask is None,
            scale=scale,
            enable_gqa=heads != kv_heads,
        )
        outputs.append(out.transpose(1, 2).reshape(end - begin, heads, dim))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def runs(bounds: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Neighbouring segments of equal length: (first row, end row, length of each)."""
    found: list[tuple[int, int, int]] = []
    for begin, end in pairwise(bounds):
        if found and found[-1][2] == end - begin:
            found[-1] = (found[-1][0], end, end - begin)
        else:
            found.append((begin, end, end - begin))
    return found
