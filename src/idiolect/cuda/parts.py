"""What stands between the matrix products of a step: norms, rotation with the cache write, activations."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ACTIVATIONS = {"silu": 1, "swish": 1, "gelu": 2, "gelu_new": 3, "gelu_pytorch_tanh": 3, "relu": 4}


@triton.jit
def _norm(
    x,
    y,
    weight,
    bias,
    width,
    eps,
    LAYER: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, BLOCK)
    there = d < width
    value = tl.load(x + row * width + d, mask=there, other=0.0).to(tl.float32)
    w = tl.load(weight + d, mask=there, other=0.0).to(tl.float32)
    if LAYER:
        value = tl.where(there, value - tl.sum(value, 0) / width, 0.0)
    r = tl.rsqrt(tl.sum(value * value, 0) / width + eps)
    result = value * r * w
    if LAYER:
        result += tl.load(bias + d, mask=there, other=0.0).to(tl.float32)
    tl.store(y + row * width + d, result.to(y.dtype.element_ty), mask=there)


def norm(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """RMSNorm, or LayerNorm where there is a bias. x [N, D] -> [N, D]."""
    rows, width = x.shape
    y = torch.empty_like(x)
    block = triton.next_power_of_2(width)
    _norm[(rows,)](
        *(x, y, weight, weight if bias is None else bias, width, eps),
        LAYER=bias is not None,
        BLOCK=block,
        num_warps=min(8, max(1, block // 256)),
    )
    return y


@triton.jit
def act(x, KIND: tl.constexpr):
    """x float32 -> float32."""
    if KIND == 1:
        x = x * tl.sigmoid(x)
    elif KIND == 2:
        x = 0.5 * x * (1 + tl.erf(x * 0.7071067811865476))
    elif KIND == 3:
        x = x * tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))
    elif KIND == 4:
        x = tl.maximum(x, 0.0)
    return x


@triton.jit
def _activate(x, y, width, KIND: tl.constexpr, GATED: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = d < width
    start = x + row * width * (2 if GATED else 1)
    value = act(tl.load(start + d, mask=there, other=0.0).to(tl.float32), KIND)
    if GATED:
        value *= tl.load(start + width + d, mask=there, other=0.0).to(tl.float32)
    tl.store(y + row * width + d, value.to(y.dtype.element_ty), mask=there)


def activate(x: Tensor, kind: int, gated: bool) -> Tensor:
    """act(x), or act(first half) * second half. x [N, H or 2 H] -> [N, H]."""
    rows, width = x.shape[0], x.shape[1] // (2 if gated else 1)
    y = torch.empty(rows, width, dtype=x.dtype, device=x.device)
    block = min(1024, triton.next_power_of_2(width))
    _activate[(rows, triton.cdiv(width, block))](x, y, width, KIND=kind, GATED=gated, BLOCK=block, num_warps=4)
    return y


@triton.jit
def _place(
    qkv,
    k,
    v,
    pos,
    slots,
    cos,
    sin,
    q_weight,
    k_weight,
    eps,
    slot_row,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HALF: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_D: tl.constexpr,
    ROPE: tl.constexpr,
    NORM: tl.constexpr,
):
    """One token: q in place, k and v into the cache (a slot below 0: nowhere)."""
    row = tl.program_id(0).to(tl.int64)
    h, i = tl.arange(0, BLOCK_H), tl.arange(0, BLOCK_D)
    both: tl.constexpr = HEADS + KV_HEADS
    dim: tl.constexpr = 2 * HALF
    there = (h < both + KV_HEADS)[:, None] & (i < HALF)[None, :]
    at = qkv + row * (both + KV_HEADS) * dim + h[:, None] * dim + i[None, :]
    a = tl.load(at, mask=there, other=0.0).to(tl.float32)
    b = tl.load(at + HALF, mask=there, other=0.0).to(tl.float32)
    turned = (h < both)[:, None]
    if NORM:
        r = tl.rsqrt((tl.sum(a * a, 1) + tl.sum(b * b, 1)) / dim + eps)[:, None]
        query = (h < HEADS)[:, None]
        low = tl.where(
            query,
            tl.load(q_weight + i, mask=i < HALF, other=0.0).to(tl.float32)[None, :],
            tl.load(k_weight + i, mask=i < HALF, other=0.0).to(tl.float32)[None, :],
        )
        high = tl.where(
            query,
            tl.load(q_weight + HALF + i, mask=i < HALF, other=0.0).to(tl.float32)[None, :],
            tl.load(k_weight + HALF + i, mask=i < HALF, other=0.0).to(tl.float32)[None, :],
        )
        a = tl.where(turned, a * r * low, a)
        b = tl.where(turned, b * r * high, b)
    if ROPE:
        angle = tl.load(pos + row) * HALF + i
        c = tl.load(cos + angle, mask=i < HALF, other=1.0)[None, :]
        s = tl.load(sin + angle, mask=i < HALF, other=0.0)[None, :]
        x = tl.where(turned, a * c - b * s, a)
        b = tl.where(turned, b * c + a * s, b)
        a = x
    first = a.to(qkv.dtype.element_ty)
    second = b.to(qkv.dtype.element_ty)
    query_mask = there & (h < HEADS)[:, None]
    tl.store(at, first, mask=query_mask)
    tl.store(at + HALF, second, mask=query_mask)
    slot = tl.load(slots + row).to(tl.int64)
    key_mask = there & ((h >= HEADS) & (h < both))[:, None] & (slot >= 0)
    to = k + slot * slot_row + (h - HEADS)[:, None] * dim + i[None, :]
    tl.store(to, first, mask=key_mask)
    tl.store(to + HALF, second, mask=key_mask)
    value_mask = there & (h >= both)[:, None] & (slot >= 0)
    to = v + slot * slot_row + (h - both)[:, None] * dim + i[None, :]
    tl.store(to, first, mask=value_mask)
    tl.store(to + HALF, second, mask=value_mask)


def place(
    qkv: Tensor,
    k: Tensor,
    v: Tensor,
    pos: Tensor,
    slots: Tensor,
    *,
    heads: int,
    angles: tuple[Tensor, Tensor] | None,
    norms: tuple[Tensor, Tensor] | None,
    eps: float,
) -> None:
    """qkv [N, (H + 2 Hkv) Dh]: norm and rotate the heads of q (in place) and k, and store k and v in the cache
    [slots, Hkv, Dh] at `slots` [N]. `angles`: cos and sin [positions, Dh / 2] float32; `norms`: weights [Dh] of q's
    and k's RMSNorm."""
    _, kv_heads, dim = k.shape
    cos, sin = angles if angles is not None else (pos, pos)
    of_q, of_k = norms if norms is not None else (qkv, qkv)
    _place[(qkv.shape[0],)](
        *(qkv, k, v, pos, slots, cos, sin, of_q, of_k, eps, k.stride(0)),
        HEADS=heads,
        KV_HEADS=kv_heads,
        HALF=dim // 2,
        BLOCK_H=triton.next_power_of_2(heads + 2 * kv_heads),
        BLOCK_D=triton.next_power_of_2(dim // 2),
        ROPE=angles is not None,
        NORM=norms is not None,
        num_warps=4,
    )
