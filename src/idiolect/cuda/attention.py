"""Attention over keys and values in pages: one kernel for steps that decode, one for prompts.

A cache is [slots, Hkv, Dh], slot = page * page_size + offset. Segment s has its page numbers in `table` from
`starts[s]` on, and `lengths[s]` positions, this batch's own included. Both kernels keep a running maximum and sum
(Dao et al. 2022, FlashAttention, arXiv:2205.14135). A decode step has few rows and long contexts, so a context is cut
into parts that are computed side by side and joined afterwards (Dao et al. 2023, Flash-Decoding), and the query heads
of a key head share its loads. A prompt has many rows: a program takes a block of them and one head.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

KEYS = 64  # keys that a program of a decode step looks at once
PROMPT_KEYS = 128
ROWS = 64  # rows of a prompt in one block
FILL = 528  # programs that keep a GPU busy: four for each of an H100's 132 multiprocessors


@triton.jit
def _seen(
    x,
    here,
    top,
    total,
    acc,
    k,
    v,
    pages,
    begin,
    end,
    d,
    column,
    scale,
    slot_row,
    DIM: tl.constexpr,
    PAGE: tl.constexpr,
    BLOCK_N: tl.constexpr,
    CAUSAL: tl.constexpr,
    WINDOW: tl.constexpr,
    CAP: tl.constexpr,
):
    """What rows `x` [M, BLOCK_D] make of the keys of positions begin to end: (maxima [M], sums [M], weighted values
    [M, BLOCK_D]), going on from those that are given. `here` are the rows' own positions, which CAUSAL asks for."""
    wide = d < DIM
    for at in range(begin, end, BLOCK_N):
        n = at + tl.arange(0, BLOCK_N)
        there = n < end
        page = tl.load(pages + n // PAGE, mask=there, other=0)
        where = (page * PAGE + n % PAGE).to(tl.int64) * slot_row + column
        seen = there[:, None] & wide[None, :]
        keys = tl.load(k + where[:, None] + d[None, :], mask=seen, other=0.0)
        score = tl.dot(x, tl.trans(keys), input_precision="ieee") * scale
        if CAP > 0:
            score = CAP * (2 * tl.sigmoid(2 * score / CAP) - 1)
        if CAUSAL:
            visible = n[None, :] <= here[:, None]
            if WINDOW > 0:
                visible = visible & (n[None, :] > here[:, None] - WINDOW)
        else:
            visible = there[None, :]
        score = tl.where(visible, score, float("-inf"))
        high = tl.maximum(top, tl.max(score, 1))
        safe = tl.where(high == float("-inf"), 0.0, high)  # a window may not reach this tile for some rows
        p = tl.exp(score - safe[:, None])
        fade = tl.exp(top - safe)
        total = total * fade + tl.sum(p, 1)
        values = tl.load(v + where[:, None] + d[None, :], mask=seen, other=0.0)
        acc = acc * fade[:, None] + tl.dot(p.to(values.dtype), values, input_precision="ieee")
        top = high
    return top, total, acc


@triton.jit
def _decode(
    q,
    k,
    v,
    out,
    part,
    stat,
    starts,
    table,
    lengths,
    scale,
    q_row,
    slot_row,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    GROUP: tl.constexpr,
    PAGE: tl.constexpr,
    BLOCK_N: tl.constexpr,
    PARTS: tl.constexpr,
    WINDOW: tl.constexpr,
    CAP: tl.constexpr,
):
    """One segment, one key head, one part of its context. GROUP rows hold the query heads of the key head."""
    seg, kv, piece = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    length = tl.load(lengths + seg)
    first = 0
    if WINDOW > 0:
        first = tl.maximum(length - WINDOW, 0)
    span = tl.cdiv(tl.cdiv(length - first, PARTS), BLOCK_N) * BLOCK_N
    begin = first + piece * span
    end = tl.minimum(begin + span, length)
    own: tl.constexpr = HEADS // KV_HEADS
    g, d = tl.arange(0, GROUP), tl.arange(0, BLOCK_D)
    head = kv * own + g
    wide = d < DIM
    mine = (g < own)[:, None] & wide[None, :]
    x = tl.load(q + seg.to(tl.int64) * q_row + head[:, None] * DIM + d[None, :], mask=mine, other=0.0)
    top = tl.full([GROUP], float("-inf"), tl.float32)
    total = tl.zeros([GROUP], tl.float32)
    acc = tl.zeros([GROUP, BLOCK_D], tl.float32)
    pages = table + tl.load(starts + seg)
    top, total, acc = _seen(
        x, head, top, total, acc, k, v, pages, begin, end, d, kv * DIM, scale, slot_row,
        DIM, PAGE, BLOCK_N, False, WINDOW, CAP,
    )  # fmt: skip
    row = seg.to(tl.int64) * HEADS + head
    if PARTS == 1:
        result = acc / tl.where(total > 0, total, 1.0)[:, None]
        tl.store(out + row[:, None] * DIM + d[None, :], result.to(out.dtype.element_ty), mask=mine)
    else:
        at_part = row * PARTS + piece
        tl.store(part + at_part[:, None] * BLOCK_D + d[None, :], acc, mask=(g < own)[:, None])
        tl.store(stat + at_part * 2, top, mask=g < own)
        tl.store(stat + at_part * 2 + 1, total, mask=g < own)


@triton.jit
def _join(
    part,
    stat,
    out,
    DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PARTS: tl.constexpr,
):
    """One head of one segment: the parts of its context weighed by what each has summed."""
    row = tl.program_id(0).to(tl.int64)
    i, d = tl.arange(0, PARTS), tl.arange(0, BLOCK_D)
    top = tl.load(stat + (row * PARTS + i) * 2)
    total = tl.load(stat + (row * PARTS + i) * 2 + 1)
    high = tl.max(top, 0)
    weight = tl.where(total > 0, tl.exp(top - high), 0.0)
    acc = tl.load(part + (row * PARTS + i)[:, None] * BLOCK_D + d[None, :])
    acc = tl.where((total > 0)[:, None], acc, 0.0)
    whole = tl.sum(weight * total, 0)
    result = tl.sum(weight[:, None] * acc, 0) / tl.where(whole > 0, whole, 1.0)
    tl.store(out + row * DIM + d, result.to(out.dtype.element_ty), mask=d < DIM)


@triton.jit
def _prompt(
    q,
    k,
    v,
    out,
    blocks,
    starts,
    table,
    scale,
    q_row,
    slot_row,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PAGE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    WINDOW: tl.constexpr,
    CAP: tl.constexpr,
):
    """One head of one block: at most BLOCK_M neighbouring rows of a segment. `blocks` [B, 4]: segment, first row in the
    batch, rows (0: nothing to do), position of the first row."""
    block = blocks + tl.program_id(0) * 4
    head = tl.program_id(1)
    seg, first, count, pos = tl.load(block), tl.load(block + 1), tl.load(block + 2), tl.load(block + 3)
    kv = head // (HEADS // KV_HEADS)
    m, d = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_D)
    wide = d < DIM
    mine = (m < count)[:, None] & wide[None, :]
    rows = (first + m).to(tl.int64)
    x = tl.load(q + rows[:, None] * q_row + head * DIM + d[None, :], mask=mine, other=0.0)
    here = pos + m
    top = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    pages = table + tl.load(starts + seg)
    end = tl.where(count > 0, pos + count, 0)
    low = 0
    if WINDOW > 0:
        low = tl.maximum(pos - WINDOW + 1, 0) // BLOCK_N * BLOCK_N
    top, total, acc = _seen(
        x, here, top, total, acc, k, v, pages, low, end, d, kv * DIM, scale, slot_row,
        DIM, PAGE, BLOCK_N, True, WINDOW, CAP,
    )  # fmt: skip
    result = acc / tl.where(total > 0, total, 1.0)[:, None]
    tl.store(out + (rows[:, None] * HEADS + head) * DIM + d[None, :], result.to(out.dtype.element_ty), mask=mine)


