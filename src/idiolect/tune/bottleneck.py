"""Bottleneck adapters (Houlsby et al. 2019, arXiv:1902.00751): h + U f(D h) after each half of a block, before the
residual sum. U is zero at first, so the model begins as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from idiolect.core.errors import BadInput
from idiolect.core.rng import Streams
from idiolect.models.base import Model
from idiolect.nn.feedforward import activations
from idiolect.tune.method import Adapter, Method, Piece, methods, patterns_of
from idiolect.tune.targets import Target, matrices, resolve
from idiolect.tune.weights import wide

if TYPE_CHECKING:
    from idiolect.tune.config import TuneConfig


@dataclass(frozen=True, slots=True)
class BottleneckConfig:
    """`rank` is the width between D and U. No `targets`: the matrix that ends each half of a block."""

    targets: tuple[str, ...] = ()
    rank: int = 16
    activation: str = "gelu"

    def __post_init__(self) -> None:
        activations.get(self.activation)
        if self.rank < 1:
            raise BadInput(f"rank is {self.rank}", hint="give 1 or more", param="rank")


class Bottleneck(Piece):
    """down [r, Out], up [Out, r], both with biases."""

    def __init__(self, target: Target, rank: int, activation: str, kind: Any, streams: Streams | None) -> None:
        super().__init__()
        self.hf, out = target.parts[0].hf, target.layer.outputs
        self.names = (self.hf,)
        self.act = activations.get(activation)
        first = torch.randn(rank, out, generator=(streams or Streams(0)).torch("down")) * 1e-2
        self.down = nn.Parameter(first.to(**kind))
        self.down_bias = nn.Parameter(torch.zeros(rank, **kind))
        self.up = nn.Parameter(torch.zeros(out, rank, **kind))
        self.up_bias = nn.Parameter(torch.zeros(out, **kind))

    def after(self, x: Tensor, y: Tensor, layer: Any) -> Tensor:
        down, down_bias, up, up_bias = (p.to(y.dtype) for p in (self.down, self.down_bias, self.up, self.up_bias))
        return y + F.linear(self.act(F.linear(y, down, down_bias)), up, up_bias)

    def pieces(self) -> dict[str, Tensor]:
        return {
            f"{self.hf}.adapter_down.weight": self.down.data,
            f"{self.hf}.adapter_down.bias": self.down_bias.data,
            f"{self.hf}.adapter_up.weight": self.up.data,
            f"{self.hf}.adapter_up.bias": self.up_bias.data,
        }


class BottleneckMethod(Method):
    """Small networks after each half of a block."""

    name = "bottleneck"
    options = BottleneckConfig
    peft_type = "IDIOLECT_BOTTLENECK"
    lr = 1e-3

    def build(self, model: Model, config: TuneConfig, streams: Streams | None) -> Adapter:
        options: BottleneckConfig = config.settings()
        adapter = Adapter(config)
        if options.targets:
            targets = resolve(model, options.targets)
        else:
            targets = [t for t in matrices(model) if t.path.endswith(("attention.out", "mlp.down"))]
        for target in targets:
            if len(target.parts) != 1 or target.parts[0].count != target.layer.outputs:
                raise BadInput(
                    f"{target.parts[0].hf} is a part of a fused matrix; a bottleneck follows a whole one",
                    hint="take o and down",
                    param="targets",
                )
            adapter.deltas[target.path] = Bottleneck(
                target, options.rank, options.activation, wide(model), streams.child(target.path) if streams else None
            )
        return adapter

    def to_peft(self, model: Model, adapter: Adapter) -> dict[str, Any]:
        options: BottleneckConfig = adapter.config.settings()
        return {"bottleneck_size": options.rank, "non_linearity": options.activation}

    def from_peft(self, model: Model, found: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "targets": patterns_of(model, found),
            "rank": int(found.get("bottleneck_size", 16)),
            "activation": str(found.get("non_linearity", "gelu")),
        }


methods.register("bottleneck")(BottleneckMethod())
