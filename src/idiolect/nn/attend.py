"""Attention over a packed batch: the only place that knows an attention back end.

q [N, H, Dh] attends, segment by segment, to the keys and values of its own sequence: those of this batch when there
is no state, else everything the state holds for the segment (this batch's own are stored first). H may be a multiple
of Hkv (grouped-query attention, Ainslie et al. 2023, arXiv:2305.13245). `causal` lets a token see itself and what is
before it; `window` W then keeps only the last W of those, itself included.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from idiolect.core.registry import Registry
from idiolect.nn import tape
from idiolect.nn.batch import Batch
from idiolect.nn.fronted import fronted
from idiolect.nn.tree import branched
from idiolect.nn.visible import visible

Backend = Callable[[Tensor, Tensor, Tensor, Batch, int, float, bool, int | None, float | None], Tensor]
backends: Registry[Backend] = Registry("attention back end")


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    batch: Batch,
    layer: int,
    *,
    scale: float | None = None,
    causal: bool = True,
    window: int | None = None,
    softcap: float | None = None,
    backend: str = "sdpa",
) -> Tensor:
    """softmax(scale * q k^T + mask) v. q [N, H, Dh], k and v [N, Hkv, Dh] -> [N, H, Dh].

    `scale` defaults to 1/sqrt(Dh). `softcap` c bends the scores to c * tanh(s / c) first (Gemma 2). `backend` is a
    name in `backends`; `reference` is the specification that the others are tested against.
    """
    if isinstance(q, tape.Heads):
        return tape.attend(q, k, v, layer, scale=scale, causal=causal, window=window, softcap=softcap)
    if scale is None:
        scale = q.shape[-1] ** -0.5
    if batch.front is not None:
        return fronted(q, k, v, batch, layer, scale, window, softcap)
    if batch.tree is not None:
        return branched(q, k, v, batch.bounds, batch.tree, layer, scale, window, softcap)
    if batch.state is not None:
        batch.state.extend(layer, k, v)
        own = getattr(batch.state, "attend", None)
        if own is not None and causal:  # a layout that has kernels of its own
            mixed: Tensor = own(q, layer, scale, window, softcap)
            return mixed
    return backends.get(backend)(q, k, v, batch, layer, scale, causal, window, softcap)


@backends.register("reference")
def reference(
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
    """The specification: float32 scores, one segment after another, nothing fused."""
    groups = q.shape[1] // k.shape[1]
    outputs = []
    for segment, (begin, end) in enumerate(pairwise(batch.bounds)):
        if batch.state is None:
            keys, values = k[begin:end].transpose(0, 1), v[begin:end].transpose(0, 1)
        else:
            keys, values = batch.state.context(layer, segment)
        keys = keys.repeat_interleave(groups, 0).float()  # [H, T, Dh]
        values = values.repeat_interleave(groups, 0).float()
        scores = q[begin:end].transpose(0, 1).float() @ keys.transpose(1, 2) * scale  # [H, n, T]
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        mask = visible(end - begin, keys.shape[1], causal, window, q.device)
        weights = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        outputs.append((weights @ values).transpose(0, 1))
    return torch.cat(outputs).to(q.dtype)
