"""The feed-forward half of a block."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from idiolect.core.registry import Registry
from idiolect.nn.backward import SwiGLU
from idiolect.nn.linear import Linear
from idiolect.nn.tape import Sym

Activation = Callable[[Tensor], Tensor]
activations: Registry[Activation] = Registry("activation")  # under the names that config.json uses
_KNOWN: dict[str, Activation] = {
    "silu": F.silu,
    "swish": F.silu,
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
}
for _name, _function in _KNOWN.items():
    activations.register(_name)(_function)


class GatedFeedForward(nn.Module):
    """down(act(gate(x)) * up(x)); with SiLU it is SwiGLU (Shazeer 2020, arXiv:2002.05202). [N, D] -> [N, D].

    `gate_up` holds both input matrices, the gate's rows first, so that a step reads them in one product.
    """

    def __init__(self, dim: int, hidden: int, activation: str = "silu", bias: bool = False) -> None:
        super().__init__()
        self.activation, self.act = activation, activations.get(activation)
        self.gate_up = Linear(dim, 2 * hidden, bias)
        self.down = Linear(hidden, dim, bias)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, Sym):
            return self.down(self.gate_up(x).gated(self.activation))
        both = self.gate_up(x)
        if self.activation in ("silu", "swish") and both.requires_grad and torch.is_grad_enabled():
            return self.down(SwiGLU.apply(both))
        gate, up = both.chunk(2, dim=-1)
        return self.down(self.act(gate) * up if torch.is_grad_enabled() else self.act(gate).mul_(up))


class FeedForward(nn.Module):
    """down(act(up(x))): the two-matrix form of GPT-2 and BERT. [N, D] -> [N, D]."""

    def __init__(self, dim: int, hidden: int, activation: str = "gelu", bias: bool = True) -> None:
        super().__init__()
        self.activation, self.act = activation, activations.get(activation)
        self.up = Linear(dim, hidden, bias)
        self.down = Linear(hidden, dim, bias)
        self.fused: Callable[[Any, Tensor], Tensor] | None = None  # computes all of it while a GPU trains

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, Sym):
            return self.down(self.up(x).activated(self.activation))
        if self.fused is not None and torch.is_grad_enabled():
            return self.fused(self, x)
        return self.down(self.act(self.up(x)))
