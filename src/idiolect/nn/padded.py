"""Attention of many short segments or branches in a few batched products, forward and backward, on a CPU.

torch's fused kernel is called once for every length, and with some 50 tokens most of a call is not arithmetic. Here
the rows go into entries of equal size, [E, n] queries over [E, T] keys, so that scores, softmax and values are one
batched product each; the query heads of one key head are rows of one matrix. A trunk's keys (`nn.tree`) stand before
those of each of its branches. What is padded is never read back. Measured on a Zen 3 with two threads, 8 branches of 40
tokens after 24, 9 heads over 3 of width 64: 1.5 ms for both directions, the fused kernel padded in the same way 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

LONGEST = 128  # keys of an entry
WASTE = 3.0  # padded scores over wanted ones; past it the loop over segments does less
EVEN = 8  # keys are a multiple of it: torch's softmax over 71 floats took twelve times as long as over 72

Shape = tuple[int, tuple[int, ...]]  # a trunk's length and its branches', as in `nn.tree`


@dataclass(frozen=True, slots=True)
class Entries:
    """E entries of n queries and T keys over a batch of N rows."""

    sizes: tuple[int, int, int]  # E, n, T
    queries: Tensor  # [E n] row of each query; 0 where there is none
    keys: Tensor  # [E T] row of each key; 0 where there is none
    query_of: Tensor  # [N] where a row stands among the queries
    key_of: Tensor  # [N] where it first stands among the keys
    mask: Tensor  # [E, n, 1, T] float32, 0 where a query sees a key, else -inf
    short: tuple[tuple[int, int], ...]  # (entry, queries that it has) of those that are not full
    trunks: tuple[tuple[int, int, int, int], ...]  # (first row, rows, first entry, end entry) of shared keys
    indices: dict[tuple[int, int, bool], Tensor] = field(default_factory=dict)  # made from the above, once

    def reads(self, kv: int, each: int, keys: bool) -> Tensor:
        """Where the entries' rows [Hkv E (n or T)] lie among rows of `each` groups of heads, Hkv of which are ours."""
        if (kv, each, keys) not in self.indices:
            rows = self.keys if keys else self.queries
            self.indices[kv, each, keys] = (rows * each + torch.arange(kv)[:, None]).view(-1)
        return self.indices[kv, each, keys]

    def writes(self, kv: int, keys: bool) -> Tensor:
        """Where the rows [N Hkv] lie among the entries' rows [Hkv E (n or T)]."""
        if (kv, 0, keys) not in self.indices:
            count, n, total = self.sizes
            rows, places = (self.key_of, count * total) if keys else (self.query_of, count * n)
            self.indices[kv, 0, keys] = (rows[:, None] + torch.arange(kv) * places).view(-1)
        return self.indices[kv, 0, keys]


def worthwhile(q: Tensor) -> bool:
    """Whether queries [N, H, Dh] are attended this way, if their segments allow it: while something learns."""
    return torch.is_grad_enabled() and q.device.type == "cpu" and q.dtype in (torch.float32, torch.float64)


@lru_cache(maxsize=16)  # made once per batch, not per layer
def entries(shapes: tuple[Shape, ...], window: int | None, waste: float = WASTE) -> Entries | None:
    """How to pad; None where that does not pay. Segments without branches are a branch of no trunk."""
    plain = [s if s[1] else (0, (s[0],)) for s in shapes]
    n = max(max(branches) for _, branches in plain)
    total = max(trunk + max(branches) for trunk, branches in plain)
    total += -total % EVEN
    parts: list[tuple[int, int, int, int]] = []  # first row of the trunk, its keys, first own row, own rows
    trunks, base = [], 0
    for trunk, branches in plain:
        first = len(parts)
        parts += [(base, at, base + at, min(n, trunk - at)) for at in range(0, trunk, n)]
        begins = accumulate(branches, initial=base + trunk)
        parts += [(base, trunk, begin, size) for begin, size in zip(begins, branches) if size]
        if trunk:
            trunks.append((base, trunk, first, len(parts)))
        base += trunk + sum(branches)
    wanted = sum(size * (ahead + size) for _, ahead, _, size in parts)
    if n == 0 or total > LONGEST or len(parts) * n * total > waste * wanted:
        return None
    row, column = torch.arange(n)[:, None], torch.arange(total)[None]
    queries, keys = torch.zeros(len(parts), n, dtype=torch.int64), torch.zeros(len(parts), total, dtype=torch.int64)
    query_of, key_of = torch.empty(base, dtype=torch.int64), torch.empty(base, dtype=torch.int64)
    mask = torch.zeros(len(parts), n, total)
    for e, (begin, ahead, own, size) in enumerate(parts):
        queries[e, :size] = torch.arange(own, own + size)
        keys[e, :ahead] = torch.arange(begin, begin + ahead)
        keys[e, ahead : ahead + size] = queries[e, :size]
        query_of[own : own + size] = torch.arange(e * n, e * n + size)
        key_of[own : own + size] = torch.arange(e * total + ahead, e * total + ahead + size)
        hidden = column > row + ahead
        if window is not None:
            hidden |= column <= row + ahead - window
        mask[e, :size].masked_fill_(hidden[:size], float("-inf"))  # what is padded sees anything, so nothing is NaN
    short = tuple((e, size) for e, (*_, size) in enumerate(parts) if size < n)
    sizes = (len(parts), n, total)
    return Entries(sizes, queries.view(-1), keys.view(-1), query_of, key_of, mask[:, :, None], short, tuple(trunks))


