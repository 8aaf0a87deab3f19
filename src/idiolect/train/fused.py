"""Which layers have kernels of their own for training on a GPU (see `cuda.fused`), and for how long they use them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from idiolect.cuda.available import missing
from idiolect.models.base import Model
from idiolect.models.gpt2 import Attention
from idiolect.nn import FeedForward, Linear

TANH = ("gelu_new", "gelu_pytorch_tanh")


@contextmanager
def fused(model: Model, on: bool = True) -> Iterator[None]:
    """Within the block, layers that these kernels know use them while gradients are recorded."""
    found: list[Any] = []
    if on and not missing(model.device):
        from idiolect.cuda.fused import feedforward, heads

        for layer in model.modules():
            if isinstance(layer, FeedForward) and layer.activation in TANH and plain(layer.up) and plain(layer.down):
                layer.fused = feedforward
                found.append(layer)
            elif isinstance(layer, Attention) and plain(layer.qkv):
                layer.fused = heads
                found.append(layer)
    try:
        yield
    finally:
        for layer in found:
            layer.fused = None


def plain(layer: Linear) -> bool:
    """Whether it is a bfloat16 matrix and a bias that both learn, whole and without an adapter."""
    return layer.delta is None and all(
        type(p) is nn.Parameter and type(p.data) is Tensor and p.dtype == torch.bfloat16 and p.requires_grad
        for p in (layer.weight, layer.bias)
    )
