"""Causal attention where keys and values of nobody's tokens stand before each segment.

Prefix tuning (Li and Liang 2021, arXiv:2101.00190) learns such keys and values themselves. Prompt tuning (Lester et al.
2021, arXiv:2104.08691) learns embeddings; since they come first and attention is causal, what they become does not
depend on what follows, so they are computed once per batch, as a segment of their own that all others look back at.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from idiolect.nn.batch import Batch
from idiolect.nn.visible import visible


@dataclass(frozen=True, slots=True)
class Given:
    """The same keys and values [P, Hkv, Dh] per layer before every segment."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    def context(self, layer: int, segment: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor] | None:
        return self.keys[layer].to(k.dtype), self.values[layer].to(v.dtype)


@dataclass(frozen=True, slots=True)
class Leading:
    """The batch's first segment, of `tokens` tokens, stands before every other."""

    tokens: int

    def context(self, layer: int, segment: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor] | None:
        return (k[: self.tokens], v[: self.tokens]) if segment else None


def fronted(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    batch: Batch,
    layer: int,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """softmax(scale * q [f; k]^T + mask) [g; v] per segment, f and g what `batch.front` gives. -> [N, H, Dh].

    Neighbouring segments of equal length go together as one dense batch."""
    if softcap is not None or batch.front is None:
        raise ValueError("attention with something in front has no softcap")
    outputs = []
    for first, count, n in _runs(batch, layer, k, v):
        begin = batch.bounds[first]
        end = begin + count * n
        shape = (count, n, -1, q.shape[-1])
        keys, values = k[begin:end].view(shape), v[begin:end].view(shape)
        front = batch.front.context(layer, first, k, v)
        if front is not None:
            keys, values = (
                torch.cat((f[None].expand(count, -1, -1, -1), own), 1)
                for f, own in zip(front, (keys, values), strict=True)
            )
        out = F.scaled_dot_product_attention(
            q[begin:end].view(shape).transpose(1, 2),
            keys.transpose(1, 2),
            values.transpose(1, 2),
            attn_mask=visible(n, keys.shape[1], True, window, q.device),
            scale=scale,
            enable_gqa=q.shape[1] != k.shape[1],
        )
        outputs.append(out.transpose(1, 2).reshape(end - begin, *q.shape[1:]))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _runs(batch: Batch, layer: int, k: Tensor, v: Tensor) -> list[tuple[int, int, int]]:
    """(first segment, how many, tokens of each): neighbours of equal length that all have something in front."""
    found: list[tuple[int, int, int]] = []
    alone = isinstance(batch.front, Leading)
    for segment, (begin, end) in enumerate(pairwise(batch.bounds)):
        n = end - begin
        if found and found[-1][2] == n and not (alone and segment == 1):
            found[-1] = (found[-1][0], found[-1][1] + 1, n)
        else:
            found.append((segment, 1, n))
    return found
