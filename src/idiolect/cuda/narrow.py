"""A matrix product for few rows, with what comes before and after it: y = act-or-norm(x) W^T + bias + residual.

Few rows mean that reading W is all the work, so the product may as well compute the norm or the gate of its rows again
in every program instead of in a kernel of its own, and unpack 8 or 4-bit weights on the way (`matrix.py` says how
they lie). More rows go through the library's products.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from idiolect.cuda.parts import act

GROUP = 32  # 4-bit weights that share a scale
FLOAT, BYTES, NIBBLES = 0, 1, 2
ONE = {FLOAT: (4, 1024, 4, 3), BYTES: (4, 1024, 4, 3), NIBBLES: (4, 512, 4, 3)}  # tiles for a single row, measured
PLAIN, RMS, LAYER, ACT, GATE = 0, 1, 2, 3, 4  # what happens to x first


@triton.jit
def _given(
    x,
    rows,
    there,
    column,
    inputs,
    mean,
    r,
    weight,
    bias,
    FIRST: tl.constexpr,
    KIND: tl.constexpr,
):
    """Values [M, K] of x after norm or activation, float32."""
    inside = column < inputs
    mask = there[:, None] & inside[None, :]
    if FIRST == 4:
        at = x + rows[:, None] * inputs * 2 + column[None, :]
        value = act(tl.load(at, mask=mask, other=0.0).to(tl.float32), KIND)
        value *= tl.load(at + inputs, mask=mask, other=0.0).to(tl.float32)
    else:
        value = tl.load(x + rows[:, None] * inputs + column[None, :], mask=mask, other=0.0).to(tl.float32)
        if FIRST == 3:
            value = act(value, KIND)
        if FIRST == 1 or FIRST == 2:
            w = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
            value = (value - mean[:, None]) * r[:, None] * w[None, :]
            if FIRST == 2:
                value += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)[None, :]
    return value


@triton.jit
def _narrow(
    x,
    w,
    scales,
    middles,
    offset,
    base,
    y,
    norm_weight,
    norm_bias,
    count,
    inputs,
    outputs,
    eps,
    FIRST: tl.constexpr,
    KIND: tl.constexpr,
    FORM: tl.constexpr,
    ADD: tl.constexpr,
    BIAS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """BLOCK_N outputs of all rows. BLOCK_M 1: sums of products; else the matrix units."""
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    m = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    here, there = n < outputs, m < count
    rows = m.to(tl.int64)
    mean = tl.zeros([BLOCK_M], tl.float32)
    r = tl.zeros([BLOCK_M], tl.float32)
    if FIRST == 1 or FIRST == 2:
        c = tl.arange(0, WIDTH)
        inside = there[:, None] & (c < inputs)[None, :]
        whole = tl.load(x + rows[:, None] * inputs + c[None, :], mask=inside, other=0.0).to(tl.float32)
        if FIRST == 2:
            mean = tl.sum(whole, 1) / inputs
            whole = tl.where(inside, whole - mean[:, None], 0.0)
        r = tl.rsqrt(tl.sum(whole * whole, 1) / inputs + eps)
    if BLOCK_M == 1:
        run = tl.zeros([BLOCK_N, BLOCK_K], tl.float32)
    else:
        acc = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    line = n.to(tl.int64)[:, None]
    end = inputs // 2 if FORM == 2 else inputs
    for at in range(0, end, BLOCK_K):
        j = at + tl.arange(0, BLOCK_K)
        mask = here[:, None] & (j < end)[None, :]
        if FORM == 2:  # a byte holds column c of a group in its low half, and column c + 16 in its high half
            codes = tl.load(w + line * end + j[None, :], mask=mask, other=0)
            group = line * (inputs // 32) + (j // 16)[None, :]
            scale = tl.load(scales + group, mask=mask, other=0.0).to(tl.float32)
            middle = tl.load(middles + group, mask=mask, other=0.0).to(tl.float32)
            first = ((codes & 15).to(tl.float32) - 8) * scale + middle
            second = ((codes >> 4).to(tl.float32) - 8) * scale + middle
            column = j // 16 * 32 + j % 16
            left = _given(x, rows, there, column, inputs, mean, r, norm_weight, norm_bias, FIRST, KIND)
            right = _given(x, rows, there, column + 16, inputs, mean, r, norm_weight, norm_bias, FIRST, KIND)
            if BLOCK_M == 1:
                run += first * left + second * right
            else:
                to = y.dtype.element_ty
                acc += tl.dot(left.to(to), tl.trans(first.to(to)), input_precision="ieee")
                acc += tl.dot(right.to(to), tl.trans(second.to(to)), input_precision="ieee")
        else:
            weight = tl.load(w + line * inputs + j[None, :], mask=mask, other=0)
            value = _given(x, rows, there, j, inputs, mean, r, norm_weight, norm_bias, FIRST, KIND)
            if BLOCK_M == 1:
                run += weight.to(tl.float32) * value
            else:
                to = y.dtype.element_ty
                acc += tl.dot(value.to(to), tl.trans(weight.to(to)), input_precision="ieee")
    if BLOCK_M == 1:
        result = tl.sum(run, 1)[None, :]
    else:
        result = acc
    if FORM == 1:
        result *= tl.load(scales + n, mask=here, other=0.0).to(tl.float32)[None, :]
    mask = there[:, None] & here[None, :]
    at_y = rows[:, None] * outputs + n[None, :]
    if BIAS:
        result += tl.load(offset + n, mask=here, other=0.0).to(tl.float32)[None, :]
    if ADD:
        result += tl.load(base + at_y, mask=mask, other=0.0).to(tl.float32)
    tl.store(y + at_y, result.to(y.dtype.element_ty), mask=mask)


def narrow(
    x: Tensor,
    w: Tensor,
    outputs: int,
    inputs: int,
    *,
    form: int = FLOAT,
    scales: Tensor | None = None,
    middles: Tensor | None = None,
    bias: Tensor | None = None,
    onto: Tensor | None = None,
    first: int = PLAIN,
    kind: int = 0,
    norm: tuple[Tensor, Tensor | None, float] | None = None,
) -> Tensor:
    """x [M, In] (with a gate [M, 2 In]) -> [M, Out]. `onto` [M, Out]: added to, in place. `norm`: weight, bias, eps."""
    rows = x.shape[0]
    y = torch.empty(rows, outputs, dtype=x.dtype, device=x.device) if onto is None else onto
    weight, shift, eps = norm if norm is not None else (x, None, 0.0)
    block_m = 1 if rows == 1 else 16
    block_n, block_k, warps, stages = tiles(rows, outputs, inputs, form, x.dtype)
    _narrow[(triton.cdiv(outputs, block_n), triton.cdiv(rows, block_m))](
        x,
        w,
        x if scales is None else scales,
        x if middles is None else middles,
        x if bias is None else bias,
        y,
        y,
        weight,
        weight if shift is None else shift,
        rows,
        inputs,
        outputs,
        eps,
        FIRST=first,
        KIND=kind,
        FORM=form,
        ADD=onto is not None,
        BIAS=bias is not None,
        BLOCK_M=block_m,
        BLOCK_N=block_n,
        BLOCK_K=block_k,
        WIDTH=triton.next_power_of_2(inputs) if first in (RMS, LAYER) else 1,
        num_warps=warps,
        num_stages=stages,
    )
    return y


@triton.jit
def _unpack(w, scales, middles, y, half, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    j = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = j < half
    codes = tl.load(w + row * half + j, mask=there, other=0)
    group = row * (half // 16) + j // 16
    scale = tl.load(scales + group, mask=there, other=0.0).to(tl.float32)
    middle = tl.load(middles + group, mask=there, other=0.0).to(tl.float32)
    to = y + row * half * 2 + j // 16 * 32 + j % 16
    tl.store(to, (((codes & 15).to(tl.float32) - 8) * scale + middle).to(y.dtype.element_ty), mask=there)
    tl.store(to + 16, (((codes >> 4).to(tl.float32) - 8) * scale + middle).to(y.dtype.element_ty), mask=there)


def unpack(w: Tensor, scales: Tensor, middles: Tensor, dtype: torch.dtype) -> Tensor:
    """4-bit codes [Out, In / 2] with scales and middles [Out, In / 32] -> floats [Out, In]."""
    outputs, half = w.shape
    y = torch.empty(outputs, 2 * half, dtype=dtype, device=w.device)
    block = min(1024, triton.next_power_of_2(half))
    _unpack[(outputs, triton.cdiv(half, block))](w, scales, middles, y, half, BLOCK=block, num_warps=4)
    return y


def tiles(rows: int, outputs: int, inputs: int, form: int, dtype: torch.dtype) -> tuple[int, int, int, int]:
    """Outputs and columns that a program looks at, its warps and the stages of its pipeline."""
    if rows == 1:
        return (8, 256, 2, 3) if outputs > 30000 else ONE[form]
    if dtype == torch.float32:
        return 16, 64, 4, 2
    return (16 if outputs < 8192 else 32), 128, 4, 3