def parts_for(segments: int, kv_heads: int, positions: int) -> int:
    """Into how many parts a context is cut: a power of two that fills the GPU, no part below `KEYS` keys."""
    wanted = min(FILL // max(1, segments * kv_heads), -(-positions // KEYS), 32)
    return 1 << max(0, wanted.bit_length() - 1)


def decode(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    starts: Tensor,
    table: Tensor,
    lengths: Tensor,
    *,
    heads: int,
    page: int,
    scale: float,
    parts: int,
    window: int | None = None,
    softcap: float | None = None,
) -> Tensor:
    """One token per segment. q [S, >= H * Dh] (rows may be longer: q, k and v side by side), k and v [slots, Hkv, Dh],
    starts and lengths [S], table: int32 -> [S, H * Dh]. A segment of length 0 gives zeros."""
    segments, (_, kv_heads, dim) = q.shape[0], k.shape
    block = max(16, triton.next_power_of_2(dim))
    out = torch.empty(segments, heads * dim, dtype=q.dtype, device=q.device)
    part = stat = out
    if parts > 1:
        part = torch.empty(segments * heads * parts * block, dtype=torch.float32, device=q.device)
        stat = torch.empty(segments * heads * parts * 2, dtype=torch.float32, device=q.device)
    _decode[(segments, kv_heads, parts)](
        *(q, k, v, out, part, stat, starts, table, lengths, scale, q.stride(0), k.stride(0)),
        HEADS=heads,
        KV_HEADS=kv_heads,
        DIM=dim,
        BLOCK_D=block,
        GROUP=max(16, triton.next_power_of_2(heads // kv_heads)),
        PAGE=page,
        BLOCK_N=KEYS,
        PARTS=parts,
        WINDOW=window or 0,
        CAP=softcap or 0.0,
        num_warps=4,
        num_stages=3,
    )
    if parts > 1:
        _join[(segments * heads,)](part, stat, out, DIM=dim, BLOCK_D=block, PARTS=parts, num_warps=2)
    return out


def prompt(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    blocks: Tensor,
    starts: Tensor,
    table: Tensor,
    *,
    heads: int,
    page: int,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
    rows: int = ROWS,
) -> Tensor:
    """Any number of tokens per segment: q [N, >= H * Dh], blocks [B, 4] of at most `rows` rows -> [N, H * Dh]; rows in
    no block are not written."""
    _, kv_heads, dim = k.shape
    out = torch.empty(q.shape[0], heads * dim, dtype=q.dtype, device=q.device)
    exact = q.dtype == torch.float32
    _prompt[(blocks.shape[0], heads)](
        *(q, k, v, out, blocks, starts, table, scale, q.stride(0), k.stride(0)),
        HEADS=heads,
        KV_HEADS=kv_heads,
        DIM=dim,
        BLOCK_D=max(16, triton.next_power_of_2(dim)),
        PAGE=page,
        BLOCK_M=rows,
        BLOCK_N=32 if exact else PROMPT_KEYS,
        WINDOW=window or 0,
        CAP=softcap or 0.0,
        num_warps=4,
        num_stages=2 if exact else 3,
    )
    return out


def blocks_of(counts: list[int], positions: list[int], rows: int = ROWS) -> list[int]:
    """The flat rows of `blocks` for segments of `counts` new tokens from `positions` on; the longest contexts first,
    so that none begins when the others are done."""
    found, first = [], 0
    for seg, (count, pos) in enumerate(zip(counts, positions, strict=True)):
        for begin in range(0, count, rows):
            found.append((seg, first + begin, min(rows, count - begin), pos + begin))
        first += count
    found.sort(key=lambda b: -b[3])
    return [number for block in found for number in block]