def shapes_of(bounds: Sequence[int]) -> tuple[Shape, ...]:
    """Segments as branches of nothing."""
    return tuple((0, (end - begin,)) for begin, end in pairwise(bounds))


def padded(q: Tensor, k: Tensor, v: Tensor, layout: Entries, scale: float) -> Tensor:
    """softmax(scale q k^T + mask) v. q [N, H, Dh], k and v [N, Hkv, Dh] -> [N, H, Dh]."""
    out: Tensor = Padded.apply(q, k, v, layout, scale)
    return out


class Padded(torch.autograd.Function):
    """Kept: q, k and v. The weights [Hkv E, n G, T] are made again: with short keys they would be most of a layer."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, layout: Entries, scale: float) -> Tensor:
        ctx.save_for_backward(q, k, v)
        ctx.layout, ctx.scale = layout, scale
        kv = k.shape[1]
        weights = _weights(_rows(q, layout, kv, keys=False), _rows(k, layout, kv, keys=True), layout, scale)
        return _back(torch.bmm(weights, _rows(v, layout, kv, keys=True)), layout, kv, keys=False).view(q.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v = ctx.saved_tensors
        layout: Entries = ctx.layout
        kv, (count, n, _) = k.shape[1], layout.sizes
        rows, keys, values = _rows(q, layout, kv, keys=False), *(_rows(x, layout, kv, keys=True) for x in (k, v))
        weights = _weights(rows, keys, layout, ctx.scale)
        g = _rows(grads[0], layout, kv, keys=False)
        for entry, have in layout.short:
            g.view(kv, count, n, -1)[:, entry, have:].zero_()
        d = torch.ops.aten._softmax_backward_data(torch.bmm(g, values.transpose(1, 2)), weights, -1, weights.dtype)
        d.mul_(ctx.scale)
        dq = _back(torch.bmm(d, keys), layout, kv, keys=False).view(q.shape)
        dk = _shared(torch.bmm(d.transpose(1, 2), rows), layout, kv)
        dv = _shared(torch.bmm(weights.transpose(1, 2), g), layout, kv)
        return dq, dk.view(k.shape), dv.view(v.shape), None, None


def _weights(rows: Tensor, keys: Tensor, layout: Entries, scale: float) -> Tensor:
    """softmax(scale q k^T + mask): [Hkv E, n G, T]."""
    count, n, total = layout.sizes
    scores = torch.bmm(rows, keys.transpose(1, 2))
    five = scores.view(-1, count, n, scores.shape[1] // n, total)
    torch.add(layout.mask.to(scores.dtype), five, alpha=scale, out=five)
    return torch.softmax(scores, -1)


def _rows(x: Tensor, layout: Entries, kv: int, *, keys: bool) -> Tensor:
    """Rows of [N, H, Dh] into entries, [Hkv E, n G, Dh] or [Hkv E, T, Dh]: one copy, also of a part of wider rows."""
    n, heads, dim = x.shape
    width = heads // kv * dim  # floats of the heads that share a key head
    if x.stride()[1:] != (dim, 1) or x.stride(0) % width:
        x = x.contiguous()
    each = x.stride(0) // width  # such groups in a row of what x is a part of
    flat = x.as_strided(((n - 1) * each + kv, width), (width, 1), x.storage_offset())
    return flat.index_select(0, layout.reads(kv, each, keys)).view(kv * layout.sizes[0], -1, dim)


def _back(x: Tensor, layout: Entries, kv: int, *, keys: bool) -> Tensor:
    """Entries [Hkv E, ..., Dh] into rows [N, Hkv, G Dh]."""
    index = layout.writes(kv, keys)
    count, n, total = layout.sizes
    flat = x.view(kv * count * (total if keys else n), -1)
    return flat.index_select(0, index).view(len(index) // kv, kv, -1)


def _shared(x: Tensor, layout: Entries, kv: int) -> Tensor:
    """Gradients of keys [Hkv E, T, Dh] into rows [N, Hkv, Dh], those of a trunk added up over its entries."""
    count, _, total = layout.sizes
    rows = _back(x, layout, kv, keys=True)
    for begin, size, first, end in layout.trunks:
        rows[begin : begin + size] = x.view(kv, count, total, -1)[:, first:end, :size].sum(1).transpose(0, 1)
    return rows
