"""Normalisation over the last dimension."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from idiolect.nn.backward import RMSNormed
from idiolect.nn.delta import Choice, Delta
from idiolect.nn.tape import Heads, Sym


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019, arXiv:1910.07467). [..., D] -> [..., D].

    The mean is taken in float32 whatever the model's dtype.
    """

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.shape = (dim,)
        self.weight = nn.Parameter(torch.ones(dim))
        self.delta: Delta | Choice | None = None

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, Sym | Heads):
            return x.norm(self, "rms")
        return self.plain(x) if self.delta is None else self.delta(x, self)

    def plain(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad):
            normed: Tensor = RMSNormed.apply(x, self.weight, self.eps)
            return normed
        return F.rms_norm(x, self.shape, self.weight, self.eps)


class LayerNorm(nn.Module):
    """(x - mean) / sqrt(var + eps) * weight + bias (Ba et al. 2016, arXiv:1607.06450). [..., D] -> [..., D]."""

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.shape = (dim,)
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.delta: Delta | Choice | None = None

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, Sym | Heads):
            return x.norm(self, "layer")
        return self.plain(x) if self.delta is None else self.delta(x, self)

    def plain(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.shape, self.weight, self.bias, self.eps)
