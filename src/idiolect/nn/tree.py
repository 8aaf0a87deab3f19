"""Attention of branches that share a trunk: the options of one question, computed in one forward.

A segment is a trunk followed by its branches, one after another: [t0 t1 t2 | a0 a1 | b0 b1 b2]. A branch's token sees
the trunk and what is before it in its own branch, so every branch is computed as if it followed the trunk alone, and
the trunk once (the tree attention of Miao et al. 2024, SpecInfer, arXiv:2305.09781, with the options as the tree). A
`stem` of keys and values that an earlier forward left may stand before every segment: the examples that all questions
of a few-shot task share. Positions are the caller's: a branch goes on where the trunk ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from idiolect.nn.padded import entries, padded, worthwhile
from idiolect.nn.visible import visible

WHOLE = 256  # rows; a larger segment's branches are attended one after the other, not under one square mask


@dataclass(frozen=True, slots=True)
class Stem:
    """Keys and values [Hkv, P, Dh] of P tokens per layer."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    def __len__(self) -> int:
        return int(self.keys[0].shape[1])


@dataclass(frozen=True, slots=True)
class Tree:
    """For each segment of the batch its trunk's length and its branches' lengths; together they are the segment."""

    shapes: Sequence[tuple[int, tuple[int, ...]]]
    stem: Stem | None = None
    masks: dict[tuple[int, int], Tensor] = field(default_factory=dict)  # (segment, window): made once, not per layer

    def mask(self, segment: int, window: int | None, device: torch.device) -> Tensor:
        """Which keys a segment's tokens see: bool [n, P + n]."""
        key = (segment, window or 0)
        if key not in self.masks:
            self.masks[key] = self._mask(segment, window).to(device)
        return self.masks[key]

    def _mask(self, segment: int, window: int | None) -> Tensor:
        trunk, branches = self.shapes[segment]
        front = len(self.stem) if self.stem is not None else 0
        # Of which branch a token is (-1: the trunk), and where it stands.
        owner = torch.cat([torch.full((trunk,), -1), *(torch.full((n,), i) for i, n in enumerate(branches))])
        place = torch.cat([torch.arange(trunk), *(torch.arange(trunk, trunk + n) for n in branches)])
        seen = (owner[None] == -1) | (owner[None] == owner[:, None])
        seen &= place[None] <= place[:, None]
        if window is not None:
            seen &= place[None] > place[:, None] - window
        if not front:
            return seen
        ahead = torch.ones(len(owner), front, dtype=torch.bool)
        if window is not None:
            ahead = torch.arange(-front, 0)[None] > place[:, None] - window
        return torch.cat((ahead, seen), 1)


def branched(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bounds: Sequence[int],
    tree: Tree,
    layer: int,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """softmax(scale * q [stem; k]^T + mask) [stem; v] per segment. q [N, H, Dh], k and v [N, Hkv, Dh] -> [N, H, Dh]."""
    if worthwhile(q) and softcap is None and tree.stem is None:
        layout = entries(tuple(tree.shapes), window)
        if layout is not None:
            return padded(q, k, v, layout, scale)
    outputs = []
    for segment, (begin, end) in enumerate(pairwise(bounds)):
        if end - begin > WHOLE and tree.stem is None and softcap is None:
            rows = slice(begin, end)
            outputs.append(_apart(q[rows], k[rows], v[rows], *tree.shapes[segment], scale, window))
            continue
        keys, values = k[begin:end].transpose(0, 1), v[begin:end].transpose(0, 1)
        if tree.stem is not None:
            keys = torch.cat((tree.stem.keys[layer].to(keys.dtype), keys), 1)
            values = torch.cat((tree.stem.values[layer].to(values.dtype), values), 1)
        mask = tree.mask(segment, window, q.device)
        query = q[begin:end].transpose(0, 1)
        if softcap is None:
            out = F.scaled_dot_product_attention(
                query[None],
                keys[None],
                values[None],
                attn_mask=mask,
                scale=scale,
                enable_gqa=query.shape[0] != keys.shape[0],
            )[0]
        else:
            groups = query.shape[0] // keys.shape[0]
            keys, values = keys.repeat_interleave(groups, 0).float(), values.repeat_interleave(groups, 0).float()
            scores = softcap * torch.tanh(query.float() @ keys.transpose(1, 2) * scale / softcap)
            out = (scores.masked_fill(~mask, float("-inf")).softmax(-1) @ values).to(q.dtype)
        outputs.append(out.transpose(0, 1))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _apart(
    q: Tensor, k: Tensor, v: Tensor, trunk: int, branches: Sequence[int], scale: float, window: int | None
) -> Tensor:
    """One segment [n, H, Dh] whose branches share little: each reads the trunk's keys and its own."""
    sizes = [size for size in (trunk, *branches) if size]
    rows, own_keys, own_values = (x.transpose(0, 1).split(sizes, 1) for x in (q, k, v))
    outputs = []
    for i, queries in enumerate(rows):
        seen = [0, i] if i and trunk else [i]
        keys, values = (torch.cat([x[j] for j in seen], 1) for x in (own_keys, own_values))
        n, total = queries.shape[1], keys.shape[1]
        square = n == total and window is None
        out = F.scaled_dot_product_attention(
            queries[None],
            keys[None],
            values[None],
            attn_mask=None if square else visible(n, total, True, window, q.device),
            is_causal=square,
            scale=scale,
            enable_gqa=q.shape[1] != k.shape[1],
        )[0]
        outputs.append(out.transpose(0, 1))
    return torch.cat(outputs)
