"""FlashAttention over segments of different lengths, on a GPU: one launch for a whole packed batch.

Segments that are all of one length stay with torch's own choice of a dense kernel (nn/sdpa.py).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from idiolect.nn.batch import Batch


def flash_knows(q: Tensor) -> bool:
    """Whether torch's kernel takes these queries [N, H, Dh]."""
    return q.is_cuda and q.dtype in (torch.bfloat16, torch.float16) and q.shape[-1] % 8 == 0 and q.shape[-1] <= 256


def flash(q: Tensor, k: Tensor, v: Tensor, batch: Batch, scale: float, causal: bool, window: int | None) -> Tensor:
    """Attention within each segment of a batch without a state. q [N, H, Dh], k and v [N, Hkv, Dh] -> [N, H, Dh]."""
    groups = q.shape[1] // k.shape[1]
    if groups > 1:  # its backward pass wants as many key heads as query heads
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    longest = max(end - begin for begin, end in pairwise(batch.bounds))
    out: Tensor = torch.ops.aten._flash_attention_forward(
        *(q, k, v, batch.cu, batch.cu, longest, longest, 0.0, causal, False),
        scale=scale,
        window_size_left=window - 1 if causal and window is not None else None,
        window_size_right=0 if causal and window is not None else None,
    )[0]
    return out
